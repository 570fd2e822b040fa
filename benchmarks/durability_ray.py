"""What a dying Ray cluster costs a study, and what a run costs beside its own work.

Usage: python benchmarks/durability_ray.py [--kills 60] [--overhead]   (kills: about an hour on two cores;
it goes on where it was stopped; --overhead only measures the overhead, a minute on a quiet machine)

Kills. A small real study (18 runs of 0.05M and 0.1M models) runs on a head and two nodes of one CPU, all of
them processes of this machine. At random moments a worker at a run, a node's raylet or the head is killed
(SIGKILL), nodes are replaced, and after a head's death cluster and driver are started again - until the study
is finished; then the next study, until there are enough kills. Runs that failed because the same run was hit
three times are run again with --retry-failed, as a user would.

Figures: kills, kills_worker, kills_node, kills_head; lost (committed before a kill and missing later, or
missing at the end), duplicated (runs with two records or two committed attempts), studies, tables_identical
(share of the studies whose records equal the undisturbed study's in every column that is not a measured time
or memory), endings (drivers that ended with a head's death), words (share of them that ended with exit code
1, the reason and the remedy), endings_unasked (drivers that ended without a kill: a busy machine does that).

Overhead. 200 runs that do nothing, two at a time on two nodes. ray_overhead_ms = (wall - ideal) / runs: wall
from the first look at the ledger to the exported records (claims, commits with fsync and the start of the
worker processes are in it, joining the cluster is not: ray_join_seconds); ideal, the runs' own work, is 0.
local_overhead_ms is the same with the local executor and two workers.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
from ray._private.node import Node
from ray.cluster_utils import Cluster
from report import publish

from finescale.executors.local import LocalExecutor
from finescale.executors.ray import RayExecutor
from finescale.spec.file import parse_study
from finescale.spec.resources import Resources
from finescale.spec.study import Study
from finescale.study.ledger import Ledger
from finescale.study.plan import FinetunePlan
from finescale.study.resolve import resolver
from finescale.study.runner import run_study

ROOT = Path(__file__).parent.parent
WORK = ROOT / "results" / "benchmark-durability-ray"
STUDY = """\
name: durability
task: mini-en-de
seeds: [0, 1]
test_examples: 64
base: {model: nano-0.05m, pet_size: {lora: 4, prompt: 8}}
grids:
  - vary: model
    values: [nano-0.05m, nano-0.1m]
    finetune_examples: {full: [64, 256], lora: [128], prompt: [128]}
learning_rates: {full: 0.001, lora: 0.01, prompt: 0.3}
train: {epochs: 6, evaluations: 3, dev_examples: 64}
"""
NOTHING = """\
name: nothing
task: mini-en-de
seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
test_examples: 64
base: {model: nano-0.05m}
grids:
  - vary: model
    values: [nano-0.05m]
    finetune_examples: {full: [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]}
learning_rates: {full: 0.001}
"""
MEASURED = ("peak_memory_bytes", "tokens_per_second")
UNASKED = 5
"""So often a driver may end without a kill before the benchmark gives up."""
KINDS = ("worker", "node", "head")
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
SETTINGS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "10",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}
PACKAGES = ("ray", "torch", "transformers")


def nothing(planned: Any, folder: Path) -> dict[str, Any]:
    """A run without work."""
    del planned, folder
    return {"status": "done", "dev_loss": 1.0, "test_loss": 1.0}


def cluster() -> Cluster:
    """A head without CPUs and two nodes of one; a busy machine may need another try."""
    for _ in range(3):
        with contextlib.suppress(Exception):  # Ray raises a plain one after 30 seconds
            return _cluster()
    return _cluster()


def _cluster() -> Cluster:
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(**NODE)
    return made


def driver(folder: Path, address: str | None, *options: str) -> subprocess.Popen[str]:
    """`finescale run` on a cluster, or on this machine."""
    where = ["--executor", "ray", "--address", address] if address else ["--workers", "2"]
    finescale = str(Path(sys.executable).parent / "finescale")
    return subprocess.Popen(
        [finescale, "run", str(WORK / "study.yaml"), "--out", str(folder), *where, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def statuses(folder: Path) -> dict[str, str]:
    """What is committed."""
    if not (folder / "ledger.sqlite").exists():
        return {}
    with Ledger(folder / "ledger.sqlite") as ledger:
        return ledger.statuses()


def table(folder: Path) -> str:
    """A digest of the records without measured times and memory."""
    frame = pl.read_parquet(folder / "records.parquet").sort("run")
    frame = frame.drop(name for name in frame.columns if name.endswith("_seconds") or name in MEASURED)
    return hashlib.sha256(frame.write_csv(float_precision=17).encode()).hexdigest()[:20]


def working(nodes: Cluster) -> list[int]:
    """The worker processes that are at a run."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes.worker_nodes}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            title = (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if (
            parent in raylets
            and title.startswith(b"ray::")
            and not title.startswith((b"ray::IDLE", b"ray::_B"))
        ):
            found.append(int(entry.name))
    return found


def lives(node: Node) -> bool:
    """Whether a node's raylet is still there; a busy machine's may have ended by itself."""
    return node.all_processes["raylet"][0].process.poll() is None


def replace(nodes: Cluster, node: Node) -> None:
    """Puts a new node in the place of a dead one."""
    if node in nodes.worker_nodes:
        nodes.remove_node(node, allow_graceful=False)
    with contextlib.suppress(Exception):  # none comes where the head is dead: its driver ends
        nodes.add_node(**NODE)


