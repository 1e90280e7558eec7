"""Sections on dimensions, items and kinds of content show what their tables say; a run without them has none."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from vla.report.extras import extra_sections
from vla.report.figures import spectrum
from vla.report.run_folder import read
from vla.report.write import write_report

DIRECTIONS = ("vision_to_language", "language_to_vision")
PAIRS = (("seer", "teller"), ("seer", "reader"))
ONE = [{"vision_model": v, "language_model": t, "direction": d} for v, t in PAIRS for d in DIRECTIONS]
# By item: correlation with the first and with the second language model. On average 03 is best and 01 worst.
SCORES = {"00": (0.5, 0.5), "01": (-0.9, 0.1), "02": (0.9, -0.3), "03": (0.8, 0.6), "04": (0.0, 0.2)}


def _spectrum():
    return pd.DataFrame(
        {**of, "rank": rank, "r": 0.8 / rank + 0.1 * place, "effective_dimension": 2.0 + place, "target_dimension": 7.0,
         "cumulative_explained": 0.1 * rank}
        for place, of in enumerate(ONE) for rank in range(1, 5)
    )  # fmt: skip


def _content():
    groups = (("concreteness", "abstract", 0.1), ("supercategory", "animal", 0.4), ("concreteness", "concrete", 0.3))
    rows = [
        {**of, "kind": kind, "group": group, "statistic": "mean correlation", "n_items": 20, "mean": mean,
         "ci_low": mean - 0.05, "ci_high": mean + 0.07, "difference": mean - 0.2, "difference_ci_low": mean - 0.3,
         "difference_ci_high": mean - 0.1, "note": ""}
        for of in ONE for kind, group, mean in groups
    ]  # fmt: skip
    rho = {"kind": "concreteness", "group": "rank correlation", "statistic": "Spearman rho", "n_items": 19}
    few = {"kind": "supercategory", "group": "food", "statistic": "mean correlation", "n_items": 3, "mean": 0.2}
    rows += [{**ONE[0], **rho, "mean": 0.25, "ci_low": 0.11, "ci_high": 0.39}]
    return pd.DataFrame([*rows, {**ONE[0], **few, "note": "too few items"}])


@pytest.fixture
def folder(tmp_path):
    run = {"experiments": [{"id": "mine", "title": "My own", "status": "run", "conditions": [], "comparisons": []}]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    _spectrum().to_csv(tmp_path / "spectrum.csv", index=False)
    _content().to_csv(tmp_path / "content.csv", index=False)
    items = [
        {**of, "item": item, "correlation": both[place // 2], "caption": f"<caption> of {item}"}
        for place, of in enumerate(ONE) for item, both in SCORES.items()
    ]  # fmt: skip
    pd.DataFrame(items).to_parquet(tmp_path / "items.parquet", index=False)
    ends = [
        {**of, "rank": rank, "end": end, "place": place, "item": f"0{place}", "predicted": 0.5,
         "caption": f"{end} {place} of {rank}"}
        for of in ONE for rank in (1, 2) for end in ("high", "low") for place in (2, 1)
    ]  # fmt: skip
    pd.DataFrame(ends).to_csv(tmp_path / "directions.csv", index=False)
    return tmp_path


def test_dimensions_are_drawn_by_pair_with_their_mean_and_how_many_there_are_in_effect():
    rows = _spectrum()
    of_language, of_vision = spectrum.draw(rows).axes
    for axis, direction, first in ((of_language, DIRECTIONS[1], 1), (of_vision, DIRECTIONS[0], 0)):
        lines = [line.get_ydata() for line in axis.lines]
        ranks = np.arange(1, 5)
        expected = [0.8 / ranks + 0.1 * place for place in (first + 2, first)]  # pairs in the order of the alphabet
        np.testing.assert_allclose(lines[:2], expected, err_msg=direction)
        np.testing.assert_allclose(lines[2], np.mean(expected, axis=0))
        assert axis.lines[4].get_xdata() == [3.0 + first] * 2
        assert axis.texts[0].get_text() == f"effective: {3 + first:.1f}" and axis.get_xscale() == "log"


def test_dimensions_without_a_correlation_are_gaps_and_nothing_in_effect_is_no_line():
    rows = _spectrum().assign(effective_dimension=np.nan)
    rows.loc[rows["rank"] == 2, "r"] = np.nan
    for axis in spectrum.draw(rows).axes:
        assert np.isnan(axis.lines[0].get_ydata()[1]) and len(axis.lines) == 4 and not axis.texts


def test_kinds_have_their_intervals_and_stand_together():
    rows = _content().query("language_model == 'teller' and statistic != 'Spearman rho'")
    of_language, of_vision = spectrum.draw_categories(rows).axes
    names = [label.get_text() for label in of_language.get_yticklabels()]
    assert names == ["abstract (20)", "concrete (20)", "animal (20)", "food (3)"]
    np.testing.assert_allclose(of_vision.lines[0].get_xdata(), [0.1, 0.3, 0.4, 0.2])
    np.testing.assert_allclose(of_language.lines[0].get_xdata(), [0.1, 0.3, 0.4, np.nan])
    bars = of_vision.collections[0].get_segments()
    np.testing.assert_allclose(bars[1], [[0.25, 1], [0.37, 1]])
    assert of_vision.get_xlabel() == "mean correlation" and of_language.yaxis_inverted()


def test_best_and_worst_items_by_their_mean_over_pairs(folder):
    _, found, _ = extra_sections(read(folder))
    best, worst = found["items"][:2]
    assert best["title"] == "Language predicts vision: predicted best"
    assert [(item["id"], item["score"]) for item in best["items"]] == [("03", "0.700"), ("00", "0.500")]
    assert [(item["id"], item["score"]) for item in worst["items"]] == [("01", "−0.400"), ("04", "0.100")]
    assert worst["items"][0]["caption"] == "<caption> of 01" and len(found["items"]) == 4
    assert "Which of 5 items" in found["question"] and "averaged over 2 model pairs" in found["question"]


def test_the_page_has_a_section_for_each_table(folder):
    page = write_report(folder, [".svg"], show_progress=False).read_text(encoding="utf-8")
    for id in ("content-dimensions", "content-items", "content-kinds"):
        assert page.count(f'id="{id}"') == 1 and f'href="#{id}"' in page
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert drawn == {"content--dimensions", "content--kinds--seer--teller", "content--kinds--seer--reader"}
    said = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "seer teller vision predicts language 0.800 2.0 7.0 0.400" in said
    assert "1 high high 1 of 1 · high 2 of 1" in said and "&lt;caption&gt; of 03" in said
    assert "supercategory: animal 20 mean correlation 0.400 [0.350, 0.470] +0.200 [+0.100, +0.300]" in said
    assert "concreteness: rank correlation 19 Spearman rho 0.250 [0.110, 0.390] –" in said
    assert "supercategory: food 3 mean correlation 0.200 – too few items" in said


def test_best_items_and_the_ends_of_dimensions_are_shown_with_their_images(folder):
    pixels = "iVBORw0KGgoAAAANSUhEUg=="
    (folder / "samples").mkdir()
    kept = [{"id": item, "images": [pixels], "captions": ["a caption"]} for item in SCORES]
    (folder / "samples" / "content.json").write_text(json.dumps({"name": "content", "items": kept}))
    described = json.loads((folder / "run.json").read_text())
    described["content"] = {"experiment": "E1", "condition": "original", "pairs": [["seer", "teller"]],
                            "status": "run", "why": "", "absent": ["Kinds of things: add --config.x=FILE"]}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(described))
    dimensions, items, kinds_of = extra_sections(read(folder))
    assert items["about"].startswith("E1, condition original: seer with teller")
    assert kinds_of["notes"] == ["Not run. Kinds of things: add --config.x=FILE."]
    (image,) = items["items"][0]["items"][0]["images"]
    assert image == {"data": f"data:image/png;base64,{pixels}", "alt": "Item 03: <caption> of 03"}
    titles = [group["title"] for group in dimensions["items"]]
    assert titles[0] == "Vision predicts language: high end of dimension 1 (seer, teller)" and len(titles) == 8
    assert [item["id"] for item in dimensions["items"][0]["items"]] == ["01", "02"]
    page = write_report(folder, [".svg"], show_progress=False).read_text(encoding="utf-8")
    assert page.count(f"base64,{pixels}") == 4 * 2 + 8 * 2


def test_a_run_that_could_not_be_looked_into_says_why(folder):
    described = json.loads((folder / "run.json").read_text())
    described["content"] = {"status": "not run", "why": "no condition"}
    (folder / "run.json").write_text(json.dumps(described))
    (only,) = extra_sections(read(folder))
    assert only["notes"] == ["Not run: no condition."]


def test_only_what_is_there_is_shown(folder):
    for name in ("spectrum.csv", "items.parquet"):
        (folder / name).unlink()
    assert [each["anchor"] for each in extra_sections(read(folder))] == ["content-kinds"]
    _content().head(0).to_csv(folder / "content.csv", index=False)
    assert extra_sections(read(folder)) == []


def test_a_table_of_another_version_is_refused(folder):
    _spectrum().rename(columns={"rank": "direction.1"}).to_csv(folder / "spectrum.csv", index=False)
    with pytest.raises(ValueError, match="spectrum.csv has no column rank"):
        read(folder)
