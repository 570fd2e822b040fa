import pytest

from finescale.ladder import LADDER, train_flops


def test_the_papers_ladder_has_the_papers_sizes():
    billions = {name: LADDER[name].params / 1e9 for name in ("1b", "2b", "4b", "8b", "16b")}
    assert billions == pytest.approx(
        {"1b": 1.218, "2b": 2.19, "4b": 3.60, "8b": 8.11, "16b": 15.44}, abs=0.005
    )


@pytest.mark.parametrize("name", LADDER)
def test_a_ladder_model_has_the_ladder_s_counts_without_any_memory(name):
    import torch
    from transformers import LlamaForCausalLM

    from finescale.models.decoder import config
    from finescale.models.sizes import sizes_of
    from finescale.tuning.lora import wrap_lora

    shape = LADDER[name]
    with torch.device("meta"):
        model = LlamaForCausalLM(config(shape, context=1024, eos=1, pad=0))
        sizes = sizes_of(model)
        lora = wrap_lora(model, 4, seed=0)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert (sizes.params, sizes.nonembedding_params) == (shape.params, shape.nonembedding_params)
    assert sizes.head_params == shape.embedding_params
    assert lora.trainable_params == shape.lora_params(4)


PAPER = {  # layers, heads, head dim, FFN dim, model dim (Table 3)
    "1b": (16, 8, 256, 8192, 2048),
    "2b": (20, 10, 256, 10240, 2560),
    "4b": (24, 12, 256, 12288, 3072),
    "8b": (32, 16, 256, 16384, 4096),
    "16b": (40, 20, 256, 20480, 5120),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_shapes_are_table_3_s(name):
    shape = LADDER[name]
    assert (shape.layers, shape.heads, shape.head_dim, shape.ffn, shape.width) == PAPER[name]


def test_the_papers_lora_share_fits_query_value_and_feed_forward():
    shape = LADDER["1b"]
    adapted = ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj")
    params = shape.layers * sum(4 * sum(shape.matrices[name]) for name in adapted)
    assert params / shape.params == pytest.approx(0.00195, abs=5e-6)


def test_pet_sizes_of_1b_are_the_papers_shares():
    shape = LADDER["1b"]
    assert shape.prompt_params(100) == 204_800
    assert shape.prompt_params(100) / shape.params == pytest.approx(0.00017, abs=5e-6)
    assert shape.lora_params(4) == 2_785_280
    assert shape.lora_params(4) / shape.params == pytest.approx(0.00229, abs=5e-6)


def test_the_nano_ladder_has_the_stated_nonembedding_sizes():
    sizes = {name: shape.nonembedding_params for name, shape in LADDER.items() if name.startswith("nano")}
    assert sizes == {
        "nano-0.05m": 46_304,
        "nano-0.1m": 101_712,
        "nano-0.3m": 277_040,
        "nano-1m": 935_040,
        "nano-zh-0.05m": 46_304,
        "nano-zh-0.1m": 101_712,
        "nano-zh-0.3m": 277_040,
    }


def test_flops_count_six_for_full_four_for_pet_and_the_head_on_targets_only():
    assert train_flops("full", 100, 10, tokens_processed=7, target_tokens=3) == 6 * (100 * 7 + 10 * 3)
    assert train_flops("pet", 100, 10, tokens_processed=7, target_tokens=3) == 4 * (100 * 7 + 10 * 3)
