"""Estimates of time, memory and disk of a study, from the sizes of models and the rates of machines.

n items, X predictor sides or layers, T target sides or layers, d and e units, a penalties, F folds, P pairings.
"""

import dataclasses
import functools
import json
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from vla import devices
from vla.experiments.experiment import Layers
from vla.experiments.names import name_and_source
from vla.experiments.saved import is_saved
from vla.experiments.study import Study
from vla.experiments.tables import Table
from vla.metrics.registry import find
from vla.models.catalogue import Checkpoint, checkpoints
from vla.records import Modality, View

# Measured on two cores of a CPU in processor time, as a share of the rate of large products in the same precision:
# forward passes of DINOv2 ViT-B/14, and scoring of 6 by 6 layers (1,000 items, widths 1,024 and 2,560). With them
# the estimate for all 25 by 31 layers is 112 s; they took 120 s with compilation.
SHARE_EXTRACTION, SHARE_SCORING, SHARE_EIGEN = 0.8, 0.9, 0.4

# Rows of the matrices with which an accelerator is measured.
LARGE = 8192

REGISTER = Path(__file__).with_name("hardware.toml")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Peak rates of a machine in TFLOP/s, and the shares of them that are assumed to be reached.

    Attributes:
      id: Short name.
      words: Name for readers.
      devices: Number of devices that share the work.
      bfloat16: Peak rate of matrix products.
      float32: The same in full float32 precision.
      float64: The same in float64.
      memory_gib: Memory of all devices together.
      share_extraction: Share of the peak in forward passes.
      share_scoring: Share of the float64 peak in products of scoring.
      share_eigen: Share of the float64 peak in eigendecompositions.
      source: Source of the peaks.
      basis: What was measured and what was assumed.
    """

    id: str
    words: str
    devices: int
    bfloat16: float
    float32: float
    float64: float
    memory_gib: float
    share_extraction: float
    share_scoring: float
    share_eigen: float
    source: str
    basis: str


def accelerators() -> tuple[Hardware, ...]:
    """The machines of `hardware.toml`."""
    entries = tomllib.loads(REGISTER.read_text(encoding="utf-8"))["hardware"]
    return tuple(Hardware(**entry) for entry in entries)


@functools.cache
def this_machine() -> Hardware:
    """Rates of this machine, measured in a few seconds: products in each precision, and eigenvectors on an accelerator.

    On a CPU they are measured in processor time, so other running programs do not count.
    """
    cpu = jax.default_backend() == "cpu"
    device, count = jax.devices()[0].device_kind, 1 if cpu else jax.local_device_count()
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
        words=f"this machine ({f'{device}, {devices.cores()} cores' if cpu else f'{count} x {device}'})",
        devices=jax.local_device_count(),
        bfloat16=half,
        float32=single,
        float64=double,
        memory_gib=_memory() / 2**30,
        share_extraction=shares[0],
        share_scoring=shares[1],
        share_eigen=shares[2],
        source=f"products of {_side():,} x {_side():,} matrices",
        basis=f"rates of products measured just now; {basis}",
    )


def _memory() -> float:
    """Bytes of the machine's memory, or of all its accelerators together if they report it."""
    known = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    return float(sum(known)) if all(known) else float(psutil.virtual_memory().total)


def _side() -> int:
    """Rows of matrices so large that the start of a product is negligible."""
    return 1024 if jax.default_backend() == "cpu" else LARGE


@devices.in_float64
def _product_rate(dtype: Any) -> float:
    """TFLOP/s of large products on one device, float32 in full precision; all cores of a CPU count as one device."""
    a = jnp.asarray(np.random.default_rng(0).standard_normal((_side(), _side())), dtype)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    product(a).block_until_ready()
    return max(2 * _side() ** 3 / _seconds(lambda: product(a).block_until_ready()) for _ in range(3)) / 1e12


@devices.in_float64
def _eigen_rate(n: int = 800) -> float:
    """TFLOP/s of eigendecompositions with the items of a training fold, counted as 9 n^3 flops each, on one device."""
    a = np.random.default_rng(0).standard_normal((n, n))
    gram, solve = jnp.asarray(a @ a.T), jax.jit(jnp.linalg.eigh)
    jax.block_until_ready(solve(gram))
    return 9 * n**3 / _seconds(lambda: jax.block_until_ready(solve(gram))) / 1e12


