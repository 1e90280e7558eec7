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

ROOT = Path(__file__).parents[2]


def _run(where, *arguments, succeeds=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=where, env=environment, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory):
    where = tmp_path_factory.mktemp("quick start")
    return where, _run(where, "-m", "launch.reproduce")


def test_the_quick_start_ends_with_its_page(quick_start):
    where, done = quick_start
    page = Path(done.stdout.strip().splitlines()[-1])
    assert page == where / "workdir" / "report" / "index.html"
    text = page.read_text()
    assert "no evidence about trained models" in text
    assert text.count("data:image/png;base64,") == 4
    assert not re.search(r'(src|href)="(?!data:)', text), "the page must need no other file"


def test_the_quick_start_is_quiet_but_for_its_progress(quick_start):
    _, done = quick_start
    assert "Warning" not in done.stderr, done.stderr


def test_scores_stand_above_the_shuffled_baseline(quick_start):
    where, _ = quick_start
    table = pd.read_parquet(where / "workdir" / "scores.parquet")
    assert list(table) == [
        "experiment", "condition", "vision_model", "language_model", "metric", "direction", "vision_layer",
        "language_layer", "n_items", "score",
    ]  # fmt: skip
    mean = table.groupby(["metric", "direction", "condition"])["score"].mean()
    for metric, direction in {key[:2] for key in mean.index} - {("cka", "symmetric")}:
        assert mean[metric, direction, "original"] > 5 * abs(mean[metric, direction, "shuffled"])
    # What biased CKA has above its shuffled baseline is what the debiased one has above zero.
    of_cka = mean["cka", "symmetric"]
    assert of_cka["original"] > of_cka["shuffled"] > 0
    above = of_cka["original"] - of_cka["shuffled"]
    np.testing.assert_allclose(above, mean["cka_debiased", "symmetric", "original"], rtol=0.1)
    counts = table.groupby(["metric", "direction", "condition"]).size()
    assert (counts == 8 * 8).all() and len(counts) == 8


def test_full_results_are_on_disk(quick_start):
    where, _ = quick_start
    (path,) = (where / "workdir" / "results").glob("*linear_predictivity--vision_to_language.zarr")
    result = xr.open_zarr(path, chunks=None)
    assert dict(result["alpha"].sizes) == {"x_layer": 8, "y_layer": 8, "fold": 5}
    table = pd.read_csv(where / "workdir" / "scores.csv")
    rows = table.query(
        "metric == 'linear_predictivity' and direction == 'vision_to_language' and condition == 'original'"
        " and vision_layer == 'block_2' and language_layer == 'block_5'"
    )
    assert rows["score"].item() == pytest.approx(result["score"].sel(x_layer="block_2", y_layer="block_5").item())


def test_the_readme_example_gives_the_output_it_shows(quick_start):
    where, _ = quick_start
    blocks = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    place = next(i for i, (language, _) in enumerate(blocks) if language == "python")
    shown = blocks[place + 1][1].splitlines()
    found = _run(where, "-c", blocks[place][1]).stdout.splitlines()
    assert shown[0].split() == found[0].split()
    assert [line.split()[:1] for line in shown] == [line.split()[:1] for line in found]
    numbers = [[[float(cell) for cell in line.split()[1:]] for line in lines[2:]] for lines in (shown, found)]
    np.testing.assert_allclose(numbers[1], numbers[0], atol=0.011)


def test_a_second_run_uses_the_store(quick_start):
    where, _ = quick_start
    store = where / "workdir" / "activations"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    done = _run(where, "-m", "launch.reproduce")
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
    assert "extracting" not in done.stderr


def test_extract_and_score_with_overrides(quick_start):
    where, _ = quick_start
    flags = [
        f"--config.folder={where / 'workdir/microworld/scenes-500-42'}",
        f"--config.vision_models=({str(where / 'workdir/microworld/models-500-42/untrained-dinov2')!r},)",
        f"--config.language_models=({str(where / 'workdir/microworld/models-500-42/untrained-llama')!r},)",
        "--config.n_items=40",
        "--config.metrics=('linear_predictivity',)",
        "--config.layers=('block_1', 'block_4')",
        "--config.overrides.inner_cv=4",
        "--config.overrides.alphas=(1.0, 100.0)",
        "--config.null=2",
        "--workdir=other run",
    ]
    missing = _run(where, "-m", "launch.score", *flags, succeeds=False)
    assert missing.stderr.strip().splitlines()[-1].startswith("error: untrained-dinov2 on scenes-500-42/original")
    assert "python -m launch.extract" in missing.stderr and "Traceback" not in missing.stderr
    extracted = _run(where, "-m", "launch.extract", *flags).stdout.split("\n")
    assert xr.open_zarr(extracted[0], chunks=None)["activations"].shape == (2, 40, 96)
    _run(where, "-m", "launch.score", *flags)
    results = list((where / "other run" / "results").iterdir())
    assert len(results) == 2
    result = xr.open_zarr(results[0], chunks=None)
    assert set(np.unique(result["alpha"])) <= {1.0, 100.0} and result.sizes["permutation"] == 2
    assert json.loads(result.attrs["settings"])["inner_cv"] == 4
    before = {path: path.stat().st_mtime_ns for path in (where / "other run" / "scores").rglob("*")}
    assert len(list((where / "other run" / "scores").iterdir())) == 2
    again = _run(where, "-m", "launch.score", *flags)
    assert {path: path.stat().st_mtime_ns for path in (where / "other run" / "scores").rglob("*")} == before
    assert "scoring" not in again.stderr


