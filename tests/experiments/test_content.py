"""The tables of content on layers that share something for one kind of items only."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.experiments import folders
from vla.experiments.content import ItemFacts, content, instances_file, item_facts, tagged, write_content
from vla.experiments.engine import run
from vla.experiments.experiment import Condition
from vla.experiments.study import ContentPlan, DatasetPlan
from vla.records import View


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    items = [f"item {place:02}" for place in range(80)]
    shared = rng.standard_normal((80, 3)) * 2
    x = shared @ rng.standard_normal((3, 12)) + 0.2 * rng.standard_normal((80, 12))
    y = shared @ rng.standard_normal((3, 9)) + np.where(np.arange(80) < 40, 0.1, 3.0)[:, None] * rng.standard_normal(
        (80, 9)
    )
    layers = [
        xr.DataArray(values[None], dims=("layer", "item", "unit"), coords={"layer": ["block_5"], "item": items})
        for values in (x, y)
    ]
    facts = ItemFacts(
        {item: f"caption of {item}" for item in items},
        {item: 5 - place / 20 + (np.nan if place == 7 else 0) for place, item in enumerate(items)},
        {item: ("animal",) if place < 40 else ("food", "kitchen") for place, item in enumerate(items) if place != 9},
    )
    return *layers, facts


@pytest.fixture(scope="module")
def found(made):
    return content(*made)


def test_kinds_of_content_that_align_are_found(found):
    table = found.content.set_index(["kind", "group"])
    animal = table.loc[("supercategory", "animal")]
    assert animal["n_items"] == 39 and animal["difference_ci_low"] > 0
    assert table.loc[("supercategory", "food"), "difference_ci_high"] < 0
    thirds = table.loc["concreteness"]
    assert thirds.loc["concrete", "mean"] > thirds.loc["abstract", "mean"]
    rho = thirds.loc["rank correlation"]
    assert rho["n_items"] == 79 and 0 < rho["ci_low"] < rho["mean"] < rho["ci_high"] < 1


def test_items_have_their_facts(found, made):
    first = found.items.iloc[0]
    assert first["item"] == "item 00" and first["caption"] == "caption of item 00" and first["concreteness"] == 5
    assert first["supercategories"] == "animal" and found.items["supercategories"].iloc[50] == "food;kitchen"
    assert pd.isna(found.items["supercategories"].iloc[9]) and np.isnan(found.items["concreteness"].iloc[7])
    means = [found.items["correlation"][:40].mean(), found.items["correlation"][40:].mean()]
    assert means[0] > 0.9 > means[1]


def test_dimensions_and_their_items(found):
    spectrum = found.spectrum
    assert 1 < spectrum["effective_dimension"][0] < spectrum["target_dimension"][0] < 9
    ends = found.directions
    assert len(ends) == 5 * 2 * 5 and set(ends["end"]) == {"high", "low"}
    top = ends[(ends["rank"] == 1) & (ends["end"] == "high")]
    assert top["place"].tolist() == [1, 2, 3, 4, 5] and top["predicted"].is_monotonic_decreasing
    assert top["actual"].mean() > ends[(ends["rank"] == 1) & (ends["end"] == "low")]["actual"].mean()


def test_without_facts_there_are_no_kinds(made):
    x, y, facts = made
    bare = content(x, y, ItemFacts(facts.captions))
    assert len(bare.content) == 0 and "difference" in bare.content and bare.items["supercategories"].isna().all()


def test_tables_are_written_whole(found, tmp_path):
    parts = [
        type(found)(*(tagged(getattr(found, f), direction=d) for f in ("items", "spectrum", "directions", "content")))
        for d in ("a", "b")
    ]
    paths = write_content(parts, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(path.name for path in paths)
    items = pd.read_parquet(tmp_path / "run" / "items.parquet")
    assert items["direction"].tolist() == ["a"] * 80 + ["b"] * 80 and items.columns[0] == "direction"
    assert len(pd.read_csv(tmp_path / "run" / "spectrum.csv")) == 2 * len(found.spectrum)
    assert all(table.columns.is_unique for table in dataclasses.asdict(parts[0]).values())


def test_what_cannot_be(made):
    x, y, facts = made
    with pytest.raises(ValueError, match="score='rank'; expected one of correlation, match"):
        content(x, y, facts, score="rank")
    two = xr.concat([x, x.assign_coords(layer=["block_6"])], "layer")
    with pytest.raises(ValueError, match="x has 2 layers: select one"):
        content(two, y, facts)
    with pytest.raises(ValueError, match="item 'item 00' and 79 others have no caption"):
        content(x, y, ItemFacts({}))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A study, and for its items norms of words and COCO's kinds of things: even items show a dog, odd ones a cup."""
    where = tmp_path_factory.mktemp("content")
    study = dataclasses.replace(folders.study(where), null=0)
    ids = range(folders.ITEMS)
    images = [{"id": i, "file_name": f"{i:03d}.png", "height": 4, "width": 4} for i in ids]
    things = [{"id": i, "image_id": i, "category_id": 18 + 29 * (i % 2), "segmentation": [[0, 0, 1, 1, 0, 1]]}
              for i in ids]  # fmt: skip
    kinds = [
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 47, "name": "cup", "supercategory": "kitchen"},
    ]
    described = {"images": images, "annotations": things, "categories": kinds}
    (where / "instances.json").write_text(json.dumps(described))
    (where / "norms.csv").write_text("Word,Conc.M\nthing,4.5\nnumber,2.5\nlies,3\nhere,2\n")
    plan = ContentPlan("first", norms=str(where / "norms.csv"), instances=str(where / "instances.json"), n_extreme=3)
    study = dataclasses.replace(study, content=plan)
    run(study, where / "run", show_progress=False)
    return where, study


