"""What determines a table of scores: its recipes change with what changes its numbers, and with nothing else."""

import dataclasses
import functools
import threading
from types import SimpleNamespace
from unittest import mock

import numpy as np
import psutil
import pytest
import xarray as xr
from sklearn.model_selection import KFold

from tests.experiments import folders
from vla import devices
from vla.activations.averaging import running_means
from vla.experiments import gallery
from vla.experiments.choices import Choices
from vla.experiments.engine import prepare
from vla.experiments.experiment import Condition, Experiment, Side, read_side
from vla.experiments.gallery import Gallery
from vla.experiments.participants import Checkpoint
from vla.experiments.scoring import LEAST_BYTES, Stacks, side_by_side
from vla.experiments.study import DatasetPlan, Study
from vla.experiments.tables import Table, directions, needs, tables
from vla.paper.seeing_through_words.experiments import experiments
from vla.records import Dataset
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
    assert bench._item_sets(next(tables(bench.study))) == folds
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
    for fold in bench._item_sets(table):
        labels = set(gallery.groups_of(dataset, fold))
        assert not labels & seen
        seen |= labels


ROLES = ("coco", "flickr8k", "pick_a_pic")


def study(*experiments, **more):
    groups = {"vision": {"core": ("v",), "backbones": ("v", "w")}, "language": {"core": ("s", "t"), "extra": ("u",)}}
    return Study(experiments, {role: DatasetPlan(role, "coco_val2017") for role in ROLES}, **{**groups, **more})


@pytest.mark.parametrize("id", [f"E{i}" for i in range(1, 14)])
def test_every_condition_is_in_one_table_of_each_pair_metric_and_direction_with_its_own_sides(id):
    one = experiments(captions=7, images=3)[id]
    asked = study(one)
    seen = []
    for table in tables(asked):
        for cell in table.cells:
            condition = one.condition(cell.condition)
            sides = (table.images[cell.image], table.captions[cell.caption])
            assert sides == (read_side(condition.image, "vision", Choices()),
                             read_side(condition.caption, "language", Choices()))  # fmt: skip
            assert (table.dataset, table.part, table.layers) == (
                condition.dataset,
                (id, condition.part),
                condition.layers,
            )
            assert cell.experiment == id
            seen.append((condition.name, table.vision, table.language, table.metric, table.direction))
    expected = [
        (condition.name, v, t, metric, direction)
        for condition in one.conditions
        for v, t in asked.pairs(condition)
        for metric in asked.metrics_of(one)
        for direction in directions(metric)
    ]
    assert sorted(seen) == sorted(expected)


def test_the_shared_side_is_single():
    found = experiments(captions=7)
    for id, images, captions in (("E2", 5, 1), ("E6", 1, 7), ("E5", 1, 2)):
        first = next(tables(study(found[id])))
        assert (len(first.images), len(first.captions), len(first.cells)) == (images, captions, max(images, captions))


def test_lengths_and_layer_maps_do_not_stack():
    counts = [len(one.cells) for one in tables(study(experiments()["E3"])) if one.language == "s"]
    assert sorted(counts) == [1, 1, 4, 4]
    maps = Experiment("m", "M", "?", (Condition("a"), Condition("b", image="blur")), layers="all")
    assert [len(one.cells) for one in tables(study(maps)) if one.language == "s"] == [1, 1, 1, 1]


def test_what_cannot_be_used_or_read_is_in_no_table():
    one = experiments()["E2"]
    found = list(tables(study(one), lambda _, condition: condition.name != "rotation", lambda c, v, t: t == "s"))
    assert {table.language for table in found} == {"s"}
    assert [cell.condition for cell in found[0].cells] == ["original", "grayscale", "things only", "stuff only"]


def test_seeds_of_the_folds_multiply_tables():
    found = list(tables(study(experiments()["E2"], seeds=(1, 2, 3))))
    assert [one.seed for one in found[:6]] == [1, 2, 3, 1, 2, 3] and len(found) == 2 * 2 * 3


def spelled(needed):
    """What has to be extracted, with views as a config spells them."""
    return {(*key[:3], str(key[3])): layers for key, layers in needed.items()}


def test_all_layers_are_extracted_where_any_condition_wants_them():
    asked = study(experiments()["E2"], Experiment("map", "Map", "?", (Condition("original"),), layers="all"))
    found = spelled(needs(asked))
    assert found["vision", "v", "coco", "original"] == "all"
    assert found["language", "s", "coco", "original"] == "all"
    assert found["vision", "v", "coco", "things_only"] == "penultimate"
    assert ("vision", "w", "coco", "original") not in found, "a backbone that nobody looks at"
    assert not needs(study(experiments()["E2"]), lambda *_: False)
    # Of one view, layers by their names are extracted alone; where others are wanted as well, all are.
    some = Experiment("some", "Some", "?", (Condition("original"),), layers="block_1,block_2")
    assert spelled(needs(study(some)))["vision", "v", "coco", "original"] == ("block_1", "block_2")
    assert spelled(needs(study(experiments()["E2"], some)))["vision", "v", "coco", "original"] == "all"


def test_lengths_need_no_model_and_averages_need_every_exemplar():
    found = needs(study(experiments()["E3"]))
    assert not [key for key in found if key[3] == "length"]
    found = needs(study(experiments(captions=6)["E6"]))
    assert len([key for key in found if key[:2] == ("language", "s")]) == 6


