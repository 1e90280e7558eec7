"""The commands of the README, as a user runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.test_docs import undocumented
from vla.microworld.captions import describe
from vla.microworld.published_layouts import write_coco, write_flickr8k
from vla.microworld.scenes import distinct_scenes
from vla.microworld.shipped import shipped

ROOT = Path(__file__).parents[2]
VISION, LANGUAGE = shipped("micro-dinov2"), shipped("micro-llama")

# The quick start with a few scenes, and an experiment of each kind.
SMALL = (
    f"--config={ROOT / 'configs' / 'microworld.py'}:quick",
    "--config.microworld.n=40",
    "--config.experiments=('E1','E2','E5','E6')",
    "--config.captions=6",
    "--config.null=1",
)


def _run(where, *arguments, succeeds=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=where, env=environment, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def quick_start(command, tmp_path_factory):
    where = tmp_path_factory.mktemp("quick start")
    return where, command(where, "tests.launch.offline", *SMALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes in the layout of Flickr8k."""
    where = tmp_path_factory.mktemp("data") / "scenes"
    write_flickr8k(where, distinct_scenes(60, 42))
    return where


def test_the_quick_start_ends_with_its_page(quick_start):
    where, done = quick_start
    page = Path(done.stdout.strip().splitlines()[-1])
    assert page == where / "workdir" / "report" / "index.html"
    text = page.read_text()
    assert "It is an illustration" in text
    assert "Warning" not in done.stderr, done.stderr
    assert "not run" not in done.stderr
    # Other files may be named, none is needed.
    assert not re.search(r'(src|<link[^>]* href)="(?!data:)', text)


def test_the_quick_start_is_the_whole_study(quick_start):
    where, _ = quick_start
    table = pd.read_parquet(where / "workdir" / "scores.parquet")
    assert list(table)[:10] == [
        "experiment", "condition", "vision_model", "language_model", "metric", "direction", "vision_layer",
        "language_layer", "n_items", "score",
    ]  # fmt: skip
    assert set(table["experiment"]) == {"E1", "E2", "E5", "E6"}
    assert set(table["vision_model"]) == {"micro-dinov2", "micro-vit"}
    assert set(table["language_model"]) == {"micro-llama", "micro-bloom"}
    maps = table[table["experiment"] == "E1"]
    assert len(maps) == 4 * 2 * 8 * 8
    best = maps.groupby(["vision_model", "language_model", "direction"])["score"].max()
    # Of so few scenes a single pair's best varies; the mean over pairs does not lie as near to chance.
    assert (best.groupby("direction").mean() > maps["null_mean"].mean() + 0.1).all()
    assert (best > maps["null_mean"].mean()).all()
    paired = pd.read_csv(where / "workdir" / "statistics.csv")
    assert (paired["n_pairs"] == 4).all() and paired["p"].notna().all()
    curve = pd.read_csv(where / "workdir" / "curves.csv")
    assert set(curve["k"]) == set(range(1, 7))


def test_every_file_and_column_of_a_run_is_documented(quick_start):
    where, _ = quick_start
    assert undocumented(where / "workdir") == set()


def test_a_second_run_uses_the_stores(command, quick_start):
    where, _ = quick_start
    stores = [where / "workdir" / name for name in ("activations", "scores", "microworld")]
    before = {path: path.stat().st_mtime_ns for store in stores for path in store.rglob("*")}
    done = command(where, "tests.launch.offline", *SMALL)
    assert {path: path.stat().st_mtime_ns for store in stores for path in store.rglob("*")} == before
    assert "extracting" not in done.stderr and "scoring" not in done.stderr


def test_the_readme_example_gives_the_output_it_shows(tmp_path):
    blocks = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    place = next(i for i, (language, _) in enumerate(blocks) if language == "python")
    shown = blocks[place + 1][1].splitlines()
    # What the whole run would have left of its world.
    (world,) = re.findall(r'"(\S+/coco)"', blocks[place][1])
    (tmp_path / world).parent.mkdir(parents=True)
    scenes = distinct_scenes(500, 42)
    write_coco(tmp_path / world, scenes, [describe(scene) for scene in scenes])
    found = _run(tmp_path, "-c", blocks[place][1]).stdout.splitlines()
    assert shown[0].split() == found[0].split()
    assert [line.split()[:1] for line in shown] == [line.split()[:1] for line in found]
    numbers = [[[float(cell) for cell in line.split()[1:]] for line in lines[2:]] for lines in (shown, found)]
    np.testing.assert_allclose(numbers[1], numbers[0], atol=0.011)


