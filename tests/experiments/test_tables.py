"""Tables of scores: every condition is in exactly one, and the side that conditions share is there once."""

import pytest

from vla.experiments.choices import Choices
from vla.experiments.experiment import Condition, Experiment
from vla.experiments.sides import read_side
from vla.experiments.study import DatasetPlan, Study
from vla.experiments.tables import directions, needs, tables
from vla.paper.seeing_through_words import experiments

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


def test_all_layers_are_extracted_where_any_condition_wants_them():
    asked = study(experiments()["E2"], Experiment("map", "Map", "?", (Condition("original"),), layers="all"))
    found = needs(asked)
    assert found["vision", "v", "coco", "original"] == "all"
    assert found["language", "s", "coco", "original"] == "all"
    assert found["vision", "v", "coco", "things_only"] == "penultimate"
    assert ("vision", "w", "coco", "original") not in found, "a backbone that nobody looks at"
    assert not needs(study(experiments()["E2"]), lambda *_: False)
    # Of one view, layers by their names are extracted alone; where others are wanted as well, all are.
    some = Experiment("some", "Some", "?", (Condition("original"),), layers="block_1,block_2")
    assert needs(study(some))["vision", "v", "coco", "original"] == ("block_1", "block_2")
    assert needs(study(experiments()["E2"], some))["vision", "v", "coco", "original"] == "all"


def test_lengths_need_no_model_and_averages_need_every_exemplar():
    found = needs(study(experiments()["E3"]))
    assert not [key for key in found if key[3] == "length"]
    found = needs(study(experiments(captions=6)["E6"]))
    assert len([key for key in found if key[:2] == ("language", "s")]) == 6
