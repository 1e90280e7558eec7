"""CLIP as a whole: images and texts to embeddings in one space (Radford et al., arXiv:2103.00020).

Axes: N images or texts, T tokens, D width of a tower, E embedding width.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from vla.models.checkpoint import open_tensors
from vla.models.fields import read_json, without_fields
from vla.models.loading import load_model, read_config
from vla.models.model import Model
from vla.models.processors import IMAGE_PROCESSOR_FILES
from vla.models.source import find_config, find_directory
from vla.models.tokenizer import TOKENIZER_FILES
from vla.records import canonical_hash

# Texts are padded to a multiple of so many tokens: few shapes to compile.
_TOKENS = 16

# What Hugging Face's first conversions call the end token, though their tokenizers never give it.
_OLD_END = 2


class Clip:
    """Both towers of a CLIP model, and the maps from each into the space that they share.

    Attributes:
      vision: The image encoder.
      text: The text encoder.
      width: E.
    """

    def __init__(self, vision: Model, text: Model, projections: tuple[np.ndarray, np.ndarray], end: int) -> None:
        """Put together what `load_clip` has loaded.

        Args:
          vision: The image encoder.
          text: The text encoder.
          projections: Float32 [E, D] of images, and the same of texts.
          end: Id of the token whose hidden state stands for a text, or 2 for the highest id of each.
        """
        self.vision, self.text = vision, text
        self.width = len(projections[0])
        self._projections = projections
        self._end = end

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that determines the embeddings, wherever it lies. Reads all of it once."""
        return canonical_hash([self.vision.fingerprint, self.text.fingerprint, self.vision.dtype])

    def image_embeddings(self, images: Sequence[Any]) -> Float[np.ndarray, "N E"]:
        """Projected embeddings of RGB images of PIL, not normalised, in float32.

        Equivalent to CLIPModel.get_image_features of Hugging Face. No image's result depends on the others.

        Raises:
          ValueError: Something is no RGB image, or the image processor gives images of different sizes.
        """
        pixels = self.vision.preprocess(images)
        if not pixels:
            return np.zeros((0, self.width), np.float32)
        sizes = {part.shape for part in pixels}
        if len(sizes) > 1:
            raise ValueError(
                f"the image processor of {self.vision.name} gives images of different sizes: "
                f"{', '.join(str(list(size)) for size in sorted(sizes))}; use one that cuts all to one size"
            )
        read = self.vision.readouts(np.stack(pixels), pool="cls", layers=("final_norm",))[0]
        return np.asarray(read) @ self._projections[0].T

    def text_embeddings(self, texts: Sequence[Any], truncate: bool = False) -> Float[np.ndarray, "N E"]:
        """Projected embeddings of texts, not normalised, in float32.

        Equivalent to CLIPModel.get_text_features of Hugging Face. No text's result depends on the others.

        Args:
          texts: Str each.
          truncate: Whether the end of a text beyond the context (77 tokens) is cut off, as CLIP's own code does on
            demand; else such a text is refused.

        Raises:
          ValueError: Something is no text, or is too long.
        """
        tokenize: Any = self.text.processor
        tokens = tokenize(texts, truncate=truncate)
        if not tokens:
            return np.zeros((0, self.width), np.float32)
        length = -(-max(map(len, tokens)) // _TOKENS) * _TOKENS
        batch, mask = self._padded(tokens, min(length, self.text.max_length or length))
        read = self.text.readouts(batch, mask=mask, pool="last", layers=("final_norm",))[0]
        return np.asarray(read) @ self._projections[1].T

    def _padded(self, tokens: list[np.ndarray], length: int) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
        """Token ids of equal length, and which of them stand no later than their text's end token."""
        batch, mask = np.zeros((len(tokens), length), np.int32), np.zeros((len(tokens), length), bool)
        for row, ids in enumerate(tokens):
            end = int(ids.max()) if self._end == _OLD_END else self._end
            places = np.flatnonzero(ids == end)
            if not len(places):
                raise ValueError(
                    f"the tokenizer of {self.text.name} gives text {row} no end token {end}; use the one that was "
                    "published with the model"
                )
            # The first of them, should the text itself spell one; nothing before it sees what follows.
            batch[row, : len(ids)] = ids
            mask[row, : places[0] + 1] = True
        return batch, mask


def load_clip(
    source: str | Path, dtype: str = "float32", *, revision: str | None = None, ignore_fields: Sequence[str] = ()
) -> Clip:
    """Load both towers of a CLIP model with their preprocessing and projections.

    Args:
      source: A directory in Hugging Face layout, or a Hub id such as "openai/clip-vit-base-patch32".
      dtype: "float32" or "bfloat16", for weights and compute; embeddings are float32 either way.
      revision: Branch, tag or commit of `source` on the Hub.
      ignore_fields: As of `load_model`.

    Raises:
      ValueError: As of `load_model`; a checkpoint that is no CLIP, or one tower alone.
    """
    path = find_config(source, revision) / "config.json"
    values = without_fields(read_json(path), ignore_fields, str(path))
    if values.get("model_type") != "clip":
        raise ValueError(
            f"{source} is a checkpoint of type {values.get('model_type')!r}; expected 'clip', with both of its towers, "
            "such as openai/clip-vit-base-patch32"
        )
    # Both configs before any weights are downloaded.
    for tower in ("vision", "text"):
        read_config(path, tower, ignore_fields)
    directory = find_directory(source, (*TOKENIZER_FILES, *IMAGE_PROCESSOR_FILES), revision, weights=True)
    vision = load_model(directory, dtype=dtype, ignore_fields=ignore_fields)
    text = load_model(directory, dtype=dtype, tower="text", ignore_fields=ignore_fields)
    projections = (
        _projection(directory, "visual_projection.weight", vision),
        _projection(directory, "text_projection.weight", text),
    )
    if len(projections[0]) != len(projections[1]):
        raise ValueError(
            f"the projections in {directory} lead to {len(projections[0])} units for images and to "
            f"{len(projections[1])} for texts; download the checkpoint again"
        )
    section = values.get("text_config_dict") or values.get("text_config") or {}
    return Clip(vision, text, projections, section.get("eos_token_id", 49407))


def _projection(directory: Path, name: str, tower: Model) -> Float[np.ndarray, "E D"]:
    """One of the two maps, rounded to the dtype of its tower."""
    tensor = open_tensors(directory).get(name)
    if tensor is None or len(tensor.shape) != 2 or tensor.shape[1] != tower.width:
        given = "absent" if tensor is None else f"of shape {list(tensor.shape)}"
        raise ValueError(
            f"{name} is {given} in {directory}; expected [E, {tower.width}]. Use a checkpoint of the whole CLIP model"
        )
    rounded = np.asarray(tensor.read((slice(None), slice(None))), jnp.dtype(tower.dtype))
    return np.asarray(rounded, np.float32)
