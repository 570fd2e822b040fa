import polars as pl
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from finescale.errors import UsageError
from finescale.runs.pretrain import execute_pretraining
from finescale.spec.file import parse_study
from finescale.study.resolve import pretrain_runs

STUDY = """\
kind: pretrain
name: small-ladder
languages: [en]
models: [nano-0.05m]
tokenizer: {vocabulary: 512}
context: 64
train: {learning_rate: 0.05, batch_rows: 4}
checkpoints: {nano-0.05m: [0.5]}
held_out_rows: 4
"""
WORDS = ["open", "close", "the", "file", "menu", "print", "save", "window", "page", "table", "text"]


@pytest.fixture
def text(tmp_path):
    rows = [" ".join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(12)) + "." for i in range(400)]
    folder = tmp_path / "text"
    folder.mkdir()
    pl.DataFrame({"text": rows}).write_parquet(folder / "en.parquet")
    return folder


def test_one_epoch_gives_a_record_and_a_model_a_checkpoint(tmp_path, text):
    spec = parse_study(STUDY)
    (run,) = pretrain_runs(spec, text)
    shares = []
    half, whole = execute_pretraining(run, tmp_path / "study", text, shares.append)
    assert whole["pretrain_tokens"] == whole["steps"] * 4 * 64 > half["pretrain_tokens"] > 0
    assert half["test_loss"] > whole["test_loss"]
    assert (whole["method"], whole["finetune_examples"], whole["status"]) == ("none", 0, "done")
    assert shares == sorted(shares)
    folder = tmp_path / "study" / "models" / "nano-0.05m" / whole["revision"]
    assert AutoModelForCausalLM.from_pretrained(folder).config.num_key_value_heads == 1
    assert len(AutoTokenizer.from_pretrained(folder)) <= 512


def test_the_same_study_gives_the_same_losses(tmp_path, text):
    (run,) = pretrain_runs(parse_study(STUDY), text)
    losses = [
        [record["test_loss"] for record in execute_pretraining(run, tmp_path / name, text)] for name in "ab"
    ]
    assert losses[0] == losses[1]


def test_the_fingerprint_hashes_the_documents_not_the_file(tmp_path, text):
    (run,) = pretrain_runs(parse_study(STUDY), text)
    frame = pl.read_parquet(text / "en.parquet")
    frame.with_columns(origin=pl.lit("x")).write_parquet(text / "en.parquet", compression="gzip")
    assert pretrain_runs(parse_study(STUDY), text)[0].fingerprint() == run.fingerprint()
    frame.reverse().write_parquet(text / "en.parquet")
    assert pretrain_runs(parse_study(STUDY), text)[0].fingerprint() != run.fingerprint()


def test_missing_text_says_how_to_get_it(tmp_path):
    with pytest.raises(UsageError, match="make corpus"):
        pretrain_runs(parse_study(STUDY), tmp_path)
    with pytest.raises(UsageError, match="unknown model 'nano-9m'"):
        pretrain_runs(parse_study(STUDY.replace("[nano-0.05m]", "[nano-9m]")), tmp_path)
