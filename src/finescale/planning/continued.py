"""A plan as a study file: the study that it continues, with the planned runs as further stars."""

from __future__ import annotations

from typing import Any

from finescale.errors import UsageError
from finescale.planning.outlook import Plan, Planned
from finescale.records.records import DATA_SIZE
from finescale.spec.file import parse_study
from finescale.spec.study import Study
from finescale.spec.yaml import write_yaml
from finescale.wording import count

_VARY = {
    "model_params": "model",
    "model_params_nonembedding": "model",
    "pretrain_tokens": "pretrain_tokens",
    "pet_size": "pet_size",
}


def extend_study(study: Study, plan: Plan, command: str) -> str:
    """The study's file with the planned runs added; runs that are finished are not made again.

    Args:
        study: The study that the plan continues.
        plan: The plan.
        command: The command line that made it, for the header.

    Returns:
        YAML that ``finescale run`` takes.

    Raises:
        UsageError: A planned model without a name, or settings that no study can state.
    """
    data = study.model_dump(mode="json", exclude_defaults=True)
    data = {"kind": "finetune", **data, "grids": [*data["grids"], *stars(plan)]}
    data.pop("hold_out", None)
    head = [
        f"# {len(plan.runs)} settings planned by: {command}",
        "# The planned runs are the last stars of `grids`. In the study's own folder (the default) only they",
        "# are new: what is finished stays. `hold_out` is left out, so that every run enters the fits.",
    ]
    text = "\n".join(head) + "\n" + write_yaml(data)
    parse_study(text, "the planned study")
    return text


def stars(plan: Plan) -> list[dict[str, Any]]:
    """The planned runs as stars of a study, one for each setting's value and seeds.

    Raises:
        UsageError: A model without a name.
    """
    groups: dict[tuple[Any, ...], dict[str, list[int]]] = {}
    for run in plan.runs:
        key = (*_value(run), run.method if "pet_size" in run.sizes else None, run.seeds)
        groups.setdefault(key, {}).setdefault(run.method, []).append(round(run.sizes[DATA_SIZE]))
    made = []
    for (vary, value, method, seeds), sizes in groups.items():
        values: Any = {method: [value]} if method else [value]
        examples = {name: sorted(some) for name, some in sizes.items()}
        made.append({"vary": vary, "values": values, "finetune_examples": examples, "seeds": list(seeds)})
    return made


def _value(run: Planned) -> tuple[str, str | int]:
    factor = next(name for name in run.sizes if name != DATA_SIZE)
    if _VARY[factor] != "model":
        return _VARY[factor], round(run.sizes[factor])
    if run.model is None:
        raise UsageError(
            f"the model with {count(run.sizes[factor])} parameters has no name",
            wanted="a column `model` in the records, or models of the study",
            remedy="leave --out away and read the table, or --json",
        )
    return "model", run.model
