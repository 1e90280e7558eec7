"""Views of a dataset by name, made once; what is missing, with the command that makes it."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.experiments import folders
from tests.experiments.test_study import study
from vla.experiments.choices import Choices
from vla.experiments.experiment import Condition, Experiment
from vla.experiments.gallery import Absent, Gallery, groups_of, resolve
from vla.experiments.study import DatasetPlan
from vla.microworld.shipped import shipped
from vla.records import Dataset, Item

ITEMS = 6


@pytest.fixture
def gallery(tmp_path):
    folders.write_folder(tmp_path / "data", items=ITEMS)
    lines = [json.dumps({"id": f"{i:03d}", "paraphrases": [f"one {i}", f"two {i}"]}) for i in range(ITEMS - 1)]
    (tmp_path / "paraphrases.jsonl").write_text("\n".join(lines))

    def made(choices=None, **changes):
        plan = DatasetPlan("coco", "captioned_folder", str(tmp_path / "data"), n_items=0)
        study = dataclasses.replace(folders.study(tmp_path), choices=choices or Choices(human_captions=2))
        return Gallery(dataclasses.replace(plan, **changes), study, str(tmp_path / "clip"), read_only=True)

    return made


def absent(gallery, modality, member):
    with pytest.raises(Absent) as caught:
        gallery.view(modality, member)
    return str(caught.value), caught.value.remedy


def test_views_are_made_once_and_show_what_their_name_says(gallery, tmp_path):
    found = gallery()
    second = found.view("language", "original:index=1")
    assert second.stimuli == tuple(f"here lies the thing {i}" for i in range(ITEMS))
    assert found.view("language", "original:index=1") is second
    length = found.view("language", "length")
    assert length.stimuli == tuple(f"thing number {i} lies here" for i in range(ITEMS))
    assert found.view("vision", "original").stimuli[0] == tmp_path / "data" / "Images" / "000.png"


def test_items_that_several_views_show(gallery, tmp_path):
    found = gallery(paraphrases=str(tmp_path / "paraphrases.jsonl"), missing="drop")
    whole = {f"{i:03d}" for i in range(ITEMS)}
    assert found.ids("language", ("original",)) == whole
    assert found.ids("language", ("original", "original:index=1,source=paraphrase")) == whole - {"005"}
    assert found.view("language", "original:index=1,source=paraphrase").stimuli[3] == "two 3"


@pytest.mark.parametrize("what", ["paraphrase", "synthetic"])
def test_sets_that_nobody_made_are_absent_with_the_command_that_makes_them(gallery, tmp_path, what):
    modality = {"paraphrase": "language", "synthetic": "vision"}[what]
    found = gallery()
    why, command = absent(found, modality, f"original:index=0,source={what}")
    config = {"paraphrase": "paraphrases", "synthetic": "synthetic_images"}[what]
    assert f"is set for coco (datasets.coco.{config.removesuffix('_images')})" in why
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "launch.generate", f"--config=configs/{config}.py"]
    assert f"--config.directory={tmp_path / 'data'}" in command and "--config.n_items=0" in command
    # It is absent for good, and not looked for anew.
    assert absent(found, modality, f"original:index=0,source={what}") == (why, command)


def test_sets_that_lack_items_or_cannot_be_read_say_what_helps(gallery, tmp_path):
    why, command = absent(gallery(paraphrases=str(tmp_path / "paraphrases.jsonl")), "language",
                          "original:index=0,source=paraphrase")  # fmt: skip
    assert "005" in why and command == "--config.datasets.coco.missing=drop"
    why, command = absent(gallery(paraphrases=str(tmp_path / "no")), "language", "original:index=0,source=paraphrase")
    assert str(tmp_path / "no") in why and command.startswith("python -m launch.generate")


def test_a_dataset_that_cannot_be_read_is_absent_with_its_role(gallery, tmp_path):
    why, _ = absent(gallery(directory=str(tmp_path / "nowhere")), "vision", "original")
    assert why.startswith("the dataset coco cannot be read: ") and "nowhere" in why
    (tmp_path / "data" / "Images" / "001.png").unlink()
    why, command = absent(gallery(), "vision", "original")
    assert "001.png" in why and command == "--config.datasets.coco.missing_images=drop"
    assert "001" not in gallery(missing_images="drop").view("vision", "original").ids


def test_a_judge_of_captions_that_is_not_there(gallery, tmp_path):
    assert absent(gallery(), "language", "best_by_clip") == (
        "no CLIP model is set for coco (datasets.coco.clip)",
        "--config.datasets.coco.clip=openai/clip-vit-base-patch32",
    )  # fmt: skip
    why, _ = absent(gallery(clip=str(tmp_path / "no-clip")), "language", "worst_by_clip")
    assert why.startswith("CLIP cannot be loaded: ")


def test_groups_are_prompts_and_items_without_one_are_alone():
    groups = {"a": "x", "b": "x", "c": None, "d": "y", "x": None}
    dataset = Dataset("made", tuple(Item(id, Path(id), ("words",), group=group) for id, group in groups.items()))
    assert groups_of(dataset, ["d", "c", "a", "b"]) == ["group y", "item c", "group x", "group x"]
    assert groups_of(dataset, ["a", "x"]) == ["group x", "item x"], "an item may be called as a group is"
    alone = Dataset("made", tuple(dataclasses.replace(one, group=None) for one in dataset.items))
    assert groups_of(alone, ["a", "b"]) is None


@pytest.mark.parametrize(
    ("reader", "settings", "members"),
    [
        ("read_dataset", {"directory": "nowhere"}, ("original", "original:index=1")),
        ("with_paraphrases", {"paraphrases": "nowhere"}, [f"original:index={i},source=paraphrase" for i in (0, 1)]),
        ("clip_score", {"clip": str(shipped("micro-clip"))}, ("best_by_clip", "worst_by_clip")),
    ],
)
def test_what_cannot_be_had_is_looked_for_once_however_many_conditions_ask(
    gallery, monkeypatch, reader, settings, members
):
    asked = []

    def failing(*args, **kwargs):
        asked.append(args)
        raise ValueError("it is damaged")

    monkeypatch.setattr(f"vla.experiments.gallery.{reader}", failing)
    monkeypatch.setattr("vla.experiments.gallery.load_clip", lambda source, ignore_fields: Judge())
    found = gallery(**settings)
    said = [absent(found, "language", member) for member in members]
    assert len(asked) == 1 and said[0] == said[1] and "it is damaged" in said[0][0]


class Judge:
    """A CLIP that likes long captions; how often it was asked is counted."""

    fingerprint = "a judge"

    def __init__(self):
        self.asked = 0

    def image_embeddings(self, images):
        self.asked += 1
        return np.tile([1.0, 0.0], (len(images), 1))

    def text_embeddings(self, texts, truncate=False):
        return np.array([[len(text), 10.0] for text in texts])


def write_clip_config(folder, **fields):
    config = json.loads((shipped("micro-clip") / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(config))


def test_clip_ignores_the_fields_of_the_study_that_its_config_has(gallery, tmp_path, monkeypatch):
    write_clip_config(tmp_path, auto_map={"AutoModel": "modeling.Model"})
    ignored = []
    monkeypatch.setattr(
        "vla.experiments.gallery.load_clip", lambda source, ignore_fields: ignored.append(ignore_fields) or Judge()
    )
    with_clip = gallery(clip=str(tmp_path))
    study = dataclasses.replace(with_clip._study, ignore_fields=("is_causal", "auto_map"))
    Gallery(with_clip.plan, study, str(tmp_path / "clip")).view("language", "best_by_clip")
    assert ignored == [("auto_map",)]


def test_a_plan_makes_no_clip_scores_and_knows_those_that_are_kept(gallery, tmp_path, monkeypatch):
    judge = Judge()
    write_clip_config(tmp_path)
    monkeypatch.setattr("vla.experiments.gallery.load_clip", lambda source, ignore_fields: judge)
    planned = gallery(clip=str(tmp_path))
    first = planned.view("language", "best_by_clip")
    assert first.ids == planned.dataset.ids and judge.asked == 0 and not (tmp_path / "clip").exists()
    # A folder with scores of others changes nothing.
    (tmp_path / "clip").mkdir()
    assert gallery(clip=str(tmp_path)).view("language", "best_by_clip") == first
    assert judge.asked == 0 and not list((tmp_path / "clip").iterdir())
    # No store has what is yet to be chosen.
    assert first.content != planned.view("language", "original").content
    study = dataclasses.replace(folders.study(tmp_path), choices=Choices(human_captions=2))
    made = Gallery(planned.plan, study, str(tmp_path / "clip")).view("language", "best_by_clip")
    assert judge.asked == 1 and made.content != first.content
    assert gallery(clip=str(tmp_path)).view("language", "best_by_clip") == made and judge.asked == 1
    # Nor is a CLIP fetched for it.
    monkeypatch.delattr("vla.experiments.gallery.load_clip")
    assert gallery(clip="nobody/clip").view("language", "best_by_clip") == first


def test_two_captions_have_no_two_above_and_two_below_their_median(gallery, tmp_path, monkeypatch):
    write_clip_config(tmp_path)
    monkeypatch.setattr("vla.experiments.gallery.load_clip", lambda source, ignore_fields: Judge())
    found = gallery(Choices(human_captions=2, clip_groups="median"), clip=str(tmp_path))
    assert found.view("language", "best_by_clip:place=0").ids == found.dataset.ids
    why, _ = absent(found, "language", "best_by_clip:place=1")
    assert why.startswith("coco has items with fewer than 4 captions among their first 2 (choices.human_captions)")


IDS = ("d", "c", "b", "a")


class Shown(Gallery):
    """Views by the items that they show; None for one that cannot be shown."""

    dataset = None

    def __init__(self, **views):
        self.dataset = Dataset("made", tuple(Item(id, Path(id), ("words",)) for id in IDS))
        self._views = views

    def ids(self, modality, members):
        for member in members:
            if self._views.get(str(member), IDS) is None:
                raise Absent(f"no {member}", f"make {member}")
        return set.intersection(*(set(self._views.get(str(member), IDS)) for member in members))


def resolved(conditions, gallery, folds=2, metrics=("linear_predictivity",), **galleries):
    roles = {role: DatasetPlan(role, "coco_val2017") for role in ("coco", *galleries)}
    asked = study(experiments=(Experiment("mine", "Mine", "?", tuple(conditions)),), datasets=roles)
    asked = dataclasses.replace(asked, overrides={"outer_folds": folds}, metrics=metrics)
    return asked, resolve(asked, {"coco": gallery, **galleries})


def test_conditions_of_a_part_show_the_items_that_all_of_them_can_show_in_the_datasets_order():
    conditions = (Condition("o", part="p"), Condition("n", caption="nouns", part="p"),
                  Condition("v", caption="nouns_verbs", part="p"), Condition("alone", part="q"))  # fmt: skip
    asked, found = resolved(conditions, Shown(nouns=("a", "c", "d"), nouns_verbs=("a", "b", "d")), metrics=("cka",))
    assert found.items == {("mine", "p"): ("d", "a"), ("mine", "q"): IDS}
    assert [found.left_out["mine", one] for one in ("o", "n", "v", "alone")] == [0, 1, 1, 0]
    assert not found.absent and found.reasons == ()
    assert all(found.usable(asked.experiments[0], one) for one in conditions)


def test_what_is_absent_takes_no_items_away_and_its_reason_is_told_once():
    conditions = [Condition(f"captions {k}", caption=f"nouns + average:k={k}", part="p") for k in (1, 2)]
    conditions += [Condition("grey", image="grayscale", part="p"), Condition("o", part="p")]
    asked, found = resolved(conditions, Shown(nouns=None, grayscale=("a", "b")), metrics=("cka",))
    assert found.items == {("mine", "p"): ("b", "a")}
    assert found.absent["mine", "captions 2"] == ("no nouns", "make nouns")
    assert found.reasons == ("mine, captions 1, captions 2: no nouns (make nouns)",)
    assert not found.usable(asked.experiments[0], conditions[0]) and found.usable(asked.experiments[0], conditions[2])


def test_more_items_than_there_are_cannot_be_drawn():
    conditions = [Condition(f"{n} items", part=f"{n}", items=n) for n in (4, 5)]
    _, found = resolved(conditions, Shown())
    assert list(found.absent) == [("mine", "5 items")]
    assert found.reasons == ("mine, 5 items: 5 items are requested, and only 4 exist",)
    # Each can show three, both of them together two.
    conditions = [Condition(n, caption=n, part="p", items=3) for n in ("nouns", "nouns_verbs")]
    _, found = resolved(conditions, Shown(nouns=("a", "b", "c"), nouns_verbs=("b", "c", "d")), metrics=("cka",))
    assert found.reasons == (
        "mine, nouns, nouns_verbs: 3 items are requested, and all conditions of its part share only 2",
    )


def test_items_too_few_for_the_folds_are_told_before_anything_is_extracted():
    conditions = [Condition("o", part="p"), Condition("n", caption="nouns", part="p"),
                  Condition("all", part="q"), Condition("3 items", part="r", items=3)]  # fmt: skip
    asked, found = resolved(conditions, Shown(nouns=("a", "b", "c")), folds=2)
    why = "the 3 items that all conditions of its part share are too few for 2 folds: at least 4 are needed"
    assert set(found.absent) == {("mine", "o"), ("mine", "n"), ("mine", "3 items")}
    assert all(reason.startswith(why) and command == "" for reason, command in found.absent.values())
    # Where nothing is split there are no folds.
    symmetric = dataclasses.replace(asked, metrics=("cka",))
    gallery = Shown(nouns=("a", "b", "c"))
    assert not resolve(symmetric, {"coco": gallery}).absent
    split = dataclasses.replace(symmetric, choices=Choices(symmetric_items="test_folds"))
    assert len(resolve(split, {"coco": gallery}).absent) == 3


def test_a_part_on_two_datasets_is_refused():
    conditions = [Condition("a", part="p"), Condition("b", part="p", dataset="other")]
    with pytest.raises(ValueError, match="part 'p' has conditions on coco and other; give them different parts"):
        resolved(conditions, Shown(), other=Shown())
