"""The models of a study, each with what it has seen: checkpoints whose activations are extracted, or saved ones."""

import csv
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import xarray as xr

from vla.activations.captions import caption_tokens
from vla.activations.extract import NUMERICS_VERSION, recipe, resolve_layers
from vla.activations.extract_to_store import extract_to_store
from vla.activations.store import Recipe, Store
from vla.experiments.experiment import Layers
from vla.experiments.naming import named
from vla.experiments.saved import SavedModel, is_saved
from vla.experiments.study import MODALITIES, Study
from vla.models import Model, load_model
from vla.models.loading import check_config
from vla.records import Modality, View, canonical_hash


def learned(source: str) -> dict[str, Any]:
    """Losses of a model that was trained by `launch.train`, for the report; {} of any other.

    Args:
      source: A checkpoint's folder, in which `training.json` has held-out losses by name under "trivial", "untrained"
        and "trained", and `losses.csv` the columns step, part, loss and value.

    Returns:
      `held_out`, by loss its values "trivial", "untrained" and "trained"; and `losses`: `steps`, `loss`, `baseline` and
      `unit` of the whole loss on held-out data.
    """
    report, along = Path(source) / "training.json", Path(source) / "losses.csv"
    if not (report.is_file() and along.is_file()):
        return {}
    held_out = json.loads(report.read_text(encoding="utf-8"))["held_out"]
    with along.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["part"], row["loss"]) == ("held out", "loss")]
    return {
        "held_out": {
            name: {when: losses[name] for when, losses in held_out.items() if name in losses}
            for name in held_out["trivial"]
        },
        "losses": {
            "steps": [int(row["step"]) for row in rows],
            "loss": [float(row["value"]) for row in rows],
            "baseline": held_out["trivial"]["loss"],
            "unit": "loss on held-out data",
        },
    }


@runtime_checkable
class Participant(Protocol):
    """What the engine asks of a model, whatever its activations come from."""

    name: str
    source: str
    modality: Modality

    def key(self, view: View) -> str:
        """What determines its activations on a view, layers apart."""
        ...

    def has(self, view: View, layers: Layers) -> bool:
        """Whether they are there."""
        ...

    def read(self, view: View, layers: Layers) -> xr.DataArray:
        """Those of "all" layers, of the "penultimate" block, or of layers by their names."""
        ...

    def layers(self, view: View, layers: Layers) -> tuple[str, ...]:
        """Names of these layers, in the order of the model."""
        ...

    def width(self, view: View) -> int:
        """Units of a layer."""
        ...

    def group(self, view: View, layers: Layers) -> str:
        """Name of what holds its activations on a view."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the report says of it."""
        ...


class Checkpoint:
    """A checkpoint; its activations lie in the store, or are extracted into it."""

    def __init__(self, given: str, modality: Modality, study: Study, store: Store) -> None:
        """Nothing is read yet.

        Args:
          given: Hub id or directory, or "name=source".
          modality: What it is taken for.
          study: Whose settings hold.
          store: Where activations are.
        """
        self.name, self.source = named(given)
        self.modality: Modality = modality
        self._study, self.store = study, store
        self._recipes: dict[tuple[str, Layers], Recipe] = {}

    @functools.cached_property
    def model(self) -> Model:
        """The model without its weights.

        Raises:
          ValueError: As `vla.load_model`; it is of the other modality.
        """
        model = self._load(weights=False)
        if model.modality != self.modality:
            raise ValueError(f"{self.source} is a {model.modality} model, but stands among the {self.modality} models.")
        return model

    @functools.cached_property
    def ignored(self) -> tuple[str, ...]:
        """Those of the study's `ignore_fields` that its config has.

        Raises:
          ValueError: Its config is refused; weights are not fetched for it.
        """
        return check_config(self.source, self._study.ignore_fields)

    def key(self, view: View) -> str:
        """What determines its activations on a view, layers apart."""
        return canonical_hash(self._recipe(view, "all").determines)

    def group(self, view: View, layers: Layers) -> str:
        """Name of the group in the store that has these layers."""
        return self._there(view, layers).name

    def has(self, view: View, layers: Layers) -> bool:
        """Whether they are in the store, be it among more layers."""
        return self.store.has(self._there(view, layers))

    def read(self, view: View, layers: Layers) -> xr.DataArray:
        """From the store.

        Raises:
          ValueError: They are not there, or damaged.
        """
        array = self.store.read(self._there(view, layers))
        return array.sel(layer=list(self.layers(view, layers))).rename(self.name)

    def check(self, views: Iterable[View]) -> None:
        """Read the words of all captions, for which no weights are needed; of images nothing.

        Raises:
          ValueError: A caption that the model cannot take; the message names model, item and view.
        """
        if self.modality == "language":
            texts: dict[Any, str] = {}
            for view in views:
                for id, text in zip(view.ids, view.stimuli, strict=True):
                    texts.setdefault(text, f"{id} of {view.name}")
            try:
                caption_tokens(self.model, list(texts), list(texts.values()))
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from error

    def extract(self, wanted: Sequence[tuple[View, Layers]], advance: Callable[[float], None]) -> None:
        """Extract these views and layers, the weights read once; `advance` is told of items done.

        Raises:
          ValueError: As `vla.load_model` and `vla.extract`.
        """
        study = self._study
        if not wanted:
            return
        loaded = self._load(weights=True)
        for view, layers in wanted:
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

    def recipes(self, view: View, layers: Layers) -> Recipe:
        """Of these layers alone."""
        return self._recipe(view, layers)

    def layers(self, view: View, layers: Layers) -> tuple[str, ...]:
        """Names of these layers, in the order of the model."""
        return resolve_layers(self.model, layers)

    def width(self, view: View) -> int:
        """Units of a layer."""
        return self.model.width

    def facts(self) -> dict[str, Any]:
        """Name, modality, source, fingerprint, layers, width, pool, and what it learned where that is known."""
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
            **learned(self.source),
        }

    @property
    def _pool(self) -> str:
        choices = self._study.choices
        return choices.vision_pool if self.modality == "vision" else choices.language_pool

    def _there(self, view: View, layers: Layers) -> Recipe:
        """The recipe to read these layers from: all layers where these are there, else these alone."""
        every = self._recipe(view, "all")
        return every if layers == "all" or self.store.has(every) else self._recipe(view, layers)

    def _recipe(self, view: View, layers: Layers) -> Recipe:
        # Asked for with every condition that shows the view.
        if (view.content, layers) not in self._recipes:
            self._recipes[view.content, layers] = recipe(self.model, view, self._pool, layers)
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


