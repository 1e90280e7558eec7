"""Every layer of a Hugging Face language model on torch, and the same of ours."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from tests.models.reference import network_layers
from vla import devices
from vla.models import Model
from vla.models.batch import padded_mask
from vla.models.layers import every_token


def torch_decoder_layers(model: torch.nn.Module, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Hidden states [B, T, D] of every token of unpadded captions, caught by hooks on the modules themselves.

    Not by `output_hidden_states`, which never shows the last block's raw output.
    """
    body: Any = getattr(model, str(getattr(model, "base_model_prefix", "")), model)
    blocks = next(getattr(body, name) for name in ("layers", "h") if hasattr(body, name))
    norm = next(getattr(body, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(body, name))
    read: dict[str, np.ndarray] = {}

    def keep(name: str, value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        read[name] = value.detach().float().numpy().copy()

    hooks = [blocks[0].register_forward_pre_hook(lambda _m, inputs: keep("embed", inputs[0]))]
    for i, block in enumerate(blocks, start=1):
        hooks.append(block.register_forward_hook(lambda _m, _i, out, name=f"block_{i}": keep(name, out)))
    hooks.append(norm.register_forward_hook(lambda _m, _i, out: keep("final_norm", out)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a second thread is only waited for when matrices are this small
    try:
        with torch.no_grad():
            body(torch.from_numpy(tokens).long(), use_cache=False)
    finally:
        torch.set_num_threads(threads)
    for hook in hooks:
        hook.remove()
    return read


def decoder_layers(model: Model, tokens: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Hidden states [B, T, D] of all tokens at every layer of our network."""
    return bare_layers(model.network, model.layer_names, tokens, mask)


def bare_layers(
    network: Any, names: tuple[str, ...], tokens: np.ndarray, mask: np.ndarray | None = None, compiled: bool = True
) -> dict[str, np.ndarray]:
    """The same for a bare network; one operation after another unless `compiled`, which many networks share."""
    mask = np.ones(tokens.shape, bool) if mask is None else mask
    batch = (jnp.asarray(tokens), *padded_mask(jnp.asarray(mask), network.config.causal))
    if compiled:
        return network_layers(network, names, *batch)
    with jax.disable_jit(), devices.full_precision():
        read = network(*batch, pool=every_token, layers=names)
    return dict(zip(names, np.asarray(read), strict=True))
