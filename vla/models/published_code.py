"""What Hugging Face's own code reads of a config.json, and which checkpoints bring code of their publisher.

The installed transformers is searched as text. It is not imported, which would take seconds.
"""

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

# Modules of transformers that the code of every architecture uses.
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

# Publishers' code that computes what Hugging Face's class does, by model_type.
HARMLESS: dict[str, frozenset[str]] = {
    # Microsoft published Phi-3, Phi-3.5 and Phi-4-mini with the code that transformers then took over (from 4.40 on,
    # in partial rotary embedding from 4.49 on). "Xenova/gpt-4o" names a repository and no code; the tokenizer.json of
    # the checkpoint holds the same tokenizer.
    "phi3": frozenset(
        (
            "configuration_phi3.Phi3Config",
            "modeling_phi3.Phi3ForCausalLM",
            "modeling_phi3.Phi3ForSequenceClassification",
            "Xenova/gpt-4o",
        )
    ),
}

# What wrappers of training and other frameworks put before the name of a class.
_WRAPPERS = ("FSDP", "Flax", "TF")


@functools.cache
def _transformers() -> Path:
    """The folder of the installed transformers."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@functools.cache
def _folder(model_type: str) -> Path | None:
    """The folder with the code of an architecture; `gemma3_text` lies in that of `gemma3`."""
    words = model_type.split("_")
    for n in range(len(words), 0, -1):
        folder = _transformers() / "models" / "_".join(words[:n])
        if folder.is_dir():
            return folder
    return None


@functools.cache
def _own_code(model_type: str) -> str:
    """The text of an architecture's config and model classes; "" where transformers has none."""
    folder = _folder(model_type)
    files = [] if folder is None else [*folder.glob("configuration_*.py"), *folder.glob("modeling_*.py")]
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))


@functools.cache
def _shared_code() -> str:
    files = [file for pattern in _SHARED for file in _transformers().glob(pattern)]
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))


def may_read(model_type: str, name: str) -> bool:
    """Whether Hugging Face's code for an architecture may read a field of its config.

    True wherever the name occurs in the code of the architecture, or as an attribute, a declaration or a string in the
    code that all share; also where transformers does not have the architecture.
    """
    own = _own_code(model_type)
    word = re.escape(name)
    if not own or re.search(rf"(?<!\w){word}(?!\w)", own):
        return True
    pattern = rf"""\.{word}(?!\w)|(["']){word}\1|^\s+{word}\s*:"""
    return re.search(pattern, _shared_code(), re.MULTILINE) is not None


def refuse_publishers_code(values: dict[str, Any], model_type: str, where: str) -> None:
    """Refuse a config that names code of its publisher, unless that is known to compute the same.

    Args:
      values: The fields of a config.json.
      model_type: Its architecture.
      where: The file, for messages.

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
    known = {name.lower() for name in re.findall(r"^class (\w+)", _own_code(model_type), re.MULTILINE)}
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
    """Names of classes in a field that holds one, or a list in which some may be null."""
    values = value if isinstance(value, list) else [value]
    return [name for name in values if isinstance(name, str)]


def _is_among(name: str, known: set[str]) -> bool:
    """Whether transformers has the class; early conversions wrote LLaMAForCausalLM."""
    forms = [name, *(name.removeprefix(wrapper) for wrapper in _WRAPPERS)]
    return any(form.lower() in known for form in forms)
