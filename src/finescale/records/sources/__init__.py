"""What a source is, told by its content: a table, a study, a folder of a trainer, a tracker's store."""

from finescale.records.sources.choose import (
    KINDS,
    RECORDS,
    Opened,
    is_study,
    open_any,
    open_source,
    table_in,
)

__all__ = ["KINDS", "RECORDS", "Opened", "is_study", "open_any", "open_source", "table_in"]
