import hashlib

import pytest
import torch

from finescale.errors import UsageError
from finescale.ladder import LADDER
from finescale.models.bundled import FOLDERS, checkpoints, find_checkpoint


def test_the_ladders_are_complete_small_and_what_the_manifest_says():
    assert {name: len(found) for name, found in checkpoints().items()} == {
        "nano-0.05m": 1,
        "nano-0.1m": 1,
        "nano-0.3m": 4,
        "nano-1m": 1,
        "nano-zh-0.05m": 1,
        "nano-zh-0.1m": 1,
        "nano-zh-0.3m": 3,
    }
    sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in FOLDERS]
    assert sizes[0] <= 8_000_000
    assert sizes[1] <= 5_000_000
    for found in checkpoints().values():
        for checkpoint in found:
            digest = hashlib.sha256((checkpoint.folder / "model.safetensors").read_bytes()).hexdigest()
            assert digest == checkpoint.weights
            tokenizer = checkpoint.tokenizer_folder / "tokenizer.json"
            assert hashlib.sha256(tokenizer.read_bytes()).hexdigest() == checkpoint.tokenizer


def test_held_out_loss_falls_with_size_and_with_tokens():
    last = {name: found[-1].held_out_loss for name, found in checkpoints().items()}
    assert last["nano-0.05m"] > last["nano-0.1m"] > last["nano-0.3m"] > last["nano-1m"]
    assert last["nano-zh-0.05m"] > last["nano-zh-0.1m"] > last["nano-zh-0.3m"]
    for name in ("nano-0.3m", "nano-zh-0.3m"):
        curve = [checkpoint.held_out_loss for checkpoint in checkpoints()[name]]
        assert curve == sorted(curve, reverse=True)


CHECKPOINTS = [(c.model, c.pretrain_tokens) for found in checkpoints().values() for c in found]


@pytest.mark.parametrize(("name", "tokens"), CHECKPOINTS)
def test_the_recorded_loss_is_what_the_bundled_weights_give(name, tokens):
    from finescale.evaluation.loss import evaluate, evaluation_batches
    from finescale.models.decoder import open_model
    from finescale.models.tokenizer import open_tokenizer
    from finescale.runs.measure import ROW_TOKENS, causal_rows
    from finescale.tasks.pretraining import read_sample
    from finescale.tuning.full import wrap_full

    checkpoint = find_checkpoint(name, tokens)
    tokenizer = open_tokenizer(checkpoint.tokenizer_folder)
    rows = causal_rows(tokenizer, read_sample(checkpoint.sample), ROW_TOKENS, most=1_000)
    loss = evaluate(wrap_full(open_model(checkpoint.folder)), evaluation_batches(rows, 0)).mean
    assert loss == pytest.approx(checkpoint.sample_loss, abs=2e-4)
    assert abs(loss - checkpoint.held_out_loss) < 0.5


def test_the_chinese_ladder_s_tokenizer_is_the_better_one_for_chinese():
    from finescale.models.tokenizer import open_tokenizer

    text = "打开文件并保存文档。"
    counts = {
        name: len(open_tokenizer(find_checkpoint(name, "last").tokenizer_folder)(text)["input_ids"])
        for name in ("nano-0.3m", "nano-zh-0.3m")
    }
    assert counts["nano-zh-0.3m"] <= len(text) < 2 * len(text) <= counts["nano-0.3m"]


@pytest.mark.parametrize("name", checkpoints())
def test_models_open_in_float32_with_the_ladders_parameters(name):
    from finescale.models.decoder import open_model

    model = open_model(find_checkpoint(name, "last").folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert sum(parameter.numel() for parameter in model.parameters()) == LADDER[name].params
    assert model.config.num_key_value_heads == 1
    assert model.config.tie_word_embeddings


def test_a_checkpoint_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(UsageError, match=r"wanted: one of 706560, 1765376, 3532800, 7065600 or .last."):
        find_checkpoint("nano-0.3m", 1_000_000)
    with pytest.raises(UsageError, match=r"did you mean .nano-0\.3m."):
        find_checkpoint("nano-03m", "last")
