"""What a study advises are flags that a shell and the config take as they are typed."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.config_values import config_values
from vla import paper
from vla.experiments import advice
from vla.experiments.study import DatasetPlan
from vla.stimuli.datasets.absences import refuse_absent
from vla.stimuli.datasets.register import published

ROOT = Path(__file__).parents[2]
PLAN = DatasetPlan("coco", "coco_val2017", "my coco", options={"masks": "auto"})


STUDY = paper.study(config_values(f"{ROOT / 'configs/paper.py'}:E2", []))


def parsed(line):
    """The values that these flags give `configs/paper.py`, by the shell's rules and those of `--config`."""
    return config_values(f"{ROOT / 'configs/paper.py'}:E2", shlex.split(line))


def test_masks_of_stuff_are_had_from_cocos_own_archive():
    said = "9 items have no mask of stuff. Stuff is known from COCO-Stuff's pixel maps (stuffthingmaps) alone"
    helps = advice.masks(said, PLAN)
    assert "stuffthingmaps_trainval2017.zip into my coco, " in helps
    assert "stuffthingmaps_trainval2017.zip" in published("coco_val2017").files
    assert advice.masks("something else", PLAN) == "" == advice.masks(said, DatasetPlan("coco", "flickr8k"))


def test_captions_too_long_for_clip_may_be_truncated():
    line = advice.flags("caption 0 has 79 tokens; shorten it. Or pass truncate=True to have texts cut off", PLAN, STUDY)
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
    assert advice.flags(str(refused.value), PLAN, STUDY) == line
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
    assert advice.flags(str(refused.value), study.datasets["main"], study) == line
    changed = paper.study(config_values(config, [*flags, *shlex.split(line)]))
    values = {**vars(changed.choices), **vars(changed.datasets["main"]), **changed.datasets["main"].options}
    assert values[setting] == "drop"


def test_what_names_no_argument_gives_no_flag():
    assert advice.flags("coco is not a folder", PLAN, STUDY) == ""


def test_the_command_that_makes_paraphrases_reads_the_same_items():
    told = advice.making("paraphrases", PLAN, 7)
    command, flag = told.split(", then add ")
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "launch.generate", "--config=configs/paraphrases.py"]
    assert words[4:] == ["--config.dataset=coco_val2017", "--config.directory=my coco", "--config.n_items=1000",
                         "--config.seed=7", "--config.options={'masks':'auto'}"]  # fmt: skip
    assert flag.startswith("--config.datasets.coco.paraphrases=FOLDER")
    assert "--config.datasets.coco.synthetic=FOLDER" in advice.making("synthetic_images", PLAN, 7)


def test_quotes_and_dollars_survive_a_shell():
    line = "printf %s " + advice.quoted({"text": 'a "b" $HOME `c`'})
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert said == "{'text':'a \"b\" $HOME `c`'}"