def disturbed(folder: Path, seed: int, most: int) -> dict[str, Any]:
    """One study under kills, to its end.

    Returns:
        Kills by kind, runs lost and duplicated, the table's digest, drivers that ended and how.
    """
    chance = random.Random(seed)
    kills, lost, ended, told, unasked = dict.fromkeys(KINDS, 0), 0, 0, 0, 0
    nodes: Any = cluster()
    process = driver(folder, nodes.address)
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(5, 45))
            if process.poll() is not None:
                said = process.communicate()[0]
                if process.returncode != 0:  # an overloaded machine loses nodes and heads by itself
                    unasked += 1
                    print(f"the driver ended by itself: {said}", flush=True)
                    if unasked > UNASKED:
                        raise SystemExit("too often")
                    nodes.shutdown()
                    nodes = cluster()
                    process = driver(folder, nodes.address)
                    continue
                if "failed" not in statuses(folder).values():
                    break
                process = driver(folder, nodes.address, "--retry-failed")
                continue
            kind = chance.choice(KINDS)
            if sum(kills.values()) >= most or (kind == "worker" and not working(nodes)):
                continue
            node = chance.choice(sorted(nodes.worker_nodes, key=lambda node: node.unique_id))
            if not (lives(node) and lives(nodes.head_node)):
                replace(nodes, node)
                continue
            before = statuses(folder)
            kills[kind] += 1
            if kind == "worker":
                os.kill(chance.choice(working(nodes)), 9)
            elif kind == "node":
                node.kill_raylet()
                replace(nodes, node)
            else:
                head = nodes.head_node
                head.kill_gcs_server()
                head.kill_raylet()
                said = process.communicate(timeout=180)[0]
                ended += 1
                told += process.returncode == 1 and "the same command" in said and "Traceback" not in said
                nodes.shutdown()
                nodes = cluster()
                process = driver(folder, nodes.address)
            lost += len(before.keys() - statuses(folder).keys())
    finally:
        process.kill()
        process.wait()
        nodes.shutdown()
    with Ledger(folder / "ledger.sqlite") as ledger:
        runs = [row["run"] for row in ledger.plan()]
        outcomes = [[tries["outcome"] for tries in ledger.attempts(run)] for run in runs]
        rows = [row["run"] for row in ledger.rows()]
    lost += len(set(runs) - set(rows))
    duplicated = len(rows) - len(set(rows)) + sum(tries.count("done") > 1 for tries in outcomes)
    return {
        "kills": kills,
        "lost": lost,
        "duplicated": duplicated,
        "table": table(folder),
        "ended": ended,
        "told": told,
        "unasked": unasked,
    }


def kill(wanted: int) -> dict[str, float]:
    """Studies under kills until there are so many; goes on with what an earlier call has done."""
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "study.yaml").write_text(STUDY, encoding="utf-8")
    kept = WORK / "state.json"
    if not kept.exists():
        folder = WORK / "undisturbed"
        if driver(folder, None).wait() != 0:
            raise SystemExit("the undisturbed study did not finish")
        kept.write_text(json.dumps({"table": table(folder), "studies": []}), encoding="utf-8")
    state = json.loads(kept.read_text(encoding="utf-8"))
    studies = state["studies"]
    while (done := sum(sum(study["kills"].values()) for study in studies)) < wanted:
        folder = WORK / "disturbed"
        shutil.rmtree(folder, ignore_errors=True)
        studies.append(disturbed(folder, len(studies), wanted - done))
        aside = kept.with_suffix(".new")
        aside.write_text(json.dumps(state, indent=1), encoding="utf-8")
        aside.replace(kept)
        print(f"study {len(studies)}: {studies[-1]}", flush=True)
    ended = sum(study["ended"] for study in studies)
    return {
        "kills": sum(sum(study["kills"].values()) for study in studies),
        **{f"kills_{kind}": sum(study["kills"][kind] for study in studies) for kind in KINDS},
        "lost": sum(study["lost"] for study in studies),
        "duplicated": sum(study["duplicated"] for study in studies),
        "studies": len(studies),
        "tables_identical": sum(study["table"] == state["table"] for study in studies) / len(studies),
        "endings": ended,
        "endings_unasked": sum(study["unasked"] for study in studies),
        "words": sum(study["told"] for study in studies) / max(1, ended),
    }


def overhead() -> dict[str, float]:
    """What 200 runs without work take for each."""
    study = parse_study(NOTHING)
    assert isinstance(study, Study)
    figures = {}
    nodes = cluster()
    try:
        for name in ("local", "ray"):
            with tempfile.TemporaryDirectory() as folder:
                plan = FinetunePlan(study, resolver(study), Path(folder), "durability_ray:nothing")
                began = time.perf_counter()
                if name == "ray":
                    executor = RayExecutor([Resources()], Path(folder), address=nodes.address)
                    figures["ray_join_seconds"] = time.perf_counter() - began
                else:
                    executor = LocalExecutor(2)
                began = time.perf_counter()
                made = run_study(plan, Path(folder), executor).made
                figures[f"{name}_overhead_ms"] = 1000 * (time.perf_counter() - began) / made
                figures["overhead_runs"] = made
    finally:
        nodes.shutdown()
    return figures


def main() -> None:
    """Kills, or measures the overhead; what the other part has published is kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--overhead", action="store_true")
    asked = parser.parse_args()
    os.environ |= SETTINGS
    paths = [str(ROOT / "benchmarks"), *(item for item in sys.path if item)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    with tempfile.TemporaryDirectory(prefix="fr-", dir="/tmp") as short:  # sockets need a short path
        os.environ["RAY_TMPDIR"] = short
        figures = overhead() if asked.overhead else kill(asked.kills)
    before = ROOT / "benchmarks" / "results" / "durability_ray.json"
    known = json.loads(before.read_text(encoding="utf-8"))["figures"] if before.exists() else {}
    publish("durability_ray", known | figures, packages=PACKAGES)


if __name__ == "__main__":
    main()
