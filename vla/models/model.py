"""A loaded model: stimuli in, pooled activations of named layers out.

Axes: R layers read, B batch, T tokens, C channels, H rows, W columns, D width.
"""

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from vla import devices
from vla.files import file_hash
from vla.models.batch import Batch, Images, one_per_row
from vla.models.decoder import Decoder
from vla.models.decoder_config import DecoderConfig
from vla.models.layers import layer_names
from vla.models.pooling import LANGUAGE_POOLS
from vla.models.processors import ImageProcessor
from vla.models.stages import Chain, Network, chain_of, compiled_for, forward
from vla.models.tokenizer import Tokenizer
from vla.models.vision_encoder import VisionEncoder
from vla.records import Modality, canonical_hash

# Which layers (a slice of those asked for), the number of the batch, and what was read: [R, B, S, D].
Reading = tuple[slice, int, np.ndarray]

_forward = functools.partial(jax.jit, static_argnames=("pools", "layers"))(forward)


class Model:
    """A vision or language model with its weights and its own preprocessing.

    Attributes:
      name: Last component of the source, such as "dinov2-base".
      source: Hub id or directory, as given.
      commit: The commit of the Hub's repository that was loaded; None for a directory.
      ignored_fields: Fields of config.json that it was read without, as the user asked.
      modality: "vision" or "language".
      layer_names: ("embed", "block_1", ..., "block_L", "final_norm").
      width: D, units per layer.
      dtype: "float32" or "bfloat16", of weights and compute; readouts are always float32.
      pools: Ways to pool tokens; the first is the default.
      max_length: Most tokens a caption may have; None for vision models.
      network: The Flax module, a pytree.
      mesh: The devices that hold it.
      streams: Whether weights are read block by block for every reading, and not held.
    """

    streams = False

    def __init__(
        self,
        source: str,
        network: Network,
        processor: ImageProcessor | Tokenizer,
        dtype: str,
        files: dict[str, Path],
        mesh: Mesh | None = None,
    ) -> None:
        """Put together what `load_model` has loaded.

        Args:
          source: As the user gave it.
          network: With its weights.
          processor: Of the same modality.
          dtype: Of the weights.
          files: Everything on disk that determines activations, by names that do not depend on where it lies.
          mesh: The devices that hold the network; by default all of this process.
        """
        self.source = source
        self.commit: str | None = None
        self.ignored_fields: tuple[str, ...] = ()
        # abspath and not resolve: a link is called what its owner calls it
        self.name = os.path.basename(os.path.abspath(source))
        self.network = network
        self.modality: Modality = "language" if isinstance(network, Decoder) else "vision"
        self.pools = LANGUAGE_POOLS if isinstance(network, Decoder) else network.config.pools
        self.layer_names = layer_names(network.config.depth)
        self.width = network.config.width
        self.max_length = network.config.length if isinstance(network, Decoder) else None
        self.dtype = dtype
        self.mesh = devices.mesh() if mesh is None else mesh
        self._processor = processor
        self._files = files

    def __repr__(self) -> str:
        """The model in one line."""
        return f"Model({self.source!r}, {self.modality}, {len(self.layer_names) - 2} blocks of width {self.width})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over config, ignored fields, weights and processor files, wherever they lie. Reads all of them."""
        hashes: dict[str, Any] = {name: _hash_of(path) for name, path in self._files.items()}
        ignored = {"ignored_fields": sorted(self.ignored_fields)} if self.ignored_fields else {}
        return canonical_hash(hashes | ignored)

    @property
    def parameters(self) -> int:
        """Number of weights that activations are computed from; a head that no layer needs is not counted."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.network))

    @property
    def processor(self) -> Callable[[Sequence[Any]], list[np.ndarray]]:
        """What `preprocess` calls: it can be given to other processes without the network."""
        return self._processor

    @property
    def alone_beyond(self) -> int | None:
        """Captions of more tokens than this need a row of their own; None where none does."""
        config = self.network.config
        kinds = (config.rotary, config.local_rotary) if isinstance(config, DecoderConfig) else ()
        lengths = [rotary.original_length for rotary in kinds if rotary is not None and rotary.kind == "longrope"]
        return min(lengths, default=None)

    @property
    def bos(self) -> int | None:
        """Id of the token that may open a caption; None where there is none."""
        return self._processor.bos if isinstance(self._processor, Tokenizer) else None

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
        if self.modality == "language":
            mask = np.ones(batch.shape, bool) if mask is None else np.asarray(mask)
            given: Batch = one_per_row(np.asarray(batch), mask, pool, self.bos)
        else:
            given = Images(batch)
        return self._all_layers(given, (pool,), tuple(layers))[:, :, 0]

    def passes(self, layers: tuple[str, ...]) -> int:
        """How many readings `read` gives of each batch."""
        return 1

    def read(self, batches: Iterable[Batch], *, pools: tuple[str, ...], layers: tuple[str, ...]) -> Iterator[Reading]:
        """Everything that is wanted of many batches, in whatever order it comes about.

        A network that is held gives all layers of one batch after another; one that is streamed, one layer of all
        batches after another. Batches are taken as they are needed, or all before the first block.

        Args:
          batches: Each with a number of rows that divides by the devices; captions with weights for what is wanted.
          pools: Pools of the model; S of them for images.
          layers: Any of `layer_names`, in their order.

        Yields:
          Which of `layers`, which batch, and float32 [R, B, S, D].
        """
        every = slice(0, len(layers))
        before: tuple[int, Array] | None = None
        for number, batch in enumerate(batches):
            out = self._all_layers(batch, pools, layers)
            # Fetched when the next is under way, so that the devices need not wait for the host.
            if before is not None:
                yield every, before[0], devices.to_host(before[1])
            before = number, out
        if before is not None:
            yield every, before[0], devices.to_host(before[1])

    def _all_layers(self, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
        """What is wanted of one batch."""
        batch, pools = self._spread(batch), compiled_for(batch, pools)
        with devices.full_precision():
            if self._chain is not None:
                return self._chain(batch, pools, layers)
            return _forward(self.network, batch, pools=pools, layers=layers)

    @functools.cached_property
    def _chain(self) -> Chain | None:
        """The network as a chain of calls where that is faster."""
        return chain_of(self.network)

    def _spread(self, batch: Any) -> Any:
        """A batch, or hidden states, on the devices: split over them where the number of rows permits."""
        if len(jax.tree.leaves(batch)[0]) % devices.groups(self.mesh) == 0:
            return devices.split_leading(batch, self.mesh)
        return jax.device_put(batch, devices.sharded(self.mesh))

    def check_weights(self) -> None:
        """Refuse to read activations of a model without weights.

        Raises:
          ValueError: It was loaded with weights=False.
        """
        if not self.streams and any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(self.network)):
            raise ValueError(f"{self.name} was loaded with weights=False and has no readouts; load it with its weights")

    def _check(self, batch: Any, pool: str, layers: Sequence[str], mask: Any) -> None:
        """Refuse what the network would misread."""
        self.check_weights()
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


def _hash_of(path: Path) -> str:
    """SHA-256 of a file, computed once as long as it does not change."""
    about = path.stat()
    return _hash_of_state(path, about.st_size, about.st_mtime_ns, about.st_ino)


@functools.cache
def _hash_of_state(path: Path, size: int, modified: int, inode: int) -> str:
    return file_hash(path)