def test_the_stages_one_by_one_with_settings(command, folder, tmp_path):
    flags = [
        "--config=" + str(ROOT / "configs" / "captioned_folder.py"),
        f"--config.data.path={folder}",
        f"--config.vision={VISION}",
        f"--config.language=({str(LANGUAGE)!r},)",
        "--config.data.n=40",
        "--config.metrics=('linear_predictivity',)",
        "--config.layers=('block_1', 'block_4')",
        "--config.settings.inner_cv=4",
        "--config.settings.alphas=(1.0, 100.0)",
        "--config.null=2",
        "--workdir=other run",
    ]
    missing = command(tmp_path, "launch.score", *flags, succeeds=False)
    last = missing.stderr.strip().splitlines()[-1]
    assert last.startswith("error: activations are not in the store: micro-dinov2 on scenes/original")
    assert "--config.stage=extract" in last and "Traceback" not in missing.stderr
    extracted = command(tmp_path, "launch.extract", *flags)
    assert extracted.stdout.strip() == "2 tables of scores are left for --config.stage=score."
    stored = [xr.open_zarr(path, chunks=None) for path in (tmp_path / "other run" / "activations").iterdir()]
    assert [group["activations"].shape for group in stored] == [(2, 40, 64)] * 2
    command(tmp_path, "launch.score", *flags)
    results = list((tmp_path / "other run" / "scores").iterdir())
    assert len(results) == 2
    result = xr.open_zarr(results[0], chunks=None)
    assert dict(result["alpha"].sizes) == {"x_layer": 2, "y_layer": 2, "fold": 5}
    assert set(np.unique(result["alpha"])) <= {1.0, 100.0} and result.sizes["permutation"] == 2
    assert json.loads(result.attrs["settings"])["inner_cv"] == 4
    table = pd.read_parquet(tmp_path / "other run" / "scores.parquet")
    assert len(table) == 2 * 2 * 2
    row = table.query("direction == 'vision_to_language' and vision_layer == 'block_1' and language_layer == 'block_4'")
    (path,) = (path for path in results if path.name.startswith("micro-dinov2"))
    score = xr.open_zarr(path, chunks=None)["score"].sel(x_layer="block_1", y_layer="block_4")
    assert row["score"].item() == pytest.approx(score.item())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "other run" / "scores").rglob("*")}
    again = command(tmp_path, "launch.score", *flags)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "other run" / "scores").rglob("*")} == before
    assert "scoring" not in again.stderr


def test_cka_of_the_store_is_that_of_plain_numpy_and_stands_above_its_baseline(command, folder, tmp_path):
    flags = [
        "--config=" + str(ROOT / "configs" / "captioned_folder.py"),
        f"--config.data.path={folder}",
        f"--config.vision={VISION}",
        f"--config.language={LANGUAGE}",
        "--config.data.n=60",
        "--config.metrics=('cka', 'cka_debiased')",
        "--config.layers=block_2,block_5",
        "--config.null=20",
        "--workdir=cka",
    ]
    done = command(tmp_path, "launch.reproduce", *flags)
    page = Path(done.stdout.strip().splitlines()[-1]).read_text()
    assert not re.search(r'(src|<link[^>]* href)="(?!data:)', page), "the page must need no other file"
    assert "agree with the paper" not in page and "Best pairs of layers" in page
    table = pd.read_parquet(tmp_path / "cka" / "scores.parquet")
    mean = table.groupby("metric")[["score", "null_mean"]].mean()
    assert mean.loc["cka", "score"] > mean.loc["cka", "null_mean"] > 0
    assert mean.loc["cka_debiased", "score"] > mean.loc["cka_debiased", "null_mean"] + 0.05
    assert abs(mean.loc["cka_debiased", "null_mean"]) < 0.02
    stored = list((tmp_path / "cka" / "activations").iterdir())
    x, y = (next(xr.open_zarr(path, chunks=None)["activations"] for path in stored if model.name in path.name)
            for model in (VISION, LANGUAGE))  # fmt: skip
    scores = table[table["metric"] == "cka"]
    assert len(scores) == 4
    for row in scores.itertuples():
        a, b = (side.sel(layer=layer).values.astype(float) for side, layer in
                ((x, row.vision_layer), (y, row.language_layer)))  # fmt: skip
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        norm = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
        assert row.score == pytest.approx(np.linalg.norm(a.T @ b) ** 2 / norm, abs=1e-5)


