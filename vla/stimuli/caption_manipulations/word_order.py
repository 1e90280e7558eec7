"""Changes the order of a caption's words and leaves the words."""

from collections.abc import Sequence

from vla.stimuli.draws import Key, permutation


def scrambled(words: Sequence[str], key: Key, fraction: float = 1.0) -> str:
    """The words in random order, joined by single spaces.

    Never the order that was given, if the words allow another: an order that reads the same is drawn again, all
    others are equally likely. One word, or one word repeated, stays as it is.

    Args:
      words: The words; punctuation sticks to them or is a word, as they were cut.
      key: What the order is drawn for, such as (seed, item id).
      fraction: The share of the words, rounded, that change places among themselves, 0 (unchanged) to 1; at least two
        words that differ. For a key the places taken at one fraction are taken at higher ones too.
    """
    words = list(words)
    if fraction == 0 or len(set(words)) < 2:
        return " ".join(words)
    order = permutation((*key, "moved", words), len(words))
    count = max(2, round(fraction * len(words)))
    while len({words[place] for place in order[:count]}) < 2:  # words that are all the same have only one order
        count += 1
    moving = sorted(order[:count])
    attempt = 0
    while True:
        mixed = list(words)
        drawn = permutation((*key, "scrambled", words, attempt), len(moving))
        for place, other in zip(moving, drawn, strict=True):
            mixed[place] = words[moving[other]]
        if mixed != words:
            return " ".join(mixed)
        attempt += 1


def reversed_words(words: Sequence[str]) -> str:
    """The words from last to first, joined by single spaces."""
    return " ".join(reversed(words))
