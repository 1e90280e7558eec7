"""Experiments as data: what conditions inherit, and what could not be told apart."""

import pytest

from vla.experiments.choices import Choices
from vla.experiments.experiment import Comparison, Condition, Experiment, as_experiment, read_layers, read_side


def experiment(*conditions, comparisons=(), **more):
    return Experiment("mine", "Mine", "?", conditions, comparisons, **more)


def test_conditions_inherit_what_they_do_not_say():
    one = experiment(Condition("a"), Condition("b", dataset="d", layers="penultimate", vision="v", language="t"),
                     dataset="e", layers="all", vision="w", language="u")  # fmt: skip
    a, b = one.conditions
    assert (a.dataset, a.layers, a.vision, a.language) == ("e", "all", "w", "u")
    assert (b.dataset, b.layers, b.vision, b.language) == ("d", "penultimate", "v", "t")
    assert one.groups("vision") == ("w", "v") and one.groups("language") == ("u", "t")
    assert one.condition("b") is b


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"conditions": ()}, "expected one or more different names"),
        ({"conditions": (Condition("a"), Condition("a"))}, r"has the conditions \['a', 'a'\]"),
        ({"conditions": (Condition("a", layers="last"),)}, "layers='last'; expected one of all, penultimate"),
        ({"comparisons": (Comparison("c", "a", "z"),)}, "comparison 'c': no condition 'z'; there are a, b"),
        ({"comparisons": (Comparison("c", "a", "b"),)}, "'a' and 'b' have different parts, so their items can"),
    ],
)
def test_what_could_not_be_told_apart_is_refused(given, words):
    given = {"conditions": (Condition("a", part="p"), Condition("b", part="q")), "comparisons": (), **given}
    with pytest.raises(ValueError, match=words):
        Experiment("mine", "Mine", "?", **given)


@pytest.mark.parametrize(
    ("value", "layers"),
    [
        ("all", "all"), ("penultimate", "penultimate"), ("block_4", ("block_4",)), (("all",), "all"),
        ("block_1, final_norm", ("block_1", "final_norm")), (["stem", "head"], ("stem", "head")),
    ],
)  # fmt: skip
def test_layers_are_a_word_or_names(value, layers):
    assert read_layers(value) == layers
    given = {"id": "mine", "title": "Mine", "question": "?", "conditions": [{"name": "a"}], "layers": value}
    assert as_experiment(given).conditions[0].layers == layers


@pytest.mark.parametrize("value", ["last", "", (), None, "al"])
def test_layers_that_name_none_are_refused(value):
    with pytest.raises(ValueError, match="expected one of all, penultimate, or names"):
        read_layers(value)


def test_dictionaries_of_a_config_are_read_into_the_same_experiment():
    given = {"id": "mine", "title": "Mine", "question": "?", "metrics": ["cka"],
             "conditions": [{"name": "a"}, Condition("b", image="blur")],
             "comparisons": [{"name": "c", "higher": "a", "lower": "b"}]}  # fmt: skip
    conditions = (Condition("a"), Condition("b", image="blur"))
    expected = experiment(*conditions, comparisons=(Comparison("c", "a", "b"),), metrics=("cka",))
    assert as_experiment(given) == expected and as_experiment(expected) is expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"titel": "Mine"}, r"an experiment: unknown \['titel'\], missing \[\]; it has the fields id, title, question"),
        ({"conditions": ({"name": "a", "images": "blur"},)}, r"a condition of 'mine': unknown \['images'\]"),
        (
            {"comparisons": ({"name": "c", "higher": "a"},)},
            r"a comparison of 'mine': unknown \[\], missing \['lower'\]",
        ),
    ],
)
def test_fields_that_there_are_not(changes, words):
    with pytest.raises(ValueError, match=words):
        as_experiment({"id": "mine", "title": "Mine", "question": "?", "conditions": ({"name": "a"},), **changes})


def members(spec, modality="language", **choices):
    return tuple(map(str, read_side(spec, modality, Choices(**choices)).members))


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
    assert members(spec, modality) == expected


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
    side = read_side("average:k=2 + mismatched", "language", Choices())
    assert side.mismatched and tuple(map(str, side.members)) == ("original", "original:index=1")
    assert read_side("best_by_clip + mismatched", "language", Choices()).mismatched


def test_groups_by_median_are_two_captions_each():
    assert members("worst_by_clip", clip_groups="median") == ("worst_by_clip:place=0", "worst_by_clip:place=1")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("average", "average needs a number k, such as average:k=5"),
        ("average:k=1.5", "average needs a number k"),
        ("average:k=two", "average needs a number k"),
        ("length + average:k=2", "length can only be combined with mismatched"),
        ("worst_by_clip:index=1", "no caption view is called 'worst_by_clip'"),
    ],
)
def test_what_cannot_be_meant(spec, words):
    with pytest.raises(ValueError, match=words):
        members(spec)
