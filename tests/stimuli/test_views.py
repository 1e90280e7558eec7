"""What a view shows, and what its content hash covers."""

import dataclasses
import hashlib
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.example_images import Masks, noise, values
from vla.records import Dataset, Item, canonical_hash
from vla.stimuli import IMAGE_MANIPULATIONS, Tagger, caption_view, decode_image, image_view, read_dataset, view
from vla.stimuli.image_manipulations import ManipulatedImage, rotation


def dataset(folder: Path, captions=(("a one", "a two"), ("b one",))) -> Dataset:
    folder.mkdir()
    items = []
    for id, said in zip("ab", captions, strict=True):
        (folder / f"{id}.jpg").write_bytes(b"pixels of " + id.encode())
        items.append(Item(id, folder / f"{id}.jpg", said))
    return Dataset("toy", tuple(items))


def test_captions(tmp_path):
    view = caption_view(dataset(tmp_path / "x"))
    assert (view.name, view.modality, view.ids) == ("toy/caption_0", "language", ("a", "b"))
    assert view.stimuli == ("a one", "b one")
    by_hand = b'{"ids":["a","b"],"modality":"language","stimuli":["a one","b one"]}'
    assert view.content == hashlib.sha256(by_hand).hexdigest()


def test_photographs(tmp_path):
    view = image_view(dataset(tmp_path / "x"))
    assert (view.name, view.modality, view.ids) == ("toy/original", "vision", ("a", "b"))
    assert view.stimuli == (tmp_path / "x" / "a.jpg", tmp_path / "x" / "b.jpg")
    a, b = (hashlib.sha256(b"pixels of " + id).hexdigest() for id in (b"a", b"b"))
    by_hand = f'{{"ids":["a","b"],"modality":"vision","stimuli":["{a}","{b}"]}}'
    assert view.content == hashlib.sha256(by_hand.encode()).hexdigest()


def test_place_and_name_do_not_count(tmp_path):
    here, there = dataset(tmp_path / "x"), dataset(tmp_path / "y")
    there = dataclasses.replace(there, name="other")
    assert image_view(here).content == image_view(there).content
    assert caption_view(here).content == caption_view(there).content


def test_whatever_a_model_sees_counts(tmp_path):
    whole = dataset(tmp_path / "x")
    turned = dataclasses.replace(whole, items=whole.items[::-1])
    renamed = dataclasses.replace(whole, items=(dataclasses.replace(whole.items[0], id="z"), whole.items[1]))
    other = dataset(tmp_path / "y", (("a 1", "a two"), ("b one",)))
    (tmp_path / "y" / "a.jpg").write_bytes(b"other pixels")
    for see in (image_view, caption_view):
        assert len({see(each).content for each in (whole, turned, renamed, other)}) == 4
    # The captions that are not shown do not count.
    more = dataset(tmp_path / "z", (("a one", "changed"), ("b one", "more")))
    assert caption_view(more).content == caption_view(whole).content


def test_too_few_captions(tmp_path):
    whole = dataset(tmp_path / "x")
    with pytest.raises(ValueError, match=r"index 1 asks for 2 captions .* 1 of the 2 items of toy have fewer: b \(1\)"):
        caption_view(whole, 1)
    with pytest.raises(ValueError, match="index=-1; expected the caption's index"):
        caption_view(whole, -1)


def test_photograph_gone(tmp_path):
    whole = dataset(tmp_path / "x")
    (tmp_path / "x" / "b.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of the 2 images of toy/original cannot be opened: b \(.*jpg: No such"):
        image_view(whole)


SAID = ("a dog runs on the grass .", "beautiful !", "people walk in London", "boat")


@pytest.fixture
def whole(tmp_path) -> Dataset:
    """Four items with all that an item can have."""
    items = []
    for place, said in enumerate(SAID):
        id = "abcd"[place]
        images = [tmp_path / f"{id}{number}.png" for number in range(4)]
        for number, path in enumerate(images):
            noise(seed=10 * place + number).save(path)
        items.append(
            Item(
                id,
                images[0],
                (said, f"{said} again"),
                paraphrases=(f"{said} anew",),
                synthetic=(images[1], images[2]),
                rejected=images[3],
                segmentation=Masks(),
            )
        )
    return Dataset("toy", tuple(items))


