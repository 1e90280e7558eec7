"""The config of the quick start is filled with the drawn world, models, and experiments on their checkpoints."""

import pytest

from configs import microworld
from vla import paper
from vla.experiments.names import name_and_source
from vla.microworld.quick_start import along_training, fill_config
from vla.microworld.shipped import shipped, shipped_steps
from vla.models import load_model
from vla.stimuli import read_dataset


def config(**changes):
    values = microworld.get_config("quick").to_dict()
    values["microworld"] |= {"n": 8, "renderings": 1, "paraphrases": 2, **changes}
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the world, which the first test that needs it draws."""
    return tmp_path_factory.mktemp("microworld")


def test_the_trained_models_look_at_the_world(folder):
    values = fill_config(config(), folder)
    assert values["vision"]["core"] == (str(shipped("micro-dinov2")), str(shipped("micro-vit")))
    assert values["language"]["core"] == (str(shipped("micro-llama")), str(shipped("micro-bloom")))
    assert values["datasets"]["coco"]["clip"] == str(shipped("micro-clip"))
    assert len(read_dataset("coco_val2017", values["datasets"]["coco"]["directory"])) == 8
    assert "microworld" not in values
    assert fill_config(config(), folder) == values


def test_models_that_are_named_stay(folder):
    asked = config(training=True) | {"vision": {"core": ("a",)}}
    values = fill_config(asked, folder)
    assert values["vision"] == {"core": ("a",)}
    assert values["language"]["core"] == (str(shipped("micro-llama")), str(shipped("micro-bloom")))
    # Of models of one's own there are no checkpoints on the way.
    assert values["own_experiments"] == ()


def test_other_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="microworld.models='some'; expected one of trained, untrained"):
        fill_config(config(models="some"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_study_takes_them(folder):
    study = paper.study(fill_config(config(training=True), folder))
    experiments = {one.id: one for one in study.experiments}
    trained, untrained = experiments["Untrained"].conditions
    before, after = (
        [name_and_source(given)[0] for pair in study.pairs(one) for given in pair] for one in (untrained, trained)
    )
    assert before == [f"{name}@0" for name in after] and len(after) == 8
    (first, *_, last) = experiments["Training"].conditions
    assert [name_and_source(given)[0] for given in study.pairs(first)[0]] == ["micro-dinov2@0", "micro-llama@0"]
    # The end is the very model of the other experiments, so that nothing of it is extracted twice.
    assert study.pairs(last) == [(str(shipped("micro-dinov2")), str(shipped("micro-llama")))]
    assert study.pairs(last)[0] in study.pairs(experiments["E1"].conditions[0])
    for one in ("Vision training", "Language training"):
        assert study.pairs(experiments[one].conditions[-1]) == study.pairs(last)


def test_every_checkpoint_has_its_place(tmp_path):
    groups, (both, vision, language) = along_training(tmp_path)
    for experiment, modality, name in ((vision, "vision", "micro-dinov2"), (language, "language", "micro-llama")):
        steps = (0, *shipped_steps(name))
        assert [each["k"] for each in experiment["conditions"]] == list(steps)
        sources = [name_and_source(groups[modality][each[modality]][0]) for each in experiment["conditions"]]
        assert [model for model, _ in sources] == [*(f"{name}@{step}" for step in steps[:-1]), name]
        assert len({load_model(source, weights=False).fingerprint for _, source in sources}) == len(steps)
        other = {"vision": "language", "language": "vision"}[modality]
        assert len({each[other] for each in experiment["conditions"]}) == 1
    for modality in groups:
        own = [each[modality] for each in both["conditions"]]
        # Never backwards, from the first checkpoint to the last.
        assert own == sorted(own, key=list(groups[modality]).index)
        assert {own[0], own[-1]} == {list(groups[modality])[0], list(groups[modality])[-1]}
