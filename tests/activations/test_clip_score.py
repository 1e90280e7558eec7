import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vla.activations.clip_score import clip_score
from vla.records import Dataset, Item

CONTEXT = 40


class Fake:
    """A CLIP whose embedding of an image is its mean colour and of a text how often it has r, g and b, of any scale."""

    def __init__(self, fingerprint="fake"):
        self.fingerprint, self.images, self.texts = fingerprint, 0, []

    def image_embeddings(self, images):
        self.images += len(images)
        assert all(image.mode == "RGB" for image in images)
        return np.stack([3.0 * np.asarray(image, np.float32).mean((0, 1)) for image in images])

    def text_embeddings(self, texts, truncate=False):
        self.texts += texts
        if not truncate and max(map(len, texts)) > CONTEXT:
            raise ValueError(f"{max(texts, key=len)!r} is too long")
        counts = [[text[:CONTEXT].count(letter) for letter in "RGB"] for text in texts]
        return np.array(counts, np.float32) - np.float32(0.25)


@pytest.fixture
def world(tmp_path):
    items = []
    for i, (colour, captions) in enumerate(
        [((200, 20, 0), ("RRR", "GG", "B")), ((0, 90, 90), ("G B", "R")), ((5, 5, 250), ("B", "RRRR", "Bb", "G"))]
    ):
        Image.new("RGB", (6, 4), colour).save(tmp_path / f"{i}.png")
        items.append(Item(f"item {i}", tmp_path / f"{i}.png", captions))
    return Dataset("world", tuple(items))


def by_hand(item, caption, weight=2.5):
    image = np.asarray(Image.open(item.image), np.float64).mean((0, 1))
    text = np.array([caption.count(letter) for letter in "RGB"]) - 0.25
    return weight * max(image @ text / np.sqrt((image @ image) * (text @ text)), 0)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_scores_are_those_computed_by_hand(world, batch_size):
    clip = Fake()
    scores = clip_score(clip, world, batch_size=batch_size)
    assert scores.dims == ("item", "caption") and scores["item"].values.tolist() == list(world.ids)
    assert scores.dtype == np.float32 and scores["caption"].values.tolist() == [0, 1, 2, 3]
    for item in world.items:
        expected = [by_hand(item, caption) for caption in item.captions]
        row = scores.sel(item=item.id).values
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-6)
        assert np.isnan(row[len(expected) :]).all()
    assert clip.images == 3, "each photograph once"
    texts = [f"A photo depicts {caption}" for item in world.items for caption in item.captions]
    assert list(dict.fromkeys(clip.texts)) == list(dict.fromkeys(texts))
    assert 0 in scores.values and np.nanmax(scores) > 2


def test_weight_prefix_and_number_of_captions_are_settings(world):
    clip = Fake()
    scores = clip_score(clip, world, weight=1.0, prefix="", n_captions=2)
    assert scores.shape == (3, 2) and clip.texts[0] == "RRR"
    np.testing.assert_allclose(
        scores.values * 2.5, clip_score(Fake(), world, prefix="", n_captions=2).values, rtol=1e-6
    )


def test_long_captions_are_refused_by_item_or_cut_on_request(world):
    long = Item("long", world.items[0].image, ("R" + " " * CONTEXT + "GGG",))
    both = Dataset("world", (*world.items, long))
    with pytest.raises(ValueError, match="item 'long', caption 'A photo depicts R .* is too long.* truncate=True"):
        clip_score(Fake(), both)
    cut = clip_score(Fake(), both, truncate=True).sel(item="long", caption=0)
    np.testing.assert_allclose(cut, by_hand(long, "R"), rtol=1e-6)


def test_cached_scores_are_read_and_not_computed_again(world, tmp_path):
    first, second = Fake(), Fake()
    scores = clip_score(first, world, cache=tmp_path / "cache")
    again = clip_score(second, world, cache=tmp_path / "cache")
    assert second.images == 0
    np.testing.assert_array_equal(again, scores)
    np.testing.assert_array_equal(again, clip_score(Fake(), world))
    (path,) = (tmp_path / "cache").iterdir()
    table = pd.read_parquet(path)
    assert list(table) == ["item", "caption", "score"] and len(table) == 9


@pytest.mark.parametrize("change", ["clip", "image", "caption", "order", "prefix", "weight"])
def test_whatever_determines_scores_is_part_of_the_key(world, tmp_path, change):
    clip_score(Fake(), world, cache=tmp_path / "cache")
    clip, settings, items = Fake(), {}, list(world.items)
    if change == "clip":
        clip = Fake("another")
    elif change == "image":
        Image.new("RGB", (6, 4), (1, 2, 3)).save(items[1].image)
    elif change == "caption":
        items[1] = Item(items[1].id, items[1].image, ("G B", "RG"))
    elif change == "order":
        items.reverse()
    else:
        settings[change] = {"prefix": "", "weight": 1.0}[change]
    other = Dataset("world", tuple(items))
    scores = clip_score(clip, other, cache=tmp_path / "cache", **settings)
    assert clip.images == 3
    np.testing.assert_array_equal(scores, clip_score(Fake(), other, **settings))


def test_damaged_scores_are_refused(world, tmp_path):
    clip_score(Fake(), world, cache=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    pd.read_parquet(path).iloc[:-1].to_parquet(path)
    with pytest.raises(ValueError, match="damaged .scores are missing"):
        clip_score(Fake(), world, cache=tmp_path / "cache")
    path.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="is damaged"):
        clip_score(Fake(), world, cache=tmp_path / "cache")


def test_what_cannot_be_scored_is_refused_by_name(world, tmp_path):
    with pytest.raises(ValueError, match=r"2 of the 3 items of world have fewer than 4 captions: item 0 \(3\), item 1"):
        clip_score(Fake(), world, n_captions=4)
    with pytest.raises(ValueError, match="item 'gone'"):
        clip_score(Fake(), Dataset("world", (Item("gone", tmp_path / "gone.png", ("R",)),)))
    Image.new("RGB", (4, 4)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match="an image is zero or not finite, for 1 of a batch: black"):
        clip_score(Fake(), Dataset("world", (Item("black", tmp_path / "black.png", ("R",)),)))
    for bad in ({"batch_size": 0}, {"n_captions": 0}, {"weight": 0.0}, {"weight": float("nan")}):
        with pytest.raises(ValueError, match="expected whole numbers of at least 1"):
            clip_score(Fake(), world, **bad)
    with pytest.raises(ValueError, match="0 items"):
        clip_score(Fake(), Dataset("empty", ()))
