"""Parses the captions in the answer of a language model, and rejects answers that do not match the request."""

import re
import unicodedata
from collections.abc import Sequence

from vla.checks import listed

_THOUGHT = re.compile(r"<(think|thinking)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"[^\W_]")
_LETTER = re.compile(r"[^\W\d_]")
# List numbers as models write them: `1. a`, `1) a`, `(1) a`, `[1] a`, `1: a`, `1 - a`, `1\. a`, `- 1. a`, `**1.** a`,
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
    """An answer without the requested captions; another request may succeed."""


def read_answer(answer: str, count: int, originals: Sequence[str]) -> tuple[str, ...]:
    """The `count` new captions of an answer to a request with the `originals`, in order.

    Ignored are text before the list, text after it that follows a blank line, thoughts in `<think>` and lines without
    words. Emphasis, quotation marks and brackets around a caption are removed.

    Raises:
      InvalidAnswer: The list is not numbered 1 to `count`, a caption has no letters, or a caption equals another one
        or an original up to case, spaces and the final full stop.
    """
    captions = [_stripped(text) for text in _numbered(answer, count)]
    wordless = [str(i) for i, caption in enumerate(captions, 1) if not _LETTER.search(caption)]
    if wordless:
        raise InvalidAnswer(f"captions without words: {listed(wordless)}")
    sources = {_normal_form(caption): "one of the request" for caption in originals}
    for number, caption in enumerate(captions, 1):
        form = _normal_form(caption)
        if form in sources:
            raise InvalidAnswer(f"caption {number} ({caption!r}) repeats {sources[form]}")
        sources[form] = f"caption {number}"
    return tuple(captions)


def _numbered(answer: str, count: int) -> list[str]:
    """The text of each line of the numbered list."""
    texts: list[str] = []
    numbers: list[int] = []
    blank = False  # whether the previous line has no words, such as a blank line or a code fence
    for line in _THOUGHT.sub("", answer).splitlines():
        match = _NUMBERED.match(line)
        if match:
            numbers.append(int(match["number"]))
            # Emphasis that opens before the number closes after the number, after its dot, or at the caption's end.
            opened, rest = "" if match["close"] else match["open"] or "", match["rest"]
            texts.append(rest.removeprefix(opened) if rest.startswith(opened) else opened + rest)
        elif not _WORD.search(line):
            blank = True
            continue
        elif texts:
            if not texts[-1].strip():
                texts[-1] += line  # the caption is on the line below its number
            elif not blank or len(texts) < count:
                raise InvalidAnswer(f"a line that belongs to no number: {_shortened(line)}")
        blank = False
    if numbers != list(range(1, count + 1)):
        actual = listed([str(number) for number in numbers], 2 * count) or "none"
        raise InvalidAnswer(f"expected a list numbered 1 to {count}, got {actual} in {_shortened(answer)}")
    return texts


def _stripped(text: str) -> str:
    """A caption without the marks that models put around it, with single spaces."""
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


def _normal_form(caption: str) -> str:
    """A form that ignores case, spaces, Unicode variants and the final full stop."""
    return " ".join(unicodedata.normalize("NFKC", caption).casefold().split()).rstrip(" .!。")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 80 else text[:80] + "...")