def opened(shown) -> dict[str, np.ndarray]:
    return {id: values(decode_image(image, id)) for id, image in zip(shown.ids, shown.stimuli, strict=True)}


def without(dataset: Dataset, **fields) -> Dataset:
    """The dataset with fields of its second item changed."""
    items = list(dataset.items)
    items[1] = dataclasses.replace(items[1], **fields)
    return dataclasses.replace(dataset, items=tuple(items))


def test_manipulated_images(whole):
    shown = image_view(whole, "rotation", angle=30, corners="mean")
    assert (shown.name, shown.ids, shown.left_out) == ("toy/rotation-30-corners=mean", ("a", "b", "c", "d"), ())
    for item in whole.items:
        np.testing.assert_array_equal(opened(shown)[item.id], values(rotation(Image.open(item.image), 30.0, "mean")))
    assert image_view(whole, "rotation").name == "toy/rotation-15"
    assert image_view(whole, "original") == image_view(whole) == view(whole, "vision")


def test_nothing_is_read_of_an_image_before_it_is_opened_but_its_bytes(whole, tmp_path):
    shown = image_view(whole, "blur")
    (tmp_path / "b0.png").unlink()
    assert all(isinstance(image, ManipulatedImage) for image in shown.stimuli)
    with pytest.raises(ValueError, match="image of item 'b' .* cannot be opened: No such file"):
        decode_image(shown.stimuli[1])


@pytest.mark.parametrize("name", [*IMAGE_MANIPULATIONS])
def test_no_outcome_depends_on_order_or_company(whole, name):
    items = list(whole.items)
    random.Random(1).shuffle(items)
    alone, mixed = opened(image_view(whole, name)), opened(image_view(Dataset("other", tuple(items[:3])), name))
    for id, pixels in mixed.items():
        np.testing.assert_array_equal(pixels, alone[id])


def test_the_seed_counts_where_something_is_drawn(whole):
    for name, counts in (("patch_shuffle", True), ("grayscale", False)):
        one, other = image_view(whole, name), image_view(whole, name, seed=7)
        assert (one.content != other.content) is counts
        assert (opened(one)["a"] != opened(other)["a"]).any() == counts
    assert image_view(whole, "patch_shuffle", seed=7).name == "toy/patch_shuffle-4-seed=7"
    assert image_view(whole, "grayscale", seed=7).name == "toy/grayscale"


def test_other_images_of_an_item(whole):
    synthetic, rejected = image_view(whole, source="synthetic", index=1), image_view(whole, source="rejected")
    assert (synthetic.name, rejected.name) == ("toy/synthetic_1", "toy/rejected")
    assert synthetic.stimuli == tuple(item.synthetic[1] for item in whole.items)
    assert rejected.stimuli == tuple(item.rejected for item in whole.items)
    assert image_view(whole, "blur", source="synthetic").name == "toy/synthetic_0/blur-4"
    # Pictures of one item get occlusions of their own; a judgment's two images get the same.
    covered = {
        place: (next(iter(opened(image_view(whole, "occlusion", **which)).values())) == 0).all(-1)
        for place, which in (
            ("photograph", {}),
            ("rejected", {"source": "rejected"}),
            ("first", {"source": "synthetic"}),
            ("second", {"source": "synthetic", "index": 1}),
        )
    }
    assert (covered["photograph"] == covered["rejected"]).all()
    assert (covered["first"] != covered["second"]).any() and (covered["first"] != covered["photograph"]).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "drawing"}, "source='drawing'; expected one of photograph, rejected, synthetic"),
        ({"source": "synthetic", "index": 2}, r"synthetic image index 2 asks for 3 .* fewer: a \(2\).*index below 2"),
        ({"index": 1}, "index=1, but an item has one photograph; only synthetic images are counted"),
        ({"source": "synthetic", "index": -1}, "index=-1; expected the image's index in its item, from 0"),
        ({"source": "synthetic", "index": True}, "index=True; expected"),
        ({"manipulation": "rotation:angel=3"}, "rotation has no parameter 'angel'"),
        (
            {"manipulation": "rotation + things_only"},
            "things_only after rotation would apply .* put things_only before it",
        ),
        ({"manipulation": "stuff_only", "source": "synthetic"}, "stuff_only needs masks, which only photographs have"),
    ],
)
def test_images_that_cannot_be_shown(whole, options, words):
    with pytest.raises(ValueError, match=words):
        image_view(whole, **options)


