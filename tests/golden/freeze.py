"""What the commands answer on six tables, and every fingerprint of studies/: no move changes it.

python tests/golden/freeze.py        writes tests/golden/*.json again; a change is explained in CHANGELOG.md
"""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TABLES = {
    "nano_full": ROOT / "examples" / "nano_full.parquet",
    **{name: HERE / "tables" / f"{name}.csv" for name in ("stars", "crossing", "noisy", "no_seeds")},
    "one_data_size": HERE / "tables" / "one_data_size.csv",
}
AT = {
    "nano_full": "finetune_examples=20000",
    "stars": "finetune_examples=20000",
}
FIT = ["--bootstrap", "40", "--json", "-"]
REPORTED = ("stars", "crossing")


def answers(name: str) -> dict[str, Any]:
    """The JSON of fit, predict, advise and plan on a table, or the message where there is none."""
    table = str(TABLES[name])
    target = "model_params=1e9,finetune_examples=100000" if name not in AT else "model_params=5e6," + AT[name]
    factor = ["--factor", "model_params"]
    examples = ["--examples", "50000"]
    return {
        "fit": _run("fit", table, *factor, *FIT),
        "predict": _run("predict", table, "--law", "multiplicative", *factor, "--at", target, *FIT),
        "advise": _run("advise", table, *examples, "--json", "-"),
        "plan": _run("plan", table, "--target", target, "--budget", "1e18", "--json", "-"),
    }


def report_tables(name: str) -> dict[str, list[list[str]]]:
    """The tables of the report, cell by cell."""
    with tempfile.TemporaryDirectory() as folder:
        _run("report", str(TABLES[name]), "--out", folder)
        files = sorted(Path(folder).glob("tables/*.csv"))
        return {file.name: list(csv.reader(file.read_text("utf-8").splitlines())) for file in files}


def fingerprints() -> dict[str, dict[str, Any]]:
    """Number of runs and hash of the sorted fingerprints of every study, models and data named, not read."""
    from finescale.spec.expand import expand, sweep_runs, untuned_runs
    from finescale.spec.file import load_study
    from finescale.spec.run import ModelSpec
    from finescale.spec.study import Study
    from finescale.study.resolve import pretrain_runs

    def resolve(task: str, model: str, tokens: int | str) -> tuple[ModelSpec, dict[str, str]]:
        number = 1000 if tokens == "last" else int(tokens)
        return ModelSpec(name=model, pretrain_tokens=number, revision="r"), {"data": task, "weights": model}

    found: dict[str, dict[str, Any]] = {}
    for file in sorted(ROOT.glob("studies/**/*.yaml")):
        study = load_study(file)
        if isinstance(study, Study):
            choices = {method: study.candidates(method)[0] for method in study.methods()}
            names = {item.run.fingerprint() for item in untuned_runs(study, resolve)}
            names |= {item.run.fingerprint() for item in expand(study, choices, resolve)}
            for tried in sweep_runs(study, resolve).values():
                names |= {item.run.fingerprint() for _, item in tried}
        else:
            names = {run.fingerprint() for run in pretrain_runs(study, None)}
        digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
        found[str(file.relative_to(ROOT / "studies"))] = {"runs": len(names), "sha256": digest}
    return found


def frozen(name: str) -> Any:
    """What was written by the last freeze."""
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))


def _run(*arguments: str) -> Any:
    line = [sys.executable, "-c", "from finescale.cli import main; main()", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        return {"exit": done.returncode, "message": done.stderr.strip().replace(str(HERE), "")}
    return json.loads(done.stdout) if "-" in arguments else done.stdout


def main() -> None:
    """Writes everything again."""
    content: dict[str, Any] = {name: answers(name) for name in TABLES}
    content["fingerprints"] = fingerprints()
    content["report"] = {name: report_tables(name) for name in REPORTED}
    for name, value in content.items():
        (HERE / f"{name}.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
