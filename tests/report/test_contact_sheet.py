"""A contact sheet shows what the models will see, says what it cannot show, and can be read without seeing it."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.example_images import Masks, smooth, values
from vla.records import Dataset, Item
from vla.report.contact_sheet import choose_views, contact_sheet, draw_sheet, write_contact_sheet
from vla.stimuli import IMAGE_MANIPULATIONS, Tagger, image_view


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    items = []
    said = ('a dog & "a" <boat> 犬', "go", "people walk in London")
    for place, id in enumerate(("one<1>", "two", "three")):
        smooth(60 + 30 * place, 60).save(tmp_path / f"{place}.png")
        masks = Masks(60 + 30 * place, 60, things_to=30 * (place != 1))
        items.append(Item(id, tmp_path / f"{place}.png", (said[place],), segmentation=masks))
    return Dataset("toy", tuple(items))


@pytest.fixture
def sheet(dataset):
    views, absent = choose_views(dataset, ("original", "things_only"), ("original", "scrambled:unchanged=drop"))
    return contact_sheet(dataset, views, side=50, absent={**absent, "nouns": "no <tagger>"})


def test_thumbnails_are_of_what_the_view_shows(dataset, sheet):
    assert [view.name for view in sheet.views] == [
        "toy/original",
        "toy/things_only",
        "toy/caption_0",
        "toy/caption_0/scrambled",
    ]
    assert sheet.shown(sheet.views[0], "three").size == (50, 25)
    things = values(sheet.shown(sheet.views[1], "three"))
    assert (things[:, 20:] == 0).all() and things[:, :10].max() > 0
    assert sheet.shown(sheet.views[1], "two") is None and sheet.shown(sheet.views[3], "two") is None
    assert sheet.shown(sheet.views[2], "two") == "go"
    assert contact_sheet(dataset, sheet.views, n_shown=1).items == ("one<1>",)


class Reader(HTMLParser):
    """Collects what a page says and shows."""

    def __init__(self):
        super().__init__()
        self.images, self.text = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_self_contained_and_can_be_heard(sheet, tmp_path):
    png, page = write_contact_sheet(sheet, tmp_path / "sheet")
    assert sorted(path.name for path in (tmp_path / "sheet").iterdir()) == ["contact_sheet.html", "contact_sheet.png"]
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:)', text) and 'lang="en"' in text
    reader = Reader()
    reader.feed(text)
    said = "\n".join(reader.text)
    assert [image["alt"] for image in reader.images] == [
        'item one<1>, shown as toy/original: a dog & "a" <boat> 犬',
        'item one<1>, shown as toy/things_only: a dog & "a" <boat> 犬',
        "item two, shown as toy/original: go",
        "item three, shown as toy/original: people walk in London",
        "item three, shown as toy/things_only: people walk in London",
    ]
    assert "2 items, 1 left out" in said and "no <tagger>" in said and "one<1>" in said
    assert said.count("left out") == 3 and 'a dog & "a" <boat> 犬' in said
    data = base64.b64decode(reader.images[0]["src"].split(",", 1)[1])
    shown = values(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(shown - values(sheet.shown(sheet.views[0], "one<1>"))).mean() < 3
    with Image.open(png) as picture:
        assert picture.mode == "RGB" and picture.width >= 900


def test_the_picture_holds_every_thumbnail_whole(sheet):
    drawn = values(draw_sheet(sheet))
    for view in sheet.of("vision"):
        for id in sheet.items:
            image = sheet.shown(view, id)
            if image is not None:
                assert _found(drawn, values(image)), (view.name, id)


def _found(drawn: np.ndarray, image: np.ndarray) -> bool:
    height, width = image.shape[:2]
    corner = np.argwhere((drawn[: -height or None, : -width or None] == image[0, 0]).all(-1))
    return any((drawn[y : y + height, x : x + width] == image).all() for y, x in corner)


def test_captions_alone(dataset):
    views, _ = choose_views(dataset, (), "original")
    drawn = draw_sheet(contact_sheet(dataset, views))
    assert drawn.height > 100 and (values(drawn) < 100).any()


def test_long_words_are_broken(dataset):
    items = (Item("x" * 400, dataset.items[0].image, ("y" * 900 + " z",)),)
    views, _ = choose_views(Dataset("toy", items), "original", "original")
    drawn = values(draw_sheet(contact_sheet(Dataset("toy", items), views)))
    assert (drawn[:, -9:] == 255).all()


def test_images_after_a_models_own_preprocessing(dataset):
    def preprocess(images):
        # Cut the middle, as image processors do, then normalise.
        pixels = [np.asarray(image.crop((10, 10, 50, 50)), np.float32).transpose(2, 0, 1) / 255 for image in images]
        mean, deviation = np.array([0.5, 0.4, 0.3])[:, None, None], np.array([0.2, 0.3, 0.1])[:, None, None]
        return [((p - mean) / deviation).astype(np.float32) for p in pixels]

    view = image_view(dataset)
    shown = contact_sheet(dataset, [view], side=100, preprocess=preprocess).shown(view, "one<1>")
    np.testing.assert_array_equal(values(shown), values(smooth(60, 60).crop((10, 10, 50, 50))))


def test_all_views_that_can_be_shown(dataset, pipeline):
    bare = Dataset("toy", tuple(Item(item.id, item.image, item.captions) for item in dataset.items))
    views, absent = choose_views(bare, tagger=Tagger(pipeline, cache=None))
    assert len(views) == 1 + len(IMAGE_MANIPULATIONS) - 2 + 1 + 6 - len(set(absent) - {"things_only", "stuff_only"})
    assert "no mask of things" in absent["things_only"] and "no mask of stuff" in absent["stuff_only"]
    views, absent = choose_views(bare, (), tagger=Tagger("xx_absent", cache=None))
    assert [view.name for view in views] == ["toy/caption_0", "toy/caption_0/scrambled", "toy/caption_0/reversed"]
    assert "python -m spacy download xx_absent" in absent["nouns"]


def test_items_without_masks_are_left_out_of_all_views_that_need_them(dataset):
    first, *others = dataset.items
    some = Dataset("toy", (Item(first.id, first.image, first.captions), *others))
    views, absent = choose_views(some, caption_views=())
    of_things = next(view for view in views if view.name == "toy/things_only")
    assert of_things.ids == ("three",) and of_things.left_out == ("one<1>", "two") and "things_only" not in absent
    with pytest.raises(ValueError, match='1 of the 3 items of toy have no mask .* unmasked="drop"'):
        choose_views(some, "things_only", ())


def test_what_was_asked_for_is_not_left_out_silently(dataset):
    with pytest.raises(ValueError, match="No image manipulation is called 'rotate'"):
        choose_views(dataset, ("original", "rotate"))
    with pytest.raises(ValueError, match="no views to show"):
        contact_sheet(dataset, [])
    with pytest.raises(ValueError, match="the view toy/original is listed twice"):
        contact_sheet(dataset, [image_view(dataset)] * 2)
