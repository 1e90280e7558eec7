"""The choices that the paper leaves open: what they do to views and to ridge regression, and that each is explained."""

import dataclasses

import pytest

from vla.experiments.choices import ALTERNATIVES, POINTS, Choices


def test_every_choice_has_its_point_of_the_text():
    assert set(POINTS) == {field.name for field in dataclasses.fields(Choices)}
    assert set(ALTERNATIVES) <= set(POINTS)


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_defaults_are_alternatives(name):
    assert getattr(Choices(), name) in ALTERNATIVES[name]
    for value in ALTERNATIVES[name]:
        assert getattr(Choices(**{name: value}), name) == value


@pytest.mark.parametrize("name", [name for name, known in ALTERNATIVES.items() if isinstance(known[0], str)])
def test_what_is_no_alternative_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"{name}='sometimes'; expected one of .*{ALTERNATIVES[name][0]}"):
        Choices(**{name: "sometimes"})


def test_an_unknown_protocol_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="khosla_lab"):
        Choices(protocol="platonic")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"caption": "first"}, "caption='first'; expected a whole number of at least 0 or 'seeded'"),
        ({"caption": -1}, "caption=-1; expected"),
        ({"caption": True}, "caption=True; expected"),
        ({"human_captions": 0}, "human_captions=0; expected a whole number of at least 1"),
    ],
)
def test_captions_that_cannot_be_counted(given, words):
    with pytest.raises(ValueError, match=words):
        Choices(**given)


@pytest.mark.parametrize(
    ("choice", "step", "modality", "parameter"),
    [
        ({"masked_fill": "mean"}, "things_only", "vision", {"fill": "mean"}),
        ({"masked_fill": "mean", "unmasked": "drop"}, "stuff_only", "vision", {"fill": "mean", "unmasked": "drop"}),
        ({"rotation_corners": "gray"}, "rotation", "vision", {"corners": "gray"}),
        ({"scramble_cut": "spacy"}, "scrambled", "language", {"cut": "spacy"}),
        ({"empty_captions": "keep"}, "nouns", "language", {"empty": "keep"}),
        ({"empty_captions": "keep"}, "nouns_verbs", "language", {"empty": "keep"}),
    ],
)
def test_what_differs_from_a_manipulations_own_default_is_spelled_out(choice, step, modality, parameter):
    assert Choices(**choice).of_step(step, modality) == parameter
    # Defaults are not: a view that two studies show is known by one name.
    assert Choices().of_step(step, modality) == {}
    assert Choices(**choice).of_step("grayscale", "vision") == {}


def test_settings_of_ridge_regression_leave_the_protocols_alone_unless_asked():
    assert Choices().overrides == {"inner_cv": "loo", "alpha_per_target": False}
    asked = Choices(inner_cv=5, alpha_per_target=True, standardize_targets=False, test_statistics="test").overrides
    expected = {"inner_cv": 5, "alpha_per_target": True, "standardize_targets": False, "test_statistics": "test"}
    assert asked == expected
