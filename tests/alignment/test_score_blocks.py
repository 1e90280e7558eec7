"""Scores kept block by block: as `vla.score` gives them, killed at any moment, resumed to the same bytes."""

import time

import numpy as np
import pytest
import xarray as xr

from tests.children import Child
from vla.alignment.score import score
from vla.alignment.score_blocks import score_blocks
from vla.alignment.score_store import ScoreStore, score_recipe

LAYERS = ["embed", *(f"block_{i}" for i in range(1, 6))]


def activations():
    rng = np.random.default_rng(0)
    coords = {"layer": LAYERS, "item": [f"{i}.jpg" for i in range(30)]}
    x = xr.DataArray(rng.standard_normal((6, 30, 5)), dims=("layer", "item", "unit"), coords=coords)
    y = xr.DataArray(rng.standard_normal((2, 30, 4)), dims=("layer", "item", "unit"))
    return x, y


def asked(metric="linear_predictivity", **options):
    return score_recipe(("key of x", "key of y"), metric, labels={"x": "net on a/b", "y": "llama"}, null=2, **options)


def run(root, recipe=None, **options):
    recipe, store = recipe or asked(), ScoreStore(root)
    score_blocks(*activations(), recipe, store, **options)
    return store.read(recipe)


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def never():
    raise AssertionError("a finished table needs no activations")


@pytest.mark.parametrize("metric", ["linear_predictivity", "cka", "procrustes"])
@pytest.mark.parametrize("block_layers", [1, 4, 8])
def test_the_table_is_that_of_one_call(tmp_path, metric, block_layers):
    x, y = activations()
    got = run(tmp_path, asked(metric), block_layers=block_layers)
    expected = score(x, y, metric, null=2)
    xr.testing.assert_allclose(got, expected, atol=1e-12)
    assert expected.attrs.items() <= got.attrs.items()
    assert got.attrs["x_key"] == "key of x" and got.attrs["x"] == "net on a/b" and got.attrs["key"] == asked(metric).key


def test_a_finished_table_is_read_without_activations(tmp_path):
    first = run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    score_blocks(never, never, asked(), ScoreStore(tmp_path))
    xr.testing.assert_identical(ScoreStore(tmp_path).read(asked()), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == [f"{asked().name}.zarr"]
    plain = xr.open_zarr(tmp_path / f"{asked().name}.zarr")
    np.testing.assert_array_equal(plain["score"].sel(x_layer="block_3").values, first["score"].values[3])


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    """SIGKILL while it writes, after at least two of six blocks."""
    run(tmp_path / "whole", block_layers=1)
    script = """
import sys
import time
from tests.alignment.test_score_blocks import asked, activations
from vla.alignment.score_blocks import score_blocks
from vla.alignment.score_store import ScoreStore

class Slow(ScoreStore):
    def write_block(self, *arguments):
        super().write_block(*arguments)
        time.sleep(1)

score_blocks(*activations(), asked(), Slow(sys.argv[1]), block_layers=1)
"""
    partial = tmp_path / "killed" / f"{asked().name}.partial"
    deadline = time.monotonic() + 120
    with Child(script, tmp_path / "killed") as child:
        while len(list(partial.glob("*.npz"))) < 2:
            assert child.ended() is None, child.errors()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.kill()
    done = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.npz")}
    assert 2 <= len(done) < 6 and not ScoreStore(tmp_path / "killed").has(asked())
    (tmp_path / "killed" / f"{asked().name}.0123.tmp").write_bytes(b"half a fi")

    written = []

    class Watched(ScoreStore):
        def write_block(self, recipe, block, measured):
            written.append(f"block-{block[0]}-{block[1]}.npz")
            super().write_block(recipe, block, measured)

    score_blocks(*activations(), asked(), Watched(tmp_path / "killed"), block_layers=1)
    assert sorted(written) == sorted({f"block-{i}-{i + 1}.npz" for i in range(6)} - done.keys())
    left = {name: data for name, data in files(tmp_path / "killed").items() if not name.endswith(".tmp")}
    assert left == files(tmp_path / "whole")


def test_a_table_that_another_process_finishes_meanwhile_is_the_result(tmp_path):
    """The other removes the blocks, of which this one has counted on the first."""

    class Overtaken(ScoreStore):
        def write_block(self, recipe, block, measured):
            if block == (3, 4):
                run(tmp_path, block_layers=1)
            super().write_block(recipe, block, measured)

    score_blocks(*activations(), asked(), Overtaken(tmp_path), block_layers=1)
    assert [path.name for path in tmp_path.iterdir()] == [f"{asked().name}.zarr"]
    xr.testing.assert_identical(ScoreStore(tmp_path).read(asked()), run(tmp_path))


@pytest.mark.parametrize(
    "other",
    [
        asked("cka"),
        asked(seed=7),
        asked(outer_folds=3),
        asked(protocol="khosla_lab"),
        score_recipe(("key of x", "key of y"), null=3),
        score_recipe(("key of y", "key of x"), null=2),
    ],
)
def test_the_key_is_all_that_determines_the_numbers(other):
    assert other.key != asked().key


def test_words_and_spelling_of_a_protocol_do_not_enter_the_key():
    assert score_recipe(("key of x", "key of y"), null=2).key == asked().key
    spelt = asked(standardize_targets=False, test_statistics="test")
    assert spelt.key == asked(protocol="khosla_lab").key


def test_a_store_elsewhere_holds_the_same(tmp_path):
    got = run("memory://scores-elsewhere")
    xr.testing.assert_identical(got, run(tmp_path))


@pytest.mark.parametrize("chunk", ["score/0.0", "x_layer/0"])
def test_damage_is_named(tmp_path, chunk):
    run(tmp_path)
    chunk = tmp_path / f"{asked().name}.zarr" / chunk
    whole = chunk.read_bytes()
    for broken in (None, whole[:20]):
        chunk.unlink() if broken is None else chunk.write_bytes(broken)
        with pytest.raises(ValueError, match=r"llama.*\.zarr is damaged .*: delete that folder and score again"):
            run(tmp_path)
    other = asked(seed=1)
    ScoreStore(tmp_path).write_block(other, (0, 8), xr.Dataset({"score": (("x_layer", "y_layer"), np.ones((6, 2)))}))
    (block,) = (tmp_path / f"{other.name}.partial").iterdir()
    block.rename(block.with_name("block-0-6.npz")).write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"block-0-6.npz is damaged .*: delete that file"):
        run(tmp_path, other)


@pytest.mark.usefixtures("no_type_checks")
def test_what_the_metric_refuses_leaves_nothing_finished(tmp_path):
    with pytest.raises(ValueError, match="30 items are too few for 16 folds"):
        run(tmp_path, asked(outer_folds=16))
    assert files(tmp_path) == {}
    with pytest.raises(ValueError, match="expected two strings"):
        score_recipe(("a", None))
    with pytest.raises(ValueError, match="known by fsspec|fsspec knows"):
        ScoreStore("nonsense://x")
