"""Progress in a notebook: one bar with words under it, and a line for what went wrong."""

from __future__ import annotations

import sys
from html import escape
from io import StringIO
from typing import Any, Self

from rich.console import Console

from finescale.study.progress import TerminalProgress


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "ipykernel" in sys.modules


class NotebookProgress(TerminalProgress):
    """A bar of HTML that is drawn anew in its place; no widgets are needed."""

    def __init__(self, workers: int) -> None:
        """Prepares the bar.

        Args:
            workers: How many runs are made at a time.
        """
        self._said = StringIO()
        super().__init__(Console(file=self._said, width=120, color_system=None, force_jupyter=False), workers)
        self._handle: Any = None

    def __enter__(self) -> Self:
        """Shows the bar."""
        from IPython.core.display import HTML  # noqa: PLC0415 - there in a notebook
        from IPython.display import display  # noqa: PLC0415

        self._html = HTML
        self._handle = display(HTML(self._page()), display_id=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves the bar as it is now."""
        self._show()

    def _show(self) -> None:
        if self._handle is not None:
            self._handle.update(self._html(self._page()))

    def _page(self) -> str:
        done, total = self._costs.bar()
        share = done / total if total else 0.0
        said = self._said.getvalue().strip()
        lines = f"<pre>{escape(said)}</pre>" if said else ""
        return f'<progress value="{share:.3f}" max="1"></progress> {escape(self._words())}{lines}'
