"""Keeps the tagged tokens of captions on disk, shared by all runs."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

Pairs = list[list[str]]


class TagCache:
    """Tagged tokens by text, in a few hundred JSON files of a folder.

    A file is replaced as a whole, so that a kill leaves the old one. Of two processes that write one file at the same
    time, one loses what it added: it is tagged again when it is needed again.
    """

    def __init__(self, folder: Path):
        """Name the folder; it is made when something is written."""
        self._folder = folder

    def read(self, texts: Iterable[str]) -> dict[str, Pairs]:
        """The tokens of those texts that are known."""
        found = {}
        for name, group in _by_file(texts).items():
            known = self._file(name)
            found.update({text: known[text] for text in group if text in known})
        return found

    def add(self, tokens: Mapping[str, Pairs]) -> None:
        """Remember the tokens of texts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, group in _by_file(tokens).items():
            merged = {**self._file(name), **{text: tokens[text] for text in group}}
            handle, draft = tempfile.mkstemp(dir=self._folder, prefix=f".{name}-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(merged, file, ensure_ascii=True)
                os.replace(draft, self._folder / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise

    def _file(self, name: str) -> dict[str, Pairs]:
        """What a file holds; nothing if it is absent or damaged, which costs time and no more."""
        try:
            known = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {text: pairs for text, pairs in known.items() if _is_pairs(pairs)} if isinstance(known, dict) else {}


def _is_pairs(pairs: object) -> bool:
    return isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in pairs
    )


def _by_file(texts: Iterable[str]) -> dict[str, list[str]]:
    """The texts by the name of the file that they belong to."""
    groups = defaultdict(list)
    for text in texts:
        groups[hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:2] + ".json"].append(text)
    return groups