def test_items_without_a_rejected_image(whole):
    with pytest.raises(ValueError, match="1 of the 4 items of toy have no rejected image: b. Only judgments"):
        image_view(without(whole, rejected=None), source="rejected")


def test_things_and_stuff(whole):
    things, stuff = image_view(whole, "things_only"), image_view(whole, "stuff_only", fill="gray")
    assert (things.name, stuff.name) == ("toy/things_only", "toy/stuff_only-fill=gray")
    original = opened(image_view(whole))["c"]
    np.testing.assert_array_equal(opened(things)["c"][:, :10], original[:, :10])
    assert (opened(things)["c"][:, 10:] == 0).all()
    np.testing.assert_array_equal(opened(stuff)["c"][:, 10:25], original[:, 10:25])
    assert (opened(stuff)["c"][:, :10] == 128).all() and (opened(stuff)["c"][:, 25:] == 128).all()


def test_an_empty_mask(whole):
    holed = without(whole, segmentation=Masks(things_to=0))
    dropped, kept = image_view(holed, "things_only"), image_view(holed, "things_only:empty=keep")
    assert (dropped.ids, dropped.left_out) == (("a", "c", "d"), ("b",))
    assert (kept.ids, kept.left_out) == (holed.ids, ()) and (opened(kept)["b"] == 0).all()
    assert kept.content != dropped.content
    alone = Dataset("toy", holed.items[1:2])
    with pytest.raises(ValueError, match='no item of toy is left: all 1 masks are empty. Pass empty="keep"'):
        image_view(alone, "things_only")


def test_items_without_masks(whole):
    bare = without(whole, segmentation=None)
    words = '1 of the 4 items of toy have no mask of things, which things_only needs: b. .*pass unmasked="drop"'
    with pytest.raises(ValueError, match=words):
        image_view(bare, "things_only")
    dropped = image_view(bare, "things_only", unmasked="drop")
    assert (dropped.ids, dropped.left_out) == (("a", "c", "d"), ("b",))
    # Instances say nothing of stuff, of any item.
    unknown = Dataset(
        "toy", tuple(dataclasses.replace(item, segmentation=Masks(stuff_to=None)) for item in whole.items)
    )
    with pytest.raises(
        ValueError, match=r"4 of the 4 .* no mask of stuff.*pixel maps \(stuffthingmaps\) alone.*with them$"
    ):
        image_view(unknown, "stuff_only:unmasked=drop")


def test_manipulated_captions(whole, pipeline, tmp_path):
    tagger = Tagger(pipeline, cache=tmp_path / "tags")
    nouns = caption_view(whole, manipulation="nouns", tagger=tagger)
    assert (nouns.name, nouns.left_out) == ("toy/caption_0/nouns", ("b",))
    proper = caption_view(whole, 0, "nouns", tagger=tagger, proper="keep")
    assert proper.name == "toy/caption_0/nouns-proper=keep"
    assert dict(zip(proper.ids, proper.stimuli, strict=True))["c"] == "people London"
    # What a model sees is all that counts.
    expected = {"modality": "language", "ids": ["a", "c", "d"], "stimuli": list(nouns.stimuli)}
    assert nouns.content == canonical_hash(expected)
    kept = caption_view(whole, manipulation="nouns:empty=keep", tagger=tagger)
    assert kept.ids == whole.ids and kept.stimuli[1] == "" and kept.left_out == ()


