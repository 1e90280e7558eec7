"""DeiT: ViT with a second token, which has a position of its own."""

import numpy as np

from tests.models.families.tables import parameters
from tests.vision_checkpoints import write_vision_family
from vla.models.families.deit import read_deit
from vla.models.fields import Fields


def test_the_distillation_token_is_hugging_faces(tmp_path):
    twin = write_vision_family(tmp_path, "deit")
    found, embedding = parameters(tmp_path), twin.get_submodule("embeddings")
    np.testing.assert_array_equal(found["embedding.distillation"], embedding.distillation_token[0, 0].detach())
    np.testing.assert_array_equal(found["embedding.cls"], embedding.cls_token[0, 0].detach())
    # 4 x 4 patches and two tokens
    assert found["embedding.positions"].shape == (18, 24)


def test_both_tokens_can_be_read():
    config = read_deit(Fields({}, "config.json"))
    assert config.pools == ("cls", "mean", "distillation") and config.extra == config.placed == 2
