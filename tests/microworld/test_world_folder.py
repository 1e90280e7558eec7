"""The ordinary readers read a written world, and find in it what was drawn."""

import numpy as np
import pytest

from vla.microworld.captions import describe
from vla.microworld.drawing import draw, draw_with_map
from vla.microworld.scenes import distinct_scenes
from vla.microworld.world_folder import write_world
from vla.stimuli import decode_image, read_dataset
from vla.stimuli.generators import with_paraphrases, with_synthetic
from vla.stimuli.tagging import Tagger


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world") / "w", 12, 3, renderings=6, judgments=6, flickr8k=4)


def test_coco_with_paraphrases_and_renderings(world):
    scenes = distinct_scenes(12, 3)
    dataset = with_synthetic(
        with_paraphrases(read_dataset("coco_val2017", world.coco), world.paraphrases), world.synthetic
    )
    things = read_dataset("coco_val2017", world.coco, masks="instances")
    assert len(dataset) == 12 and len({what.key for what in scenes}) == 12
    for what, item, other in zip(scenes, dataset.items, things.items, strict=True):
        drawn = draw_with_map(what)
        assert item.captions == tuple(caption.text for caption in describe(what))
        assert (len(item.paraphrases), len(item.synthetic)) == (10, 6)
        np.testing.assert_array_equal(np.asarray(decode_image(item.image)), draw(what))
        np.testing.assert_array_equal(item.segmentation.things(), drawn.things > 0)
        np.testing.assert_array_equal(item.segmentation.stuff(), drawn.things == 0)
        np.testing.assert_array_equal(other.segmentation.things(), drawn.things > 0)


def test_judgments_flickr8k_and_tags(world):
    judged = read_dataset("pick_a_pic", world.pick_a_pic)
    assert len(judged) == 6 and all(item.rejected for item in judged.items)
    other = read_dataset("flickr8k", world.flickr8k)
    assert [len(item.captions) for item in other.items] == [5] * 4
    captions = [caption for what in distinct_scenes(30, 9) for caption in describe(what)]
    tagged = Tagger(str(world.tagger), cache=None).tag([caption.text for caption in captions])
    right = [
        token.pos == tag
        for tokens, caption in zip(tagged, captions, strict=True)
        for token, tag in zip(tokens, caption.tags, strict=True)
    ]
    assert np.mean(right) > 0.97


def test_refused(tmp_path):
    with pytest.raises(ValueError, match="renderings=16; expected a whole number from 0 to 15"):
        write_world(tmp_path / "w", 3, 0, renderings=16)
