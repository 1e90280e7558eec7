"""Finds a dataset by name: in a directory, prepared, or at its publisher."""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from vla.checks import POLICIES, WholeNumber, check_choice, check_names
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
# Downloads of whole datasets, which return the prepared folder, and of a sample, which is returned.
DOWNLOADS: dict[str, Callable[..., Any]] = {
    "coco_val2017": sources.coco_val2017,
    "flickr8k": sources.flickr8k,
    "pick_a_pic": pick_a_pic,
}
# Tables with any columns.
TABLES: dict[str, Callable[..., Dataset]] = {"hugging_face": read_hugging_face, "tfds": read_tfds}
NAMES = tuple(sorted({*READERS, *TABLES}))
# Passed by read_dataset itself.
NOT_OPTIONS = frozenset({"n", "seed", "missing_images", "data_dir", "source", "directory", "folder", "name"})
Directory = str | os.PathLike[str] | None


def read_dataset(
    name: str,
    directory: Directory = None,
    *,
    n: WholeNumber | str | None = None,
    seed: int = 42,
    data_dir: Directory = None,
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
    place; it may also be one that `prepare_dataset` returns.

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
    check_asked(name, directory, missing_images=missing_images, options=options)
    reader, store = _reader(name, directory), _data_dir(data_dir)
    if directory is not None and name in READERS and is_prepared(directory):
        _check_prepared(name, directory, options)
        dataset = sample(read_prepared(directory), n, seed)
    elif name in TABLES:
        more = {"data_dir": data_dir} if name == "tfds" else {}
        dataset = reader(directory, n=n, seed=seed, missing_images=missing_images, **more, **options)
    elif name == "pick_a_pic":
        dataset = reader(store if directory is None else directory, n=n, seed=seed, **options)
    elif directory is None:
        dataset = sample(read_prepared(reader(store, **options)), n, seed)
    else:
        dataset = sample(reader(directory, missing_images=missing_images, **options), n, seed)
    return dataclasses.replace(dataset, name=called) if called else dataset


def check_asked(
    name: str, directory: Directory = None, *, missing_images: str = "refuse", options: Iterable[str] = ()
) -> None:
    """Check the arguments of `read_dataset`, and the names of its options; nothing is read.

    Raises:
      ValueError: An unknown dataset or option, or a missing directory.
    """
    if name not in NAMES:
        raise ValueError(f"no dataset is called {name!r}; known are {', '.join(NAMES)}")
    check_choice("missing_images", missing_images, POLICIES)
    if directory is None and name not in DOWNLOADS:
        what = "the dataset's name there, or a directory" if name in TABLES else "the directory with its files"
        raise ValueError(f"{name} needs directory=: {what}")
    if directory is None or name in TABLES or not is_prepared(directory):
        known = set(inspect.signature(_reader(name, directory)).parameters) - NOT_OPTIONS
        check_names(name, options, known, "option")


def prepare_dataset(
    name: str,
    directory: Directory = None,
    *,
    data_dir: Directory = None,
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
      The folder to pass to `read_dataset`; its name has a hash of the content, so changed files are packed again.

    Raises:
      ValueError: As `read_dataset`.
    """
    if name in TABLES:
        raise ValueError(f"{name} keeps its own files; datasets that can be packed are {', '.join(sorted(READERS))}")
    if directory is None and name == "pick_a_pic":
        raise ValueError(f"{name} needs directory=: the directory with its files")
    check_asked(name, directory, missing_images=missing_images, options=options)
    if directory is None:
        return DOWNLOADS[name](_data_dir(data_dir), **options)
    from vla.stimuli.datasets.prepare import folder_config, prepare

    more = {} if name == "pick_a_pic" else {"missing_images": missing_images}
    dataset = READERS[name](directory, **more, **options)
    return prepare(name, folder_config(dataset), lambda: dataset, _data_dir(data_dir))


def _reader(name: str, directory: Directory) -> Callable[..., Any]:
    """The function that reads or downloads a dataset; its parameters are the options."""
    return DOWNLOADS[name] if directory is None and name in DOWNLOADS else {**READERS, **TABLES}[name]


def _data_dir(data_dir: Directory) -> Path:
    return default_data_dir() if data_dir is None else Path(data_dir).expanduser().absolute()


def _check_prepared(name: str, directory: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
    """Refuse a prepared dataset of another name, and options, which have no effect on it."""
    import tensorflow_datasets as tfds

    actual = tfds.builder_from_directory(str(Path(directory).expanduser())).name
    if actual != name:
        raise ValueError(f"{directory} ({MARK}) holds {actual}, not {name}")
    if options:
        raise ValueError(
            f"{', '.join(sorted(options))}: {directory} is already prepared. Give options when it is prepared, or "
            "name the directory of the original files"
        )
