"""Does every table get an answer, or words? Forecasts and advice on random tables of all kinds.

    python benchmarks/forecast_random.py [--tables 1000] [--first 0]

The tables and what is asked of them are those of ``tests/support/table_kinds.py``: any warning, any error
that is not the tool's own, any forecast that is not finite, out of bounds or out of order is printed with its
seed. It ends with the reasons why tables were not answered, and how many.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from table_kinds import check


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    reasons: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.tables):
        try:
            reasons[check(seed)] += 1
        except Exception as error:
            reasons["BROKEN"] += 1
            at = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"table {seed}: {type(error).__name__}: {error} ({Path(at.filename).name}:{at.lineno})",
                flush=True,
            )
    print(f"answered: {reasons.pop('', 0)} of {options.tables}", *reasons.most_common(), sep="\n")


if __name__ == "__main__":
    main()