def _seconds(call: Callable[[], Any]) -> float:
    """Seconds of a call by the clock; on a CPU its processor time divided by the number of cores."""
    if jax.default_backend() != "cpu":
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    began = time.process_time()
    call()
    return (time.process_time() - began) / devices.cores()


# Tokens of a caption with its opening token: the mean of Flickr8k's human captions under LLaMA's tokenizer is 15.
CAPTION_TOKENS = 15
# Hugging Face's DINOv2 processor crops images to this side, whatever the model was trained on.
_CROP = 224
# Names of the width in config.json; BLOOM and GPT-2 have different ones.
_WIDTHS = ("hidden_size", "n_embed", "n_embd")


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a model.

    Attributes:
      depth: Number of blocks.
      width: Number of units of a layer.
      parameters: Number of parameters in the blocks.
      tokens: Number of tokens of one stimulus.
      bytes: Size of the published weights.
      embedding: Parameters of the token embeddings, which take memory but no products.
    """

    depth: int
    width: int
    parameters: float
    tokens: int
    bytes: float
    embedding: float = 0.0

    @property
    def flops(self) -> float:
        """Flops of one stimulus through all blocks: two per parameter and token, and attention."""
        return 2 * self.parameters * self.tokens + 4 * self.depth * self.tokens**2 * self.width


@functools.cache
def size(model: str, modality: Modality) -> Size | None:
    """The size of a model as a study lists it; None for an unknown model and for saved activations."""
    _, source = name_and_source(model)
    if is_saved(model):
        return None
    registered = {checkpoint.id: checkpoint for checkpoint in checkpoints()}
    if source in registered:
        checkpoint = registered[source]
        vocabulary = checkpoint.config.get("vocab_size", 0) * checkpoint.width
        side = _CROP if checkpoint.family.startswith("dinov2") else checkpoint.input
        tokens = (side // _patch(checkpoint)) ** 2 + 1 if modality == "vision" else CAPTION_TOKENS
        blocks = 12 * checkpoint.depth * checkpoint.width**2
        # A model with two towers is read without its text tower.
        parameters = float(
            blocks if "vision_config" in checkpoint.config else max(checkpoint.parameters - vocabulary, blocks)
        )
        return Size(
            checkpoint.depth, checkpoint.width, parameters, tokens, float(checkpoint.disk_bytes), float(vocabulary)
        )
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
        # Published DINOv2 checkpoints state the side of their last training stage; the processor crops to less.
        side = values.get("image_size", 224)
        side = min(side, _CROP) if str(values.get("model_type", "")).startswith("dinov2") else side
        tokens = (side // values.get("patch_size", 16)) ** 2 + 1
    files = [path.stat().st_size for path in config.parent.glob("*.safetensors")]
    files = files or [path.stat().st_size for path in config.parent.glob("pytorch_model*.bin")]
    vocabulary = float(width * (values.get("vocab_size") or 0)) if modality == "language" else 0.0
    return Size(depth, width, 12.0 * depth * width**2, tokens, float(sum(files)), vocabulary)


def _patch(checkpoint: Checkpoint) -> int:
    """Side of the patches of a registered vision model; for timm it is only in the name."""
    side = checkpoint.config.get("patch_size") or checkpoint.config.get("vision_config", {}).get("patch_size")
    match = re.search(r"patch(\d+)", checkpoint.id)
    return side or (int(match[1]) if match else 16)


# Images that `vla.activations.extract` keeps in memory between the blocks of a streamed model.
STREAMED_ITEMS = 1024


@dataclasses.dataclass(frozen=True)
class Work:
    """Work and memory.

    Attributes:
      forward: Flops of forward passes.
      products: Flops of scoring in float32, eigendecompositions apart.
      eigen: Flops of eigendecompositions, in float64.
      disk: Bytes of activations.
      memory: Peak bytes of memory.
      weights: Bytes of checkpoints to read.
      each: Peak bytes of weights on each device.
    """

    forward: float = 0.0
    products: float = 0.0
    eigen: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    weights: float = 0.0
    each: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """The sum of work that is done one after the other."""
        peaks = {name: max(getattr(self, name), getattr(other, name)) for name in ("memory", "each")}
        names = ("forward", "products", "eigen", "disk", "weights")
        return Work(**peaks, **{name: getattr(self, name) + getattr(other, name) for name in names})

    def seconds(self, machine: Hardware, dtype: str) -> tuple[float, float]:
        """Seconds of extraction and of scoring on a machine."""
        forward = getattr(machine, dtype) * machine.share_extraction * 1e12
        products = machine.float32 * machine.share_scoring * 1e12
        eigen = machine.float64 * machine.share_eigen * 1e12
        return self.forward / forward, self.products / products + self.eigen / eigen


def extraction(
    model: Size, items: int, layers: Layers, dtype: str, stream: bool = False, tensor_parallel: int = 1
) -> Work:
    """The work of one view through one model, without reading the weights.

    With `stream`, only one block is in memory at a time, with the activations of the previous block; with
    `tensor_parallel`, so many devices share a copy of the weights.
    """
    # A streamed model reads only the token embeddings that occur.
    weights = model.parameters / model.depth if stream else model.parameters + model.embedding
    held = weights * (2 if dtype == "bfloat16" else 4)
    between = 4.0 * min(items, STREAMED_ITEMS) * model.tokens * model.width if stream else 0.0
    kept = 4.0 * items * model.width * layer_count(model, layers)
    return Work(forward=items * model.flops, disk=kept, memory=held + between + kept, each=held / tensor_parallel)


def layer_count(model: Size, layers: Layers) -> int:
    """Number of layers that are stored of a model."""
    return model.depth + 2 if layers == "all" else 1 if isinstance(layers, str) else len(layers)


def scoring(metric: str, sides: Sequence[tuple[int, int]], items: int, pairings: int) -> Work:
    """The work of scoring one table.

    Args:
      metric: Name of the metric.
      sides: (number of layers, units) of the predictor and of the target.
      items: Number of items, n.
      pairings: The actual pairing of items and the shuffled ones, counted together.
    """
    (x_layers, d), (y_layers, e) = sides
    cost = find(metric).cost(sides[0], sides[1], items, pairings)
    activations = 4.0 * items * (x_layers * d + y_layers * e)
    return Work(products=cost.products, eigen=cost.eigen, memory=activations + cost.memory)


# Seconds apart from the products, measured on two cores of a CPU in the study of the drawn world: per item, per table
# of scores, per rows of a table, and per experiment for its figures.
ITEM, TABLE, ROWS, FIGURES = 0.0008, 0.2, 0.02, 1.0


def expected_seconds(
    study: Study,
    items: Mapping[tuple[str, str], Sequence[str]],
    views: Mapping[tuple[Modality, str], Sequence[tuple[View, Layers]]],
    missing: Sequence[Table],
    tables: int,
) -> dict[str, float]:
    """Estimated seconds by stage, for the progress display.

    Args:
      study: The study.
      items: Ids by (experiment, part).
      views: The views and layers to extract, by modality and model.
      missing: The tables to score.
      tables: Number of all tables.
    """
    count = sum(len(view.ids) for of_model in views.values() for view, _ in of_model)
    work = Work()
    for (modality, model), of_model in views.items():
        work += views_work(study, modality, model, [(len(view.ids), layers) for view, layers in of_model])
    for table in missing:
        work += table_work(study, items, table)
    extracting, scoring = work.seconds(this_machine(), study.dtype) if count or missing else (0.0, 0.0)
    return {
        "extracting": extracting + ITEM * count,
        "scoring": scoring + TABLE * len(missing),
        "writing tables": ROWS * tables,
        "drawing": FIGURES * len(study.experiments),
    }


def views_work(study: Study, modality: Modality, model: str, views: Iterable[tuple[int, Layers]]) -> Work:
    """The work of extraction of views, each with its number of items; none if the size of the model is unknown."""
    known, work = size(model, modality), Work()
    if known is not None:
        for items, layers in views:
            work += extraction(known, items, layers, study.dtype, study.stream, study.tensor_parallel)
    return work


def table_work(study: Study, items: Mapping[tuple[str, str], Sequence[str]] | None, table: Table) -> Work:
    """The work of scoring a table; none if the size of a model is unknown.

    `items` are ids by (experiment, part); None if the dataset is not on this machine.
    """
    sides = []
    for modality in table.order:
        model = size(table.model(modality), modality)
        if model is None:
            return Work()
        count = layer_count(model, table.layers) if table.is_map else len(table.sides(modality))
        sides.append((count, model.width))
    of_part = len(items[table.part]) if items else study.datasets[table.dataset].n_items or 1000
    draws = study.draws(table.layers)
    # Directed metrics predict once more, and all draws come from these predictions.
    more = min(draws, 1) if find(table.metric).directed else draws
    return scoring(table.metric, sides, table.items or of_part, 1 + study.null + more)
