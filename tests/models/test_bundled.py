import hashlib

import pytest
import torch

from finescale.errors import UsageError
from finescale.ladder import LADDER
from finescale.models.bundled import FOLDER, checkpoints, find_checkpoint


def test_the_ladder_is_complete_small_and_what_the_manifest_says():
    assert {name: len(found) for name, found in checkpoints().items()} == {
        "nano-0.05m": 1,
        "nano-0.1m": 1,
        "nano-0.3m": 4,
        "nano-1m": 1,
    }
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 8_000_000
    for found in checkpoints().values():
        for checkpoint in found:
            digest = hashlib.sha256((checkpoint.folder / "model.safetensors").read_bytes()).hexdigest()
            assert digest == checkpoint.weights
            tokenizer = checkpoint.tokenizer_folder / "tokenizer.json"
            assert hashlib.sha256(tokenizer.read_bytes()).hexdigest() == checkpoint.tokenizer


def test_held_out_loss_falls_with_size_and_with_tokens():
    last = {name: found[-1].held_out_loss for name, found in checkpoints().items()}
    assert last["nano-0.05m"] > last["nano-0.1m"] > last["nano-0.3m"] > last["nano-1m"]
    curve = [checkpoint.held_out_loss for checkpoint in checkpoints()["nano-0.3m"]]
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize("name", ["nano-0.05m", "nano-0.1m", "nano-0.3m", "nano-1m"])
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
