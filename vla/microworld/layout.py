"""Lays a world out in a folder, with models to look at it, as the datasets and models of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla.microworld.checkpoints import write_untrained_checkpoints
from vla.microworld.shipped import shipped
from vla.microworld.world_folder import write_world
from vla.stimuli import read_dataset

MODELS = ("trained", "untrained")


def laid_out(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a study's config with the world's folders and models filled in.

    Args:
      config: Values of a study; `microworld` says how many scenes (`n`), which (`seed`), how many `renderings` of each,
        how many `paraphrases`, and which `models` look where none are named: the four "trained" ones that come with
        the package, with their judge of captions, or two "untrained" ones of each kind.
      folder: Where the world shall be; what is there already is used again.

    Raises:
      ValueError: As `write_world`; `models` is something else.
    """
    values = {**config}
    asked = values.pop("microworld")
    if asked["models"] not in MODELS:
        raise ValueError(f"microworld.models={asked['models']!r}; expected one of {', '.join(MODELS)}")
    n, seed = asked["n"], asked["seed"]
    world = write_world(
        folder / f"world-{n}-{seed}", n, seed, renderings=asked["renderings"], paraphrases=asked["paraphrases"]
    )
    directories = {"coco": world.coco, "pick_a_pic": world.pick_a_pic}
    datasets = {role: {**given, "tagger": str(world.tagger)} for role, given in values["datasets"].items()}
    for role, directory in directories.items():
        if directory is not None:
            datasets[role]["directory"] = str(directory)
    datasets["coco"]["paraphrases"] = str(world.paraphrases)
    datasets["coco"]["synthetic"] = "" if world.synthetic is None else str(world.synthetic)
    values["datasets"] = datasets
    if not values["vision"]["core"] or not values["language"]["core"]:
        if asked["models"] == "trained":
            values["vision"] = {"core": tuple(str(shipped(name)) for name in ("micro-dinov2", "micro-vit"))}
            values["language"] = {"core": tuple(str(shipped(name)) for name in ("micro-llama", "micro-bloom"))}
            datasets["coco"]["clip"] = datasets["coco"]["clip"] or str(shipped("micro-clip"))
        else:
            values["vision"], values["language"] = _untrained(world.coco, folder / f"models-{n}-{seed}")
    return values


def _untrained(coco: Path, folder: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    captions = [caption for item in read_dataset("coco_val2017", coco).items for caption in item.captions]
    made = [write_untrained_checkpoints(folder / str(seed), captions, seed) for seed in (1, 2)]
    vision = tuple(f"untrained-dinov2-{i}={one.vision}" for i, one in enumerate(made, 1))
    language = tuple(f"untrained-llama-{i}={one.language}" for i, one in enumerate(made, 1))
    return {"core": vision}, {"core": language}