def test_other_captions_of_an_item(whole):
    assert caption_view(whole, 1).stimuli == tuple(f"{said} again" for said in SAID)
    paraphrase = caption_view(whole, source="paraphrase")
    assert (paraphrase.name, paraphrase.stimuli[3]) == ("toy/paraphrase_0", "boat anew")
    assert caption_view(whole, 0, "reversed", source="paraphrase").name == "toy/paraphrase_0/reversed"
    with pytest.raises(ValueError, match="source='machine'; expected one of human, paraphrase"):
        caption_view(whole, source="machine")
    with pytest.raises(ValueError, match=r"paraphrase index 0 asks for 1 .* 1 of the 4 .*: b \(0\). Add them"):
        caption_view(without(whole, paraphrases=()), source="paraphrase")


def test_a_caption_drawn_for_each_item():
    items = tuple(Item(str(i), Path("x.png"), tuple("vwxyz")) for i in range(500))
    drawn, other = (caption_view(Dataset("toy", items), "seeded", seed=seed) for seed in (1, 2))
    assert drawn.name == "toy/caption_seeded-1" and drawn.stimuli != other.stimuli
    # Binomial with mean 100 and standard deviation 9.
    assert all(60 < drawn.stimuli.count(caption) < 140 for caption in "vwxyz")
    few = caption_view(Dataset("toy", items[::-1][:9]), "seeded", seed=1)
    assert few.stimuli == drawn.stimuli[::-1][:9]


def test_a_filter_that_leaves_nothing(whole, pipeline):
    only = Dataset("toy", whole.items[1:2])
    with pytest.raises(
        ValueError, match="toy/caption_0/nouns has no item: .* any of the 1 captions, such as 'beautiful"
    ):
        caption_view(only, manipulation="nouns", tagger=Tagger(pipeline, cache=None))


def test_views_by_spec(whole, pipeline):
    tagger = Tagger(pipeline, cache=None)
    assert view(whole, "vision", "rotation:angle=30") == image_view(whole, "rotation", angle=30)
    synthetic = image_view(whole, source="synthetic", index=1)
    assert view(whole, "vision", "original:source=synthetic,index=1") == synthetic
    assert view(whole, "vision", {"name": "original", "source": "synthetic", "index": 1}) == synthetic
    shuffled = image_view(whole, "patch_shuffle", source="synthetic", index=1)
    assert view(whole, "vision", "patch_shuffle:source=synthetic,index=1") == shuffled
    assert view(whole, "language") == view(whole, "language", "original") == caption_view(whole)
    assert view(whole, "language", "original:index=1") == caption_view(whole, 1)
    spec = "nouns_verbs:source=paraphrase,index=0 + scrambled"
    steps = ["nouns_verbs", "scrambled"]
    by_hand = caption_view(whole, 0, steps, source="paraphrase", seed=3, tagger=tagger)
    assert view(whole, "language", spec, seed=3, tagger=tagger) == by_hand
    assert by_hand.name == "toy/paraphrase_0/nouns_verbs+scrambled-seed=3"
    with pytest.raises(ValueError, match="modality='sound'; expected one of language, vision"):
        view(whole, "sound")
    with pytest.raises(ValueError, match="gives two values of source"):
        view(whole, "vision", "blur:source=synthetic + grayscale:source=rejected")


def test_real_photographs_and_masks():
    root = os.environ.get("VLA_TEST_DATA")
    folder = Path(root or "", "data", "coco_val2017")
    if not root or not folder.is_dir():
        pytest.skip("VLA_TEST_DATA names no folder with data/coco_val2017")
    dataset = read_dataset("coco_val2017", folder, missing_images="drop", missing_masks="drop")
    shown = image_view(dataset, "things_only")
    assert len(shown.ids) + len(shown.left_out) == len(dataset)
    items = {item.id: item for item in dataset.items}
    assert all(not items[id].segmentation.things().any() for id in shown.left_out)
    for id, picture in list(zip(shown.ids, shown.stimuli, strict=True))[:20]:
        mask = items[id].segmentation.things()
        original = values(Image.open(items[id].image).convert("RGB"))
        np.testing.assert_array_equal(values(picture.open()), original * mask[..., None])
