"""Captions as the paper filters them, by hand-written tags."""

import pytest

from vla.stimuli.caption_manipulations.tagging import Token
from vla.stimuli.caption_manipulations.word_classes import function_words, nouns, nouns_verbs, verbs

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
