"""Real runs, and two processes that share them, for the tests: `run_together(folder, planned runs)`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from finescale.models.bundled import find_checkpoint
from finescale.runs.finetune import execute
from finescale.spec.expand import PlannedRun
from finescale.spec.run import MethodSpec, ModelSpec, OptimizerSpec, RunSpec, TrainSpec
from finescale.training.checkpoints import Checkpoints
from finescale.training.state import Training

RANKS = 2
ADAMW = OptimizerSpec(name="adamw", weight_decay=0.01)


def planned(method: str, size: int | None, rate: float, optimizer: OptimizerSpec, **train) -> PlannedRun:
    """49 examples in batches of 16: the last batch of an epoch has one, the second process nothing to do."""
    checkpoint = find_checkpoint("nano-0.1m", "last")
    settings = {"epochs": 2, "evaluations": 2, "dev_examples": 33} | train
    run = RunSpec(
        task="mini-en-de",
        model=ModelSpec(name="nano-0.1m", pretrain_tokens=checkpoint.pretrain_tokens, revision="r"),
        method=MethodSpec(name=method, pet_size=size),
        finetune_examples=49,
        test_examples=64,
        seed=0,
        train=TrainSpec(optimizer=optimizer, learning_rate=rate, **settings),
        content={"weights": checkpoint.weights},
    )
    return PlannedRun(run=run, purpose="study", lr_tuned=False, keep="weights")


def run_together(
    folder: Path, runs: Sequence[PlannedRun], *, cut_at: int | None = None, kill: bool = False
) -> list[list[dict]]:
    """The records of each rank; run i has the folder `folder/i`.

    Args:
        folder: Where the runs are.
        runs: What is run, one after another.
        cut_at: After this step every run ends in an exception, and its record is empty.
        kill: Instead, the second process is killed then.
    """
    (folder / "meeting").unlink(missing_ok=True)
    arguments = (folder, runs, cut_at, kill)
    torch.multiprocessing.start_processes(_rank, arguments, nprocs=RANKS, start_method="spawn")
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(RANKS)]


class Cut(Exception):
    """Stands for the end of a run."""


def _rank(rank: int, folder: Path, runs: Sequence[PlannedRun], cut_at: int | None, kill: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    offer = Checkpoints.offer

    def cutting(self: Checkpoints, training: Training) -> None:
        offer(self, training)
        if training.progress.step == cut_at:
            if not kill:
                raise Cut
            if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.offer = cutting
    records = []
    for i, planned in enumerate(runs):
        try:
            records.append(execute(planned, folder / str(i)))
        except Cut:
            records.append({})
    (folder / f"rank-{rank}.json").write_text(json.dumps(records))
    dist.destroy_process_group()
