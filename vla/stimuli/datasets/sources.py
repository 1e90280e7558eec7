"""Downloads the datasets that are published as archives."""

import shutil
from collections.abc import Callable
from pathlib import Path

from vla.checks import check_choice
from vla.records import Dataset
from vla.stimuli.archives import extract
from vla.stimuli.datasets.coco import MASKS, read_coco
from vla.stimuli.datasets.flickr8k import read_flickr8k
from vla.stimuli.datasets.register import published
from vla.stimuli.downloads import fetch

ANNOTATIONS, IMAGES, PIXEL_MAPS = "annotations_trainval2017.zip", "val2017.zip", "stuffthingmaps_trainval2017.zip"


def coco_val2017(data_dir: Path, masks: str = "pixel_maps") -> Path:
    """The folder of MS-COCO val2017 as a prepared dataset, downloaded if it is not there.

    The download is about 1 GB, with COCO-Stuff's pixel maps 1.7 GB. The archives stay in `data_dir/downloads` and may
    be deleted. Masks are "pixel_maps" or "auto" (COCO-Stuff's: things and stuff), "instances" (things only) or "none".

    Raises:
      ValueError: As `fetch`, `extract` and `read_coco`.
    """
    check_choice("masks", masks, MASKS)
    masks = "pixel_maps" if masks == "auto" else masks

    def read(unpack: Callable[..., Path]) -> Dataset:
        annotations = unpack(
            ANNOTATIONS, lambda name: name.endswith(("/captions_val2017.json", "/instances_val2017.json"))
        )
        maps = unpack(PIXEL_MAPS, lambda name: "val2017/" in name) if masks == "pixel_maps" else None
        return read_coco(
            unpack(IMAGES) / "val2017",
            annotations / "annotations" / "captions_val2017.json",
            annotations / "annotations" / "instances_val2017.json" if masks == "instances" else None,
            maps / "val2017" if maps else None,
            name="coco_val2017",
        )

    return _prepared("coco_val2017", masks, read, data_dir)


def flickr8k(data_dir: Path) -> Path:
    """The folder of Flickr8k in its original form as a prepared dataset, downloaded (1.1 GB) if it is not there."""

    def read(unpack: Callable[..., Path]) -> Dataset:
        images = unpack("Flickr8k_Dataset.zip", lambda name: not name.startswith("__MACOSX/"))
        texts = unpack("Flickr8k_text.zip", lambda name: not name.startswith("__MACOSX/"))
        # The name of the folder of images depends on who packed it.
        return read_flickr8k(images, texts / "Flickr8k.token.txt")

    return _prepared("flickr8k", "original", read, data_dir)


def _prepared(name: str, config: str, read: Callable[[Callable[..., Path]], Dataset], data_dir: Path) -> Path:
    """A prepared dataset; `read` gets a function that downloads and unpacks an archive by its name."""
    from vla.stimuli.datasets.prepare import prepare

    downloads = data_dir / "downloads" / name
    files = published(name).files
    # One folder per config: another process may be packing another config.
    unpacked = downloads / f"unpacked-{config}"

    def unpack(archive: str, wanted: Callable[[str], bool] | None = None) -> Path:
        file = files[archive]
        path = fetch(file.url, downloads / file.name, sha256=file.sha256, md5=file.md5, size=file.bytes)
        return extract(path, unpacked / Path(archive).stem, wanted=wanted)

    folder = prepare(name, config, lambda: read(unpack), data_dir)
    # The archives can be unpacked again; without this, images are on the disk three times.
    shutil.rmtree(unpacked, ignore_errors=True)
    return folder
