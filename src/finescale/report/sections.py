"""The page's sections: each takes everything that is known and makes its part, or says what it lacks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib import metadata

from finescale.advice.candidates import SIZE
from finescale.advice.setting import PAPER_FACTORS, UNNAMED
from finescale.advice.wording import capital, factor_name, listed, method_name, slug
from finescale.laws.estimate import DELTA
from finescale.report import audit, explorer, palette
from finescale.report.charts import prefixed, silent
from finescale.report.content import Content
from finescale.report.decisions import Decision, crossover_name
from finescale.report.figures import CROSSOVERS, NUMBERS, Figure
from finescale.report.markup import Html, bullets, folded, joined, note, paragraphs, table, tag
from finescale.report.shape import bend_words, misfit_words, steps_words
from finescale.report.sheet import Sheet

_HOLDS = (
    "No sign in these records that the multiplicative law fails: it misses no more than the noise "
    "between seeds "
    "explains, and no curve bends downwards."
)
_FACTOR_OF = {number: factor for factor, number in NUMBERS.items()}


def _missing(text: str) -> Html:
    return tag("p", text, class_="missing")


def _named(content: Content, start: str) -> list[Html]:
    return [table(sheet) for sheet in content.sheets if sheet.name.startswith(start)]


def answer(content: Content) -> Html:
    """The answer of every task: what the observed means say, what the laws advise, and their evidence."""
    if not content.answers:
        return _missing("No finished run of a tuned model: nothing can be said yet. See what failed below.")
    parts: list[Html] = []
    for item in content.answers:
        if len(content.answers) > 1:
            parts.append(tag("h3", item.task))
        parts.append(tag("p", item.headline, class_="headline"))
        parts.append(advice_words(content.decisions[item.task]))
        if item.setting:
            where = f"Task {item.task}, b" if item.task != UNNAMED else "B"
            parts.append(tag("p", f"{where}ase setting: {item.setting}.", class_="soft"))
        parts.append(bullets(*item.support))
        own = [sheet for sheet in content.sheets if sheet.name == f"answer-{slug(item.task)}"]
        parts += [table(sheet) for sheet in own]
    return joined(*parts)


def advice_words(made: Decision | str) -> Html:
    """What the laws advise at the base setting, or why they do not."""
    if isinstance(made, str):
        return _missing(f"The laws advise nothing: {made}")
    advice = made.advice
    parts = [tag("p", tag("strong", "By the laws: "), advice.sentence)]
    if advice.settle:
        parts += [tag("p", "These runs would settle it:"), bullets(*[run.words for run in advice.settle])]
    if advice.notes:
        parts.append(folded(f"What to know about this advice ({len(advice.notes)})", bullets(*advice.notes)))
    return joined(*parts)


def explore(content: Content) -> Html:
    """The explorer of every task."""
    parts: list[Html] = []
    for index, (task, made) in enumerate(content.decisions.items()):
        if len(content.decisions) > 1:
            parts.append(tag("h3", task))
        if isinstance(made, str):
            parts.append(_missing(f"Nothing to explore: {made}"))
        elif not explorer.explorable(made):
            parts.append(_missing("The explorer needs bootstrap draws (--bootstrap) of laws of the zoo."))
        else:
            parts.append(explorer.section(made, index, len(content.decisions)))
    how = (
        "Move model size, data and price: every law is evaluated here in all its bootstrap draws, at most "
        "ten times beyond the runs. The laws are fitted to all runs, held-out ones too."
    )
    return joined(tag("p", how, class_="soft"), *parts) if parts else _missing("The explorer needs laws.")


def crossings(content: Content) -> Html:
    """The crossovers: where the better method changes."""
    parts: list[Html] = []
    for task, made in content.decisions.items():
        if len(content.decisions) > 1:
            parts.append(tag("h3", task))
        if isinstance(made, str) or not made.pairs:
            parts.append(_missing("Crossovers need the laws of two methods or more."))
            continue
        parts.append(bullets(*_at_base(made)))
        drawn = [pair for pair in content.figures.get(task, ()) if pair[0].number == CROSSOVERS]
        parts += [_figure(*pair) for pair in drawn]
        if not drawn:
            parts.append(_missing("Figure 5 needs runs at two model sizes or more, and bootstrap draws."))
        tables = [table(sheet) for sheet in content.sheets if sheet.name == crossover_name(task)]
        parts.append(folded("Table 5: every pair at every model size", *tables))
    return joined(*parts) if parts else _missing("Crossovers need the laws of two methods or more.")


def _at_base(made: Decision) -> list[str]:
    """A sentence a pair: who is ahead up to where, at the base setting's model size."""
    base = made.found.base.get(SIZE)
    said = []
    for pair in made.pairs:
        point = next((point for point in pair.points if point.at in (None, base)), pair.points[-1])
        names = f"{capital(method_name(pair.first))} and {method_name(pair.second)}"
        said.append(f"{names}, {point.words}.")
    return said