def test_models_of_one_name_are_refused_and_names_may_hold_dashes(command, folder, tmp_path):
    twin, dashed = tmp_path / "twin" / VISION.name, tmp_path / "my--vision--model"
    twin.parent.mkdir()
    twin.symlink_to(VISION)
    shutil.copytree(VISION, dashed)
    flags = [
        "--config=" + str(ROOT / "configs" / "captioned_folder.py"),
        f"--config.data.path={folder}",
        f"--config.language={LANGUAGE}",
        "--config.data.n=40",
        "--config.layers=penultimate",
        "--config.metrics=('cka',)",
        "--workdir=run",
    ]
    both = f"--config.vision=({str(VISION)!r}, {str(twin)!r})"
    refused = command(tmp_path, "launch.extract", *flags, both, succeeds=False)
    assert "are both called 'micro-dinov2'" in refused.stderr and not (tmp_path / "run").exists()
    # One model named twice is one model; models and their columns bear the names of folders.
    command(tmp_path, "launch.reproduce", *flags, f"--config.vision=({str(dashed)!r}, {str(dashed)!r})")
    (row,) = pd.read_csv(tmp_path / "run" / "summary.csv").to_dict("records")
    assert (row["vision_model"], row["language_model"], row["layer_pairs"]) == (dashed.name, "micro-llama", 1)
    assert "my--vision--model" in (tmp_path / "run/report/index.html").read_text()


def test_a_run_without_models_says_how_to_name_them(command, tmp_path):
    config = "--config=" + str(ROOT / "configs" / "captioned_folder.py")
    done = command(tmp_path, "launch.extract", config, "--config.data.path=photos", succeeds=False)
    assert done.stderr.startswith("error: no vision models: set --config.vision to a Hub id or a folder")
    shown = command(tmp_path, "launch.extract", config, "--config.data.path=photos", "--traceback", succeeds=False)
    assert "Traceback" in shown.stderr
    done = command(tmp_path, "launch.reproduce", config, succeeds=False)
    assert done.stderr.startswith("error: no dataset: set --config.data.path=FOLDER")


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.data.path=nowhere", "nowhere"),
        ("--config.metrics=('ckaa',)", "expected one of cca, cka, cka_debiased"),
        ("--config.settings.protocol=lab", "protocol='lab'; expected one of khosla_lab, paper"),
        ("--config.settings.inner_cv=one", "inner_cv='one'"),
        ("--config.data.n=501", "501"),
        ("--config.vision=no/such-model", "no/such-model"),
        ("--config.settings.vision_pool=last", "vision_pool='last'"),
        ("--config.layers=('block_77',)", "block_77"),
        ("--config.bootstrap=1", "bootstrap=1: an interval needs at least 2 draws"),
    ],
)
def test_mistakes_in_the_config_are_one_clear_line(command, folder, tmp_path, flag, words):
    flags = [
        "--config=" + str(ROOT / "configs" / "captioned_folder.py"),
        f"--config.data.path={folder}",
        f"--config.vision=({str(VISION)!r},)",
        f"--config.language=({str(LANGUAGE)!r},)",
        "--config.data.n=40",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = command(tmp_path, "launch.extract", *flags, flag, succeeds=False)
    assert words in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "run").exists(), "nothing may be written"


def test_the_benchmark_reports_agreement_with_its_peer(command, tmp_path):
    sizes = {"x_layers": 1, "y_layers": 2, "n_items": 40, "x_width": 50, "y_width": 12, "permutations": 2}
    sizes["parts"] = "loo,folds,tables"
    done = command(tmp_path, "launch.benchmark", "--what=scoring", *(f"--size={k}={v}" for k, v in sizes.items()))
    figures = json.loads(Path(done.stdout.strip().splitlines()[-1]).read_text())
    for part in ("leave-one-out", "inner 5-fold"):
        assert figures[f"{part}: scikit-learn: penalties that differ on the timed pairs"] == 0
        assert figures[f"{part}: scikit-learn: largest difference of r on the timed pairs"] < 1e-5
    assert figures["mutual_knn: largest difference from platonic-rep's loop"] < 0.01
    wrong = command(tmp_path, "launch.benchmark", "--size=layers=3", succeeds=False)
    assert "Unknown size 'layers'" in wrong.stderr
