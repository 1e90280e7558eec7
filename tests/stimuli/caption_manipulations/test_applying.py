"""Steps are done one after the other, each with its policy."""

import pytest

from vla.stimuli import CAPTION_MANIPULATIONS, Tagger
from vla.stimuli.caption_manipulations import apply_steps
from vla.stimuli.caption_manipulations.word_order import scrambled
from vla.stimuli.specs import read_steps


@pytest.fixture
def apply(pipeline):
    def applied(spec, captions):
        steps = read_steps(spec, CAPTION_MANIPULATIONS)
        return apply_steps(steps, captions, [(42, str(i)) for i in range(len(captions))], Tagger(pipeline, cache=None))

    return applied


def test_filters_and_their_policy(apply):
    captions = ["a dog runs on the grass .", "beautiful !"]
    assert apply("nouns", captions) == ["dog grass", None]
    assert apply("nouns:empty=keep", captions) == ["dog grass", ""]
    assert apply("function_words", captions) == ["a on the", None]


def test_each_step_takes_what_the_one_before_left(apply):
    captions = ["a dog runs on the grass .", "beautiful !"]
    assert apply("nouns_verbs + reversed", captions) == ["grass runs dog", None]
    assert apply("nouns + nouns:empty=keep", captions)[1] is None


def test_words_are_cut_at_white_space_or_as_spacy_does(apply):
    assert apply("reversed", ["a dog, \n a cat."]) == ["cat. a dog, a"]
    assert apply("reversed:cut=spacy", ["a dog, \n a cat."]) == [". cat a , dog a"]
    assert apply("scrambled", ["a dog, a cat."]) == [scrambled(["a", "dog,", "a", "cat."], (42, "0"))]


def test_captions_with_one_order_only(apply):
    assert apply("scrambled", ["dog", "go dog"]) == ["dog", "dog go"]
    assert apply("scrambled:unchanged=drop", ["dog", " ha  ha ", "go dog"]) == [None, None, "dog go"]


def test_nothing_to_do(apply):
    assert apply("original", ["a  dog"]) == ["a  dog"] and apply("nouns", []) == []
