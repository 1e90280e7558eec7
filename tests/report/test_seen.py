"""Sample items on the page: once for all conditions that share them."""

from pathlib import Path

import pandas as pd

from vla.report.run_folder import RunFolder
from vla.report.study_page import sample_views

SAMPLE = {"image_views": ["coco/original"], "caption_views": ["coco/caption_0", "coco/caption_1"], "n_items": 9,
          "left_out": 2, "items": [{"id": "7", "images": ["/9j/abc"], "captions": ["a dog", "it runs"]},
                                   {"id": "8", "images": ["iVBORabc"], "captions": ["a cat", "it sits"]}]}  # fmt: skip


def run(*experiments, **samples):
    empty = pd.DataFrame()
    return RunFolder(Path("nowhere"), {"experiments": list(experiments)}, empty, empty, empty, samples, {}, {}, ())


def experiment(id, **conditions):
    return {"id": id, "conditions": [{"name": name, "samples": file} for name, file in conditions.items()]}


def test_conditions_share_what_they_show():
    one, other = experiment("E1", original="a"), experiment("E2", original="a", grey="b", stuff="", lost="nowhere")
    shown, places = sample_views(
        run(one, other, a=SAMPLE, b={**SAMPLE, "caption_views": ["coco/caption_0"]}, unused=SAMPLE)
    )
    assert [each["anchor"] for each in shown] == ["view-a", "view-b"]
    assert places == {("E1", "original"): "view-a", ("E2", "original"): "view-a", ("E2", "grey"): "view-b"}
    assert shown[0]["used"] == "Shown in E1 (original); E2 (original)"
    assert shown[0]["title"] == "coco/original, with coco/caption_0 and 1 more"
    assert shown[1]["title"] == "coco/original, with coco/caption_0"
    assert (shown[0]["n_items"], shown[0]["left_out"]) == (9, 2)


def test_images_are_part_of_the_page_and_can_be_heard():
    (shown,), _ = sample_views(run(experiment("E1", original="a"), a=SAMPLE))
    first, second = (item["images"][0] for item in shown["items"])
    assert first["data"] == "data:image/jpeg;base64,/9j/abc" and second["data"] == "data:image/png;base64,iVBORabc"
    assert first["alt"] == "Item 7 as coco/original: a dog"
    assert shown["items"][1]["captions"] == ["a cat", "it sits"]


def test_nothing_kept_is_nothing_shown():
    assert sample_views(run(experiment("E1", original="a"))) == ([], {})
