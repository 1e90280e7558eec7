"""Every layer of a Hugging Face model on torch, and how far ours is from it."""

from typing import Any

import jax
import numpy as np
import torch

from vla import devices
from vla.models import Model
from vla.models.layers import every_token

TOLERANCE = 1e-5


def torch_layers(model: torch.nn.Module, *inputs: Any, **options: Any) -> dict[str, np.ndarray]:
    """Hidden states [B, T, D] of all tokens at every layer, caught by hooks on the modules themselves.

    Not by `output_hidden_states`: of a decoder that never shows the last block's raw output.
    """
    body = getattr(model, getattr(model, "base_model_prefix", ""), model)
    blocks = body.layers if hasattr(body, "layers") else body.encoder.layer
    norm = body.norm if hasattr(body, "norm") else body.layernorm
    read: dict[str, np.ndarray] = {}

    def keep(name: str, value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        read[name] = value.detach().float().numpy().copy()

    hooks = [blocks[0].register_forward_pre_hook(lambda _, inputs: keep("embed", inputs[0]))]
    for i, block in enumerate(blocks, start=1):
        hooks.append(block.register_forward_hook(lambda _m, _i, out, name=f"block_{i}": keep(name, out)))
    hooks.append(norm.register_forward_hook(lambda _m, _i, out: keep("final_norm", out)))
    with torch.no_grad():
        model(*inputs, **options)
    for hook in hooks:
        hook.remove()
    return read


def our_layers(model: Model, *batch: Any) -> dict[str, np.ndarray]:
    """Hidden states [B, T, D] of all tokens at every layer of our network."""
    return network_layers(model.network, model.layer_names, *batch)


def network_layers(network: Any, names: tuple[str, ...], *batch: Any) -> dict[str, np.ndarray]:
    """The same for a bare network."""
    with devices.full_precision():
        lowered = jax.jit(lambda network, *batch: network(*batch, pool=every_token, layers=names)).lower(
            network, *batch
        )
    # Most of a parity test is LLVM polishing a program that runs once.
    read = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})(network, *batch)
    return dict(zip(names, np.asarray(read), strict=True))


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The larger of the relative errors in norm and in maximum."""
    assert ours.shape == theirs.shape
    off = np.abs(ours.astype(np.float64) - theirs)
    return max(np.linalg.norm(off) / np.linalg.norm(theirs), off.max() / np.abs(theirs).max())


def worst(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """The largest distance over all layers, which must be the same ones."""
    assert ours.keys() == theirs.keys()
    return max(distance(ours[name], theirs[name]) for name in theirs)
