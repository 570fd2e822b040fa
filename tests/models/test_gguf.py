import json

import numpy as np
import pytest
import torch
from architectures import VOCABULARY, save_model, tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig

from finescale.errors import UsageError
from finescale.models.decoder import open_model
from finescale.models.hub import find_own
from finescale.models.tokenizer import open_tokenizer
from finescale.spec.own import ModelSource

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


@pytest.fixture
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, pad_token_id=0, eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).float().eval()


def write(file, model):
    """The model as llama.cpp's own package writes it: matrices in 8 bits (Q8_0), rotary pairs interleaved."""
    config, made = model.config, gguf.GGUFWriter(str(file), "llama")
    made.add_context_length(256)
    made.add_embedding_length(config.hidden_size)
    made.add_block_count(config.num_hidden_layers)
    made.add_feed_forward_length(config.intermediate_size)
    made.add_head_count(config.num_attention_heads)
    made.add_head_count_kv(config.num_key_value_heads)
    made.add_layer_norm_rms_eps(config.rms_norm_eps)
    made.add_rope_dimension_count(config.head_dim)
    made.add_rope_freq_base(10_000.0)
    made.add_vocab_size(config.vocab_size)
    words = sorted(tokenizer().get_vocab(), key=tokenizer().get_vocab().get)
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre("gpt-2")
    made.add_token_list(words)
    made.add_token_types([3] + [1] * (len(words) - 1))
    merges = json.loads(tokenizer().backend_tokenizer.to_str())["model"]["merges"]
    made.add_token_merges([" ".join(pair) for pair in merges])
    made.add_eos_token_id(0)
    made.add_bos_token_id(0)
    for key, tensor in model.state_dict().items():
        name, array = key.removesuffix(".weight"), tensor.numpy()
        if name not in NAMES:
            _, _, layer, part = name.split(".", 3)
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = config.num_attention_heads if "q_proj" in part else config.num_key_value_heads
                pairs = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1])
                array = pairs.swapaxes(1, 2).reshape(array.shape)
            name = f"blk.{layer}.{PARTS[part]}"
        kind = gguf.GGMLQuantizationType.Q8_0
        if array.ndim == 2:
            packed = gguf.quantize(np.ascontiguousarray(array), kind)
            made.add_tensor(NAMES.get(name, name) + ".weight", packed, raw_dtype=kind)
        else:
            made.add_tensor(NAMES.get(name, name) + ".weight", array)
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()


def test_a_gguf_file_is_dequantised_once_and_said_so(tmp_path, monkeypatch, llama):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "packed"
    folder.mkdir()
    write(folder / "tiny.Q8_0.gguf", llama)
    own = ModelSource.model_validate({"from": str(folder), "pretrain_tokens": 1000})
    spec, hashes = find_own("mine", own, 1000)
    assert spec.revision == "tiny.Q8_0.gguf (dequantised)"
    assert spec.params == llama.num_parameters()
    again, same = find_own("mine", own, 1000)
    assert (again, same) == (spec, hashes)
    ids = torch.tensor([open_tokenizer(tmp_path / spec.folder)("The file is open")["input_ids"]])
    assert ids.tolist() == [tokenizer()("The file is open")["input_ids"]]
    with torch.no_grad():
        difference = (open_model(tmp_path / spec.folder)(ids).logits - llama(ids).logits).abs().max()
    assert 0 < float(difference) < 0.02  # eight bits


def test_several_files_or_none_that_can_be_read_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "a.gguf").write_bytes(b"GGUF but no more")
    own = ModelSource.model_validate({"from": str(folder), "pretrain_tokens": 1000})
    with pytest.raises(UsageError, match=r"models\.mine\.from: a\.gguf cannot be read"):
        find_own("mine", own, 1000)
    (folder / "b.gguf").touch()
    with pytest.raises(UsageError, match="several GGUF files"):
        find_own("mine", own, 1000)
    whole = save_model(tmp_path / "whole")
    (whole / "c.gguf").touch()
    named = ModelSource.model_validate({"from": str(whole), "pretrain_tokens": 1000})
    assert find_own("mine", named, 1000)[0].revision == "main"  # its safetensors are what counts
