"""The fields of a config.json: each is read, known to be irrelevant, or refused by name.

Whether an unknown field matters is looked up in the code of Hugging Face, which is searched as text: importing it would
take seconds. The code of a checkpoint's publisher is refused unless it is known to compute the same.
"""

import functools
import importlib.util
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from vla.files import is_git_lfs_pointer

Default = TypeVar("Default")

_REQUIRED: Any = object()

# What transformers (4.x or 5.x) writes beside the fields of an architecture and what cannot change a forward pass:
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

# Fields that are harmless only at the value that means "not used".
_ONLY = {
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}

# Words in the names of fields that change the attention mask.
_MASKS = ("bidirectional", "causal")

# Modules of transformers that every architecture uses.
_SHARED = (
    "backbone_utils.py",
    "cache_utils.py",
    "configuration_utils.py",
    "masking_utils.py",
    "modeling_layers.py",
    "modeling_rope_utils.py",
    "modeling_utils.py",
    "integrations/*attention*.py",
    "integrations/heterogeneity.py",
    "integrations/moe.py",
)

# Publishers' code that computes the same as Hugging Face's class, by model_type.
HARMLESS: dict[str, frozenset[str]] = {
    # Microsoft published Phi-3, Phi-3.5 and Phi-4-mini with the code that transformers adopted (from 4.40 on, partial
    # rotary embedding from 4.49 on). "Xenova/gpt-4o" names a repository without code, whose tokenizer is also in the
    # tokenizer.json of the checkpoint.
    "phi3": frozenset(
        (
            "configuration_phi3.Phi3Config",
            "modeling_phi3.Phi3ForCausalLM",
            "modeling_phi3.Phi3ForSequenceClassification",
            "Xenova/gpt-4o",
        )
    ),
}

# What training wrappers and other frameworks prepend to the name of a class.
_WRAPPERS = ("FSDP", "Flax", "TF")