def test_models_of_one_name_are_refused_and_names_may_hold_dashes(quick_start, tmp_path):
    where, _ = quick_start
    world = where / "workdir" / "microworld"
    vision = world / "models-500-42" / "untrained-dinov2"
    twin, dashed = tmp_path / "twin" / vision.name, tmp_path / "my--vision--model"
    twin.parent.mkdir()
    twin.symlink_to(vision)
    shutil.copytree(vision, dashed)
    flags = [
        f"--config.folder={world / 'scenes-500-42'}",
        f"--config.language_models=({str(world / 'models-500-42' / 'untrained-llama')!r},)",
        "--config.n_items=40",
        "--config.layers=penultimate",
        "--config.metrics=('cka',)",
        "--workdir=run",
    ]
    for second in (twin, vision):
        both = f"--config.vision_models=({str(vision)!r}, {str(second)!r})"
        refused = _run(tmp_path, "-m", "launch.extract", *flags, both, succeeds=False)
        assert "are both called 'untrained-dinov2'" in refused.stderr and not (tmp_path / "run").exists()
    flags.append(f"--config.vision_models=({str(dashed)!r},)")
    _run(tmp_path, "-m", "launch.extract", *flags)
    _run(tmp_path, "-m", "launch.score", *flags)
    assert "cka, symmetric: my--vision--model and untrained-llama" in (tmp_path / "run/report/index.html").read_text()


def test_a_run_without_models_says_how_to_name_them(tmp_path):
    done = _run(tmp_path, "-m", "launch.extract", "--config.folder=photos", succeeds=False)
    assert done.stderr.startswith("error: vision_models=(): expected Hub ids or directories")
    shown = _run(tmp_path, "-m", "launch.extract", "--config.folder=photos", "--traceback", succeeds=False)
    assert "Traceback" in shown.stderr


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.folder=nowhere", "nowhere"),
        ("--config.metrics=('ckaa',)", "expected one of ['cca', 'cka', 'cka_debiased'"),
        ("--config.protocol=lab", "['khosla_lab', 'paper']"),
        ("--config.n_items=501", "501"),
        ("--config.vision_models=no/such-model", "no/such-model"),
        ("--config.vision_pool=last", "pool='last'"),
        ("--config.layers=('block_77',)", "block_77"),
    ],
)
def test_mistakes_in_the_config_are_one_clear_line(quick_start, tmp_path, flag, words):
    where, _ = quick_start
    world = where / "workdir" / "microworld"
    flags = [
        f"--config.folder={world / 'scenes-500-42'}",
        f"--config.vision_models=({str(world / 'models-500-42' / 'untrained-dinov2')!r},)",
        f"--config.language_models=({str(world / 'models-500-42' / 'untrained-llama')!r},)",
        "--config.n_items=40",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = _run(where, "-m", "launch.extract", *flags, flag, succeeds=False)
    assert words in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "run").exists(), "nothing may be written"


def test_the_benchmark_reports_agreement_with_its_peer(tmp_path):
    sizes = {"x_layers": 2, "y_layers": 3, "n_items": 60, "x_width": 70, "y_width": 20, "permutations": 3}
    sizes["parts"] = "loo,folds,tables"
    done = _run(tmp_path, "-m", "launch.benchmark", "--what=scoring", *(f"--size={k}={v}" for k, v in sizes.items()))
    figures = json.loads(Path(done.stdout.strip().splitlines()[-1]).read_text())
    for part in ("leave-one-out", "inner 5-fold"):
        assert figures[f"{part}: scikit-learn: penalties that differ on the timed pairs"] == 0
        assert figures[f"{part}: scikit-learn: largest difference of r on the timed pairs"] < 1e-5
    assert figures["mutual_knn: largest difference from platonic-rep's loop"] < 0.01
    wrong = _run(tmp_path, "-m", "launch.benchmark", "--size=layers=3", succeeds=False)
    assert "Unknown size 'layers'" in wrong.stderr
