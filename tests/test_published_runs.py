"""The records in the repository are the runs of the study beside them: fingerprints never move."""

from pathlib import Path

import polars as pl

from finescale.spec.expand import expand, sweep_runs, untuned_runs
from finescale.spec.file import load_study
from finescale.spec.study import Study
from finescale.study.resolve import resolver

ROOT = Path(__file__).parent.parent


def test_the_nano_study_names_exactly_the_runs_whose_records_are_published():
    study = load_study(ROOT / "studies" / "nano_full.yaml")
    assert isinstance(study, Study)
    resolve = resolver(study)
    records = pl.read_parquet(ROOT / "examples" / "nano_full.parquet")
    losses = dict(records.select("run", "dev_loss").iter_rows())
    names = {item.run.fingerprint() for item in untuned_runs(study, resolve)}
    choices = {}
    for method, tried in sweep_runs(study, resolve).items():
        names |= {item.run.fingerprint() for _, item in tried}
        choices[method] = min(tried, key=lambda pair: losses[pair[1].run.fingerprint()])[0]
    names |= {item.run.fingerprint() for item in expand(study, choices, resolve)}
    assert names == set(records["run"])
