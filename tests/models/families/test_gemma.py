"""Gemma 1 to 3: names of one function, norms around branches, blocks that see a window, two rotary embeddings."""

import numpy as np
import pytest

from tests.language_checkpoints import write_family
from tests.models.families.tables import parameters
from vla.models.families.gemma import read_gemma, read_gemma2, read_gemma3, read_gemma3_text
from vla.models.fields import Fields


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hidden_act": "gelu"},
        {"hidden_act": "gelu", "hidden_activation": None},
        {"hidden_act": "gelu_pytorch_tanh"},
    ],
)
def test_gemma_was_trained_with_the_tanh_form_whatever_it_is_called(given):
    assert read_gemma(Fields(given, "config.json")).nonlinearity == "gelu_pytorch_tanh"


def test_two_functions_are_refused():
    given = {"hidden_act": "relu", "hidden_activation": "silu"}
    with pytest.raises(ValueError, match="'hidden_act' is 'relu' and 'hidden_activation' is 'silu'; expected one"):
        read_gemma(Fields(given, "config.json"))


def test_norms_stand_on_both_sides_of_a_branch(tmp_path):
    twin = write_family(tmp_path, "gemma2")
    found, block = parameters(tmp_path), twin.get_submodule("model.layers.1")
    theirs = {
        "norm1": block.input_layernorm,
        "post_norm1": block.post_attention_layernorm,
        "norm2": block.pre_feedforward_layernorm,
        "post_norm2": block.post_feedforward_layernorm,
    }
    for path, norm in theirs.items():
        np.testing.assert_array_equal(found[f"blocks.{path}.scale"], norm.weight.detach().numpy())


def test_which_blocks_slide():
    assert read_gemma2(Fields({"num_hidden_layers": 4}, "c")).sliding == (True, False, True, False)
    assert read_gemma3_text(Fields({"num_hidden_layers": 7}, "c")).sliding == (*(True,) * 5, False, True)
    given = {"num_hidden_layers": 3, "sliding_window_pattern": 2}
    assert read_gemma3_text(Fields(given, "c")).sliding == (True, False, True)
    with pytest.raises(ValueError, match="'sliding_window' is None, but some blocks are sliding"):
        read_gemma2(Fields({"sliding_window": None}, "c"))


def test_the_scale_of_scores_and_the_cap_are_the_configs():
    config = read_gemma2(Fields({"query_pre_attn_scalar": 144, "attn_logit_softcapping": None}, "config.json"))
    assert config.attention_scale == pytest.approx(1 / 12) and config.score_cap is None
    assert read_gemma2(Fields({}, "config.json")).score_cap == 50.0


def test_the_window_of_gemma_3_counts_both_sides_where_it_looks_both_ways():
    config = read_gemma3_text(Fields({"use_bidirectional_attention": True, "sliding_window": 512}, "config.json"))
    assert (config.causal, config.window) == (False, 256)
    config = read_gemma3_text(Fields({"is_causal": False, "sliding_window": 512}, "config.json"))
    assert (config.causal, config.window) == (False, 512)


def test_gemma_without_a_text_is_refused():
    with pytest.raises(ValueError, match="has no 'text_config', which is required"):
        read_gemma3(Fields({"vision_config": {}}, "config.json"))
