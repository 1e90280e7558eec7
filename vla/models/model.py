"""A loaded model: stimuli in, pooled activations of named layers out.

Axes: B rows of a batch, T tokens, K tokens kept, S pooled vectors per row, R layers read, C channels, H rows of pixels,
W columns, D width.
"""

import functools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from vla import devices
from vla.files import file_hash
from vla.models import decoder, vision_encoder
from vla.models.batch import Batch, Captions, Images, one_caption_per_row, packed_mask, without_pixels
from vla.models.decoder import Decoder
from vla.models.layers import LANGUAGE_POOLS, Pool, layer_names, tokens_read, weighted
from vla.models.vision_encoder import VisionEncoder
from vla.records import Modality, canonical_hash

Network = VisionEncoder | Decoder
Block = vision_encoder.Block | decoder.Block

# Which layers (a slice of those asked for), the number of the batch, and the pooled values [R, B, S, D].
Reading = tuple[slice, int, np.ndarray]

# Blocks of fewer bytes run faster in one scan than as separate calls.
_LEAST_BLOCK_BYTES = 1 << 22

# XLA uses arrays in place whose address divides by this; others it copies.
_ALIGNMENT = 64


@runtime_checkable
class Processor(Protocol):
    """The preprocessing of a model: a tokenizer or an image processor; can be pickled without the network."""

    @property
    def bos(self) -> int | None:
        """Id of the token that may open a caption; None without one."""
        ...

    def __call__(self, stimuli: Sequence[object]) -> list[np.ndarray]:
        """The input of the network for each stimulus."""
        ...


