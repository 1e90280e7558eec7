"""Remedies of errors become flags that a shell and the config take as they are typed."""

import shlex
import subprocess
from pathlib import Path
from unittest import mock

import pytest
from absl import flags
from ml_collections import ConfigDict

from launch import entry
from tests.config_values import config_values
from vla import paper
from vla.checks import RemediableError, refuse_absent
from vla.experiments import gallery
from vla.experiments.study import DatasetPlan
from vla.records import Dataset, Item
from vla.stimuli.datasets.register import published
from vla.stimuli.views import view

ROOT = Path(__file__).parents[2]
PLAN = DatasetPlan("coco", "coco_val2017", "my coco", options={"masks": "auto"})


STUDY = paper.study(config_values(f"{ROOT / 'configs/paper.py'}:E2", []))


def parsed(line):
    """The values that these flags give `configs/paper.py`, by the shell's rules and those of `--config`."""
    return config_values(f"{ROOT / 'configs/paper.py'}:E2", shlex.split(line))


def test_masks_of_stuff_are_had_from_cocos_own_archive():
    dataset = Dataset("coco", (Item("1", Path("1.jpg"), ("a dog",)),))
    with pytest.raises(RemediableError) as refused:
        view(dataset, "vision", "stuff_only")
    helps = gallery.how_to_get_masks(refused.value.remedy, PLAN)
    assert "stuffthingmaps_trainval2017.zip into my coco, " in helps
    assert "stuffthingmaps_trainval2017.zip" in published("coco_val2017").files
    other = DatasetPlan("coco", "flickr8k")
    assert gallery.how_to_get_masks({}, PLAN) == "" == gallery.how_to_get_masks(refused.value.remedy, other)


def test_captions_too_long_for_clip_may_be_truncated():
    line = gallery.flags({"truncate": True}, PLAN, STUDY)
    assert line == "--config.choices.long_captions=truncate"
    assert paper.study(parsed(line)).choices.long_captions == "truncate"


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("missing_masks", "--config.datasets.coco.options=\"{'masks':'auto','missing_masks':'drop'}\""),
        ("missing_images", "--config.datasets.coco.missing_images=drop"),
        ("missing_captions", "--config.datasets.coco.options=\"{'masks':'auto','missing_captions':'drop'}\""),
        ("missing", "--config.datasets.coco.missing=drop"),
        ("unmasked", "--config.choices.unmasked=drop"),
        ("ties", "--config.choices.ties=drop"),
    ],
)
def test_a_refusal_becomes_a_flag_that_the_study_takes(setting, line):
    with pytest.raises(ValueError) as refused:
        refuse_absent(setting, "refuse", ["007"], "items lack something", f'Pass {setting}="keep"')
    assert gallery.flags(refused.value.remedy, PLAN, STUDY) == line
    study = paper.study(parsed(f"--config.datasets.coco.directory='my coco' {line}"))
    where = study.choices if setting in ("unmasked", "ties") else study.datasets["coco"]
    options = study.datasets["coco"].options
    assert getattr(where, setting, None) == "drop" or options == {"masks": "auto", setting: "drop"}


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("missing_images", "--config.data.missing_images=drop"),
        ("missing_captions", "--config.data.missing_captions=drop"),
        ("unmasked", "--config.settings.unmasked=drop"),
    ],
)
def test_a_study_of_one_dataset_is_advised_in_the_words_of_its_config(setting, line):
    flags = ["--config.data.path=x", "--config.vision=a", "--config.language=b"]
    config = ROOT / "configs/captioned_folder.py"
    study = paper.study(config_values(config, flags))
    with pytest.raises(ValueError) as refused:
        refuse_absent(setting, "refuse", ["007"], "items lack something", f'Pass {setting}="keep"')
    assert gallery.flags(refused.value.remedy, study.datasets["main"], study) == line
    changed = paper.study(config_values(config, [*flags, *shlex.split(line)]))
    values = {**vars(changed.choices), **vars(changed.datasets["main"]), **changed.datasets["main"].options}
    assert values[setting] == "drop"


def test_no_remedy_gives_no_flag():
    assert gallery.flags({}, PLAN, STUDY) == "" == gallery.flags({"masks": "stuff"}, PLAN, STUDY)


def test_a_script_adds_the_flag_of_its_own_config(monkeypatch, capsys):
    """Where the setting is, at the top or in a group."""
    config = ConfigDict({"missing_images": "refuse", "score": {"truncate": False}})
    with mock.patch.object(flags, "FLAGS", {"config": mock.Mock(value=config)}):
        assert entry.remedy_flags({"missing_images": "drop"}) == "--config.missing_images=drop"
        assert entry.remedy_flags({"truncate": True}) == "--config.score.truncate=True"
        assert entry.remedy_flags({"masks": "stuff"}) == "" == entry.remedy_flags({})


def test_the_command_that_makes_paraphrases_reads_the_same_items():
    told = gallery.how_to_generate("paraphrases", PLAN, 7)
    command, flag = told.split(", then add ")
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "launch.generate", "--config=configs/paraphrases.py"]
    assert words[4:] == ["--config.dataset=coco_val2017", "--config.directory=my coco", "--config.n_items=1000",
                         "--config.seed=7", "--config.options={'masks':'auto'}"]  # fmt: skip
    assert flag.startswith("--config.datasets.coco.paraphrases=FOLDER")
    assert "--config.datasets.coco.synthetic=FOLDER" in gallery.how_to_generate("synthetic", PLAN, 7)


def test_quotes_and_dollars_survive_a_shell():
    line = "printf %s " + gallery.quoted({"text": 'a "b" $HOME `c`'})
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert said == "{'text':'a \"b\" $HOME `c`'}"
