import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    CamembertConfig,
    CamembertForCausalLM,
    GPT2Config,
    MambaConfig,
    RobertaConfig,
    RobertaForCausalLM,
    XLMConfig,
    XLMWithLMHeadModel,
    XLNetConfig,
    XLNetLMHeadModel,
)

from finescale.errors import UsageError
from finescale.models.behaviour import check_behaviour
from finescale.models.decoder import read_config

IDS = {"vocab_size": 300, "pad_token_id": 1, "eos_token_id": 1, "bos_token_id": 2}
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
XLNET = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}
XLM = {"emb_dim": 32, "n_layers": 2, "n_heads": 4}
AHEAD = {
    "bert": lambda: BertLMHeadModel(BertConfig(**IDS, **LAYERS)),
    "roberta": lambda: RobertaForCausalLM(RobertaConfig(**IDS, **LAYERS)),
    "xlnet": lambda: XLNetLMHeadModel(XLNetConfig(**IDS, **XLNET)),
    "xlm": lambda: XLMWithLMHeadModel(XLMConfig(**IDS, **XLM)),
}
POSITIONS = {
    "roberta": lambda: RobertaForCausalLM(RobertaConfig(**IDS, **LAYERS, is_decoder=True)),
    "camembert": lambda: CamembertForCausalLM(CamembertConfig(**IDS, **LAYERS, is_decoder=True)),
}
CAUSAL = {
    "bert": BertConfig(**IDS, **LAYERS, is_decoder=True),
    "gpt2": GPT2Config(**IDS, n_embd=32, n_layer=2, n_head=4, n_positions=4),
    "mamba": MambaConfig(**IDS, hidden_size=32, num_hidden_layers=2, state_size=8),
}


def words(check):
    with pytest.raises(UsageError) as refused:
        check()
    return str(refused.value)


@pytest.mark.parametrize("name", AHEAD)
def test_a_model_that_sees_ahead_is_refused_by_its_configuration_and_by_what_it_does(name, tmp_path):
    torch.manual_seed(0)
    model = AHEAD[name]().float().eval()
    model.save_pretrained(tmp_path)
    assert "its tokens see those after them" in words(lambda: read_config(tmp_path))
    told = words(lambda: check_behaviour(model, "models.m"))
    assert "its tokens see those after them" in told
    assert "another last token changes the logits before it" in told


@pytest.mark.parametrize("name", POSITIONS)
def test_a_decoder_with_positions_of_its_own_is_refused(name, tmp_path):
    torch.manual_seed(0)
    model = POSITIONS[name]().float().eval()
    model.save_pretrained(tmp_path)
    assert "counts positions in a way of its own" in words(lambda: read_config(tmp_path))
    assert "counts positions in a way of its own" in words(lambda: check_behaviour(model, "models.m"))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_decoder_passes(name):
    torch.manual_seed(0)
    check_behaviour(AutoModelForCausalLM.from_config(CAUSAL[name]).float().eval(), "models.m")
