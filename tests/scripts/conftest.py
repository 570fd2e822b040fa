"""Lets the tests import the scripts' modules, which are no package."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "scripts" / "corpus"), str(Path(__file__).parent)]
