"""The models of a study: checkpoints whose activations are extracted, or activations saved by other software."""

import csv
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from vla.activations.captions import caption_tokens
from vla.activations.extract import NUMERICS_VERSION, extract_to_store, resolve_layers
from vla.activations.extract import recipe as make_recipe
from vla.activations.store import Recipe, Store
from vla.experiments.experiment import Layers
from vla.experiments.names import name_and_source
from vla.experiments.saved import SavedModel, is_saved
from vla.experiments.study import MODALITIES, Study
from vla.models.catalogue import checkpoints
from vla.models.loading import check_config, load_model
from vla.models.model import Model
from vla.models.source import Unreachable, is_cached
from vla.records import Modality, View, canonical_hash


def training_losses(source: str) -> dict[str, Any]:
    """Losses of a model that `launch.train` has trained in the folder `source`, for the report; {} for any other model.

    Returns:
      `held_out`: for each loss its values "trivial", "untrained" and "trained"; and `losses`: `steps`, `loss`,
      `baseline` and `unit` of the total loss on held-out data.
    """
    report, by_step = Path(source) / "training.json", Path(source) / "losses.csv"
    if not (report.is_file() and by_step.is_file()):
        return {}
    held_out = json.loads(report.read_text(encoding="utf-8"))["held_out"]
    with by_step.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["part"], row["loss"]) == ("held out", "loss")]
    return {
        "held_out": {
            name: {stage: losses[name] for stage, losses in held_out.items() if name in losses}
            for name in held_out["trivial"]
        },
        "losses": {
            "steps": [int(row["step"]) for row in rows],
            "loss": [float(row["value"]) for row in rows],
            "baseline": held_out["trivial"]["loss"],
            "unit": "loss on held-out data",
        },
    }


class Checkpoint:
    """A checkpoint, whose activations are extracted into the store."""

    def __init__(self, model: str, modality: Modality, study: Study, store: Store) -> None:
        """Nothing is read yet. `model` is a Hub id or directory, or "name=source"; `modality` is the expected one."""
        self.name, self.source = name_and_source(model)
        self.modality: Modality = modality
        self._study, self.store = study, store
        self._recipes: dict[tuple[str, Layers], Recipe] = {}

    @functools.cached_property
    def model(self) -> Model:
        """The model without its weights; a ValueError for a model of the other modality."""
        model = self._load(weights=False)
        if model.modality != self.modality:
            raise ValueError(
                f"{self.source} is a {model.modality} model, but is listed among the {self.modality} models."
            )
        return model

    @functools.cached_property
    def ignored(self) -> tuple[str, ...]:
        """Those of the study's `ignore_fields` that its config has.

        Raises:
          ValueError: Its config is refused; its weights are not downloaded.
        """
        return check_config(self.source, self._study.ignore_fields)

    def key(self, view: View) -> str:
        """The key of its activations on a view, whatever the layers."""
        return canonical_hash(self.recipe(view, "all").determines)

    def group(self, view: View, layers: Layers) -> str:
        """Name of the group in the store that has these layers."""
        return self._stored(view, layers).name

    def has(self, view: View, layers: Layers) -> bool:
        """Whether the store has these layers, perhaps with more layers."""
        return self.store.has(self._stored(view, layers))

    def read(self, view: View, layers: Layers) -> xr.DataArray:
        """From the store; a ValueError if they are missing or damaged."""
        array = self.store.read(self._stored(view, layers))
        return array.sel(layer=list(self.layers(view, layers))).rename(self.name)

    def check(self, views: Iterable[View]) -> None:
        """Tokenize all captions, which needs no weights; images are not checked.

        Raises:
          ValueError: A caption that the model cannot take; the message names model, item and view.
        """
        if self.modality == "language":
            texts: dict[str, str] = {}
            for view in views:
                for id, text in zip(view.ids, view.stimuli, strict=True):
                    texts.setdefault(str(text), f"{id} of {view.name}")
            try:
                caption_tokens(self.model, list(texts), list(texts.values()))
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from error

    def extract(self, views: Sequence[tuple[View, Layers]], advance: Callable[[float], None]) -> None:
        """Extract views and layers, reading the weights once; `advance` is called with the number of items done."""
        study = self._study
        if not views:
            return
        loaded = self._load(weights=True)
        for view, layers in views:
            extract_to_store(
                loaded,
                view,
                self.store,
                pool=self._pool,
                layers=layers,
                batch_size=study.batch_size or None,
                workers=study.workers,
            )
            advance(len(view.ids))

    def layers(self, view: View, layers: Layers) -> tuple[str, ...]:
        """Names of these layers, in the order of the model."""
        return resolve_layers(self.model, layers)

    def width(self, view: View) -> int:
        """Units of a layer."""
        return self.model.width

    def facts(self) -> dict[str, Any]:
        """Name, modality, source, fingerprint, layers, width, pooling, and training losses if known."""
        model = self.model
        return {
            "name": self.name,
            "modality": self.modality,
            "source": self.source,
            "fingerprint": model.fingerprint,
            "layers": list(model.layer_names),
            "width": model.width,
            "parameters": model.parameters,
            "pool": self._pool,
            "dtype": model.dtype,
            **training_losses(self.source),
        }

    @property
    def _pool(self) -> str:
        choices = self._study.choices
        return choices.vision_pool if self.modality == "vision" else choices.language_pool

    def _stored(self, view: View, layers: Layers) -> Recipe:
        """The recipe to read these layers from: that of all layers if the store has them, else that of these alone."""
        every = self.recipe(view, "all")
        return every if layers == "all" or self.store.has(every) else self.recipe(view, layers)

    def recipe(self, view: View, layers: Layers) -> Recipe:
        """What determines the activations of exactly these layers."""
        # Every condition with this view uses it.
        if (view.content, layers) not in self._recipes:
            self._recipes[view.content, layers] = make_recipe(self.model, view, self._pool, layers)
        return self._recipes[view.content, layers]

    def _load(self, weights: bool) -> Model:
        study = self._study
        return load_model(
            self.source,
            dtype=study.dtype,
            processor=study.processors.get(self.source) or study.processors.get(self.modality) or None,
            weights=weights,
            stream=study.stream,
            tensor_parallel=study.tensor_parallel,
            ignore_fields=self.ignored,
        )