class Fields:
    """The fields of one JSON object; remembers which were read.

    Attributes:
      where: The file and the object in it, for messages.
    """

    def __init__(self, values: dict[str, Any], where: str, model_type: str = "", path: str = "") -> None:
        """Start with every field of `values` unread.

        Args:
          values: The fields.
          where: The file and the object in it, for messages.
          model_type: The architecture whose code in transformers decides which unknown fields may be ignored; "" if
            every field must be known.
          path: Prefix of the names in messages, such as "text_config.".
        """
        self.where = where
        self._model_type = model_type
        self._path = path
        self._values = values
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the field exists with a value other than null."""
        return self._values.get(name) is not None

    def _take(self, name: str, types: tuple[type, ...], expected: str, default: Any) -> Any:
        self._known.add(name)
        if name not in self._values:
            if default is _REQUIRED:
                raise ValueError(f"{self.where} has no field {name!r}, which is required ({expected})")
            return default
        value = self._values[name]
        if value is None and default is None:
            return None
        # bool is a subclass of int
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected {expected}")
        return value

    def integer(self, name: str, default: Default = _REQUIRED, least: int = 1) -> int | Default:
        """A whole number of at least `least`; null only where None is the default."""
        expected = f"a whole number of at least {least}"
        value = self._take(name, (int,), expected, default)
        if value is None:
            return default
        if value < least:
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected {expected}")
        return value

    def or_null(self, name: str, default: Default) -> Default | None:
        """The default of a field in which null differs from absence: None if the field exists."""
        return None if name in self._values else default

    def number(self, name: str, default: Default = _REQUIRED) -> float | Default:
        """A finite positive number; null only where None is the default."""
        value = self._take(name, (int, float), "a positive number", default)
        if value is None:
            return default
        if not 0 < value < float("inf"):
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected a finite positive number")
        return float(value)

    def numbers(self, name: str, zero: bool = False) -> tuple[float, ...]:
        """A list of finite positive numbers, or also of zeros if `zero`."""
        values = self._take(name, (list,), "a list of positive numbers", _REQUIRED)
        if any(
            type(value) not in (int, float) or not (0 < value < float("inf") or zero and value == 0) for value in values
        ):
            raise ValueError(f"{self.where}: {name!r} is {values!r}; expected a list of finite positive numbers")
        return tuple(map(float, values))

    def flag(self, name: str, default: Default = _REQUIRED) -> bool | Default:
        """True or false; null only where None is the default."""
        return self._take(name, (bool,), "true or false", default)

    def choice(self, name: str, choices: tuple[str, ...], default: str = _REQUIRED) -> str:
        """One of `choices`."""
        value = self._take(name, (str,), "a name", default)
        if value not in choices:
            raise ValueError(f"{self.where}: {name} {value!r} is not known; known are: {', '.join(sorted(choices))}")
        return value

    def choices(self, name: str, choices: tuple[str, ...], default: Default = _REQUIRED) -> tuple[str, ...] | Default:
        """A list of `choices`; null only where None is the default."""
        values = self._take(name, (list,), "a list of names", default)
        if values is None:
            return default
        unknown = sorted({str(value) for value in values if value not in choices})
        if unknown:
            raise ValueError(
                f"{self.where}: {name} {', '.join(map(repr, unknown))} is not known; known are: "
                f"{', '.join(sorted(choices))}"
            )
        return tuple(values)

    def side(self, name: str, default: int = _REQUIRED) -> int:
        """The side of a square, written as one number or as two equal ones."""
        value = self._take(name, (int, list), "a whole number, or two equal ones", default)
        sides = value if isinstance(value, list) else [value]
        if len(sides) not in (1, 2) or any(type(side) is not int or side < 1 for side in sides):
            raise ValueError(f"{self.where}: {name!r} is {value!r}; expected a whole number, or two equal ones")
        if sides[0] != sides[-1]:
            raise ValueError(f"{self.where}: {name!r} is {value!r}; only squares are supported")
        return sides[0]

    def part(self, name: str) -> "Fields | None":
        """The fields of a nested object; None if it is absent or null."""
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
        """Ignore the fields that were not read, because `reader`, the reference implementation, does not know them.

        Their names are logged once. A field whose name is about attention masks remains, and `finish` refuses it.
        """
        unread = sorted(set(self._values) - self._known)
        ignored = tuple(name for name in unread if not _is_about_masks(name))
        self._known.update(ignored)
        if ignored:
            log_ignored(self.where, ignored, reader)

    def finish(self) -> None:
        """Refuse every field that was not read or declared irrelevant, all of them in one error."""
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
        """Whether the reference implementation may read the field, or its name is about attention masks."""
        return _is_about_masks(name) or not self._model_type or may_read(self._model_type, name)


def _is_about_masks(name: str) -> bool:
    return any(word in name.lower() for word in _MASKS)


@functools.cache
def log_ignored(where: str, names: tuple[str, ...], reader: str = "Hugging Face's implementation") -> None:
    """Log the ignored fields of a file, once per process."""
    logging.getLogger(__name__).info("%s: ignored fields that %s does not read: %s", where, reader, ", ".join(names))


def without_fields(values: dict[str, Any], names: Sequence[str], where: str) -> dict[str, Any]:
    """The fields of a config.json without those called `names`; "text_config.name" is a field of an object.

    Raises:
      ValueError: No such field.
    """
    for name in names:
        values = _without(values, name.split("."), name, where)
    return values


def has_field(values: dict[str, Any], name: str) -> bool:
    """Whether a field of that name exists; "text_config.name" is a field of the object `text_config`."""
    first, _, rest = name.partition(".")
    part = values.get(first)
    return first in values and (not rest or (isinstance(part, dict) and has_field(part, rest)))


def _without(values: dict[str, Any], path: list[str], name: str, where: str) -> dict[str, Any]:
    first, *rest = path
    if not has_field(values, ".".join(path)):
        raise ValueError(
            f"{where} has no field {name!r} that ignore_fields could leave out; it has: {', '.join(sorted(values))}"
        )
    remaining = {key: value for key, value in values.items() if key != first}
    return {**remaining, first: _without(values[first], rest, name, where)} if rest else remaining


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; a ValueError if the file is absent, is not JSON, or holds something else."""
    if not path.is_file():
        raise ValueError(f"no {path.name} in {path.parent}: expected a checkpoint directory in Hugging Face layout")
    data = path.read_bytes()
    if is_git_lfs_pointer(data):
        raise ValueError(pointer_message(path))
    try:
        values = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); download it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, expected an object of named fields")
    return values


