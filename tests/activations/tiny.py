"""Tiny models with their Hugging Face twins, captions and pictures, and what the twins see in them one at a time."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.checkpoints import WORDS, write_language, write_vision
from tests.models.reference import torch_layers
from vla.models import Model, load_model

# No multiple of the caption buckets, so that the longest bucket has to be cut to it.
LENGTH = 40
LAYERS = ("embed", "block_1", "block_2", "block_3", "final_norm")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def language(directory: Path, **options) -> tuple[Model, torch.nn.Module]:
    twin = write_language(directory, max_position_embeddings=LENGTH)
    return load_model(directory, **options), twin


def vision(directory: Path, **options) -> tuple[Model, torch.nn.Module]:
    twin = write_vision(directory)
    return load_model(directory, **options), twin


def captions(n: int, longest: int = LENGTH - 1) -> list[str]:
    """Random captions of very different lengths, the longest and the shortest among them."""
    rng = np.random.default_rng(0)
    lengths = [longest, 1, 15, 16, 31, *rng.integers(1, longest + 1, max(n - 5, 0)).tolist()][:n]
    return [" ".join(rng.choice(WORDS, length)) for length in lengths]


def pictures(n: int, shape: tuple[int, int] = (40, 40)) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(n)]


def heard(twin: torch.nn.Module, caption: str, pool: str = "mean") -> np.ndarray:
    """[layer, unit] of one caption, without padding or company."""
    ids = [1, *(3 + WORDS.index(word) for word in caption.split())]
    states = np.stack([state[0] for state in torch_layers(twin, torch.tensor([ids])).values()])
    return {"mean": states.mean(1), "mean_no_bos": states[:, 1:].mean(1), "last": states[:, -1]}[pool]


def seen(twin: torch.nn.Module, picture: np.ndarray, pool: str = "cls", side: int = 28) -> np.ndarray:
    """[layer, unit] of one picture, resized by PIL to that shortest side."""
    H, W = picture.shape[:2]
    size = (side, round(side * H / W)) if W <= H else (round(side * W / H), side)
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)) / 255
    pixels = torch.tensor(((small - MEAN) / DEVIATION).transpose(2, 0, 1)[None], dtype=torch.float32)
    states = np.stack([state[0] for state in torch_layers(twin, pixels).values()])
    return {"cls": states[:, 0], "mean": states[:, 1:].mean(1)}[pool]


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest relative error of a row [unit], over layers and items."""
    assert ours.shape == theirs.shape
    return float((np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)).max())
