"""CLIP Score: how well a caption fits its image according to CLIP.

Axes: N items, M captions of a batch, E embedding width.
"""

import io
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from PIL import Image

from vla import progress
from vla.checks import RemediableError, listed
from vla.files import write_file
from vla.records import Dataset, Item, canonical_hash
from vla.stimuli.images import decode_image
from vla.stimuli.views import image_view

WEIGHT = 2.5
PREFIX = "A photo depicts "

# Increased whenever the numbers change, so that scores of older code are not reused.
NUMERICS_VERSION = 3

_DECODING_THREADS = 4


@runtime_checkable
class Embedder(Protocol):
    """Both towers of CLIP, as `vla.models.clip.Clip`."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that determines the embeddings."""
        ...

    def image_embeddings(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "N E"]:
        """Embeddings of images."""
        ...

    def text_embeddings(self, texts: Sequence[str], truncate: bool = False) -> Float[np.ndarray, "N E"]:
        """Embeddings of texts."""
        ...


def clip_score(
    clip: Embedder,
    dataset: Dataset,
    *,
    n_captions: int | None = None,
    weight: float = WEIGHT,
    prefix: str = PREFIX,
    truncate: bool = False,
    batch_size: int = 32,
    cache: str | os.PathLike[str] | None = None,
    show_progress: bool = False,
) -> xr.DataArray:
    """`weight` * max(cos(E_image, E_text), 0) of every human caption and its image.

    Source: Hessel et al. (2021), CLIPScore, whose weight 2.5 and whose prefix are the defaults; they used ViT-B/32.

    Args:
      clip: From `vla.models.load_clip`.
      dataset: Items with images and captions.
      n_captions: The first so many captions of each item; None for all, as `vla.stimuli.best_and_worst` needs them.
      weight: Factor of the cosine; it does not change the order.
      prefix: Text before every caption.
      truncate: Whether a text beyond CLIP's 77 tokens is truncated, as in the authors' code; otherwise such a caption
        is refused.
      batch_size: Items at a time; scores do not depend on it beyond float32 rounding.
      cache: Folder for scores, in a file named by all that determines them; None for no cache.
      show_progress: Show a bar with rate and time left.

    Returns:
      float32 array (item, caption), 0 to `weight`; captions count from 0 in published order; NaN for captions that an
      item does not have.

    Raises:
      ValueError: Items with too few captions; an unreadable image; a text that is too long; embeddings that are not
        finite, or zero; a damaged cache file. The message names the item or the file.
    """
    if batch_size < 1 or (n_captions is not None and n_captions < 1) or not weight > 0 or not len(dataset):
        raise ValueError(
            f"batch_size={batch_size}, n_captions={n_captions}, weight={weight}, {len(dataset)} items: expected whole "
            "numbers of at least 1, a weight above 0, and at least one item"
        )
    short = [f"{item.id} ({len(item.captions)})" for item in dataset.items if len(item.captions) < (n_captions or 1)]
    if short:
        raise ValueError(
            f"{len(short)} of the {len(dataset)} items of {dataset.name} have fewer than {n_captions or 1} captions: "
            f"{listed(short)}. Lower n_captions, or leave these items out"
        )
    captions = {item.id: item.captions[:n_captions] for item in dataset.items}
    if cache is None:
        return _computed(clip, dataset, captions, weight, prefix, truncate, batch_size, show_progress)
    key = canonical_hash(
        {
            "clip": clip.fingerprint,
            "images": image_view(dataset).content,
            "captions": captions,
            "settings": [float(weight), prefix, truncate, NUMERICS_VERSION],
        }
    )
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", dataset.name)[:100]
    path = Path(cache).expanduser().absolute() / f"{name}--clip_score--{key[:16]}.parquet"
    if not path.exists():
        scores = _computed(clip, dataset, captions, weight, prefix, truncate, batch_size, show_progress)
        table = scores.to_series().rename("score").dropna().reset_index()
        data = io.BytesIO()
        table.to_parquet(data, index=False)
        write_file(path, data.getvalue())
    return _read(path, captions)