def forward(network: Network, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
    """All pooled vectors of the named layers, in float32.

    `pools` are those of images: captions come with the weights of theirs.
    """
    pool = pool_of(network, batch, pools)
    if isinstance(network, Decoder):
        assert isinstance(batch, Captions)
        mask = packed_mask(jnp.asarray(batch.ends), network.config.causal)
        tokens, positions = jnp.asarray(batch.tokens), jnp.asarray(batch.positions)
        return network(tokens, positions, mask, pool=pool, layers=layers)
    assert isinstance(batch, Images)
    return network(jnp.asarray(batch.pixels), pool=pool, layers=layers, kept=tokens_read(pools))


def enter(network: Network, batch: Batch) -> Float[Array, "B T D"]:
    """The input of the first block; `network` needs no blocks."""
    if isinstance(network, Decoder):
        assert isinstance(batch, Captions)
        is_token = batch.ends > jnp.arange(batch.ends.shape[1])
        return network.embed(jnp.where(is_token, batch.tokens, 0), jnp.asarray(batch.positions))
    assert isinstance(batch, Images)
    return network.embedding(jnp.asarray(batch.pixels))


def pass_block(
    block: Block, number: Array, hidden: Float[Array, "B T D"], batch: Batch, kept: int | None = None
) -> Float[Array, "B K D"]:
    """The raw output of block `number`, from 0; of images only the first K = `kept` tokens, or all."""
    if isinstance(block, decoder.Block):
        assert isinstance(batch, Captions)
        mask = packed_mask(jnp.asarray(batch.ends), block.config.causal)
        return block(hidden, decoder.context_of(block.config, jnp.asarray(batch.positions), mask), number)
    assert isinstance(batch, Images)
    return block(hidden, vision_encoder.rotation_of_patches(block.config, *batch.pixels.shape[2:]), kept)


def static_pools(batch: Batch, pools: tuple[str, ...]) -> tuple[str, ...]:
    """The pools that a program is compiled for: those of captions are weights, which are data."""
    return () if isinstance(batch, Captions) else pools


def pool_of(network: Network, batch: Batch, pools: tuple[str, ...]) -> Pool:
    """From hidden states [B, T, D] to pooled vectors [B, S, D]; `network` needs no weights."""
    if isinstance(batch, Captions):
        return weighted(jnp.asarray(batch.weights))
    assert isinstance(network, VisionEncoder)
    functions = [network.pool(name) for name in pools]
    return lambda hidden: jnp.stack([pool(hidden) for pool in functions], axis=1)


_forward = functools.partial(jax.jit, static_argnames=("pools", "layers"))(forward)


@functools.partial(jax.jit, static_argnames=("pools",))
def call_enter(ends: Network, batch: Batch, *, pools: tuple[str, ...]) -> tuple[Array, Array]:
    """The input of the first block and its pooled values [B, S, D]; the blocks of `ends` may be None."""
    hidden = enter(ends, batch)
    return hidden, pool_of(ends, batch, pools)(hidden)


@functools.partial(jax.jit, static_argnames=("pools", "kept"))
def call_block(
    ends: Network,
    block: Block,
    number: Array,
    hidden: Array,
    batch: Batch,
    *,
    pools: tuple[str, ...],
    kept: int | None = None,
) -> tuple[Array, Array]:
    """The output of block `number`, as `pass_block`, and its pooled values."""
    hidden = pass_block(block, number, hidden, batch, kept)
    return hidden, pool_of(ends, batch, pools)(hidden)


@functools.partial(jax.jit, static_argnames=("pools",))
def call_leave(ends: Network, hidden: Array, batch: Batch, *, pools: tuple[str, ...]) -> Array:
    """The pooled values of the final norm."""
    return pool_of(ends, batch, pools)(ends.final_norm(hidden))


class Chain:
    """A network whose blocks are called one after another."""

    def __init__(self, network: Network) -> None:
        """Take the stack apart into views, which need no memory."""
        graph, state = nnx.split(network)
        self._ends = nnx.merge(graph, state)
        self._ends.blocks = None  # pyright: ignore[reportAttributeAccessIssue]
        self._depth = network.config.depth
        leaves, structure = jax.tree.flatten(network.blocks)
        stacks = [np.asarray(leaf) for leaf in leaves]
        self._blocks = [
            jax.tree.unflatten(structure, [jax.device_put(stack[i], may_alias=True) for stack in stacks])
            for i in range(self._depth)
        ]

    def __call__(self, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
        """As `forward`. Returns before the result is computed."""
        names = layer_names(self._depth)
        needed = min(max(names.index(layer) for layer in layers), self._depth)
        kept = None if isinstance(batch, Captions) else tokens_read(pools)
        hidden, pooled = call_enter(self._ends, batch, pools=pools)
        readouts, batch = {"embed": pooled}, without_pixels(batch)
        for i, block in enumerate(self._blocks[:needed]):
            last = i + 1 == needed
            hidden, pooled = call_block(
                self._ends, block, np.int32(i), hidden, batch, pools=pools, kept=kept if last else None
            )
            readouts[names[i + 1]] = pooled
        if "final_norm" in layers:
            readouts["final_norm"] = call_leave(self._ends, hidden, batch, pools=pools)
        return jnp.stack([readouts[layer] for layer in layers])


def chain_of(network: Network) -> Chain | None:
    """The network as a chain where that is faster than a scan: on one CPU, of blocks that are not small."""
    leaves = jax.tree.leaves(network.blocks)
    if not devices.on_cpu() or jax.local_device_count() > 1 or any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves):
        return None
    sizes = [leaf.nbytes // len(leaf) for leaf in leaves]
    # Copies of unaligned parameters would need a second model's memory; those of norms and biases are small.
    aligned = all(size % _ALIGNMENT == 0 or size < sum(sizes) >> 8 for size in sizes)
    return Chain(network) if aligned and sum(sizes) >= _LEAST_BLOCK_BYTES else None


class Model:
    """A vision or language model with its weights and its preprocessing.

    Attributes:
      name: Last component of the source, such as "dinov2-base".
      source: Hub id or directory, as the user wrote it.
      commit: The commit of the Hub repository; None for a directory.
      ignored_fields: Fields of config.json that were ignored at the user's request.
      modality: "vision" or "language".
      layer_names: ("embed", "block_1", ..., "block_L", "final_norm").
      width: D, units per layer.
      dtype: "float32" or "bfloat16", of weights and compute; readouts are always float32.
      pools: Ways to pool tokens; the first is the default.
      max_length: Most tokens of a caption; None for vision models.
      network: The Flax module, a pytree.
      processor: The tokenizer or image processor.
      mesh: The devices that hold the network.
      streams: Whether weights stay on disk and are read block by block for every reading.
    """

    streams = False

    def __init__(
        self,
        source: str,
        network: Network,
        processor: Processor,
        dtype: str,
        files: dict[str, Path],
        mesh: Mesh | None = None,
    ) -> None:
        """Put together what `load_model` has loaded.

        `files` are all that determine activations, by names that do not depend on their folder.
        """
        self.source = source
        self.commit: str | None = None
        self.ignored_fields: tuple[str, ...] = ()
        # abspath and not resolve: a symbolic link keeps its name.
        self.name = os.path.basename(os.path.abspath(source))
        self.network = network
        self.modality: Modality = "language" if isinstance(network, Decoder) else "vision"
        self.pools = LANGUAGE_POOLS if isinstance(network, Decoder) else network.config.pools
        self.layer_names = layer_names(network.config.depth)
        self.width = network.config.width
        self.max_length = network.config.length if isinstance(network, Decoder) else None
        self.dtype = dtype
        self.processor = processor
        self.mesh = devices.mesh() if mesh is None else mesh
        self._files = files

    def __repr__(self) -> str:
        """The model in one line."""
        return f"Model({self.source!r}, {self.modality}, {len(self.layer_names) - 2} blocks of width {self.width})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over config, ignored fields, weights and processor files, wherever they are. Reads all of them."""
        hashes: dict[str, Any] = {name: _hash_of(path) for name, path in self._files.items()}
        ignored = {"ignored_fields": sorted(self.ignored_fields)} if self.ignored_fields else {}
        return canonical_hash(hashes | ignored)

    @property
    def parameters(self) -> int:
        """Number of weights that activations are computed from; a head that no layer needs is not counted."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.network))

    @property
    def packing_limit(self) -> int | None:
        """Captions of more tokens than this need a row of their own; None without such a limit."""
        if not isinstance(self.network, Decoder):
            return None
        rotaries = (self.network.config.rotary, self.network.config.local_rotary)
        lengths = [rotary.original_length for rotary in rotaries if rotary and rotary.scaling == "longrope"]
        return min(lengths, default=None)

    @property
    def bos(self) -> int | None:
        """Id of the token that may open a caption; None without one."""
        return self.processor.bos

    def preprocess(self, stimuli: Sequence[object]) -> list[np.ndarray]:
        """The input of the network for each stimulus.

        Args:
          stimuli: Captions (str) for a language model; RGB images of PIL for a vision model.

        Returns:
          int32 [T] token ids of each caption with the tokenizer's default special tokens, not padded or truncated; or
          float32 [C, H, W] pixels of each image.

        Raises:
          ValueError: A stimulus that the model cannot take, by its number.
        """
        return self.processor(stimuli)

    def readouts(
        self,
        batch: np.ndarray | Array,
        *,
        pool: str,
        layers: tuple[str, ...],
        mask: np.ndarray | Array | None = None,
    ) -> Float[Array, "R B D"]:
        """Pooled activations of the named layers, in float32.

        Compiled once per shape. No item's result depends on the other items, or on where its padding is.

        Args:
          batch: Pixels [B, C, H, W], or token ids [B, T].
          pool: One of `pools`.
          layers: Any of `layer_names`, in their order.
          mask: Language only: bool [B, T], True at tokens and False at padding; None without padding.

        Raises:
          ValueError: An unknown pool or layer, layers out of order, a batch or mask of another shape or dtype.
        """
        self._check(batch, pool, layers, mask)
        inputs: Batch = Images(batch)
        if self.modality == "language":
            mask = np.ones(batch.shape, bool) if mask is None else np.asarray(mask)
            inputs = one_caption_per_row(np.asarray(batch), mask, pool, self.bos)
        return self._all_layers(inputs, (pool,), tuple(layers))[:, :, 0]

    def passes(self, layers: tuple[str, ...]) -> int:
        """How many readings `read` gives of each batch."""
        return 1

    def read(self, batches: Iterable[Batch], *, pools: tuple[str, ...], layers: tuple[str, ...]) -> Iterator[Reading]:
        """Pooled activations of many batches, in the order in which they are computed.

        A network in memory gives all layers of one batch after another; a streamed one gives one layer of all batches
        after another. Batches are consumed as they are needed, or all before the first block.

        Args:
          batches: The number of rows of each divides by `devices.groups(mesh)`; captions come with weights.
          pools: Pools of the model; S of them for images.
          layers: Any of `layer_names`, in their order.

        Yields:
          Which of `layers`, which batch, and float32 [R, B, S, D].
        """
        every = slice(0, len(layers))
        previous: tuple[int, Array] | None = None
        for number, batch in enumerate(batches):
            readouts = self._all_layers(batch, pools, layers)
            # Fetched while the next batch is computed, so that the devices do not wait for the host.
            if previous is not None:
                yield every, previous[0], devices.to_host(previous[1])
            previous = number, readouts
        if previous is not None:
            yield every, previous[0], devices.to_host(previous[1])

    def _all_layers(self, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
        """All pooled vectors of one batch."""
        batch, pools = self._shard(batch), static_pools(batch, pools)
        with devices.full_precision():
            if self._chain is not None:
                return self._chain(batch, pools, layers)
            return _forward(self.network, batch, pools=pools, layers=layers)

    @functools.cached_property
    def _chain(self) -> Chain | None:
        """The network as a chain of calls where that is faster."""
        return chain_of(self.network)

    def _shard(self, batch: Any) -> Any:
        """A batch, or hidden states, on the devices: split over them if the number of rows divides."""
        if len(jax.tree.leaves(batch)[0]) % devices.groups(self.mesh) == 0:
            return devices.split_leading(batch, self.mesh)
        return jax.device_put(batch, devices.sharded(self.mesh))

    def check_weights(self) -> None:
        """Refuse to read activations of a model that was loaded with weights=False."""
        if not self.streams and any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(self.network)):
            raise ValueError(f"{self.name} was loaded with weights=False and has no readouts; load it with its weights")

    def _check(
        self, batch: np.ndarray | Array, pool: str, layers: Sequence[str], mask: np.ndarray | Array | None
    ) -> None:
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
    stat = path.stat()
    return _hash_of_state(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.cache
def _hash_of_state(path: Path, size: int, modified: int, inode: int) -> str:
    return file_hash(path)
