"""The experiments on training are what an engine takes, and follow the checkpoints that are shipped."""

from configs import microworld
from vla.experiments import configured
from vla.experiments.naming import named
from vla.microworld.along_training import along_training
from vla.microworld.layout import laid_out
from vla.microworld.shipped import shipped, shipped_steps
from vla.models import load_model


def test_a_study_takes_them(tmp_path):
    values = microworld.get_config("quick").to_dict()
    values["microworld"] |= {"n": 8, "renderings": 0, "paraphrases": 1, "training": True}
    study = configured.study(laid_out(values, tmp_path))
    found = {one.id: one for one in study.experiments}
    trained, untrained = found["Untrained"].conditions
    before, after = ([named(given)[0] for pair in study.pairs(one) for given in pair] for one in (untrained, trained))
    assert before == [f"{name}@0" for name in after] and len(after) == 8
    (first, *_, last) = found["Training"].conditions
    assert [named(given)[0] for given in study.pairs(first)[0]] == ["micro-dinov2@0", "micro-llama@0"]
    # The end is the very model of the other experiments, so that nothing of it is extracted twice.
    assert study.pairs(last) == [(str(shipped("micro-dinov2")), str(shipped("micro-llama")))]
    assert study.pairs(last)[0] in study.pairs(found["E1"].conditions[0])
    for one in ("Vision training", "Language training"):
        assert study.pairs(found[one].conditions[-1]) == study.pairs(last)


def test_every_checkpoint_has_its_place(tmp_path):
    groups, (both, vision, language) = along_training(tmp_path)
    for experiment, modality, name in ((vision, "vision", "micro-dinov2"), (language, "language", "micro-llama")):
        steps = (0, *shipped_steps(name))
        assert [each["k"] for each in experiment["conditions"]] == list(steps)
        sources = [named(groups[modality][each[modality]][0]) for each in experiment["conditions"]]
        assert [model for model, _ in sources] == [*(f"{name}@{step}" for step in steps[:-1]), name]
        assert len({load_model(source, weights=False).fingerprint for _, source in sources}) == len(steps)
        other = {"vision": "language", "language": "vision"}[modality]
        assert len({each[other] for each in experiment["conditions"]}) == 1
    for modality in groups:
        own = [each[modality] for each in both["conditions"]]
        # Never backwards, from the first checkpoint to the last.
        assert own == sorted(own, key=list(groups[modality]).index)
        assert {own[0], own[-1]} == {list(groups[modality])[0], list(groups[modality])[-1]}
