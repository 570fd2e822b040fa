import pytest
from transformers import JambaConfig, LlamaConfig, MixtralConfig, Qwen2MoeConfig

from finescale.models.sizes import sizes_of_config


@pytest.mark.parametrize(
    ("config", "params", "active"),
    [
        (MixtralConfig, 46.7e9, 12.9e9),  # Jiang et al. 2024, "Mixtral of Experts"
        (Qwen2MoeConfig, 14.3e9, 2.7e9),  # Qwen1.5-MoE-A2.7B
        (JambaConfig, 52e9, 12e9),  # Lieber et al. 2024, "Jamba"
    ],
)
def test_active_parameters_of_mixtures_are_the_published_ones(config, params, active):
    sizes = sizes_of_config(config())
    assert sizes.params == pytest.approx(params, rel=0.01)
    assert sizes.active_params == pytest.approx(active, rel=0.01)
    assert sizes.active_nonembedding_params < sizes.active_params


def test_every_parameter_of_a_dense_model_is_active():
    sizes = sizes_of_config(LlamaConfig(num_hidden_layers=2))
    assert sizes.active_params == sizes.params
    assert sizes.active_nonembedding_params == sizes.nonembedding_params
