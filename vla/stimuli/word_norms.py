"""Published norms of words, such as ratings of concreteness, and their means over captions."""

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vla.checks import listed

# As Brysbaert, Warriner & Kuperman (2014) publish their ratings of concreteness of 40,000 English words.
WORD, VALUE = "Word", "Conc.M"
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_VOWELS = frozenset("aeiou")
_SIBILANT = re.compile(r"(?:[cs]h|[oszx])$")
_SHORT = re.compile(r"(?:^|[^aeiou])[aeiouy][^aeiouwxy]$")


def read_norms(path: str | os.PathLike[str], word: str = WORD, value: str = VALUE) -> dict[str, float]:
    """A number for each lower-case word, from a table with a header, separated by commas, semicolons or tabs.

    Rows without a number (empty, NA, NaN) are skipped.

    Args:
      path: The file, such as the norms of Brysbaert et al., which are not part of this library.
      word: Column of words.
      value: Column of numbers.

    Raises:
      ValueError: No such file or columns; a value that is no number; a word with two different ones; no rows.
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}. Give a file of norms of words") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); save it as text in the encoding UTF-8") from error
    lines = text.splitlines()
    separator = max(",;\t", key=(lines[0] if lines else "").count)
    rows = csv.DictReader(lines, delimiter=separator)
    header = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = header
    missing = [name for name in (word, value) if name not in header]
    if missing:
        raise ValueError(
            f"{path} has no column {' and no column '.join(missing)}; it has {listed(header, 20) or 'none'}. Name the "
            "columns of words and of their values"
        )
    norms: dict[str, float] = {}
    bad: dict[str, list[str]] = {}
    for row in rows:
        key, text = (row[word] or "").strip().lower(), (row[value] or "").strip()
        if not key or text.lower() in ("", "na", "nan", "#n/a"):
            continue
        number = _number(text)
        if number is None:
            bad.setdefault("no number", []).append(f"line {rows.line_num} ({key}: {text!r})")
        elif norms.setdefault(key, number) != number:
            bad.setdefault("a second value", []).append(f"line {rows.line_num} ({key})")
    if bad:
        reasons = "; ".join(f"{reason}: {listed(rows_of)}" for reason, rows_of in bad.items())
        raise ValueError(f"{path} has rows that cannot be used. {reasons}. Correct or delete them")
    if not norms:
        raise ValueError(f"{path} holds no word with a value in the columns {word} and {value}")
    return norms


def caption_norms(captions: Sequence[str], norms: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """The mean norm of each caption's words that have one, NaN if none has; and the share of its words that have one.

    A word that is not in the norms is looked up without a regular English ending (-s, -es, -ies, -ed, -ing), which
    ratings leave out. Every word counts; for the mean of nouns alone, pass `caption_view(..., "nouns").stimuli`.
    """
    means, shares = [], []
    for caption in captions:
        words = _WORD.findall(caption.lower())
        forms = [next((form for form in (word, *_bases(word)) if form in norms), None) for word in words]
        values = [norms[form] for form in forms if form is not None]
        means.append(sum(values) / len(values) if values else math.nan)
        shares.append(len(values) / len(words) if words else 0.0)
    return means, shares


def _bases(word: str) -> Iterator[str]:
    """Possible base forms of a word without a regular ending, the likeliest first."""
    word = re.sub(r"['’]s?$", "", word)
    yield word
    for ending in ("ies", "ied"):
        if word.endswith(ending):
            yield f"{word.removesuffix(ending)}y"
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield from _spelt(word.removesuffix(ending), ending)


def _spelt(stem: str, ending: str) -> tuple[str, ...]:
    """Possible spellings of the base form whose stem precedes an ending, the likeliest first."""
    silent = f"{stem}e"
    if ending == "s":
        return (stem,)
    if ending == "es":
        # Only sibilants and o take -es: dishes, but kites are no kits and planes no plans.
        return (stem, silent) if _SIBILANT.search(stem) else (silent, stem)
    if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in _VOWELS:
        # Running is to run; but hissing and falling are to hiss and to fall.
        return (stem, stem[:-1], silent) if stem[-1] in "flsz" else (stem[:-1], stem, silent)
    # One consonant after a short vowel would have been doubled: riding is to ride, not to rid.
    return (silent, stem) if _SHORT.search(stem) else (stem, silent)


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", ".") if text.count(",") == 1 else text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