def pointer_message(path: Path) -> str:
    """What a file of a checkpoint that is a Git LFS pointer asks of the user."""
    return (
        f"{path} is a Git LFS pointer and not the file itself: run `git lfs install && git lfs pull` in "
        f"{path.parent}, or name the Hub id"
    )


def is_timm(values: dict[str, Any]) -> bool:
    """Whether a config.json has timm's form."""
    return "architecture" in values and "model_type" not in values


def timm_input_size(fields: Fields) -> tuple[int, int]:
    """Channels and side of the images in timm's `input_size`, [C, H, W]; a ValueError if it is not square."""
    size = fields.numbers("input_size") if "input_size" in fields else (3, 224, 224)
    if len(size) != 3 or any(part != int(part) for part in size) or size[1] != size[2]:
        raise ValueError(f"{fields.where}: 'input_size' is {list(size)}; expected [C, H, W] with H = W")
    return int(size[0]), int(size[1])


@functools.cache
def _transformers() -> Path:
    """The folder of the installed transformers."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@functools.cache
def _architecture_code(model_type: str) -> str:
    """The text of an architecture's config and model classes; "" if transformers has none.

    The code of `gemma3_text` is in the folder of `gemma3`.
    """
    words = model_type.split("_")
    folders = [_transformers() / "models" / "_".join(words[:n]) for n in range(len(words), 0, -1)]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    files = [] if folder is None else [*folder.glob("configuration_*.py"), *folder.glob("modeling_*.py")]
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))


@functools.cache
def _shared_code() -> str:
    files = [file for pattern in _SHARED for file in _transformers().glob(pattern)]
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))


def may_read(model_type: str, name: str) -> bool:
    """Whether Hugging Face's code for an architecture may read a field of its config.

    True if the name occurs in the code of the architecture, or as an attribute, a declaration or a string in the code
    that all architectures share; also if transformers does not have the architecture.
    """
    code = _architecture_code(model_type)
    word = re.escape(name)
    if not code or re.search(rf"(?<!\w){word}(?!\w)", code):
        return True
    pattern = rf"""\.{word}(?!\w)|(["']){word}\1|^\s+{word}\s*:"""
    return re.search(pattern, _shared_code(), re.MULTILINE) is not None


def refuse_publishers_code(values: dict[str, Any], model_type: str, where: str) -> None:
    """Refuse a config that names code of its publisher, unless that is known to compute the same.

    Raises:
      ValueError: `auto_map` or `architectures` names a class that transformers does not have for this architecture.
    """
    auto_map = values.get("auto_map")
    names = [name for value in auto_map.values() for name in _classes(value)] if isinstance(auto_map, dict) else []
    foreign = [name for name in names if name.rpartition("--")[2] not in HARMLESS.get(model_type, ())]
    if foreign:
        raise ValueError(
            f"{where}: 'auto_map' names the publisher's own code, {', '.join(dict.fromkeys(foreign))}, which is not "
            f"run here and may compute something else than Hugging Face's {model_type}, such as attention without "
            f"its causal mask. {_remedies('auto_map')}"
        )
    known = {name.lower() for name in re.findall(r"^class (\w+)", _architecture_code(model_type), re.MULTILINE)}
    foreign = [name for name in _classes(values.get("architectures")) if not _is_among(name, known)]
    if foreign:
        raise ValueError(
            f"{where}: 'architectures' names {', '.join(foreign)}, which Hugging Face's {model_type} does not have: "
            f"the weights are for the publisher's own code, which is not run here and may compute something else, "
            f"such as attention without its causal mask. {_remedies('architectures')}"
        )


def _remedies(field: str) -> str:
    return (
        f"If that code computes what Hugging Face's class does, add --config.ignore_fields={field} (in Python "
        f"ignore_fields=('{field}',)); if all it does is to leave out the causal mask, write \"is_causal\": false into "
        "a copy of config.json as well. Otherwise use another checkpoint"
    )


def _classes(value: Any) -> list[str]:
    """Names of classes in a field that holds a name, or a list of names and nulls."""
    values = value if isinstance(value, list) else [value]
    return [name for name in values if isinstance(name, str)]


def _is_among(name: str, known: set[str]) -> bool:
    """Whether transformers has the class; early conversions wrote LLaMAForCausalLM."""
    forms = [name, *(name.removeprefix(wrapper) for wrapper in _WRAPPERS)]
    return any(form.lower() in known for form in forms)
