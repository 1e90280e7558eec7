"""The trivial guesses of next tokens, by hand."""

import collections
import math

import pytest

from tests.examples.microworld_training.tiny import SEEN, loss_of, scenes, task


def test_unigram_and_uniform():
    made, parameters = task("micro-llama")
    given = scenes()
    seen = [
        t
        for captions in given.captions[:SEEN]
        for c in captions
        for t in [*made.tokenizer.encode(c).tokens[1:], "</s>"]
    ]
    unseen = [
        t
        for captions in given.captions[SEEN:]
        for c in captions
        for t in [*made.tokenizer.encode(c).tokens[1:], "</s>"]
    ]
    counts, V = collections.Counter(seen), made.tokenizer.get_vocab_size()
    expected = -sum(math.log((counts[t] + 1) / (len(seen) + V)) for t in unseen) / len(unseen)
    assert made.trivial["loss"] == pytest.approx(expected)
    guesses = made.results(None, None)["guesses"]
    assert guesses["uniform"] == pytest.approx(math.log(V))
    assert guesses["bigram"] < guesses["unigram"] < guesses["uniform"]


def test_padding_counts_for_nothing():
    made, parameters = task("micro-bloom")
    ids, mask = made.ids[:4].copy(), made.mask[:4]
    before, _ = loss_of(made, parameters, {}, (ids, mask))
    ids[~mask] = 7
    assert (~mask).any() and loss_of(made, parameters, {}, (ids, mask))[0] == before
