"""From a Hub id or a directory to a model with its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vla import devices
from vla.checks import check_choice
from vla.models.checkpoint import weight_files
from vla.models.decoder import Decoder, DecoderConfig
from vla.models.families import FAMILIES, TOWERS
from vla.models.families.family import Family
from vla.models.families.timm_layout import TIMM, is_timm
from vla.models.fields import Fields, has_field, read_json, without_fields
from vla.models.hub import commit_of
from vla.models.model import Model
from vla.models.processors import IMAGE_PROCESSOR_FILES, ImageProcessor
from vla.models.published_code import refuse_publishers_code
from vla.models.source import find_config, find_directory, refuse_pointers
from vla.models.streaming import StreamedModel
from vla.models.tokenizer import TOKENIZER_FILES, Tokenizer
from vla.models.vision_encoder import VisionConfig, VisionEncoder
from vla.models.weights import Weights

_DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}


def load_model(
    source: str | Path,
    *,
    dtype: str = "float32",
    processor: str | Path | None = None,
    revision: str | None = None,
    processor_revision: str | None = None,
    weights: bool = True,
    stream: bool = False,
    tensor_parallel: Any = 1,
    tower: str | None = None,
    ignore_fields: Sequence[str] = (),
) -> Model:
    """Load a vision or language model with its own preprocessing.

    Args:
      source: A directory in Hugging Face or timm layout, or a Hub id; a directory wins.
      dtype: "float32" or "bfloat16", for weights and compute; readouts are float32 either way.
      processor: Directory or Hub id of the tokenizer or image processor, where the checkpoint comes without.
      revision: Branch, tag or commit of `source` on the Hub; by default the one that `third_party/checkpoints.toml`
        pins, else main.
      processor_revision: The same of `processor`.
      weights: False leaves the weights on disk: such a model knows its layers, widths and fingerprint and
        preprocesses stimuli, but has no readouts.
      stream: Whether weights stay on disk, and are read block by block whenever something is extracted: all items
        go through one block, then through the next. For models larger than memory.
      tensor_parallel: Devices that share one copy of the weights; the items are spread over groups of so many.
      tower: Which part of a model with several: "text" for CLIP's text encoder, a language model whose pool "last" is
        what CLIP itself reads; by default the vision encoder.
      ignore_fields: Fields of config.json to read the checkpoint without, such as ("auto_map",); "text_config.name" is
        a field of an object. They become part of the fingerprint.

    Returns:
      The model, its weights on every device or, as `tensor_parallel` says, in parts on several.

    Raises:
      ValueError: No such checkpoint, an unknown architecture, a config field that is not understood, tensors that
        are missing, unknown or mis-shaped, an unreadable file, no tokenizer or image processor.
    """
    check_choice("dtype", dtype, _DTYPES)
    if processor is None and processor_revision is not None:
        raise ValueError(f"processor_revision {processor_revision!r} was given without processor=; leave it out")
    processor_files = (*TOKENIZER_FILES, *IMAGE_PROCESSOR_FILES)
    # What is asked for elsewhere is not fetched here.
    own = processor_files if processor is None else ()
    # The config alone first: what cannot be read is not worth the download of its weights.
    directory = find_config(source, revision)
    family, config = read_config(directory / "config.json", tower, ignore_fields)
    if not Path(source).expanduser().is_dir():
        directory = find_directory(source, own, commit_of(directory) or revision, weights=True)
    refuse_pointers(directory, own)
    home = directory if processor is None else find_directory(processor, processor_files, processor_revision)
    # before the weights: what takes minutes comes after what can fail at once
    if isinstance(config, DecoderConfig):
        assert family.tokenizer is not None
        names, reader = TOKENIZER_FILES, Tokenizer(home, config, family.tokenizer)
    else:
        names, reader = IMAGE_PROCESSOR_FILES, ImageProcessor(home, config)
    tables = [table(config) for table in (family.table, *family.other_tables)]
    abstract = abstract_network(config, dtype)
    files = {"config.json": directory / "config.json"}
    files |= {file.name: file for file in weight_files(directory)}
    files |= {f"processor/{name}": home / name for name in names if (home / name).is_file()}
    mesh = devices.mesh(tensor_parallel)
    if not weights:
        model = Model(str(source), abstract, reader, dtype, files, mesh)
    else:
        found = Weights(abstract, family, tables, directory, config.depth, mesh)
        if stream:
            model = StreamedModel(str(source), abstract, reader, dtype, files, mesh, weights=found)
        else:
            model = Model(str(source), found.network(), reader, dtype, files, mesh)
    if tower == "text":
        # Or both towers of one checkpoint would bear one name.
        model.name += "-text"
    model.commit = commit_of(directory)
    model.ignored_fields = tuple(ignore_fields)
    return model


def check_config(source: str | Path, ignore_fields: Sequence[str] = ()) -> tuple[str, ...]:
    """Read the config of a checkpoint as `load_model` will, before its weights are fetched.

    Args:
      source: As of `load_model`.
      ignore_fields: Fields that some of several checkpoints are to be read without.

    Returns:
      Those of `ignore_fields` that this config has.

    Raises:
      ValueError: There is no such checkpoint, or its config is refused.
    """
    path = find_config(source) / "config.json"
    values = read_json(path)
    there = tuple(name for name in ignore_fields if has_field(values, name))
    read_config(path, None, there)
    return there


def read_config(
    path: Path, tower: str | None = None, ignore_fields: Sequence[str] = ()
) -> tuple[Family, VisionConfig | DecoderConfig]:
    """The architecture that a config.json describes: its family and its config.

    Args:
      path: Of a config.json of Hugging Face's or of timm's.
      tower: Which part of a model with several; None for the vision encoder.
      ignore_fields: Fields to read the config without.

    Raises:
      ValueError: An unknown `model_type`; a field that is unknown or has a value that is not supported; code of the
        publisher; a tower that there is not; a field to ignore that there is not.
    """
    values = without_fields(read_json(path), ignore_fields, str(path))
    model_type = "timm" if is_timm(values) else values.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(
            f"{path}: model_type {model_type!r} is not supported; supported are: {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[model_type]
    if tower is not None:
        towers = TOWERS.get(model_type, {})
        if tower not in towers:
            known = f"it has: {', '.join(sorted(towers))}" if towers else "it is one whole: leave tower out"
            raise ValueError(f"{path}: a model of type {model_type!r} has no tower {tower!r}; {known}")
        family = towers[tower]
    if family is not TIMM:
        refuse_publishers_code(values, model_type, str(path))
    fields = Fields(values, str(path), "" if family is TIMM else model_type)
    config = family.read(fields)
    fields.finish()
    return family, config


def abstract_network(config: VisionConfig | DecoderConfig, dtype: str = "float32") -> VisionEncoder | Decoder:
    """The network of that config with shapes and dtypes in place of weights, in no memory and no time."""
    if isinstance(config, DecoderConfig):
        return jax.eval_shape(lambda: Decoder(config, dtype=_DTYPES[dtype], rngs=nnx.Rngs(0)))
    return jax.eval_shape(lambda: VisionEncoder(config, dtype=_DTYPES[dtype], rngs=nnx.Rngs(0)))
