"""Time, memory and disk that a study takes, from sizes of models and rates of machines.

n items, X predictor sides or layers, T target sides or layers, d and e units, a penalties, F folds, P pairings.
"""

import dataclasses
import functools
import json
import re
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from vla import devices
from vla.experiments.experiment import Layers
from vla.experiments.naming import named
from vla.experiments.saved import is_saved
from vla.metrics.ridge_settings import PAPER_ALPHAS
from vla.models.catalogue import Checkpoint, checkpoints
from vla.records import Modality

# What was measured on two cores of a CPU, as a share of the rate of large products in the same precision, both by the
# processor's time: forward passes of DINOv2 ViT-B/14, and scoring 6 by 6 layers of 1,000 items and widths of 1,024 and
# 2,560. With these shares all 25 by 31 layers are estimated at 112 s, and took 120 s with compilation.
SHARE_EXTRACTION, SHARE_SCORING, SHARE_EIGEN = 0.8, 0.9, 0.4

# Rows of the matrices that are multiplied to measure an accelerator.
LARGE = 8192

TABLE = Path(__file__).with_name("hardware.toml")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Rates of a machine in TFLOP/s, and the shares of them that are taken to be reached.

    Attributes:
      id: Short name.
      words: For readers.
      devices: How many share the work.
      bfloat16: Peak of matrix products.
      float32: Likewise, in full precision.
      float64: Likewise.
      memory_gib: Of all devices together.
      bandwidth_gb: Bytes from memory, GB/s.
      share_extraction: Share of the peak in forward passes.
      share_scoring: Share of the float64 peak in products of scoring.
      share_eigen: Share of it in eigendecompositions.
      source: Of the peaks.
      basis: What was measured and what assumed.
    """

    id: str
    words: str
    devices: int
    bfloat16: float
    float32: float
    float64: float
    memory_gib: float
    bandwidth_gb: float
    share_extraction: float
    share_scoring: float
    share_eigen: float
    source: str
    basis: str


def accelerators() -> tuple[Hardware, ...]:
    """Those of `hardware.toml`."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["hardware"]
    return tuple(Hardware(**entry) for entry in entries)


@functools.cache
def this_machine() -> Hardware:
    """Rates measured here and now in a few seconds: products in each precision, of an accelerator eigenvectors as well.

    On a CPU by the processor's time, so that what else runs at the moment does not count.
    """
    cpu = jax.default_backend() == "cpu"
    kind, count = jax.devices()[0].device_kind, 1 if cpu else jax.local_device_count()
    single, double = (count * _product_rate(dtype) for dtype in (np.float32, np.float64))
    half = single if cpu else count * _product_rate(jnp.bfloat16)
    shares = (SHARE_EXTRACTION, SHARE_SCORING, SHARE_EIGEN)
    basis = (
        f"shares of them as measured on two cores: {SHARE_EXTRACTION:.0%} in forward passes, {SHARE_SCORING:.0%} in "
        f"scoring, {SHARE_EIGEN:.0%} in eigendecompositions"
    )
    if not cpu:
        gpu = accelerators()[0]
        shares = (gpu.share_extraction, gpu.share_scoring, count * _eigen_rate() / double)
        basis = (
            f"eigendecompositions as well; shares of products assumed: {gpu.share_extraction:.0%} in forward passes, "
            f"{gpu.share_scoring:.0%} in scoring"
        )
    return Hardware(
        id="here",
        words=f"this machine ({f'{kind}, {devices.cores()} cores' if cpu else f'{count} x {kind}'})",
        devices=jax.local_device_count(),
        bfloat16=half,
        float32=single,
        float64=double,
        memory_gib=_memory() / 2**30,
        bandwidth_gb=0.0,
        share_extraction=shares[0],
        share_scoring=shares[1],
        share_eigen=shares[2],
        source=f"products of {_side():,} x {_side():,} matrices",
        basis=f"rates of products measured just now; {basis}",
    )


def _memory() -> float:
    """Bytes: of the machine, or of its accelerators together where these say."""
    known = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    return float(sum(known)) if all(known) else float(psutil.virtual_memory().total)


def _side() -> int:
    """Of matrices so large that starting their product does not count."""
    return 1024 if jax.default_backend() == "cpu" else LARGE


