"""Every layer of a vision model on torch, whoever built it."""

from typing import Any

import numpy as np
import torch


def torch_vision_layers(model: torch.nn.Module, pixels: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """Hidden states [B, T, D] of all tokens at every layer of a model of Hugging Face's, of one tower or two.

    Args:
      model: Whole, or its encoder.
      pixels: [B, C, H, W].
      **options: Of the forward pass.
    """
    body: Any = model
    while True:
        inner = next((getattr(body, name) for name in ("vision_model", "deit", "vit") if hasattr(body, name)), None)
        if inner is None:
            break
        body = inner
    norm = next(getattr(body, name) for name in ("post_layernorm", "layernorm", "norm") if hasattr(body, name))
    blocks = next(part for part in body.modules() if isinstance(part, torch.nn.ModuleList))
    return tower_layers(
        body, blocks, norm, pixel_values=torch.from_numpy(pixels).to(next(body.parameters()).dtype), **options
    )


def tower_layers(body: torch.nn.Module, blocks: Any, norm: torch.nn.Module, **inputs: Any) -> dict[str, np.ndarray]:
    """The same of any module, caught by hooks on its parts.

    Args:
      body: The module.
      blocks: Of it, in order.
      norm: The one after the last block.
      **inputs: Of the forward pass.
    """
    read: dict[str, np.ndarray] = {}

    def keep(name: str, value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        read[name] = value.detach().float().numpy().copy()

    def keep_last(_module: Any, _inputs: Any, out: Any) -> None:
        out = out[0] if isinstance(out, tuple) else out
        # CLIP normalises the class token alone.
        keep("final_norm", norm(out))

    hooks = [blocks[0].register_forward_pre_hook(lambda _, inputs: keep("embed", inputs[0]))]
    for i, block in enumerate(blocks, start=1):
        hooks.append(block.register_forward_hook(lambda _m, _i, out, name=f"block_{i}": keep(name, out)))
    hooks.append(blocks[-1].register_forward_hook(keep_last))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a second thread is only waited for when matrices are this small
    try:
        with torch.no_grad():
            body(**inputs)
    finally:
        torch.set_num_threads(threads)
    for hook in hooks:
        hook.remove()
    return read


def vision_options(kind: str, pixels: np.ndarray, patch: int) -> dict[str, Any]:
    """What Hugging Face must be told so that it takes images of any size whole.

    Args:
      kind: Key of VISION_FAMILIES or TWO_TOWERS.
      pixels: [B, C, H, W].
      patch: Side of a patch.
    """
    if kind.startswith("dinov3"):
        return {}
    options: dict[str, Any] = {"interpolate_pos_encoding": True}
    if kind.startswith("mae"):
        # A masked autoencoder shuffles the patches, by a noise that leaves them here where they are.
        patches = (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
        options["noise"] = torch.arange(patches).float().expand(len(pixels), -1)
    return options
