"""From what a part of the library refuses to the flags that a study takes for it."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from vla.experiments.study import MAIN, DatasetPlan, Study

# What `vla.stimuli` calls its arguments, as in `pass missing_images="drop"`.
_ARGUMENT = re.compile(r"\b(missing_images|missing_masks|missing_captions|missing|unmasked|ties)=[\"'](drop|keep)[\"']")
_OF_CHOICES = ("unmasked", "ties")
_OF_PLAN = ("missing_images", "missing")


def flags(message: str, plan: DatasetPlan, study: Study) -> str:
    """The flags that do what a message of `vla.stimuli` advises, as they are typed in a shell; "" where it names none.

    Of several alternatives, the one that leaves items out.
    """
    asked: dict[str, str] = {}
    for name, value in _ARGUMENT.findall(message):
        asked[name] = "drop" if "drop" in (value, asked.get(name)) else value
    advised = [study.flag(name, asked[name]) for name in _OF_CHOICES if name in asked]
    advised += [study.flag("long_captions", "truncate")] * ("pass truncate=True" in message)
    advised += [plan.flag(name, asked[name]) for name in _OF_PLAN if name in asked]
    options = {name: value for name, value in asked.items() if name not in (*_OF_CHOICES, *_OF_PLAN)}
    if plan.role == MAIN:  # whose options are settings of their own
        advised += [plan.flag(name, value) for name, value in options.items()]
    elif options:
        advised.append(f"--config.datasets.{plan.role}.options={quoted({**plan.options, **options})}")
    return " ".join(advised)


def finding(plan: DatasetPlan) -> str:
    """How to name a dataset that cannot be read, or fetch it."""
    flag = plan.flag("directory", "FOLDER")
    return f"{flag} names a folder that has it; without this flag it is fetched, which needs a network"


def masks(message: str, plan: DatasetPlan) -> str:
    """How masks of stuff are had that a message misses; "" where it misses none, or where the dataset has none."""
    if "COCO-Stuff's pixel maps" not in message or not plan.name.startswith("coco"):
        return ""
    folder = plan.directory or "the folder of the dataset"
    return (
        f"unpack COCO-Stuff's stuffthingmaps_trainval2017.zip into {folder}, which then has stuffthingmaps/val2017 "
        "(third_party/datasets.toml says where it is published), and run again"
    )


def making(what: str, plan: DatasetPlan, seed: int) -> str:
    """The command that makes paraphrases or synthetic images of a dataset, and the flag that then names them.

    Args:
      what: "paraphrases" or "synthetic_images", as the file in `configs` is called.
      plan: The dataset.
      seed: Of its sample.
    """
    usual = {"directory": None, "missing_images": "refuse", "data_dir": None}
    given = {"dataset": plan.name, "directory": plan.directory, "n_items": plan.n_items, "seed": seed}
    given |= {"missing_images": plan.missing_images, "data_dir": plan.data_dir}
    words = [f"--config.{name}={shlex.quote(str(value))}" for name, value in given.items()
             if name not in usual or value != usual[name]]  # fmt: skip
    words += [f"--config.options={quoted(plan.options)}"] if plan.options else []
    setting = "synthetic" if what == "synthetic_images" else what
    return (
        f"python -m launch.generate --config=configs/{what}.py {' '.join(words)}, then add "
        f"{plan.flag(setting, 'FOLDER')}, which it names at its end"
    )


def quoted(options: Mapping[str, Any]) -> str:
    """Options of a reader as the value of a flag in a shell."""
    text = "{" + ",".join(f"{name!r}:{value!r}" for name, value in options.items()) + "}"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
