"""From captions to token ids, as the files of a checkpoint say.

The first of these files that a checkpoint has decides how a caption is split into tokens:

- tokenizer.json, read by the tokenizers library, whatever class tokenizer_config.json names. Stored padding, truncation
  and BPE dropout are switched off.
- tokenizer.model, read by sentencepiece. Control symbols such as "<s>" in a caption are text, as for sentencepiece,
  unless the checkpoint's files declare them as added or special tokens.
- vocab.json with merges.txt, read by the tokenizers library with the rules of the published class that
  tokenizer_config.json names: GPT-2's, Qwen2's or CLIP's.

Which tokens open and close every text:

- `add_bos_token` and `add_eos_token` of tokenizer_config.json, each for its own token, if they are true or false. They
  win over the post-processor of tokenizer.json, as in the LLaMA, Gemma and GPT-NeoX classes of transformers 4. If
  `bos_token` is null, nothing is added.
- If a field is absent: the post-processor of tokenizer.json; without that file, the default of the class.
- A caption that already begins with the opening tokens, as a chat template writes them, gets no second ones.

Axes: T tokens.
"""

import dataclasses
import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import tokenizers
from jaxtyping import Int
from tokenizers import AddedToken, normalizers, pre_tokenizers
from tokenizers import models as token_models

from vla.checks import listed
from vla.models.fields import read_json
from vla.models.network_config import DecoderConfig

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)

# Each of these is enough for a tokenizer; the other files add settings.
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")

# Classes that can read any tokenizer.json, and say nothing about a vocabulary without one.
_ANY_CLASS = ("", "PreTrainedTokenizer", "TokenizersBackend")

# The fields of tokenizer_config.json and special_tokens_map.json that name special tokens.
_SPECIAL_FIELDS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "additional_special_tokens",
    "extra_special_tokens",
)

# Appended to a sentencepiece model, this protocol buffer sets normalizer_spec { add_dummy_prefix: false }.
_NO_DUMMY_PREFIX = b"\x1a\x02\x18\x00"

# How Qwen2's published tokenizer splits a text before byte pairs are merged.
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# How CLIP's splits a text, which is in lower case by then.
_CLIP_SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclasses.dataclass(frozen=True)
class _PublishedClass:
    """The rules of a published tokenizer class for a vocabulary without tokenizer.json.

    Attributes:
      file: The vocabulary that it reads.
      bos: Default opening token; None for none.
      eos: Default closing token; None for none.
      add_bos: Whether every text gets the opening token by default.
      add_eos: Whether every text gets the closing token by default.
    """

    file: str
    bos: str | None
    eos: str | None
    add_bos: bool = False
    add_eos: bool = False


_CLASSES = {
    "CLIPTokenizer": _PublishedClass("vocab.json", "<|startoftext|>", "<|endoftext|>", add_bos=True, add_eos=True),
    "CodeLlamaTokenizer": _PublishedClass("tokenizer.model", "<s>", "</s>", add_bos=True),
    "GPT2Tokenizer": _PublishedClass("vocab.json", "<|endoftext|>", "<|endoftext|>"),
    "GemmaTokenizer": _PublishedClass("tokenizer.model", "<bos>", "<eos>", add_bos=True),
    "LlamaTokenizer": _PublishedClass("tokenizer.model", "<s>", "</s>", add_bos=True),
    "Qwen2Tokenizer": _PublishedClass("vocab.json", None, "<|endoftext|>"),
}


