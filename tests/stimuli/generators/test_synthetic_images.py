import hashlib
import json
import random

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.generators.worlds import dataset
from vla.stimuli.generators import generate_images, plan_images, with_synthetic
from vla.stimuli.generators.image_files import read_record


class Noise:
    """A painter whose picture is a function of prompt and seed; some seeds can be censored."""

    name = "some/painter"

    def __init__(self, censored=lambda prompt, draws: False, stop_after=None, **settings):
        self.settings, self.software = {"painter": "noise", **settings}, {"noise": "1"}
        self.censored, self.stop_after = censored, stop_after
        self.calls, self.opened = [], 0

    def open(self):
        self.opened += 1

    def too_long(self, prompts):
        return [place for place, prompt in enumerate(prompts) if len(prompt) > 60]

    def generate(self, prompts, seeds):
        if self.stop_after is not None and len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(tuple(prompts))
        return [self._one(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _one(self, prompt, seed):
        if self.censored(prompt, sum(call == (prompt,) for call in self.calls)):
            return "censored"
        digest = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
        return Image.fromarray(np.random.default_rng(list(digest)).integers(0, 256, (16, 16, 3), np.uint8))


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_pictures_come_in_the_stated_order_with_their_prompts_and_seeds(tmp_path):
    world = dataset(2)
    folder = generate_images(plan_images(world, Noise(), tmp_path))
    joined = with_synthetic(world, folder)
    for item in joined.items:
        assert [path.relative_to(folder).as_posix() for path in item.synthetic] == [
            f"{item.id}/{n}.png" for n in range(10)
        ]
        records = [read_record(path) for path in item.synthetic]
        assert [(record["caption"], record["variant"]) for record in records] == [
            (caption, variant) for variant in range(2) for caption in range(5)
        ]
        assert [record["prompt"] for record in records] == list(item.captions) * 2
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len({image["seed"] for image in manifest["images"]}) == 20
    assert manifest["n_redrawn"] == 0 and manifest["software"] == {"noise": "1"}
    for image in manifest["images"]:
        pixels = Noise()._one(image["prompt"], image["seed"])
        np.testing.assert_array_equal(pixels, Image.open(folder / image["file"]))


def test_a_picture_is_the_same_whatever_was_drawn_before(tmp_path):
    world = dataset(4)
    whole = bytes_of(generate_images(plan_images(world, Noise(), tmp_path / "whole")))
    shuffled = type(world)("world", tuple(random.Random(0).sample(world.items, 2)))
    part = bytes_of(generate_images(plan_images(shuffled, Noise(), tmp_path / "part", variants=3)))
    assert len(part) == 30
    assert {name: data for name, data in part.items() if name in whole} == {
        name: whole[name] for name in part if name in whole
    }
    assert sum(name in whole for name in part) == 20


@pytest.mark.parametrize("together", [1, 3])
def test_a_stopped_run_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path, together):
    world = dataset(3)
    expected = bytes_of(generate_images(plan_images(world, Noise(), tmp_path / "whole", together=together)))
    with pytest.raises(KeyboardInterrupt):
        generate_images(plan_images(world, Noise(stop_after=5), tmp_path / "cut", together=together))
    plan = plan_images(world, Noise(), tmp_path / "cut", together=together)
    assert plan.n_pending == 30 - {1: 5, 3: 10 + 3}[together]
    assert not (plan.folder / "manifest.json").exists()
    assert bytes_of(generate_images(plan)) == expected
    done = Noise()
    generate_images(plan_images(world, done, tmp_path / "cut", together=together))
    assert done.calls == [] and done.opened == 0


def test_one_lost_picture_is_drawn_again_in_its_group(tmp_path):
    world = dataset(2)
    folder = generate_images(plan_images(world, Noise(), tmp_path, together=5))
    before = bytes_of(folder)
    (folder / "item_1" / "7.png").unlink()
    painter = Noise()
    generate_images(plan_images(world, painter, tmp_path, together=5))
    assert painter.calls == [world.items[1].captions] and bytes_of(folder) == before


@pytest.mark.parametrize("change", ["seed", "settings", "together"])
def test_other_settings_are_another_set(tmp_path, change):
    world = dataset(1)
    generate_images(plan_images(world, Noise(), tmp_path))
    settings = {"settings": {}, "seed": {"seed": 1}, "together": {"together": 2}}[change]
    plan = plan_images(world, Noise(steps=3) if change == "settings" else Noise(), tmp_path, **settings)
    assert plan.n_pending == 10


def test_flagged_pictures_are_redrawn_and_counted(tmp_path):
    world = dataset(1)
    censored = world.items[0].captions[1]
    folder = generate_images(
        plan_images(world, Noise(lambda prompt, draws: prompt == censored and draws < 3), tmp_path, variants=1)
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["n_redrawn"] == 1 and [image["redrawn"] for image in manifest["images"]] == [0, 2, 0, 0, 0]
    assert len(with_synthetic(world, folder).items[0].synthetic) == 5


@pytest.mark.parametrize(("flagged", "draws", "remedy"), [("refuse", 1, 'flagged="redraw"'), ("redraw", 6, "settings")])
def test_pictures_that_cannot_be_had_are_named_after_all_others_are_drawn(tmp_path, flagged, draws, remedy):
    world = dataset(2)
    painter = Noise(lambda prompt, draws: "thing 0 seen two" in prompt)
    plan = plan_images(world, painter, tmp_path, variants=1)
    with pytest.raises(ValueError) as refused:
        generate_images(plan, flagged=flagged)
    expected = f"1 of the 10 images could not be generated: item_0/1 (censored, generated {draws} times)"
    assert expected in str(refused.value)
    assert remedy in str(refused.value)
    assert not (plan.folder / "manifest.json").exists() and len(bytes_of(plan.folder)) == 9
    with pytest.raises(ValueError, match="1 are missing: item_0/1"):
        with_synthetic(world, plan.folder)


def test_pictures_of_other_captions_are_refused(tmp_path):
    folder = generate_images(plan_images(dataset(1), Noise(), tmp_path))
    corrected = dataset(1, subject="corrected")
    with pytest.raises(
        ValueError, match="10 images in .* were generated from other captions than world has now: item_0/0"
    ):
        plan_images(corrected, Noise(), tmp_path)
    with pytest.raises(ValueError, match="10 images were generated from other captions"):
        with_synthetic(corrected, folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_captions": 6}, "1 of the 1 items of world have fewer than 6 captions: item_0 (5)"),
        ({"variants": 0}, "variants=0"),
        ({"together": 0}, "together=0"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, words):
    with pytest.raises(ValueError) as refused:
        plan_images(dataset(1), Noise(), tmp_path, **settings)
    assert words in str(refused.value)


def test_long_prompts_are_refused_before_anything_is_drawn(tmp_path):
    painter = Noise()
    with pytest.raises(ValueError, match="5 captions are too long .* caption 0 of item_0"):
        generate_images(plan_images(dataset(1, subject="thing " * 12), painter, tmp_path))
    assert painter.calls == []
    with pytest.raises(ValueError, match="expected one of redraw, refuse"):
        generate_images(plan_images(dataset(1), painter, tmp_path), flagged="keep")