def _computed(
    clip: Embedder,
    dataset: Dataset,
    captions: dict[str, tuple[str, ...]],
    weight: float,
    prefix: str,
    truncate: bool,
    batch_size: int,
    show_progress: bool,
) -> xr.DataArray:
    """Scores of all items, batch by batch."""
    scores = _empty(captions)
    with progress.bar(f"CLIP Score of {dataset.name}", len(dataset), show_progress) as advance:
        for items, images in _decoded(dataset.items, batch_size):
            owners = [item for item in items for _ in captions[item.id]]
            texts = [prefix + caption for item in items for caption in captions[item.id]]
            image_ne = _unit(clip.image_embeddings(images), [item.id for item in items], "an image")
            text_me = _unit(
                _embedded(clip, texts, owners, truncate, batch_size), [item.id for item in owners], "a caption"
            )
            counts = [len(captions[item.id]) for item in items]
            cosines = np.sum(np.repeat(image_ne, counts, axis=0) * text_me, axis=1)
            start = 0
            for item, count in zip(items, counts, strict=True):
                values = weight * np.maximum(cosines[start : start + count], 0)
                scores.loc[item.id, : count - 1] = values.astype(np.float32)
                start += count
            advance(len(items))
    return scores


def _decoded(items: Sequence[Item], size: int) -> Iterator[tuple[Sequence[Item], list[Image.Image]]]:
    """Items and their images, one batch decoded ahead."""
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(_DECODING_THREADS) as threads:
        ahead: list[Future[Image.Image]] = []
        for number, batch in enumerate(batches):
            # Each image is decoded once, however many captions it has.
            now = ahead or [threads.submit(decode_image, item.image, item.id) for item in batch]
            following = batches[number + 1] if number + 1 < len(batches) else ()
            ahead = [threads.submit(decode_image, item.image, item.id) for item in following]
            yield batch, [image.result() for image in now]


def _embedded(
    clip: Embedder, texts: list[str], owners: list[Item], truncate: bool, size: int
) -> Float[np.ndarray, "M E"]:
    """Embeddings of texts, padded with the last to a multiple of `size`, so that few shapes are compiled."""
    try:
        return clip.text_embeddings(texts + texts[-1:] * (-len(texts) % size), truncate=truncate)[: len(texts)]
    except ValueError:
        # One by one, to name the item.
        for text, item in zip(texts, owners, strict=True):
            try:
                clip.text_embeddings([text] * size, truncate=truncate)
            except ValueError as error:
                raise RemediableError(
                    f"item {item.id!r}, caption {text!r}: {error}. Or pass truncate=True to truncate texts that are "
                    "too long, as CLIPScore's authors do",
                    {"truncate": True},
                ) from error
        raise


def _unit(embeddings: Float[np.ndarray, "N E"], names: list[str], what: str) -> Float[np.ndarray, "N E"]:
    """Embeddings of length one, in float64."""
    wide = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    bad = [name for name, length in zip(names, lengths[:, 0], strict=True) if not np.isfinite(length) or length == 0]
    if bad:
        raise ValueError(
            f"CLIP's embedding of {what} is zero or not finite, for {len(bad)} of a batch: {listed(bad)}. Load CLIP "
            "with dtype='float32', or leave these items out"
        )
    return wide / lengths


def _empty(captions: dict[str, tuple[str, ...]]) -> xr.DataArray:
    most = max(map(len, captions.values()))
    values = np.full((len(captions), most), np.nan, np.float32)
    coords = {"item": list(captions), "caption": list(range(most))}
    return xr.DataArray(values, dims=("item", "caption"), coords=coords, name="clip_score")


def _read(path: Path, captions: dict[str, tuple[str, ...]]) -> xr.DataArray:
    """Scores of a cache file, in the dataset's order."""
    scores = _empty(captions)
    try:
        table = pd.read_parquet(path)
        rows = pd.Index(scores["item"].values).get_indexer(table["item"].tolist())
        scores.values[rows, table["caption"].to_numpy()] = table["score"].to_numpy(np.float32)
        complete = (np.isfinite(scores.values).sum(axis=1) == [len(texts) for texts in captions.values()]).all()
    except Exception as error:  # readers raise errors of many types on a broken file
        raise ValueError(f"{path} is damaged ({error}): delete it, and the scores are computed again") from error
    if not complete or (rows < 0).any():
        raise ValueError(f"{path} is damaged (scores are missing): delete it, and the scores are computed again")
    return scores
