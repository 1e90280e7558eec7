"""ViT's table and config, which DeiT and MAE share."""

import numpy as np
import pytest
import torch

from tests.checkpoints import write_vision
from tests.models.families.tables import applied, parameters, some
from tests.vision_checkpoints import write_vision_family
from vla.models.checkpoint import open_tensors
from vla.models.families.vit import read_deit, read_vit, read_vit_mae
from vla.models.fields import Fields
from vla.models.loading import load_model


@pytest.mark.parametrize("kind, prefix", [("vit", ""), ("vit_classifier", "vit.")])
def test_every_parameter_is_the_module_of_its_name(kind, prefix, tmp_path):
    twin = write_vision(tmp_path, kind)
    found, x = parameters(tmp_path), some(24)
    named = dict(twin.named_modules())
    [queries] = [
        module for name, module in named.items() if "1.attention" in name and name.endswith(("query", "q_proj"))
    ]
    with torch.no_grad():
        expected = queries(x)
    np.testing.assert_allclose(applied(found, "blocks.attention.query", x), expected, rtol=1e-5, atol=1e-5)
    embedding = named[f"{prefix}embeddings"]
    np.testing.assert_array_equal(found["embedding.cls"], embedding.cls_token[0, 0].detach())
    np.testing.assert_array_equal(found["embedding.positions"], embedding.position_embeddings[0].detach())


def test_sides_may_be_pairs_of_one_number():
    config = read_vit(Fields({"image_size": [64, 64], "patch_size": 16, "qkv_bias": False}, "config.json"))
    assert (config.grid, config.patch) == (4, 16)
    assert not (config.query_bias or config.key_bias or config.value_bias) and config.out_bias


@pytest.mark.parametrize(
    "given, message",
    [
        ({"image_size": 8}, "image_size 8 is smaller than patch_size 16"),
        ({"hidden_size": 100}, "hidden_size 100 does not divide by num_attention_heads 12"),
    ],
)
def test_sizes_at_odds_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        read_vit(Fields(given, "config.json"))


def test_the_distillation_token_is_hugging_faces(tmp_path):
    twin = write_vision_family(tmp_path, "deit")
    found, embedding = parameters(tmp_path), twin.get_submodule("embeddings")
    np.testing.assert_array_equal(found["embedding.distillation"], embedding.distillation_token[0, 0].detach())
    np.testing.assert_array_equal(found["embedding.cls"], embedding.cls_token[0, 0].detach())
    # 4 x 4 patches and two tokens
    assert found["embedding.positions"].shape == (18, 24)


def test_both_tokens_can_be_read():
    config = read_deit(Fields({}, "config.json"))
    assert config.pools == ("cls", "mean", "distillation") and config.prefix == config.prefix_positions == 2


def test_the_encoder_of_a_whole_autoencoder_is_found(tmp_path):
    write_vision_family(tmp_path, "mae_whole")
    assert any(name.startswith("decoder.") for name in open_tensors(tmp_path))
    assert parameters(tmp_path)["blocks.feed_forward.up.weight"].shape == (40, 24)
    assert load_model(tmp_path).layer_names[-2] == "block_3"


def test_the_config_is_vits_but_for_masking_and_decoder():
    fields = Fields({"mask_ratio": 0.75, "norm_pix_loss": True, "decoder_hidden_size": 512}, "config.json")
    assert read_vit_mae(fields) == read_vit(Fields({}, "config.json"))
    fields.finish()
    with pytest.raises(ValueError, match="mask_ratio"):
        vit = Fields({"mask_ratio": 0.75}, "config.json")
        read_vit(vit)
        vit.finish()