Participant = Checkpoint | SavedModel
"""A model of a study, wherever its activations come from."""


def gather(study: Study, store: Store) -> dict[tuple[Modality, str], Participant]:
    """All models of the study's experiments, by modality and entry in the study; a ValueError if two have one name."""
    participants: dict[tuple[Modality, str], Participant] = {}
    models: dict[tuple[Modality, str], str] = {}
    for experiment in study.experiments:
        for modality in MODALITIES:
            for model in study.models(experiment, modality):
                if (modality, model) in participants:
                    continue
                new = SavedModel(model, modality) if is_saved(model) else Checkpoint(model, modality, study, store)
                if (modality, new.name) in models:
                    raise ValueError(
                        f"{models[modality, new.name]} and {model} are both called {new.name!r}: list each model once, "
                        f"or give it another name, as in 'other={model}'."
                    )
                models[modality, new.name] = model
                participants[modality, model] = new
    return participants


def refused_configs(study: Study, fetch_registered: bool = True) -> dict[str, str]:
    """Read the config.json of every model of a study, its CLIP models among them, before any weights are downloaded.

    Args:
      study: The study.
      fetch_registered: Whether to download the config.json of registered models too; those of others always are.

    Returns:
      Why models are refused, by their entry in the study; a CLIP model that the Hub does not provide is not among
      them, because only the conditions that need it are left out.

    Raises:
      ValueError: A field to ignore that no config has.
    """
    registered, refused, ignored = {checkpoint.id for checkpoint in checkpoints()}, {}, set()
    complete = True
    entries = [(model, name_and_source(model)[1], False) for model in study.all_models if not is_saved(model)]
    entries += [(f"the CLIP model {source}", source, True) for source in study.clips]
    for entry, source, clip in entries:
        if not fetch_registered and source in registered and not is_here(source):
            complete = False
            continue
        try:
            ignored |= set(check_config(source, study.ignore_fields, clip=clip))
        except Unreachable as error:
            complete = False
            if fetch_registered and not clip:
                refused[entry] = str(error)
        except ValueError as error:
            refused[entry] = str(error)
    unknown = sorted(set(study.ignore_fields) - ignored)
    if complete and not refused and unknown:
        raise ValueError(
            f"ignore_fields names {', '.join(unknown)}, which the config.json of no model has: leave it out of "
            "--config.ignore_fields"
        )
    return refused


def is_here(source: str) -> bool:
    """Whether a checkpoint is a directory or completely cached."""
    return Path(source).expanduser().exists() or is_cached(source)


# Two groups of activations with these in common differ only in the version of the code.
_SAME = ("model_fingerprint", "view_content", "pool", "dtype")


def refuse_older(study: Study, model: Checkpoint, views: Sequence[tuple[View, Layers]]) -> None:
    """Refuse to extract again what older code has extracted, unless the study says to recompute.

    Raises:
      ValueError: The store has such activations; the message explains.
    """
    if study.older == "recompute":
        return
    missing = [model.recipe(*view) for view in views if not model.has(*view)]
    names = model.store.names() if missing else []
    older = {}
    for recipe in missing:
        for name in (name for name in names if name.startswith(recipe.name.rsplit("--", 1)[0])):
            attributes = model.store.attributes(name)
            version = attributes.get("numerics_version", 0)
            same = all(attributes.get(key) == recipe.determines[key] for key in _SAME)
            if same and version < NUMERICS_VERSION:
                older[name] = version
    if older:
        name, version = next(iter(older.items()))
        raise ValueError(
            f"the store {model.store.root} has {len(older)} groups of activations from older code, such as {name} "
            f"(numerics version {version}, now {NUMERICS_VERSION}): the same model on the same view now gives other "
            "numbers, so they are not used. Set --config.older=recompute to extract them again (the old ones stay "
            "until you delete them), or use the version of vla that made them"
        )
