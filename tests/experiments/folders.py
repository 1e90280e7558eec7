"""A small captioned folder, and activations of it as other software would save them: fast studies without a network."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from vla.experiments.choices import Choices
from vla.experiments.experiment import Comparison, Condition, Experiment
from vla.experiments.study import DatasetPlan, Study

ITEMS, WIDTH = 40, 12


def write_folder(folder: Path, items: int = ITEMS) -> Path:
    """Pictures of one pixel's size with two captions each."""
    (folder / "Images").mkdir(parents=True)
    lines = ["image,caption"]
    for i in range(items):
        colour = tuple(int(c) for c in np.random.default_rng(i).integers(0, 255, 3))
        Image.new("RGB", (4, 4), colour).save(folder / "Images" / f"{i:03d}.png")
        lines += [f"{i:03d}.png,thing number {i} lies here", f"{i:03d}.png,here lies the thing {i}"]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_models(folder: Path, noise: dict[str, float], seed: int = 0, items: int = ITEMS) -> dict[str, list[str]]:
    """Two vision and two language models whose activations share a signal.

    Args:
      folder: Where the files go.
      noise: Of each view of vision, by its name: the more, the lower the alignment.
      seed: Of everything.
      items: How many.
    """
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((items, 4))
    ids = np.array([f"{i:03d}" for i in range(items)])
    found: dict[str, list[str]] = {"vision": [], "language": []}
    for modality, views in (("vision", noise), ("language", {"original": 0.5})):
        for model in (f"{modality}_a", f"{modality}_b"):
            (folder / model).mkdir(parents=True)
            mix = rng.standard_normal((3, 4, WIDTH))
            for view, amount in views.items():
                values = signal @ mix + amount * rng.standard_normal((3, items, WIDTH))
                np.savez(folder / model / f"{view}.npz", activations=values.astype(np.float32), items=ids,
                         layers=np.array(["block_1", "block_2", "block_3"]))  # fmt: skip
            found[modality].append(str(folder / model / "{view}.npz"))
    return found


def experiment(**changes) -> Experiment:
    """Original against grayscale images."""
    conditions = (Condition("original", part="images"), Condition("grey", image="grayscale", part="images"))
    fields = {"id": "mine", "title": "Mine", "question": "Does grey matter?", "conditions": conditions,
              "comparisons": (Comparison("grey", "original", "grey"),)}  # fmt: skip
    return Experiment(**{**fields, **changes})


def study(where: Path, **changes) -> Study:
    """The experiment on folder and models, which are written unless they are there."""
    if not (where / "data").exists():
        write_folder(where / "data")
        write_models(where / "models", {"original": 0.5, "grayscale": 3.0})
    models = {modality: tuple(str(where / "models" / f"{modality}_{x}" / "{view}.npz") for x in "ab")
              for modality in ("vision", "language")}  # fmt: skip
    plan = DatasetPlan("coco", "captioned_folder", str(where / "data"), n_items=0)
    fields = {
        "experiments": (experiment(),),
        "datasets": {"coco": plan},
        "vision": {"core": models["vision"]},
        "language": {"core": models["language"]},
        "choices": Choices(human_captions=2),
        "null": 2,
    }
    return Study(**{**fields, **changes})


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_run(workdir: Path) -> dict:
    """run.json."""
    return json.loads((workdir / "run.json").read_text())
