"""What can be run: items that a part's conditions share, and reasons told once."""

import dataclasses
from pathlib import Path

import pytest

from tests.experiments.test_study import study
from vla.experiments.choices import Choices
from vla.experiments.experiment import Condition, Experiment
from vla.experiments.gallery import Absent, Gallery
from vla.experiments.resolve import resolve
from vla.experiments.study import DatasetPlan
from vla.records import Dataset, Item

IDS = ("d", "c", "b", "a")


class Shown(Gallery):
    """Views by the items that they show; None for one that cannot be shown."""

    dataset = None

    def __init__(self, **views):
        self.dataset = Dataset("made", tuple(Item(id, Path(id), ("words",)) for id in IDS))
        self._views = views

    def ids(self, modality, members):
        for member in members:
            if self._views.get(member, IDS) is None:
                raise Absent(f"no {member}", f"make {member}")
        return set.intersection(*(set(self._views.get(member, IDS)) for member in members))


def resolved(conditions, gallery, folds=2, metrics=("linear_predictivity",), **galleries):
    roles = {role: DatasetPlan(role, "coco_val2017") for role in ("coco", *galleries)}
    asked = study(experiments=(Experiment("mine", "Mine", "?", tuple(conditions)),), datasets=roles)
    asked = dataclasses.replace(asked, overrides={"outer_folds": folds}, metrics=metrics)
    return asked, resolve(asked, {"coco": gallery, **galleries})


def test_conditions_of_a_part_show_the_items_that_all_of_them_can_show_in_the_datasets_order():
    conditions = (Condition("o", part="p"), Condition("n", caption="nouns", part="p"),
                  Condition("v", caption="nouns_verbs", part="p"), Condition("alone", part="q"))  # fmt: skip
    asked, found = resolved(conditions, Shown(nouns=("a", "c", "d"), nouns_verbs=("a", "b", "d")), metrics=("cka",))
    assert found.items == {("mine", "p"): ("d", "a"), ("mine", "q"): IDS}
    assert [found.left_out["mine", one] for one in ("o", "n", "v", "alone")] == [0, 1, 1, 0]
    assert not found.absent and found.reasons == ()
    assert all(found.usable(asked.experiments[0], one) for one in conditions)


def test_what_is_absent_takes_no_items_away_and_its_reason_is_told_once():
    conditions = [Condition(f"captions {k}", caption=f"nouns + average:k={k}", part="p") for k in (1, 2)]
    conditions += [Condition("grey", image="grayscale", part="p"), Condition("o", part="p")]
    asked, found = resolved(conditions, Shown(nouns=None, grayscale=("a", "b")), metrics=("cka",))
    assert found.items == {("mine", "p"): ("b", "a")}
    assert found.absent["mine", "captions 2"] == ("no nouns", "make nouns")
    assert found.reasons == ("mine, captions 1, captions 2: no nouns (make nouns)",)
    assert not found.usable(asked.experiments[0], conditions[0]) and found.usable(asked.experiments[0], conditions[2])


def test_more_items_than_there_are_cannot_be_drawn():
    conditions = [Condition(f"{n} items", part=f"{n}", items=n) for n in (4, 5)]
    _, found = resolved(conditions, Shown())
    assert list(found.absent) == [("mine", "5 items")]
    assert found.reasons == ("mine, 5 items: 5 items are asked for, and there are 4",)
    # Each can show three, both of them together two.
    conditions = [Condition(n, caption=n, part="p", items=3) for n in ("nouns", "nouns_verbs")]
    _, found = resolved(conditions, Shown(nouns=("a", "b", "c"), nouns_verbs=("b", "c", "d")), metrics=("cka",))
    assert found.reasons == (
        "mine, nouns, nouns_verbs: 3 items are asked for, and all conditions of its part can show 2",
    )


def test_items_too_few_for_the_folds_are_told_before_anything_is_extracted():
    conditions = [Condition("o", part="p"), Condition("n", caption="nouns", part="p"),
                  Condition("all", part="q"), Condition("3 items", part="r", items=3)]  # fmt: skip
    asked, found = resolved(conditions, Shown(nouns=("a", "b", "c")), folds=2)
    why = "3 items that all conditions of its part can show are too few for 2 folds: at least 4 are needed"
    assert set(found.absent) == {("mine", "o"), ("mine", "n"), ("mine", "3 items")}
    assert all(reason.startswith(why) and command == "" for reason, command in found.absent.values())
    # Where nothing is split there are no folds.
    symmetric = dataclasses.replace(asked, metrics=("cka",))
    gallery = Shown(nouns=("a", "b", "c"))
    assert not resolve(symmetric, {"coco": gallery}).absent
    split = dataclasses.replace(symmetric, choices=Choices(symmetric_items="test_folds"))
    assert len(resolve(split, {"coco": gallery}).absent) == 3


def test_a_part_on_two_datasets_is_refused():
    conditions = [Condition("a", part="p"), Condition("b", part="p", dataset="other")]
    with pytest.raises(ValueError, match="part 'p' has conditions on coco and other; give them different parts"):
        resolved(conditions, Shown(), other=Shown())