def gather(study: Study, store: Store) -> dict[tuple[Modality, str], Participant]:
    """All models of the study's experiments, by modality and as they were given.

    Raises:
      ValueError: Two models of one name.
    """
    found: dict[tuple[Modality, str], Participant] = {}
    names: dict[tuple[Modality, str], str] = {}
    for experiment in study.experiments:
        for modality in MODALITIES:
            for given in study.models(experiment, modality):
                if (modality, given) in found:
                    continue
                one = SavedModel(given, modality) if is_saved(given) else Checkpoint(given, modality, study, store)
                if (modality, one.name) in names:
                    raise ValueError(
                        f"{names[modality, one.name]} and {given} are both called {one.name!r}: name each model once, "
                        f"or give one another name, as in 'other={given}'."
                    )
                names[modality, one.name] = given
                found[modality, given] = one
    return found


def check_configs(sources: Iterable[str], ignore_fields: Sequence[str]) -> None:
    """Read the config.json of every model, before the weights of any are fetched.

    Args:
      sources: Hub ids or directories.
      ignore_fields: Fields to read them without.

    Raises:
      ValueError: Models whose config is refused, all of them; a field to ignore that no config has.
    """
    refused, there = [], set()
    for source in sources:
        try:
            there |= set(check_config(source, ignore_fields))
        except ValueError as error:
            refused.append(f"{source}: {error}")
    if refused:
        raise ValueError("; ".join(refused))
    refuse_unknown(ignore_fields, there)


def refuse_unknown(ignore_fields: Iterable[str], there: Iterable[str]) -> None:
    """Refuse names of fields to ignore that no model's config has.

    Raises:
      ValueError: There are such names.
    """
    unknown = sorted(set(ignore_fields) - set(there))
    if unknown:
        raise ValueError(
            f"ignore_fields names {', '.join(unknown)}, which the config.json of no model has: leave it out of "
            "--config.ignore_fields"
        )


# What else must agree for two sets of activations to be meant as the same.
_SAME = ("model_fingerprint", "view_content", "pool", "dtype")


def refuse_older(study: Study, participant: Checkpoint, views: Sequence[tuple[View, Layers]]) -> None:
    """Refuse to extract anew what the store has from older code, unless the study says to recompute.

    Raises:
      ValueError: There are such activations; the message explains.
    """
    if study.older == "recompute":
        return
    missing = [participant.recipes(*one) for one in views if not participant.has(*one)]
    names = participant.store.names() if missing else []
    found = {}
    for wanted in missing:
        for name in (name for name in names if name.startswith(wanted.name.rsplit("--", 1)[0])):
            attributes = participant.store.attributes(name)
            version = attributes.get("numerics_version", 0)
            same = all(attributes.get(key) == wanted.determines[key] for key in _SAME)
            if same and version < NUMERICS_VERSION:
                found[name] = version
    if found:
        name, version = next(iter(found.items()))
        raise ValueError(
            f"the store {participant.store.root} holds {len(found)} sets of activations that older code made, such as "
            f"{name} (numerics version {version}, now {NUMERICS_VERSION}): the same model on the same view now gives "
            "other numbers, so they are not used. Set --config.older=recompute to extract them again (the old ones "
            "stay until you delete them), or use the version of vla that made them"
        )