class Tokenizer:
    """Captions to token ids, with the tokens that open and close every text of this model.

    Attributes:
      bos: Id of the token that may open a sequence; None without one.
      opening: Ids that every text begins with.
      closing: Ids that every text ends with.
    """

    def __init__(self, directory: Path, config: DecoderConfig, fallback: str) -> None:
        """Load the tokenizer in `directory`.

        `fallback` is the published class of a vocabulary whose files name none; "" if a tokenizer.json is required.

        Raises:
          ValueError: There is no tokenizer; a file cannot be read; the rules of its class are not known; a token to add
            is not in the vocabulary.
        """
        expect_files(directory, _VOCABULARIES, "tokenizer")
        self._config = config
        self._directory = directory
        settings = _Settings(directory)
        adds_bos = adds_eos = False
        if (directory / "tokenizer.json").is_file():
            if not settings.config:
                raise ValueError(
                    f"no tokenizer_config.json beside tokenizer.json in {directory}: it says which token opens a "
                    "text; download it too, or name a directory or Hub id that has both as processor="
                )
            self._vocabulary: _Vocabulary = _read_tokenizer_json(directory, settings)
        else:
            name, published = _published_class(directory, settings, fallback)
            adds_bos, adds_eos = published.add_bos, published.add_eos
            if published.file == "tokenizer.model":
                self._vocabulary = _SentencePieceVocabulary(directory, settings)
            else:
                self._vocabulary = _read_byte_pairs(directory, settings, name, published)
        self.bos, self.opening = settings.end("bos", self._vocabulary, adds_bos)
        _, self.closing = settings.end("eos", self._vocabulary, adds_eos)

    def __call__(self, stimuli: Sequence[object], truncate: bool = False) -> list[Int[np.ndarray, "T"]]:
        """Token ids of each caption as int32, not padded.

        Args:
          stimuli: Captions, each a str.
          truncate: Whether a caption that is too long for the model is truncated; the closing tokens stay.

        Raises:
          ValueError: A caption is not text, has no tokens, is too long, or has an id that the model lacks.
        """
        captions: list[str] = []
        for i, caption in enumerate(stimuli):
            if not isinstance(caption, str):
                raise ValueError(f"caption {i} is {type(caption).__name__}; expected str")
            try:
                caption.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{_shown(i, caption)} is not valid Unicode: half of a surrogate pair at character {error.start}; "
                    "read the file that it comes from as UTF-8, or leave the character out"
                ) from error
            captions.append(caption)
        if not captions:
            return []
        rows = self._vocabulary.encode(captions)
        return [
            self._complete(i, text, ids, truncate) for i, (text, ids) in enumerate(zip(captions, rows, strict=True))
        ]

    def _complete(self, i: int, caption: str, ids: list[int], truncate: bool) -> Int[np.ndarray, "T"]:
        """The ids of a caption with opening and closing tokens, checked, as an array."""
        if ids[: len(self.opening)] == self.opening:
            ids = ids[len(self.opening) :]
        if not caption.strip() or not ids:
            raise ValueError(f"{_shown(i, caption)} has no tokens; drop the item or give it a caption")
        if truncate:
            ids = ids[: self._config.length - len(self.opening) - len(self.closing)]
        ids = [*self.opening, *ids, *self.closing]
        if len(ids) > self._config.length:
            raise ValueError(
                f"{_shown(i, caption)} has {len(ids)} tokens, but the model reads {self._config.length} at most; "
                "shorten it"
            )
        if max(ids) >= self._config.vocabulary:
            raise ValueError(
                f"{_shown(i, caption)} has token id {max(ids)}, but the model knows ids below "
                f"{self._config.vocabulary}: the tokenizer in {self._directory} is not this model's; give the right "
                "one as processor="
            )
        return np.array(ids, np.int32)

    def decode(self, ids: Sequence[int] | Int[np.ndarray, " T"]) -> str:
        """The text of token ids, without special tokens."""
        return self._vocabulary.decode([int(number) for number in ids])


def _shown(i: int, caption: str) -> str:
    """A caption, for messages."""
    return f"caption {i} ({caption[:60]!r}{' ...' if len(caption) > 60 else ''})"


