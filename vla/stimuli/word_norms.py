"""Published norms of words, such as ratings of concreteness, and what they say of captions."""

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
_HISS = re.compile(r"(?:[cs]h|[oszx])$")
_SHORT = re.compile(r"(?:^|[^aeiou])[aeiouy][^aeiouwxy]$")


def read_norms(path: str | os.PathLike[str], word: str = WORD, value: str = VALUE) -> dict[str, float]:
    """A number for each word, from a file of columns with a header: commas, semicolons or tabs between them.

    Words are taken in lower case. Rows without a number (empty, NA, NaN) are passed over.

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
    lost = [name for name in (word, value) if name not in header]
    if lost:
        raise ValueError(
            f"{path} has no column {' and no column '.join(lost)}; it has {listed(header, 20) or 'none'}. Name the "
            "columns of words and of their values"
        )
    norms: dict[str, float] = {}
    bad, torn = [], []
    for row in rows:
        spoken, given = (row[word] or "").strip().lower(), (row[value] or "").strip()
        if not spoken or given.lower() in ("", "na", "nan", "#n/a"):
            continue
        number = _number(given)
        if number is None:
            bad.append(f"line {rows.line_num} ({spoken}: {given!r})")
        elif norms.setdefault(spoken, number) != number:
            torn.append(f"line {rows.line_num} ({spoken})")
    if bad or torn:
        told = "; ".join(f"{what}: {listed(of)}" for what, of in (("no number", bad), ("a second value", torn)) if of)
        raise ValueError(f"{path} has rows that cannot be used. {told}. Mend or delete them")
    if not norms:
        raise ValueError(f"{path} holds no word with a value in the columns {word} and {value}")
    return norms


def caption_norms(captions: Sequence[str], norms: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """The mean over each caption's words that have a norm, NaN where none has; and the share of its words that have.

    A word that is not in the norms is looked up without a regular English ending (-s, -es, -ies, -ed, -ing), which
    ratings leave out. Every word counts; of captions without their function words, `caption_view(..., "nouns")` for
    one, the mean is that of the words that are left.
    """
    means, shares = [], []
    for caption in captions:
        words = _WORD.findall(caption.lower())
        found = [norms[form] for form in (_form(word, norms) for word in words) if form is not None]
        means.append(sum(found) / len(found) if found else math.nan)
        shares.append(len(found) / len(words) if words else 0.0)
    return means, shares


def _form(word: str, norms: Mapping[str, float]) -> str | None:
    """The word, or the first of its possible base forms, that has a norm."""
    return next((form for form in (word, *_bases(word)) if form in norms), None)


def _bases(word: str) -> Iterator[str]:
    """What a word may be without a regular ending, the likeliest first."""
    word = re.sub(r"['’]s?$", "", word)
    yield word
    for ending in ("ies", "ied"):
        if word.endswith(ending):
            yield f"{word.removesuffix(ending)}y"
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield from _spelt(word.removesuffix(ending), ending)


def _spelt(stem: str, ending: str) -> tuple[str, ...]:
    """How the base form may be spelt of which an ending left this stem, the likeliest first."""
    silent = f"{stem}e"
    if ending == "s":
        return (stem,)
    if ending == "es":
        # Only a hiss or an o takes -es: dishes, but kites are no kits and planes no plans.
        return (stem, silent) if _HISS.search(stem) else (silent, stem)
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