def laws_in_pictures(content: Content) -> Html:
    """Figures 1-4, with what they hide in words."""
    parts: list[Html] = []
    for task in content.evidence.tasks:
        drawn = [pair for pair in content.figures.get(task.task, ()) if pair[0].number != CROSSOVERS]
        if len(content.evidence.tasks) > 1:
            parts.append(tag("h3", task.task))
        for figure, panels in drawn:
            parts.append(_figure(figure, panels))
            factor = _FACTOR_OF.get(figure.number)
            parts += [note(words) for words in (misfit_words(task, factor) if factor else bend_words(task))]
        have = {figure.number for figure, _ in drawn}
        for at, name in _FACTOR_OF.items():
            if at not in have:
                parts.append(
                    _missing(f"Figure {at} needs runs at two values of {factor_name(name)} or more.")
                )
    return joined(*parts) if parts else _missing("Figures 1-4 need finished runs.")


def _figure(figure: Figure, panels: Sequence[str]) -> Html:
    pictures = []
    for index, (panel, svg) in enumerate(zip(figure.panels, panels, strict=True)):
        inner = prefixed(silent(palette.themed(svg)), f"{figure.name}-{index}-")
        what = f"{figure.title}: {panel.title}"
        label = tag("svg", role="img", aria_label=what)[4 : -len("></svg>")]
        pictures.append(tag("div", Html(inner.replace("<svg", f"<svg{label}", 1)), class_="panel"))
    return tag(
        "figure",
        tag("h3", figure.title),
        tag("div", *pictures, class_="panels two" if len(pictures) in (2, 4) else "panels"),
        tag("figcaption", figure.caption),
    )


def law_tables(content: Content) -> Html:
    """Tables 2 and 4, and soft trouble of the fits."""
    made = [*_named(content, "table-2-"), *_named(content, "table-4-")]
    if not made:
        return joined(
            _missing("Tables 2 and 4 need a law: runs at two values of a factor and several data sizes."),
            _problems(content),
        )
    return joined(*made, _problems(content))


def _problems(content: Content) -> Html:
    found = [words for task in content.evidence.tasks for words in task.problems]
    look: dict[str, list[str]] = {}
    for task in content.evidence.tasks:
        for law in task.laws.get("multiplicative", ()):
            for status in law.status:
                factors = listed([factor_name(name) for name in law.factors])
                who = f"{method_name(str(law.by.get('method', '')))} / {factors}"
                look.setdefault(status, []).append(who)
    words = [f"{capital(status)} - {listed(list(dict.fromkeys(who)))}." for status, who in look.items()]
    if not found and not words:
        return Html("")
    return folded(f"What to know about these fits ({len(found) + len(words)})", bullets(*words, *found))


