"""The fields of a config.json, each of which is read, known to be irrelevant, or refused by name."""

import functools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla.models.published_code import may_read

_REQUIRED = object()

# What transformers (4.x or 5.x) writes beside an architecture's own fields and what cannot change a forward pass:
# bookkeeping, training, generation, heads, the form of outputs.
BOOKKEEPING = frozenset(
    """_attn_implementation _attn_implementation_autoset _commit_hash _name_or_path _num_labels architectures
    attn_implementation auto_map bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward
    cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dtype early_stopping
    encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id
    forced_eos_token_id gradient_checkpointing id2label initializer_range is_decoder is_llama_config label2id
    length_penalty max_length max_new_tokens min_length model_type name_or_path no_repeat_ngram_size num_beam_groups
    num_beams num_labels num_return_sequences output_attentions output_hidden_states output_past output_scores
    pad_token_id prefix problem_type remove_invalid_values repetition_penalty return_dict return_dict_in_generate
    sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder
    tie_last_hidden_states tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript
    transformers.js_config transformers_version typical_p use_bfloat16 use_cache""".split()
)

# Fields that are harmless only at the one value that means "not used".
_ONLY = {
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}


# A field of such a name says how tokens see one another, whoever reads it.
_MASKS = ("bidirectional", "causal")


