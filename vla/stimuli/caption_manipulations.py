"""The manipulations of captions: word classes, word order, the catalogue, and their application to many captions."""

import functools
from collections.abc import Sequence

from vla.stimuli.draws import Key, permutation
from vla.stimuli.specs import Manipulation, Parameter, Step, choice, enter
from vla.stimuli.tagging import Tagger, Token

# The closed classes of Universal Dependencies, except numerals, which describe the content of the scene.
FUNCTION_WORDS = ("ADP", "AUX", "CCONJ", "DET", "PART", "PRON", "SCONJ")


def keep_parts_of_speech(tokens: Sequence[Token], kept: Sequence[str]) -> str:
    """The tokens whose part of speech is in `kept`, joined by single spaces; "" if there are none."""
    return " ".join(token.text for token in tokens if token.pos in kept)


_PROPER = choice("proper nouns (PROPN): drop or keep", "drop", "keep")
_AUXILIARIES = choice("auxiliary verbs (AUX): drop or keep", "drop", "keep")
_EMPTY = choice("items whose caption is left empty: drop (left out, counted) or keep", "drop", "keep")
_CUT = choice("tokenization: at whitespace, or by spaCy", "whitespace", "spacy")

# Every caption manipulation by name.
CAPTION_MANIPULATIONS: dict[str, Manipulation] = {}
manipulation = functools.partial(enter, CAPTION_MANIPULATIONS, "language")
of_tags = functools.partial(manipulation, policies={"empty": _EMPTY}, tagged=True)


@of_tags("Only nouns.", {"proper": _PROPER})
def nouns(tokens: Sequence[Token], proper: str = "drop") -> str:
    """Only nouns: tokens labelled NOUN, as in the paper (appendix A.2), and with "keep" PROPN as well."""
    return keep_parts_of_speech(tokens, ("NOUN", *_also(proper, "PROPN")))


@of_tags("Only nouns and verbs.", {"proper": _PROPER, "auxiliaries": _AUXILIARIES})
def nouns_verbs(tokens: Sequence[Token], proper: str = "drop", auxiliaries: str = "drop") -> str:
    """Only nouns and verbs: NOUN and VERB, as in the paper, and with "keep" PROPN and AUX as well.

    In "is running", "is" is AUX.
    """
    return keep_parts_of_speech(tokens, ("NOUN", "VERB", *_also(proper, "PROPN"), *_also(auxiliaries, "AUX")))


@of_tags("Only verbs.", {"auxiliaries": _AUXILIARIES})
def verbs(tokens: Sequence[Token], auxiliaries: str = "drop") -> str:
    """Only verbs: VERB, and with "keep" AUX as well."""
    return keep_parts_of_speech(tokens, ("VERB", *_also(auxiliaries, "AUX")))


@of_tags("Only function words.")
def function_words(tokens: Sequence[Token]) -> str:
    """Only function words: ADP, AUX, CCONJ, DET, PART, PRON and SCONJ."""
    return keep_parts_of_speech(tokens, FUNCTION_WORDS)


def _also(choice: str, part: str) -> tuple[str, ...]:
    return (part,) if choice == "keep" else ()


@manipulation(
    "Words in random order.",
    {"fraction": Parameter(1.0, "share of the words that change places", 0, 1), "cut": _CUT},
    {"unchanged": choice("captions that have only one order: keep, or drop (left out, counted)", "keep", "drop")},
    dose="fraction",
)
def scrambled(words: Sequence[str], key: Key, fraction: float = 1.0) -> str:
    """The words in random order, joined by single spaces.

    An order that reads like the original is drawn again, so the result differs from it; all other orders are equally
    likely. Captions of one distinct word do not change.

    Args:
      words: The words; punctuation is part of a word or a word by itself, depending on the tokenization.
      key: Key of the random draw, such as (seed, item id).
      fraction: Share of the words that exchange positions, 0 (unchanged) to 1, rounded; at least two words that
        differ. For one key, the positions of a smaller fraction are among those of a larger one.
    """
    words = list(words)
    if fraction == 0 or len(set(words)) < 2:
        return " ".join(words)
    order = permutation((*key, "moved", words), len(words))
    count = max(2, round(fraction * len(words)))
    while len({words[index] for index in order[:count]}) < 2:  # equal words have only one order
        count += 1
    moving = sorted(order[:count])
    mixed, attempt = list(words), 0
    while mixed == words:
        drawn = permutation((*key, "scrambled", words, attempt), len(moving))
        for index, other in zip(moving, drawn, strict=True):
            mixed[index] = words[moving[other]]
        attempt += 1
    return " ".join(mixed)


@manipulation("Words from last to first.", {"cut": _CUT}, name="reversed")
def reversed_words(words: Sequence[str]) -> str:
    """The words in reverse order, joined by single spaces."""
    return " ".join(reversed(words))


def apply_steps(
    steps: Sequence[Step], captions: Sequence[str], keys: Sequence[Key], tagger: Tagger
) -> list[str | None]:
    """The captions after these manipulations; None for those that the policy of a step leaves out.

    Each caption has a key of its random draws, such as (seed, item id).

    Raises:
      ValueError: As for `Tagger.tag`.
    """
    results: list[str | None] = list(captions)
    for step in steps:
        rows = [row for row, caption in enumerate(results) if caption is not None]
        before = [str(results[row]) for row in rows]
        after = _apply(step, before, [keys[row] for row in rows], tagger)
        for row, old, new in zip(rows, before, after, strict=True):
            emptied = step.policies.get("empty") == "drop" and not new
            # Compare words only: spacing does not count as a change.
            unchanged = step.policies.get("unchanged") == "drop" and new.split() == old.split()
            results[row] = None if emptied or unchanged else new
    return results


def _apply(step: Step, captions: Sequence[str], keys: Sequence[Key], tagger: Tagger) -> list[str]:
    manipulation, parameters = step.manipulation, step.parameters
    tokenization = parameters.pop("cut", None)
    if manipulation.tagged:
        tokens = tagger.tag(captions)
    elif tokenization == "spacy":
        tokens = [[token.text for token in of_caption] for of_caption in tagger.tag(captions)]
    else:
        tokens = [caption.split() for caption in captions]
    if manipulation.seeded:
        return [manipulation.apply(words, key, **parameters) for words, key in zip(tokens, keys, strict=True)]
    return [manipulation.apply(words, **parameters) for words in tokens]
