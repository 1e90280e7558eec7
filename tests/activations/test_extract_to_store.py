"""Extraction into the store: nothing twice, nothing lost, nothing that looks finished and is not."""

import subprocess
import sys

import numpy as np
import pytest

from tests.activations import tiny
from tests.activations.groups import tree
from vla.activations import writer
from vla.activations.extract import extract, extract_to_store, recipe
from vla.activations.store import Store
from vla.models import Model
from vla.records import View

ITEMS = 22


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.language(tmp_path_factory.mktemp("language") / "tiny-llama")[0]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_ITEMS", 4)


@pytest.fixture
def passes(monkeypatch):
    """The number of rows of every forward pass."""
    counted, real = [], Model.readouts

    def readouts(self, batch, **options):
        counted.append(len(batch))
        return real(self, batch, **options)

    monkeypatch.setattr(Model, "readouts", readouts)
    return counted


def view(stimuli=None):
    if stimuli is None:
        # Of one bucket, so that a chunk is one forward pass.
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


def test_another_process_that_was_faster_ends_the_work(model, tmp_path, monkeypatch):
    store, real, calls = Store(tmp_path), writer.Writer.write, []

    def write(self, chunk, values):
        calls.append(chunk)
        monkeypatch.setattr(writer.Writer, "write", real)
        extract_to_store(model, view(), store)
        real(self, chunk, values)

    monkeypatch.setattr(writer.Writer, "write", write)
    wanted = extract_to_store(model, view(), store)
    assert calls == [(0, 4)]
    assert [path.name for path in tmp_path.iterdir()] == [f"{wanted.name}.zarr"]
    assert np.isfinite(store.read(wanted).values).all()


def test_nan_in_one_chunk_leaves_no_finished_group(model, tmp_path, monkeypatch, passes):
    store, real = Store(tmp_path / "a"), Model.readouts

    def readouts(self, batch, **options):
        out = real(self, batch, **options)
        return out.at[2, 1, 5].set(np.inf) if len(passes) == 3 else out

    with monkeypatch.context() as patch:
        patch.setattr(Model, "readouts", readouts)
        with pytest.raises(ValueError, match=r"tiny-llama gives inf at layer block_2 for 1 of the 4 items .*: 9\.jpg"):
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
from vla.activations import writer
writer.CHUNK_ITEMS = 4
from tests.activations.test_extract_to_store import view
from vla.activations.extract import extract_to_store
from vla.activations.store import Store
from vla.models import load_model
put = writer.Writer._put
def told(self, path, data):
    print("put", flush=True)
    put(self, path, data)
writer.Writer._put = told
extract_to_store(load_model(sys.argv[1]), view(), Store(sys.argv[2]))
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(model, tmp_path):
    """SIGKILL from outside, at whatever the process is doing by then."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    extract_to_store(model, view(), Store(whole))
    for steps in (1, 13):
        command = [sys.executable, "-c", PROGRAM, model.source, str(killed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(steps):
                assert process.stdout.readline() == "put\n"
            process.kill()
        assert Store(killed).names() == [] and not list(killed.glob("*.zarr"))
    assert tree(killed)
    extract_to_store(model, view(), Store(killed))
    assert tree(killed) == tree(whole)
