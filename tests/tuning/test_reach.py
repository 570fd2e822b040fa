import pytest
import torch
from architectures import CONFIGS, OTHERS, save_model
from transformers import AutoModelForCausalLM

from finescale.errors import UsageError
from finescale.spec.run import MethodSpec
from finescale.tuning.lora import wrap_lora
from finescale.tuning.reach import examine, reach
from finescale.tuning.tuned import Tuned

LORA = MethodSpec(name="lora", pet_size=2)


def lora(**settings):
    return MethodSpec(name="lora", pet_size=2, settings=settings)


def meta(name):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config((CONFIGS | OTHERS)[name]())


def real(name, method=LORA) -> Tuned:
    model = AutoModelForCausalLM.from_config((CONFIGS | OTHERS)[name]()).float()
    return wrap_lora(model, 2, 0, None, method.settings)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_lora_reaches_every_matrix_of_a_dense_decoder(name):
    found = reach(meta(name), LORA)
    assert found is not None
    assert (found.share, found.bare) == (1.0, ())
    assert found.trainable == real(name).trainable_params


def test_experts_without_adapter_are_known_and_can_be_asked_for():
    found = reach(meta("qwen2-moe"), LORA)
    assert found is not None
    assert found.share < 0.5
    assert set(found.stacked) == {
        f"model.layers.*.mlp.experts.{part}" for part in ("gate_up_proj", "down_proj")
    }
    asked = lora(target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"])
    more = reach(meta("qwen2-moe"), asked)
    assert more is not None
    assert more.share > 0.9
    assert not more.stacked
    tuned = real("qwen2-moe", asked)
    assert tuned.trainable_params == more.trainable > found.trainable
    ids = torch.randint(1, 299, (2, 12))
    tuned.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    assert all(tensor.grad is not None for tensor in tuned.trainable.values())


@pytest.mark.parametrize(("name", "module"), [("mamba", "out_proj"), ("jamba", "dt_proj")])
def test_modules_that_peft_cannot_adapt_are_named_and_the_remedy_trains_all_of_its_tensors(name, module):
    with pytest.raises(UsageError) as caught:
        reach(meta(name), LORA)
    message = str(caught.value)
    assert f"'lora' cannot adapt {module} of this architecture ({name})" in message
    others = message.partition("target_modules: [")[2].partition("]")[0].split(", ")
    assert module not in others
    method = lora(target_modules=others)
    assert reach(meta(name), method) is not None
    tuned = real(name, method)
    ids = torch.randint(1, 299, (2, 12))
    tuned.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    assert all(tensor.grad is not None for tensor in tuned.trainable.values())


def test_methods_that_adapt_no_weights_have_no_reach():
    for method in (MethodSpec(name="full"), MethodSpec(name="prompt", pet_size=4)):
        assert reach(meta("mamba"), method) is None


def test_a_misspelt_module_among_others_is_told_with_the_name_that_it_is_like():
    assert reach(meta("llama"), lora(target_modules=["q_proj", "self_attn.v_proj"])) is not None
    with pytest.raises(UsageError, match="did you mean 'v_proj'") as refused:
        reach(meta("llama"), lora(target_modules=["q_proj", "v_porj"]))
    assert refused.value.where == "methods.lora.target_modules"


def test_a_pattern_of_modules_and_all_linear_are_left_to_peft():
    for pattern in ("all-linear", r".*\.(q|v)_proj"):
        assert reach(meta("llama"), lora(target_modules=pattern)) is not None


def test_a_misspelt_parameter_is_told():
    with pytest.raises(UsageError, match=r"did you mean 'mlp\.experts\.gate_up_proj'"):
        reach(meta("qwen2-moe"), lora(target_parameters=["mlp.experts.gate_upproj"]))


def test_a_folder_is_examined_with_all_methods_and_notes_say_how_to_ask_for_experts(tmp_path):
    found = examine(str(save_model(tmp_path, "qwen2-moe")), [MethodSpec(name="full"), LORA])
    assert found["problems"] == []
    (note,) = found["notes"]
    assert note.startswith("lora adapts ")
    wanted = "methods: {lora: {target_parameters: [mlp.experts.gate_up_proj, mlp.experts.down_proj]}}"
    assert wanted in note
    (tmp_path / "tokenizer.json").write_text("{}")
    (problem,) = examine(str(tmp_path), [])["problems"]
    assert problem["problem"] == "the tokenizer cannot be opened"


def test_a_method_that_adapts_no_weights_reaches_none():
    assert reach(meta("llama"), MethodSpec(name="bitfit")) is None
