"""From what a study asks for to the runs that it means: `expand`, `sweep_runs`, `untuned_runs`.

A finetuning study declares a base setting and stars around it: one factor varies at a time, crossed with
methods, data sizes and seeds. `study` (with `parts`) says what a study may declare, `run` what a run is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, Literal

from finescale.spec.fields import Strict
from finescale.spec.parts import Choice, PetStar
from finescale.spec.run import EVALUATION_CONTENT, EvaluationSpec, ModelSpec, ResumeSpec, RunSpec
from finescale.spec.study import Study


class PlannedRun(Strict):
    """A run with its place in the study: what it is for, whether its rate was swept, what of it is kept.

    Example:
        >>> run = fs.RunSpec.model_construct(task="mini-en-de", finetune_examples=128)
        >>> fs.PlannedRun.model_construct(run=run, purpose="study", lr_tuned=True).run.task
        'mini-en-de'
    """

    run: RunSpec
    purpose: Literal["sweep", "study"]
    lr_tuned: bool
    lr_tuned_at: str | None = None
    """The settings (model and data size) whose sweeps the learning rate comes from."""
    keep: Literal["nothing", "adapters", "weights"] = "nothing"
    resume: ResumeSpec = ResumeSpec()


Resolve = Callable[[str, str, int | str], tuple[ModelSpec, dict[str, str]]]
"""(task, model name, pretrain tokens or "last") -> model, content hashes of weights, tokenizer and data."""

Retuned = Callable[[str, str, int], "tuple[Choice, str] | None"]
"""(method, model name, data size) -> the choice there and the corners that it comes from."""


def sweep_runs(study: Study, resolve: Resolve) -> dict[str, list[tuple[Choice, PlannedRun]]]:
    """The runs of the sweep of rates and batch sizes, by method; empty for a method with one candidate."""
    found: dict[str, list[tuple[Choice, PlannedRun]]] = {}
    for method in study.methods():
        choices = study.candidates(method)
        if len(choices) < 2 or study.sweep is None:
            continue
        place = study.sweep.model, study.sweep.finetune_examples
        found[method] = [(choice, swept_run(study, method, choice, place, resolve)) for choice in choices]
    return found


def swept_run(
    study: Study, method: str, choice: Choice, place: tuple[str, int], resolve: Resolve
) -> PlannedRun:
    """A candidate's run of a sweep at a model and a data size."""
    assert study.sweep is not None
    model, examples = place
    tokens = "last" if model == study.sweep.model else study.base.pretrain_tokens
    setting = model, tokens, method, study.base_size(method), examples, study.sweep.seed
    return _maker(study, choice, "sweep", None, resolve)(setting)


def expand(
    study: Study, choices: Mapping[str, Choice], resolve: Resolve, retuned: Retuned = lambda *_: None
) -> list[PlannedRun]:
    """The study's runs, sweep apart; equal runs of different stars merge by fingerprint.

    Args:
        study: The study.
        choices: The sweep's choice for each method that was swept; a method with more than one candidate and
            no choice yet is left out (its runs come once the choice is committed).
        resolve: Finds models, checkpoints and content hashes.
        retuned: The choice at a setting where it was checked at the study's corners.

    Returns:
        Planned runs in the order of the stars, without the untuned models (`untuned_runs`).

    Example:
        >>> study = fs.load_study("studies/nano.yaml")
        >>> choices = {method: study.candidates(method)[0] for method in study.methods()}
        >>> def resolve(task, model, tokens):  # stands in for the models and data of a machine
        ...     trained = 1000 if tokens == "last" else tokens
        ...     spec = fs.ModelSpec(name=model, pretrain_tokens=trained, revision="r")
        ...     return spec, {"weights": model, "data": task}
        >>> len(fs.expand(study, choices, resolve))
        85
    """
    makers: dict[str, Callable[[Setting], PlannedRun]] = {}
    for method in study.methods():
        candidates = study.candidates(method)
        choice = choices.get(method) or (candidates[0] if len(candidates) == 1 else None)
        if choice is not None:
            rates = {(item.optimizer, item.learning_rate) for item in candidates}
            tuned = method in choices and len(rates) > 1
            at = f"{study.sweep.model} at {study.sweep.finetune_examples}" if study.sweep else ""
            makers[method] = _maker(study, choice, "study", at if tuned else None, resolve)
    planned: dict[str, PlannedRun] = {}

    @cache
    def maker(method: str, model: str, examples: int) -> Callable[[Setting], PlannedRun]:
        found = retuned(method, model, examples)
        return makers[method] if found is None else _maker(study, found[0], "study", found[1], resolve)

    for setting in _settings(study):
        if setting[2] in makers:
            item = maker(setting[2], setting[0], setting[4])(setting)
            planned.setdefault(item.run.fingerprint(), item)
    return list(planned.values())


def untuned_runs(study: Study, resolve: Resolve) -> list[PlannedRun]:
    """One evaluation of each untuned base model that the study uses (0 examples)."""
    planned: dict[str, PlannedRun] = {}
    make = _maker(study, study.candidates(study.methods()[0])[0], "study", None, resolve)
    for model, tokens in dict.fromkeys(setting[:2] for setting in _settings(study)):
        item = make((model, tokens, "full", None, 0, 0))
        planned.setdefault(f"{item.run.model.name}@{item.run.model.pretrain_tokens}", item)
    return list(planned.values())


Setting = tuple[str, "int | str", str, "int | None", int, int]


def _settings(study: Study) -> Iterable[Setting]:
    """(model, pretrain tokens, method, PET size, examples, seed) for every point of every star."""
    base = study.base
    for star in study.grids:
        for method in study.methods():
            base_pet = study.base_size(method)
            values: tuple[Any, ...]
            values = (star.values.of(method) or ()) if isinstance(star, PetStar) else star.values
            for value in values:
                for examples in star.finetune_examples.of(method) or ():
                    for seed in star.seeds if star.seeds is not None else study.seeds:
                        if star.vary == "model":
                            yield value, base.pretrain_tokens, method, base_pet, examples, seed
                        elif star.vary == "pretrain_tokens":
                            yield base.model, value, method, base_pet, examples, seed
                        else:
                            yield base.model, base.pretrain_tokens, method, value, examples, seed


def _maker(
    study: Study, choice: Choice, purpose: Literal["sweep", "study"], tuned_at: str | None, resolve: Resolve
) -> Callable[[Setting], PlannedRun]:
    """Makes a method's runs from their settings; what the runs share is made once."""
    method_of = cache(study.method)
    train_of = cache(partial(study.train.resolve, choice=choice))
    model_of = cache(partial(resolve, study.task_name))
    task, test_examples, keep = study.task_name, study.test_examples, study.keep
    sweeps = purpose == "sweep"  # the dev loss chooses: nothing else is measured
    evaluation = EvaluationSpec() if sweeps else study.evaluation
    data = None if isinstance(study.task, str) else study.task

    def make(setting: Setting) -> PlannedRun:
        name, tokens, method, pet_size, examples, seed = setting
        model, content = model_of(name, tokens)
        if sweeps:
            content = {name: value for name, value in content.items() if name not in EVALUATION_CONTENT}
        run = RunSpec(
            task=task,
            data=data,
            model=model,
            method=method_of(method, pet_size),
            finetune_examples=examples,
            test_examples=test_examples,
            seed=seed,
            train=train_of(method),
            content=content,
            evaluation=evaluation,
            version=study.version,
        )
        tuned = {"lr_tuned": tuned_at is not None, "lr_tuned_at": tuned_at}
        return PlannedRun(run=run, purpose=purpose, **tuned, keep=keep, resume=study.resume)

    return make
