"""Reads the dataset that a config names."""

from collections.abc import Mapping
from typing import Any

from vla.records import Dataset
from vla.stimuli import read_dataset


def read(config: Mapping[str, Any]) -> Dataset:
    """The sampled items of a dataset.

    Args:
      config: `dataset`, `directory`, `n_items` (0 for all), `seed`, `data_dir`, `missing_images`, and `options`, a
        dictionary for the dataset's reader or None.

    Raises:
      ValueError: As `vla.stimuli.read_dataset`.
    """
    return read_dataset(
        config["dataset"],
        config["directory"],
        n=config["n_items"] or None,
        seed=config["seed"],
        data_dir=config["data_dir"],
        missing_images=config["missing_images"],
        **(config["options"] or {}),
    )
