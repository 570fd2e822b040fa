import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from architectures import save_model, tiny
from safetensors.torch import load_file, save_file

from finescale.models.headers import DamagedFile, read_header
from finescale.models.hub import folder_problems

ALL = ["llama", "gpt-neox", "gpt2", "gemma", "gpt-bigcode", "qwen3", "mixtral", "qwen2-moe", "mamba", "jamba"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Whole models, one of each architecture; copied before anything in them is changed."""
    root = tmp_path_factory.mktemp("whole")
    return {name: save_model(root / name, name) for name in ALL}


@pytest.fixture
def copy(whole, tmp_path):
    def copied(name="llama"):
        return Path(shutil.copytree(whole[name], tmp_path / name))

    return copied


def rewrite(folder, change):
    """Weights with other tensors: what a change makes of the dictionary of them."""
    file = folder / "model.safetensors"
    save_file({k: v.contiguous() for k, v in change(load_file(file)).items()}, file, {"format": "pt"})
    return folder


def configure(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def only(folder):
    (problem,) = folder_problems(folder, "models.mine.from")
    return str(problem)


@pytest.mark.parametrize("name", ALL)
def test_whole_models_of_every_architecture_have_no_problem(whole, name):
    assert folder_problems(whole[name]) == []
    (file,) = whole[name].glob("*.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(file).items()}
    assert {name: stored.shape for name, stored in read_header(file).items()} == shapes


def test_whole_shards_and_an_index_have_no_problem(tmp_path):
    tiny("llama").save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert folder_problems(tmp_path) == []


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba", "gpt-neox"])
def test_a_missing_layer_is_named(copy, name):
    folder = rewrite(
        copy(name), lambda t: {k: v for k, v in t.items() if ".layers.1." not in k and "h.1." not in k}
    )
    message = only(folder)
    assert message.startswith("models.mine.from: a layer is missing from the weights")
    assert "wanted: 2 layers" in message
    assert ".1\n" in message


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_forward_module."])
def test_the_line_that_takes_a_wrappers_prefix_off_works(copy, whole, prefix):
    folder = rewrite(copy(), lambda t: {prefix + k: v for k, v in t.items()})
    message = only(folder)
    assert f"`{prefix}`" in message
    line = message.partition("remedy: ")[2]
    exec(shlex.split(line)[2], {})  # python -c ...
    assert folder_problems(folder) == []
    first, second = (load_file(one / "model.safetensors") for one in (folder, whole["llama"]))
    assert all(torch.equal(first[k], second[k]) for k in second)


def test_a_prefix_inside_a_name_is_found(copy):
    folder = rewrite(copy(), lambda t: {k.replace("layers.", "layers._orig_mod."): v for k, v in t.items()})
    assert "torch.compile" in only(folder)


def test_a_missing_head_is_told_where_the_configuration_says_that_there_is_one(copy):
    folder = rewrite(copy(), lambda t: {k: v for k, v in t.items() if k != "lm_head.weight"})
    assert "no output head in the weights" in only(folder)
    assert folder_problems(configure(folder, tie_word_embeddings=True)) == []


def test_another_vocabulary_is_told_with_both_numbers(copy):
    message = only(configure(copy("gpt2"), vocab_size=310))
    assert "transformer.wte.weight with 310 rows (vocab_size)" in message
    assert "got: 300 rows" in message


def test_a_missing_part_of_an_expert_is_named(copy):
    folder = rewrite(
        copy("mixtral"), lambda t: {k: v for k, v in t.items() if "0.block_sparse_moe.experts.1.w2" not in k}
    )
    assert "layers.0.block_sparse_moe.experts.1.w2.weight" in only(folder)


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ"),
        ({"quant_method": "awq", "bits": 4}, "AWQ"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
    ],
)
def test_quantised_weights_are_refused_by_their_kind(copy, stated, kind):
    message = only(configure(copy(), quantization_config=stated))
    assert f"quantised weights ({kind})" in message
    assert "remedy: give the model before quantisation" in message


def test_packed_tensors_are_found_without_a_configuration_of_them(copy):
    folder = rewrite(
        copy(),
        lambda t: {k.replace("k_proj.weight", "k_proj.qweight"): v for k, v in t.items()},
    )
    assert "quantised weights (packed)" in only(folder)


def test_a_left_over_adapter_beside_a_whole_model_is_told(copy):
    folder = copy()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    message = only(folder)
    assert "a left-over adapter_config.json beside a whole model" in message
    assert "org/base" in message
    (folder / "model.safetensors").unlink()
    assert "an adapter, not a model" in only(folder)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.02, 0.5, 0.999])
def test_a_file_that_is_cut_off_anywhere_is_told(copy, share):
    folder = copy()
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    message = only(folder)
    assert "model.safetensors is damaged" in message
    assert "download or copy it again" in message


def test_a_file_of_another_kind_or_with_more_in_it_is_damaged(tmp_path):
    file = tmp_path / "model.safetensors"
    for content in (b"<html>Not found</html>" * 3, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}extra"):
        file.write_bytes(content)
        with pytest.raises(DamagedFile):
            read_header(file)


def test_an_index_of_another_checkpoint_is_told(tmp_path):
    tiny("llama").save_pretrained(tmp_path, max_shard_size="60KB")
    index = tmp_path / "model.safetensors.index.json"
    named = json.loads(index.read_text())
    named["weight_map"]["model.layers.7.mlp.up_proj.weight"] = next(iter(named["weight_map"].values()))
    index.write_text(json.dumps(named))
    assert "not where the index says: model.layers.7.mlp.up_proj.weight" in only(tmp_path)


def test_a_finetuned_adapters_names_are_told(copy):
    folder = rewrite(
        copy(), lambda t: {**t, "model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 2)}
    )
    assert "an adapter that is not merged" in only(folder)
