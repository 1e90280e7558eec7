"""The microworld on disk is read like any published dataset."""

import numpy as np
import pytest
from PIL import Image

from vla.microworld import describe, draw, scene, write_microworld
from vla.stimuli import caption_view, decode_image, image_view, read_captioned_folder


def test_read_like_flickr8k(tmp_path):
    folder = write_microworld(tmp_path / "microworld", n=12, seed=3)
    dataset = read_captioned_folder(folder)
    assert (dataset.name, len(dataset), dataset.dropped) == ("microworld", 12, ())
    assert dataset.ids[:2] == ("scene_00000", "scene_00001")
    for index, item in enumerate(dataset.items):
        assert item.captions == tuple(caption.text for caption in describe(scene(3, index)))
        np.testing.assert_array_equal(np.asarray(decode_image(item.image)), draw(scene(3, index)))
        assert Image.open(item.image).size == (64, 64)


def test_seeded_nested_and_used_again(tmp_path):
    folders = [write_microworld(tmp_path / name, n=n, seed=3) for name, n in (("a", 6), ("b", 6), ("c", 8))]
    a, b, c = (read_captioned_folder(folder) for folder in folders)
    assert image_view(a).content == image_view(b).content
    assert caption_view(a).content == caption_view(b).content
    assert [item.captions for item in c.items[:6]] == [item.captions for item in a.items]
    first = a.items[0].image
    before = first.stat().st_mtime_ns
    assert write_microworld(tmp_path / "a", n=6, seed=3) == tmp_path / "a"
    assert first.stat().st_mtime_ns == before


def test_another_world_in_its_place(tmp_path):
    write_microworld(tmp_path / "a", n=2, seed=3)
    with pytest.raises(ValueError, match='"n": 2.*expected it made from .*"n": 3.*Name another folder'):
        write_microworld(tmp_path / "a", n=3, seed=3)


@pytest.mark.parametrize(("n", "seed", "told"), [(0, 0, "n=0 scenes"), (True, 0, "n=True"), (3, -1, "seed=-1")])
def test_refused(tmp_path, n, seed, told):
    with pytest.raises(ValueError, match=told):
        write_microworld(tmp_path / "a", n=n, seed=seed)
    assert list(tmp_path.iterdir()) == []
