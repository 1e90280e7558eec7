"""The items of a dataset as views by name, and why a view cannot be shown."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vla.activations.clip_score import clip_score
from vla.checks import listed
from vla.experiments import advice
from vla.experiments.experiment import BEST, LENGTH, WORST, Condition, Experiment
from vla.experiments.study import OUTER_FOLDS, DatasetPlan, Study
from vla.metrics import find
from vla.models import load_clip
from vla.models.source import is_cached
from vla.records import Dataset, Modality, View, canonical_hash
from vla.stimuli import Tagger, above_and_below_median, best_and_worst, read_dataset, view
from vla.stimuli.generators import with_paraphrases, with_synthetic
from vla.stimuli.specs import read_spec

T = TypeVar("T")


class Absent(ValueError):
    """Something that a condition needs is not there.

    Attributes:
      command: What makes it; "" where nothing does.
    """

    def __init__(self, why: str, command: str = "") -> None:
        """Why, and the remedy."""
        super().__init__(why)
        self.command = command


def _once(make: Callable[[Any], T]) -> functools.cached_property[T]:
    """A property that is made once, or found once not to be possible: every condition asks for it."""

    @functools.wraps(make)
    def made(gallery: "Gallery") -> T:
        if make.__name__ not in gallery.failed:
            try:
                return make(gallery)
            except ValueError as error:
                gallery.failed[make.__name__] = error
        raise gallery.failed[make.__name__]

    return functools.cached_property(made)


class Gallery:
    """Views of one dataset, each made once.

    Attributes:
      failed: Why parts of it cannot be had, by name.
    """

    def __init__(self, plan: DatasetPlan, study: Study, clip_cache: str, read_only: bool = False) -> None:
        """Nothing is read yet.

        Args:
          plan: Where the dataset is.
          study: Whose seed and choices hold.
          clip_cache: Folder in which CLIP Scores are kept.
          read_only: Keep no tags on disk, and make no CLIP Scores: other captions stand for those that scores which are
            not there yet will choose, in views that no store has.
        """
        self.plan, self._study, self._clip_cache = plan, study, clip_cache
        self._views: dict[tuple[str, str], View | Absent] = {}
        self._read_only = read_only
        self.failed: dict[str, ValueError] = {}
        self._tagger = Tagger(plan.tagger, None if read_only else study.tags or "default")

    @_once
    def dataset(self) -> Dataset:
        """The sampled items.

        Raises:
          Absent: They cannot be read.
        """
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
            why = f"the dataset {plan.role} cannot be read: {error}"
            raise Absent(why, advice.flags(str(error), plan, self._study) or advice.finding(plan)) from error

    def view(self, modality: Modality, member: str) -> View:
        """A single view, as `vla.experiments.experiment.Side.members` names it.

        Raises:
          Absent: It cannot be shown.
        """
        if (modality, member) not in self._views:
            try:
                self._views[modality, member] = self._made(modality, member)
            except Absent as error:
                self._views[modality, member] = error
            except ValueError as error:
                helps = advice.flags(str(error), self.plan, self._study) or advice.masks(str(error), self.plan)
                self._views[modality, member] = Absent(str(error), helps)
        found = self._views[modality, member]
        if isinstance(found, Absent):
            raise found
        return found

    def ids(self, modality: Modality, members: Sequence[str]) -> set[str]:
        """Items that all of these views show."""
        return set.intersection(*(set(self.view(modality, member).ids) for member in members))

    def _made(self, modality: Modality, member: str) -> View:
        if member == LENGTH:
            return view(self.dataset, "language")
        if member.startswith((BEST, WORST)):
            if member not in self._by_clip:
                raise Absent(
                    f"{self.plan.role} has items with fewer than 4 captions among their first "
                    f"{self._study.choices.human_captions} (choices.human_captions): two above the median and two below"
                    " it are compared"
                )
            return self._by_clip[member]
        sources = {given["source"] for _, given in read_spec(member) if "source" in given}
        dataset = self._joined[next(iter(sources))]() if sources & set(self._joined) else self.dataset
        return view(dataset, modality, member, seed=self._study.seed, tagger=self._tagger)

    @property
    def _joined(self) -> dict[str, Callable[[], Dataset]]:
        return {"paraphrase": lambda: self._with_paraphrases, "synthetic": lambda: self._with_synthetic}

    @_once
    def _with_paraphrases(self) -> Dataset:
        made = advice.making("paraphrases", self.plan, self._study.seed)
        if not self.plan.paraphrases:
            raise Absent(
                f"no paraphrases of {self.plan.role} are given (datasets.{self.plan.role}.paraphrases); "
                f"--config.captions={self._study.choices.human_captions} averages human captions alone",
                made,
            )
        try:
            return with_paraphrases(self.dataset, self.plan.paraphrases, missing=self.plan.missing)
        except ValueError as error:
            raise Absent(str(error), advice.flags(str(error), self.plan, self._study) or made) from error

    @_once
    def _with_synthetic(self) -> Dataset:
        made = advice.making("synthetic_images", self.plan, self._study.seed)
        if not self.plan.synthetic:
            raise Absent(
                f"no synthetic images of {self.plan.role} are given (datasets.{self.plan.role}.synthetic)", made
            )
        try:
            return with_synthetic(self.dataset, self.plan.synthetic, missing=self.plan.missing)
        except ValueError as error:
            raise Absent(str(error), advice.flags(str(error), self.plan, self._study) or made) from error

    @_once
    def _by_clip(self) -> dict[str, View]:
        plan, count = self.plan, self._study.choices.human_captions
        if not plan.clip:
            raise Absent(
                f"no CLIP is given for {plan.role} (datasets.{plan.role}.clip)",
                plan.flag("clip", "openai/clip-vit-base-patch32"),
            )
        kept = self._clip_scores()
        # Until they are made, captions in published order stand for those that they will rank: of the same items.
        scores = {item.id: range(len(item.captions), 0, -1) for item in self.dataset.items} if kept is None else kept
        if self._study.choices.clip_groups == "median":
            above, below = above_and_below_median(self.dataset, scores, n_captions=count)
            groups = {BEST: above, WORST: below}
            found = {f"{name}:place={i}": one for name, views in groups.items() for i, one in enumerate(views)}
        else:
            found: dict[str, View] = dict(
                zip((BEST, WORST), best_and_worst(self.dataset, scores, n_captions=count), strict=True)
            )
        if kept is None:
            return {name: dataclasses.replace(one, content=canonical_hash([name, one.content]))
                    for name, one in found.items()}  # fmt: skip
        return found

    def _clip_scores(self) -> Any:
        """CLIP Scores of all captions; None where they are not kept and nothing may be written."""
        source = self.plan.clip
        if self._read_only and _would_be_fetched(source):
            return None
        try:
            clip = load_clip(source)
        except ValueError as error:
            raise Absent(f"CLIP cannot be loaded: {error}") from error
        asked = _Unasked(clip.fingerprint) if self._read_only else clip
        truncate = self._study.choices.long_captions == "truncate"
        try:
            return clip_score(asked, self.dataset, n_captions=None, truncate=truncate, cache=self._clip_cache)
        except _NotKept:
            return None


class _NotKept(Exception):
    """Scores would have to be made."""


class _Unasked:
    """A CLIP by whose scores those that are kept are found, and which makes none."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def image_embeddings(self, images: Any) -> Any:
        raise _NotKept

    def text_embeddings(self, texts: Any, truncate: bool = False) -> Any:
        raise _NotKept


