import json

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.generators.worlds import dataset
from vla.stimuli.generators import with_paraphrases, with_synthetic


def lines(path, *entries):
    path.write_text("\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries) + "\n")
    return path


def picture(path, colour=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise if colour is None else np.full((64, 64, 3), colour, np.uint8)).save(path)


def test_paraphrases_made_elsewhere_are_taken(tmp_path):
    world = dataset(2)
    path = lines(
        tmp_path / "made.jsonl",
        {"id": "item_1", "paraphrases": ["x ", "y"], "model": "mine"},
        "",
        {"id": "item_0", "paraphrases": ["z 🐕"], "captions": [f"{said} \n" for said in world.items[0].captions[:2]]},
        {"id": "of another dataset", "paraphrases": ["w"]},
    )
    joined = with_paraphrases(world, path)
    assert [item.paraphrases for item in joined.items] == [("z 🐕",), ("x", "y")]
    assert world.items[0].paraphrases == ()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["{not json"], "line 1 is not JSON"),
        (['["x"]'], 'line 1 has no text under "id"'),
        ([{"paraphrases": ["x"]}], 'no text under "id"'),
        ([{"id": "item_0"}], "\"paraphrases\" of 'item_0' is not a list"),
        ([{"id": "item_0", "paraphrases": []}], "is not a list of non-empty texts"),
        ([{"id": "item_0", "paraphrases": ["x", " "]}], "is not a list of non-empty texts"),
        ([{"id": "item_0", "paraphrases": "xyz"}], "is not a list of non-empty texts"),
        ([{"id": "item_0", "paraphrases": ["x"], "captions": 3}], "\"captions\" of 'item_0'"),
        ([{"id": "item_0", "paraphrases": ["x"]}] * 2, "'item_0' twice (the second in"),
        ([{"id": "item_0", "paraphrases": ["x"], "captions": ["other"]}], "of other captions than world has now"),
        ([{"id": "item_0", "paraphrases": ["x"]}], "2 of the 3 items of world have no paraphrases: item_1, item_2"),
    ],
)
def test_entries_that_cannot_be_used_are_refused(tmp_path, entries, words):
    with pytest.raises(ValueError) as refused:
        with_paraphrases(dataset(3), lines(tmp_path / "made.jsonl", *entries))
    assert words in str(refused.value)


def test_nowhere_and_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        with_paraphrases(dataset(), tmp_path / "none")
    with pytest.raises(ValueError, match="holds no .json file"):
        with_paraphrases(dataset(), tmp_path)
    with pytest.raises(ValueError, match="expected one of drop, refuse"):
        with_paraphrases(dataset(), tmp_path, missing="keep")
    with pytest.raises(ValueError, match="no item of world is left"):
        with_paraphrases(dataset(), lines(tmp_path / "x.jsonl", {"id": "y", "paraphrases": ["x"]}), missing="drop")
    with pytest.raises(ValueError, match="is not a folder"):
        with_synthetic(dataset(), tmp_path / "none")
    with pytest.raises(ValueError, match="holds no image of the 3 items of world, such as item_0, item_1"):
        with_synthetic(dataset(), tmp_path)


@pytest.mark.parametrize(
    "layout", ["{id}/{n}.png", "{id}_{n}.png", "{id}/{m}.png", "{id}_{m:03d}.jpg", "{id}/{n:02d}.WEBP", "{id}/{n}.jpeg"]
)
def test_both_layouts_are_taken_in_the_order_of_their_numbers(tmp_path, layout):
    world = dataset(2)
    names = [layout.format(id=f"item_{i}", n=n, m=n + 1) for i in range(2) for n in range(12)]
    for name in names:
        picture(tmp_path / name)
    picture(tmp_path / "item_7_0.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    joined = with_synthetic(world, tmp_path)
    assert [path for item in joined.items for path in item.synthetic] == [tmp_path / name for name in names]
    assert [len(item.synthetic) for item in with_synthetic(world, tmp_path, count=3).items] == [3, 3]


def test_an_id_with_a_slash_lies_in_no_deeper_folder(tmp_path):
    world = dataset(1)
    world = type(world)("world", (type(world.items[0])("a/b", world.items[0].image, ("x",)),))
    picture(tmp_path / "a%2Fb" / "0.png")
    assert with_synthetic(world, tmp_path).items[0].synthetic == (tmp_path / "a%2Fb" / "0.png",)


def test_missing_pictures_are_named_or_their_items_dropped(tmp_path):
    for name in ("item_0/0.png", "item_0/1.png", "item_0/2.png", "item_1/0.png", "item_1/2.png"):
        picture(tmp_path / name)
    with pytest.raises(ValueError) as refused:
        with_synthetic(dataset(3), tmp_path)
    assert "4 are missing: item_1/1, item_2/0, item_2/1, item_2/2" in str(refused.value)
    kept = with_synthetic(dataset(3), tmp_path, missing="drop")
    assert kept.ids == ("item_0",) and kept.dropped == ("item_1", "item_2")
    assert with_synthetic(dataset(2), tmp_path, count=1).ids == ("item_0", "item_1")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_black_pictures_are_never_used_in_silence(tmp_path, suffix):
    for i in range(3):
        picture(tmp_path / f"item_{i}" / f"0.{suffix}", colour=0 if i == 1 else None)
    with pytest.raises(ValueError, match=rf"1 are of one colour: .*item_1/0\.{suffix}"):
        with_synthetic(dataset(3), tmp_path)
    assert with_synthetic(dataset(3), tmp_path, missing="drop").dropped == ("item_1",)


def test_doubled_and_broken_pictures_are_refused(tmp_path):
    picture(tmp_path / "item_0" / "0.png")
    picture(tmp_path / "item_0_0.png")
    with pytest.raises(ValueError, match="two files for one image"):
        with_synthetic(dataset(1), tmp_path)
    (tmp_path / "item_0_0.png").unlink()
    (tmp_path / "item_0" / "0.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0\.png cannot be read as an image"):
        with_synthetic(dataset(1), tmp_path)
