"""Describes a scene in five captions of five people, and paraphrases these; every word has its part of speech."""

import dataclasses
from collections.abc import Sequence
from random import Random

from vla.microworld.grammars import ANNOTATORS, PARAPHRASERS, Grammar
from vla.microworld.scenes import Description, Scene
from vla.microworld.teller import Teller

SHORTEST, LONGEST = 8, 15
MOST_PARAPHRASES = 10
_TRIES = 300


@dataclasses.dataclass(frozen=True)
class Caption:
    """A caption, true of its scene.

    Attributes:
      text: The sentence.
      tokens: Its words and punctuation marks.
      tags: The universal part of speech of each token, such as "NOUN".
      says: All that it says of the scene.
    """

    text: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    says: Description


def describe(scene: Scene) -> tuple[Caption, ...]:
    """Five different captions of a scene, 8 to 15 words each, by five people in an order that differs by scene."""
    rng = Random(f"captions {scene.grain}")
    people = rng.sample(ANNOTATORS, len(ANNOTATORS))
    captions: list[Caption] = []
    for person in people:
        captions.append(_new(scene, person, rng, captions))
    return tuple(captions)


def paraphrase(scene: Scene, captions: Sequence[Caption], count: int = MOST_PARAPHRASES) -> tuple[Caption, ...]:
    """New captions that say nothing that the given ones do not say, as one makes them who does not see the scene.

    Args:
      scene: What the captions are of.
      captions: Those of `describe`.
      count: How many, up to 10.

    Raises:
      ValueError: `count` is not from 1 to 10.
    """
    if not 1 <= count <= MOST_PARAPHRASES:
        raise ValueError(f"count={count}; expected 1 to {MOST_PARAPHRASES} paraphrases")
    rng = Random(f"paraphrases {scene.grain}")
    known = set().union(*(_facts(caption.says) for caption in captions))
    said = list(captions)
    for grammar in rng.sample(PARAPHRASERS, len(PARAPHRASERS))[:count]:
        said.append(_new(scene, grammar, rng, said, known))
    return tuple(said[len(captions) :])


def _new(
    scene: Scene, grammar: Grammar, rng: Random, before: Sequence[Caption], known: set[tuple] | None = None
) -> Caption:
    """A caption of another wording than those before it, of the right length, that says no more than is known."""
    texts = {caption.text for caption in before}
    for _ in range(_TRIES):
        teller = Teller(scene, rng)
        words = grammar(teller)
        if not SHORTEST <= sum(tag != "PUNCT" for _, tag in words) <= LONGEST:
            continue
        caption = _caption(words, teller.says())
        if caption.text not in texts and (known is None or _facts(caption.says) <= known):
            return caption
    # A grammar may have no new words for a plain scene; every scene has those of the first.
    assert grammar is not ANNOTATORS[0], f"nothing new can be said of {scene}"
    return _new(scene, ANNOTATORS[0], rng, before, known)


def _caption(words: Sequence[tuple[str, str]], says: Description) -> Caption:
    tokens = [word for word, _ in words] + ["."]
    tags = [tag for _, tag in words] + ["PUNCT"]
    tokens[0] = tokens[0].capitalize()
    text = "".join(token if tag == "PUNCT" else f" {token}" for token, tag in zip(tokens, tags, strict=True)).lstrip()
    return Caption(text, tuple(tokens), tuple(tags), says)


def _facts(says: Description) -> set[tuple]:
    """All that is said, one by one."""
    facts: set[tuple] = {
        (name, getattr(says, name)) for name in ("stuff", "weather", "relation", "place") if getattr(says, name)
    }
    if ("relation", "left of") in facts or ("relation", "right of") in facts:
        facts.add(("relation", "beside"))
    for group in says.groups:
        facts |= {
            (group.kind, name, getattr(group, name))
            for name in ("colour", "size", "action", "count")
            if getattr(group, name) is not None
        }
    return facts
