"""Word classes by hand-written tags, word order, and steps that are applied one after the other."""

import collections

import pytest

from vla.stimuli import CAPTION_MANIPULATIONS, Tagger
from vla.stimuli.caption_manipulations import (
    apply_steps,
    function_words,
    nouns,
    nouns_verbs,
    reversed_words,
    scrambled,
    verbs,
)
from vla.stimuli.specs import read_steps
from vla.stimuli.tagging import Token

TAGGED = "In/ADP Paris/PROPN a/DET dog/NOUN is/AUX chasing/VERB two/NUM balls/NOUN and/CCONJ it/PRON runs/VERB !/PUNCT"
TOKENS = tuple(Token(*token.rsplit("/", 1)) for token in TAGGED.split())


@pytest.mark.parametrize(
    ("function", "options", "kept"),
    [
        (nouns, {}, "dog balls"),
        (nouns, {"proper": "keep"}, "Paris dog balls"),
        (nouns_verbs, {}, "dog chasing balls runs"),
        (nouns_verbs, {"auxiliaries": "keep"}, "dog is chasing balls runs"),
        (nouns_verbs, {"proper": "keep"}, "Paris dog chasing balls runs"),
        (verbs, {}, "chasing runs"),
        (verbs, {"auxiliaries": "keep"}, "is chasing runs"),
        (function_words, {}, "In a is and it"),
    ],
)
def test_what_is_kept(function, options, kept):
    assert function(TOKENS, **options) == kept


def test_nothing_left():
    assert nouns((Token("beautiful", "ADJ"), Token("!", "PUNCT"))) == "" == nouns(())


WORDS = "a dog is chasing the red ball , und ein 🐕 läuft 走る !".split()


def test_the_same_words_in_another_order():
    mixed = scrambled(WORDS, (42, "a"))
    assert sorted(mixed.split()) == sorted(WORDS) and mixed.split() != WORDS
    assert mixed == scrambled(WORDS, (42, "a"))
    assert len({mixed, scrambled(WORDS, (42, "b")), scrambled(WORDS, (43, "a"))}) == 3


def test_captions_of_one_item_are_scrambled_independently():
    places = [scrambled([f"{c}{i}" for i in range(8)], (42, "a")) for c in "xyz"]
    assert len({tuple(word[1] for word in text.split()) for text in places}) == 3


def test_all_orders_but_the_given_one_are_about_equally_likely():
    times = collections.Counter(scrambled(["a", "b", "c"], (0, str(i))) for i in range(1000))
    assert set(times) == {"a c b", "b a c", "b c a", "c a b", "c b a"}
    # Binomial with mean 200 and standard deviation 13.
    assert all(140 < count < 260 for count in times.values())


@pytest.mark.parametrize("text", ["dog", "ha ha ha", ""])
def test_what_has_one_order_only_stays(text):
    assert scrambled(text.split(), (42, "a")) == text


@pytest.mark.parametrize("item", "abcdefgh")
def test_what_has_another_order_never_stays(item):
    assert scrambled(["no", "yes"], (42, item)) == "yes no"
    assert scrambled(["ha", "ha", "ho"], (42, item)) in ("ha ho ha", "ho ha ha")


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.2, 0.5, 0.8])
def test_a_share_of_the_words_moves(fraction):
    words = [str(i) for i in range(20)]
    mixed = scrambled(words, (42, "a"), fraction).split()
    moved = {i for i in range(20) if mixed[i] != words[i]}
    assert len(moved) <= max(2, 20 * fraction) * (fraction > 0)
    assert bool(moved) == (fraction > 0)


def test_places_moved_at_one_share_may_move_at_higher_ones():
    words = [str(i) for i in range(30)]

    def moved(fraction):
        found = set()
        for seed in range(1):
            mixed = scrambled(words, (seed, "a"), fraction).split()
            found |= {i for i in range(30) if mixed[i] != words[i]}
        return found

    small, large = moved(0.2), moved(1.0)
    assert len(small) <= 6 < len(large)


@pytest.mark.parametrize("item", "abcdefgh")
def test_a_small_share_of_repeated_words_still_moves_something(item):
    assert scrambled(["ha"] * 9 + ["ho"], (1, item), 0.1).split() != ["ha"] * 9 + ["ho"]


def test_reversed():
    assert reversed_words(["a", "dog", "!"]) == "! dog a" and reversed_words([]) == ""


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