def _would_be_fetched(source: str) -> bool:
    """Whether a source is a Hub id of which the cache lacks something."""
    path = Path(source).expanduser()
    return not path.is_absolute() and not source.startswith(".") and not path.exists() and not is_cached(source)


def groups_of(dataset: Dataset, ids: Sequence[str]) -> list[str] | None:
    """The group of each item, such as its prompt; None where no item has one."""
    known = {item.id: item.group for item in dataset.items}
    if not any(known.values()):
        return None
    # A group and an item may have one name.
    return [f"group {known[id]}" if known[id] else f"item {id}" for id in ids]


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What can be run.

    Attributes:
      items: Ids by (experiment, part), in the dataset's order: those that every condition of the part can show.
      left_out: How many items each condition itself cannot show, by (experiment, condition).
      absent: Why a condition cannot be scored, and the command that helps, by (experiment, condition).
    """

    items: Mapping[tuple[str, str], tuple[str, ...]]
    left_out: Mapping[tuple[str, str], int]
    absent: Mapping[tuple[str, str], tuple[str, str]]

    def usable(self, experiment: Experiment, condition: Condition) -> bool:
        """Whether a condition can be scored."""
        return (experiment.id, condition.name) not in self.absent

    @property
    def reasons(self) -> tuple[str, ...]:
        """What cannot be scored, in words: the conditions of an experiment that fail for one reason together."""
        together: dict[tuple[str, str, str], list[str]] = {}
        for (experiment, condition), (why, command) in self.absent.items():
            together.setdefault((experiment, why, command), []).append(condition)
        return tuple(
            f"{experiment}, {listed(names)}: {why}" + (f" ({command})" if command else "")
            for (experiment, why, command), names in together.items()
        )


def resolve(study: Study, galleries: Mapping[str, Gallery]) -> Resolved:
    """Look at every view; nothing is extracted."""
    items: dict[tuple[str, str], tuple[str, ...]] = {}
    left_out: dict[tuple[str, str], int] = {}
    absent: dict[tuple[str, str], tuple[str, str]] = {}
    for experiment in study.experiments:
        shared: dict[str, set[str]] = {}
        homes: dict[str, str] = {}
        for condition in experiment.conditions:
            gallery, name = galleries[condition.dataset], (experiment.id, condition.name)
            try:
                ids = set(gallery.dataset.ids)
                for side in study.sides(condition):
                    ids &= gallery.ids(side.modality, side.members)
                if condition.items > len(ids):
                    raise Absent(f"{condition.items} items are asked for, and there are {len(ids)}")
            except Absent as error:
                absent[name] = (str(error), error.command)
                continue
            if homes.setdefault(condition.part, condition.dataset) != condition.dataset:
                raise ValueError(
                    f"experiment {experiment.id!r}: part {condition.part!r} has conditions on {homes[condition.part]} "
                    f"and {condition.dataset}; give them different parts"
                )
            left_out[name] = len(gallery.dataset) - len(ids)
            shared[condition.part] = shared.get(condition.part, ids) & ids
        for part, ids in shared.items():
            order = galleries[homes[part]].dataset.ids
            items[experiment.id, part] = tuple(id for id in order if id in ids)
        for condition in experiment.conditions:
            common = len(shared.get(condition.part, ()))
            few = _too_few(study, experiment, condition, common)
            if condition.items > common:
                few = f"{condition.items} items are asked for, and all conditions of its part can show {common}"
            if few and (experiment.id, condition.name) not in absent:
                absent[experiment.id, condition.name] = (few, "")
    return Resolved(items, left_out, absent)


def _too_few(study: Study, experiment: Experiment, condition: Condition, shared: int) -> str:
    """Why items are too few for the folds, of which each must test two; "" where they are enough."""
    folds, count = study.overrides.get("outer_folds", OUTER_FOLDS), condition.items or shared
    split = study.choices.symmetric_items == "test_folds" or any(
        find(name).directed for name in study.metrics_of(experiment)
    )
    if not split or count >= 2 * folds:
        return ""
    fewer = f", or fewer folds ({study.flag('outer_folds', count // 2)})" if count >= 4 else ""
    return (
        f"{count} items that all conditions of its part can show are too few for {folds} folds: at least {2 * folds} "
        f"are needed{fewer}"
    )
