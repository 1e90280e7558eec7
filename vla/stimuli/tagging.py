"""Tags the tokens of captions with their parts of speech by a spaCy pipeline, and caches the tags on disk."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vla import progress
from vla.checks import check_whole_number
from vla.files import file_hash, write_file
from vla.records import canonical_hash

DEFAULT_PIPELINE = "en_core_web_sm"

# Components that do not set Token.pos_: excluded to save time.
_EXCLUDED = ("ner", "entity_linker", "entity_ruler", "lemmatizer", "trainable_lemmatizer", "textcat")

_BATCH = 256


class Token(NamedTuple):
    """A token of a caption: its text and its universal part of speech, such as "NOUN"."""

    text: str
    pos: str


class Tagger:
    """A spaCy pipeline that tags captions, with a cache on disk; it is loaded when it is first needed.

    The cache depends on the content of the pipeline and the version of spaCy, so pipelines of the same name do not
    share tags.
    """

    def __init__(
        self,
        pipeline: object = DEFAULT_PIPELINE,
        cache: str | os.PathLike[str] | None = "default",
        processes: int = 1,
        show_progress: bool = False,
    ):
        """Check the settings.

        Args:
          pipeline: Name of an installed pipeline, or folder of a pipeline.
          cache: Folder of the cache; "default" for `~/.cache/vla/tags`, None for no cache.
          processes: Number of processes; more than one is faster from about 100,000 captions on.
          show_progress: Show a progress bar with the remaining time.

        Raises:
          ValueError: The pipeline has no name, or `processes` is not a whole number of at least 1.
        """
        if not isinstance(pipeline, str | os.PathLike) or not str(pipeline):
            raise ValueError(f"tagger={pipeline!r}; expected the name of a spaCy pipeline or its folder")
        check_whole_number("processes", processes)
        self.pipeline = os.fspath(pipeline)
        self._folder = default_cache() if cache == "default" else cache
        self._processes = processes
        self._show_progress = show_progress

    def tag(self, texts: Sequence[str]) -> list[tuple[Token, ...]]:
        """The tokens of each text, without white space.

        A ValueError with the remedy if spaCy or the pipeline is not installed, or the pipeline gives no parts of
        speech.
        """
        distinct = list(dict.fromkeys(texts))
        cache = None if self._folder is None else TagCache(Path(self._folder).expanduser() / self._fingerprint)
        known = {} if cache is None else cache.read(distinct)
        unknown = [text for text in distinct if text not in known]
        fresh = {}
        show = self._show_progress and bool(unknown)
        with progress.bar(f"tagging by {self.pipeline}", len(unknown), show) as advance:
            for text, doc in zip(unknown, self._docs(unknown), strict=True):
                fresh[text] = [[token.text, token.pos_] for token in doc if not token.is_space]
                advance(1)
        if cache is not None and fresh:
            cache.add(fresh)
        tagged = {text: tuple(Token(*pair) for pair in pairs) for text, pairs in {**known, **fresh}.items()}
        return [tagged[text] for text in texts]

    def _docs(self, texts: list[str]) -> Iterable[Any]:
        return self._nlp.pipe(texts, batch_size=_BATCH, n_process=self._processes) if texts else []

    @functools.cached_property
    def _nlp(self) -> Any:
        return _load(self.pipeline)

    @functools.cached_property
    def _fingerprint(self) -> str:
        root = self._nlp.path
        files = {str(path.relative_to(root)): file_hash(path) for path in sorted(root.rglob("*")) if path.is_file()}
        return f"{self._nlp.meta['name']}-{canonical_hash([importlib.metadata.version('spacy'), files])[:16]}"


def default_cache() -> Path:
    """The default folder of the cache: `~/.cache/vla/tags`, or under XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vla" / "tags"


@functools.lru_cache(maxsize=4)
def _load(pipeline: str) -> Any:
    try:
        import spacy
    except ImportError as error:
        raise ValueError("Parts of speech need spaCy, which is not installed: pip install spacy") from error
    if Path(pipeline).is_dir():
        source = str(Path(pipeline).absolute())
    elif spacy.util.is_package(pipeline):
        source = pipeline
    else:
        raise ValueError(
            f"The spaCy pipeline {pipeline!r} is not installed, and there is no folder of that name. Install it by "
            f"`python -m spacy download {pipeline}`, or name another pipeline or a folder; installed are "
            f"{', '.join(sorted(spacy.util.get_installed_models())) or 'none'}"
        )
    try:
        nlp = spacy.load(source, exclude=list(_EXCLUDED))
    # On a damaged folder spaCy raises errors of many types: OSError, ValueError, KeyError, ...
    except Exception as error:
        raise ValueError(f"The spaCy pipeline {pipeline} cannot be loaded: {error}. Install it again") from error
    if not nlp("a dog runs on the grass").has_annotation("POS"):
        raise ValueError(
            f"The spaCy pipeline {pipeline} gives no parts of speech (Token.pos_); its components are "
            f"{', '.join(nlp.pipe_names) or 'none'}. Use one with a morphologizer, or a tagger with an "
            f"attribute_ruler, such as {DEFAULT_PIPELINE}"
        )
    return nlp


# [text, part of speech] of each token of a caption, as in the JSON files.
Pairs = list[list[str]]


@dataclasses.dataclass(frozen=True)
class TagCache:
    """Tagged tokens by text, in up to 256 JSON files of a folder, which is created by the first write.

    If two processes write the same file at the same time, the additions of one are lost and tagged again later.
    """

    folder: Path

    def read(self, texts: Iterable[str]) -> dict[str, Pairs]:
        """The tokens of those texts that are in the cache."""
        files = {name: (self._file(name), group) for name, group in _by_file(texts).items()}
        return {text: known[text] for known, group in files.values() for text in group if text in known}

    def add(self, tokens: Mapping[str, Pairs]) -> None:
        """Add the tokens of texts."""
        for name, group in _by_file(tokens).items():
            merged = {**self._file(name), **{text: tokens[text] for text in group}}
            write_file(self.folder / name, json.dumps(merged))

    def _file(self, name: str) -> dict[str, Pairs]:
        """The content of a file; empty if it does not exist or is damaged, then its texts are tagged again."""
        try:
            known = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {text: pairs for text, pairs in known.items() if _is_pairs(pairs)} if isinstance(known, dict) else {}


def _is_pairs(pairs: Any) -> bool:
    return isinstance(pairs, list) and all(
        isinstance(pair, list) and [*map(type, pair)] == [str, str] for pair in pairs
    )


def _by_file(texts: Iterable[str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for text in texts:
        groups[hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:2] + ".json"].append(text)
    return groups
