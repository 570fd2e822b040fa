"""``python -m finescale.cli``."""

from finescale.cli import main

main()