@devices.in_float64
def _product_rate(dtype: Any) -> float:
    """TFLOP/s of large products on one device, float32 in full precision; of a CPU all of its cores are one."""
    a = jnp.asarray(np.random.default_rng(0).standard_normal((_side(), _side())), dtype)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    product(a).block_until_ready()
    return max(2 * _side() ** 3 / _seconds(lambda: product(a).block_until_ready()) for _ in range(3)) / 1e12


@devices.in_float64
def _eigen_rate(n: int = 800) -> float:
    """TFLOP/s of eigendecompositions of as many items as a training fold has, by 9 n^3 flops each, on one device."""
    a = np.random.default_rng(0).standard_normal((n, n))
    gram, solve = jnp.asarray(a @ a.T), jax.jit(jnp.linalg.eigh)
    jax.block_until_ready(solve(gram))
    return 9 * n**3 / _seconds(lambda: jax.block_until_ready(solve(gram))) / 1e12


def _seconds(call: Callable[[], Any]) -> float:
    """Of a call: by the clock, or on a CPU by the time of its cores, shared out over them."""
    if jax.default_backend() != "cpu":
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    began = time.process_time()
    call()
    return (time.process_time() - began) / devices.cores()


# Tokens of a caption with its opening token: the mean of Flickr8k's human captions under LLaMA's tokenizer is 15.
CAPTION_TOKENS = 15
# Hugging Face's DINOv2 processor cuts images to this side, whatever the model was trained on.
_CUT = 224
# What configs call the width: those of BLOOM's and of GPT-2's kind have names of their own.
_WIDTHS = ("hidden_size", "n_embed", "n_embd")


@dataclasses.dataclass(frozen=True)
class Size:
    """What work and room a model asks for.

    Attributes:
      depth: Blocks.
      width: Units of a layer.
      parameters: In the blocks.
      tokens: Of one stimulus.
      bytes: Of the published weights.
      embedding: Parameters of the table of token embeddings, which is held in memory and not multiplied with.
    """

    depth: int
    width: int
    parameters: float
    tokens: int
    bytes: float
    embedding: float = 0.0

    @property
    def flops(self) -> float:
        """Of one stimulus through all blocks: two per parameter and token, and attention."""
        return 2 * self.parameters * self.tokens + 4 * self.depth * self.tokens**2 * self.width


