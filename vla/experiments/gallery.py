"""The items of a dataset as views by name, and why a view cannot be shown."""

import dataclasses
import functools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from vla.activations.clip_score import clip_score
from vla.checks import listed
from vla.experiments.experiment import BEST, LENGTH, WORST, Condition, Experiment
from vla.experiments.study import MAIN, OUTER_FOLDS, DatasetPlan, Study
from vla.metrics.registry import find
from vla.models.loading import check_config, load_clip
from vla.models.source import is_cached
from vla.records import Dataset, Modality, View, canonical_hash
from vla.stimuli.catalogue import read_dataset
from vla.stimuli.generators.joins import with_paraphrases, with_synthetic
from vla.stimuli.preferences import above_and_below_median, best_and_worst
from vla.stimuli.tagging import Tagger
from vla.stimuli.views import ViewSpec, read_view, view

T = TypeVar("T")


class Absent(ValueError):
    """A condition needs something that is missing; `remedy` are the flags or the command that provide it, if any."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        """The reason, and the remedy."""
        super().__init__(reason)
        self.remedy = remedy


def _made_once(make: Callable[[Any], T]) -> functools.cached_property[T]:
    """A cached property that also caches a failure, because every condition asks for it."""

    @functools.wraps(make)
    def cached(gallery: "Gallery") -> T:
        if make.__name__ not in gallery.failed:
            try:
                return make(gallery)
            except ValueError as error:
                gallery.failed[make.__name__] = error
        raise gallery.failed[make.__name__]

    return functools.cached_property(cached)


class Gallery:
    """Views of one dataset, each made once.

    Attributes:
      failed: The errors of its parts that cannot be made, by name.
    """

    def __init__(self, plan: DatasetPlan, study: Study, clip_cache: str, read_only: bool = False) -> None:
        """Nothing is read yet. CLIP Scores are cached in the folder `clip_cache`.

        `read_only` caches no tags on disk and computes no CLIP Scores. Views that depend on uncached scores then show
        other captions, under keys that no store has.
        """
        self.plan, self._study, self._clip_cache = plan, study, clip_cache
        self._views: dict[tuple[str, ViewSpec | str], View | Absent] = {}
        self._read_only = read_only
        self.failed: dict[str, ValueError] = {}
        self._tagger = Tagger(plan.tagger, None if read_only else study.tags or "default")

    @_made_once
    def dataset(self) -> Dataset:
        """The sampled items; raises `Absent` if they cannot be read."""
        plan, options = self.plan, dict(self.plan.options)
        if plan.name == "pick_a_pic" and "ties" not in options:
            options["ties"] = self._study.choices.ties
        try:
            return read_dataset(
                plan.name,
                plan.directory,
                n=plan.n_items or None,
                seed=self._study.seed,
                data_dir=plan.data_dir,
                missing_images=plan.missing_images,
                called=plan.called,
                **options,
            )
        except (ValueError, OSError) as error:
            reason = f"the dataset {plan.role} cannot be read: {error}"
            raise Absent(reason, self._flags(error) or how_to_find(plan)) from error

    def _flags(self, error: Exception) -> str:
        """The flags that carry out the remedy of an error; "" if it has none."""
        return flags(getattr(error, "remedy", {}), self.plan, self._study)

    def view(self, modality: Modality, member: ViewSpec | str) -> View:
        """A single view, as in `Side.members`; raises `Absent` if it cannot be made."""
        if (modality, member) not in self._views:
            try:
                self._views[modality, member] = self._made(modality, member)
            except Absent as error:
                self._views[modality, member] = error
            except ValueError as error:
                remedy = self._flags(error) or how_to_get_masks(getattr(error, "remedy", {}), self.plan)
                self._views[modality, member] = Absent(str(error), remedy)
        result = self._views[modality, member]
        if isinstance(result, Absent):
            raise result
        return result

    def ids(self, modality: Modality, members: Sequence[ViewSpec | str]) -> set[str]:
        """The items that all of these views show."""
        return set.intersection(*(set(self.view(modality, member).ids) for member in members))

    def _made(self, modality: Modality, member: ViewSpec | str) -> View:
        if member == LENGTH:
            return view(self.dataset, "language")
        if isinstance(member, str) and member.startswith((BEST, WORST)):
            if member not in self._by_clip:
                raise Absent(
                    f"{self.plan.role} has items with fewer than 4 captions among their first "
                    f"{self._study.choices.human_captions} (choices.human_captions); the comparison needs two above "
                    "the median and two below it"
                )
            return self._by_clip[member]
        spec = read_view(member, modality) if isinstance(member, str) else member
        if spec.source == "paraphrase":
            dataset = self._with_paraphrases
        elif spec.source == "synthetic":
            dataset = self._with_synthetic
        else:
            dataset = self.dataset
        return view(dataset, modality, spec, seed=self._study.seed, tagger=self._tagger)

    @_made_once
    def _with_paraphrases(self) -> Dataset:
        role = self.plan.role
        reason = (
            f"no folder of paraphrases is set for {role} (datasets.{role}.paraphrases); "
            f"--config.captions={self._study.choices.human_captions} averages human captions alone"
        )
        return self._joined(with_paraphrases, "paraphrases", reason)

    @_made_once
    def _with_synthetic(self) -> Dataset:
        role = self.plan.role
        reason = f"no folder of synthetic images is set for {role} (datasets.{role}.synthetic)"
        return self._joined(with_synthetic, "synthetic", reason)

    def _joined(self, join: Callable[..., Dataset], setting: str, reason: str) -> Dataset:
        """The dataset joined with generated captions or images; `reason` says that no folder is set."""
        how = how_to_generate(setting, self.plan, self._study.seed)
        folder = getattr(self.plan, setting)
        if not folder:
            raise Absent(reason, how)
        try:
            return join(self.dataset, folder, missing=self.plan.missing)
        except ValueError as error:
            raise Absent(str(error), self._flags(error) or how) from error

    @_made_once
    def _by_clip(self) -> dict[str, View]:
        plan, count = self.plan, self._study.choices.human_captions
        if not plan.clip:
            raise Absent(
                f"no CLIP model is set for {plan.role} (datasets.{plan.role}.clip)",
                plan.flag("clip", "openai/clip-vit-base-patch32"),
            )
        cached = self._clip_scores()
        # Without scores, captions in published order stand in for the ranked ones: the items are the same.
        scores = (
            {item.id: range(len(item.captions), 0, -1) for item in self.dataset.items} if cached is None else cached
        )
        views: dict[str, View] = {}
        if self._study.choices.clip_groups == "median":
            above, below = above_and_below_median(self.dataset, scores, n_captions=count)
            for name, pair in ((BEST, above), (WORST, below)):
                views |= {f"{name}:place={i}": view for i, view in enumerate(pair)}
        else:
            views |= zip((BEST, WORST), best_and_worst(self.dataset, scores, n_captions=count), strict=True)
        if cached is None:
            return {name: dataclasses.replace(view, content=canonical_hash([name, view.content]))
                    for name, view in views.items()}  # fmt: skip
        return views

    def _clip_scores(self) -> xr.DataArray | None:
        """CLIP Scores of all captions; None if they are not cached and nothing may be written."""
        source = self.plan.clip
        if self._read_only and _needs_download(source):
            return None
        try:
            clip = load_clip(source, ignore_fields=check_config(source, self._study.ignore_fields, clip=True))
        except ValueError as error:
            raise Absent(f"CLIP cannot be loaded: {error}") from error
        truncate = self._study.choices.long_captions == "truncate"
        try:
            return clip_score(_CacheOnly(clip.fingerprint) if self._read_only else clip, self.dataset, n_captions=None,
                              truncate=truncate, cache=self._clip_cache)  # fmt: skip
        except _NotCached:
            return None


class _NotCached(Exception):
    """Scores would have to be computed."""


class _CacheOnly:
    """Stands in for a CLIP model where only cached scores may be used."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def image_embeddings(self, images: Any) -> Any:
        raise _NotCached

    def text_embeddings(self, texts: Any, truncate: bool = False) -> Any:
        raise _NotCached


