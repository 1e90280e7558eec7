"""Reads single records of array_record files through tfds.data_source, images left encoded."""

import functools
import os
import threading
from pathlib import Path
from typing import Any

_READING = threading.Lock()
_FORKED = False


def read_record(folder: Path, split: str, place: int, item: str) -> dict[str, Any]:
    """The record at `place` of a prepared dataset's split; image features as bytes of image files.

    Raises:
      ValueError: the files are gone or damaged; or the process was forked after a file was read.
    """
    if _FORKED:
        raise ValueError(
            f"item {item!r} cannot be read from {folder} here: this process was forked from one that had read such "
            "files, and their readers' threads do not survive that. Start processes with "
            'multiprocessing.get_context("spawn")'
        )
    try:
        # One at a time: readers open their files at their first use, which two threads must not share.
        with _READING:
            return _source(folder, split)[place]
    # The readers raise RuntimeError and kinds of their own, in C++ words.
    except Exception as error:
        raise ValueError(
            f"item {item!r} cannot be read from {folder}: {error}. Delete the folder and prepare the dataset anew"
        ) from error


@functools.lru_cache(maxsize=128)
def _source(folder: Path, split: str) -> Any:
    """The records of a split."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    features: Any = builder.info.features
    raw = {name: tfds.decode.SkipDecoding() for name, f in features.items() if isinstance(f, tfds.features.Image)}
    return builder.as_data_source(split=split, decoders=raw or None)


def _after_fork() -> None:
    """Remember that this process has readers that would wait for ever."""
    global _FORKED
    _FORKED = _FORKED or _source.cache_info().currsize > 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
