"""Finds a dataset by name: in a directory, prepared, or at its publisher."""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vla.checks import POLICIES, check_choice, check_names
from vla.records import Dataset
from vla.stimuli.datasets import sources
from vla.stimuli.datasets.captioned_folder import read_captioned_folder
from vla.stimuli.datasets.coco import read_coco_directory
from vla.stimuli.datasets.flickr8k import read_flickr8k
from vla.stimuli.datasets.hugging_face import read_hugging_face
from vla.stimuli.datasets.pick_a_pic import read_pick_a_pic
from vla.stimuli.datasets.pick_a_pic_shards import pick_a_pic
from vla.stimuli.datasets.prepared import read_prepared
from vla.stimuli.datasets.register import MARK, default_data_dir, is_prepared
from vla.stimuli.datasets.tfds_table import read_tfds
from vla.stimuli.draws import sample

# Readers of a directory.
READERS: dict[str, Callable[..., Dataset]] = {
    "captioned_folder": read_captioned_folder,
    "coco_val2017": read_coco_directory,
    "flickr8k": read_flickr8k,
    "pick_a_pic": read_pick_a_pic,
}
# Downloads of whole datasets; each returns the prepared folder.
ARCHIVES: dict[str, Callable[..., Path]] = {"coco_val2017": sources.coco_val2017, "flickr8k": sources.flickr8k}
# Tables with any columns.
TABLES: dict[str, Callable[..., Dataset]] = {"hugging_face": read_hugging_face, "tfds": read_tfds}
NAMES = tuple(sorted({*READERS, *TABLES}))
# Passed by read_dataset itself.
OWN = frozenset({"n", "seed", "missing_images", "data_dir", "source", "directory", "folder", "name"})


def read_dataset(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    n: Any = None,
    seed: int = 42,
    data_dir: str | os.PathLike[str] | None = None,
    missing_images: str = "refuse",
    called: str = "",
    **options: Any,
) -> Dataset:
    """The items of a dataset; images are read when they are opened.

    | name | without a directory | options |
    |---|---|---|
    | `captioned_folder` | | as of `read_captioned_folder` |
    | `coco_val2017` | fetches 1 to 1.7 GB | `masks`; of a directory as of `read_coco_directory` |
    | `flickr8k` | fetches 1.1 GB | of a directory as of `read_flickr8k` |
    | `pick_a_pic` | fetches shards of 500 MB | as of `pick_a_pic`; of a directory as of `read_pick_a_pic` |
    | `hugging_face` | | `image`, `text`, ... as of `read_hugging_face` |
    | `tfds` | | `image`, `text`, ... as of `read_tfds` |

    Downloads are verified, packed as array_record files under `data_dir`, and read from there. A directory is read in
    place; it may also be one that `prepare_dataset` made.

    Args:
      name: One of the above.
      directory: The files of the dataset in their published layout; for `hugging_face` and `tfds`, a directory or the
        name of a dataset.
      n: Number of items to draw; None or "all" for all.
      seed: Seed of the sample (see `vla.stimuli.sample`).
      data_dir: The folder of downloaded datasets; None for `~/.cache/vla/datasets`.
      missing_images: For items without an image: "refuse", or "drop" to record their ids in `Dataset.dropped`.
      called: Name of the dataset in file names and tables; "" for its own name.
      **options: Options of the reader.

    Raises:
      ValueError: An unknown dataset or option; or as the reader.
    """
    _check_name(name)
    check_choice("missing_images", missing_images, POLICIES)
    dataset = _found(name, directory, n, seed, data_dir, missing_images, options)
    return dataclasses.replace(dataset, name=called) if called else dataset


def check_asked(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    missing_images: str = "refuse",
    options: Iterable[str] = (),
) -> None:
    """Check the arguments of `read_dataset`; nothing is read.

    Args:
      name: As of `read_dataset`.
      directory: As of `read_dataset`.
      missing_images: As of `read_dataset`.
      options: Names of the reader's options.

    Raises:
      ValueError: An unknown dataset or option, or a missing directory.
    """
    _check_name(name)
    check_choice("missing_images", missing_images, POLICIES)
    if directory is None and name not in (*ARCHIVES, "pick_a_pic"):
        _given(name, directory)
    if directory is None or not is_prepared(directory):
        _check_options(name, _reader(name, directory), options)


