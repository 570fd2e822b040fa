"""Colours and marker shapes: safe for colour-blind readers; one colour for light, one for dark.

Charts are drawn in the light colours; on the page each becomes a CSS variable: one picture serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

INK, SOFT, GRID, CARD = "#1b2430", "#5b6675", "#e3e7ec", "#fefefe"
SERIES: tuple[tuple[str, str], ...] = (
    ("#0068a8", "#5db7ee"),
    ("#c2500a", "#f08f4e"),
    ("#00805f", "#3fc79c"),
    ("#a83f7c", "#e58abd"),
    ("#7a6400", "#dcc13c"),
    ("#4d5663", "#b3bcc8"),
)
"""For methods: light and dark."""
LEVELS: tuple[tuple[str, str], ...] = (
    ("#3b1a5e", "#fbe35c"),
    ("#3f4a8c", "#a3dc4a"),
    ("#2f6f8f", "#4fc57d"),
    ("#1f908b", "#2fb0a0"),
    ("#35a36a", "#4b9ec4"),
    ("#6f9a12", "#7f8fe0"),
    ("#9a7d00", "#a98bea"),
    ("#b05a00", "#c79af5"),
)
"""For the values of a factor, small to large: an order that shows in lightness too."""
SHAPES = (
    "circle",
    "triangle-up",
    "square",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
_PAPER = ((INK, "ink"), (SOFT, "soft"), (GRID, "grid"), (CARD, "card"))


def spread(count: int) -> list[str]:
    """So many level colours, as far apart as they can be."""
    last = len(LEVELS) - 1
    return [LEVELS[round(index * last / max(1, count - 1))][0] for index in range(count)]


def variables(dark: bool) -> str:
    """CSS declarations of the series' and levels' colours."""
    pairs = [(f"--series-{i}", pair) for i, pair in enumerate(SERIES)]
    pairs += [(f"--level-{i}", pair) for i, pair in enumerate(LEVELS)]
    return "".join(f"{name}:{pair[1] if dark else pair[0]};" for name, pair in pairs)


def with_variables(svg: str) -> str:
    """The picture with CSS variables in place of the light colours."""
    names: list[tuple[str, str]] = [(colour, f"var(--{name})") for colour, name in _PAPER]
    names += _numbered(SERIES, "series") + _numbered(LEVELS, "level")
    for colour, name in names:
        svg = svg.replace(f'"{colour}"', f'"{name}"')
    return svg


def _numbered(pairs: Sequence[tuple[str, str]], kind: str) -> list[tuple[str, str]]:
    return [(light, f"var(--{kind}-{index})") for index, (light, _) in enumerate(pairs)]
