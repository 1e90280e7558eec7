"""Keeps the words of a caption that belong to some parts of speech."""

from collections.abc import Sequence

from vla.stimuli.caption_manipulations.tagging import Token

# The closed classes of Universal Dependencies without numerals, which say something of the scene.
FUNCTION_WORDS = ("ADP", "AUX", "CCONJ", "DET", "PART", "PRON", "SCONJ")


def keep_parts_of_speech(tokens: Sequence[Token], kept: Sequence[str]) -> str:
    """The tokens whose `Token.pos_` is among `kept`, joined by single spaces; "" if there are none."""
    return " ".join(token.text for token in tokens if token.pos in kept)


def nouns(tokens: Sequence[Token], proper: str = "drop") -> str:
    """Only nouns.

    The paper keeps tokens labelled NOUN and nothing else (its appendix A.2).

    Args:
      tokens: The tagged caption.
      proper: "keep" keeps proper nouns (PROPN) as well.
    """
    return keep_parts_of_speech(tokens, ("NOUN", *_also(proper, "PROPN")))


def nouns_verbs(tokens: Sequence[Token], proper: str = "drop", auxiliaries: str = "drop") -> str:
    """Only nouns and verbs.

    The paper keeps NOUN and VERB: "is" of "is running" is AUX and goes.

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
    return (part,) if choice == "keep" else ()
