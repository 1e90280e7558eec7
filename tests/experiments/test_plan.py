"""The plan in words: whether it fits, what cannot be run, durations."""

import dataclasses
import json
import re

import pytest

from tests.experiments import folders
from tests.experiments.test_estimates import TWO_CORES
from tests.models.hub_server import running
from vla.experiments import engine, estimates
from vla.experiments.estimates import Work
from vla.experiments.experiment import Condition
from vla.experiments.participants import refused_configs
from vla.experiments.plan import Line, Plan, duration, plan, plan_text
from vla.microworld.shipped import shipped

GIB = 2.0**30


def said(work, machine, **more):
    text = plan_text(Plan((Line("seer", "vision", 3, None, work),), "", "float32", **more), [machine])
    return " ".join(text.split())


def test_a_plan_in_words():
    work = Work(forward=164e9 * estimates.SHARE_EXTRACTION * 600, disk=2 * GIB, memory=32 * GIB, weights=GIB)
    text = plan_text(Plan((Line("seer", "vision", 3, None, work),), "nothing is here", "float32"), [TWO_CORES])
    words = " ".join(text.split())
    assert "Two cores: extraction 10 min, scoring 0 s, together 10 min; 32.0 GiB do not fit its 24 GiB" in words
    assert "checkpoints 1.0 GiB, activations 2.0 GiB. Peak memory: 32.0 GiB." in words
    assert "Nothing is here." in words and "Not included: downloading and reading checkpoints" in words
    assert "do not fit" not in said(work, dataclasses.replace(TWO_CORES, memory_gib=64.0))


def test_every_device_must_hold_its_copy_of_the_weights():
    eight = dataclasses.replace(TWO_CORES, devices=8, memory_gib=120.0)
    assert "do not fit" not in said(Work(memory=20 * GIB, each=14 * GIB), eight)
    words = said(Work(memory=30 * GIB, each=25 * GIB), eight)
    assert "weights of 25.0 GiB do not fit the 15.0 GiB of each device" in words
    # Halves of 12.5 GiB would leave no room for a batch.
    assert "use --config.tensor_parallel=4 or --config.stream=True" in words
    words = said(Work(memory=110 * GIB, each=100 * GIB), eight)
    assert "use --config.stream=True" in words and "tensor_parallel" not in words
    words = said(Work(memory=60 * GIB, each=25 * GIB), eight, tensor_parallel=2)
    assert "use --config.tensor_parallel=8" in words


def test_what_cannot_be_run_stands_below_with_what_helps(tmp_path):
    study = folders.study(tmp_path)
    conditions = (Condition("three", caption="average:k=3"), Condition("four", caption="average:k=4"))
    averaged = folders.experiment(id="E6", conditions=conditions, comparisons=())
    text = plan_text(plan(dataclasses.replace(study, experiments=(averaged,)), tmp_path / "run"), [TWO_CORES])
    line = next(line for line in text.splitlines() if line.strip().startswith("E6, three, four: "))
    assert (
        "no folder of paraphrases is set for coco" in line and "launch.generate --config=configs/paraphrases.py" in line
    )
    assert "not run: three, four" in text
    assert "cannot be run" not in plan_text(plan(study, tmp_path / "run"), [TWO_CORES])


def test_a_setting_of_one_experiments_metric_may_be_unknown_to_that_of_another(tmp_path):
    other = folders.experiment(id="other", metrics=("cka",))
    study = folders.study(
        tmp_path,
        experiments=(folders.experiment(), other),
        metrics=("linear_predictivity", "mutual_knn"),
        overrides={"neighbours": 5},
    )
    units = {line.name: line.units for line in plan(study, tmp_path / "run").lines if line.role == "experiment"}
    assert units == {"mine": 12, "other": 4}


