"""From config values to a study."""

import ast
import dataclasses
import subprocess
import sys

import pytest

from configs import paper
from vla.alignment.task import make_tasks
from vla.experiments.configured import study
from vla.metrics import METRICS


def values(arg="E3", **changes):
    return {**paper.get_config(arg).to_dict(), **changes}


def test_experiments_come_in_the_order_asked_each_once_then_ones_own_then_the_sweep():
    own = {"id": "mine", "title": "Mine", "question": "?", "conditions": ({"name": "a"},)}
    found = study(values(experiments=("E5", "E2", "E5"), own_experiments=(own,), sweep=(10, 20)))
    assert [one.id for one in found.experiments] == ["E5", "E2", "mine", "N sweep"]
    assert [one.items for one in found.experiments[-1].conditions] == [10, 20]
    # One's own experiment may also be named, and then stands where it was named.
    found = study(values(experiments=("mine", "E2"), own_experiments=(own,), sweep=()))
    assert [one.id for one in found.experiments] == ["mine", "E2"]


def test_ones_own_experiment_may_take_the_place_of_the_papers():
    own = {"id": "E2", "title": "Mine", "question": "?", "conditions": ({"name": "a"},)}
    (found,) = study(values(experiments=("E2",), own_experiments=(own,), sweep=())).experiments
    assert found.title == "Mine"


def test_a_name_alone_stands_for_one():
    found = study(values(experiments="E2", sweep=(), vision={"core": "a/b"}, language={"core": ["c", "d"]}))
    assert [one.id for one in found.experiments] == ["E2"]
    assert (found.vision["core"], found.language["core"]) == (("a/b",), ("c", "d"))


def test_captions_and_images_say_how_long_curves_are():
    found = study(values(experiments=("E6", "E8"), captions=3, images=0, sweep=()))
    assert [len(one.conditions) for one in found.experiments] == [3, 3]


def test_no_images_leave_the_experiment_out_that_averages_images_and_say_so():
    found = study(values("core", images=0, note="A note."))
    assert [one.id for one in found.experiments] == ["E1", "E2", "E3", "E4", "E5", "E6", "E8", "E9", "E11", "N sweep"]
    assert found.note == "A note. images=0 leaves E7 out."
    with pytest.raises(ValueError, match="images=0 leaves E7 out, which averages images: set images to 1 or more"):
        study(values("E7", images=0))
    with pytest.raises(ValueError, match="no experiment is called 'E14'; there are E1, E2"):
        study(values(experiments=("E7", "E14"), images=0))
    own = {"id": "E7", "title": "Mine", "question": "?", "conditions": ({"name": "a"},)}
    assert study(values("E7", images=0, own_experiments=(own,))).experiments[0].title == "Mine"


@pytest.mark.parametrize(("name", "given", "least"), [("captions", 0, 1), ("captions", -2, 1), ("images", -1, 0)])
def test_numbers_of_exemplars_that_are_none(name, given, least):
    said = f"{name}={given}; expected how many {name} are averaged at most, {least} or more"
    with pytest.raises(ValueError, match=said):
        study(values(**{name: given}))


def test_shards_options_and_overrides():
    datasets = values()["datasets"]
    datasets["coco"]["options"] = {"masks": "none", "split": None}
    found = study(values(shard="2/7", datasets=datasets, overrides={"outer_folds": 3, "alphas": None}))
    assert found.shard == (2, 7) and found.overrides == {"outer_folds": 3}
    assert found.datasets["coco"].options == {"masks": "none"} and found.datasets["coco"].role == "coco"


@pytest.mark.parametrize("shard", ["1", "a/2", "1/", "/2", "-1/2"])
def test_shards_that_are_none(shard):
    with pytest.raises(ValueError, match=f"shard='{shard}'; expected i/n, such as 0/4"):
        study(values(shard=shard))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"choices": {"protocoll": "paper"}}, "choices has no setting protocoll; it has alpha_per_target, averaging"),
        ({"content": {"norm": "x"}}, "content has no setting norm; it has condition, experiment"),
        ({"datasets": {"coco": {"name": "flickr8k", "dir": "x"}}}, "the dataset coco has no setting dir; it has clip"),
        ({"datasets": {"coco": {"name": "flickr8k"}}}, "'preferred': no dataset has the role 'pick_a_pic'"),
    ],
)
def test_settings_that_there_are_not(changes, words):
    with pytest.raises(ValueError, match=words):
        study(values("smoke", **changes))


def test_every_setting_of_every_metric_can_be_given_on_the_command_line():
    """With the values as they are typed, by both configs that have overrides."""
    typed = {
        "alphas": "(1.0,10.0)", "outer_folds": "3", "inner_cv": "5", "alpha_per_target": "True",
        "standardize_targets": "False", "test_statistics": "test", "measure": "r2", "groups": "duplicates",
        "bandwidth": "0.5", "neighbours": "3", "nearness": "euclidean", "clip_quantile": "0.95", "unbiased": "False",
        "normalise": "False", "offset": "1e-6", "dissimilarity": "euclidean", "comparison": "pearson",
        "components": "2", "regularisation": "0.1", "squared": "True", "variance": "0.9", "weights": "y",
        "alpha": "0.5", "absolute": "True",
    }  # fmt: skip
    known = {field.name for metric in METRICS.values() for field in dataclasses.fields(metric.settings)} - {"seed"}
    assert set(typed) == known | {"groups"}
    script = """
import sys
from absl import app
from launch import entry
config, _ = entry.define(sys.argv.pop(1), "w")
app.run(lambda argv: print({k: v for k, v in config.value.to_dict()["overrides"].items() if v is not None}))
"""
    for path in ("configs/captioned_folder.py", "configs/paper.py"):
        flags = [f"--config.overrides.{name}={value}" for name, value in typed.items()]
        done = subprocess.run([sys.executable, "-c", script, path, *flags], capture_output=True, text=True, check=True)
        values = ast.literal_eval(done.stdout)
        assert {name: str(value).replace(" ", "") for name, value in values.items()} == {**typed, "offset": "1e-06"}
        tasks = make_tasks(list(METRICS), "paper", 0, 0, values | {"regularisation": None})
        assert all(task.groups == "duplicates" for task in tasks)
        alone = make_tasks(["cca"], "paper", 0, 0, {"regularisation": values["regularisation"]})
        assert alone[0].settings.regularisation == 0.1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"metrics": ()}, "metrics is empty: name at least one metric, such as metrics='linear_predictivity'"),
        ({"metrics": ("cka", "cka")}, "metrics names cka more than once: name each metric once"),
        ({"overrides": {"groups": (1, 2)}}, "overrides.groups=.* expected 'duplicates'"),
    ],
)
def test_metrics_and_groups_that_cannot_be(changed, words):
    with pytest.raises(ValueError, match=words):
        study(values(**changed))
