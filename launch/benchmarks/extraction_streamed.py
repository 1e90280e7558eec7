"""A bfloat16 model streamed block by block, against its matrix products alone."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import vla
from launch.benchmarks.timing import Figures, peak_gib, timed
from vla.activations.captions import caption_batches
from vla.models.model import Model


def streamed(captions: Sequence[str], tokenizer: str, blocks: int, where: Path) -> Figures:
    """Peak memory and time of all captions through a model of so many blocks.

    Run it in a process that has done nothing else: its peak is the process's.
    """
    model = vla.load_model(where, dtype="bfloat16", stream=True, processor=tokenizer)
    before = peak_gib()
    seconds, read = timed(lambda: vla.extract(model, captions), f"{len(captions)} captions through {blocks} blocks")
    peak = peak_gib()
    assert np.isfinite(read.values).all()
    products = _product_seconds(model, captions)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(model.network.blocks)) / blocks
    return {
        "captions": len(captions),
        "blocks": blocks,
        "GiB of one block": size / 2**30,
        "GiB resident before": before,
        "GiB resident at most": peak,
        "seconds, with compilation": seconds,
        "seconds per block": seconds / blocks,
        "seconds per block, matrix products alone": products,
        "times the matrix products": seconds / blocks / products,
        "minutes for 32 blocks": seconds / blocks * 32 / 60,
    }


def _product_seconds(model: Model, captions: Sequence[str]) -> float:
    """The linear maps of one block on all packed rows, and nothing else."""
    batches = [batch for batch, _ in caption_batches(model, captions, captions, ("mean",))]
    rng = np.random.default_rng(0)
    product = jax.jit(lambda x, w: jnp.einsum("td,ed->te", x, w, preferred_element_type=jnp.float32))

    def seconds(weight: jax.ShapeDtypeStruct) -> float:
        _, E, D = weight.shape
        w = jnp.asarray(rng.standard_normal((E, D), np.float32), weight.dtype)
        x = jnp.asarray(rng.standard_normal((batches[0].tokens.size, D), np.float32), weight.dtype)
        product(x, w).block_until_ready()
        return min(timed(lambda: product(x, w).block_until_ready())[0] for _ in range(3)) * len(batches)

    print("  its matrix products alone ...", flush=True)
    return sum(seconds(leaf) for leaf in jax.tree.leaves(model.network.blocks) if leaf.ndim == 3)
