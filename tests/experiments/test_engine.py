"""The engine on saved activations: scores against vla.score, kill and resume, shards, what is not run."""

import contextlib
import dataclasses
import socket

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.model_selection import KFold

import vla
from tests.children import Child
from tests.experiments import folders
from vla.alignment.table import COLUMNS, NAMES, OF_MAP, OF_PAIRS
from vla.experiments.engine import run
from vla.experiments.experiment import Comparison, Condition
from vla.experiments.plan import plan, plan_text
from vla.microworld.shipped import shipped

TEN = [
    "experiment", "condition", "vision_model", "language_model", "metric", "direction", "vision_layer",
    "language_layer", "n_items", "score",
]  # fmt: skip


def saved(where, model, view="original"):
    with np.load(where / "models" / model / f"{view}.npz") as file:
        return file["activations"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    where = tmp_path_factory.mktemp("study")
    study = folders.study(where)
    outcome = run(study, where / "run", show_progress=False)
    assert outcome.finished and outcome.missing == 0
    return where, study


def test_every_score_is_that_of_vla_score(ran):
    where, _ = ran
    table = pd.read_parquet(where / "run" / "scores.parquet")
    assert list(table)[:10] == TEN
    assert len(table) == 2 * 4 * 2
    for row in table.to_dict("records"):
        view = {"original": "original", "grey": "grayscale"}[row["condition"]]
        vision, language = saved(where, row["vision_model"], view)[1], saved(where, row["language_model"])[1]
        assert (row["vision_layer"], row["language_layer"]) == ("block_2", "block_2")
        x, y = (vision, language) if row["direction"] == "vision_to_language" else (language, vision)
        expected = vla.score(x, y, seed=42, null=2)
        assert row["score"] == pytest.approx(expected.score.item(), abs=1e-6)
        assert row["null_mean"] == pytest.approx(expected.null_score.mean().item(), abs=1e-6)
        assert row["n_items"] == folders.ITEMS


def test_a_layer_map_has_all_that_vla_score_says_of_every_pair(ran, tmp_path):
    where, study = ran
    one = folders.experiment(conditions=(Condition("original"),), comparisons=(), layers="all")
    asked = dataclasses.replace(
        study, experiments=(one,), null=3, bootstrap=4, halves=2, confidence=0.8, intervals="all",
        metrics=("linear_predictivity", "cka", "mutual_knn"), overrides={"neighbours": 3},
        vision={"core": study.vision["core"][:1]}, language={"core": study.language["core"][:1]},
    )  # fmt: skip
    run(asked, tmp_path / "run", show_progress=False)
    table = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    assert tuple(table) == NAMES and len(table) == 4 * 9
    for column in COLUMNS:
        values = table[column.name]
        is_text = pd.api.types.is_string_dtype(values)
        assert (
            is_text
            if column.dtype == "text"
            else values.dtype == {"integer": "int64", "number": "float64"}[column.dtype]
        ), column.name
        assert column.lowest is None or (values.dropna() >= column.lowest).all()
        assert column.highest is None or (values.dropna() <= column.highest).all()
    vision, language = saved(where, "vision_a"), saved(where, "language_a")
    names = ["block_1", "block_2", "block_3"]
    for (metric, direction), rows in table.groupby(["metric", "direction"]):
        backwards = direction == "language_to_vision"
        x, y = (language, vision) if backwards else (vision, language)
        settings = {"neighbours": 3} if metric == "mutual_knn" else {}
        expected = vla.score(x, y, metric, seed=42, null=3, bootstrap=4, halves=2, confidence=0.8, **settings)
        for row in rows.to_dict("records"):
            at = [names.index(row[name]) for name in ("vision_layer", "language_layer")]
            place = dict(zip(("x_layer", "y_layer"), at[::-1] if backwards else at, strict=True))
            for name in (*OF_PAIRS, *OF_MAP):
                value = expected[name] if name in expected else np.nan
                value = value.isel(place).item() if getattr(value, "dims", ()) else float(value)
                assert row[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name
    (best,) = pd.read_csv(tmp_path / "run" / "summary.csv").query("metric == 'cka'").to_dict("records")
    own = table.query("metric == 'cka'")
    assert best["best"] == pytest.approx(own["score"].max()) and best["layer_pairs"] == 9
    # Relative depths are known of all layers only, not of a choice of them.
    few_layers = folders.experiment(conditions=(Condition("original"),), comparisons=(), layers="block_1,block_3")
    chosen = dataclasses.replace(asked, experiments=(few_layers,), metrics=("cka",), overrides={})
    run(chosen, tmp_path / "chosen", show_progress=False)
    few = pd.read_parquet(tmp_path / "chosen" / "scores.parquet")
    layers = ["vision_layer", "language_layer"]
    merged = few.merge(own, on=layers)
    assert len(merged) == 4 and merged["score_x"].to_numpy() == pytest.approx(merged["score_y"].to_numpy(), abs=1e-9)
    assert pd.read_csv(tmp_path / "chosen" / "peaks.csv").empty
    assert folders.read_run(tmp_path / "chosen")["experiments"][0]["layers"] == "block_1,block_3"


def test_scores_wait_for_activations_and_say_whose(ran, tmp_path, monkeypatch):
    _, study = ran
    vit = dataclasses.replace(study, vision={"core": (str(shipped("micro-vit")),)}, stage="score")
    with pytest.raises(ValueError, match="not in the store: micro-vit on data/original, .*--config.stage=extract"):
        run(vit, tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_a_study_of_which_nothing_can_be_scored_ends_before_anything_is_written(ran, tmp_path):
    _, study = ran
    plan = dataclasses.replace(study.datasets["coco"], directory=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"nothing can be scored:\nmine, original, grey: .*nowhere"):
        run(dataclasses.replace(study, datasets={"coco": plan}), tmp_path / "run", show_progress=False)
    blurred = folders.experiment(conditions=(Condition("blur", image="blur"),), comparisons=())
    with pytest.raises(ValueError, match="(?s)mine, blur: activations of its views are not saved: .*blur"):
        run(dataclasses.replace(study, experiments=(blurred,)), tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_curves_over_checkpoints_have_no_plateau_and_overrides_are_said(tmp_path):
    base = folders.study(tmp_path)
    groups = {f"at {k}": (f"mine@{k}={base.vision['core'][k % 2]}",) for k in range(4)}
    points = tuple(Condition(name, series="step", k=k, layers="all", vision=name) for k, name in enumerate(groups))
    along = folders.experiment(id="Steps", conditions=points, comparisons=())
    study = dataclasses.replace(base, experiments=(along,), vision={**base.vision, **groups}, null=0,
                                overrides={"outer_folds": 4})  # fmt: skip
    assert along.along_training and not folders.experiment().along_training
    run(study, tmp_path / "run", show_progress=False)
    assert len(pd.read_csv(tmp_path / "run" / "curves.csv")) == 4 * 3 * 2 * 2
    assert pd.read_csv(tmp_path / "run" / "plateaus.csv").empty
    settings = {one["setting"]: one["value"] for one in folders.read_run(tmp_path / "run")["settings"]}
    assert settings["overrides.outer_folds"] == "4"


def test_statistics_are_scipys(ran):
    where, _ = ran
    table = pd.read_parquet(where / "run" / "scores.parquet")
    found = pd.read_csv(where / "run" / "statistics.csv")
    for row in found.to_dict("records"):
        rows = table[table["direction"] == row["direction"]].sort_values(["vision_model", "language_model"])
        a, b = (rows.loc[rows["condition"] == name, "score"].to_numpy() for name in ("original", "grey"))
        test = stats.ttest_rel(a, b)
        assert (row["n_pairs"], row["df"]) == (4, 3)
        assert [row["t"], row["p"]] == pytest.approx([test.statistic, test.pvalue])
        assert row["mean_difference"] > 0.1, "noisier images align less"
    assert found["q"].tolist() == pytest.approx(stats.false_discovery_control(found["p"]).tolist())


def test_a_second_run_computes_nothing_and_leaves_every_file_as_it_is(ran, monkeypatch):
    where, study = ran
    before = folders.tree(where / "run")
    monkeypatch.setattr("vla.experiments.scoring.score_blocks", None)
    with monkeypatch.context() as patch:
        patch.setattr("vla.experiments.write_run.scores", None)
        run(study, where / "run", show_progress=False)
    assert folders.tree(where / "run") == before
    (where / "run" / "curves.csv").write_text("edited")
    run(study, where / "run", show_progress=False)
    after = folders.tree(where / "run")
    times = {"run.json", "made.json"}  # how long the writing run took
    assert {name: one for name, one in after.items() if str(name) not in times} == {
        name: one for name, one in before.items() if str(name) not in times
    }


def test_the_plan_writes_nothing_and_knows_what_is_there(ran, tmp_path):
    where, study = ran
    found = plan(study, where / "run")
    (line,) = [line for line in found.lines if line.role == "experiment"]
    assert (line.units, line.stored) == (8, 8)
    fresh = plan(study, tmp_path / "other")
    assert [(line.units, line.stored) for line in fresh.lines if line.role == "experiment"] == [(8, 0)]
    assert not (tmp_path / "other").exists()
    text = plan_text(fresh)
    assert "H200" in text and "TPU" in text and "assumed, not measured" in text
    assert not (tmp_path / "other").exists()


def test_shards_together_are_the_whole(ran, tmp_path):
    where, study = ran
    finished = []
    for i in range(3):
        shard = dataclasses.replace(study, shard=(i, 3))
        outcome = run(shard, tmp_path / "run", show_progress=False)
        finished.append(outcome.finished)
        assert (tmp_path / "run" / "run.json").exists() is outcome.finished
    assert finished == [False, False, True]
    assert folders.tree(tmp_path / "run" / "scores") == folders.tree(where / "run" / "scores")
    tables = [pd.read_parquet(path / "run" / "scores.parquet") for path in (where, tmp_path)]
    pd.testing.assert_frame_equal(*tables)


PROGRAM = """
import sys
from pathlib import Path
from tests.experiments import folders
from vla.alignment.score_store import ScoreStore
from vla.experiments.engine import run
write = ScoreStore.write
def told(self, *arguments):
    sys.stdout.write("table\\n")  # in one piece, as tables are scored beside one another
    sys.stdout.flush()
    write(self, *arguments)
ScoreStore.write = told
run(folders.study(Path(sys.argv[1])), Path(sys.argv[2]), show_progress=False)
"""


def test_a_killed_run_goes_on_and_ends_the_same(ran, tmp_path):
    where, study = ran
    with Child(PROGRAM, where, tmp_path / "run") as child:
        for _ in range(3):
            assert child.stdout.readline() == "table\n", child.errors()
        child.kill()
    there = folders.tree(tmp_path / "run" / "scores")
    assert there and not (tmp_path / "run" / "run.json").exists()
    assert run(study, tmp_path / "run", show_progress=False).finished
    assert folders.tree(tmp_path / "run" / "scores") == folders.tree(where / "run" / "scores")
    assert (tmp_path / "run" / "scores.parquet").read_bytes() == (where / "run" / "scores.parquet").read_bytes()


JOINED = """
import sys
import time
from pathlib import Path
from vla import devices
devices.join(sys.argv[3], 2, int(sys.argv[4]))
from tests.experiments import folders
from vla.experiments import write_run
from vla.experiments.engine import run
write = write_run.write
write_run.write = lambda *given: time.sleep(1) or write(*given)
finished = run(folders.study(Path(sys.argv[1])), Path(sys.argv[2]), show_progress=False).finished
# None ends before the first has written.
print(finished and (Path(sys.argv[2]) / "run.json").exists())
"""


def test_processes_that_have_joined_share_the_tables_and_end_as_one(ran, tmp_path):
    where, _ = ran
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(Child(JOINED, where, tmp_path / "run", address, i)) for i in range(2)]
        assert [child.said().splitlines()[-1] for child in both] == ["True", "True"]
    assert folders.tree(tmp_path / "run" / "scores") == folders.tree(where / "run" / "scores")
    assert (tmp_path / "run" / "scores.parquet").read_bytes() == (where / "run" / "scores.parquet").read_bytes()


def test_what_is_missing_is_reported_and_how_to_make_it(ran, tmp_path):
    where, study = ran
    conditions = tuple(Condition(f"captions {k}", caption=f"average:k={k}", part="c", series="captions", k=k)
                       for k in (1, 2, 3))  # fmt: skip
    compared = (Comparison("captions averaged", "captions 3", "captions 1"),)
    averaged = folders.experiment(id="E6", conditions=conditions, comparisons=compared)
    best = folders.experiment(id="E5", conditions=(Condition("best", caption="best_by_clip"),), comparisons=())
    outcome = run(dataclasses.replace(study, experiments=(averaged, best)), tmp_path / "run", show_progress=False)
    assert outcome.finished
    told = {one["id"]: one for one in folders.read_run(tmp_path / "run")["experiments"]}
    assert told["E5"]["status"] == "not run" and "CLIP" in told["E5"]["why"]
    assert "launch.generate --config=configs/paraphrases.py" in told["E6"]["command"]
    # Captions beyond the first are views that the saved models do not have.
    assert [one["status"] for one in told["E6"]["conditions"]] == ["run", "not run", "not run"]
    second = told["E6"]["conditions"][1]["why"]
    assert second.startswith("activations of its views are not saved: ") and "language_a/caption_1.npz" in second
    assert second in told["E6"]["why"]
    (row,) = (
        pd.read_csv(tmp_path / "run" / "statistics.csv").query("direction == 'vision_to_language'").to_dict("records")
    )
    assert row["verdict"] == "not run" and "configs/paraphrases.py" in row["note"] and np.isnan(row["t"])


def test_one_pair_of_models_is_too_few_and_no_number_is_invented(ran, tmp_path):
    where, study = ran
    few = dataclasses.replace(
        study, vision={"core": study.vision["core"][:1]}, language={"core": study.language["core"][:1]}
    )
    run(few, tmp_path / "run", show_progress=False)
    found = pd.read_csv(tmp_path / "run" / "statistics.csv")
    assert (found["verdict"] == "too few pairs").all() and found["note"].str.contains("too few model pairs").all()
    assert found[["t", "p", "q", "ci_low", "effect_size", "crossed_t"]].isna().all(axis=None)
    assert (found["mean_difference"] > 0).all()


def test_a_sweep_over_items_and_seeds(ran, tmp_path):
    where, study = ran
    conditions = tuple(Condition(f"{n} items", part=f"{n} items", series="items", k=n, items=n) for n in (20, 40))
    sweep = folders.experiment(id="N sweep", conditions=conditions, comparisons=())
    run(dataclasses.replace(study, experiments=(sweep,), seeds=(1, 2)), tmp_path / "run", show_progress=False)
    table = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert sorted(set(table["k"])) == [20, 40] and (table["n_items"] == table["k"]).all()
    one = table.query("k == 20 and direction == 'vision_to_language'").groupby("seed")["score"].mean()
    assert len(one) == 2 and one[1] != one[2]


def test_intervals_over_items_are_those_of_vla_score(ran, tmp_path):
    where, study = ran
    one = dataclasses.replace(
        study, vision={"core": study.vision["core"][:1]}, language={"core": study.language["core"][:1]}, bootstrap=30
    )
    one = dataclasses.replace(one, metrics=("linear_predictivity", "cka"))
    run(one, tmp_path / "run", show_progress=False)
    table = pd.read_parquet(tmp_path / "run" / "scores.parquet").query("condition == 'original'")
    assert sorted(table["direction"]) == ["language_to_vision", "symmetric", "vision_to_language"]
    for row in table.to_dict("records"):
        vision, language = (saved(where, row[name])[1] for name in ("vision_model", "language_model"))
        x, y = (language, vision) if row["direction"] == "language_to_vision" else (vision, language)
        expected = vla.score(x, y, row["metric"], seed=42, null=2, bootstrap=30)
        assert row["ci_low"] == pytest.approx(expected.ci_low.item(), abs=1e-6)
        assert row["ci_high"] == pytest.approx(expected.ci_high.item(), abs=1e-6)
        assert row["ci_low"] < row["score"] < row["ci_high"]
    settings = {one["setting"]: one["value"] for one in folders.read_run(tmp_path / "run")["settings"]}
    assert settings["bootstrap"] == "30"
    without = pd.read_parquet(where / "run" / "scores.parquet")
    assert without[["ci_low", "ci_high"]].isna().all(axis=None)


def test_intervals_of_explained_variance_are_those_of_vla_score(ran, tmp_path):
    """Which has no lower end: intervals are not clipped at that of a correlation."""
    where, study = ran
    asked = dataclasses.replace(
        study, null=0, bootstrap=20, overrides={"measure": "r2", "alphas": (1e-8,)},
        vision={"core": study.vision["core"][:1]}, language={"core": study.language["core"][:1]},
    )  # fmt: skip
    run(asked, tmp_path / "run", show_progress=False)
    table = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    (row,) = table[(table["condition"] == "grey") & (table["direction"] == "language_to_vision")].to_dict("records")
    x, y = saved(where, "vision_a", "grayscale")[1], saved(where, "language_a")[1]
    expected = vla.score(y, x, seed=42, bootstrap=20, measure="r2", alphas=(1e-8,))
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([expected.ci_low.item(), expected.ci_high.item()], abs=1e-6)
    assert row["ci_low"] < -1


def test_intervals_are_refused_where_draws_would_be_of_another_score(ran):
    _, study = ran
    zeros = dataclasses.replace(study.choices, constant_targets="zero")
    with pytest.raises(ValueError, match="bootstrap=30 with constant_targets='zero'.*left_out"):
        dataclasses.replace(study, choices=zeros, bootstrap=30)


def test_symmetric_metrics_over_test_folds_are_the_mean_over_them(ran, tmp_path):
    where, study = ran
    choices = dataclasses.replace(study.choices, symmetric_items="test_folds")
    folds = dataclasses.replace(
        study, metrics=("cka_debiased",), null=9, choices=choices,
        vision={"core": study.vision["core"][:1]}, language={"core": study.language["core"][:1]},
    )  # fmt: skip
    run(folds, tmp_path / "run", show_progress=False)
    table = pd.read_parquet(tmp_path / "run" / "scores.parquet").set_index("condition")
    tests = [test for _, test in KFold(5, shuffle=True, random_state=42).split(np.zeros(folders.ITEMS))]
    for condition, view in (("original", "original"), ("grey", "grayscale")):
        x, y = saved(where, "vision_a", view)[1], saved(where, "language_a")[1]
        each = [vla.score(x[test], y[test], "cka_debiased", null=9, seed=42) for test in tests]
        score, null = (sum(one[name].values.ravel() for one in each) / 5 for name in ("score", "null_score"))
        row = table.loc[condition]
        assert row["score"] == pytest.approx(score[0], abs=1e-6)
        assert row["null_mean"] == pytest.approx(null.mean(), abs=1e-6)
        # The mean over folds against its means under nine orders of items, not the mean of five p-values.
        assert row["p_value"] == row["p_max"] == (1 + (null >= score[0]).sum()) / 10
        assert row["calibrated"] == pytest.approx((score[0] - null.mean()) / (1 - null.mean()), abs=1e-6)


def test_constant_targets_count_as_zero_where_asked(ran, tmp_path):
    where, study = ran
    values = saved(where, "vision_a")[1:2].copy()
    values[:, :, :3] = 1.5
    ids = [f"{i:03d}" for i in range(folders.ITEMS)]
    np.savez(tmp_path / "still.npz", activations=values, items=ids)
    one = folders.experiment(conditions=(Condition("original"),), comparisons=())
    zeros = dataclasses.replace(
        study, experiments=(one,), null=0, choices=dataclasses.replace(study.choices, constant_targets="zero"),
        vision={"core": (str(tmp_path / "still.npz"),)}, language={"core": study.language["core"][:1]},
    )  # fmt: skip
    run(zeros, tmp_path / "run", show_progress=False)
    table = pd.read_parquet(tmp_path / "run" / "scores.parquet").set_index("direction")["score"]
    varying, language = values[0, :, 3:], saved(where, "language_a")[1]
    # Three of twelve target units are constant; as predictors they say nothing.
    share = 9 / folders.WIDTH
    assert table["language_to_vision"] == pytest.approx(share * vla.score(language, varying).score.item(), abs=1e-6)
    assert table["vision_to_language"] == pytest.approx(vla.score(varying, language).score.item(), abs=1e-6)


def test_mismatched_pairs_score_near_nothing(ran, tmp_path):
    where, study = ran
    conditions = (Condition("matched", part="m"), Condition("mismatched", caption="original + mismatched", part="m"))
    shuffled = folders.experiment(conditions=conditions, comparisons=())
    run(dataclasses.replace(study, experiments=(shuffled,)), tmp_path / "run", show_progress=False)
    means = pd.read_parquet(tmp_path / "run" / "scores.parquet").groupby("condition")["score"].mean()
    assert means["matched"] > 0.5 > 0.3 > abs(means["mismatched"])


def test_a_caption_too_long_for_the_last_model_is_known_before_the_first_reads_any(ran, tmp_path, monkeypatch):
    where, study = ran
    folders.write_folder(tmp_path / "data", items=20)
    with (tmp_path / "data" / "captions.txt").open("a") as file:
        file.writelines(f"{i:03d}.png,{'thing ' * (500 if i == 19 else 1)}\n" for i in range(20))
    plan = dataclasses.replace(study.datasets["coco"], directory=str(tmp_path / "data"))
    vit, llama = (str(shipped(f"micro-{name}")) for name in ("vit", "llama"))
    conditions = (Condition("second", caption="original:index=2", part="images"),)
    asked = dataclasses.replace(
        study, experiments=(folders.experiment(conditions=conditions, comparisons=()),), datasets={"coco": plan},
        vision={"core": (vit,)}, language={"core": (llama,)},
    )  # fmt: skip
    monkeypatch.setattr("vla.experiments.participants.extract_to_store", None)
    with pytest.raises(ValueError, match="micro-llama: item '019 of .*: caption .* tokens, but the model reads"):
        run(asked, tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run" / "activations").exists()
