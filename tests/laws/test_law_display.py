from __future__ import annotations

import io

import pytest
from rich.console import Console

from finescale.cells import Cells, column_widths

CELLS = Cells(
    "loss",
    {"task": ["t", "t"], "method": ["full", "lora"]},
    {"A": ["1.2 [1.1, 1.3]", "2 [1, 3]"], "settings": ["12", "13"]},
)
LONG = Cells("loss", {"method": ["full"]}, {"interval of the mean": ["2.1234 to 2.3456"]})


def shown(width: int, cells: Cells = CELLS) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(cells.within(width))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [20, 25, 30, 40, 60])
def test_no_number_is_broken_however_narrow_the_terminal(width: int) -> None:
    lines = shown(width)
    assert max(len(line.rstrip()) for line in lines) <= width
    for whole in ("1.2 [1.1, 1.3]", "2 [1, 3]"):
        assert sum(whole in line for line in lines) == 1


@pytest.mark.parametrize("width", [20, 24, 26, 36, 38, 40])
def test_a_heading_that_is_longer_than_a_line_is_broken_and_its_number_is_not(width: int) -> None:
    assert sum("2.1234 to 2.3456" in line for line in shown(width, LONG)) == 1


@pytest.mark.parametrize("width", [20, 100])
def test_no_name_is_markup(width: int) -> None:
    hostile = Cells("loss", {"method": ["x[/y]", "x[/y]"], "[b]": ["[i]", "u"]}, {"[bold]": ["1", "2"]})
    text = "\n".join(shown(width, hostile))
    assert all(name in text for name in ("x[/y]", "[b]", "[i]", "[bold]"))


def test_a_table_that_does_not_fit_is_told_line_by_line() -> None:
    assert [line.rstrip() for line in shown(20)] == [
        "task t",
        "loss",
        "method full",
        "  A 1.2 [1.1, 1.3]",
        "  settings 12",
        "method lora",
        "  A 2 [1, 3]",
        "  settings 13",
    ]


def test_headings_and_the_first_column_break_before_anything_else_does() -> None:
    cells = [["method", "held out off by"], ["prompt tuning", "0.0123"]]
    assert column_widths(cells, None) == column_widths(cells, 35) == [None, None]
    assert column_widths(cells, 34) == column_widths(cells, 19) == [None, 6]
    assert column_widths(cells, 18) is None
