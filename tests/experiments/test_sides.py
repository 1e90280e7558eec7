"""Sides as conditions name them: one spelling for one view, which exemplars an average takes."""

import pytest

from vla.experiments.choices import Choices
from vla.experiments.sides import Side, read_side


def members(spec, modality="language", **choices):
    return read_side(spec, modality, Choices(**choices)).members


@pytest.mark.parametrize(
    ("spec", "modality", "expected"),
    [
        ("original:index=0", "language", ("original",)),
        ("original:source=human", "language", ("original",)),
        ("original:source=photograph", "vision", ("original",)),
        ("preferred", "vision", ("original",)),
        ("non_preferred", "vision", ("original:source=rejected",)),
        ("grayscale + rotation:angle=30", "vision", ("grayscale + rotation:angle=30",)),
        ("original + grayscale", "vision", ("grayscale",)),
        ("original:source=paraphrase", "language", ("original:index=0,source=paraphrase",)),
        ("length", "language", ("length",)),
        ("best_by_clip", "language", ("best_by_clip",)),
    ],
)
def test_one_spelling_for_one_view(spec, modality, expected):
    assert read_side(spec, modality, Choices()) == Side(modality, expected)


def test_images_of_an_average_are_synthetic_ones_perhaps_after_the_photograph():
    synthetic = tuple(f"original:index={i},source=synthetic" for i in range(3))
    assert members("average:k=3", "vision") == synthetic
    assert members("average:k=3", "vision", synthetic_set="with_photograph") == ("original", *synthetic[:2])
    assert members("average:k=1", "vision", synthetic_set="with_photograph") == ("original",)


def test_captions_of_an_average_are_human_ones_then_paraphrases():
    assert members("average:k=3", human_captions=2) == (
        "original", "original:index=1", "original:index=0,source=paraphrase",
    )  # fmt: skip
    assert members("scrambled + average:k=2") == ("scrambled", "scrambled:index=1")


def test_the_caption_of_single_ones_is_a_choice_that_averages_do_not_take():
    assert members("original", caption=2) == ("original:index=2",)
    assert members("nouns", caption=2) == ("nouns:index=2",)
    assert members("original:index=1", caption=2) == ("original:index=1",)
    assert members("average:k=2", caption=2) == ("original", "original:index=1")
    # It is about captions.
    assert members("original", "vision", caption=2) == ("original",)


def test_mismatched_is_of_the_side_and_not_of_its_views():
    assert read_side("average:k=2 + mismatched", "language", Choices()) == Side(
        "language", ("original", "original:index=1"), mismatched=True
    )
    assert read_side("best_by_clip + mismatched", "language", Choices()).mismatched


def test_groups_by_median_are_two_captions_each():
    assert members("worst_by_clip", clip_groups="median") == ("worst_by_clip:place=0", "worst_by_clip:place=1")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("average", "average needs k, how many, such as average:k=5"),
        ("average:k=1.5", "average needs k"),
        ("average:k=two", "average needs k"),
        ("length + average:k=2", "length stands alone"),
        ("worst_by_clip:index=1", "no caption view is called 'worst_by_clip'"),
    ],
)
def test_what_cannot_be_meant(spec, words):
    with pytest.raises(ValueError, match=words):
        members(spec)
