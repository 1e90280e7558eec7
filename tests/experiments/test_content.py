"""The tables of content on layers that share something for one kind of items only."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vla.experiments.content import content, tagged, write_content
from vla.experiments.item_facts import ItemFacts


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