def test_tables_are_those_of_content(world):
    where, _ = world
    items = pd.read_parquet(where / "run" / "items.parquet")
    assert set(items["vision_model"]) == {"vision_a"} and set(items["language_model"]) == {"language_a"}
    x, y = (
        np.load(where / "models" / name / "original.npz")["activations"][1:2] for name in ("vision_a", "language_a")
    )
    facts = ItemFacts({str(i): "some words" for i in range(folders.ITEMS)})
    for direction, ends in (("vision_to_language", (x, y)), ("language_to_vision", (y, x))):
        own = items.loc[items["direction"] == direction]
        expected = content(*ends, facts).items
        np.testing.assert_allclose(own["correlation"], expected["correlation"], atol=1e-6)
    assert items["supercategories"][:2].tolist() == ["animal", "kitchen"]
    # "thing number i lies here": the mean of 4.5, 2.5, 3 and 2.
    assert items["concreteness"].tolist() == pytest.approx([3.0] * len(items))
    kinds = pd.read_csv(where / "run" / "content.csv")
    assert {"animal", "kitchen"} <= set(kinds["group"])
    of_animals = kinds.query("group == 'animal' and direction == 'vision_to_language'").iloc[0]
    own = items.query("direction == 'vision_to_language' and supercategories == 'animal'")
    assert of_animals["n_items"] == len(own) == folders.ITEMS / 2
    assert of_animals["mean"] == pytest.approx(own["correlation"].mean())
    assert items["caption"][0] == "thing number 0 lies here"


def test_other_layers_are_analysed_where_the_experiment_extracts_them(world, tmp_path):
    where, study = world
    plan = dataclasses.replace(study.content, vision_layer="block_3", language_layer="block_1", norms="")
    run(dataclasses.replace(study, content=plan), tmp_path, show_progress=False)
    items = pd.read_parquet(tmp_path / "items.parquet").query("direction == 'vision_to_language'")
    assert set(items["vision_layer"]) == {"block_3"} and set(items["language_layer"]) == {"block_1"}
    x, y = (np.load(where / "models" / name / "original.npz")["activations"] for name in ("vision_a", "language_a"))
    facts = ItemFacts({str(i): "some words" for i in range(folders.ITEMS)})
    expected = content(x[2:], y[:1], facts).items["correlation"]
    np.testing.assert_allclose(items["correlation"], expected, atol=1e-6)
    assert folders.read_run(tmp_path)["content"]["layers"] == ["block_3", "block_1"]


def test_what_is_shown_is_in_the_folder_and_what_was_looked_into_is_said(world):
    where, _ = world
    said = folders.read_run(where / "run")["content"]
    assert said == {"experiment": "mine", "condition": "original", "pairs": [["vision_a", "language_a"]],
                    "status": "run", "why": "", "absent": []}  # fmt: skip
    shown = json.loads((where / "run" / "samples" / "content.json").read_text())["items"]
    items = pd.read_parquet(where / "run" / "items.parquet")
    best = items.loc[items["direction"] == "vision_to_language"].nlargest(3, "correlation")["item"]
    assert set(best) <= {one["id"] for one in shown} and all(one["images"] for one in shown)
    ends = pd.read_csv(where / "run" / "directions.csv", dtype={"item": str}).query("rank == 1")
    assert set(ends["item"]) <= {one["id"] for one in shown}


