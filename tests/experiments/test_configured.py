"""From config values to a study."""

import ast
import dataclasses
import subprocess
import sys

import pytest

from configs import captioned_folder, paper, parts
from vla.alignment.task import make_tasks
from vla.experiments.choices import Choices
from vla.experiments.study import DatasetPlan, Study
from vla.metrics import METRICS
from vla.paper import study


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
    with pytest.raises(ValueError, match="images=0 leaves E7 out. Set another value, or request other experiments: E1"):
        study(values("E7", images=0))
    with pytest.raises(ValueError, match="no experiment is called 'E14'; there are E1, E2"):
        study(values(experiments=("E7", "E14"), images=0))
    own = {"id": "E7", "title": "Mine", "question": "?", "conditions": ({"name": "a"},)}
    assert study(values("E7", images=0, own_experiments=(own,))).experiments[0].title == "Mine"


@pytest.mark.parametrize(("name", "given", "least"), [("captions", 0, 1), ("captions", -2, 1), ("images", -1, 0)])
def test_numbers_of_exemplars_that_are_none(name, given, least):
    said = f"{name}={given}; expected a whole number of at least {least}"
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
        (
            {"datasets": {"coco": {"name": "flickr8k", "dir": "x"}}},
            "the dataset coco has no setting dir; it has called",
        ),
        ({"datasets": {"coco": {"name": "flickr8k"}}}, "'preferred': no dataset has the role 'pick_a_pic'"),
    ],
)
def test_settings_that_there_are_not(changes, words):
    with pytest.raises(ValueError, match=words):
        study(values("smoke", **changes))


def test_every_setting_of_every_metric_can_be_given_on_the_command_line():
    """With the values as they are typed, in `overrides` or in `settings`. `splits` name the items of one call."""
    typed = {
        "alphas": "(1.0,10.0)", "outer_folds": "3", "inner_cv": "5", "alpha_per_target": "True",
        "standardize_targets": "False", "test_statistics": "test", "measure": "r2", "groups": "duplicates",
        "bandwidth": "0.5", "neighbours": "3", "nearness": "euclidean", "clip_quantile": "0.95", "unbiased": "False",
        "normalise": "False", "offset": "1e-6", "dissimilarity": "euclidean", "comparison": "pearson",
        "components": "2", "regularisation": "0.1", "squared": "True", "variance": "0.9", "weights": "y",
        "alpha": "0.5", "absolute": "True",
    }  # fmt: skip
    known = {field.name for metric in METRICS.values() for field in dataclasses.fields(metric.settings)} - {
        "seed",
        "splits",
    }
    assert set(typed) == known | {"groups"}
    script = """
import sys
from absl import app
from launch import entry
key = sys.argv.pop(1)
config, _ = entry.define(sys.argv.pop(1), "w")
app.run(lambda argv: print({k: v for k, v in config.value.to_dict()[key].items() if v is not None}))
"""
    for key, path in (("settings", "configs/captioned_folder.py"), ("overrides", "configs/paper.py")):
        flags = [f"--config.{key}.{name}={value}" for name, value in typed.items()]
        command = [sys.executable, "-c", script, key, path, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
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


FOLDER = {"path": "photos", "captions": "said.csv", "n": "all", "missing_captions": "drop"}


def folder_values(**changes):
    config = captioned_folder.get_config().to_dict()
    data = {**config["data"], **changes.pop("data", FOLDER)}
    return {**config, "vision": ("v", "w"), "language": "t", "data": data, **changes}


def test_a_folder_and_two_lists_of_models_are_a_study_of_one_experiment():
    found = study(folder_values(layers=("block_1", "block_2"), settings={"caption": 1, "neighbours": 3, "alphas": None},
                                metrics=("cka", "mutual_knn")))  # fmt: skip
    plan = found.datasets["main"]
    assert (plan.directory, plan.n_items, plan.missing_images) == ("photos", 0, "refuse")
    assert plan.options == {"captions": "said.csv", "missing_captions": "drop"}
    (condition,) = found.experiments[0].conditions
    assert condition.layers == ("block_1", "block_2") and found.pairs(condition) == [("v", "t"), ("w", "t")]
    # A setting reaches the choices or the metrics that have it; None leaves the default.
    assert found.choices.caption == 1 and found.overrides == {"neighbours": 3}
    assert study(folder_values()).experiments[0].conditions[0].layers == "all"


def test_names_may_be_joined_by_commas(tmp_path):
    (tmp_path / "a,b").mkdir()
    found = study(folder_values(vision=("v, w",), language=str(tmp_path / "a,b"), metrics="cka,rsa"))
    assert (found.vision["main"], found.metrics) == (("v", "w"), ("cka", "rsa"))
    assert found.language["main"] == (str(tmp_path / "a,b"),), "a folder may have a comma in its name"


def test_a_setting_of_the_folder_that_there_is_not():
    with pytest.raises(ValueError, match="data: captioned_folder has no option caption; it has captions, missing_cap"):
        study(folder_values(data={**FOLDER, "caption": 1}))


def test_own_experiments_on_the_folder_need_not_name_its_dataset_and_models():
    own = {
        "id": "mine",
        "title": "Mine",
        "question": "?",
        "conditions": ({"name": "a"}, {"name": "b", "layers": "all"}),
    }
    (one,) = study(folder_values(own_experiments=(own,), layers="penultimate")).experiments
    assert [(c.dataset, c.vision, c.language, c.layers) for c in one.conditions] == [
        ("main", "main", "main", "penultimate"), ("main", "main", "main", "all"),
    ]  # fmt: skip


def test_the_settings_of_the_config_are_all_choices_and_all_settings_of_metrics():
    of_metrics = {field.name for metric in METRICS.values() for field in dataclasses.fields(metric.settings)}
    choices = {field.name for field in dataclasses.fields(Choices)}
    assert set(parts.settings()) == choices | (of_metrics - {"seed", "splits"}) | {"groups"}


def test_the_defaults_of_the_config_are_those_of_the_study():
    config = {**parts.run().to_dict(), "data": {"name": "flickr8k", **FOLDER}, "vision": ("v",), "language": ("t",)}
    own = {"id": "mine", "title": "Mine", "question": "?", "conditions": ({"name": "a"},)}
    found = study({**config, "own_experiments": (own,), "settings": parts.settings().to_dict(), "null": 0,
                   "content": parts.content().to_dict(), "processors": {}})  # fmt: skip
    plain = Study(found.experiments, found.datasets, found.vision, found.language)
    assert found == plain
    usual = dict.fromkeys(("name", "role", "directory", "n_items", "options"))
    assert vars(study(folder_values()).datasets["main"]) | usual == vars(DatasetPlan("main", "flickr8k", "x")) | usual