def _needs_download(source: str) -> bool:
    """Whether a source is a Hub id that is not completely cached."""
    path = Path(source).expanduser()
    return not path.is_absolute() and not source.startswith(".") and not path.exists() and not is_cached(source)


def groups_of(dataset: Dataset, ids: Sequence[str]) -> list[str] | None:
    """The group of each item, such as its prompt; None if no item has a group."""
    groups = {item.id: item.group for item in dataset.items}
    if not any(groups.values()):
        return None
    # A group and an item can have the same name.
    return [f"group {groups[id]}" if groups[id] else f"item {id}" for id in ids]


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What of a study can be run.

    Attributes:
      items: Ids by (experiment, part), in the order of the dataset: the items that every condition of the part shows.
      left_out: Number of items that each condition by itself cannot show, by (experiment, condition).
      absent: Why a condition cannot be scored, and the remedy, by (experiment, condition).
    """

    items: Mapping[tuple[str, str], tuple[str, ...]]
    left_out: Mapping[tuple[str, str], int]
    absent: Mapping[tuple[str, str], tuple[str, str]]

    def usable(self, experiment: Experiment, condition: Condition) -> bool:
        """Whether a condition can be scored."""
        return (experiment.id, condition.name) not in self.absent

    @property
    def reasons(self) -> tuple[str, ...]:
        """The conditions that cannot be scored and the reason, one line per experiment and reason."""
        conditions: dict[tuple[str, str, str], list[str]] = {}
        for (experiment, condition), (reason, remedy) in self.absent.items():
            conditions.setdefault((experiment, reason, remedy), []).append(condition)
        return tuple(
            f"{experiment}, {listed(names)}: {reason}" + (f" ({remedy})" if remedy else "")
            for (experiment, reason, remedy), names in conditions.items()
        )


def resolve(study: Study, galleries: Mapping[str, Gallery]) -> Resolved:
    """Make every view of the study; nothing is extracted. A ValueError for a part with conditions on two datasets."""
    items: dict[tuple[str, str], tuple[str, ...]] = {}
    left_out: dict[tuple[str, str], int] = {}
    absent: dict[tuple[str, str], tuple[str, str]] = {}
    for experiment in study.experiments:
        shared: dict[str, set[str]] = {}
        datasets: dict[str, str] = {}
        for condition in experiment.conditions:
            gallery, key = galleries[condition.dataset], (experiment.id, condition.name)
            try:
                ids = set(gallery.dataset.ids)
                for side in study.sides(condition):
                    ids &= gallery.ids(side.modality, side.members)
                if condition.items > len(ids):
                    raise Absent(f"{condition.items} items are requested, and only {len(ids)} exist")
            except Absent as error:
                absent[key] = (str(error), error.remedy)
                continue
            first = datasets.setdefault(condition.part, condition.dataset)
            if first != condition.dataset:
                raise ValueError(
                    f"experiment {experiment.id!r}: part {condition.part!r} has conditions on {first} and "
                    f"{condition.dataset}; give them different parts"
                )
            left_out[key] = len(gallery.dataset) - len(ids)
            shared[condition.part] = shared.get(condition.part, ids) & ids
        for part, ids in shared.items():
            items[experiment.id, part] = tuple(id for id in galleries[datasets[part]].dataset.ids if id in ids)
        for condition in experiment.conditions:
            count = len(shared.get(condition.part, ()))
            reason = _too_few(study, experiment, condition, count)
            if condition.items > count:
                reason = f"{condition.items} items are requested, and all conditions of its part share only {count}"
            if reason and (experiment.id, condition.name) not in absent:
                absent[experiment.id, condition.name] = (reason, "")
    return Resolved(items, left_out, absent)


def _too_few(study: Study, experiment: Experiment, condition: Condition, shared: int) -> str:
    """Why items are too few for the folds, which need two test items each; "" if there are enough."""
    folds, count = study.overrides.get("outer_folds", OUTER_FOLDS), condition.items or shared
    split = study.choices.symmetric_items == "test_folds" or any(
        find(name).directed for name in study.metrics_of(experiment)
    )
    if not split or count >= 2 * folds:
        return ""
    fewer = f", or fewer folds ({study.flag('outer_folds', count // 2)})" if count >= 4 else ""
    return (
        f"the {count} items that all conditions of its part share are too few for {folds} folds: at least {2 * folds} "
        f"are needed{fewer}"
    )


def flags(remedy: Mapping[str, Any], plan: DatasetPlan, study: Study) -> str:
    """The flags of a study for the remedy of an error, as typed in a shell; "" without a setting that it knows.

    `remedy` has values by argument of the function that raised the error, such as {"missing_images": "drop"}.
    """
    of_choices = {"truncate": ("long_captions", "truncate")} | {
        name: (name, remedy[name]) for name in ("unmasked", "ties") if name in remedy
    }
    result = [study.flag(*of_choices[name]) for name in remedy if name in of_choices]
    result += [plan.flag(name, remedy[name]) for name in ("missing_images", "missing") if name in remedy]
    options = {name: value for name, value in remedy.items() if name in ("missing_masks", "missing_captions")}
    if plan.role == MAIN:  # its options are settings of the config
        result += [plan.flag(name, value) for name, value in options.items()]
    elif options:
        result.append(f"--config.datasets.{plan.role}.options={quoted({**plan.options, **options})}")
    return " ".join(result)


def how_to_find(plan: DatasetPlan) -> str:
    """How to say where a dataset is, or to download it."""
    flag = plan.flag("directory", "FOLDER")
    return f"{flag} names the folder of the dataset; without this flag it is downloaded, which needs a network"


def how_to_get_masks(remedy: Mapping[str, Any], plan: DatasetPlan) -> str:
    """How to obtain missing masks of stuff; "" if none are missing, or if the dataset has none."""
    if remedy.get("masks") != "stuff" or not plan.name.startswith("coco"):
        return ""
    folder = plan.directory or "the folder of the dataset"
    return (
        f"unpack COCO-Stuff's stuffthingmaps_trainval2017.zip into {folder}, which then has stuffthingmaps/val2017 "
        "(third_party/datasets.toml says where it is published), and run again"
    )


def how_to_generate(setting: str, plan: DatasetPlan, seed: int) -> str:
    """The command that generates "paraphrases" or "synthetic" images of a dataset, and the flag that names them."""
    values = {"dataset": plan.name, "directory": plan.directory, "n_items": plan.n_items, "seed": seed}
    values |= {"missing_images": plan.missing_images, "data_dir": plan.data_dir}
    arguments = [f"--config.{name}={shlex.quote(str(value))}" for name, value in values.items()
                 if value not in (None, "refuse")]  # fmt: skip
    arguments += [f"--config.options={quoted(plan.options)}"] if plan.options else []
    config = "synthetic_images" if setting == "synthetic" else setting
    return (
        f"python -m launch.generate --config=configs/{config}.py {' '.join(arguments)}, then add "
        f"{plan.flag(setting, 'FOLDER')} with the folder that it prints at its end"
    )


def quoted(options: Mapping[str, Any]) -> str:
    """Options of a reader as the value of a flag in a shell."""
    text = "{" + ",".join(f"{name!r}:{value!r}" for name, value in options.items()) + "}"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
