"""Extraction of every layer's activations against Hugging Face on torch, measured in one run.

N captions or images, L layers read, T tokens, D units.
"""

import csv
import dataclasses
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from PIL import Image
from transformers import AutoModel

import vla
from launch.benchmarks import random_checkpoints as shapes
from vla.activations.captions import caption_batches
from vla.models.batch import Images
from vla.models.model import Model

Figures = dict[str, float]

# Images per pass of ours: what extraction takes by default on a CPU.
_OUR_IMAGES = 2


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is extracted.

    Attributes:
      captions: A captions file such as Flickr8k's: a header, then `image,caption` per line; the first of each image
        is taken.
      tokenizer: Folder of the tokenizer for every language model, whatever its shape.
      n_captions: How many.
      slow_captions: How many of them torch is timed on as platonic-rep feeds it.
      blocks: Blocks of the language models that are compared; all others are like them.
      streamed_blocks: Blocks of the streamed model.
      n_images: Images for DINOv2.
      parts: Which comparisons: bloom, llama, dinov2, streamed.
    """

    captions: str = ""
    tokenizer: str = ""
    n_captions: int = 1000
    slow_captions: int = 200
    blocks: int = 6
    streamed_blocks: int = 4
    n_images: int = 32
    parts: str = "bloom,llama,dinov2,streamed"


def measure(sizes: Sizes, folder: Path) -> Figures:
    """Every comparison that is asked for; seconds, ratios, differences and memory by name."""
    parts = sizes.parts.split(",")
    known = ["bloom", "dinov2", "llama", "streamed"]
    if set(parts) - set(known):
        raise ValueError(f"parts={sizes.parts!r}: expected some of {','.join(known)}")
    if set(parts) - {"dinov2"} and not (sizes.captions and sizes.tokenizer):
        raise ValueError("set --size=captions=FILE and --size=tokenizer=FOLDER")
    figures: Figures = {}
    for name, config, depth in (
        ("bloom", shapes.BLOOM_560M, "n_layer"),
        ("llama", shapes.LLAMA_1B, "num_hidden_layers"),
    ):
        if name in parts:
            found = _captions_against_torch(sizes, folder, config, depth)
            figures |= {f"{name}: {what}": value for what, value in found.items()}
    if "dinov2" in parts:
        figures |= {f"dinov2: {what}": value for what, value in _images_against_torch(sizes, folder).items()}
    if "streamed" in parts:
        figures |= {f"streamed: {what}": value for what, value in _streamed(sizes, folder).items()}
    return figures


def read_captions(sizes: Sizes) -> list[str]:
    """The first caption of each image, in the order of the file."""
    first: dict[str, str] = {}
    with open(sizes.captions, newline="", encoding="utf-8") as file:
        for row in list(csv.reader(file))[1:]:
            first.setdefault(row[0], ",".join(row[1:]))
    found = list(first.values())[: sizes.n_captions]
    if len(found) < sizes.n_captions:
        raise ValueError(f"{sizes.captions} has captions of {len(found)} images; set --size=n_captions={len(found)}")
    return found


def _captions_against_torch(sizes: Sizes, folder: Path, config: dict[str, Any], depth: str) -> Figures:
    """Mean over the tokens of every caption at every layer."""
    where = shapes.write(folder / f"{config['model_type']}-{sizes.blocks}", config | {depth: sizes.blocks})
    captions = read_captions(sizes)
    ours = vla.load_model(where, processor=sizes.tokenizer)
    peer = AutoModel.from_pretrained(where, dtype=torch.float32).eval()
    ids = ours.preprocess(captions)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    longest, slow = max(map(len, ids)), list(range(sizes.slow_captions))
    scale = len(captions) / len(slow)
    # padded as one batch of all, and fed in fours
    padded = _timed(lambda: _torch_captions(peer, ids, slow, 4, longest))[0] * scale
    first, _ = _timed(lambda: vla.extract(ours, captions))
    # in turns, the better of two each: what else the machine does hits both alike
    turns = [
        (_timed(lambda: _torch_captions(peer, ids, order, 32)), _timed(lambda: vla.extract(ours, captions)))
        for _ in range(2)
    ]
    theirs, read = turns[0][0][1], turns[0][1][1]
    well, second = (min(turn[side][0] for turn in turns) for side in (0, 1))
    # what torch does not show is the last block before its norm
    shown = read.drop_sel(layer=f"block_{sizes.blocks}").values
    placed = np.empty_like(theirs)
    placed[:, order] = theirs
    off = np.linalg.norm(shown - placed, axis=-1) / np.linalg.norm(placed, axis=-1)
    rows = sum(batch.tokens.size for batch, _ in caption_batches(ours, captions, captions, ("mean",)))
    return {
        f"captions, through {sizes.blocks} of {config[depth]} blocks": len(captions),
        "tokens": sum(map(len, ids)),
        "tokens with padding to the longest": longest * len(ids),
        "tokens with padding in sorted batches of 32": _padded(ids, order, 32),
        "tokens of our packed rows": rows,
        f"seconds, torch as platonic-rep feeds it (scaled from {len(slow)} captions)": padded,
        "seconds, torch sorted by length, batch 32": well,
        "seconds, ours, first run with compilation": first,
        "seconds, ours, afterwards": second,
        "seconds, ours, scaled to all blocks": second * config[depth] / sizes.blocks,
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
        some = [ids[i] for i in order[start : start + size]]
        T = length or max(map(len, some))
        tokens, mask = torch.zeros(len(some), T, dtype=torch.long), torch.zeros(len(some), T, dtype=torch.long)
        for row, caption in enumerate(some):
            tokens[row, : len(caption)], mask[row, : len(caption)] = torch.from_numpy(caption), 1
        with torch.no_grad():
            hidden = peer(input_ids=tokens, attention_mask=mask, output_hidden_states=True, use_cache=False)
            weights = (mask / mask.sum(1, keepdim=True))[..., None]
            means.append(torch.stack([(layer * weights).sum(1) for layer in hidden.hidden_states]))
    return torch.cat(means, dim=1).numpy()


def _images_against_torch(sizes: Sizes, folder: Path) -> Figures:
    """The class token of every image at every layer; pixels are ready on both sides."""
    where = shapes.write(folder / "dinov2", shapes.DINOV2_BASE)
    rng = np.random.default_rng(0)
    ours = vla.load_model(where)
    photographs = [Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8)) for _ in range(8)]
    pixels = np.stack((ours.preprocess(photographs) * -(-sizes.n_images // 8))[: sizes.n_images])
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
    theirs = {size: _timed(lambda size=size: torch_cls(size)) for size in (4, 8, 16)}
    our_cls(_OUR_IMAGES)
    seconds, read = _timed(lambda: our_cls(_OUR_IMAGES))
    best = min(theirs, key=lambda size: theirs[size][0])
    peer_seconds = min(theirs[best][0], _timed(lambda: torch_cls(best))[0])
    seconds = min(seconds, _timed(lambda: our_cls(_OUR_IMAGES))[0])
    off = np.linalg.norm(read - theirs[best][1], axis=-1) / np.linalg.norm(theirs[best][1], axis=-1)
    return {
        "images": sizes.n_images,
        "torch's best batch": best,
        "seconds, torch": peer_seconds,
        f"seconds, ours, batch {_OUR_IMAGES}": seconds,
        "times faster than torch at its best batch": peer_seconds / seconds,
        "largest relative difference of a vector": float(off.max()),
    }


def _streamed(sizes: Sizes, folder: Path) -> Figures:
    """A bfloat16 model of the 7B shape streamed in a process of its own, against the matrix products alone."""
    config = shapes.LLAMA_7B | {"num_hidden_layers": sizes.streamed_blocks}
    where = shapes.write(folder / f"llama-7b-{sizes.streamed_blocks}", config, "bfloat16")
    spawned = multiprocessing.get_context("spawn")
    with spawned.Pool(1) as pool:
        return pool.apply(_stream, (sizes, where))


def _stream(sizes: Sizes, where: Path) -> Figures:
    """Runs in a process that has done nothing else."""
    captions = read_captions(sizes)
    model = vla.load_model(where, dtype="bfloat16", stream=True, processor=sizes.tokenizer)
    before = _peak()
    seconds, read = _timed(lambda: vla.extract(model, captions))
    peak = _peak()
    assert np.isfinite(read.values).all()
    products = _product_seconds(model, captions)
    size = sum(leaf.size * 2 for leaf in jax.tree.leaves(model.network.blocks)) / sizes.streamed_blocks
    return {
        "captions": len(captions),
        "blocks": sizes.streamed_blocks,
        "GiB of one block": size / 2**30,
        "GiB resident before": before,
        "GiB resident at most": peak,
        "seconds, with compilation": seconds,
        "seconds per block": seconds / sizes.streamed_blocks,
        "seconds per block, matrix products alone": products,
        "times the matrix products": seconds / sizes.streamed_blocks / products,
        "minutes for 32 blocks": seconds / sizes.streamed_blocks * 32 / 60,
    }


def _product_seconds(model: Model, captions: list[str]) -> float:
    """The linear maps of one block on all packed rows, and nothing else."""
    batches = [batch for batch, _ in caption_batches(model, captions, captions, ("mean",))]
    rng = np.random.default_rng(0)
    product = jax.jit(lambda x, w: jnp.einsum("td,ed->te", x, w, preferred_element_type=jnp.float32))

    def seconds(weight: jax.ShapeDtypeStruct) -> float:
        _, E, D = weight.shape
        w = jnp.asarray(rng.standard_normal((E, D), np.float32), weight.dtype)
        x = jnp.asarray(rng.standard_normal((batches[0].tokens.size, D), np.float32), weight.dtype)
        product(x, w).block_until_ready()
        return min(_timed(lambda: product(x, w).block_until_ready())[0] for _ in range(3)) * len(batches)

    return sum(seconds(leaf) for leaf in jax.tree.leaves(model.network.blocks) if leaf.ndim == 3)


def _peak() -> float:
    """The most memory that this process has had, in GiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage: what it says begins with what the parent had
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _padded(ids: Sequence[np.ndarray], order: Sequence[int], size: int) -> int:
    def counts() -> Iterator[int]:
        for start in range(0, len(order), size):
            some = [len(ids[i]) for i in order[start : start + size]]
            yield max(some) * len(some)

    return sum(counts())