class _Settings:
    """The fields of tokenizer_config.json, `config`, and those of special_tokens_map.json and added_tokens.json."""

    def __init__(self, directory: Path) -> None:
        """Read the files that exist."""
        names = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
        self._path = directory / names[0]
        self.config, self._special, self._ids = (
            read_json(directory / name) if (directory / name).is_file() else {} for name in names
        )

    def flag(self, name: str) -> bool | None:
        """A field that is true, false, or absent (also null)."""
        value = self.config.get(name)
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{self._path}: {name} is {value!r}; expected true or false")
        return value

    def special(self, name: str) -> str | None:
        """The text of a special token such as "bos_token"; None if the files name none."""
        return _content(self.config.get(name)) or _content(self._special.get(name))

    def end(self, name: str, vocabulary: "_Vocabulary", adds: bool) -> tuple[int | None, list[int]]:
        """The tokens that open or close every text.

        Args:
          name: "bos" for the opening, "eos" for the closing.
          vocabulary: Of the tokenizer.
          adds: Whether the published class adds this token by default.

        Returns:
          Id of the special token of that name, None without one; the ids before or after every text.
        """
        first = name == "bos"
        ids = list(vocabulary.opening if first else vocabulary.closing)
        field = f"{name}_token"
        named = field in self.config or field in self._special
        text = self.special(field) if named else (vocabulary.bos if first else vocabulary.eos)
        token = None if text is None else vocabulary.id_of(text)
        if not named and token is None and ids:
            token = ids[0 if first else -1]
        asked = self.flag(f"add_{field}")
        if asked is False:
            return token, [number for number in ids if number != token]
        if token is not None:
            missing = [] if token in ids or not (asked or adds) else [token]
            return token, [*missing, *ids] if first else [*ids, *missing]
        # As in transformers, bos_token null with add_bos_token adds nothing.
        if (asked and not (named and text is None)) or (adds and text is not None):
            raise ValueError(
                f"{self._path}: {field} {text!r} is to be added to every text, but is no token of the vocabulary; "
                f"correct {field} or add_{field}, or give another tokenizer as processor="
            )
        return None, ids

    def declared(self) -> list[tuple[AddedToken, int | None]]:
        """Added and special tokens with their ids, in that order; None is an id that no file states."""
        special = []
        for fields in (self.config, self._special):
            for name in _SPECIAL_FIELDS:
                value = fields.get(name)
                special += value if isinstance(value, list) else [value]
        names = {_content(value) for value in special}
        numbered = [(int(number), value) for number, value in (self.config.get("added_tokens_decoder") or {}).items()]
        numbered += [(number, content) for content, number in self._ids.items()]
        tokens: dict[str, tuple[AddedToken, int | None]] = {}
        for number, value in [*sorted(numbered, key=lambda pair: pair[0]), *((None, value) for value in special)]:
            content = _content(value)
            if content is not None:
                tokens.setdefault(content, (_added_token(value, content in names), number))
        return list(tokens.values())