def does_it_hold(content: Content) -> Html:
    """Bends and misfits of the laws, and the laws of one variable against one another."""
    parts: list[Html] = []
    for task in content.evidence.tasks:
        words = bend_words(task) + [text for factor in PAPER_FACTORS for text in misfit_words(task, factor)]
        if len(content.evidence.tasks) > 1:
            parts.append(tag("h3", task.task))
        if words:
            parts.append(tag("p", "Not everywhere:"))
            parts.append(bullets(*words))
        elif task.laws:
            parts.append(tag("p", _HOLDS))
        parts.append(paragraphs(steps_words(task)))
    parts += _named(content, "single-variable-laws")
    return joined(*parts) if parts else _missing("This needs fitted laws.")


def rates(content: Content) -> Html:
    """The audit of learning rates."""
    found = _named(content, "learning-rates")
    return (
        joined(*found)
        if found
        else _missing("The records have no column learning_rate: it would be shown here.")
    )


def regime(content: Content) -> Html:
    """Target tokens per trained parameter."""
    found = _named(content, "tokens-per-parameter")
    missing = "This needs the columns finetune_tokens and trainable_params."
    if not found:
        return _missing(missing)
    sheet = next(sheet for sheet in content.sheets if sheet.name == "tokens-per-parameter")
    words = [note(text) for text in sheet.notes]
    bare = Sheet(sheet.name, sheet.title, sheet.rows, sheet.shown)
    return joined(*words, folded("By method and data size", table(bare)))


def noise(content: Content) -> Html:
    """The noise between seeds."""
    found = _named(content, "seed-noise")
    return joined(*found) if found else _missing("One run a setting: two seeds or more would show the noise.")


def runs(content: Content) -> Html:
    """Runs, failures and cost."""
    parts = [tag("p", audit.summary_words(content.evidence)), *_named(content, "runs-and-cost")]
    failed = _named(content, "troubles")
    parts += failed or [tag("p", "No run failed or diverged.")]
    return joined(*parts)


def method(content: Content) -> Html:
    """How the page was made, so that a reader can repeat it."""
    evidence, source = content.evidence, content.source
    records = evidence.records
    held = int(records.frame["held_out"].sum())
    level = next((law.level for task in evidence.tasks for fits in task.laws.values() for law in fits), 0.9)
    entries = [
        (
            "Laws",
            "multiplicative L = A·X^-α·D^-β + E and additive L = A·X^-α + B·D^-β + E, in the "
            "paper's two steps: beta and E shared over model size and pretraining tokens first, then fixed.",
        ),
        (
            "Points",
            "a point is the mean of a setting's runs; a factor's slice keeps the others at the base setting",
        ),
        (
            "Objective",
            f"Huber loss (delta {DELTA:g}), summed, on predicted minus observed {records.loss} (nats)",
        ),
        (
            "Solver",
            "variable projection: exponents profiled on a grid, linear coefficients by IRLS to convergence, "
            "every local minimum polished with damped Newton steps",
        ),
        ("Held out", f"{held} runs" + (f" by the rule {source.hold_out}" if source.hold_out else "")),
        (
            "Intervals",
            f"{level:.0%}, percentile, from {evidence.bootstrap} bootstrap resamples of settings with a "
            f"shared effect of each seed; bootstrap seed {evidence.seed}",
        ),
        ("Left out", " ".join(records.notes) or "nothing"),
        ("Versions", _versions()),
    ]
    pairs = [part for name, words in entries for part in (tag("dt", name), tag("dd", words))]
    parts = [tag("dl", *pairs)]
    if source.commands:
        parts += [tag("p", "Again, from the command line:"), tag("pre", "\n".join(source.commands))]
    if source.study_file:
        parts.append(folded("The study file", tag("pre", source.study_file)))
    return joined(*parts)


def _versions() -> str:
    names = ("finescale", "numpy", "polars")
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return ", ".join([*[f"{name} {version(name)}" for name in names], python, platform.system()])


def version(name: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"
