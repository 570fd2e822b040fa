"""Forecasts: what is believed about runs that were not made. The one place where the future is computed.

How others use it:

    found = forecast(records, by=("task", "method"))   # also fs.forecast: Forecasts, a sequence of Forecast
    group = found.only(task="en-de", method="lora")
    told = group.predict(finetune_examples=1e5)        # arrays broadcast; model_params=... where it varies
    told.value, told.low, told.high                    # median, 90% interval of the mean
    told.run_low, told.run_high                        # 90% interval of one new run
    told.measured, told.runs                           # mean and number of runs at that very setting
    told.status, told.members                          # what to know; weights and backtest errors
    found.draws(task="en-de", finetune_examples=1e5)   # [draws, groups]: joint over the groups of the task
    group.mean_draws(finetune_examples=sizes)          # [draws, sizes]; draw i is one with other groups' i
    group.factors, group.base, group.ranges            # what it moves along; the rest; the data's ends
    found.members["en-de"]                             # Member(name, weight, error), by task
    found.ways                                         # of a score: directly or through the loss, and why
    found.to_dict()                                    # the grid for the page; forecasts/json.py has the rule

``Forecast`` answers like a ``FittedLaw``: ``predict``, ``centre``, ``mean_draws``, ``drawn``, ``by``,
``factors``, ``base``, ``ranges``, ``level``, ``status``, ``label``, ``law`` ("forecast"); advice and
crossovers take both.

A candidate is a group: ``by=("task", "method", "model")`` or ``(..., "pet_size")`` makes one of each model or
PET size. Probabilities that one is best: compare ``draws`` (lower is better where ``outcome.sign`` is +1).

How it works, in the order of the imports: ``scale`` (logs of losses, log odds of scores), ``trend`` (the
pooled local trend), ``context`` (what members know beside the paths), ``law_members`` and ``members``
(increments beyond the data), ``backtest`` (rolling origin), ``weights``, ``discrepancy`` (how wrong it may
be), ``priors``, ``noise`` (of one run), ``alongside`` (curves that others reach beyond), ``extrapolate`` (one
axis), ``curves`` (from records), ``grid``, ``surfaces`` (along the data, across a factor), ``through`` (a
score through its loss), ``ways`` (which of the two backtests better), ``student`` and ``question`` (answers),
``group``, ``forecast``.

Names in all of them: ``u`` is log2 of a size, ``z`` the outcome on its scale; a *path* is z over u, a *curve*
a path with its place in the table; *along* is the data size, *across* a factor, *between* what lies between
two of its values.
"""

from finescale.forecasts.forecast import Forecasts, forecast
from finescale.forecasts.group import Forecast, Member
from finescale.forecasts.question import Predicted

__all__ = ["Forecast", "Forecasts", "Member", "Predicted", "forecast"]
