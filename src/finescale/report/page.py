"""The page: one HTML file without network or framework; the answer first, then what it rests on."""

from __future__ import annotations

from importlib import resources

from finescale.report import audit, explorer
from finescale.report.checklist import version
from finescale.report.content import Content
from finescale.report.drawing import palette
from finescale.report.drawing.markup import Html, tag
from finescale.report.sections import answer, laws, runs, scores


def html(content: Content) -> str:
    """The page's text."""
    parts = [
        ("answer", "The answer", answer.answer(content)),
        ("explorer", "Ask for another model, data size or price", answer.explore(content)),
        ("crossovers", "Where the better method changes", answer.crossings(content)),
        ("findings", "The paper's findings on these records", laws.findings(content)),
        ("figures", "The laws in pictures", laws.laws_in_pictures(content)),
        ("tables", "How well the laws predict, and their parameters", laws.law_tables(content)),
        ("holds", "Does the law hold?", laws.does_it_hold(content)),
        ("scores", "Generation, zero-shot, few-shot, forgetting", scores.scores(content)),
        ("rates", "Learning rates", runs.rates(content)),
        ("regime", "Data per trained parameter", runs.regime(content)),
        ("noise", "Stability", runs.noise(content)),
        ("runs", "Runs, failures and cost", runs.runs(content)),
        ("method", "How this was made", runs.method(content)),
    ]
    title = f"{content.source.name}: which finetuning method, and how much data?"
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    policy += f"script-src '{explorer.script_hash()}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_style())),
    )
    links = [tag("li", tag("a", words, href=f"#{name}")) for name, words, _ in parts]
    frame = content.evidence.records.frame
    line = f"{audit.summary_words(content.evidence)} Made by finescale {version('finescale')} on "
    header = tag(
        "header",
        tag("h1", title),
        tag("p", f"{line}{content.source.created:%Y-%m-%d %H:%M}.", class_="soft"),
        tag("nav", tag("ol", *links), aria_label="Contents"),
    )
    filled = [_section(*part) for part in parts]
    closing = (
        f"{frame.height} finished study runs (untuned models among them). Loss is in nats per target token; "
    )
    footer = tag("footer", tag("p", closing + "perplexity is exp(loss)."))
    script = Html(f"<script>{explorer.script()}</script>")
    body = tag("body", header, tag("main", *filled), footer, script)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _section(name: str, title: str, body: Html) -> Html:
    look = {"class_": "answer"} if name == "answer" else {}
    return tag("section", tag("h2", title), body, id=name, **look)


def _style() -> str:
    css = resources.files("finescale.report").joinpath("assets/page.css").read_text(encoding="utf-8")
    light, dark = palette.variables(dark=False), palette.variables(dark=True)
    return (
        f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
        f"@media print{{:root{{{light}}}}}\n{css}"
    )
