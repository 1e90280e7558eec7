"""Saved activations as models: every format, names, layers, and files that cannot be used."""

import numpy as np
import pytest

from vla.activations.labels import as_activations
from vla.experiments import saved
from vla.experiments.names import name_and_source
from vla.experiments.saved import SavedModel
from vla.records import View

IDS = ("a", "b", "c")
VALUES = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
NAMES = ["embed", "block_1", "block_2", "block_3"]


def _view(name="coco/original", ids=IDS):
    return View(name, "vision", ids, ids, "content")


def _write(folder, ending):
    """The same activations in every format, the items in another order than the view's."""
    turned = VALUES[:, ::-1]
    if ending == ".npz":
        np.savez(folder / "mine.npz", activations=turned, items=IDS[::-1], layers=NAMES)
    elif ending == ".npy":
        np.save(folder / "mine.npy", turned)
        (folder / "mine.ids.txt").write_text("\n".join(IDS[::-1]) + "\n")
    else:
        array = as_activations(turned, "x").assign_coords(item=list(IDS[::-1]), layer=NAMES)
        array.to_dataset(name="activations").to_zarr(folder / "mine.zarr")
    return str(folder / f"mine{ending}")


@pytest.mark.parametrize("ending", [".npz", ".npy", ".zarr"])
def test_rows_come_in_the_views_order_from_every_format(tmp_path, ending):
    model = SavedModel(_write(tmp_path, ending), "vision")
    assert model.name == "mine" and model.has(_view(), "all") and not model.has(_view("coco/grayscale"), "all")
    array = model.read(_view(), "all")
    np.testing.assert_array_equal(array.values, VALUES)
    assert array["item"].values.tolist() == list(IDS) and array.name == "mine"
    names = tuple(NAMES) if ending != ".npy" else tuple(f"layer_{i}" for i in range(4))
    assert model.layers(_view(), "all") == names
    assert model.layers(_view(), "penultimate") == names[2:3]
    assert model.layers(_view(), (names[3], names[0])) == (names[0], names[3])
    with pytest.raises(ValueError, match=f"no layer head is saved; the file has {names[0]}, "):
        model.layers(_view(), ("head", names[0]))
    np.testing.assert_array_equal(model.read(_view(), "penultimate").values, VALUES[2:3])
    assert model.key(_view()) != model.key(_view(ids=IDS[:2]))
    np.testing.assert_array_equal(model.read(_view(ids=("c", "a")), "all").values, VALUES[:, [2, 0]])


def test_names_of_layers_do_not_read_the_file_again(tmp_path, monkeypatch):
    model = SavedModel(_write(tmp_path, ".npz"), "vision")
    assert model.layers(_view(), "all") == tuple(NAMES)
    monkeypatch.setattr(saved, "_read", None)
    assert model.layers(_view(), "penultimate") == ("block_2",)


def test_a_file_that_changes_is_another_for_the_next_study(tmp_path):
    source = _write(tmp_path, ".npy")
    before = SavedModel(source, "vision")
    assert before.width(_view()) == 5 and before.key(_view()) == SavedModel(source, "vision").key(_view())
    (tmp_path / "mine.ids.txt").write_text("\n".join(IDS) + "\n")
    renamed = SavedModel(source, "vision").key(_view())
    np.save(tmp_path / "mine.npy", VALUES[:, :, :4])
    narrow = SavedModel(source, "vision")
    assert narrow.width(_view()) == 4 and len({before.key(_view()), renamed, narrow.key(_view())}) == 3


def test_one_layer_is_the_one_that_is_meant(tmp_path):
    np.savez(tmp_path / "flat.npz", activations=VALUES[0], items=IDS)
    model = SavedModel(f"other={tmp_path / 'flat.npz'}", "vision")
    assert model.name == "other" and model.read(_view(), "penultimate").shape == (1, 3, 5)


def test_names():
    assert name_and_source("mine=some/folder") == ("mine", "some/folder")
    assert name_and_source("some/folder") == ("folder", "some/folder") and name_and_source("a/b=c") == ("b=c", "a/b=c")
    assert SavedModel("some/mine/{view}.npz", "vision").name == "mine"


def test_views_have_files_of_their_own_whatever_the_folder_is_called(tmp_path):
    (tmp_path / "run{0}").mkdir()
    np.savez(tmp_path / "run{0}" / "rotation.npz", activations=VALUES, items=np.array(IDS, bytes))
    model = SavedModel(str(tmp_path / "run{0}" / "{view}.npz"), "vision")
    assert model.read(_view("coco/rotation"), "all").shape == VALUES.shape
    assert model.has(_view("coco/rotation"), "all") and not model.has(_view(), "all")


def test_files_that_cannot_be_used(tmp_path):
    np.save(tmp_path / "bare.npy", VALUES)
    with pytest.raises(ValueError, match="does not name its items: .* one per line in bare.ids.txt"):
        SavedModel(str(tmp_path / "bare.npy"), "vision").read(_view(), "all")
    np.savez(tmp_path / "few.npz", activations=VALUES[:, :2], items=IDS[:2])
    with pytest.raises(ValueError, match="lacks 1 of the 3 items of coco/original: c"):
        SavedModel(str(tmp_path / "few.npz"), "vision").read(_view(), "all")
    whole = (tmp_path / "few.npz").read_bytes()
    for torn in (b"PK", b"", whole[: len(whole) // 2], whole.replace(whole[200:240], b"x" * 40, 1)):
        (tmp_path / "torn.npz").write_bytes(torn)
        with pytest.raises(ValueError, match=r"torn.npz cannot be read as activations: .*`activations` beside `items`"):
            SavedModel(str(tmp_path / "torn.npz"), "vision").read(_view(), "all")
