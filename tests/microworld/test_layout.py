"""The drawn world laid out as the datasets and models of a study."""

import pytest

from configs import microworld
from vla.microworld.layout import laid_out
from vla.microworld.shipped import shipped
from vla.stimuli import read_dataset


def config(**changes):
    values = microworld.get_config("quick").to_dict()
    values["microworld"] |= {"n": 8, "renderings": 1, "paraphrases": 2, **changes}
    return values


def test_the_trained_models_look_at_the_world(tmp_path):
    values = laid_out(config(), tmp_path)
    assert values["vision"]["core"] == (str(shipped("micro-dinov2")), str(shipped("micro-vit")))
    assert values["language"]["core"] == (str(shipped("micro-llama")), str(shipped("micro-bloom")))
    assert values["datasets"]["coco"]["clip"] == str(shipped("micro-clip"))
    assert len(read_dataset("coco_val2017", values["datasets"]["coco"]["directory"])) == 8
    assert "microworld" not in values
    assert laid_out(config(), tmp_path) == values


def test_models_that_are_named_stay(tmp_path):
    asked = config(training=True) | {"vision": {"core": ("a",)}}
    values = laid_out(asked, tmp_path)
    assert values["vision"] == {"core": ("a",)}
    assert values["language"]["core"] == (str(shipped("micro-llama")), str(shipped("micro-bloom")))
    # Of models of one's own there are no checkpoints on the way.
    assert values["own_experiments"] == ()


def test_other_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="microworld.models='some'; expected one of trained, untrained"):
        laid_out(config(models="some"), tmp_path)
    assert not list(tmp_path.iterdir())
