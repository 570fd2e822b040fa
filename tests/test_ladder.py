import pytest

from finescale.ladder import LADDER, train_flops


def test_the_papers_ladder_has_the_papers_sizes():
    billions = {name: LADDER[name].params / 1e9 for name in ("1b", "2b", "4b", "8b", "16b")}
    assert billions == pytest.approx(
        {"1b": 1.218, "2b": 2.19, "4b": 3.60, "8b": 8.11, "16b": 15.44}, abs=0.005
    )


def test_pet_sizes_of_1b_are_the_papers_shares():
    shape = LADDER["1b"]
    assert shape.prompt_params(100) == 204_800
    assert shape.prompt_params(100) / shape.params == pytest.approx(0.00017, abs=5e-6)
    assert shape.lora_params(4) == 2_785_280
    assert shape.lora_params(4) / shape.params == pytest.approx(0.00229, abs=5e-6)


def test_the_nano_ladder_has_the_stated_nonembedding_sizes():
    sizes = {name: shape.nonembedding_params for name, shape in LADDER.items() if name.startswith("nano")}
    assert sizes == {"nano-0.05m": 46_304, "nano-0.1m": 101_712, "nano-0.3m": 277_040, "nano-1m": 935_040}


def test_flops_count_six_for_full_four_for_pet_and_the_head_on_targets_only():
    assert train_flops("full", 100, 10, tokens_processed=7, target_tokens=3) == 6 * (100 * 7 + 10 * 3)
    assert train_flops("pet", 100, 10, tokens_processed=7, target_tokens=3) == 4 * (100 * 7 + 10 * 3)
