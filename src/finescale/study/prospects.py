"""What a study's design can answer once it has run, and what it cannot: told before anything is paid for.

The counts are those that the analysis asks for: a law of the data size has three parameters, and needs a
fourth setting to be checked; a factor that has one value says nothing about others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from finescale.spec.expand import PlannedRun
from finescale.spec.run import RunSpec
from finescale.spec.study import Study

Fitted = Mapping[str, Sequence[RunSpec]]
LAW_SETTINGS = 4
"""Data sizes that a law needs: three parameters, and one to check them."""
MOST_HELD_OUT = 0.5
"""Where more of the study is held out, the laws rest on little; 0.2 to 0.4 is usual."""


def prospects(spec: Study, runs: Sequence[PlannedRun], held: Sequence[bool]) -> Iterator[str]:
    """What can be answered afterwards, and what not, in sentences.

    Args:
        spec: The study.
        runs: Its runs.
        held: Which of them are held out of fits.
    """
    study = [
        (item.run, out)
        for item, out in zip(runs, held, strict=True)
        if item.purpose == "study" and item.run.finetune_examples
    ]
    if not study:
        return
    there = {run.method.name for run, _ in study}
    methods = [name for name in spec.methods() if name in there]
    fitted = {name: [run for run, out in study if run.method.name == name and not out] for name in methods}
    yield "What can be answered afterwards:"
    parts = [*_data(fitted), _models(fitted), *_comparison(spec, methods), *_noise(fitted)]
    yield from (f"- {part}" for part in parts)
    share = sum(out for _, out in study) / len(study)
    if share > MOST_HELD_OUT:
        yield (
            f"Warning: {share:.0%} of the study's runs are held out: the laws are fitted to the other "
            f"{1 - share:.0%} alone. Let hold_out keep the largest sizes only."
        )
    elif not share:
        yield "Nothing is held out (hold_out): no prediction is tested on runs that the laws have not seen."


def _data(fitted: Fitted) -> Iterator[str]:
    """Which methods have enough data sizes for a law, on the model that has most of them."""
    sizes = {}
    for name, runs in fitted.items():
        by_model: dict[object, set[int]] = {}
        for run in runs:
            key = run.model.name, run.model.pretrain_tokens, run.method.pet_size
            by_model.setdefault(key, set()).add(run.finetune_examples)
        sizes[name] = max(map(len, by_model.values()), default=0)
    good = [name for name, many in sizes.items() if many >= LAW_SETTINGS]
    if good:
        yield f"a law over the data size for {', '.join(good)}"
    few = [f"{name} ({many} fitted)" for name, many in sizes.items() if many < LAW_SETTINGS]
    if few:
        yield (
            f"no law over the data size for {', '.join(few)}: a law needs {LAW_SETTINGS} data sizes on one "
            "model; forecasts rest on what was measured and widen fast beyond it"
        )


def _models(fitted: Fitted) -> str:
    """What can be said about other models."""
    models = {(run.model.name, run.model.params) for runs in fitted.values() for run in runs}
    many = len({name for name, _ in models})
    if many == 1:
        return "nothing about other model sizes (one model)"
    if many == 2:
        return "two models compared, no law over the model size (two sizes)"
    return f"a law over the model size ({many} models)"


def _comparison(spec: Study, methods: Sequence[str]) -> Iterator[str]:
    """Whether methods can be compared, and how surely."""
    if len(methods) == 1:
        yield "no comparison (one method)"
    elif untuned := [name for name in methods if not _tuned(spec, name)]:
        yield (
            "a comparison that no advice can rest on: the rate of "
            f"{', '.join(untuned)} is not tuned (learning_rates with several values)"
        )
    else:
        yield "a comparison of the methods"


def _tuned(spec: Study, method: str) -> bool:
    """Whether a method has several rates, or optimisers with a rate each, to choose between."""
    return len({(choice.optimizer, choice.learning_rate) for choice in spec.candidates(method)}) > 1


def _noise(fitted: Fitted) -> Iterator[str]:
    """Whether the spread between runs of one setting will be known."""
    if len({run.seed for runs in fitted.values() for run in runs}) == 1:
        yield "the noise between runs stays unknown (one seed)"
