import csv
import datetime
import io
import string

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finescale.errors import FinescaleError, UsageError
from finescale.records.records import BY_NAME, COLUMNS, read_records

GOOD = {"model_params": [1e9, 2e9], "finetune_examples": [100, 200], "test_loss": [1.5, 1.4]}


def write(folder, text, name="runs.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_documented_once():
    assert len(BY_NAME) == len(COLUMNS)
    assert all(column.meaning for column in COLUMNS)
    assert BY_NAME["test_loss"].unit == "nats per target token"


@pytest.mark.parametrize("name", ["eval_loss", "test_loss"])
def test_how_decimals_are_written_may_be_said_by_either_name(name):
    runs = pl.DataFrame({"samples": [100, 200], "eval_loss": ["1,862", "1,745"]})
    assert read_records(runs, decimal={name: "comma"}).frame["test_loss"].to_list() == [1.862, 1.745]


def test_a_pet_size_of_0_is_an_empty_cell():
    runs = pl.DataFrame({**GOOD, "method": ["full", "lora"], "lora_r": [0, 16], "lora_alpha": ["0", "32"]})
    frame = read_records(runs).frame
    assert frame["pet_size"].to_list() == [None, 16.0]
    assert frame["lora_alpha"].to_list() == [None, 32.0]


def test_same_records_from_every_kind_of_table(tmp_path):
    frame = pl.DataFrame(GOOD)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    expected = read_records(frame).frame
    sources = [tmp_path / f"a.{kind}" for kind in ("csv", "tsv", "parquet", "jsonl")]
    for source in [*sources, pd.DataFrame(GOOD), pa.table(GOOD), frame.lazy()]:
        assert read_records(source).frame.equals(expected)


def test_foreign_names_are_mapped(tmp_path):
    path = write(tmp_path, "params;samples;loss\n1e9;100;1.5\n2e9;200;1.4\n")
    names = {"model_params": "params", "finetune_examples": "samples", "test_loss": "loss"}
    assert read_records(path, columns=names).frame["finetune_examples"].to_list() == [100.0, 200.0]


def test_unfinished_and_sweep_rows_are_left_out_and_counted():
    frame = pl.DataFrame(
        {
            "finetune_examples": [1, 2, 3, 4, 5],
            "test_loss": [1.0, None, 1.0, 1.0, None],
            "status": ["done", "diverged", "done", "done", "failed"],
            "purpose": ["study", "study", "sweep", "study", "study"],
        }
    )
    records = read_records(frame)
    assert len(records) == 2
    assert records.left_out == {"status diverged": 1, "status failed": 1, "purpose sweep": 1}
    assert records.every_row.height == 5
    assert "Left out 1 rows with purpose sweep." in records.notes


@pytest.mark.parametrize("word", ["stopped", "PRUNED", " Pruned "])
def test_a_run_that_was_stopped_early_never_enters_a_fit(word: str):
    table = {"finetune_examples": [1, 2], "test_loss": [1.0, 2.0], "status": ["done", word]}
    records = read_records(pl.DataFrame(table))
    assert (len(records), records.left_out) == (1, {"status stopped": 1})
    assert records.every_row["status"].to_list() == ["done", "stopped"]


def test_untuned_rows_are_kept():
    frame = pl.DataFrame({"finetune_examples": [0, 10], "test_loss": [2.0, 1.0]})
    assert read_records(frame).frame["finetune_examples"].to_list() == [0.0, 10.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("test_loss,model_params\nx,2\n", ["runs.csv, row 2, column test_loss", "a number", "text"]),
        ("test_loss,model_params\n1,7X\n", ["row 2, column model_params", "write 7e9, 7B or"]),
        ("test_loss,model_params\n1,2\n1,-3\n", ["row 3, column model_params", "above 0", "-3"]),
        ("test_loss,model_params\nnan,2\n", ["row 2, column test_loss", "nan", "status"]),
        ("test_loss,model_params\ninf,2\n", ["row 2, column test_loss", "inf"]),
        ("test_loss,model_params\n,2\n", ["row 2, column test_loss", "an empty cell"]),
        ("test_loss,model_params,run\n1,2,a\n1,2,a\n", ["row 3, column run", "first in row 2"]),
        ("test_loss,model_params\n1,2,3\n", ["row 2", "2 cells", "3 cells"]),
        ("test_loss,test_loss\n1,2\n", ["two columns are called `test_loss`"]),
        ("loss,model_params\n1,2\n", ["no column `test_loss`", "--column test_loss=loss", "--loss loss"]),
        ("test_loss,size\n1,2\n", ["no factor column"]),
        ("", ["the file is empty"]),
        (b"test_loss,model_params\n\xff\xfe,2\n", ["row 2", "UTF-8"]),
    ],
)
def test_errors_name_file_row_column_wanted_and_got(tmp_path, text, words):
    with pytest.raises(UsageError) as error:
        read_records(write(tmp_path, text))
    assert "runs.csv" in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_missing_and_unknown_files_are_told(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_records(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="zero bytes"):
        read_records(write(tmp_path, b"\x00\x01", "runs.parquet"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_records(write(tmp_path, b"PAR1 and no more", "runs.csv"))


def test_a_study_s_folder_stands_for_the_table_in_it(tmp_path):
    with pytest.raises(UsageError, match=r"no records in this folder(.|\n)*finescale run"):
        read_records(tmp_path)
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(
        UsageError, match=r"a ledger, but no records.parquet(.|\n)*finescale status .* --export"
    ):
        read_records(tmp_path)
    runs = pl.DataFrame({"finetune_examples": [100, 200], "test_loss": [1.0, 2.0]})
    runs.write_parquet(tmp_path / "records.parquet")
    assert read_records(tmp_path).frame["test_loss"].to_list() == [1.0, 2.0]


def test_perplexities_are_suspected():
    frame = pl.DataFrame({"finetune_examples": [1, 2], "test_loss": [35.0, 22.0]})
    assert any("perplexity" in note for note in read_records(frame).notes)


cells = st.one_of(
    st.floats().map(repr),
    st.integers(-5, 10**12).map(str),
    st.text(string.printable, max_size=6),
    st.sampled_from(["", "nan", "done", "failed", "true", "1e400", "-0", '"', "None"]),
)
headers = st.lists(
    st.one_of(st.sampled_from([column.name for column in COLUMNS]), st.text(string.printable, max_size=5)),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(header=headers, rows=st.lists(st.lists(cells, max_size=7), max_size=5), raw=st.booleans())
def test_malformed_tables_end_in_words_never_in_a_traceback(tmp_path_factory, header, rows, raw):
    path = tmp_path_factory.getbasetemp() / "malformed.csv"
    if raw:
        text = "\n".join(",".join(row) for row in [["test_loss", "model_params", *header], *rows])
    else:
        table = io.StringIO()
        csv.writer(table).writerows([["test_loss", *header], *rows])
        text = table.getvalue()
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        records = read_records(path)
    except FinescaleError as error:
        assert str(error)  # noqa: PT017
    else:
        assert records.frame["test_loss"].is_finite().all()


def test_durations_and_nested_values_in_text_columns_are_shown_as_text():
    frame = pl.DataFrame({"finetune_examples": [100], "test_loss": [2.5]})
    for value in ([{"a": 1}], [datetime.timedelta(seconds=3)], [b"x"]):
        assert read_records(frame.with_columns(method=pl.Series(value))).frame["method"].dtype == pl.String
    with pytest.raises(UsageError, match=r"row 1, column model_params(.|\n)*wanted: a number"):
        read_records(frame.with_columns(model_params=pl.Series([datetime.timedelta(seconds=3)])))


def test_labels_and_dates_that_cannot_be_are_told_or_shown_as_text():
    frame = pl.DataFrame({"finetune_examples": [100], "test_loss": [2.5]})
    with pytest.raises(UsageError, match=r"column seed: nested values(.|\n)*one text or number in each row"):
        read_records(frame.with_columns(seed=pl.Series([[1, 2]])))
    for seed in (datetime.timedelta(seconds=3), b"\xff", datetime.date(2026, 1, 1)):
        assert read_records(frame.with_columns(seed=pl.Series([seed]))).frame["seed"].dtype == pl.String
    far = pl.Series([7_000_000]).cast(pl.Int32).cast(pl.Date)  # the year 21135: Python's dates end before
    with pytest.raises(UsageError, match=r"row 1, column model_params(.|\n)*got: a Date out of range"):
        read_records(frame.with_columns(model_params=far))
    beyond = pl.Series([2_000_000_000]).cast(pl.Int32).cast(pl.Date)  # beyond the dates of polars, too
    with pytest.raises(UsageError, match=r"row 1, column model_params(.|\n)*got: a Date out of range"):
        read_records(frame.with_columns(model_params=beyond))
    nested = pl.Series([[datetime.timedelta(days=1)]])
    assert read_records(frame.with_columns(method=nested)).frame["method"].len() == 1


@pytest.mark.parametrize(("share", "noted"), [(0.12, True), (0.05, False), (None, False)])
def test_a_share_of_cut_targets_above_five_percent_is_a_note_of_every_answer(share, noted):
    columns = {"finetune_examples": [10, 20], "test_loss": [2.0, 1.0], "train_sources_truncated": [0.0, 0.01]}
    notes = read_records(pl.DataFrame({**columns, "test_targets_truncated": [0.0, share]})).notes
    words = "Targets were cut to the tokens allowed: up to 12.0% of test. "
    assert notes == ((words + "The losses are those of what was left.",) if noted else ())
