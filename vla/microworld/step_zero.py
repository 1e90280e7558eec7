"""A shipped model as it was before training, drawn again from its seed."""

import os
import shutil
from pathlib import Path

import numpy as np
from safetensors import safe_open

from vla.microworld.once import make_once
from vla.microworld.shipped import WEIGHTS, checkpoint_name, shipped, training_report
from vla.microworld.training.networks import untrained
from vla.microworld.training.saving import save_tensors, tensors_of
from vla.records import file_hash

_NOT_OF_A_CHECKPOINT = ("losses.csv", "losses.png", "model.safetensors", "training.json")


def write_step_zero(model: str, folder: str | os.PathLike[str], weights: Path = WEIGHTS) -> Path:
    """The model after no step, in Hugging Face layout as `folder/<model>-step0`, unless it is there.

    Args:
      model: One of `shipped_models()` but micro-clip.
      folder: Where it shall be.
      weights: Where the trained models are.

    Returns:
      The checkpoint's folder.

    Raises:
      ValueError: There is no such model; or the place holds something else.
    """
    source, seed = shipped(model, weights=weights), training_report(model, weights)["settings"]["seed"]
    if model == "micro-clip":
        raise ValueError("micro-clip is the judge of captions and has no step 0; expected one of the studied models")

    def fill(draft: Path) -> None:
        for file in source.iterdir():
            if file.name not in _NOT_OF_A_CHECKPOINT:
                shutil.copyfile(file, draft / file.name)
        tensors = tensors_of(untrained(draft, seed), model.removeprefix("micro-"))
        with safe_open(str(source / "model.safetensors"), framework="numpy") as trained:
            for name in trained.keys():
                # Of heads, which tell nothing before training, and of DINOv2's mask token.
                if name not in tensors:
                    tensors[name] = np.zeros(trained.get_slice(name).get_shape(), np.float32)
        save_tensors(draft, tensors)

    recipe = {"what": "untrained model", "model": model, "seed": seed, "config": file_hash(source / "config.json")}
    return make_once(Path(folder) / checkpoint_name(model, 0), recipe, fill)
