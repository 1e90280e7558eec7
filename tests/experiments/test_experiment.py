"""Experiments as data: what conditions inherit, and what could not be told apart."""

import pytest

from vla.experiments.experiment import Comparison, Condition, Experiment, as_experiment, read_layers


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
        ({"comparisons": (Comparison("c", "a", "b"),)}, "'a' and 'b' are of different parts, so their items may"),
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
