from pathlib import Path

import pytest
import torch
from architectures import CONFIGS, OTHERS, save_model, tiny
from safetensors.torch import load_file, save_file

from finescale.errors import UsageError
from finescale.models.architecture import weight_problems
from finescale.models.decoder import open_model, read_config

EVERY = sorted(CONFIGS | OTHERS)


def rewrite(folder, change):
    file = folder / "model.safetensors"
    save_file({k: v.contiguous() for k, v in change(load_file(file)).items()}, file, {"format": "pt"})


def told(folder):
    """The problems on the meta device; opening the weights tells the same."""
    problems = [str(problem) for problem in weight_problems(folder, read_config(folder))]
    with pytest.raises(UsageError) as caught:
        open_model(folder)
    assert all(problem in str(caught.value) for problem in problems)
    return problems


@pytest.mark.parametrize("name", EVERY)
def test_whole_models_have_no_problem_and_open_with_the_saved_weights(tmp_path, name):
    folder = save_model(tmp_path, name)
    assert weight_problems(folder, read_config(folder)) == []
    saved = tiny(name).to(torch.bfloat16).float().state_dict()
    opened = open_model(folder).state_dict()
    assert saved.keys() == opened.keys()
    assert all(torch.equal(saved[key], opened[key]) for key in saved)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("llama", "model.layers.1.mlp.up_proj.weight"),
        ("gpt-neox", "gpt_neox.layers.0.attention.dense.bias"),
        ("gpt2", "transformer.h.1.mlp.c_fc.weight"),
        ("mamba", "backbone.layers.1.mixer.A_log"),
        ("jamba", "model.layers.0.mamba.x_proj.weight"),
    ],
)
def test_one_missing_tensor_is_named(tmp_path, name, lost):
    folder = save_model(tmp_path, name)
    rewrite(folder, lambda tensors: {k: v for k, v in tensors.items() if k != lost})
    (message,) = told(folder)
    assert "tensors that the model has are not in its weights" in message
    assert f"got: no {lost}" in message


def tie(folder, head):
    """A Llama whose configuration ties the head, with a head in its weights as well."""
    config = folder / "config.json"
    config.write_text(
        config.read_text().replace('"tie_word_embeddings": false', '"tie_word_embeddings": true')
    )
    assert read_config(folder).tie_word_embeddings
    rewrite(folder, lambda tensors: {**tensors, "lm_head.weight": head(tensors)})


def test_a_head_of_its_own_under_a_tied_configuration_is_told_with_both_remedies(tmp_path):
    folder = save_model(tmp_path)
    tie(folder, lambda tensors: tensors["model.embed_tokens.weight"] + 1)
    (message,) = told(folder)
    assert "a head of its own in the weights, where config.json ties it to the embedding" in message
    assert "`tie_word_embeddings: false` in config.json" in message
    assert "remove lm_head.weight from the weights" in message


def test_a_tied_head_that_is_saved_twice_is_fine(tmp_path):
    folder = save_model(tmp_path)
    tie(folder, lambda tensors: tensors["model.embed_tokens.weight"].clone())
    assert weight_problems(folder, read_config(folder)) == []
    open_model(folder)


def test_an_unexpected_tensor_is_named(tmp_path):
    folder = save_model(tmp_path)
    rewrite(folder, lambda tensors: {**tensors, "v_head.summary.weight": torch.zeros(1, 32)})
    (message,) = told(folder)
    assert "v_head.summary.weight" in message


def test_a_tensor_of_another_shape_is_named_with_both(tmp_path):
    folder = save_model(tmp_path, "gpt-neox")
    name = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"
    rewrite(folder, lambda tensors: {**tensors, name: tensors[name][:48]})
    (message,) = told(folder)
    assert f"{name} (48, 32) for (64, 32)" in message


def test_a_model_without_the_part_of_an_expert_is_refused(tmp_path: Path):
    folder = save_model(tmp_path, "mixtral")
    rewrite(folder, lambda tensors: {k: v for k, v in tensors.items() if "experts.3.w1" not in k})
    (problem,) = weight_problems(folder, read_config(folder))
    assert "parts of experts are missing from the weights" in str(problem)
    assert "layers.0.block_sparse_moe.experts.3.w1.weight" in str(problem)
