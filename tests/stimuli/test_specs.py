"""Specs in all their forms, and what is said of those that are wrong."""

import math
import pickle

import pytest

from vla.stimuli import CAPTION_MANIPULATIONS, IMAGE_MANIPULATIONS
from vla.stimuli.specs import Parameter, read_steps


def steps(spec, **parameters):
    return read_steps(spec, IMAGE_MANIPULATIONS, **parameters)


@pytest.mark.parametrize(
    "spec",
    [
        "rotation:angle=30,corners=mean",
        " rotation : corners = mean , angle = 3e+1 ",
        {"name": "rotation", "angle": 30, "corners": "mean"},
        [{"name": "rotation", "angle": "30.0", "corners": "mean"}],
        ["original", "rotation:angle=30,corners=mean"],
        steps("rotation:angle=30,corners=mean"),
    ],
)
def test_all_forms_say_the_same(spec):
    (step,) = steps(spec)
    assert step.parameters == {"angle": 30.0, "corners": "mean"} and step.label == "rotation-30-corners=mean"
    assert step == steps("rotation", angle=30, corners="mean")[0]


def test_several_are_done_in_order():
    assert [s.label for s in steps("grayscale + blur:sigma=2+occlusion")] == ["grayscale", "blur-2", "occlusion-0.25"]
    assert steps(["grayscale", "blur:sigma=2", "occlusion"]) == steps("grayscale + blur:sigma=2+occlusion")
    assert steps(None) == steps("original") == steps([]) == steps(["original", None]) == ()


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("rotation", "rotation-15"),
        ("rotation:angle=-7.5", "rotation--7.5"),
        ("grayscale", "grayscale"),
        ("grayscale:amount=0.5", "grayscale-0.5"),
        ("things_only", "things_only"),
        ("things_only:fill=#10aaFF,empty=keep", "things_only-fill=#10aaFF"),
        ("patch_shuffle:patch=16", "patch_shuffle-4-patch=16"),
        ("horizontal_flip", "horizontal_flip"),
    ],
)
def test_labels(spec, label):
    assert steps(spec)[0].label == label


def test_equal_values_determine_the_same():
    assert steps("rotation:angle=0")[0].determines() == steps("rotation", angle=-0.0)[0].determines()
    assert math.copysign(1, steps("rotation", angle=-0.0)[0].parameters["angle"]) == 1
    assert steps("rotation")[0].determines() == {"name": "rotation", "version": 1, "angle": 15.0, "corners": "black"}
    # What is done with items that cannot be shown changes no pixel.
    assert steps("things_only:empty=keep")[0].determines() == steps("things_only")[0].determines()


@pytest.mark.parametrize("known", [IMAGE_MANIPULATIONS, CAPTION_MANIPULATIONS])
def test_every_manipulation_can_be_sent_to_another_process_and_says_what_it_is(known):
    for name, manipulation in known.items():
        (step,) = read_steps(name, known)
        assert pickle.loads(pickle.dumps(step)) == step
        assert manipulation.name == name and manipulation.description.endswith(".")
        assert manipulation.dose in ("", *manipulation.parameters)
        for parameter in (*manipulation.parameters.values(), *manipulation.policies.values()):
            assert parameter.description and parameter.read(parameter.default) == parameter.default
    assert {m.modality for m in known.values()} in ({"vision"}, {"language"})


@pytest.mark.parametrize("name", [n for n, m in IMAGE_MANIPULATIONS.items()])
def test_every_image_manipulation_has_a_dose(name):
    assert IMAGE_MANIPULATIONS[name].dose


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "rotate",
            "No image manipulation is called 'rotate'; expected one of blur, color_jitter, .*original, .*rotation",
        ),
        ("nouns", "No image manipulation is called 'nouns'"),
        ("rotation:angel=3", "rotation has no parameter 'angel'; expected one of angle, corners"),
        ("rotation:angle=far", "rotation: angle='far'; expected a number from -360 to 360"),
        ("rotation:angle=nan", "angle='nan'; expected a number"),
        ("rotation:angle=400", "angle='400'; expected a number from -360 to 360"),
        ("rotation:corners=pink", "corners='pink'; expected one of black, gray, mean, or a colour as #rrggbb"),
        ("rotation:corners=#12345", "corners='#12345'; expected"),
        ("patch_shuffle:grid=2.5", "grid='2.5'; expected a whole number from 2 to 1024"),
        ("patch_shuffle:grid=1", "grid='1'; expected a whole number"),
        ({"name": "patch_shuffle", "grid": True}, "grid=True; expected a whole number"),
        ("things_only:empty=refuse", "empty='refuse'; expected one of drop, keep"),
        ("original:angle=3", "original has no parameters, but angle is given"),
        ("rotation:15", "'rotation:15' is not understood; expected such as"),
        ("rotation:angle=1,angle=2", "gives a parameter twice"),
        ("", "'' is not understood"),
        ({"angle": 15}, "names no manipulation"),
        (15, "15 is a int; expected a manipulation's name"),
    ],
)
def test_mistakes(spec, words):
    with pytest.raises(ValueError, match=words):
        steps(spec)


def test_parameters_beside_a_spec_need_one_manipulation():
    assert steps("rotation:angle=3", angle=4)[0].parameters["angle"] == 4
    for spec in (None, "original", "grayscale+rotation"):
        with pytest.raises(ValueError, match="The parameters angle are given beside .* names [02] manipulations"):
            steps(spec, angle=15)
    with pytest.raises(ValueError, match="reversed has no parameter 'angle'; expected one of cut"):
        read_steps("reversed", CAPTION_MANIPULATIONS, angle=1)
    with pytest.raises(
        ValueError, match="No caption manipulation is called 'rotation'; expected one of function_words"
    ):
        read_steps("rotation", CAPTION_MANIPULATIONS)


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Parameter(1.0, "x"), "a number"),
        (Parameter(1, "x", 0), "a whole number of at least 0"),
        (Parameter("a", "x", choices=("b", "a")), "one of a, b"),
    ],
)
def test_what_is_expected_in_words(parameter, expected):
    assert parameter.expected == expected


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (Parameter(1.0, "x"), "2", 2.0),
        (Parameter(1.0, "x", 0, 5), 5, 5.0),
        (Parameter(1, "x"), 3.0, 3),
        (Parameter("a", "x", choices=("a", "b")), "b", "b"),
        (Parameter("a", "x", choices=("a",), pattern="#[0-9]"), "#7", "#7"),
    ],
)
def test_values_are_read_in_the_parameters_own_type(parameter, given, value):
    read = parameter.read(given)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("given", [None, True, "x", float("inf"), -1, 5.1, [2]])
def test_values_that_are_not_allowed(given):
    with pytest.raises(ValueError, match="expected a number from 0 to 5"):
        Parameter(1.0, "x", 0, 5).read(given)
