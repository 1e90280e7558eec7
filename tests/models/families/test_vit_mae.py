"""A masked autoencoder: the encoder is ViT's, the decoder is passed over."""

import pytest

from tests.models.families.tables import parameters
from tests.vision_checkpoints import write_vision_family
from vla.models.checkpoint import open_tensors
from vla.models.families.vit import read_vit
from vla.models.families.vit_mae import read_vit_mae
from vla.models.fields import Fields
from vla.models.loading import load_model


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
