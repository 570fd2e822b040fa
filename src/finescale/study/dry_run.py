"""What `finescale run --dry-run` shows: the expanded study and roughly what it costs, without its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from finescale.ladder import LADDER, train_flops
from finescale.runs.expected import estimated_evaluation, estimated_flops
from finescale.spec.expand import PlannedRun
from finescale.spec.study import PretrainStudy, Study
from finescale.study.ledger import ENDED_WELL, Ledger
from finescale.study.plan import FinetunePlan, PretrainPlan, StudyPlan
from finescale.study.progress import duration
from finescale.study.prospects import prospects
from finescale.study.race_rule import RUNGS

GPU_FLOPS = 1.25e14
"""FLOP/s that a GPU is taken to sustain: 40% of the 312 TFLOP/s (bf16) of an A100."""
WORTH_A_GPU = 0.1
"""From so many GPU-hours on, the time is stated for GPUs, not for this machine's cores."""


def dry_run_view(
    spec: Study | PretrainStudy, plan: StudyPlan, folder: Path, gpu_flops: float = GPU_FLOPS
) -> Iterator[Table | str]:
    """A plan as a table and sentences.

    Args:
        spec: The study.
        plan: Its plan.
        folder: The folder that it would run in; what is finished there is counted.
        gpu_flops: FLOP/s that one GPU sustains.
    """
    if isinstance(spec, PretrainStudy):
        assert isinstance(plan, PretrainPlan)
        yield from _pretraining(spec, plan, gpu_flops)
        yield from _standing(_statuses(spec, plan, folder), [task.entry.run for task in plan.tasks()], folder)
    else:
        assert isinstance(plan, FinetunePlan)
        yield from _finetuning(spec, plan, folder, gpu_flops)


def table(*columns: str) -> Table:
    """A plain table; words to the left, numbers to the right."""
    made = Table(box=None, pad_edge=False)
    for name in columns:
        words = name in ("purpose", "method", "model", "examples")
        made.add_column(name, justify="left" if words else "right")
    return made


def gpu_hours(flops: float, gpu_flops: float) -> str:
    """FLOPs as hours of one GPU, in words."""
    hours = flops / gpu_flops / 3600
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _pretraining(spec: PretrainStudy, plan: PretrainPlan, gpu_flops: float) -> Iterator[Table | str]:
    rows = table("model", "parameters", "checkpoints", "training FLOPs")
    total = 0.0
    for task in plan.tasks():
        fields = task.entry.fields
        shape, tokens = LADDER[fields["model"]], spec.expected_tokens
        flops = ""
        if tokens is not None:
            cost = train_flops("full", shape.nonembedding_params, shape.embedding_params, tokens, tokens)
            total, flops = total + cost, f"{cost:.2g}"
        checkpoints = len(spec.checkpoints.get(fields["model"], ())) + 1
        rows.add_row(escape(fields["model"]), f"{fields['model_params']:,}", str(checkpoints), flops)
    yield f"{spec.name}: {len(plan.tasks())} pretraining runs"
    yield rows
    if total:
        yield (
            f"About {total:.2g} training FLOPs for {spec.expected_tokens:.3g} tokens (expected_tokens): "
            f"{gpu_hours(total, gpu_flops)} GPU-hours where a GPU sustains {gpu_flops:.3g} FLOP/s."
        )


