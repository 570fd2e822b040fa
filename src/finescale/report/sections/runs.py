"""The sections about the runs: learning rates, data per parameter, noise, failures, cost, how it was made."""

from __future__ import annotations

from finescale.records.truncation import truncation_words
from finescale.report import audit
from finescale.report.checklist import checklist
from finescale.report.content import Content
from finescale.report.drawing.markup import Html, folded, joined, note, table, tag
from finescale.report.drawing.sheet import Sheet
from finescale.report.fits import FITS
from finescale.report.sections.parts import missing, named
from finescale.report.stability import NAME as STABILITY


def rates(content: Content) -> Html:
    """The audit of learning rates."""
    found = named(content, "learning-rates")
    return (
        joined(*found)
        if found
        else missing("The records have no column learning_rate: it would be shown here.")
    )


def regime(content: Content) -> Html:
    """Target tokens per trained parameter."""
    found = named(content, "tokens-per-parameter")
    if not found:
        return missing("This needs the columns finetune_tokens and trainable_params.")
    sheet = next(sheet for sheet in content.sheets if sheet.name == "tokens-per-parameter")
    words = [note(text) for text in sheet.notes]
    bare = Sheet(sheet.name, sheet.title, sheet.rows, sheet.shown)
    return joined(*words, folded("By method and data size", table(bare)))


def noise(content: Content) -> Html:
    """The noise between seeds, and how many runs diverged."""
    found = named(content, STABILITY)
    return joined(*found) if found else missing("This needs runs of a tuned model.")


def runs(content: Content) -> Html:
    """Runs, failures and cost."""
    parts = [tag("p", audit.summary_words(content.evidence)), *named(content, "runs-and-cost")]
    parts += [tag("p", words) for words in _cut(content)]
    failed = named(content, "troubles")
    parts += failed or [tag("p", "No run failed or diverged.")]
    return joined(*parts)


def _cut(content: Content) -> tuple[str, ...]:
    """What was cut of the examples, where the records say it."""
    frame = content.evidence.records.every_row
    if not any(name.endswith("_truncated") for name in frame.columns):
        return ()
    return truncation_words(frame) or ("No source and no target was cut to the tokens allowed.",)


def method(content: Content) -> Html:
    """How the page was made, so that a reader can repeat it."""
    source = content.source
    entries = checklist(content)
    pairs = [part for name, words in entries for part in (tag("dt", name), tag("dd", words))]
    parts = [tag("dl", *pairs)]
    if source.commands:
        parts += [tag("p", "Again, from the command line:"), tag("pre", "\n".join(source.commands))]
    fits = named(content, FITS)
    parts += [folded("Every fit, to compare a repetition with", *fits)] if fits else []
    if source.study_file:
        parts.append(folded("The study file", tag("pre", source.study_file)))
    return joined(*parts)
