"""Both towers of CLIP: images and texts to embeddings in one space (Radford et al., arXiv:2103.00020).

Axes: N images or texts, T tokens, D width of a tower, E embedding width.
"""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from vla.models.checkpoint import open_tensors
from vla.models.model import Model
from vla.models.tokenizer import Tokenizer
from vla.records import canonical_hash

# Texts are padded to a multiple of so many tokens, so that few shapes are compiled.
_TOKENS = 16

# The end token in the configs of Hugging Face's first conversions, which their tokenizers never produce.
_OLD_END = 2


class Clip:
    """Both towers of a CLIP model, and the maps from each into the space that they share.

    Attributes:
      vision: The image encoder.
      text: The text encoder.
      width: E.
    """

    def __init__(self, vision: Model, text: Model, directory: Path, end: int) -> None:
        """Read the projections of two loaded towers.

        Args:
          vision: The image encoder.
          text: The text encoder.
          directory: The checkpoint.
          end: Id of the token whose hidden state stands for a text, or 2 for the highest id of each text.

        Raises:
          ValueError: Projections that are missing or do not fit each other.
        """
        self.vision, self.text = vision, text
        self._image_projection = _projection(directory, "visual_projection.weight", vision)
        self._text_projection = _projection(directory, "text_projection.weight", text)
        self.width = len(self._image_projection)
        if len(self._text_projection) != self.width:
            raise ValueError(
                f"the projections in {directory} lead to {self.width} units for images and to "
                f"{len(self._text_projection)} for texts; download the checkpoint again"
            )
        self._end = end

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that determines the embeddings, wherever the files are. Reads all of them once."""
        return canonical_hash([self.vision.fingerprint, self.text.fingerprint, self.vision.dtype])

    def image_embeddings(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "N E"]:
        """Projected embeddings of RGB images of PIL, not normalised, in float32.

        Equivalent to CLIPModel.get_image_features of Hugging Face. No image's result depends on the others.

        Raises:
          ValueError: A stimulus is not an RGB image, or the image processor gives images of different sizes.
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
        return np.asarray(read) @ self._image_projection.T

    def text_embeddings(self, texts: Sequence[str], truncate: bool = False) -> Float[np.ndarray, "N E"]:
        """Projected embeddings of texts, not normalised, in float32.

        Equivalent to CLIPModel.get_text_features of Hugging Face. No text's result depends on the others.

        Raises:
          ValueError: A stimulus is not a str, or, without `truncate`, has more tokens than the context (77).
        """
        assert isinstance(self.text.processor, Tokenizer)
        tokens = self.text.processor(texts, truncate=truncate)
        if not tokens:
            return np.zeros((0, self.width), np.float32)
        length = -(-max(map(len, tokens)) // _TOKENS) * _TOKENS
        batch, mask = self._padded(tokens, min(length, self.text.max_length or length))
        read = self.text.readouts(batch, mask=mask, pool="last", layers=("final_norm",))[0]
        return np.asarray(read) @ self._text_projection.T

    def _padded(self, tokens: list[np.ndarray], length: int) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
        """Token ids padded to `length`, and a mask that is True up to the end token of each text."""
        batch, mask = np.zeros((len(tokens), length), np.int32), np.zeros((len(tokens), length), bool)
        for row, ids in enumerate(tokens):
            end = int(ids.max()) if self._end == _OLD_END else self._end
            indices = np.flatnonzero(ids == end)
            if not len(indices):
                raise ValueError(
                    f"the tokenizer of {self.text.name} gives text {row} no end token {end}; use the one that was "
                    "published with the model"
                )
            # The first of them, if the text itself contains one; attention is causal.
            batch[row, : len(ids)] = ids
            mask[row, : indices[0] + 1] = True
        return batch, mask


def _projection(directory: Path, name: str, tower: Model) -> Float[np.ndarray, "E D"]:
    """A projection, rounded to the dtype of its tower."""
    tensor = open_tensors(directory).get(name)
    if tensor is None or len(tensor.shape) != 2 or tensor.shape[1] != tower.width:
        actual = "absent" if tensor is None else f"of shape {list(tensor.shape)}"
        raise ValueError(
            f"{name} is {actual} in {directory}; expected [E, {tower.width}]. Use a checkpoint of the whole CLIP model"
        )
    rounded = np.asarray(tensor.read((slice(None), slice(None))), jnp.dtype(tower.dtype))
    return np.asarray(rounded, np.float32)
