"""A writer that is killed, doubled or refused leaves nothing that looks finished, and its successor ends the same."""

import os
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from tests.activations.groups import make_recipe, tree, values, write
from vla.activations.store import Store, Writer


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr("vla.activations.store.CHUNK_ITEMS", 4)


class Killed(BaseException):
    """The process is gone: nothing catches this, and nothing is done after it."""


class Life:
    """Counts the steps that change files; the step of that number is cut short and everything after it as well."""

    def __init__(self, monkeypatch, steps):
        self.left, self.patch = steps, monkeypatch

    def end_at(self, owner, name, halfway=None):
        real = getattr(owner, name)

        def step(*args, **kwargs):
            self.left -= 1
            if self.left < 0:
                if halfway is not None and self.left == -1:
                    halfway(real, *args)
                raise Killed
            return real(*args, **kwargs)

        self.patch.setattr(owner, name, step)


def _half_a_file(real, path, data):
    real(path, data[: len(data) // 2])


def _one_file(real, fs, path, **how):
    fs.rm_file(sorted(fs.find(path))[0])


def run_until_killed(store, recipe, steps, remote):
    with pytest.MonkeyPatch.context() as patch:
        life = Life(patch, steps)
        if remote:
            # Object stores put a file whole or not at all.
            life.end_at(MemoryFileSystem, "pipe_file")
            life.end_at(MemoryFileSystem, "copy")
            life.end_at(MemoryFileSystem, "rm", _one_file)
        else:
            life.end_at(Path, "mkdir")
            life.end_at(Path, "write_bytes", _half_a_file)
            life.end_at(Path, "replace")
            life.end_at(Path, "unlink")
            life.end_at(os, "rename")
            life.end_at(LocalFileSystem, "rm")
        try:
            write(store, recipe)
        except Killed:
            return True
    return False


def test_a_local_writer_killed_at_any_step_is_taken_up_with_the_same_bytes(tmp_path):
    recipe = make_recipe()
    write(Store(tmp_path / "whole"), recipe)
    whole = tree(tmp_path / "whole")
    assert any("/activations/c/2/2/0" in name for name in whole)
    steps = 0
    while True:
        root = tmp_path / f"killed {steps}"
        store = Store(root)
        if not run_until_killed(store, recipe, steps, remote=False):
            break
        assert not store.has(recipe) and store.names() == [] and not list(root.glob("*.zarr"))
        write(store, recipe)
        assert tree(root) == whole, f"killed at step {steps}"
        steps += 1
    # Nine chunk files and six of metadata, each made, written, put in place; then the folder.
    assert steps > 15 * 3


def test_a_remote_writer_killed_at_any_step_is_taken_up_with_the_same_bytes(memory_files):
    def content(root):
        return {path.removeprefix(root): memory_files.cat_file(path) for path in memory_files.find(root)}

    recipe = make_recipe()
    write(Store("memory://whole"), recipe)
    whole = content("/whole")
    steps, finished = 0, 0
    while True:
        store = Store(f"memory://killed{steps}")
        if not run_until_killed(store, recipe, steps, remote=True):
            break
        if store.has(recipe):
            finished += 1
            np.testing.assert_array_equal(store.read(recipe).values, values(recipe))
        else:
            assert store.names() == []
        write(store, recipe)
        assert content(f"/killed{steps}") == whole, f"killed at step {steps}"
        steps += 1
    assert steps > 9 * 2 + 6 and finished >= 1


@pytest.mark.parametrize("done", [1, 2, 3])
def test_only_what_is_missing_is_written_again(tmp_path, done):
    store, recipe = Store(tmp_path), make_recipe()
    first = store.writer(recipe)
    for start, stop in first.chunks[:done]:
        first.write((start, stop), values(recipe)[:, start:stop])
    assert write(store, recipe) == [(0, 4), (4, 8), (8, 10)][done:]
    assert write(store, recipe) == []
    assert [path.name for path in tmp_path.iterdir()] == [f"{recipe.name}.zarr"]


def test_chunks_of_another_size_are_not_taken_up(tmp_path, monkeypatch):
    recipe = make_recipe()
    with monkeypatch.context() as patch:
        patch.setattr("vla.activations.store.CHUNK_ITEMS", 2)
        older = Store(tmp_path).writer(recipe)
        older.write((0, 2), values(recipe)[:, :2])
    write(Store(tmp_path), recipe)
    write(Store(tmp_path / "other"), recipe)
    expected = tree(tmp_path / "other")
    assert {k: v for k, v in tree(tmp_path).items() if not k.startswith("other/")} == expected


@pytest.mark.parametrize("when", range(1, 16))
def test_two_writers_at_once_end_as_one(tmp_path, monkeypatch, when):
    """At every step of the first the second does all its work, publishes and clears up."""
    recipe = make_recipe()
    write(Store(tmp_path / "alone"), recipe)
    store = Store(tmp_path / "both")
    real, left = Writer._put, [when]

    def put(self, path, data):
        left[0] -= 1
        if left[0] == 0:
            write(store, recipe)
        real(self, path, data)

    monkeypatch.setattr(Writer, "_put", put)
    first = store.writer(recipe)
    for start, stop in first.pending:
        first.write((start, stop), values(recipe)[:, start:stop])
    first.publish()
    assert left[0] <= 0
    assert tree(tmp_path / "both") == tree(tmp_path / "alone")


def test_a_folder_removed_under_a_file_on_its_way_is_no_error_once_the_group_is_there(tmp_path, monkeypatch):
    recipe, real = make_recipe(), Path.write_bytes
    store = Store(tmp_path)
    first = store.writer(recipe)

    def write_bytes(self, data):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "write_bytes", real)
            if not store.has(recipe):
                real(self, data)
                write(store, recipe)  # removes the partial folder and the file on its way
                return None
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    first.write((0, 4), values(recipe)[:, :4])
    first.publish()
    monkeypatch.undo()
    assert store.names() == [recipe.name]
    assert [path.name for path in tmp_path.iterdir()] == [f"{recipe.name}.zarr"]


def test_a_store_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    recipe = make_recipe()
    with pytest.raises(ValueError, match="cannot be written to .*Make room, permit writing, or remove"):
        write(Store(tmp_path / "file"), recipe)


def test_something_else_in_the_place_of_the_group_is_refused_and_kept(tmp_path):
    store, recipe = Store(tmp_path), make_recipe()
    strange = tmp_path / f"{recipe.name}.zarr" / "notes.txt"
    strange.parent.mkdir()
    strange.write_text("mine")
    with pytest.raises(ValueError, match="cannot be written to .*remove what is in the way, then run again"):
        write(store, recipe)
    assert strange.read_text() == "mine"
    strange.unlink()
    assert write(store, recipe) == []  # the chunks were kept


def test_a_full_disk_is_refused_and_leaves_no_file_on_its_way(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    store, recipe = Store(tmp_path), make_recipe()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ValueError, match="No space left on device.*Make room"):
        write(store, recipe)
    monkeypatch.undo()
    assert tree(tmp_path) == {}
