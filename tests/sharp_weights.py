"""Random weights that make differences visible."""

from typing import TypeVar

import torch

Module = TypeVar("Module", bound=torch.nn.Module)


def sharpen(model: Module, seed: int) -> Module:
    """Redraw all weights so that every part of the network shows in its output.

    Maps at 1/sqrt(fan in), biases and norm scales away from 0 and 1, layer scales away from 1, embeddings, positions,
    class and register tokens of order one: as networks are initialised, half of one is invisible.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            normal = torch.randn(weight.shape, generator=generator)
            if "lambda" in name or "gamma" in name or ("norm" in name and name.endswith("weight")):
                weight.copy_(0.5 + torch.rand(weight.shape, generator=generator))
            elif name.endswith("bias"):
                weight.copy_(0.3 * normal)
            elif weight.ndim < 2 or "token" in name or "position" in name or "pos_embed" in name:
                weight.copy_(normal)
            else:
                weight.copy_(normal / weight[0].numel() ** 0.5)
    return model.eval()
