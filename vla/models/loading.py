"""From a Hub id or a directory to a model with its weights."""

from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from vla.models.checkpoint import weight_files
from vla.models.decoder import Decoder, DecoderConfig
from vla.models.families import FAMILIES
from vla.models.families.family import Family
from vla.models.fields import Fields, read_json
from vla.models.model import Model
from vla.models.processors import IMAGE_PROCESSOR_FILES, TOKENIZER_FILES, ImageProcessor, Tokenizer
from vla.models.source import WEIGHT_PATTERNS, find_directory
from vla.models.vision_encoder import VisionConfig, VisionEncoder
from vla.models.weights import load_weights

_DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}


def load_model(
    source: str | Path,
    *,
    dtype: str = "float32",
    processor: str | Path | None = None,
    revision: str | None = None,
    weights: bool = True,
) -> Model:
    """Load a vision or language model with its own preprocessing.

    Args:
      source: A directory in Hugging Face layout, or a Hub id; a directory wins.
      dtype: "float32" or "bfloat16", for weights and compute; readouts are float32 either way.
      processor: Directory or Hub id of the tokenizer or image processor, where the checkpoint comes without.
      revision: Branch, tag or commit of `source` on the Hub.
      weights: False leaves the weights on disk: such a model knows its layers, widths and fingerprint and
        preprocesses stimuli, but has no readouts.

    Returns:
      The model, its weights on every device.

    Raises:
      ValueError: No such checkpoint, an unknown architecture, a config field that is not understood, tensors that
        are missing, unknown or mis-shaped, an unreadable file, no tokenizer or image processor.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype {dtype!r} is not known; known are: {', '.join(sorted(_DTYPES))}")
    processor_files = (*TOKENIZER_FILES, *IMAGE_PROCESSOR_FILES)
    directory = find_directory(source, (*WEIGHT_PATTERNS, *processor_files), revision)
    family, config = read_config(directory / "config.json")
    home = directory if processor is None else find_directory(processor, ("config.json", *processor_files))
    # before the weights: what takes minutes comes after what can fail at once
    if isinstance(config, DecoderConfig):
        assert family.tokenizer is not None
        names, reader = TOKENIZER_FILES, Tokenizer(home, config, family.tokenizer)
    else:
        names, reader = IMAGE_PROCESSOR_FILES, ImageProcessor(home, config)
    table = family.table(config)
    abstract = abstract_network(config, dtype)
    network = load_weights(abstract, family, table, directory, config.depth) if weights else abstract
    files = {"config.json": directory / "config.json"}
    files |= {file.name: file for file in weight_files(directory)}
    # Which tokenizer transformers picks may hang on the config.json beside it.
    beside = names if processor is None else ("config.json", *names)
    files |= {f"processor/{name}": home / name for name in beside if (home / name).is_file()}
    return Model(str(source), network, reader, dtype, files)


def read_config(path: Path) -> tuple[Family, VisionConfig | DecoderConfig]:
    """The architecture that a config.json describes: its family and its config.

    Raises:
      ValueError: An unknown `model_type`, or a field that is unknown or has a value that is not supported.
    """
    values = read_json(path)
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(
            f"{path}: model_type {model_type!r} is not supported; supported are: {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[model_type]
    fields = Fields(values, str(path))
    config = family.read(fields)
    fields.finish()
    return family, config


def abstract_network(config: VisionConfig | DecoderConfig, dtype: str = "float32") -> VisionEncoder | Decoder:
    """The network of that config with shapes and dtypes in place of weights, in no memory and no time."""
    if isinstance(config, DecoderConfig):
        return jax.eval_shape(lambda: Decoder(config, dtype=_DTYPES[dtype], rngs=nnx.Rngs(0)))
    return jax.eval_shape(lambda: VisionEncoder(config, dtype=_DTYPES[dtype], rngs=nnx.Rngs(0)))
