"""Names: a model's name and source, the model of a checkpoint, the layer that stands for a model."""

import os
import re
from collections.abc import Iterable, Sequence


def name_and_source(model: str) -> tuple[str, str]:
    """Name and source of a model as a study lists it: "name=source", or a source alone, called by its last part.

    A source alone may be a folder with "=" in its path.
    """
    name, sign, source = model.partition("=")
    if sign and name and "/" not in name and not os.path.exists(model):
        return name, source
    return os.path.basename(os.path.abspath(model)), model


def base_name(name: str) -> str:
    """The name without the step of training: "model@30" is the checkpoint of "model" after 30 steps."""
    return name.partition("@")[0]


def field_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names of fields, from a sequence or from text with commas, such as `a,b` on the command line."""
    parts = (names,) if isinstance(names, str) else tuple(names)
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"ignore_fields={names!r}; expected names of fields, such as auto_map")
    return tuple(name.strip() for part in parts for name in part.split(",") if name.strip())


def penultimate(layers: Sequence[str]) -> str:
    """The block before the last, by number; without two blocks the layer before the last; of one layer that layer."""
    blocks = sorted((int(match[1]), layer) for layer in layers if (match := re.fullmatch(r"block_(\d+)", layer)))
    return blocks[-2][1] if len(blocks) > 1 else layers[max(0, len(layers) - 2)]