def test_a_model_that_nobody_knows_has_those_that_are_spelt_like_it_beside_it(tmp_path):
    study = folders.study(tmp_path, vision={"core": ("facebook/dinov2-basee", "my/own", "facebook/dinov2-base")})
    notes = {line.name: line.note for line in plan(study, tmp_path / "run").lines if line.role == "vision"}
    assert notes["dinov2-basee"].startswith("not in the register, which has facebook/dinov2-base, ")
    assert notes["own"] == "not in the register: python -m launch.models lists it" and notes["dinov2-base"] == ""
    (saved,) = {line.note for line in plan(study, tmp_path / "run").lines if line.role == "language"}
    assert saved == "size unknown"


def test_models_that_are_refused_are_named_and_only_their_configs_are_fetched(tmp_path, monkeypatch):
    refused = {"owner/seer": {"model_type": "bert"}, "owner/reader": {"model_type": "llama", "per_layer_config": {}}}
    with running(monkeypatch, tmp_path / "cache") as hub:
        for name, config in refused.items():
            hub.repositories[name] = {"config.json": json.dumps(config).encode(), "model.safetensors": bytes(1 << 20)}
        study = folders.study(tmp_path, vision={"core": ("owner/seer",)}, language={"core": ("owner/reader",)})
        made = plan(study, tmp_path / "run")
        assert {line.name: line.note for line in made.lines if line.role != "experiment"} == {
            "seer": "refused, see below",
            "reader": "refused, see below",
        }
        text = plan_text(made, [TWO_CORES])
        assert "Models that are refused before their weights are downloaded:" in text
        assert "owner/seer: " in text and "model_type 'bert' is not supported" in text
        assert "--config.ignore_fields=per_layer_config" in text
        # A run refuses both at once.
        with pytest.raises(ValueError, match="(?s)owner/seer: .*'bert'.*owner/reader: .*per_layer_config"):
            engine.run(study, tmp_path / "run", show_progress=False)
        assert hub.fetched() == {"config.json"}


def test_a_clip_model_is_refused_by_its_config_before_its_weights_are_fetched(tmp_path, monkeypatch):
    config = json.loads((shipped("micro-clip") / "config.json").read_text())
    config["vision_config"]["is_causal"] = False
    study = folders.study(tmp_path)
    chosen = folders.experiment(conditions=(Condition("best", caption="best_by_clip"),), comparisons=())
    datasets = {"coco": dataclasses.replace(study.datasets["coco"], clip="owner/judge")}
    without = dataclasses.replace(study, datasets=datasets)
    study = dataclasses.replace(without, experiments=(chosen,))
    with running(monkeypatch, tmp_path / "cache") as hub:
        hub.repositories["owner/judge"] = {"config.json": json.dumps(config).encode(), "model.safetensors": bytes(9)}
        refused = "the CLIP model owner/judge: (?s:.*)--config.ignore_fields=vision_config.is_causal"
        (reason,) = plan(study, tmp_path / "run").refused
        assert re.search(refused, reason)
        with pytest.raises(ValueError, match=refused):
            engine.run(study, tmp_path / "run", show_progress=False)
        ignoring = dataclasses.replace(study, ignore_fields=("vision_config.is_causal",))
        assert not plan(ignoring, tmp_path / "run").refused
        assert not plan(without, tmp_path / "run").refused, "no condition needs it"
        assert hub.fetched() == {"config.json"}
    # Without a network, only its conditions are left out.
    gone = dataclasses.replace(datasets["coco"], clip="owner/gone")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refused_configs(dataclasses.replace(study, datasets={"coco": gone})) == {}


def test_fields_to_ignore_that_no_model_has_are_refused(tmp_path):
    study = folders.study(tmp_path, ignore_fields=("auto_map, auto_map",))
    assert study.ignore_fields == ("auto_map", "auto_map")
    for begin in (lambda: plan(study, tmp_path / "run"), lambda: engine.run(study, tmp_path / "run", False)):
        with pytest.raises(ValueError, match="ignore_fields names auto_map, which the config.json of no model has"):
            begin()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.2, "< 1 s"),
        (119.0, "119 s"),
        (121.0, "2 min"),
        (7199.0, "120 min"),
        (7300.0, "2 h"),
        (180e3, "2.1 d"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
