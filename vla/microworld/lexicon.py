"""The words of the captions with their universal parts of speech, from lexicon.ini."""

import configparser
from pathlib import Path

Words = tuple[tuple[str, str], ...]

# Parts of speech; all other words are nouns.
_WORDS = {
    "ADJ": "blue bright brown cloudy dark grassy green grey open red sandy snowy starry sunny white wooden yellow",
    "ADP": "above across along at behind below beneath beside by down from in near of on out over through to under "
    "with",
    "ADV": "all around here next now too where",
    "AUX": "can is",
    "CCONJ": "and",
    "DET": "a the",
    "PRON": "one that there we you",
    "SCONJ": "while",
    "VERB": "has have look looks see shows",
}
_TAGS = {word: tag for tag, words in _WORDS.items() for word in words.split()}


def tagged(text: str) -> Words:
    """The words of a phrase with their parts of speech, such as "on the left/ADJ side", where "left" is no noun."""
    words = (word.partition("/") for word in text.split())
    return tuple((word, tag or _TAGS.get(word, "NOUN")) for word, _, tag in words)


_LEXICON = configparser.ConfigParser(delimiters=":")
_LEXICON.read_string(Path(__file__).with_suffix(".ini").read_text(encoding="utf-8"))


def _forms(section: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {key: tuple(tuple(word.split()) for word in text.split(" | ")) for key, text in _LEXICON[section].items()}


def _phrases(section: str) -> dict[str, tuple[Words, ...]]:
    return {key: tuple(map(tagged, text.split(" | "))) for key, text in _LEXICON[section].items()}


NOUNS, _VERBS = _forms("nouns"), _forms("verbs")
STUFF, ON, OVER, _MOVING, _LOCATION = map(_phrases, ("stuff", "on", "over", "moving", "location"))
WEATHER, POSITION, RELATION = map(_phrases, ("weather", "position", "relation"))
SIZES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
NUMBERS = {2: "two", 3: "three"}
# Indices of the forms of a verb.
SINGULAR, BASE, PARTICIPLE = range(3)


def verbs(category: str, action: str) -> tuple[tuple[str, ...], ...]:
    """The verbs for an action of a thing, each as (third person singular, base form, participle)."""
    return _VERBS.get(f"{category}, {action}") or _VERBS[action]


def location(stuff: str, category: str, action: str, in_the_air: bool) -> tuple[Words, ...]:
    """The phrases for the location of a thing relative to the ground, such as "on the grass"."""
    special = _LOCATION.get(f"{stuff}, {category}") or _LOCATION.get(f"{stuff}, {action}")
    if not special and action in ("roll", "speed", "walk"):
        special = _MOVING.get(stuff)
    return special or (OVER if in_the_air else ON)[stuff]
