"""Whole datasets fetched from a publisher on this machine, in the archives' published layouts."""

import hashlib
import io
import zipfile

import numpy as np
import pytest

from tests.stimuli.datasets.published import coco_instance, jpeg, write_coco, write_flickr8k_original
from tests.stimuli.servers import Site, serving
from vla.stimuli import read_dataset
from vla.stimuli.datasets import register, sources


def zipped(root, *folders, extra=()):
    """A zip of some folders of `root`, each as an archive's top."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for folder in folders:
            base = root / folder
            for path in sorted(base.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(base.parent))
        for name in extra:
            archive.writestr(name, b"rubbish")
    return data.getvalue()


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """Serves archives under the names in the register, with the checksums they have here."""
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(Site({})) as site:

        def publish(id, archives):
            entry = register.published(id)
            site.files |= {f"/{name}": data for name, data in archives.items()}
            files = {
                name: register.PublishedFile(name, f"{site.url}/{name}", sha256=hashlib.sha256(data).hexdigest())
                for name, data in archives.items()
            }
            assert set(files) == set(entry.files)
            changed = register.Published(**{**vars(entry), "files": files})
            monkeypatch.setattr(sources, "published", lambda _: changed)
            return site

        yield publish


@pytest.fixture
def coco(tmp_path, publisher):
    root, maps = tmp_path / "coco", {1: np.full((6, 8), 17), 2: np.full((6, 8), 120)}
    write_coco(root, [(2, "two"), (1, "one ")], [coco_instance(1, 1, 18, [[1, 1, 6, 1, 6, 4, 1, 4]])], maps)
    (root / "stuffthingmaps" / "train2017").mkdir()
    (root / "stuffthingmaps" / "train2017" / "000000000009.png").write_bytes(b"not wanted")
    archives = {
        "val2017.zip": zipped(root, "val2017"),
        "annotations_trainval2017.zip": zipped(root, "annotations", extra=["annotations/captions_train2017.json"]),
        "stuffthingmaps_trainval2017.zip": zipped(root, "stuffthingmaps/val2017", "stuffthingmaps/train2017"),
    }
    return publisher("coco_val2017", archives)


def test_coco_is_fetched_once_with_things_and_stuff(coco, tmp_path):
    data = tmp_path / "data"
    dataset = read_dataset("coco_val2017", data_dir=data)
    assert dataset.ids == ("000000000001", "000000000002") and dataset.name == "coco_val2017"
    assert [item.captions for item in dataset.items] == [("one",), ("two",)]
    assert [item.image.open() for item in dataset.items] == [jpeg(1), jpeg(2)]
    assert [bool(item.segmentation.things().all()) for item in dataset.items] == [True, False]
    assert [bool(item.segmentation.stuff().all()) for item in dataset.items] == [False, True]
    assert len(coco.requests) == 3
    assert read_dataset("coco_val2017", data_dir=data, n=1, seed=3).items[0] in dataset.items
    # Another kind of masks needs no other download, and is another dataset on disk.
    instances = read_dataset("coco_val2017", data_dir=data, masks="instances")
    assert instances.items[0].segmentation.stuff() is None and instances.items[0].segmentation.things().any()
    assert len(coco.requests) == 3
    left = {path.name for path in (data / "downloads" / "coco_val2017").iterdir() if path.suffix != ".lock"}
    assert left == {"val2017.zip", "annotations_trainval2017.zip", "stuffthingmaps_trainval2017.zip"}


def test_pixel_maps_are_not_fetched_where_they_are_not_asked_for(coco, tmp_path):
    read_dataset("coco_val2017", data_dir=tmp_path / "data", masks="none")
    assert sorted(path for path, _ in coco.requests) == ["/annotations_trainval2017.zip", "/val2017.zip"]


def test_a_file_that_was_changed_is_refused(coco, tmp_path):
    coco.files["/val2017.zip"] += b"x"
    with pytest.raises(ValueError, match="val2017.zip is not what was expected.*sha256"):
        read_dataset("coco_val2017", data_dir=tmp_path / "data")
    assert not list((tmp_path / "data").rglob("dataset_info.json"))
    assert not (tmp_path / "data" / "downloads" / "coco_val2017" / "val2017.zip").exists()


@pytest.mark.parametrize("masks", ["polygons", ""])
def test_unknown_masks_are_refused_before_anything_is_fetched(tmp_path, masks):
    with pytest.raises(ValueError, match="auto, instances, none, pixel_maps"):
        read_dataset("coco_val2017", data_dir=tmp_path / "data", masks=masks)
    assert not (tmp_path / "data").exists()


def test_flickr8k_is_fetched_in_its_original_form(tmp_path, publisher):
    said = {"2.jpg": ["two .", "deux ."], "1.jpg": ["one ."], "2258277193_586949ec62.jpg.1": ["never published ."]}
    root = write_flickr8k_original(tmp_path / "flickr8k", said, absent=["2258277193_586949ec62.jpg.1"])
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:
        archive.write(root / "Flickr8k_text" / "Flickr8k.token.txt", "Flickr8k.token.txt")
        archive.writestr("__MACOSX/._Flickr8k.token.txt", b"rubbish")
    photographs = zipped(root, "Flicker8k_Dataset", extra=["__MACOSX/Flicker8k_Dataset/._1.jpg"])
    site = publisher("flickr8k", {"Flickr8k_Dataset.zip": photographs, "Flickr8k_text.zip": text.getvalue()})
    dataset = read_dataset("flickr8k", data_dir=tmp_path / "data")
    assert dataset.ids == ("1", "2") and dataset.items[1].captions == ("two .", "deux .")
    assert dataset.items[0].image.open() == jpeg(1)
    read_dataset("flickr8k", data_dir=tmp_path / "data")
    assert len(site.requests) == 2
