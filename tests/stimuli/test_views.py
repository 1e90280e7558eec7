"""What a view shows, and what its content hash covers."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from vla.records import Dataset, Item
from vla.stimuli import caption_view, image_view


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
    with pytest.raises(ValueError, match="index=-1; expected the caption's place"):
        caption_view(whole, -1)


def test_photograph_gone(tmp_path):
    whole = dataset(tmp_path / "x")
    (tmp_path / "x" / "b.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of the 2 photographs of toy cannot be opened: b \(.*b.jpg: No such file"):
        image_view(whole)
