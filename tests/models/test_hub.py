import json
import shutil

import huggingface_hub
import pytest
import torch
from architectures import ARCHITECTURES, save_model, tiny

from finescale.errors import UsageError
from finescale.models.decoder import open_model
from finescale.models.hub import find_own, folder_problems, tokenizer_hash, weights_hash
from finescale.models.sizes import sizes_of, sizes_of_folder
from finescale.spec.own import ModelSource


def own(source, **changes):
    return ModelSource.model_validate({"from": str(source), "pretrain_tokens": 1000} | changes)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_is_opened_in_float32_with_its_sizes(tmp_path, architecture):
    folder = save_model(tmp_path / "model", architecture)
    spec, hashes = find_own("mine", own(folder), 1000)
    model = open_model(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert spec.folder == str(folder)
    assert spec.params == sum(parameter.numel() for parameter in model.parameters())
    assert spec.nonembedding_params == sizes_of(model).nonembedding_params
    assert set(hashes) == {"weights", "tokenizer"}


def test_dropout_of_the_configuration_is_known_without_torch(tmp_path):
    assert not find_own("mine", own(save_model(tmp_path / "llama")), 1000)[0].random
    assert find_own("mine", own(save_model(tmp_path / "gpt2", "gpt2")), 1000)[0].random  # 0.1 by default


def test_folders_inside_a_folder_are_pretraining_checkpoints(tmp_path):
    for step in (10, 20):
        save_model(tmp_path / f"step{step}", seed=step)
    model = own(tmp_path, pretrain_tokens=None, revisions={"step20": 2000, "step10": 1000})
    assert list(model.checkpoints) == [1000, 2000]
    spec, hashes = find_own("mine", model, 2000)
    assert (spec.revision, spec.folder) == ("step20", str(tmp_path / "step20"))
    assert hashes["weights"] != find_own("mine", model, 1000)[1]["weights"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stands in for the hub: revisions of one model; notes what was asked for."""
    asked = []

    def snapshot_download(name, revision=None, allow_patterns=()):
        asked.append((name, revision, tuple(allow_patterns)))
        folder = tmp_path / "cache" / (revision or "main")
        return str(folder if folder.exists() else save_model(folder))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_model_of_the_hub_is_downloaded_by_revision_without_pickle_or_code(hub, tmp_path):
    model = own("org/tiny", revision="v1", revisions={"step10": 10})
    assert find_own("mine", model, 10)[0].folder == str(tmp_path / "cache" / "step10")
    assert find_own("mine", model, 1000)[0].revision == "v1"
    assert [item[:2] for item in hub] == [("org/tiny", "step10"), ("org/tiny", "v1")]
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for _, _, kinds in hub for pattern in kinds)


def test_a_shown_plan_asks_the_hub_for_the_configuration_alone_and_for_nothing_where_sizes_are_stated(hub):
    spec, hashes = find_own("mine", own("org/tiny"), 1000, contents=False)
    assert hub == [("org/tiny", None, ("config.json",))]
    assert spec.params == sizes_of(tiny("llama")).params
    assert hashes["weights"] == "org/tiny@None"
    hub.clear()
    spec, _ = find_own("mine", own("org/tiny", params=9, nonembedding_params=5), 1000, contents=False)
    assert (hub, spec.folder, spec.params) == ([], None, 9)


def told(call, *arguments):
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_hub_that_cannot_be_reached_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = told(find_own, "mine", own("org/tiny-model-that-is-nowhere", revision="step10"), 1000)
    assert message.startswith("models.mine.from: the model 'org/tiny-model-that-is-nowhere' cannot be opened")
    assert "not in the cache (" in message
    assert "hf download org/tiny-model-that-is-nowhere --revision step10" in message


def test_a_name_that_the_hub_could_not_have_is_told(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "cannot be opened" in told(find_own, "mine", own("a/b/c"), 1000)


def test_weights_in_pickle_are_refused_with_the_remedy(tmp_path):
    folder = save_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = told(find_own, "mine", own(folder), 1000)
    assert "weights in pickle are not opened" in message
    assert "got: pytorch_model.bin" in message
    assert "save_pretrained(FOLDER)" in message
    (folder / "pytorch_model.bin").unlink()
    assert "no weights" in told(weights_hash, folder)


def test_a_folder_without_configuration_or_tokenizer_is_told(tmp_path):
    assert "no such folder" in told(find_own, "mine", own("./nowhere"), 1000)
    (tmp_path / "notes.txt").touch()
    assert "notes.txt" in told(find_own, "mine", own(tmp_path), 1000)
    folder = save_model(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in told(tokenizer_hash, folder)


def test_the_weights_hash_is_of_what_the_model_computes(tmp_path):
    folder = save_model(tmp_path / "model")
    first = weights_hash(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"transformers_version": "0", "_name_or_path": "x"})
    )
    assert weights_hash(folder) == first
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert weights_hash(folder) != first


def test_sharded_weights_are_hashed_and_a_missing_shard_is_told(tmp_path):
    folder = save_model(tmp_path / "model")
    tiny("llama").save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    shutil.copy(folder / "tokenizer.json", tmp_path / "shards")
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 1
    first = weights_hash(tmp_path / "shards")
    assert find_own("mine", own(tmp_path / "shards"), 1000)[1]["weights"] == first
    shards[0].unlink()
    assert shards[0].name in told(weights_hash, tmp_path / "shards")


def test_a_single_file_beside_an_index_of_shards_is_refused_with_a_remedy(tmp_path):
    tiny("llama").save_pretrained(tmp_path, max_shard_size="60KB")
    tiny("llama", seed=1).save_pretrained(tmp_path / "one")
    shutil.copy(tmp_path / "one" / "model.safetensors", tmp_path)
    message = told(weights_hash, tmp_path)
    assert "transformers would open the single file and pass over the shards" in message
    assert f"mv {tmp_path / 'model.safetensors'}" in message
    assert str(folder_problems(tmp_path)[0]) == message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
            "not a causal language model",
        ),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM (bert)"),
        ({"model_type": "home-made"}, "transformers does not know this kind of model"),
        (
            {"model_type": "home-made", "auto_map": {"AutoConfig": "code.Config"}},
            "code from repositories is never run",
        ),
    ],
)
def test_what_is_no_causal_language_model_of_transformers_is_told(tmp_path, config, words):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert words in told(sizes_of_folder, tmp_path)


@pytest.mark.parametrize("named", ["../outside.safetensors", "/etc/passwd", "", None])
def test_an_index_of_weights_names_files_beside_it(named, tmp_path):
    text = {"weight_map": {"w": named}} if named is not None else {"weights": {}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(text))
    (tmp_path.parent / "outside.safetensors").touch()
    with pytest.raises(UsageError, match=r"models.m.from: .*index.json: an index of weights"):
        weights_hash(tmp_path, "models.m.from")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff"])
def test_a_damaged_index_or_configuration_is_told(text, tmp_path):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"models.m.from: .*config.json: config.json cannot be read"):
        weights_hash(tmp_path, "models.m.from")


def test_weights_that_are_not_there_are_told_with_their_own_remedy(tmp_path):
    folder = save_model(tmp_path / "model")
    weights = folder / "model.safetensors"

    def renamed(*names):
        for file in folder.glob("*.safetensors"):
            file.unlink()
        for name in names:
            (folder / name).touch()
        return told(weights_hash, folder)

    assert "rename weights.safetensors to model.safetensors" in renamed("weights.safetensors")
    assert "in the format of transformers" in renamed("consolidated.safetensors")
    shards = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    assert "get model.safetensors.index.json" in renamed(*shards)
    assert "hf download NAME --local-dir FOLDER" in renamed()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}))
    message = renamed(shards[0])
    assert "1 of 2 files of weights are missing" in message
    assert f"got: {shards[1]}" in message
    assert "convert" not in message
    index.unlink()
    renamed()
    weights.symlink_to("../blobs/abc")
    message = told(weights_hash, folder)
    assert "weights whose link leads nowhere" in message
    assert "got: model.safetensors -> ../blobs/abc" in message
