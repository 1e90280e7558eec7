"""From a Hub id or a directory to a model with its weights."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from vla import devices
from vla.checks import WholeNumber, check_choice
from vla.models.checkpoint import weight_files
from vla.models.clip import Clip
from vla.models.decoder import Decoder
from vla.models.families import FAMILIES, TIMM, TOWERS
from vla.models.families.family import Family
from vla.models.fields import Fields, has_field, is_timm, read_json, refuse_publishers_code, without_fields
from vla.models.hub import commit_of
from vla.models.image_processors import IMAGE_PROCESSOR_FILES, ImageProcessor
from vla.models.model import Model
from vla.models.network_config import DecoderConfig, VisionConfig
from vla.models.source import find_config, find_directory, refuse_pointers
from vla.models.streaming import StreamedModel
from vla.models.tokenizer import TOKENIZER_FILES, Tokenizer
from vla.models.vision_encoder import VisionEncoder
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
    tensor_parallel: WholeNumber = 1,
    tower: str | None = None,
    ignore_fields: Sequence[str] = (),
) -> Model:
    """Load a vision or language model with its preprocessing.

    Args:
      source: A directory in Hugging Face or timm layout, or a Hub id; a directory wins.
      dtype: "float32" or "bfloat16", for weights and compute; readouts are float32 either way.
      processor: Directory or Hub id of the tokenizer or image processor, if the checkpoint has none.
      revision: Branch, tag or commit of `source` on the Hub; by default the one that `third_party/checkpoints.toml`
        pins, else main.
      processor_revision: Branch, tag or commit of `processor` on the Hub.
      weights: False leaves the weights on disk: such a model knows its layers, widths and fingerprint and
        preprocesses stimuli, but has no readouts.
      stream: Whether weights stay on disk and are read block by block for every extraction: all items go through one
        block, then through the next. For models larger than memory.
      tensor_parallel: Devices that share one copy of the weights; items are split over groups of so many devices.
      tower: The tower of a model with several: "text" for CLIP's text encoder, a language model whose pool "last" is
        what CLIP reads; by default the vision encoder.
      ignore_fields: Fields of config.json to ignore, such as ("auto_map",); "text_config.name" is a field of an object.
        They become part of the fingerprint.

    Returns:
      The model, with a copy of its weights on every device or, with `tensor_parallel`, shared by several.

    Raises:
      ValueError: No such checkpoint, an unknown architecture, a config field that is not understood, tensors that
        are missing, unknown or mis-shaped, an unreadable file, no tokenizer or image processor.
    """
    check_choice("dtype", dtype, _DTYPES)
    if processor is None and processor_revision is not None:
        raise ValueError(f"processor_revision {processor_revision!r} was given without processor=; leave it out")
    processor_files = (*TOKENIZER_FILES, *IMAGE_PROCESSOR_FILES) if processor is None else ()
    # The config first: a checkpoint that cannot be read is not downloaded.
    directory = find_config(source, revision)
    family, config = read_config(directory / "config.json", tower, ignore_fields)
    if not Path(source).expanduser().is_dir():
        directory = find_directory(source, processor_files, commit_of(directory) or revision, weights=True)
    refuse_pointers(directory, processor_files)
    processor_directory = directory
    if processor is not None:
        processor_directory = find_directory(processor, (*TOKENIZER_FILES, *IMAGE_PROCESSOR_FILES), processor_revision)
    # What can fail at once comes before the weights, which take minutes.
    if isinstance(config, DecoderConfig):
        assert family.tokenizer is not None
        names, reader = TOKENIZER_FILES, Tokenizer(processor_directory, config, family.tokenizer)
    else:
        names, reader = IMAGE_PROCESSOR_FILES, ImageProcessor(processor_directory, config)
    files = {"config.json": directory / "config.json"}
    files |= {file.name: file for file in weight_files(directory)}
    files |= {f"processor/{name}": path for name in names if (path := processor_directory / name).is_file()}
    network, mesh = abstract_network(config, dtype), devices.mesh(tensor_parallel)
    if not weights:
        model = Model(str(source), network, reader, dtype, files, mesh)
    else:
        on_disk = Weights(network, family, config, directory, mesh)
        if stream:
            model = StreamedModel(str(source), network, reader, dtype, files, mesh, on_disk)
        else:
            model = Model(str(source), on_disk.network(), reader, dtype, files, mesh)
    if tower == "text":
        # Both towers of one checkpoint need different names.
        model.name += "-text"
    model.commit = commit_of(directory)
    model.ignored_fields = tuple(ignore_fields)
    return model


def load_clip(
    source: str | Path, dtype: str = "float32", *, revision: str | None = None, ignore_fields: Sequence[str] = ()
) -> Clip:
    """Load both towers of a CLIP model with their preprocessing and projections.

    Args:
      source: A directory in Hugging Face layout, or a Hub id such as "openai/clip-vit-base-patch32".
      dtype: "float32" or "bfloat16", for weights and compute; embeddings are float32 either way.
      revision: Branch, tag or commit of `source` on the Hub.
      ignore_fields: As in `load_model`.

    Raises:
      ValueError: As `load_model`; a checkpoint that is not CLIP, or has only one tower.
    """
    # Both configs before any weights are downloaded.
    path = find_config(source, revision) / "config.json"
    _read_clip_configs(source, path, ignore_fields)
    directory = find_directory(source, (*TOKENIZER_FILES, *IMAGE_PROCESSOR_FILES), revision, weights=True)
    vision = load_model(directory, dtype=dtype, ignore_fields=ignore_fields)
    text = load_model(directory, dtype=dtype, tower="text", ignore_fields=ignore_fields)
    values = without_fields(read_json(path), ignore_fields, str(path))
    section = values.get("text_config_dict") or values.get("text_config") or {}
    return Clip(vision, text, directory, section.get("eos_token_id", 49407))


def _read_clip_configs(source: str | Path, path: Path, ignore_fields: Sequence[str]) -> None:
    """Refuse a config.json that is not of a CLIP model whose two towers can be read."""
    model_type = read_json(path).get("model_type")
    if model_type != "clip":
        raise ValueError(
            f"{source} is a checkpoint of type {model_type!r}; expected 'clip', with both of its towers, "
            "such as openai/clip-vit-base-patch32"
        )
    for tower in ("vision", "text"):
        read_config(path, tower, ignore_fields)


def check_config(source: str | Path, ignore_fields: Sequence[str] = (), *, clip: bool = False) -> tuple[str, ...]:
    """Read the config of a checkpoint as `load_model` or `load_clip` will, before its weights are fetched.

    Args:
      source: As in `load_model`.
      ignore_fields: Fields to ignore; this checkpoint need not have them.
      clip: Whether `load_clip` will load it, which needs both towers.

    Returns:
      Those of `ignore_fields` that its config has.

    Raises:
      ValueError: No such checkpoint, or its config is refused.
    """
    path = find_config(source) / "config.json"
    values = read_json(path)
    existing = tuple(name for name in ignore_fields if has_field(values, name))
    if clip:
        _read_clip_configs(source, path, existing)
    else:
        read_config(path, None, existing)
    return existing


def read_config(
    path: Path, tower: str | None = None, ignore_fields: Sequence[str] = ()
) -> tuple[Family, VisionConfig | DecoderConfig]:
    """The architecture that a config.json of Hugging Face or timm describes: its family and its config.

    Raises:
      ValueError: An unknown `model_type` or tower; a field that is unknown or has a value that is not supported; code
        of the publisher; a field to ignore that the config has not.
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
            known = f"it has: {', '.join(sorted(towers))}" if towers else "it has no towers: leave tower out"
            raise ValueError(f"{path}: a model of type {model_type!r} has no tower {tower!r}; {known}")
        family = towers[tower]
    if family is not TIMM:
        refuse_publishers_code(values, model_type, str(path))
    fields = Fields(values, str(path), "" if family is TIMM else model_type)
    config = family.read(fields)
    fields.finish()
    return family, config


def abstract_network(config: VisionConfig | DecoderConfig, dtype: str = "float32") -> VisionEncoder | Decoder:
    """The network of that config, with shapes and dtypes in place of weights."""
    if isinstance(config, DecoderConfig):
        return jax.eval_shape(lambda: Decoder(config, dtype=_DTYPES[dtype], rngs=nnx.Rngs(0)))
    return jax.eval_shape(lambda: VisionEncoder(config, dtype=_DTYPES[dtype], rngs=nnx.Rngs(0)))
