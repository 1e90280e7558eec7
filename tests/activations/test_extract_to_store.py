"""Extraction into the store: nothing twice, nothing lost, nothing that looks finished and is not."""

import os
import shutil

import numpy as np
import pytest
import xarray as xr

from tests.activations import tiny
from tests.activations.groups import tree
from tests.children import Child
from vla.activations import extract as to_store
from vla.activations.extract import extract, extract_to_store, recipe
from vla.activations.store import Store, Writer
from vla.models import Model, load_model
from vla.records import View

ITEMS = 22


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.language(tmp_path_factory.mktemp("language") / "tiny-llama")[0]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of four items, each of which goes through the model alone."""
    monkeypatch.setattr("vla.activations.store.CHUNK_ITEMS", 4)
    monkeypatch.setattr(to_store, "_GROUP_ITEMS", dict.fromkeys(to_store._GROUP_ITEMS, 4))


@pytest.fixture
def passes(monkeypatch):
    """The number of captions of every forward pass."""
    counted, real = [], Model._all_layers

    def all_layers(self, batch, *options):
        counted.append(int((np.asarray(batch.weights) > 0).any(axis=2).sum()))
        return real(self, batch, *options)

    monkeypatch.setattr(Model, "_all_layers", all_layers)
    return counted


def view(stimuli=None):
    if stimuli is None:
        # Short enough for a chunk to be one row.
        stimuli = tuple(" ".join(caption.split()[:15]) for caption in tiny.captions(ITEMS))
    return View("world/caption_0", "language", tuple(f"{i}.jpg" for i in range(len(stimuli))), stimuli, "content")


def test_the_store_holds_what_extract_gives(model, tmp_path):
    store = Store(tmp_path)
    stored = store.read(extract_to_store(model, view(), store, pool="last", layers=["embed", "block_2"]))
    direct = extract(model, view().stimuli, pool="last", layers=["embed", "block_2"], items=view().ids)
    assert stored["item"].values.tolist() == direct["item"].values.tolist()
    assert stored["layer"].values.tolist() == ["embed", "block_2"] and stored.name == direct.name
    assert tiny.apart(stored.values, direct.values) < 1e-6


def test_a_finished_group_is_not_computed_again(model, tmp_path, passes):
    store = Store(tmp_path)
    extract_to_store(model, view(), store)
    assert sum(passes) == 6 * 4 - 2  # the last chunk has two items
    before = tree(tmp_path)
    passes.clear()
    extract_to_store(model, view(), store)
    assert passes == [] and tree(tmp_path) == before


def test_layers_stored_with_all_layers_are_read_and_not_computed_again(model, tmp_path, passes):
    store = Store(tmp_path)
    every = store.read(extract_to_store(model, view(), store))
    before = tree(tmp_path)
    passes.clear()
    for layers in ("penultimate", ["block_3", "embed"]):
        wanted = recipe(model, view(), None, layers)
        assert store.has(wanted)
        assert extract_to_store(model, view(), store, layers=layers) == wanted
        xr.testing.assert_identical(store.read(wanted), every.sel(layer=list(wanted.layers)))
        assert store.location(wanted) == store.location(recipe(model, view()))
    assert passes == [] and tree(tmp_path) == before
    # Another pool, or the other way round, is something else.
    assert not store.has(recipe(model, view(), "last", "penultimate"))
    other = Store(tmp_path / "other")
    extract_to_store(model, view(), other, layers="penultimate")
    assert other.has(recipe(model, view(), None, "penultimate")) and not other.has(recipe(model, view()))


def test_another_process_that_was_faster_ends_the_work(model, tmp_path, monkeypatch):
    store, real, calls = Store(tmp_path), Writer.write, []

    def write(self, chunk, values, first):
        calls.append(chunk)
        monkeypatch.setattr(Writer, "write", real)
        extract_to_store(model, view(), store)
        real(self, chunk, values, first)

    monkeypatch.setattr(Writer, "write", write)
    wanted = extract_to_store(model, view(), store)
    assert calls == [(0, 4)]
    assert [path.name for path in tmp_path.iterdir()] == [f"{wanted.name}.zarr"]
    assert np.isfinite(store.read(wanted).values).all()


def test_nan_in_one_chunk_leaves_no_finished_group(model, tmp_path, monkeypatch, passes):
    store, real = Store(tmp_path / "a"), Model._all_layers

    def all_layers(self, *arguments):
        out = real(self, *arguments)
        return out.at[2, 0, 1, 5].set(np.inf) if len(passes) == 3 else out

    with monkeypatch.context() as patch:
        patch.setattr(Model, "_all_layers", all_layers)
        words = r"tiny-llama gives inf at layer block_2 for 1 of the 4 items .*: (8|9|10|11)\.jpg\. "
        with pytest.raises(ValueError, match=words):
            extract_to_store(model, view(), store)
    assert store.names() == [] and not store.has(recipe(model, view()))
    passes.clear()
    extract_to_store(model, view(), store)
    assert len(passes) == 4  # the first two chunks were kept
    extract_to_store(model, view(), Store(tmp_path / "b"))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_bad_stimulus_is_named_and_leaves_no_finished_group(model, tmp_path):
    bad = view((*view().stimuli[:9], "  ", *view().stimuli[10:]))
    with pytest.raises(ValueError, match="1 captions are empty, of items 9.jpg"):
        extract_to_store(model, bad, Store(tmp_path))
    assert Store(tmp_path).names() == []


PROGRAM = """
import sys
from vla.activations import extract as to_store, store
store.CHUNK_ITEMS = 4
to_store._GROUP_ITEMS = dict.fromkeys(to_store._GROUP_ITEMS, 4)
from tests.activations.test_extract_to_store import view
from vla.activations.extract import extract_to_store
from vla.activations.store import Store
from vla.models import load_model
put = store.Writer._put
def told(self, path, data):
    print("put", flush=True)
    put(self, path, data)
