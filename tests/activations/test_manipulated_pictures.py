"""Manipulated pictures go through extraction as the same pixels given outright do."""

import numpy as np
import pytest
from PIL import Image

from tests.activations import tiny
from vla.activations.extract import extract, extract_to_store
from vla.activations.store import Store
from vla.records import Dataset, Item
from vla.stimuli import decode_image, image_view


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return tiny.vision(tmp_path_factory.mktemp("vision") / "tiny-dinov2")[0]


@pytest.fixture
def dataset(tmp_path):
    for place, pixels in enumerate(tiny.pictures(6)):
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
    return Dataset("toy", tuple(Item(f"n{i}", tmp_path / f"{i}.png", ("a dog",)) for i in range(6)))


def test_the_same_activations(vision, dataset):
    view = image_view(dataset, "rotation + patch_shuffle + grayscale")
    outright = [decode_image(picture, id) for picture, id in zip(view.stimuli, view.ids, strict=True)]
    lazily = extract(vision, view.stimuli, items=view.ids, batch_size=4)
    np.testing.assert_array_equal(lazily, extract(vision, outright, items=view.ids, batch_size=4))
    assert (lazily != extract(vision, image_view(dataset).stimuli, items=view.ids)).any()


def test_into_the_store(vision, dataset, tmp_path):
    store = Store(str(tmp_path / "store"))
    view = image_view(dataset, "rotation")
    wanted = extract_to_store(vision, view, store)
    np.testing.assert_allclose(store.read(wanted), extract(vision, view.stimuli), rtol=1e-5, atol=1e-6)
    assert extract_to_store(vision, image_view(dataset, "rotation:angle=16"), store).key != wanted.key


def test_an_error_names_the_item(vision, dataset):
    view = image_view(dataset, "patch_shuffle:grid=64")
    with pytest.raises(ValueError, match="patch_shuffle of item 'n0': the image is 40 x 40 pixels, too small"):
        extract(vision, view.stimuli, items=view.ids)