def _content(value: Any) -> str | None:
    """The text of a token, which is written as a string or as an object."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) and content else None


def _added_token(value: Any, special: bool) -> AddedToken:
    """A token with its rules for surrounding blanks."""
    fields = value if isinstance(value, dict) else {}
    special = bool(fields.get("special", special))
    rules = {name: bool(fields.get(name, False)) for name in ("single_word", "lstrip", "rstrip")}
    normalized = bool(fields.get("normalized", not special))
    return AddedToken(str(_content(value)), **rules, normalized=normalized, special=special)


def _published_class(directory: Path, settings: _Settings, fallback: str) -> tuple[str, _PublishedClass]:
    """Name and rules of the class that reads a vocabulary without tokenizer.json."""
    name = str(settings.config.get("tokenizer_class") or "").removesuffix("Fast")
    name = fallback if name in _ANY_CLASS else name
    published = _CLASSES.get(name)
    if published is None or not (directory / published.file).is_file():
        vocabulary = next(file for file in _VOCABULARIES if (directory / file).is_file())
        why = f"{name} does not read it" if name else "its class is not named"
        known = [key for key, rules in _CLASSES.items() if rules.file == vocabulary]
        raise ValueError(
            f"{directory} has {vocabulary} without tokenizer.json, and {why} (tokenizer_class in "
            f"tokenizer_config.json; {vocabulary} is read as {listed(known)}). Download the checkpoint's "
            "tokenizer.json too, or name a directory or Hub id that has it as processor="
        )
    return name, published


class _Vocabulary:
    """Splits texts into tokens by a tokenizer of the tokenizers library.

    Attributes:
      opening: Ids that the post-processor puts before every text.
      closing: Ids that it puts after every text.
      bos: Text of the default opening token; None without one.
      eos: Text of the default closing token; None without one.
    """

    def __init__(
        self,
        reader: Any,
        around: tuple[Sequence[int], Sequence[int]] = ((), ()),
        special: tuple[str | None, str | None] = (None, None),
        clean: Callable[[str], str] = str,
    ) -> None:
        """Keep what was read; `reader` is of the tokenizers library, `clean` is applied to each text first."""
        self.opening, self.closing = around
        self.bos, self.eos = special
        self._reader = reader
        self._clean = clean

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without opening and closing tokens."""
        encoded = self._reader.encode_batch_fast([self._clean(text) for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def id_of(self, token: str) -> int | None:
        """Id of a token; None if the vocabulary lacks it."""
        return self._reader.token_to_id(token)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        return self._reader.decode(ids, skip_special_tokens=True)


def _read_tokenizer_json(directory: Path, settings: _Settings) -> _Vocabulary:
    """The tokenizer of a tokenizer.json, and the tokens that its post-processor puts around every text."""
    path = directory / "tokenizer.json"
    try:
        reader = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exceptions
        raise ValueError(f"the tokenizers library cannot read {path}: {error}. Download it again") from error
    reader.no_padding()
    reader.no_truncation()
    if getattr(reader.model, "dropout", None):
        reader.model.dropout = None  # left from training; ids would be random
    reader.encode_special_tokens = settings.flag("split_special_tokens") or False
    # What the post-processor adds does not depend on the text: a text of a single token shows both sides.
    probe = tokenizers.Tokenizer(token_models.WordLevel({"": 0}, unk_token=""))
    if reader.post_processor is not None:
        probe.post_processor = reader.post_processor
    encoded = probe.encode("x")
    text = [i for i, sequence in enumerate(encoded.sequence_ids) if sequence is not None]
    return _Vocabulary(reader, (encoded.ids[: text[0]], encoded.ids[text[-1] + 1 :]))


def _read_byte_pairs(directory: Path, settings: _Settings, name: str, published: _PublishedClass) -> _Vocabulary:
    """The tokenizer of vocab.json and merges.txt, by the rules of a published class.

    Raises:
      ValueError: merges.txt is absent; files that do not fit each other; ids of added tokens that leave a gap.
    """
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    if not merges.is_file():
        raise ValueError(
            f"no merges.txt beside vocab.json in {directory}: it says which byte pairs are merged first; download it "
            "too, or name a directory or Hub id that has both as processor="
        )
    prefix = settings.flag("add_prefix_space") or False
    clean: Callable[[str], str] = str
    try:
        if name == "CLIPTokenizer":
            unknown = settings.special("unk_token") or published.eos
            model = token_models.BPE.from_file(
                str(vocabulary), str(merges), unk_token=unknown, end_of_word_suffix="</w>"
            )
        else:
            model = token_models.BPE.from_file(str(vocabulary), str(merges))
    except Exception as error:  # as above
        raise ValueError(
            f"the tokenizers library cannot read vocab.json and merges.txt in {directory}: {error}. Download both again"
        ) from error
    reader = tokenizers.Tokenizer(model)
    if name == "CLIPTokenizer":
        clean = clean_for_clip
        split = pre_tokenizers.Split(tokenizers.Regex(_CLIP_SPLIT), "removed", invert=True)
        steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    elif name == "Qwen2Tokenizer":
        reader.normalizer = normalizers.NFC()  # type: ignore[assignment]
        split = pre_tokenizers.Split(tokenizers.Regex(_QWEN2_SPLIT), "isolated")
        steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)]
    else:
        steps = [pre_tokenizers.ByteLevel(add_prefix_space=prefix)]
    reader.pre_tokenizer = pre_tokenizers.Sequence(steps)  # type: ignore[assignment]
    reader.decoder = tokenizers.decoders.ByteLevel()  # type: ignore[assignment]
    tokens = settings.declared()
    contents = {token.content for token, _ in tokens}
    defaults = dict.fromkeys(text for text in (published.bos, published.eos) if text not in (None, *contents))
    for token, number in [*tokens, *((AddedToken(str(text), special=True), None) for text in defaults)]:
        (reader.add_special_tokens if token.special else reader.add_tokens)([token])
        if number is not None and reader.token_to_id(token.content) != number:
            raise ValueError(
                f"{directory}: token {token.content!r} is declared with id {number}, but vocab.json and the other "
                f"added tokens give it {reader.token_to_id(token.content)}; download the checkpoint's tokenizer.json "
                "too"
            )
    reader.encode_special_tokens = settings.flag("split_special_tokens") or False
    return _Vocabulary(reader, special=(published.bos, published.eos), clean=clean)


