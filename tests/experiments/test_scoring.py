"""What determines a table of scores: its recipes change with what changes its numbers, and with nothing else."""

import dataclasses
import functools

import numpy as np
import pytest
from sklearn.model_selection import KFold

from tests.experiments import folders
from vla.experiments import gallery
from vla.experiments.choices import Choices
from vla.experiments.engine import prepare
from vla.experiments.experiment import Condition
from vla.experiments.tables import tables
from vla.stimuli import read_dataset


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    return tmp_path_factory.mktemp("scoring")


def keys(where, conditions=None, **changes):
    """Hashes of the recipes of every table, by its place."""
    study = folders.study(where)
    conditions = conditions or (Condition("a", part="i"), Condition("b", image="grayscale", part="i"))
    one = folders.experiment(conditions=conditions, comparisons=())
    asked = dataclasses.replace(study, **{"experiments": (one,), "choices": Choices(human_captions=2), **changes})
    bench, resolved = prepare(asked, where / "run", read_only=True)
    return bench, [
        [one.name.rsplit("--", 1)[1] for one in bench.recipes(table)] for table in tables(asked, resolved.usable)
    ]


def test_names_and_titles_do_not_determine_scores(where):
    _, found = keys(where)
    renamed = (Condition("c", part="p"), Condition("d", image="grayscale", part="p"))
    assert keys(where, renamed, title="Another", note="!", bootstrap=0)[1] == found
    assert len({name for names in found for name in names}) == len(found) == 2 * 2 * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 43},
        {"seeds": (43,)},
        {"null": 3},
        {"bootstrap": 20},
        {"metrics": ("retrieval",)},
        {"overrides": {"outer_folds": 4}},
        {"choices": Choices(human_captions=2, protocol="khosla_lab")},
        {"choices": Choices(human_captions=2, inner_cv=5)},
        {"conditions": (Condition("a", part="i", items=30), Condition("b", image="grayscale", part="i", items=30))},
        {"conditions": (Condition("a", part="i", layers="all"), Condition("b", part="i", layers="all"))},
    ],
)  # fmt: skip
def test_what_changes_numbers_changes_recipes(where, changes):
    assert not set(map(tuple, keys(where, **changes)[1])) & set(map(tuple, keys(where)[1]))


def test_groups_determine_who_is_mismatched_with_whom(where, monkeypatch):
    conditions, choices = (Condition("a", caption="mismatched"),), Choices(human_captions=2, grouped=False)

    def read(*args, groups, **kwargs):
        dataset = read_dataset(*args, **kwargs)
        items = (dataclasses.replace(item, group=groups(i)) for i, item in enumerate(dataset.items))
        return dataclasses.replace(dataset, items=tuple(items))

    found = []
    for groups in (lambda i: None, str, lambda i: str(i // 2), lambda i: str(i // 4)):
        monkeypatch.setattr(gallery, "read_dataset", functools.partial(read, groups=groups))
        found.append(keys(where, conditions, choices=choices)[1])
    alone, each, pairs, fours = found
    assert alone == each and not set(map(tuple, pairs)) & set(map(tuple, [*alone, *fours]))


def test_fewer_items_are_drawn_anew_for_every_seed_and_kept_in_order(where):
    conditions = (Condition("a", items=10),)
    bench, _ = keys(where, conditions, seeds=(1, 2))
    asked = list(tables(bench.study))
    one, other = (bench.ids(table) for table in asked[:2])
    assert len(set(one)) == len(set(other)) == 10 and set(one) != set(other)
    assert one == bench.ids(next(table for table in asked[2:] if table.seed == 1)), "the same in both directions"


def test_symmetric_metrics_may_be_scored_fold_by_fold(where):
    choices = Choices(human_captions=2, symmetric_items="test_folds")
    bench, found = keys(where, metrics=("cka",), choices=choices, overrides={"outer_folds": 4})
    assert {len(names) for names in found} == {4} and len({name for names in found for name in names}) == 4 * len(found)
    ids = np.array(bench.ids(next(tables(bench.study))))
    folds = [list(ids[test]) for _, test in KFold(4, shuffle=True, random_state=42).split(ids)]
    assert bench._ids(next(tables(bench.study))) == folds
    assert {len(names) for names in keys(where, metrics=("cka",))[1]} == {1}


def test_groups_of_a_dataset_reach_every_metric(where, monkeypatch):
    """Such as prompts: in folds, halves, draws and permutations, also where test folds are scored one by one."""

    def read(*args, **kwargs):
        dataset = read_dataset(*args, **kwargs)
        items = (dataclasses.replace(item, group=str(i // 3)) for i, item in enumerate(dataset.items))
        return dataclasses.replace(dataset, items=tuple(items))

    monkeypatch.setattr(gallery, "read_dataset", read)
    metrics = ("linear_predictivity", "cka", "mutual_knn", "rsa")
    bench, _ = keys(where, metrics=metrics, choices=Choices(human_captions=2))
    for table in tables(bench.study):
        (recipe,) = bench.recipes(table)
        labels = gallery.groups_of(bench.galleries[table.dataset].dataset, bench.ids(table))
        assert list(recipe.task.groups) == labels and len(set(labels)) < len(labels)
        assert getattr(recipe.task.settings, "groups", recipe.task.groups) == recipe.task.groups
    bench, _ = keys(where, metrics=metrics, choices=Choices(human_captions=2, grouped=False))
    assert all(bench.recipes(table)[0].task.groups is None for table in tables(bench.study))
    choices = Choices(human_captions=2, symmetric_items="test_folds")
    bench, _ = keys(where, metrics=("cka",), choices=choices, overrides={"outer_folds": 4})
    table = next(tables(bench.study))
    dataset, seen = bench.galleries[table.dataset].dataset, set()
    for fold in bench._ids(table):
        labels = set(gallery.groups_of(dataset, fold))
        assert not labels & seen
        seen |= labels
