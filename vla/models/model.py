"""A loaded model: stimuli in, pooled activations of named layers out.

Axes: R layers read, B batch, T tokens, C channels, H rows, W columns, D width.
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from vla import devices
from vla.models.decoder import Decoder
from vla.models.layers import layer_names
from vla.models.pooling import LANGUAGE_POOLS, VISION_POOLS, language_pool
from vla.models.processors import ImageProcessor, Tokenizer
from vla.models.vision_encoder import VisionEncoder
from vla.records import Modality, canonical_hash, file_hash


@functools.partial(jax.jit, static_argnames=("pool", "layers"))
def _see(network: VisionEncoder, pixels: Array, *, pool: str, layers: tuple[str, ...]) -> Array:
    return network(pixels, pool=network.pool(pool), layers=layers)


@functools.partial(jax.jit, static_argnames=("bos", "pool", "layers"))
def _hear(
    network: Decoder, tokens: Array, mask: Array, *, bos: int | None, pool: str, layers: tuple[str, ...]
) -> Array:
    return network(tokens, mask, pool=language_pool(pool, tokens, mask, bos), layers=layers)


class Model:
    """A vision or language model with its weights and its own preprocessing.

    Attributes:
      name: Last component of the source, such as "dinov2-base".
      source: Hub id or directory, as given.
      modality: "vision" or "language".
      layer_names: ("embed", "block_1", ..., "block_L", "final_norm").
      width: D, units per layer.
      dtype: "float32" or "bfloat16", of weights and compute; readouts are always float32.
      pools: Ways to pool tokens; the first is the default.
      max_length: Most tokens a caption may have; None for vision models.
      network: The Flax module, a pytree.
    """

    def __init__(
        self,
        source: str,
        network: VisionEncoder | Decoder,
        processor: ImageProcessor | Tokenizer,
        dtype: str,
        files: dict[str, Path],
    ) -> None:
        """Put together what `load_model` has loaded.

        Args:
          source: As the user gave it.
          network: With its weights.
          processor: Of the same modality.
          dtype: Of the weights.
          files: Everything on disk that determines activations, by names that do not depend on where it lies.
        """
        self.source = source
        # abspath and not resolve: a link is called what its owner calls it
        self.name = os.path.basename(os.path.abspath(source))
        self.network = network
        self.modality: Modality = "language" if isinstance(network, Decoder) else "vision"
        self.pools = LANGUAGE_POOLS if self.modality == "language" else VISION_POOLS
        self.layer_names = layer_names(network.config.depth)
        self.width = network.config.width
        self.max_length = network.config.length if isinstance(network, Decoder) else None
        self.dtype = dtype
        self._processor = processor
        self._files = files

    def __repr__(self) -> str:
        """The model in one line."""
        return f"Model({self.source!r}, {self.modality}, {len(self.layer_names) - 2} blocks of width {self.width})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over config, weights and processor files, the same wherever they lie. Reads all of them once."""
        return canonical_hash({name: file_hash(path) for name, path in self._files.items()})

    def preprocess(self, stimuli: Sequence[Any]) -> list[np.ndarray]:
        """What the network takes for each stimulus.

        Args:
          stimuli: Captions (str) for a language model; RGB images of PIL for a vision model.

        Returns:
          int32 [T] token ids of each caption, with the tokenizer's default special tokens, neither padded nor cut;
          or float32 [C, H, W] pixels of each image.

        Raises:
          ValueError: A stimulus that the model cannot take, by its number.
        """
        process: Callable[[Sequence[Any]], list[np.ndarray]] = self._processor
        return process(stimuli)

    def readouts(
        self,
        batch: np.ndarray | Array,
        *,
        pool: str,
        layers: tuple[str, ...],
        mask: np.ndarray | Array | None = None,
    ) -> Float[Array, "R B D"]:
        """Pooled activations of the named layers, in float32.

        Compiled once per shape. No item's result depends on the other items, nor on where its padding is.

        Args:
          batch: Pixels [B, C, H, W], or token ids [B, T].
          pool: One of `pools`.
          layers: Any of `layer_names`, in their order.
          mask: Language only: bool [B, T], True at tokens and False at padding; None where there is no padding.

        Raises:
          ValueError: An unknown pool or layer, layers out of order, a batch or mask of another form.
        """
        self._check(batch, pool, layers, mask)
        with devices.full_precision():
            if isinstance(self.network, Decoder):
                assert isinstance(self._processor, Tokenizer)
                mask = np.ones(batch.shape, bool) if mask is None else mask
                return _hear(self.network, batch, mask, bos=self._processor.bos, pool=pool, layers=tuple(layers))
            return _see(self.network, batch, pool=pool, layers=tuple(layers))

    def _check(self, batch: Any, pool: str, layers: Sequence[str], mask: Any) -> None:
        """Refuse what the network would misread."""
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(self.network)):
            raise ValueError(f"{self.name} was loaded with weights=False and has no readouts; load it with its weights")
        if pool not in self.pools:
            raise ValueError(
                f"pool {pool!r} is not known to {self.modality} models; known are: {', '.join(sorted(self.pools))}"
            )
        unknown = [layer for layer in layers if layer not in self.layer_names]
        if unknown or not layers:
            raise ValueError(
                f"{self.name} has no layer {', '.join(map(repr, unknown)) or 'in an empty list'}; "
                f"it has: {', '.join(self.layer_names)}"
            )
        order = [self.layer_names.index(layer) for layer in layers]
        if order != sorted(set(order)):
            raise ValueError(f"layers {tuple(layers)} are repeated or out of order; expected the order of layer_names")
        if isinstance(self.network, VisionEncoder):
            C, P = self.network.config.channels, self.network.config.patch
            if batch.ndim != 4 or batch.shape[1] != C or min(batch.shape[2:]) < P:
                raise ValueError(
                    f"{self.name} takes pixels [B, {C}, H, W] with H and W of at least {P}; got {list(batch.shape)}"
                )
            if mask is not None:
                raise ValueError("a mask was given, but images have no padding")
            return
        assert isinstance(self.network, Decoder)
        if batch.ndim != 2 or not np.issubdtype(batch.dtype, np.integer):
            raise ValueError(f"{self.name} takes token ids [B, T]; got {batch.dtype} {list(batch.shape)}")
        if batch.shape[1] > self.network.config.length:
            raise ValueError(
                f"{self.name} reads {self.network.config.length} tokens at most; got a batch of {batch.shape[1]}"
            )
        if mask is not None and (mask.shape != batch.shape or mask.dtype != bool):
            raise ValueError(
                f"the mask is {mask.dtype} {list(mask.shape)}; expected bool {list(batch.shape)} like the batch"
            )
