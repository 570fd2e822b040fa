"""What `import finescale` offers. `__init__.py` reads this list, and imports a name when it is first used."""

from finescale.advice.cost import Cost as Cost
from finescale.advice.crossovers import CriticalPoint as CriticalPoint
from finescale.advice.crossovers import Crossing as Crossing
from finescale.advice.crossovers import Crossovers as Crossovers
from finescale.advice.crossovers import crossovers as crossovers
from finescale.advice.options import Advice as Advice
from finescale.advice.options import Gain as Gain
from finescale.advice.options import Needed as Needed
from finescale.advice.options import Option as Option
from finescale.advice.options import ProposedRun as ProposedRun
from finescale.advice.options import Question as Question
from finescale.advice.recommend import recommend as recommend
from finescale.errors import DataError as DataError
from finescale.errors import FinescaleError as FinescaleError
from finescale.errors import UsageError as UsageError
from finescale.forecasts.forecast import Forecast as Forecast
from finescale.forecasts.forecast import Forecasts as Forecasts
from finescale.forecasts.forecast import forecast as forecast
from finescale.laws.fit import fit as fit
from finescale.laws.fitted import Fits as Fits
from finescale.laws.fitted import FittedLaw as FittedLaw
from finescale.laws.fitted import Parameter as Parameter
from finescale.laws.fitted import Prediction as Prediction
from finescale.laws.joint import joint_fit as joint_fit
from finescale.laws.law import Law as Law
from finescale.laws.law import Range as Range
from finescale.laws.law import law as law
from finescale.laws.options import FitKeywords as FitKeywords
from finescale.laws.published import published as published
from finescale.laws.select import Backtest as Backtest
from finescale.laws.select import Comparison as Comparison
from finescale.laws.select import backtest as backtest
from finescale.laws.select import compare as compare
from finescale.planning.outlook import Outlook as Outlook
from finescale.planning.outlook import Plan as Plan
from finescale.planning.outlook import Planned as Planned
from finescale.planning.plan import plan as plan
from finescale.records.records import Records as Records
from finescale.records.records import read_records as read_records
from finescale.spec.expand import PlannedRun as PlannedRun
from finescale.spec.expand import expand as expand
from finescale.spec.file import load_study as load_study
from finescale.spec.run import ModelSpec as ModelSpec
from finescale.spec.run import RunSpec as RunSpec

__version__: str
