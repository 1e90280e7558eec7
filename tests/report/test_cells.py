"""From a score to what produced it: rows by condition and model pair, and the command that scores them again."""

import math
import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.config_values import config_values
from vla import paper
from vla.report.run_folder import RunFolder
from vla.report.sections import cells, command, short

ROOT = Path(__file__).parents[2]
MODELS = [
    {"name": "dinov2-base", "modality": "vision", "source": "facebook/dinov2-base"},
    {"name": "mine", "modality": "language", "source": "my models/{view}.npz"},
]


def experiment(id="E3", **condition):
    groups = {"vision_group": "core", "language_group": "extra"}
    return {"id": id, "conditions": [{"name": "nouns", "series": "", **groups, **condition}]}


def run(scores, cell="", **commands):
    described = {"experiments": [experiment()], "models": MODELS, "commands": {"cell": cell, **commands}}
    empty = pd.DataFrame()
    return RunFolder(Path("nowhere"), described, scores, empty, empty, {}, {}, {}, ())


def score(direction, value, metric="linear_predictivity", **more):
    given = {"experiment": "E3", "condition": "nouns", "vision_model": "dinov2-base", "language_model": "mine",
             "vision_layer": "block_11", "language_layer": "block_2", "metric": metric, "direction": direction,
             "n_items": 997, "score": value, "null_mean": math.nan, "vision_key": "0123456789abcdef",
             "language_key": "f" * 16}  # fmt: skip
    return {**given, **more}


def test_metrics_and_directions_are_columns_of_one_row():
    rows = [score("vision_to_language", 0.2, null_mean=0.01, ci_low=0.1, ci_high=0.3),
            score("language_to_vision", 0.1, ci_low=math.nan, ci_high=math.nan),
            score("symmetric", math.nan, metric="cka")]  # fmt: skip
    table = pd.DataFrame(rows)
    found = cells(run(table), experiment(), table)
    assert found["columns"] == [("linear_predictivity", "language_to_vision"),
                                ("linear_predictivity", "vision_to_language"), ("cka", "symmetric")]  # fmt: skip
    (row,) = found["rows"]
    assert row["scores"] == [0.1, 0.2, None] and row["null"] == [None, 0.01, None]
    assert row["interval"] == [None, (0.1, 0.3), None] and row["n_items"] == 997
    assert row["keys"] == {"vision": "0123456789abcdef", "language": "f" * 16} and row["command"] == ""
    assert short(row["keys"]["vision"]) == "0123456789ab"


def test_the_command_is_a_study_of_this_pair_and_experiment_alone():
    flags = "--config.null=7 '--config.language.core=(\"a/b\",)'"
    replaced = "'--config.sweep=(10, 20)' '--config.vision.core=(\"c/d\", \"e/f\")' --config.language.extra '()'"
    start = f"python -m launch.reproduce --config=configs/paper.py {replaced} {flags} --workdir=run-again"
    said = command(run(pd.DataFrame(), start).run, experiment(), score("symmetric", 0.1))
    words = shlex.split(said)
    assert words[:7] == shlex.split(f"python -m launch.reproduce --config=configs/paper.py {flags} --workdir=run-again")
    values = config_values(f"{ROOT / 'configs/paper.py'}:E1", [word for word in words[4:] if "workdir" not in word])
    study = paper.study(values)
    assert [one.id for one in study.experiments] == ["E3"] and study.null == 7
    assert study.vision["core"] == ("facebook/dinov2-base",) and study.language["core"] == ("a/b",)
    # A model whose name is not that of its source keeps its name.
    assert study.language["extra"] == ("mine=my models/{view}.npz",)


def test_the_command_of_a_study_without_groups_names_its_models_alone():
    config = ROOT / "configs/captioned_folder.py"
    start = f"python -m launch.reproduce --config={config} --config.data.path=photos --config.vision=other/model"
    one = experiment("layer_map", vision_group="main", language_group="main")
    words = shlex.split(command(run(pd.DataFrame(), start).run, one, score("symmetric", 0.1)))
    study = paper.study(config_values(config, words[4:]))
    assert study.vision["main"] == ("facebook/dinov2-base",)
    assert study.language["main"] == ("mine=my models/{view}.npz",) and study.datasets["main"].directory == "photos"


def test_the_command_is_not_that_of_a_part_of_the_work():
    parts = "--config.shard=3/4 --config.stage score --coordinator=auto --processes 2 --process=1"
    looked = "--config.content.experiment=E2 --config.content.condition=original --config.content.pairs=all"
    said = command(run(pd.DataFrame(), f"go {parts} {looked} --workdir=x").run, experiment(), score("symmetric", 0.1))
    assert shlex.split(said)[:4] == ["go", "--config.content.pairs=all", "--workdir=x", '--config.experiments=("E3",)']


def test_the_sweep_over_items_is_no_experiment_of_the_catalogue():
    said = command(run(pd.DataFrame(), "go").run, experiment("N sweep", series="items"), score("symmetric", 0.1))
    assert "'--config.experiments=()'" in said and "sweep" not in said


@pytest.mark.parametrize(("cell", "only"), [("", ""), ("go", "core")])
def test_no_command_where_none_was_given_or_flags_cannot_name_the_group(cell, only):
    described = run(pd.DataFrame(), cell, cell_groups=only).run
    assert command(described, experiment(), score("symmetric", 0.1)) == ""
    older = {"id": "E3", "conditions": [{"name": "nouns", "series": ""}]}
    assert command(described, older, score("symmetric", 0.1)) == ""