IDS = [f"{i:02d}" for i in range(9)]


def read(view, layers):
    """Activations for any view."""
    values = np.random.default_rng(ord(view)).standard_normal((1, len(IDS), 4)).astype(np.float32)
    return xr.DataArray(values, dims=("layer", "item", "unit"), coords={"layer": ["block_1"], "item": IDS})


def stacks(averaging="mean_first", **options):
    """Stacks of a model, and the model, which counts how often it is read."""
    study = mock.Mock(spec=Study, choices=Choices(averaging=averaging), seed=3)
    model = mock.Mock(spec=Checkpoint)
    model.read.side_effect = read
    gallery = mock.Mock(spec=Gallery, dataset=Dataset("d", ()))
    gallery.view.side_effect = lambda modality, member: member
    return Stacks(study, {("language", "m"): model}, {"coco": gallery}, **options), model.read


TABLE = mock.Mock(spec=Table, dataset="coco", layers="penultimate")


@pytest.mark.parametrize("averaging", ["mean_first", "z_score_first"])
def test_means_of_the_first_few_are_those_of_each_on_its_own(averaging):
    (made, reads), some = stacks(averaging), IDS[::-1][:6]
    sides = [Side("language", tuple(members)) for members in ("a", "abc", "ab", "b", "bc")]
    found = made.stack(TABLE, "m", sides, some)
    assert found.shape == (5, 6, 4) and list(found["item"].values) == some
    # One exemplar alone stays as it is.
    for values, side in zip(found.values, sides, strict=True):
        own = [read(member, "").sel(item=some) for member in side.members]
        expected = own[0] if len(own) == 1 else list(running_means(own, averaging == "z_score_first"))[-1]
        np.testing.assert_array_equal(values, expected.values[0])
    assert reads.call_count == 5, "a, b, c once for the first three, and b, c for the others"


def test_views_of_different_widths_are_named():
    made, reads = stacks()
    reads.side_effect = lambda view, layers: read(view, layers)[..., : 3 if view == "b" else 4]
    with pytest.raises(ValueError, match="m has activations of different widths: 4 on a, 3 on b; save all views at"):
        made.stack(TABLE, "m", [Side("language", (member,)) for member in "ab"], IDS)


def test_mismatched_items_keep_their_names_and_lose_their_rows():
    side = Side("language", ("a", "b"), mismatched=True)
    made, _ = stacks()
    found, matched = made.stack(TABLE, "m", [side], IDS), made.stack(TABLE, "m", [Side("language", ("a", "b"))], IDS)
    assert list(found["item"].values) == IDS
    assert not (found.values == matched.values).any()
    np.testing.assert_array_equal(np.sort(found.values, axis=1), np.sort(matched.values, axis=1))


@pytest.mark.parametrize(("most_bytes", "reads"), [(1 << 20, 2), (1, 3)])
def test_what_was_asked_for_last_is_held_as_far_as_there_is_room(most_bytes, reads):
    made, read = stacks(most_bytes=most_bytes)
    for members in ("a", "b", "b", "a"):
        made.stack(TABLE, "m", [Side("language", (members,))], IDS)
    assert read.call_count == reads


def most_at_once(monkeypatch, cores, parts_of_memory, singly=False, taken=3 << 30, told=float(3 << 30)):
    """How many of nine parts were seen at work at once, where each waits for the others as long as they may come."""
    monkeypatch.setattr(devices, "workers", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=parts_of_memory * taken + 1))
    lock, at_work, seen = threading.Lock(), set(), [0]
    expected = 1 if singly else max(1, min(cores, parts_of_memory))
    meet = threading.Barrier(expected)

    def part():
        with lock:
            at_work.add(threading.get_ident())
            seen.append(len(at_work))
        meet.wait(timeout=30)
        with lock:
            at_work.discard(threading.get_ident())

    with side_by_side(told) as submit:
        for _ in range(4 * expected):
            submit(part, singly=singly)
    assert len(seen) == 1 + 4 * expected, "all are done when the block ends"
    return max(seen)


@pytest.mark.parametrize(("cores", "memory", "most"), [(3, 9, 3), (8, 2, 2), (4, 0, 1), (1, 9, 1)])
def test_cores_and_memory_bound_how_many_there_are(monkeypatch, cores, memory, most):
    assert most_at_once(monkeypatch, cores, memory) == most


def test_parts_of_unknown_size_do_not_count_as_nothing(monkeypatch):
    assert most_at_once(monkeypatch, 4, 2, taken=LEAST_BYTES, told=0.0) == 2


def test_a_large_part_has_the_machine_for_itself(monkeypatch):
    assert most_at_once(monkeypatch, 4, 9, singly=True) == 1


def test_an_error_of_a_part_ends_the_block(monkeypatch):
    def broken():
        raise ValueError("constant units")

    with pytest.raises(ValueError, match="constant units"), side_by_side() as submit:
        submit(broken, singly=False)


def test_parts_are_scored_by_this_process_alone():
    seen = []
    with side_by_side() as submit:
        submit(lambda: seen.append(devices._ALONE.get()), singly=False)
    assert seen == [True]
