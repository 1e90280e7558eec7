"""The layer map: alignment of every vision layer with every language layer, for every pair of models."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from vla.activations.captions import caption_tokens
from vla.activations.extract import recipe
from vla.activations.extract_to_store import extract_to_store
from vla.activations.store import Recipe, Store
from vla.alignment.score_blocks import score_blocks
from vla.alignment.score_recipe import score_recipe
from vla.alignment.score_store import ScoreStore
from vla.alignment.table import DIRECTIONS, SYMMETRIC, tidy
from vla.alignment.task import check_names, check_overrides, make_tasks
from vla.experiments.naming import field_names
from vla.experiments.participants import check_configs
from vla.metrics import find
from vla.models import Model, load_model
from vla.models.loading import check_config
from vla.records import Modality, View
from vla.stimuli import caption_view, image_view, read_captioned_folder, sample

NAME = "layer_map"
CONDITION = "original"


@dataclasses.dataclass(frozen=True)
class LayerMap:
    """What to compare, on which items.

    Attributes:
      folder: Folder of photographs.
      captions: Captions file; "" looks for the published names in the folder and above it.
      name: What to call the dataset; "" takes the folder's name.
      missing_images: "refuse" or "drop" items whose photograph is absent.
      missing_captions: "refuse" or "drop" photographs that no caption names.
      n_items: Size of the random sample; 0 takes every item.
      seed: Seed of the sample, the folds and the shuffled baseline.
      caption: Which human caption of each item is used, from 0.
      vision_models: Hub ids or directories.
      language_models: Hub ids or directories.
      vision_processor: Where the image processor lies if the checkpoints come without; "" takes their own.
      language_processor: Where the tokenizer lies if the checkpoints come without; "" takes their own.
      ignore_fields: Fields of config.json that models are read without, such as "auto_map".
      vision_pool: "cls" or "mean".
      language_pool: "mean", "mean_no_bos" or "last".
      layers: "all", "penultimate", or layer names that all models have; None means all.
      dtype: "float32" or "bfloat16".
      batch_size: Images, or rows of 128 tokens, per forward pass; 0 takes what suits the device.
      stream: Whether the models' blocks are read from disk one at a time, for models larger than memory.
      tensor_parallel: Devices that share one copy of the weights.
      workers: Processes that decode images; 0 for threads.
      metrics: Names of metrics.
      protocol: Protocol of directed metrics.
      overrides: Settings of metrics, and `groups`, that differ from the protocol; None leaves the protocol's.
      null: Number of shuffled correspondences for the baseline.
      bootstrap: Number of draws of items for intervals.
      halves: Number of splits of the items into halves, for the reliability of a table of scores.
      confidence: Of the intervals.
      store: Root of the activation store, a path or URL; "" puts it under the working directory.
    """

    folder: str
    captions: str = ""
    name: str = ""
    missing_images: str = "refuse"
    missing_captions: str = "refuse"
    n_items: int = 1000
    seed: int = 42
    caption: int = 0
    vision_models: tuple[str, ...] = ()
    language_models: tuple[str, ...] = ()
    vision_processor: str = ""
    language_processor: str = ""
    ignore_fields: tuple[str, ...] = ()
    vision_pool: str = "cls"
    language_pool: str = "mean"
    layers: str | tuple[str, ...] | None = "all"
    dtype: str = "float32"
    batch_size: int = 0
    stream: bool = False
    tensor_parallel: int = 1
    workers: int = 0
    metrics: tuple[str, ...] = ("linear_predictivity", "cka", "cka_debiased")
    protocol: str = "paper"
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    null: int = 5
    bootstrap: int = 0
    halves: int = 0
    confidence: float = 0.95
    store: str = ""

    def __post_init__(self) -> None:
        """Settle what was left open; refuse what would fail only after hours of extraction."""
        object.__setattr__(self, "layers", self.layers or "all")
        object.__setattr__(self, "ignore_fields", field_names(self.ignore_fields))
        object.__setattr__(self, "overrides", {k: v for k, v in self.overrides.items() if v is not None})
        if not self.folder:
            raise ValueError("No dataset: set --config.folder to a folder of photographs with captions.")
        for role in ("vision_models", "language_models"):
            if not getattr(self, role) or isinstance(getattr(self, role), str):
                raise ValueError(
                    f"{role}={getattr(self, role)!r}: expected Hub ids or directories; on the command line "
                    f'--config.{role}=one/model or --config.{role}=\'("one/model", "another/model")\'.'
                )
        check_names(self.metrics, "metrics")
        check_overrides(self.metrics, self.overrides)
        make_tasks(self.metrics, self.protocol, self.seed, self.null, self.overrides, self.bootstrap, self.halves,
                   self.confidence)  # fmt: skip


def views(plan: LayerMap) -> dict[Modality, View]:
    """The sampled items as each modality sees them.

    Raises:
      ValueError: A dataset that is missing, incomplete or too small.
    """
    dataset = read_captioned_folder(
        plan.folder,
        plan.captions or None,
        name=plan.name or None,
        missing_images=plan.missing_images,
        missing_captions=plan.missing_captions,
    )
    chosen = sample(dataset, plan.n_items or None, plan.seed)
    return {"vision": image_view(chosen), "language": caption_view(chosen, plan.caption)}


def extract_all(plan: LayerMap, store: Store, show_progress: bool = True) -> list[str]:
    """Extract what the store does not have yet; returns where each set of activations lies.

    Every model, the whole dataset and every caption are looked at before anything is computed.

    Raises:
      ValueError: As `views`, `vla.load_model` and `vla.extract`.
    """
    seen = views(plan)
    tasks = _recipes(plan, seen)
    missing: list[tuple[Modality, str]] = [
        (modality, source) for modality, source, wanted in tasks if not store.has(wanted)
    ]
    for modality, source in missing:
        if modality == "language":
            caption_tokens(_load(plan, modality, source, weights=False), seen[modality].stimuli, seen[modality].ids)
    for modality, source in missing:
        extract_to_store(
            _load(plan, modality, source),
            seen[modality],
            store,
            pool=_pool(plan, modality),
            layers=plan.layers or "all",
            batch_size=plan.batch_size or None,
            show_progress=show_progress,
            workers=plan.workers,
        )
    return [store.location(wanted) for _, _, wanted in tasks]


def score_all(
    plan: LayerMap, store: Store, scores: ScoreStore, show_progress: bool = True
) -> tuple[pd.DataFrame, dict[str, xr.Dataset]]:
    """Score every model pair from the store; what `scores` has already is not computed again.

    Returns:
      The tidy table, and every full result by "vision_model/language_model/metric/direction".

    Raises:
      ValueError: Activations are not in the store.
    """
    seen = views(plan)
    recipes: dict[Modality, list[Recipe]] = {"vision": [], "language": []}
    for modality, _, wanted in _recipes(plan, seen):
        if not store.has(wanted):
            raise ValueError(
                f"{wanted.words['model']} on {wanted.words['view']} is not in the store {store.root}: run "
                "`python -m launch.extract` with the same config and --workdir first."
            )
        recipes[modality].append(wanted)
    tables, results = [], {}
    for vision in recipes["vision"]:
        images = functools.cache(functools.partial(store.read, vision))
        for language in recipes["language"]:
            captions = functools.cache(functools.partial(store.read, language))
            for metric, direction in _tasks(plan):
                sides = [(vision, images), (language, captions)]
                (of_x, x), (of_y, y) = sides[::-1] if direction == "language_to_vision" else sides
                known = {field.name for field in dataclasses.fields(find(metric).settings)}
                overrides = {name: value for name, value in plan.overrides.items() if name in {*known, "groups"}}
                words = {"x": of_x.words["model"], "y": of_y.words["model"]}
                asked = score_recipe(
                    (of_x.key, of_y.key), metric, plan.protocol, plan.seed, plan.null, plan.bootstrap, plan.halves,
                    plan.confidence, words=words, **overrides,
                )  # fmt: skip
                score_blocks(x, y, asked, scores, show_progress)
                result = scores.read(asked)
                names = {"vision_model": vision.words["model"], "language_model": language.words["model"]}
                results["/".join([*names.values(), metric, direction])] = result.assign_attrs(
                    **names, direction=direction, vision_key=vision.key, language_key=language.key
                )
                tables.append(tidy(result, experiment=NAME, condition=CONDITION, direction=direction, **names))
    return pd.concat(tables, ignore_index=True), results


def open_store(plan: LayerMap, workdir: Path) -> Store:
    """The activation store of a plan."""
    return Store(plan.store or str(workdir / "activations"))


def open_scores(workdir: Path) -> ScoreStore:
    """The score store of a working directory."""
    return ScoreStore(workdir / "scores")


def _sources(plan: LayerMap) -> Iterator[tuple[Modality, str]]:
    for source in plan.vision_models:
        yield "vision", source
    for source in plan.language_models:
        yield "language", source


def _tasks(plan: LayerMap) -> list[tuple[str, str]]:
    return [
        (metric, direction)
        for metric in plan.metrics
        for direction in (DIRECTIONS if find(metric).directed else (SYMMETRIC,))
    ]


def _pool(plan: LayerMap, modality: Modality) -> str:
    return plan.vision_pool if modality == "vision" else plan.language_pool


def _recipes(plan: LayerMap, seen: dict[Modality, View]) -> list[tuple[Modality, str, Recipe]]:
    """Modality, source and recipe of every model; refuses models that tables and files could not tell apart."""
    # All configs before the first weights.
    check_configs([source for _, source in _sources(plan)], plan.ignore_fields)
    tasks, sources = [], {}
    for modality, source in _sources(plan):
        model = _load(plan, modality, source, weights=False)
        if (modality, model.name) in sources:
            raise ValueError(
                f"{sources[modality, model.name]} and {source} are both called {model.name!r}, the last part of a "
                "source: name each model once, or rename one of the folders."
            )
        sources[modality, model.name] = source
        tasks.append((modality, source, recipe(model, seen[modality], _pool(plan, modality), plan.layers or "all")))
    return tasks


def _load(plan: LayerMap, modality: Modality, source: str, weights: bool = True) -> Model:
    processor = plan.vision_processor if modality == "vision" else plan.language_processor
    return load_model(
        source,
        dtype=plan.dtype,
        processor=processor or None,
        weights=weights,
        stream=plan.stream,
        tensor_parallel=plan.tensor_parallel,
        ignore_fields=check_config(source, plan.ignore_fields),
    )
