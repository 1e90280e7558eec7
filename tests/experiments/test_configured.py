"""From config values to a study."""

import pytest

from configs import paper
from vla.experiments.configured import study


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