def _finetuning(spec: Study, plan: FinetunePlan, folder: Path, gpu_flops: float) -> Iterator[Table | str]:
    statuses = _statuses(spec, plan, folder)  # first: choices of the sweep make runs known
    known = {task.entry.run: task.entry for task in plan.tasks()}
    runs = plan.runs()
    held = plan.held_out_of(runs)
    groups: dict[tuple[str, str, str], list[tuple[PlannedRun, bool]]] = {}
    for item, out in zip(runs, held, strict=True):
        method = item.run.method.name if item.run.finetune_examples else "none"
        groups.setdefault((item.purpose, method, item.run.model.name), []).append((item, out))
    rows = table(
        "purpose", "method", "model", "runs", "examples", "training FLOPs", "held out", "done", "new"
    )
    for (purpose, method, model), items in groups.items():
        sizes = sorted({item.run.finetune_examples for item, _ in items})
        examples = (
            f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} - {sizes[-1]:,} ({len(sizes)} sizes)"
        )
        flops = sum(estimated_flops(item.run) for item, _ in items)
        out = sum(out for _, out in items)
        done = sum(statuses.get(item.run.fingerprint()) in ENDED_WELL for item, _ in items)
        new = sum(item.run.fingerprint() not in statuses for item, _ in items)
        counts = [str(many or "") for many in (out, done, new)]
        rows.add_row(purpose, method, escape(model), str(len(items)), examples, f"{flops:.2g}", *counts)
    yield rows
    total = sum(estimated_flops(item.run) for item in runs)
    if total / gpu_flops / 3600 >= WORTH_A_GPU:
        time = f"{gpu_hours(total, gpu_flops)} GPU-hours where a GPU sustains {gpu_flops:.3g} FLOP/s"
    else:
        seconds = sum(entry.cost for entry in known.values()) + sum(plan.outlook())
        time = f"roughly {duration(seconds)} of one core"
    study_runs = sum(item.purpose == "study" for item in runs)
    yield (
        f"{spec.name}: {len(runs)} runs, {len(runs) - study_runs} of them for the learning-rate sweep; "
        f"{sum(held)} of {study_runs} study runs held out ({sum(held) / max(1, study_runs):.0%}); "
        f"about {total:.2g} training FLOPs (estimated), {time}."
    )
    if spec.sweep is not None and spec.sweep.race and plan.undecided():
        yield (
            "The sweep is a race: its cost here is an upper bound. A candidate that will not win ends after "
            f"{RUNGS[0]:.1%} of its steps or at the next rungs."
        )
    if plan.retune and plan.undecided():
        yield (
            "Its choice is then checked (--retune) at the largest data size and at the smallest and largest"
            " model: three runs or more a method at each, not counted here; then the runs whose rates follow."
        )
    yield from _standing(statuses, [item.run.fingerprint() for item in runs], folder)
    yield from _evaluation(runs, total / gpu_flops / 3600 >= WORTH_A_GPU)
    if spec.hold_out is not None and not any(held):
        yield f"hold_out matches no run: {spec.hold_out}"
    yield from prospects(spec, runs, held)


def _statuses(spec: Study | PretrainStudy, plan: StudyPlan, folder: Path) -> dict[str, str]:
    """How the runs that are finished in the folder ended; the plan takes over what its sweep chose there."""
    ledger_file = folder / "ledger.sqlite"
    if not ledger_file.exists():
        return {}
    with Ledger(ledger_file, create=False, on_copy=True) as ledger:
        ledger.belongs_to(spec.name)
        plan.advance(ledger)
        return ledger.statuses()


def _standing(statuses: Mapping[str, str], runs: Sequence[str], folder: Path) -> Iterator[str]:
    """What of the runs is done in the folder, and what a run of the study would make."""
    if not statuses:
        yield f"All of it is new: {folder} holds no run yet."
        return
    ended = [statuses[run] for run in runs if run in statuses]
    parts = [f"{ended.count(status)} {status}" for status in dict.fromkeys(ended)]
    parts.append(f"{len(runs) - len(ended)} new")
    others = len(statuses) - len(set(runs) & statuses.keys())
    more = f"; {others} finished runs there are not in this study file" if others else ""
    yield f"In {folder}: {', '.join(parts)}{more}."


def _evaluation(runs: list[PlannedRun], on_gpu: bool) -> Iterator[str]:
    """What the evaluation of all runs costs, in a sentence; nothing where none is asked for."""
    costs = [estimated_evaluation(item.run) for item in runs]
    texts, flops = sum(cost.texts for cost in costs), sum(cost.flops for cost in costs)
    if not flops:
        return
    words = f"The evaluation adds up to {flops:.2g} FLOPs"
    words += f" and {texts:,} generated texts" if texts else ""
    if on_gpu:
        words += ", not in these hours" + (": decoding is bound by memory, not by FLOPs" if texts else "")
    else:
        words += f": of that time up to {duration(sum(cost.seconds for cost in costs))}"
    yield f"{words}."