@functools.cache
def size(given: str, modality: Modality) -> Size | None:
    """The size of a model as it stands in a study; None where nothing is known, or where nothing is to be computed."""
    _, source = named(given)
    if is_saved(given):
        return None
    known = {one.id: one for one in checkpoints()}
    if source in known:
        one = known[source]
        vocabulary = one.config.get("vocab_size", 0) * one.width
        side = _CUT if one.family.startswith("dinov2") else one.input
        tokens = (side // _patch(one)) ** 2 + 1 if modality == "vision" else CAPTION_TOKENS
        blocks = 12 * one.depth * one.width**2
        # Of two towers the vision tower alone is read.
        parameters = float(blocks if "vision_config" in one.config else max(one.parameters - vocabulary, blocks))
        return Size(one.depth, one.width, parameters, tokens, float(one.disk_bytes), float(vocabulary))
    config = Path(source).expanduser() / "config.json"
    if not config.is_file():
        return None
    values = json.loads(config.read_text(encoding="utf-8"))
    depth = values.get("num_hidden_layers") or values.get("n_layer") or 0
    width = next((values[name] for name in _WIDTHS if values.get(name)), 0)
    if not depth or not width:
        return None
    tokens = CAPTION_TOKENS
    if modality == "vision":
        # Published DINOv2 checkpoints state the side that they were trained on last, and are shown smaller images.
        side = values.get("image_size", 224)
        side = min(side, _CUT) if str(values.get("model_type", "")).startswith("dinov2") else side
        tokens = (side // values.get("patch_size", 16)) ** 2 + 1
    files = [path.stat().st_size for path in config.parent.glob("*.safetensors")]
    files = files or [path.stat().st_size for path in config.parent.glob("pytorch_model*.bin")]
    vocabulary = float(width * (values.get("vocab_size") or 0)) if modality == "language" else 0.0
    return Size(depth, width, 12.0 * depth * width**2, tokens, float(sum(files)), vocabulary)


def _patch(one: Checkpoint) -> int:
    """Side of the patches of a registered vision model; timm's say it by their name alone."""
    said = one.config.get("patch_size") or one.config.get("vision_config", {}).get("patch_size")
    named = re.search(r"patch(\d+)", one.id)
    return said or (int(named[1]) if named else 16)


_FOLDS = 5
# Flops of a symmetric eigendecomposition with vectors, by n cubed.
_EIGEN = 9
# Of images, as `vla.activations.extract_to_store` groups them: between blocks of a streamed model they are in memory.
STREAMED_ITEMS = 1024


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be computed and kept.

    Attributes:
      forward: Flops of forward passes.
      products: Flops of scoring in float32, eigendecompositions apart.
      eigen: Flops of eigendecompositions, in float64.
      disk: Bytes of activations.
      memory: Bytes held at once, at most.
      weights: Bytes of checkpoints to be read.
      each: Bytes of a model's weights that every device holds at once, at most.
    """

    forward: float = 0.0
    products: float = 0.0
    eigen: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    weights: float = 0.0
    each: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(
            self.forward + other.forward,
            self.products + other.products,
            self.eigen + other.eigen,
            self.disk + other.disk,
            max(self.memory, other.memory),
            self.weights + other.weights,
            max(self.each, other.each),
        )

    def seconds(self, machine: Hardware, dtype: str) -> tuple[float, float]:
        """Of extraction and of scoring on a machine."""
        forward = getattr(machine, dtype) * machine.share_extraction * 1e12
        products = machine.float32 * machine.share_scoring * 1e12
        eigen = machine.float64 * machine.share_eigen * 1e12
        return self.forward / forward, self.products / products + self.eigen / eigen


def extraction(model: Size, items: int, layers: Layers, dtype: str, stream: bool = False, shared: int = 1) -> Work:
    """One view through one model; the weights are counted once per model, not here.

    Args:
      model: Its size.
      items: How many are shown.
      layers: "all", "penultimate", or names.
      dtype: Of the weights.
      stream: Whether one block is in memory at a time, and with it what the block before made of the items.
      shared: Devices that share a copy of the weights.
    """
    # Of a streamed model's token embeddings only those that occur are read.
    weights = model.parameters / model.depth if stream else model.parameters + model.embedding
    held = weights * (2 if dtype == "bfloat16" else 4)
    between = 4.0 * min(items, STREAMED_ITEMS) * model.tokens * model.width if stream else 0.0
    kept = 4.0 * items * model.width * layer_count(model, layers)
    return Work(forward=items * model.flops, disk=kept, memory=held + between + kept, each=held / shared)


def layer_count(model: Size, layers: Layers) -> int:
    """How many layers are kept of a model."""
    return model.depth + 2 if layers == "all" else 1 if isinstance(layers, str) else len(layers)


def scoring(metric: str, sides: Sequence[tuple[int, int]], items: int, pairings: int) -> Work:
    """One table.

    Args:
      metric: Its name.
      sides: (number of layers, units) of the predictor and of the target.
      items: n.
      pairings: 1 and the shuffled ones.
    """
    (X, d), (T, e) = sides
    T = T * pairings
    n = items * (_FOLDS - 1) / _FOLDS
    held = 4.0 * items * (X * d + T / pairings * e)
    if metric in ("linear_predictivity", "retrieval", "matching_accuracy"):
        # The cheaper side is decomposed, as in `vla.metrics.ridge_predictor`; with few units no n x n matrix is formed.
        few, a = 2 * d < n, len(PAPER_ALPHAS)
        gram = 2 * n * d * min(n, d) * X + 2 * n**2 * e * T
        search = 2 * X * T * n**2 * d if few else X * a * (2 * n**3) + 2 * X * T * a * n**2
        predict = 2 * X * T * (items / _FOLDS) * n * e
        eigen = float(X * _EIGEN * (d if few else n) ** 3)
        return Work(products=_FOLDS * (gram + search + predict), eigen=_FOLDS * eigen,
                    memory=held + 8 * n**2 * (X + T + a))  # fmt: skip
    gram = 2 * items**2 * (X * d + T / pairings * e)
    return Work(products=gram + 2.0 * X * T * items**2, memory=held + 8.0 * items**2 * (X + T / pairings))
