"""What `finescale run --dry-run` shows: the expanded study and roughly what it costs, without its data."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from finescale.ladder import LADDER, train_flops
from finescale.runs.expected import estimated_evaluation, estimated_flops
from finescale.spec.expand import PlannedRun
from finescale.spec.study import PretrainSpec, StudySpec
from finescale.study.plan import FinetunePlan, Plan, PretrainPlan
from finescale.study.progress import duration

GPU_FLOPS = 1.25e14
"""FLOP/s that a GPU is taken to sustain: 40% of the 312 TFLOP/s (bf16) of an A100."""
WORTH_A_GPU = 0.1
"""GPU-hours from which on the time is told for GPUs, not for this machine's cores."""


def shown(spec: StudySpec | PretrainSpec, plan: Plan, gpu_flops: float = GPU_FLOPS) -> Iterator[Table | str]:
    """A plan as a table and sentences.

    Args:
        spec: The study.
        plan: Its plan.
        gpu_flops: FLOP/s that one GPU sustains.
    """
    if isinstance(spec, PretrainSpec):
        assert isinstance(plan, PretrainPlan)
        yield from _pretraining(spec, plan, gpu_flops)
    else:
        assert isinstance(plan, FinetunePlan)
        yield from _finetuning(spec, plan, gpu_flops)


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


def _pretraining(spec: PretrainSpec, plan: PretrainPlan, gpu_flops: float) -> Iterator[Table | str]:
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


def _finetuning(spec: StudySpec, plan: FinetunePlan, gpu_flops: float) -> Iterator[Table | str]:
    known = {task.entry.run: task.entry for task in plan.tasks()}
    runs = plan.runs()
    held = plan.held_out_of(runs)
    groups: dict[tuple[str, str, str], list[tuple[PlannedRun, bool]]] = {}
    for item, out in zip(runs, held, strict=True):
        method = item.run.method.name if item.run.finetune_examples else "none"
        groups.setdefault((item.purpose, method, item.run.model.name), []).append((item, out))
    rows = table("purpose", "method", "model", "runs", "examples", "training FLOPs", "held out")
    for (purpose, method, model), items in groups.items():
        sizes = sorted({item.run.finetune_examples for item, _ in items})
        examples = (
            f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} - {sizes[-1]:,} ({len(sizes)} sizes)"
        )
        flops = sum(estimated_flops(item.run) for item, _ in items)
        out = sum(out for _, out in items)
        rows.add_row(
            purpose, method, escape(model), str(len(items)), examples, f"{flops:.2g}", str(out or "")
        )
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
    yield from _evaluation(runs, total / gpu_flops / 3600 >= WORTH_A_GPU)
    if spec.hold_out is not None and not any(held):
        yield f"hold_out matches no run: {spec.hold_out}"


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
