from __future__ import annotations

from example import TEXT, plan, study

from finescale.study.prospects import prospects


def said(tmp_path, text: str) -> str:
    made = plan(tmp_path, "instant", text)
    runs = made.runs()
    return "\n".join(prospects(study(text), runs, made.held_out_of(runs)))


def test_what_a_design_cannot_answer_is_told_before_it_runs(tmp_path) -> None:
    words = said(tmp_path, TEXT)
    assert "no law over the data size for full (1 fitted), lora (1 fitted): a law needs 4" in words
    assert "two models compared, no law over the model size" in words
    assert "no advice can rest on: the rate of lora is not tuned" in words
    assert "one seed" not in words


def test_a_design_that_is_enough_is_told_so(tmp_path) -> None:
    text = TEXT.replace("full: [128, 256], lora: [128]", "full: [8, 16, 32, 64, 512], lora: [8, 16, 32, 64]")
    text = text.replace("lora: 1e-2", "lora: [1e-2, 2e-2]").replace("[nano-0.05m, nano-0.1m]", "[nano-0.1m]")
    words = said(tmp_path, text.replace("seeds: [0, 1]", "seeds: [0]"))
    assert "- a law over the data size for full, lora" in words
    assert "- a comparison of the methods" in words
    assert "nothing about other model sizes (one model)" in words
    assert "the noise between runs stays unknown (one seed)" in words


def test_a_study_that_is_nearly_all_held_out_is_warned_about(tmp_path) -> None:
    words = said(
        tmp_path, TEXT.replace(">= 256", ">= 128").replace("full: [128, 256]", "full: [64, 128, 256]")
    )
    assert "Warning: 75% of the study's runs are held out" in words
    assert "Nothing is held out" in said(tmp_path, TEXT.replace(">= 256", ">= 1e6"))
