"""Whether a run that is cut goes on to the same bits, and what its checkpoints cost.

Usage: python benchmarks/durability_cuts.py [--part cuts] [--part checkpoints]   (about 15 min each)

It may be stopped at any time and goes on where it was: what is finished is kept in
benchmarks/results/durability_cuts.progress.json. Delete that file to start anew.

Figures, by part:
  cuts         cuts: runs whose worker was killed with SIGKILL, in all and by method and optimiser
               (cuts.lora.adamw ...); bit_identical_cuts: those that went on and ended with the record, dev
               curve, gradient norms and saved weights of the undisturbed run, bit for bit; resumed_cuts:
               those that went on from a checkpoint (the others had none yet and began again). A fifth of
               them each before a change of the study's folder, in a file half written, inside a step, inside
               an evaluation, and after a random time.
  checkpoints  checkpoint_share.METHOD, checkpoint_ms.METHOD, checkpoint_bytes.METHOD: the share of a run's
               time that saving takes at the default setting (one a minute), what one save takes, how much it
               writes; the bundled ladder's largest model with AdamW (two moments a weight).
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from durability import Parts, Progress, measure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "durability"))


def cuts(progress: Progress, count: int) -> dict[str, float]:
    """Cuts each method and optimiser `count` times, all six once a round."""
    import cutting  # noqa: PLC0415

    made: list[dict[str, Any]] = progress.of("cuts").setdefault("cuts", [])
    folder = Path(tempfile.gettempdir()) / "finescale-durability-cuts"
    shutil.rmtree(folder, ignore_errors=True)
    number = progress.of("cuts").get("rounds", 0)
    while (missing := _missing(made, count)) and number < 3 * count:
        if not (folder / "undisturbed").exists():
            cutting.make(folder / "undisturbed")
        kinds = {
            setting: cutting.KINDS[(number + place) % len(cutting.KINDS)]
            for place, setting in enumerate(cutting.SETTINGS)
        }
        chance = random.Random(f"cuts {number}")
        orders = cutting.drawn(folder / "undisturbed", kinds, chance)
        cutting.make(folder / "cut", orders)
        for cut in cutting.outcomes(folder / "undisturbed", folder / "cut", orders):
            if cut.killed and cut.setting in missing:
                made.append(asdict(cut))
        shutil.rmtree(folder / "cut")
        number += 1
        progress.of("cuts")["rounds"] = number
        progress.save()
        same = sum(cut["identical"] for cut in made)
        print(f"round {number}: {len(made)} cuts, {same} identical", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    each = Counter(".".join(cut["setting"]) for cut in made)
    return {
        "cuts": len(made),
        "bit_identical_cuts": sum(cut["identical"] for cut in made),
        "resumed_cuts": sum(cut["resumed"] > 0 for cut in made),
        **{f"cuts.{name}": number for name, number in sorted(each.items())},
    }


def _missing(made: list[dict[str, Any]], count: int) -> set[tuple[str, str]]:
    import cutting  # noqa: PLC0415

    have = Counter(tuple(cut["setting"]) for cut in made)
    return {setting for setting in cutting.SETTINGS if have[setting] < count}


def checkpoints(progress: Progress, count: int) -> dict[str, float]:
    """A run of about `count` seconds for each method, in a process of its own, its saves timed."""
    kept = progress.of("checkpoints")
    for method in ("full", "lora", "prompt"):
        if method not in kept:
            command = [sys.executable, str(HERE / "durability_overhead.py"), method, str(count)]
            kept[method] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            progress.save()
    return {
        f"checkpoint_{name}.{method}": kept[method][name]
        for name in ("share", "ms", "bytes")
        for method in ("full", "lora", "prompt")
    }


PARTS: Parts = {
    "cuts": (cuts, 20),
    "checkpoints": (checkpoints, 240),
}
"""What each part does, and how often or long."""


if __name__ == "__main__":
    measure("durability_cuts", __doc__, PARTS)
