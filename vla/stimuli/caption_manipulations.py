"""The manipulations of captions: word classes, word order, the catalogue, and their application to many captions."""

from collections.abc import Sequence

from vla.stimuli.draws import Key, permutation
from vla.stimuli.specs import Manipulation, Parameter, Step
from vla.stimuli.tagging import Tagger, Token

# The closed classes of Universal Dependencies, except numerals, which describe the content of the scene.
FUNCTION_WORDS = ("ADP", "AUX", "CCONJ", "DET", "PART", "PRON", "SCONJ")


def keep_parts_of_speech(tokens: Sequence[Token], kept: Sequence[str]) -> str:
    """The tokens whose part of speech is in `kept`, joined by single spaces; "" if there are none."""
    return " ".join(token.text for token in tokens if token.pos in kept)


def nouns(tokens: Sequence[Token], proper: str = "drop") -> str:
    """Only nouns.

    The paper keeps only tokens labelled NOUN (appendix A.2).

    Args:
      tokens: The tagged caption.
      proper: "keep" keeps proper nouns (PROPN) as well.
    """
    return keep_parts_of_speech(tokens, ("NOUN", *_also(proper, "PROPN")))


def nouns_verbs(tokens: Sequence[Token], proper: str = "drop", auxiliaries: str = "drop") -> str:
    """Only nouns and verbs.

    The paper keeps NOUN and VERB: in "is running", "is" is AUX and is removed.

    Args:
      tokens: The tagged caption.
      proper: "keep" keeps proper nouns (PROPN) as well.
      auxiliaries: "keep" keeps auxiliary verbs (AUX) as well.
    """
    return keep_parts_of_speech(tokens, ("NOUN", "VERB", *_also(proper, "PROPN"), *_also(auxiliaries, "AUX")))


def verbs(tokens: Sequence[Token], auxiliaries: str = "drop") -> str:
    """Only verbs.

    Args:
      tokens: The tagged caption.
      auxiliaries: "keep" keeps auxiliary verbs (AUX) as well.
    """
    return keep_parts_of_speech(tokens, ("VERB", *_also(auxiliaries, "AUX")))


def function_words(tokens: Sequence[Token]) -> str:
    """Only function words: ADP, AUX, CCONJ, DET, PART, PRON and SCONJ."""
    return keep_parts_of_speech(tokens, FUNCTION_WORDS)


def _also(choice: str, part: str) -> tuple[str, ...]:
    """The part of speech if the choice is "keep"."""
    return (part,) if choice == "keep" else ()


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
    attempt = 0
    while True:
        mixed = list(words)
        drawn = permutation((*key, "scrambled", words, attempt), len(moving))
        for index, other in zip(moving, drawn, strict=True):
            mixed[index] = words[moving[other]]
        if mixed != words:
            return " ".join(mixed)
        attempt += 1


def reversed_words(words: Sequence[str]) -> str:
    """The words in reverse order, joined by single spaces."""
    return " ".join(reversed(words))


_PROPER = Parameter("drop", "proper nouns (PROPN): drop or keep", choices=("drop", "keep"))
_AUXILIARIES = Parameter("drop", "auxiliary verbs (AUX): drop or keep", choices=("drop", "keep"))
_EMPTY = Parameter(
    "drop", "items whose caption is left empty: drop (left out, counted) or keep", choices=("drop", "keep")
)
_CUT = Parameter("whitespace", "tokenization: at whitespace, or by spaCy", choices=("whitespace", "spacy"))

# Every caption manipulation by name.
CAPTION_MANIPULATIONS = {
    manipulation.name: manipulation
    for manipulation in (
        Manipulation("nouns", "language", "Only nouns.", nouns, {"proper": _PROPER}, {"empty": _EMPTY}, tagged=True),
        Manipulation(
            "nouns_verbs",
            "language",
            "Only nouns and verbs.",
            nouns_verbs,
            {"proper": _PROPER, "auxiliaries": _AUXILIARIES},
            {"empty": _EMPTY},
            tagged=True,
        ),
        Manipulation(
            "verbs", "language", "Only verbs.", verbs, {"auxiliaries": _AUXILIARIES}, {"empty": _EMPTY}, tagged=True
        ),
        Manipulation(
            "function_words", "language", "Only function words.", function_words, {}, {"empty": _EMPTY}, tagged=True
        ),
        Manipulation(
            "scrambled",
            "language",
            "Words in random order.",
            scrambled,
            {"fraction": Parameter(1.0, "share of the words that change places", 0, 1), "cut": _CUT},
            {
                "unchanged": Parameter(
                    "keep",
                    "captions that have only one order: keep, or drop (left out, counted)",
                    choices=("keep", "drop"),
                )
            },
            dose="fraction",
            seeded=True,
        ),
        Manipulation("reversed", "language", "Words from last to first.", reversed_words, {"cut": _CUT}),
    )
}


def apply_steps(
    steps: Sequence[Step], captions: Sequence[str], keys: Sequence[Key], tagger: Tagger
) -> list[str | None]:
    """Apply manipulations to captions, one after the other.

    Args:
      steps: Manipulations from `CAPTION_MANIPULATIONS`, with their parameters.
      captions: The captions.
      keys: Key of the random draws of each caption, such as (seed, item id).
      tagger: Tokenizes captions, if a step needs it.

    Returns:
      The manipulated captions; None for those that the policy of a step leaves out.

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
    """Apply one manipulation to every caption."""
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
