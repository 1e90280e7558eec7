"""Extracts what the analysis of content needs and makes its tables for every pair of models, in both directions."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from vla.activations.extract import recipe
from vla.activations.extract_to_store import extract_to_store
from vla.activations.store import Store
from vla.alignment.held_out import ridge_settings
from vla.alignment.table import DIRECTIONS
from vla.experiments.content import Content, content, tagged, write_content
from vla.experiments.item_facts import item_facts
from vla.experiments.naming import field_names
from vla.experiments.participants import check_configs
from vla.models import load_model
from vla.models.loading import check_config
from vla.records import Dataset, Modality, View
from vla.stimuli import common_items, view


@dataclasses.dataclass(frozen=True)
class ContentStudy:
    """Which models to look into, on which views, and what is known of the items.

    Attributes:
      vision_models: Hub ids or directories.
      language_models: Hub ids or directories.
      image_view: As `vla.stimuli.view` reads it.
      caption_view: As `vla.stimuli.view` reads it.
      ignore_fields: Fields of config.json that models are read without, such as "auto_map".
      vision_pool: "cls" or "mean".
      language_pool: "mean", "mean_no_bos" or "last".
      vision_layer: A layer's name, or "penultimate".
      language_layer: A layer's name, or "penultimate".
      dtype: "float32" or "bfloat16".
      protocol: Of the ridge map, as of `vla.score`.
      seed: Of folds and bootstrap.
      overrides: Of the protocol.
      n_directions: As of `vla.experiments.content.content`.
      n_extreme: As of `vla.experiments.content.content`.
      score: As of `vla.experiments.content.content`.
      instances: COCO's instances file, for supercategories; "" for none.
      norms: File of norms of words, for concreteness; "" for none.
      norms_word: Its column of words.
      norms_value: Its column of values.
      norms_view: What is done to captions before their words are looked up.
      tagger: A spaCy pipeline, where a view needs one.
    """

    vision_models: tuple[str, ...] = ()
    language_models: tuple[str, ...] = ()
    image_view: Any = "original"
    caption_view: Any = "original"
    ignore_fields: tuple[str, ...] = ()
    vision_pool: str = "cls"
    language_pool: str = "mean"
    vision_layer: str = "penultimate"
    language_layer: str = "penultimate"
    dtype: str = "float32"
    protocol: str = "paper"
    seed: int = 42
    overrides: Mapping[str, Any] | None = None
    n_directions: int = 5
    n_extreme: int = 5
    score: str = "correlation"
    instances: str = ""
    norms: str = ""
    norms_word: str = "Word"
    norms_value: str = "Conc.M"
    norms_view: Any = "original"
    tagger: str = "en_core_web_sm"

    def __post_init__(self) -> None:
        """Refuse what would fail only after hours of extraction."""
        object.__setattr__(self, "ignore_fields", field_names(self.ignore_fields))
        for role in ("vision_models", "language_models"):
            given = getattr(self, role)
            if not given or isinstance(given, str):
                raise ValueError(
                    f"{role}={given!r}: expected Hub ids or directories, on the command line "
                    f'--config.study.{role}=one/model or --config.study.{role}=\'("one/model", "another/model")\''
                )
            names: dict[str, str] = {}
            for source in given:
                name = os.path.basename(os.path.abspath(source))
                if name in names:
                    raise ValueError(
                        f"{role}: {names[name]} and {source} are both called {name!r}, the last part of a source: name "
                        "each model once, or rename one of the folders."
                    )
                names[name] = source
        ridge_settings(self.protocol, self.seed, **(self.overrides or {}))


def run(study: ContentStudy, dataset: Dataset, workdir: Path, show_progress: bool = True) -> list[Path]:
    """The tables of every pair of models in both directions, in `workdir`; returns their paths.

    Activations are kept in `workdir/activations`, shared with other runs.

    Raises:
      ValueError: files of norms or instances that cannot be used; models or views as everywhere.
    """
    check_configs([*study.vision_models, *study.language_models], study.ignore_fields)
    seen, _ = common_items(
        [
            view(dataset, "vision", study.image_view, seed=study.seed),
            view(dataset, "language", study.caption_view, seed=study.seed, tagger=study.tagger),
        ]
    )
    counted = view(dataset, "language", study.norms_view, seed=study.seed, tagger=study.tagger)
    facts = item_facts(
        seen[1], counted, instances=study.instances, norms=study.norms, norms_word=study.norms_word,
        norms_value=study.norms_value,
    )  # fmt: skip
    settings = ridge_settings(study.protocol, study.seed, **(study.overrides or {}))
    store = Store(str(workdir / "activations"))
    of_vision = [_activations(study, source, seen[0], store, show_progress) for source in study.vision_models]
    of_language = [_activations(study, source, seen[1], store, show_progress) for source in study.language_models]
    parts: list[Content] = []
    for vision_model, images in of_vision:
        for language_model, captions in of_language:
            for direction in DIRECTIONS:
                x, y = (images, captions) if direction == "vision_to_language" else (captions, images)
                found = content(
                    x,
                    y,
                    facts,
                    settings=settings,
                    n_directions=study.n_directions,
                    n_extreme=study.n_extreme,
                    score=study.score,
                )
                words = {
                    "dataset": dataset.name,
                    "vision_model": vision_model,
                    "language_model": language_model,
                    "direction": direction,
                    "vision_layer": str(images["layer"].values[0]),
                    "language_layer": str(captions["layer"].values[0]),
                }
                fields = dataclasses.fields(Content)
                parts.append(Content(**{f.name: tagged(getattr(found, f.name), **words) for f in fields}))
    return write_content(parts, workdir)


def _activations(
    study: ContentStudy, source: str, seen: View, store: Store, show_progress: bool
) -> tuple[str, xr.DataArray]:
    """A model's name and its activations of the wanted layer, extracted if the store has none."""
    modality: Modality = seen.modality
    pool = study.vision_pool if modality == "vision" else study.language_pool
    layer = study.vision_layer if modality == "vision" else study.language_layer
    layers = layer if layer == "penultimate" else (layer,)
    ignored = check_config(source, study.ignore_fields)
    model = load_model(source, dtype=study.dtype, weights=False, ignore_fields=ignored)
    if model.modality != modality:
        raise ValueError(f"{source} is a {model.modality} model; expected a {modality} model among {modality}_models")
    wanted = recipe(model, seen, pool, layers)
    if not store.has(wanted):
        loaded = load_model(source, dtype=study.dtype, ignore_fields=ignored)
        extract_to_store(loaded, seen, store, pool=pool, layers=layers, show_progress=show_progress)
    return model.name, store.read(wanted)