def test_a_second_run_looks_into_nothing_again_unless_asked_otherwise(world, tmp_path, monkeypatch):
    (where, study), workdir = world, tmp_path / "run"
    shutil.copytree(where / "run", workdir)
    before = folders.tree(workdir)
    calls = []
    monkeypatch.setattr("vla.experiments.content.content", lambda *a, **k: calls.append(k) or content(*a, **k))
    run(study, workdir, show_progress=False)
    after = folders.tree(workdir)
    names = ("items.parquet", "spectrum.csv", "directions.csv", "content.csv", "samples/content.json")
    assert not calls and all(before[name] == after[name] for name in names)
    (workdir / "spectrum.csv").write_text("edited")
    run(study, workdir, show_progress=False)
    assert len(calls) == 2 * len({*pd.read_parquet(workdir / "items.parquet")["vision_model"]})
    assert all(folders.tree(workdir)[name] == before[name] for name in names)
    calls.clear()
    other = dataclasses.replace(study, content=dataclasses.replace(study.content, pairs="all", norms="", instances=""))
    run(other, workdir, show_progress=False)
    assert len(calls) == 2 * 4
    absent = folders.read_run(workdir)["content"]["absent"]
    assert [words.split(":")[0] for words in absent] == ["Abstract against concrete captions", "Categories of things"]
    assert "--config.content.norms=FILE" in absent[0] and "--config.content.instances=FILE" in absent[1]
    assert len(pd.read_parquet(workdir / "items.parquet")) == 2 * 4 * folders.ITEMS


def test_what_cannot_be_looked_into_is_said_and_the_run_goes_on(world, tmp_path):
    where, study = world
    curve = folders.experiment(conditions=(Condition("mean of two", caption="average:k=2"),), comparisons=())
    for model in ("language_a", "language_b"):
        (tmp_path / model).mkdir()
        for view in ("original", "caption_1"):
            shutil.copy(where / "models" / model / "original.npz", tmp_path / model / f"{view}.npz")
    language = {"core": tuple(str(tmp_path / model / "{view}.npz") for model in ("language_a", "language_b"))}
    averaged = dataclasses.replace(study, experiments=(curve,), language=language)
    run(averaged, tmp_path / "run", show_progress=False)
    said = folders.read_run(tmp_path / "run")["content"]
    assert said["status"] == "not run" and "no condition of this run" in said["why"]
    (tmp_path / "norms.csv").write_text("Word,Conc.M\nzyzzyva,4\n")
    strange = dataclasses.replace(study.content, norms=str(tmp_path / "norms.csv"))
    run(dataclasses.replace(study, content=strange), tmp_path / "other", show_progress=False)
    said = folders.read_run(tmp_path / "other")["content"]
    assert said["status"] == "not run" and "has no word of the captions" in said["why"]
    assert (tmp_path / "other" / "statistics.csv").is_file()


def test_cocos_instances_are_found_in_its_directory(tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "captions_val2017.json").write_text("{}")
    plan = DatasetPlan("coco", "coco_val2017", str(tmp_path))
    assert instances_file(plan) == ""
    (tmp_path / "instances_val2017.json").write_text("{}")
    assert instances_file(plan) == str(tmp_path / "instances_val2017.json")
    assert instances_file(dataclasses.replace(plan, name="flickr8k")) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": "some"}, "content.pairs='some'; expected one of all, first, none"),
        ({"score": "r"}, "content.score='r'; expected one of correlation, match"),
        ({"norms": "nowhere.csv"}, "content.norms='nowhere.csv' is not a file"),
        ({"vision_layer": "all"}, "content.vision_layer='all'; expected penultimate or one layer's name"),
    ],
)
def test_plans_without_meaning_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        ContentPlan(**changes)


def test_unknown_experiments_and_conditions_are_refused_before_anything_is_extracted(world):
    _, study = world
    with pytest.raises(ValueError, match="content.experiment='E9'; this study has mine"):
        dataclasses.replace(study, content=ContentPlan("first", experiment="E9"))
    with pytest.raises(ValueError, match="content.condition='gray'; there are grey, original"):
        dataclasses.replace(study, content=ContentPlan("first", condition="gray"))


def test_tables_of_an_earlier_run_do_not_outlive_their_settings(world, tmp_path):
    _, study = world
    tables = {"items.parquet", "spectrum.csv", "directions.csv", "content.csv", "content.json"}
    run(study, tmp_path, show_progress=False)
    assert tables <= {path.name for path in tmp_path.iterdir()} and (tmp_path / "samples" / "content.json").is_file()
    run(dataclasses.replace(study, content=ContentPlan()), tmp_path, show_progress=False)
    assert not tables & {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "samples" / "content.json").exists() and (tmp_path / "scores.parquet").is_file()


def test_tables_bear_the_names_and_captions_of_this_run(world, tmp_path):
    where, study = world
    small = dataclasses.replace(study, experiments=(folders.experiment(comparisons=()),))
    run(small, tmp_path / "run", show_progress=False)
    shutil.copytree(where / "data", tmp_path / "data")
    captions = tmp_path / "data" / "captions.txt"
    captions.write_text(captions.read_text().replace("thing number", "number thing"))
    plan = dataclasses.replace(study.datasets["coco"], directory=str(tmp_path / "data"))
    again = dataclasses.replace(small, vision={"core": (f"seer={study.vision['core'][0]}",)}, datasets={"coco": plan})
    run(again, tmp_path / "run", show_progress=False)
    items = pd.read_parquet(tmp_path / "run" / "items.parquet")
    assert set(items["vision_model"]) == {"seer"} and items["caption"][0] == "number thing 0 lies here"


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