def prepare_dataset(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    missing_images: str = "refuse",
    **options: Any,
) -> Path:
    """Pack a dataset into a few array_record files, for file systems that are slow with many small files.

    Args:
      name: `captioned_folder`, `coco_val2017`, `flickr8k` or `pick_a_pic`.
      directory: The files of the dataset; None downloads `coco_val2017` and `flickr8k`.
      data_dir: As of `read_dataset`.
      missing_images: As of `read_dataset`.
      **options: Options of the reader.

    Returns:
      The folder to pass to `read_dataset` as `directory`. Its name contains a hash of the content, so changed files are
      packed again.

    Raises:
      ValueError: As `read_dataset`.
    """
    _check_name(name)
    store = _data_dir(data_dir)
    if name in TABLES:
        raise ValueError(f"{name} keeps its own files; datasets that can be packed are {', '.join(sorted(READERS))}")
    if directory is None and name in ARCHIVES:
        _check_options(name, ARCHIVES[name], options)
        return ARCHIVES[name](store, **options)
    from vla.stimuli.datasets.prepare import folder_config, prepare

    dataset = _read(name, _given(name, directory), missing_images, options)
    return prepare(name, folder_config(dataset), lambda: dataset, store)


def _found(
    name: str,
    directory: str | os.PathLike[str] | None,
    n: Any,
    seed: int,
    data_dir: str | os.PathLike[str] | None,
    missing_images: str,
    options: dict[str, Any],
) -> Dataset:
    """The sample, from a directory, a prepared folder or a download."""
    reader = _reader(name, directory)
    if name in TABLES:
        _check_options(name, reader, options)
        kept = {"data_dir": data_dir} if name == "tfds" else {}
        return reader(_given(name, directory), n=n, seed=seed, missing_images=missing_images, **kept, **options)
    if directory is not None and is_prepared(directory):
        _check_prepared(name, directory, options)
        return sample(read_prepared(directory), n, seed)
    if name == "pick_a_pic":
        _check_options(name, reader, options)
        return reader(_data_dir(data_dir) if directory is None else directory, n=n, seed=seed, **options)
    if directory is None and name in ARCHIVES:
        _check_options(name, reader, options)
        return sample(read_prepared(reader(_data_dir(data_dir), **options)), n, seed)
    return sample(_read(name, _given(name, directory), missing_images, options), n, seed)


def _reader(name: str, directory: str | os.PathLike[str] | None) -> Callable[..., Any]:
    """The function that reads or downloads a dataset; its parameters are the options."""
    if name in TABLES:
        return TABLES[name]
    if directory is None:
        return pick_a_pic if name == "pick_a_pic" else ARCHIVES.get(name, READERS[name])
    return READERS[name]


def _read(name: str, directory: str | os.PathLike[str], missing_images: str, options: dict[str, Any]) -> Dataset:
    """All items of a directory."""
    reader = READERS[name]
    _check_options(name, reader, options)
    kept = {} if name == "pick_a_pic" else {"missing_images": missing_images}
    return reader(directory, **kept, **options)


def _data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    return default_data_dir() if data_dir is None else Path(data_dir).expanduser().absolute()


def _given(name: str, directory: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    """The directory, which this dataset requires."""
    if directory is None:
        what = "the dataset's name there, or a directory" if name in TABLES else "the directory with its files"
        raise ValueError(f"{name} needs directory=: {what}")
    return directory


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"no dataset is called {name!r}; known are {', '.join(NAMES)}")


def _check_prepared(name: str, directory: str | os.PathLike[str], options: dict[str, Any]) -> None:
    """Refuse a prepared dataset of another name, and options, which have no effect on it."""
    import tensorflow_datasets as tfds

    found = tfds.builder_from_directory(str(Path(directory).expanduser())).name
    if found != name:
        raise ValueError(f"{directory} ({MARK}) holds {found}, not {name}")
    if options:
        raise ValueError(
            f"{', '.join(sorted(options))}: {directory} is already prepared. Give options when it is prepared, or "
            "name the directory of the original files"
        )


def _check_options(name: str, reader: Callable[..., Any], options: Iterable[str]) -> None:
    """Refuse options that the reader does not have."""
    taken = inspect.signature(reader).parameters
    check_names(name, options, set(taken) - OWN, "option")