store.Writer._put = told
stream = sys.argv[3] == "streamed"
extract_to_store(load_model(sys.argv[1], stream=stream), view(), Store(sys.argv[2]))
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(model, tmp_path):
    """SIGKILL from outside, at whatever the process is doing by then, with the weights held and streamed."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    extract_to_store(model, view(), Store(whole))
    for how, steps in (("held", 1), ("streamed", 23)):
        with Child(PROGRAM, model.source, killed, how) as child:
            for _ in range(steps):
                assert child.stdout.readline() == "put\n", child.errors()
            child.kill()
        assert Store(killed).names() == [] and not list(killed.glob("*.zarr"))
    assert tree(killed)
    extract_to_store(load_model(model.source, stream=True), view(), Store(killed))
    assert tree(killed) == tree(whole)


def test_pools_are_groups_of_their_own(model, tmp_path):
    store = Store(tmp_path)
    pools = [extract_to_store(model, view(), store, pool).determines["pool"] for pool in ("last", None, "mean_no_bos")]
    assert pools == ["last", "mean", "mean_no_bos"] and len(store.names()) == 3
    direct = extract(model, view().stimuli, pool="mean_no_bos", items=view().ids)
    assert tiny.apart(store.read(recipe(model, view(), "mean_no_bos")).values, direct.values) < 1e-6


def test_a_caption_has_the_same_company_in_a_resumed_run(model, tmp_path, monkeypatch):
    """A group is computed whole even when some of its chunks are there: the last digits hang on the company."""
    monkeypatch.setattr(to_store, "_GROUP_ITEMS", dict.fromkeys(to_store._GROUP_ITEMS, 12))
    extract_to_store(model, view(), Store(tmp_path / "whole"))
    store, real = Store(tmp_path / "broken"), Writer.write

    def write(self, chunk, values, first):
        if chunk == (4, 8) and first == 2:
            raise KeyboardInterrupt
        real(self, chunk, values, first)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", write)
        with pytest.raises(KeyboardInterrupt):
            extract_to_store(model, view(), store)
    extract_to_store(model, view(), store)
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")


def test_a_disk_too_small_is_refused_before_anything_is_computed(model, tmp_path, monkeypatch, passes):
    free = shutil._ntuple_diskusage(10**9, 10**9 - 4000, 4000)  # type: ignore[attr-defined]
    monkeypatch.setattr("vla.activations.store.shutil.disk_usage", lambda path: free)
    with pytest.raises(ValueError, match=r"of tiny-llama on world/caption_0 need 0\.0 GiB, but .* Make room"):
        extract_to_store(model, view(), Store(tmp_path / "store"))
    assert passes == [] and not (tmp_path / "store").exists()


def test_weights_are_hashed_once_however_often_they_are_loaded(model, tmp_path, monkeypatch):
    from vla.models import model as module

    hashed = []

    def file_hash(path):
        hashed.append(path.name)
        return "0" * 64

    monkeypatch.setattr(module, "file_hash", file_hash)
    tiny.language(tmp_path / "net")
    prints = {load_model(tmp_path / "net", weights=weights).fingerprint for weights in (False, True, True)}
    assert len(prints) == 1 and hashed.count("model.safetensors") == 1
    os.utime(tmp_path / "net" / "model.safetensors", ns=(1, 1))
    load_model(tmp_path / "net").fingerprint  # noqa: B018
    assert hashed.count("model.safetensors") == 2
