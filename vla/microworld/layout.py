"""Lays a world out in a folder, with models to look at it, as the datasets and models of a study."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla import progress
from vla.microworld.along_training import along_training, untrained
from vla.microworld.shipped import shipped
from vla.microworld.step_zero import write_step_zero
from vla.microworld.world_folder import write_world

MODELS = ("trained", "untrained")
STUDIED = {"vision": ("micro-dinov2", "micro-vit"), "language": ("micro-llama", "micro-bloom")}
JUDGE = "micro-clip"

# Seconds of the study of a world, fixed and by scene, as two cores take them: its display has them until it is planned.
_EXPECTED = {"extracting": (10.0, 0.08), "scoring": (25.0, 0.03), "writing tables": (5.0, 0.0), "drawing": (12.0, 0.0)}


def laid_out(config: Mapping[str, Any], folder: Path, show_progress: bool = False) -> dict[str, Any]:
    """The values of a study's config with the world's folders and models filled in.

    Args:
      config: Values of a study; `microworld` says how many scenes (`n`), which (`seed`), how many `renderings` of each,
        how many `paraphrases`, and which `models` look where none are named: the four "trained" ones that come with
        the package, or the same "untrained". With `training` the trained ones are also compared with what they were
        before and on the way. The judge of captions, where none is named, is the one that comes with the package.
      folder: Where the world shall be; what is there already is used again.
      show_progress: Show a bar with the time left while it is drawn.

    Raises:
      ValueError: As `write_world`; `models` is something else.
    """
    values = {**config}
    asked = values.pop("microworld")
    if asked["models"] not in MODELS:
        raise ValueError(f"microworld.models={asked['models']!r}; expected one of {', '.join(MODELS)}")
    n, seed = asked["n"], asked["seed"]
    progress.expect({stage: fixed + each * n for stage, (fixed, each) in _EXPECTED.items()})
    world = write_world(
        folder / f"world-{n}-{seed}",
        n,
        seed,
        renderings=asked["renderings"],
        paraphrases=asked["paraphrases"],
        show_progress=show_progress,
    )
    directories = {"coco": world.coco, "pick_a_pic": world.pick_a_pic}
    datasets = {role: {**given, "tagger": str(world.tagger)} for role, given in values["datasets"].items()}
    for role, directory in directories.items():
        if directory is not None:
            datasets[role]["directory"] = str(directory)
    datasets["coco"]["paraphrases"] = str(world.paraphrases)
    datasets["coco"]["synthetic"] = "" if world.synthetic is None else str(world.synthetic)
    values["datasets"] = datasets
    datasets["coco"]["clip"] = datasets["coco"]["clip"] or str(shipped(JUDGE))
    _look(values, asked, folder / "models")
    return values


def _look(values: dict[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    """Fill in models where none are named, and if none are at all the experiments on their training."""
    trained = asked["models"] == "trained"
    place = shipped if trained else functools.partial(write_step_zero, folder=folder)
    own = {modality: tuple(str(place(name)) for name in names) for modality, names in STUDIED.items()
           if not values[modality]["core"]}  # fmt: skip
    groups = {modality: {**values[modality], "core": models} for modality, models in own.items()}
    if asked["training"] and trained and set(own) == set(STUDIED):
        more, compared = untrained(STUDIED, folder)
        along, followed = along_training(folder)
        groups = {modality: {**given, **more[modality], **along[modality]} for modality, given in groups.items()}
        values["own_experiments"] = (*values["own_experiments"], compared, *followed)
    values.update(groups)