def clean_for_clip(text: str) -> str:
    """A text as OpenAI's tokenizer for CLIP cleans it: entities unescaped, NFC, single blanks, lower case.

    OpenAI's also calls ftfy, which repairs wrongly decoded text and straightens curly quotes; here only the composed
    form of Unicode (NFC) is taken. The tokenizer.json published with CLIP does not unescape entities; if it exists, it
    decides.
    """
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


class _SentencePieceVocabulary(_Vocabulary):
    """Splits texts into tokens by sentencepiece, and at the tokens that the checkpoint's files declare.

    The text between two declared tokens is encoded on its own. If `add_prefix_space` is false, no text gets the blank
    that sentencepiece puts before it; if `legacy` is false, no text after a declared token does.
    """

    def __init__(self, directory: Path, settings: _Settings) -> None:
        """Load tokenizer.model; a ValueError if it is not a sentencepiece model."""
        path = directory / "tokenizer.model"
        data = path.read_bytes()
        try:
            pieces: Any = sentencepiece.SentencePieceProcessor(model_proto=data)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"{path} is not a sentencepiece model (a tiktoken vocabulary, or a damaged download?); download the "
                "checkpoint's tokenizer.json, or name a directory or Hub id that has one as processor="
            ) from error
        self._pieces = pieces
        # The processors for the start of a caption, and for text after a declared token.
        self._first = self._later = pieces
        if settings.flag("add_prefix_space") is False or settings.flag("legacy") is False:
            self._later = sentencepiece.SentencePieceProcessor(model_proto=data + _NO_DUMMY_PREFIX)
            self._first = self._later if settings.flag("add_prefix_space") is False else pieces
        self._declared: dict[str, int] = {}
        # Finds the declared tokens: all text between two of them is a single token, 0.
        self._splitter: Any = tokenizers.Tokenizer(token_models.WordLevel({"": 0}, unk_token=""))
        for token, number in [] if settings.flag("split_special_tokens") else settings.declared():
            number = self._piece_id(token.content) if number is None else number
            if number is not None:
                self._declared[token.content] = number
                self._splitter.add_tokens([token])
        super().__init__(None, special=(self._piece(pieces.bos_id()), self._piece(pieces.eos_id())))

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without opening and closing tokens."""
        if not self._declared:
            return self._first.encode(texts)
        rows = []
        for text, encoded in zip(texts, self._splitter.encode_batch(texts), strict=True):
            rows.append(row := [])
            for number, (start, stop) in zip(encoded.ids, encoded.offsets, strict=True):
                if number:
                    row.append(self._declared[self._splitter.id_to_token(number)])
                else:
                    row += (self._later if start else self._first).encode(text[start:stop])
        return rows

    def id_of(self, token: str) -> int | None:
        """Id of a declared token or a piece; None without one."""
        return self._declared.get(token, self._piece_id(token))

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without control and declared tokens."""
        special = set(self._declared.values())
        return self._pieces.decode([number for number in ids if number not in special])

    def _piece(self, number: int) -> str | None:
        """The piece of that id; None for -1."""
        return None if number < 0 else self._pieces.id_to_piece(number)

    def _piece_id(self, token: str) -> int | None:
        """Id of a piece; None without one."""
        number = self._pieces.piece_to_id(token)
        return number if self._piece(number) == token else None


def expect_files(directory: Path, names: Sequence[str], what: str) -> list[Path]:
    """The files that exist; a ValueError if there are none."""
    files = [directory / name for name in names if (directory / name).is_file()]
    if not files:
        raise ValueError(
            f"no {what} in {directory}: expected {' or '.join(names)}; found "
            f"{listed(sorted(path.name for path in directory.iterdir()))}. Name a directory or Hub id that has it "
            "as processor="
        )
    return files
