"""From files to tables: captions, norms and instances in the published layouts, tiny checkpoints."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.checkpoints import WORDS, write_language, write_vision
from vla.experiments.content_study import ContentStudy, run
from vla.stimuli import read_dataset


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    where = tmp_path_factory.mktemp("content")
    write_vision(where / "eye")
    write_language(where / "tongue")
    (where / "coco" / "val2017").mkdir(parents=True)
    (where / "coco" / "annotations").mkdir()
    rng = np.random.default_rng(0)
    images, captions, things = [], [], []
    for place in range(24):
        name = f"{place:012}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(where / "coco" / "val2017" / name)
        images.append({"id": place, "file_name": name, "height": 32, "width": 32})
        said = " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=5))
        captions.append({"id": place, "image_id": place, "caption": said})
        box = [[1, 1, 9, 1, 9, 9]]
        things.append({"id": place, "image_id": place, "category_id": 18 - 17 * (place % 2), "segmentation": box})
    kinds = [{"id": 18, "name": "dog", "supercategory": "animal"}]
    kinds += [{"id": 1, "name": "person", "supercategory": "person"}]
    annotations = where / "coco" / "annotations"
    (annotations / "captions_val2017.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (annotations / "instances_val2017.json").write_text(
        json.dumps({"images": images, "annotations": things, "categories": kinds})
    )
    rows = [f"{word}\t{1 + number % 5}" for number, word in enumerate(dict.fromkeys(w.lower() for w in WORDS))]
    (where / "norms.txt").write_text("\n".join(["Word\tConc.M", *rows]))
    return where


def test_the_whole_way(world):
    study = ContentStudy(
        vision_models=(str(world / "eye"),),
        language_models=(str(world / "tongue"),),
        instances=str(world / "coco" / "annotations" / "instances_val2017.json"),
        norms=str(world / "norms.txt"),
    )
    dataset = read_dataset("coco_val2017", world / "coco")
    paths = run(study, dataset, world / "run", show_progress=False)
    items = pd.read_parquet(paths[0])
    assert items.groupby("direction")["item"].nunique().to_dict() == {
        "language_to_vision": 24,
        "vision_to_language": 24,
    }
    assert items["supercategories"][:2].tolist() == ["animal", "person"]
    assert items["caption"][0] == dataset.items[0].captions[0] and set(items["vision_model"]) == {"eye"}
    kinds = pd.read_csv(world / "run" / "content.csv")
    of_animals = kinds[(kinds["group"] == "animal") & (kinds["direction"] == "vision_to_language")].iloc[0]
    own = items[(items["direction"] == "vision_to_language") & (items["supercategories"] == "animal")]
    assert of_animals["n_items"] == 12 and of_animals["mean"] == pytest.approx(own["correlation"].mean())
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in run(study, dataset, world / "run", show_progress=False)] == before


def test_what_cannot_be_used(world):
    with pytest.raises(ValueError, match=r"vision_models=\(\): expected Hub ids or directories, on the command line"):
        ContentStudy(vision_models=(), language_models=("tongue",))
    models = {"vision_models": (str(world / "eye"),), "language_models": (str(world / "tongue"),)}
    with pytest.raises(ValueError, match="vision_models: one/eye and other/eye/ are both called 'eye'"):
        ContentStudy(vision_models=("one/eye", "other/eye/"), language_models=("tongue",))
    with pytest.raises(ValueError, match="alpha: no setting of the ridge map"):
        ContentStudy(**models, overrides={"alpha": 3})
    dataset = read_dataset("coco_val2017", world / "coco")
    (world / "other.txt").write_text("Word\tConc.M\nzyzzyva\t4")
    with pytest.raises(ValueError, match="other.txt has no word of the captions"):
        run(ContentStudy(**models, norms=str(world / "other.txt")), dataset, world / "bad")
    swapped = {"vision_models": models["language_models"], "language_models": models["vision_models"]}
    with pytest.raises(ValueError, match="tongue is a language model; expected a vision model among vision_models"):
        run(ContentStudy(**swapped), dataset, world / "bad", show_progress=False)
