"""What is known of items beside their activations, by hand."""

import json
import math

import pytest

from vla.experiments.item_facts import item_facts
from vla.records import View

CAPTIONS = {"1": "a dog runs", "2": "the idea of dogs", "3": "zzz"}


@pytest.fixture
def shown():
    return View("made/captions", "language", tuple(CAPTIONS), tuple(CAPTIONS.values()), "0")


@pytest.fixture
def norms(tmp_path):
    path = tmp_path / "norms.csv"
    path.write_text("Word,Conc.M,Other\ndog,5,1\nidea,1,1\nruns,4,1\nof,2,1\n")
    return str(path)


def instances(path, **images):
    """COCO's file: by image the names of its things."""
    kinds = {"dog": ("animal", 18), "cat": ("animal", 17), "car": ("vehicle", 3)}
    data = {
        "categories": [{"id": id, "name": name, "supercategory": group} for name, (group, id) in kinds.items()],
        "images": [{"id": int(id), "file_name": f"{id}.jpg", "height": 9, "width": 9} for id in images],
        "annotations": [
            {"id": 100 * int(id) + place, "image_id": int(id), "category_id": kinds[name][1], "iscrowd": 0,
             "segmentation": [[0, 0, 4, 0, 4, 4]]}
            for id, names in images.items() for place, name in enumerate(names)
        ],
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return str(path)


def test_captions_alone(shown):
    found = item_facts(shown, shown)
    assert found.captions == CAPTIONS and found.concreteness == {} and found.supercategories == {}


def test_concreteness_is_the_mean_over_the_words_that_have_a_norm(shown, norms):
    found = item_facts(shown, shown, norms=norms).concreteness
    # "dogs" counts as "dog".
    assert found["1"] == pytest.approx((5 + 4) / 2) and found["2"] == pytest.approx((1 + 2 + 5) / 3)
    assert math.isnan(found["3"])


def test_words_may_be_counted_in_captions_other_than_those_shown(shown, norms):
    nouns = View("made/nouns", "language", ("1", "2"), ("dog", "idea"), "0")
    assert item_facts(shown, nouns, norms=norms).concreteness == {"1": 5.0, "2": 1.0}


def test_kinds_of_things_by_group(shown, tmp_path):
    path = instances(tmp_path / "instances.json", **{"1": ("dog", "cat", "car"), "2": (), "9": ("car",)})
    assert item_facts(shown, shown, instances=path).supercategories == {"1": ("animal", "vehicle"), "2": ()}


def test_files_that_say_nothing_of_the_items_are_refused(shown, norms, tmp_path):
    strange = View("made/captions", "language", ("1",), ("qqq",), "0")
    with pytest.raises(ValueError, match="has no word of the captions, such as 'qqq'"):
        item_facts(shown, strange, norms=norms)
    path = instances(tmp_path / "instances.json", **{"9": ("car",)})
    with pytest.raises(ValueError, match="lists none of the items of made/captions, such as '1'"):
        item_facts(shown, shown, instances=path)
    with pytest.raises(ValueError, match="has no column word; it has Word"):
        item_facts(shown, shown, norms=norms, norms_word="word")
