"""Runs shared by two processes, for the tests: `run_together(folder, planned runs)`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from finescale.spec import PlannedRun
from finescale.study.run import execute

RANKS = 2


def run_together(folder: Path, runs: Sequence[PlannedRun]) -> list[list[dict]]:
    """The records of each rank; run i has the folder `folder/i`."""
    torch.multiprocessing.start_processes(_rank, (folder, runs), nprocs=RANKS, start_method="spawn")
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(RANKS)]


def _rank(rank: int, folder: Path, runs: Sequence[PlannedRun]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    records = [execute(planned, folder / str(i)) for i, planned in enumerate(runs)]
    (folder / f"rank-{rank}.json").write_text(json.dumps(records))
    dist.destroy_process_group()
