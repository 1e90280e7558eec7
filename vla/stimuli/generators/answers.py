"""Reads the captions out of a language model's answer and refuses an answer that is not what was asked for."""

import re
import unicodedata
from collections.abc import Sequence

from vla.records import listed

_THOUGHT = re.compile(r"<(think|thinking)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"[^\W_]")
_LETTER = re.compile(r"[^\W\d_]")
# A list number as models write it: `1. a`, `1) a`, `(1) a`, `[1] a`, `1: a`, `1 - a`, `1\. a`, `- 1. a`, `**1.** a`,
# `**1**. a`, `**1. a**`, `#1. a`, `Caption 1: a`.
_NUMBERED = re.compile(
    r"""^\s*(?:[-*+>•]\s+)?(?P<open>\*\*|__)?\s*(?:caption\s*)?[#(\[]?\s*(?P<number>\d{1,3})
        (?P<close>\*\*|__)?\s*(?:\\?[.)\]:、．]+|\s[-–—](?=\s))(?P<rest>.*)$""",
    re.VERBOSE | re.IGNORECASE,
)
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_PAIRS = (("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ("[", "]"), ('"', '"'), ("“", "”"))
_PAIRS += (("'", "'"), ("‘", "’"), ("«", "»"), ("„", "“"))


class InvalidAnswer(ValueError):
    """An answer that does not hold the captions asked for; asking again may help."""


def read_answer(answer: str, count: int, given: Sequence[str]) -> tuple[str, ...]:
    """The `count` new captions of an answer, in its order.

    Text before the list, text that a blank line parts from its end, thoughts in `<think>` and lines without words are
    passed over; emphasis, quotation marks and brackets around a caption are taken off.

    Args:
      answer: What the model said.
      count: How many captions were asked for.
      given: The captions it was shown.

    Raises:
      InvalidAnswer: not a list numbered 1 to `count`; a caption without a letter; two captions that are the same, or
        one the same as one given, but for case, spaces and the final stop.
    """
    captions = [_bare(text) for text in _numbered(answer, count)]
    wordless = [str(i) for i, caption in enumerate(captions, 1) if not _LETTER.search(caption)]
    if wordless:
        raise InvalidAnswer(f"captions without words: {listed(wordless)}")
    seen = {_same(caption): "one it was given" for caption in given}
    for number, caption in enumerate(captions, 1):
        if _same(caption) in seen:
            raise InvalidAnswer(f"caption {number} ({caption!r}) repeats {seen[_same(caption)]}")
        seen[_same(caption)] = f"caption {number}"
    return tuple(captions)


def _numbered(answer: str, count: int) -> list[str]:
    """The text of each line of the numbered list."""
    texts: list[str] = []
    numbers: list[int] = []
    blank = False  # whether the line above has no words, such as a blank one or a code fence
    for line in _THOUGHT.sub("", answer).splitlines():
        found = _NUMBERED.match(line)
        if found:
            numbers.append(int(found["number"]))
            # Emphasis that the number opens is closed by the number, by its stop, or by the caption's end.
            opened = "" if found["close"] else found["open"] or ""
            texts.append(
                found["rest"].removeprefix(opened) if found["rest"].startswith(opened) else opened + found["rest"]
            )
        elif not _WORD.search(line):
            blank = True
            continue
        elif texts:
            if not texts[-1].strip():
                texts[-1] += line  # the caption stands below its number
            elif not blank or len(texts) < count:
                raise InvalidAnswer(f"a line that belongs to no number: {_short(line)}")
        blank = False
    if numbers != list(range(1, count + 1)):
        found_numbers = listed([str(number) for number in numbers], 2 * count) or "none"
        raise InvalidAnswer(f"expected a list numbered 1 to {count}, found {found_numbers} in {_short(answer)}")
    return texts


def _bare(text: str) -> str:
    """A caption without the marks that models put around one, its spaces single."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    before = None
    while text != before:
        before = text
        for opening, closing in _PAIRS:
            inner = text[len(opening) : len(text) - len(closing)]
            marks = _APOSTROPHE.sub("", inner)
            surrounded = text.startswith(opening) and text.endswith(closing)
            if surrounded and inner.strip() and opening not in marks and closing not in marks:
                text = inner.strip()
    return re.sub(r"\*\*(.+?)\*\*", r"\1", text)


def _same(caption: str) -> str:
    """What two captions that differ in case, spaces, form of Unicode and the final stop have in common."""
    return " ".join(unicodedata.normalize("NFKC", caption).casefold().split()).rstrip(" .!。")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 80 else text[:80] + "...")
