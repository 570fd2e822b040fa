"""All laws of one call of ``fit``: a sequence that selects, shows and stores itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from finescale.errors import UsageError
from finescale.laws.fitted import FittedLaw, law_from_fields
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, repr=False)
class Fits:
    """All laws of one call of ``fit``: a sequence of ``FittedLaw``.

    Attributes:
        laws: The fitted laws.
        notes: What to know of the records, in sentences.
        source: Where the records came from.
        left_out: Groups and curves without a law, each with its reason.

    Example:
        >>> fits
        Fits(3 laws from nano_full.parquet: multiplicative)
        >>> [law.by["method"] for law in fits]
        ['full', 'lora', 'prompt']
        >>> fs.Fits.from_dict(fits.to_dict()).only(method="full").n_fitted
        15
    """

    laws: tuple[FittedLaw, ...]
    notes: tuple[str, ...] = ()
    source: str = "records"
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        """Number of laws."""
        return len(self.laws)

    def __iter__(self) -> Iterator[FittedLaw]:
        """The laws in order."""
        return iter(self.laws)

    def __getitem__(self, index: int) -> FittedLaw:
        """The law at a position."""
        return self.laws[index]

    def only(self, *, factor: str | None = None, **by: Any) -> FittedLaw:
        """The one law of a group and factor.

        Args:
            factor: The factor.
            **by: Values of the group, e.g. ``task="wmt14-en-de", method="lora"``.

        Raises:
            UsageError: None, or several.
        """
        found = self.select(factor=factor, **by).laws
        if len(found) != 1:
            have = "; ".join(f"{law.label} ({', '.join(law.factors)})" for law in self.laws[:12])
            raise UsageError(f"{len(found)} laws match", wanted="exactly one", got=have or "no laws")
        return found[0]

    def select(self, *, factor: str | None = None, **by: Any) -> Fits:
        """The laws of a group and factor."""
        found = [
            law.for_factor(factor) if factor else law
            for law in self.laws
            if all(law.by.get(name) == value for name, value in by.items())
            and (not factor or factor in law.factors)
        ]
        return replace(self, laws=tuple(found))

    def summary(self) -> Table:
        """Every law as a row of a rich table."""
        from finescale.laws.views import law_cells  # noqa: PLC0415

        return law_cells(self.laws).table()

    def __repr__(self) -> str:
        """One line: how many laws of which formulas."""
        laws = ", ".join(dict.fromkeys(law.law for law in self.laws)) or "none"
        noun = "law" if len(self.laws) == 1 else "laws"
        return f"Fits({len(self.laws)} {noun} from {self.source}: {laws})"

    def __str__(self) -> str:
        """The table of ``summary``, what was left out, the soft troubles and the notes."""
        from finescale.laws.views import law_cells, text, trouble_lines  # noqa: PLC0415

        return text(law_cells(self.laws), trouble_lines(self.laws, self.notes), self.left_out)

    def _repr_html_(self) -> str:
        from finescale.laws.views import html, law_cells, trouble_lines  # noqa: PLC0415

        return html(law_cells(self.laws), trouble_lines(self.laws, self.notes), self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``finescale fit``."""
        from finescale.laws.json import fits_to_dict  # noqa: PLC0415 - pydantic only where it is needed

        return fits_to_dict(self.laws, self.notes, self.left_out)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], laws: Sequence[Law] = ()) -> Fits:
        """Reads what ``to_dict`` wrote.

        Raises:
            UsageError: It is not that.
        """
        from finescale.laws.json import fits_fields  # noqa: PLC0415

        stored, notes, left_out = fits_fields(data, laws)
        return cls(tuple(map(law_from_fields, stored)), notes, left_out=left_out)
