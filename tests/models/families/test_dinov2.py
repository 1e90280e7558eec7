"""DINOv2: layer scale, registers, and a gated network of two thirds the width."""

import numpy as np
import pytest
import torch

from tests.checkpoints import write_vision
from tests.models.families.tables import applied, parameters, some
from vla.models.families.dino import read_dinov2, read_dinov2_with_registers
from vla.models.fields import Fields


def test_gate_and_up_are_the_halves_of_one_map(tmp_path):
    twin = write_vision(tmp_path, use_swiglu_ffn=True)
    found, x = parameters(tmp_path), some(24)
    mlp = twin.get_submodule("encoder.layer.1.mlp")
    with torch.no_grad():
        # in memory Hugging Face has two maps, in the file one
        gate, up = mlp.gate_proj(x), mlp.up_proj(x)
    np.testing.assert_allclose(applied(found, "blocks.feed_forward.gate", x), gate, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(applied(found, "blocks.feed_forward.up", x), up, rtol=1e-5, atol=1e-5)


def test_layer_scale_and_registers_are_hugging_faces(tmp_path):
    twin = write_vision(tmp_path, "dinov2_with_registers", num_register_tokens=3)
    found, block = parameters(tmp_path), twin.get_submodule("encoder.layer.1")
    np.testing.assert_array_equal(found["blocks.scale1"], block.layer_scale1.lambda1.detach())
    np.testing.assert_array_equal(found["blocks.scale2"], block.layer_scale2.lambda1.detach())
    registers = twin.get_submodule("embeddings").register_tokens
    np.testing.assert_array_equal(found["embedding.registers"], registers[0].detach())


@pytest.mark.parametrize("width, inner", [(768, 2048), (1536, 4096), (24, 64), (60, 160)])
def test_the_gated_width_is_two_thirds_of_four_times_the_width_in_eights(width, inner):
    config = read_dinov2(Fields({"hidden_size": width, "use_swiglu_ffn": True}, "config.json"))
    assert config.gated and config.inner == inner and config.nonlinearity == "silu"


def test_the_variants_differ_in_patch_registers_and_resizing():
    plain, more = read_dinov2(Fields({}, "c")), read_dinov2_with_registers(Fields({}, "c"))
    assert (plain.patch, plain.registers, plain.antialias) == (14, 0, False)
    assert (more.patch, more.registers, more.antialias) == (16, 4, True)
