"""Tags the tokens of captions with their parts of speech, by a spaCy pipeline."""

import functools
import importlib.metadata
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vla import progress
from vla.records import canonical_hash, file_hash
from vla.stimuli.caption_manipulations.tag_cache import TagCache

DEFAULT_PIPELINE = "en_core_web_sm"

# Components that never set Token.pos_, and cost time.
_NOT_NEEDED = ("ner", "entity_linker", "entity_ruler", "lemmatizer", "trainable_lemmatizer", "textcat")

_BATCH = 256


class Token(NamedTuple):
    """A token of a caption: its text and its universal part of speech, such as "NOUN"."""

    text: str
    pos: str


class Tagger:
    """A spaCy pipeline that tags captions, and remembers on disk what it tagged.

    Tags are kept by the pipeline's files and spaCy's version, so that another pipeline of the same name shares none.

    Attributes:
      pipeline: Name of an installed pipeline, or the folder of one.
    """

    def __init__(
        self,
        pipeline: Any = DEFAULT_PIPELINE,
        cache: Any = "default",
        processes: int = 1,
        show_progress: bool = False,
    ):
        """Name the pipeline; it is loaded when it is first needed.

        Args:
          pipeline: Name of an installed pipeline, or the folder of one.
          cache: Folder of the cache; "default" for `~/.cache/vla/tags`, None for no cache.
          processes: Processes that tag; more than one pays from some 100,000 captions on.
          show_progress: Show a bar with the time left.
        """
        if not isinstance(pipeline, str | os.PathLike) or not str(pipeline):
            raise ValueError(f"tagger={pipeline!r}; expected the name of a spaCy pipeline or its folder")
        if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
            raise ValueError(f"processes={processes!r}; expected a whole number of at least 1")
        self.pipeline = os.fspath(pipeline)
        self._folder = default_cache() if cache == "default" else cache
        self._processes = processes
        self._show_progress = show_progress

    def tag(self, texts: Sequence[str]) -> list[tuple[Token, ...]]:
        """The tokens of each text, white space left out.

        Raises:
          ValueError: spaCy or the pipeline is not installed, or the pipeline gives no parts of speech; the message
            has the command that helps.
        """
        distinct = list(dict.fromkeys(texts))
        cache = None if self._folder is None else TagCache(Path(self._folder).expanduser() / self._fingerprint)
        known = {} if cache is None else cache.read(distinct)
        unknown = [text for text in distinct if text not in known]
        fresh = {}
        with progress.bar(
            f"tagging by {self.pipeline}", len(unknown), self._show_progress and bool(unknown)
        ) as advance:
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
    """Where tags are kept unless a folder is named: `~/.cache/vla/tags`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vla" / "tags"


@functools.lru_cache(maxsize=4)
def _load(pipeline: str) -> Any:
    """The pipeline, checked to give parts of speech."""
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
            f"The spaCy pipeline {pipeline!r} is not installed, and no folder of that name is there. Install it by "
            f"`python -m spacy download {pipeline}`, or name another pipeline or the folder of one; installed are "
            f"{', '.join(sorted(spacy.util.get_installed_models())) or 'none'}"
        )
    try:
        nlp = spacy.load(source, exclude=list(_NOT_NEEDED))
    # spaCy raises whatever a broken folder drives it into: OSError, ValueError, KeyError, ...
    except Exception as error:
        raise ValueError(f"The spaCy pipeline {pipeline} cannot be loaded: {error}. Install it again") from error
    if not nlp("a dog runs on the grass").has_annotation("POS"):
        raise ValueError(
            f"The spaCy pipeline {pipeline} gives no parts of speech (Token.pos_); its components are "
            f"{', '.join(nlp.pipe_names) or 'none'}. Use one with a morphologizer, or a tagger with an "
            f"attribute_ruler, such as {DEFAULT_PIPELINE}"
        )
    return nlp
