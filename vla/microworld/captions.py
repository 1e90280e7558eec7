"""Writes captions of a scene as five annotators would, and paraphrases of them; every word has its part of speech."""

import dataclasses
from collections.abc import Sequence
from random import Random

from vla.microworld.grammars import ANNOTATORS, PARAPHRASERS, Grammar, PhraseBuilder
from vla.microworld.scenes import Description, Scene

MIN_WORDS, MAX_WORDS = 8, 15
MAX_PARAPHRASES = 10
_TRIES = 300

# One fact of a description: (field, value), or (category, field, value) of a group.
Fact = tuple[str, object] | tuple[str, str, object]


@dataclasses.dataclass(frozen=True)
class Caption:
    """A sentence that is true of its scene, its tokens with their universal parts of speech, and all that it says."""

    text: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    description: Description


def describe(scene: Scene) -> tuple[Caption, ...]:
    """Five different captions of a scene, 8 to 15 words each, in the styles of five annotators in random order."""
    rng = Random(f"captions {scene.grain}")
    captions: list[Caption] = []
    for grammar in rng.sample(ANNOTATORS, len(ANNOTATORS)):
        captions.append(_new_caption(scene, grammar, rng, captions))
    return tuple(captions)


def paraphrase(scene: Scene, captions: Sequence[Caption], count: int = MAX_PARAPHRASES) -> tuple[Caption, ...]:
    """1 to 10 new captions that say nothing beyond those of `describe`, as if written without seeing the scene.

    Raises:
      ValueError: `count` is not from 1 to 10.
    """
    if not 1 <= count <= MAX_PARAPHRASES:
        raise ValueError(f"count={count}; expected 1 to {MAX_PARAPHRASES} paraphrases")
    rng = Random(f"paraphrases {scene.grain}")
    known = set().union(*(_facts(caption.description) for caption in captions))
    texts = list(captions)
    for grammar in rng.sample(PARAPHRASERS, len(PARAPHRASERS))[:count]:
        texts.append(_new_caption(scene, grammar, rng, texts, known))
    return tuple(texts[len(captions) :])


def _new_caption(
    scene: Scene, grammar: Grammar, rng: Random, before: Sequence[Caption], known: set[Fact] | None = None
) -> Caption:
    """A caption of the right length that differs from those before it and says only known facts (None: any)."""
    texts = {caption.text for caption in before}
    for _ in range(_TRIES):
        builder = PhraseBuilder(scene, rng)
        words = grammar(builder)
        if not MIN_WORDS <= sum(tag != "PUNCT" for _, tag in words) <= MAX_WORDS:
            continue
        caption = _caption(words, builder.description())
        if caption.text not in texts and (known is None or _facts(caption.description) <= known):
            return caption
    # A pattern may have no new wording left for a simple scene; the first pattern has one for every scene.
    assert grammar is not ANNOTATORS[0], f"no new caption of {scene}"
    return _new_caption(scene, ANNOTATORS[0], rng, before, known)


def _caption(words: Sequence[tuple[str, str]], description: Description) -> Caption:
    """The sentence of tagged words: capitalised, with a final full stop."""
    tokens = [word for word, _ in words] + ["."]
    tags = [tag for _, tag in words] + ["PUNCT"]
    tokens[0] = tokens[0].capitalize()
    text = "".join(token if tag == "PUNCT" else f" {token}" for token, tag in zip(tokens, tags, strict=True)).lstrip()
    return Caption(text, tuple(tokens), tuple(tags), description)


def _facts(description: Description) -> set[Fact]:
    fields = {name: getattr(description, name) for name in ("stuff", "weather", "relation", "position")}
    facts: set[Fact] = {(name, value) for name, value in fields.items() if value}
    # The side implies "next to".
    if description.relation in ("left of", "right of"):
        facts.add(("relation", "beside"))
    for group in description.groups:
        values = {name: getattr(group, name) for name in ("colour", "size", "action", "count")}
        facts |= {(group.category, name, value) for name, value in values.items() if value is not None}
    return facts