class Fields:
    """Hands out the fields of one JSON object and remembers which were asked for.

    Attributes:
      where: The file, and the place in it, named in every message.
    """

    def __init__(self, values: dict[str, Any], where: str, model_type: str = "", path: str = "") -> None:
        """Start with every field of `values` unread.

        Args:
          values: The fields.
          where: The file and the object in it, for messages.
          model_type: Architecture whose code in transformers says what is read; "" where there is none, so that every
            field must be known.
        """
        self.where = where
        self._model_type = model_type
        self._path = path
        self._values = values
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the field is there with a value other than null."""
        return self._values.get(name) is not None

    def _take(self, name: str, kinds: tuple[type, ...], expected: str, default: Any) -> Any:
        self._known.add(name)
        if name not in self._values:
            if default is _REQUIRED:
                raise ValueError(f"{self.where} has no field {name!r}, which is required ({expected})")
            return default
        value = self._values[name]
        if value is None and default is None:
            return None
        # bool is an int to Python, never to a reader of configs
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected {expected}")
        return value

    def whole(self, name: str, default: Any = _REQUIRED, least: int = 1) -> Any:
        """A whole number of at least `least` (None only where that is the default)."""
        expected = f"a whole number of at least {least}"
        value = self._take(name, (int,), expected, default)
        if value is not None and value < least:
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected {expected}")
        return value

    def or_null(self, name: str, default: Any) -> Any:
        """`default` for a field in which null says something else than absence does: None where it is there."""
        return None if name in self._values else default

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """A finite positive number (None only where that is the default)."""
        value = self._take(name, (int, float), "a positive number", default)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected a finite positive number")
        return None if value is None else float(value)

    def numbers(self, name: str, zero: bool = False) -> tuple[float, ...]:
        """A list of finite positive numbers, or of zeros too if `zero`."""
        values = self._take(name, (list,), "a list of positive numbers", _REQUIRED)
        if any(
            type(value) not in (int, float) or not (0 < value < float("inf") or zero and value == 0) for value in values
        ):
            raise ValueError(f"{self.where}: {name!r} is {values!r}; expected a list of finite positive numbers")
        return tuple(map(float, values))

    def flag(self, name: str, default: Any = _REQUIRED) -> Any:
        """True or false (None only where that is the default)."""
        return self._take(name, (bool,), "true or false", default)

    def choice(self, name: str, choices: tuple[str, ...], default: Any = _REQUIRED) -> str:
        """One of `choices`."""
        value = self._take(name, (str,), "a name", default)
        if value not in choices:
            raise ValueError(f"{self.where}: {name} {value!r} is not known; known are: {', '.join(sorted(choices))}")
        return value

    def choices(self, name: str, choices: tuple[str, ...], default: Any = _REQUIRED) -> Any:
        """A list of `choices` (None only where that is the default)."""
        values = self._take(name, (list,), "a list of names", default)
        unknown = sorted({str(value) for value in values or () if value not in choices})
        if unknown:
            raise ValueError(
                f"{self.where}: {name} {', '.join(map(repr, unknown))} is not known; known are: "
                f"{', '.join(sorted(choices))}"
            )
        return None if values is None else tuple(values)

    def side(self, name: str, default: Any = _REQUIRED) -> int:
        """The side of a square, written as one number or as two equal ones."""
        value = self._take(name, (int, list), "a whole number, or two equal ones", default)
        sides = value if isinstance(value, list) else [value]
        if len(sides) not in (1, 2) or any(type(side) is not int or side < 1 for side in sides):
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected a whole number, or two equal ones")
        if sides[0] != sides[-1]:
            raise ValueError(f"{self.where}: {name!r} is {value!r}; only squares are supported")
        return sides[0]

    def part(self, name: str) -> "Fields | None":
        """A nested object as fields of its own, None when absent or null."""
        value = self._take(name, (dict,), "an object", None)
        if value is None:
            return None
        return Fields(value, f"{self.where}, {name!r}", self._model_type, f"{self._path}{name}.")

    def only(self, name: str, allowed: object, reason: str) -> None:
        """Refuse any value of the field but `allowed`; its absence means `allowed`."""
        self._known.add(name)
        value = self._values.get(name, allowed)
        if value != allowed:
            raise ValueError(f"{self.where}: {name!r} is {value!r}, but only {allowed!r} is supported ({reason})")

    def ignore(self, *names: str) -> None:
        """Declare fields that cannot change a forward pass."""
        self._known.update(names)

    def ignore_rest(self, reader: str) -> None:
        """Ignore the fields that nobody has read, and name them once at info level.

        A field whose name says how tokens see one another remains, and `finish` refuses it.

        Args:
          reader: The reference implementation, which takes the fields that it knows and no others.
        """
        unread = sorted(set(self._values) - self._known)
        ignored = tuple(name for name in unread if not _names_a_mask(name))
        self._known.update(ignored)
        if ignored:
            log_ignored(self.where, ignored, reader)

    def finish(self) -> None:
        """Refuse every field that nobody has read or declared irrelevant, all of them in one error."""
        for name, allowed in _ONLY.items():
            if name in self._values and self._values[name] not in allowed:
                raise ValueError(f"{self.where}: {name!r} is {self._values[name]!r}; such models are not supported")
        unknown = sorted(set(self._values) - self._known - BOOKKEEPING - set(_ONLY))
        refused = [name for name in unknown if self._may_matter(name)]
        if refused:
            raise ValueError(
                f"{self.where} has fields that are not known to matter or not to matter: {', '.join(refused)}. "
                "Reading on could change numbers silently; use an architecture that is supported, or ignore fields "
                f"that are certain to be irrelevant by --config.ignore_fields="
                f"{','.join(self._path + name for name in refused)} (in Python ignore_fields=(...))"
            )
        ignored = tuple(name for name in unknown if name not in refused)
        if ignored:
            log_ignored(self.where, ignored)

    def _may_matter(self, name: str) -> bool:
        """Whether the reference implementation may read the field, or its name says that the mask is another."""
        return _names_a_mask(name) or not self._model_type or may_read(self._model_type, name)


def _names_a_mask(name: str) -> bool:
    return any(word in name.lower() for word in _MASKS)


@functools.cache
def log_ignored(where: str, names: tuple[str, ...], reader: str = "Hugging Face's implementation") -> None:
    """Name the ignored fields of a file, once a process."""
    logging.getLogger(__name__).info("%s: ignored fields that %s does not read: %s", where, reader, ", ".join(names))


def without_fields(values: dict[str, Any], names: Sequence[str], where: str) -> dict[str, Any]:
    """The fields without those of that name.

    Args:
      values: The fields of a config.json.
      names: What is left out; "text_config.name" is a field of the object `text_config`.
      where: The file, for messages.

    Raises:
      ValueError: There is no such field.
    """
    for name in names:
        values = _without(values, name.split("."), name, where)
    return values


def has_field(values: dict[str, Any], name: str) -> bool:
    """Whether there is a field of that name; "text_config.name" is a field of the object `text_config`."""
    first, _, rest = name.partition(".")
    part = values.get(first)
    return first in values and (not rest or (isinstance(part, dict) and has_field(part, rest)))


def _without(values: dict[str, Any], path: list[str], name: str, where: str) -> dict[str, Any]:
    first, *rest = path
    if not has_field(values, ".".join(path)):
        raise ValueError(
            f"{where} has no field {name!r} that ignore_fields could leave out; it has: {', '.join(sorted(values))}"
        )
    others = {key: value for key, value in values.items() if key != first}
    return {**others, first: _without(values[first], rest, name, where)} if rest else others


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      ValueError: The file is absent, is not JSON, or holds something other than an object.
    """
    if not path.is_file():
        raise ValueError(f"no {path.name} in {path.parent}: expected a checkpoint directory in Hugging Face layout")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); download it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, expected an object of named fields")
    return values
