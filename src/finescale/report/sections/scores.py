"""The section about what finetuning does beyond its loss: generation, zero-shot, few-shot, forgetting."""

from __future__ import annotations

from finescale.report.content import Content
from finescale.report.correlation import EVERY, NAME
from finescale.report.drawing.markup import Html, folded, joined, table, tag
from finescale.report.evidence import TaskEvidence
from finescale.report.score_figures import KINDS, Kind
from finescale.report.score_tables import scores_name
from finescale.report.sections.parts import figure_html, missing, named
from finescale.wording import factor_name, listed

_NEEDS = (
    "Figures 6-9 and 11-14 and Table 7 need scores: an `evaluation:` block in the study file, or a table of "
    "scores (--scores FILE)."
)


def scores(content: Content) -> Html:
    """Figures 6-9 and 11-14, forgetting beside gain, Table 7."""
    parts: list[Html] = []
    if content.evidence.scores is None:
        parts.append(missing(_NEEDS))
    for task in content.evidence.tasks:
        if len(content.evidence.tasks) > 1:
            parts.append(tag("h3", task.task))
        parts += _of_task(content, task)
    if content.evidence.scores is not None:
        made = named(content, NAME)
        parts += made or [missing("Table 7 needs generation scores at two values of a factor or more.")]
        every = named(content, EVERY)
        parts += [folded("Correlations of every score", *every)] if every else []
        parts += [tag("p", words, class_="small") for words in content.evidence.scores.notes]
    return joined(*parts)


def _of_task(content: Content, task: TaskEvidence) -> list[Html]:
    drawn = {figure.number: (figure, panels) for figure, panels in content.figures.get(task.task, ())}
    parts: list[Html] = []
    if content.evidence.scores is not None:
        parts += [figure_html(*drawn[kind.number]) for kind in KINDS if kind.number in drawn]
        parts += [missing(words) for words in _absent([kind for kind in KINDS if kind.number not in drawn])]
        own = [sheet for sheet in content.sheets if sheet.name == scores_name(task.task)]
        parts += [folded("Scores at the base setting", *map(table, own))] if own else []
    if 0 in drawn:
        parts.append(figure_html(*drawn[0]))
    else:
        parts.append(
            missing(
                "Forgetting needs the loss on pretraining text before and after finetuning "
                "(pretrain_loss_before, pretrain_loss_after), and the untuned models."
            )
        )
    return parts


def _absent(kinds: list[Kind]) -> list[str]:
    """What would fill the figures that are not there, one sentence a kind of score."""
    sentences = []
    for what in dict.fromkeys(map(_what, kinds)):
        mine = [kind for kind in kinds if _what(kind) == what]
        numbers = listed([str(kind.number) for kind in mine])
        figures = f"Figures {numbers} need" if len(mine) > 1 else f"Figure {numbers} needs"
        factors = listed([factor_name(kind.factor) for kind in mine], "or")
        sentences.append(f"{figures} {what} scores at two values of {factors}.")
    return sentences


def _what(kind: Kind) -> str:
    shots = {0: "generation", 1: "one-shot", 5: "five-shot"}
    return "zero-shot" if kind.split == "zero_shot" else shots[kind.shots]
