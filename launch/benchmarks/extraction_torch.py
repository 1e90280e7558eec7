"""Every layer's activations by this package and by Hugging Face's model on torch, of the same inputs.

N captions or images, L layers read, T tokens, D units.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel

import vla
from launch.benchmarks.timing import Figures, timed
from vla.activations.captions import caption_batches
from vla.models.batch import Images

# Images per pass of ours: what extraction takes by default on a CPU.
_OUR_IMAGES = 2


def captions(texts: Sequence[str], tokenizer: str, slow_ones: int, blocks: int, depth: int, where: Path) -> Figures:
    """Mean over the tokens of every caption at every layer.

    Args:
      texts: The captions.
      tokenizer: Folder of the tokenizer.
      slow_ones: How many captions torch is timed on as platonic-rep feeds it.
      blocks: Of the checkpoint.
      depth: Blocks of the whole model, to which seconds are scaled.
      where: The checkpoint.
    """
    ours = vla.load_model(where, processor=tokenizer)
    peer = AutoModel.from_pretrained(where, dtype=torch.float32).eval()
    ids = ours.preprocess(texts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    longest, slow = max(map(len, ids)), list(range(min(slow_ones, len(ids))))
    scale = len(ids) / len(slow)
    # padded as one batch of all, and fed in fours
    _torch_captions(peer, ids, slow[:4], 4, longest)  # what torch does once is not scaled
    said = f"torch, {len(slow)} captions in fours padded to the longest"
    padded = timed(lambda: _torch_captions(peer, ids, slow, 4, longest), said)[0] * scale
    first, _ = timed(lambda: vla.extract(ours, texts), f"ours, {len(ids)} captions, with compilation")
    # in turns, the better of two each: what else the machine does hits both alike
    turns = [
        (
            timed(lambda: _torch_captions(peer, ids, order, 32), f"torch, sorted by length, turn {turn} of 2"),
            timed(lambda: vla.extract(ours, texts), f"ours, turn {turn} of 2"),
        )
        for turn in (1, 2)
    ]
    theirs, read = turns[0][0][1], turns[0][1][1]
    well, second = (min(turn[side][0] for turn in turns) for side in (0, 1))
    # what torch does not show is the last block before its norm
    shown = read.drop_sel(layer=f"block_{blocks}").values
    placed = np.empty_like(theirs)
    placed[:, order] = theirs
    off = np.linalg.norm(shown - placed, axis=-1) / np.linalg.norm(placed, axis=-1)
    rows = sum(batch.tokens.size for batch, _ in caption_batches(ours, texts, texts, ("mean",)))
    return {
        f"captions, through {blocks} of {depth} blocks": len(ids),
        "tokens": sum(map(len, ids)),
        "tokens with padding to the longest": longest * len(ids),
        "tokens with padding in sorted batches of 32": _padded(ids, order, 32),
        "tokens of our packed rows": rows,
        f"seconds, torch as platonic-rep feeds it (scaled from {len(slow)} captions)": padded,
        "seconds, torch sorted by length, batch 32": well,
        "seconds, ours, first run with compilation": first,
        "seconds, ours, afterwards": second,
        "seconds, ours, scaled to all blocks": second * depth / blocks,
        "times faster than as platonic-rep feeds it": padded / second,
        "times faster than torch fed well": well / second,
        "largest relative difference of a vector": float(off.max()),
    }


def _torch_captions(
    peer: torch.nn.Module, ids: Sequence[np.ndarray], order: Sequence[int], size: int, length: int = 0
) -> np.ndarray:
    """[L, N, D] in the order given: hidden states of padded batches, averaged over real tokens."""
    means = []
    for start in range(0, len(order), size):
        batch = [ids[i] for i in order[start : start + size]]
        T = length or max(map(len, batch))
        tokens, mask = torch.zeros(len(batch), T, dtype=torch.long), torch.zeros(len(batch), T, dtype=torch.long)
        for row, caption in enumerate(batch):
            tokens[row, : len(caption)], mask[row, : len(caption)] = torch.from_numpy(caption), 1
        with torch.no_grad():
            hidden = peer(input_ids=tokens, attention_mask=mask, output_hidden_states=True, use_cache=False)
            weights = (mask / mask.sum(1, keepdim=True))[..., None]
            means.append(torch.stack([(layer * weights).sum(1) for layer in hidden.hidden_states]))
    return torch.cat(means, dim=1).numpy()


def images(count: int, where: Path) -> Figures:
    """The class token of so many images at every layer; pixels are ready on both sides."""
    rng = np.random.default_rng(0)
    ours = vla.load_model(where)
    photographs = [Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8)) for _ in range(8)]
    pixels = np.stack((ours.preprocess(photographs) * -(-count // 8))[:count])
    peer = AutoModel.from_pretrained(where, dtype=torch.float32).eval()

    def torch_cls(size: int) -> np.ndarray:
        read = []
        for start in range(0, len(pixels), size):
            with torch.no_grad():
                out = peer(torch.from_numpy(pixels[start : start + size]), output_hidden_states=True)
            read.append(torch.stack([layer[:, 0] for layer in out.hidden_states]))
        return torch.cat(read, dim=1).numpy()

    def our_cls(size: int) -> np.ndarray:
        batches = (Images(pixels[start : start + size]) for start in range(0, len(pixels), size))
        read = ours.read(batches, pools=("cls",), layers=ours.layer_names[:-1])
        return np.concatenate([values[:, :, 0] for _, _, values in read], axis=1)

    torch_cls(8)
    theirs = {
        size: timed(lambda size=size: torch_cls(size), f"torch, {count} images, batch {size}") for size in (4, 8, 16)
    }
    our_cls(_OUR_IMAGES)
    seconds, read = timed(lambda: our_cls(_OUR_IMAGES), f"ours, batch {_OUR_IMAGES}")
    best = min(theirs, key=lambda size: theirs[size][0])
    peer_seconds = min(theirs[best][0], timed(lambda: torch_cls(best), f"torch, batch {best}, again")[0])
    seconds = min(seconds, timed(lambda: our_cls(_OUR_IMAGES), "ours, again")[0])
    off = np.linalg.norm(read - theirs[best][1], axis=-1) / np.linalg.norm(theirs[best][1], axis=-1)
    return {
        "images": count,
        "torch's best batch": best,
        "seconds, torch": peer_seconds,
        f"seconds, ours, batch {_OUR_IMAGES}": seconds,
        "times faster than torch at its best batch": peer_seconds / seconds,
        "largest relative difference of a vector": float(off.max()),
    }


def _padded(ids: Sequence[np.ndarray], order: Sequence[int], size: int) -> int:
    def counts() -> Iterator[int]:
        for start in range(0, len(order), size):
            batch = [len(ids[i]) for i in order[start : start + size]]
            yield max(batch) * len(batch)

    return sum(counts())
