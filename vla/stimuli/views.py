"""Views: the images or the captions of a dataset, as published or manipulated."""

import dataclasses
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vla.checks import RemediableError, WholeNumber, check_choice, listed, refuse_listed
from vla.records import Dataset, ImageSource, Item, Modality, View, canonical_hash
from vla.stimuli.caption_manipulations import CAPTION_MANIPULATIONS, apply_steps
from vla.stimuli.draws import permutation
from vla.stimuli.image_manipulations import IMAGE_MANIPULATIONS, ManipulatedImage, item_mask, source_content
from vla.stimuli.specs import ORIGINAL, Spec, Step, read_spec, read_steps
from vla.stimuli.tagging import DEFAULT_PIPELINE, Tagger

DEFAULT_SEED = 42
SEEDED = "seeded"
# Sources of stimuli by modality; the first is the default.
SOURCES = {"vision": ("photograph", "rejected", "synthetic"), "language": ("human", "paraphrase")}
# Settings of a spec that say which image or caption is shown.
WHICH = ("index", "source")

# Hashing, masks and most image decoders release Python's lock.
_THREADS = 4

_NEEDED = {
    "things": "Masks of things come from COCO's instances or COCO-Stuff's pixel maps",
    "stuff": "Masks of stuff come from COCO-Stuff's pixel maps (stuffthingmaps) alone, not from instances",
}


@dataclasses.dataclass(frozen=True)
class ViewSpec:
    """Which image or caption of each item is shown, and its manipulations.

    Attributes:
      modality: "vision" or "language".
      source: "photograph" (of a judgment, the preferred image), "synthetic" or "rejected"; "human" or "paraphrase".
      index: Index of the synthetic image or caption; or "seeded" for a caption drawn for each item.
      steps: The manipulations, in order.
    """

    modality: Modality
    source: str
    index: int | str = 0
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        """Check source and index, which may be text; a ValueError says what is accepted."""
        check_choice("source", self.source, SOURCES[self.modality])
        text, is_caption = str(self.index), self.modality == "language"
        if not (is_caption and text == SEEDED):
            if isinstance(self.index, bool) or not (text.isascii() and text.isdigit()):
                expected = "the image's index in its item, from 0"
                if is_caption:
                    expected = f'the caption\'s index in published order, from 0, or "{SEEDED}"'
                raise ValueError(f"index={self.index!r}; expected {expected}")
            object.__setattr__(self, "index", int(text))
        if self.source in ("photograph", "rejected") and self.index:
            raise ValueError(
                f"index={self.index}, but an item has one {self.source}; only synthetic images are counted"
            )

    def __str__(self) -> str:
        """The spec as a config spells it, such as "nouns:index=1", without defaults."""
        which = {}
        if self.index or self.source in ("synthetic", "paraphrase"):
            which["index"] = self.index
        if self.source != SOURCES[self.modality][0]:
            which["source"] = self.source
        parts = [(step.manipulation.name, step.chosen) for step in self.steps] or [(ORIGINAL, {})]
        parts[0] = (parts[0][0], {**parts[0][1], **which})

        def text(name: str, values: Mapping[str, object]) -> str:
            pairs = (f"{key}={f'{v:g}' if isinstance(v, float) else v}" for key, v in sorted(values.items()))
            return f"{name}:{','.join(pairs)}" if values else name

        return " + ".join(text(*part) for part in parts)


def read_view(spec: Spec, modality: str) -> ViewSpec:
    """The view that a spec of a config names; a ValueError for an unknown name or two values of `source` or `index`.

    A spec is as of `vla.stimuli.specs.read_steps`, with two more settings, `source` and `index`: "original",
    "rotation:angle=30", "original:source=synthetic,index=2", "nouns:source=paraphrase,index=3".
    """
    check_choice("modality", modality, SOURCES)
    which: dict[str, Any] = {}
    steps = []
    for name, values in read_spec(spec):
        rest = dict(values)
        for setting in WHICH:
            if setting in rest and which.setdefault(setting, rest[setting]) != rest.pop(setting):
                raise ValueError(f"{spec!r} gives two values of {setting}; give it once")
        steps.append({"name": name, **rest})
    which = {"modality": modality, "source": SOURCES[modality][0], **which}
    return ViewSpec(**which, steps=read_steps(steps, catalogue(modality)))


def catalogue(modality: str) -> Mapping[str, Any]:
    """The manipulations of a modality by name."""
    return IMAGE_MANIPULATIONS if modality == "vision" else CAPTION_MANIPULATIONS


def view(
    dataset: Dataset,
    modality: str,
    spec: ViewSpec | Spec = None,
    *,
    seed: int = DEFAULT_SEED,
    tagger: object = DEFAULT_PIPELINE,
) -> View:
    """The view of a dataset by a `ViewSpec`, or by a spec as of `read_view`; seed and tagger are as of `caption_view`.

    Raises:
      ValueError: As `read_view`, `image_view` and `caption_view`.
    """
    spec = spec if isinstance(spec, ViewSpec) else read_view(spec, modality)
    return _images(dataset, spec, seed) if spec.modality == "vision" else _captions(dataset, spec, seed, tagger)


def image_view(
    dataset: Dataset,
    manipulation: Spec = None,
    *,
    source: str = "photograph",
    index: WholeNumber | str = 0,
    seed: int = DEFAULT_SEED,
    **parameters: Any,
) -> View:
    """An image of each item, as published or manipulated; images are manipulated when they are opened.

    Args:
      dataset: The items.
      manipulation: None for none; or as of `vla.stimuli.specs.read_steps`: "rotation",
        "rotation:angle=30,corners=mean", "grayscale + blur", or a list. `vla.stimuli.IMAGE_MANIPULATIONS` has them all.
      source: "photograph" (of a judgment, the preferred image), "synthetic" or "rejected".
      index: Index of the synthetic image.
      seed: Seed of random draws, together with the item's id: no item depends on the others.
      **parameters: Parameters of a single manipulation, such as angle=30.

    Returns:
      The view. Items that it cannot show, such as those whose mask of things is empty, are in its `left_out`.

    Raises:
      ValueError: An unknown manipulation, parameter or source; an unreadable image; items without such an image or the
        required mask (unless `unmasked` is "drop"); no item left.
    """
    steps = read_steps(manipulation, IMAGE_MANIPULATIONS, **parameters)
    return _images(dataset, ViewSpec("vision", source, index, steps), seed)


def caption_view(
    dataset: Dataset,
    index: WholeNumber | str = 0,
    manipulation: Spec = None,
    *,
    source: str = "human",
    seed: int = DEFAULT_SEED,
    tagger: object = DEFAULT_PIPELINE,
    **parameters: Any,
) -> View:
    """A caption of each item, as published or manipulated.

    Args:
      dataset: The items.
      index: Index of the caption in published order; or "seeded" for one drawn at random for each item.
      manipulation: None for none; or as of `vla.stimuli.specs.read_steps`: "nouns", "nouns:proper=keep", or a list.
        `vla.stimuli.CAPTION_MANIPULATIONS` has them all.
      source: "human" or "paraphrase".
      seed: Seed of random draws, together with the item's id and the caption.
      tagger: For parts of speech: the name or the folder of a spaCy pipeline, or a `vla.stimuli.Tagger`, which also
        sets the cache of tags.
      **parameters: Parameters of a single manipulation, such as proper="keep".

    Returns:
      The view. Items whose caption becomes empty are in its `left_out`; if `empty` is "keep", their caption is "",
      which `vla.extract` refuses.

    Raises:
      ValueError: An unknown manipulation, parameter or source; items with too few captions; a pipeline that is absent
        or does not tag parts of speech; no item left.
    """
    steps = read_steps(manipulation, CAPTION_MANIPULATIONS, **parameters)
    return _captions(dataset, ViewSpec("language", source, index, steps), seed, tagger)


def _images(dataset: Dataset, spec: ViewSpec, seed: int) -> View:
    label, images = _published_images(dataset, spec)
    if not spec.steps:
        return make_view(f"{dataset.name}/{label or ORIGINAL}", "vision", dataset.ids, images)
    left_out = _without_masks(dataset, spec.steps, spec.source)
    key = ["synthetic", spec.index] if spec.source == "synthetic" else []
    needs_mask = any(step.manipulation.masked for step in spec.steps)
    shown = {
        item.id: ManipulatedImage(
            item.id, image, spec.steps, (seed, item.id, *key), item.segmentation if needs_mask else None
        )
        for item, image in zip(dataset.items, images, strict=True)
        if item.id not in left_out
    }
    return make_view(_name(dataset, label, spec.steps, seed), "vision", list(shown), list(shown.values()), left_out)


def _captions(dataset: Dataset, spec: ViewSpec, seed: int, tagger: object) -> View:
    label, captions = _published_captions(dataset, spec, seed)
    if not spec.steps:
        return make_view(f"{dataset.name}/{label}", "language", dataset.ids, captions)
    tagger = tagger if isinstance(tagger, Tagger) else Tagger(tagger)
    manipulated = apply_steps(spec.steps, captions, [(seed, id) for id in dataset.ids], tagger)
    shown = {id: caption for id, caption in zip(dataset.ids, manipulated, strict=True) if caption is not None}
    name = _name(dataset, label, spec.steps, seed)
    if len(dataset) and not shown:
        raise ValueError(
            f"{name} has no item: the manipulation leaves nothing of any of the {len(dataset)} captions, such as "
            f"{captions[0]!r}. Choose another manipulation, or check that the pipeline is one for their language"
        )
    return make_view(name, "language", list(shown), list(shown.values()), [id for id in dataset.ids if id not in shown])


def _name(dataset: Dataset, label: str, steps: tuple[Step, ...], seed: int) -> str:
    is_drawn = any(step.manipulation.seeded for step in steps) and seed != DEFAULT_SEED
    manipulations = "+".join(step.label for step in steps) + (f"-seed={seed}" if is_drawn else "")
    return "/".join(filter(None, (dataset.name, label, manipulations)))


def _published_images(dataset: Dataset, spec: ViewSpec) -> tuple[str, tuple[ImageSource, ...]]:
    """A label of the images ("" for photographs), and one image of each item."""
    if spec.source == "synthetic":
        index = int(spec.index)
        _refuse_short(dataset, index, lambda item: item.synthetic, "synthetic image")
        return f"synthetic_{index}", tuple(item.synthetic[index] for item in dataset.items)
    if spec.source == "photograph":
        return "", tuple(item.image for item in dataset.items)
    lacking = [item.id for item in dataset.items if item.rejected is None]
    refuse_listed(
        lacking,
        f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no rejected image",
        "Only judgments between two images have one: read a dataset of preferences, such as pick_a_pic",
    )
    return spec.source, tuple(item.rejected for item in dataset.items if item.rejected is not None)


def _published_captions(dataset: Dataset, spec: ViewSpec, seed: int) -> tuple[str, tuple[str, ...]]:
    """A label of the captions, and one caption of each item."""
    label, field = ("caption", "captions") if spec.source == "human" else ("paraphrase", "paraphrases")
    captions = operator.attrgetter(field)
    index = 0 if spec.index == SEEDED else int(spec.index)
    _refuse_short(dataset, index, captions, label)
    if spec.index == SEEDED:
        indices = [permutation((seed, item.id, label), len(captions(item)))[0] for item in dataset.items]
        drawn = tuple(captions(item)[index] for item, index in zip(dataset.items, indices, strict=True))
        return f"{label}_{SEEDED}-{seed}", drawn
    return f"{label}_{index}", tuple(captions(item)[index] for item in dataset.items)


def _refuse_short(dataset: Dataset, index: int, values: Callable[[Item], Sequence[Any]], what: str) -> None:
    short = [f"{item.id} ({len(values(item))})" for item in dataset.items if len(values(item)) <= index]
    if short:
        fewest = min(len(values(item)) for item in dataset.items)
        remedy = f"Use an index below {fewest}" if fewest else f"Add them to the dataset (an item has no {what})"
        raise ValueError(
            f"{what} index {index} asks for {index + 1} {what}s an item, but {len(short)} of the {len(dataset)} items "
            f"of {dataset.name} have fewer: {listed(short)}. {remedy}, or leave these items out"
        )


def _without_masks(dataset: Dataset, steps: Sequence[Step], source: str) -> list[str]:
    """Ids of items without a mask that a step needs, or with an empty one, according to the policies of the step."""
    left_out: set[str] = set()
    for number, step in enumerate(steps):
        name, mask = step.manipulation.name, step.manipulation.masked
        if not mask:
            continue
        moved = [earlier.manipulation.name for earlier in steps[:number] if earlier.manipulation.moves]
        if moved:
            raise ValueError(
                f"{name} after {', '.join(moved)} would apply the photograph's mask to pixels that have moved; put "
                f"{name} before it"
            )
        if source != "photograph":
            raise ValueError(f"{name} needs masks, which only photographs have; source={source!r} has none")
        states = _mask_states(dataset, mask)
        lacking = [id for id, state in states.items() if state is None]
        if lacking and (step.policies["unmasked"] == "refuse" or len(lacking) == len(dataset)):
            drop = ', or pass unmasked="drop" to leave these items out' if len(lacking) < len(dataset) else ""
            raise RemediableError(
                f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no mask of {mask}, which "
                f"{name} needs: {listed(lacking)}. {_NEEDED[mask]}: read the dataset with them{drop}",
                {"unmasked": "drop"} if drop else {"masks": mask},
            )
        left_out |= set(lacking)
        if step.policies["empty"] == "drop":
            left_out |= {id for id, state in states.items() if state is False}
    if len(dataset) and len(left_out) == len(dataset):
        raise ValueError(
            f'no item of {dataset.name} is left: all {len(dataset)} masks are empty. Pass empty="keep" to show them '
            "filled all over, or choose other items"
        )
    return [id for id in dataset.ids if id in left_out]


def _mask_states(dataset: Dataset, which: str) -> dict[str, bool | None]:
    """For each item whether its mask shows anything; None where there is no mask."""

    def state(item: Item) -> bool | None:
        if item.segmentation is None:
            return None
        mask = item_mask(item.id, item.image, item.segmentation, which)
        return None if mask is None else bool(mask.any())

    with ThreadPoolExecutor(_THREADS) as threads:
        return dict(zip(dataset.ids, threads.map(state, dataset.items), strict=True))


def make_view(
    name: str, modality: Modality, ids: Sequence[str], stimuli: Sequence[Any], left_out: Iterable[str] = ()
) -> View:
    """A view of these stimuli.

    Its `content` covers ids, order, and captions or the bytes of image files, but not paths: the same images in another
    folder are the same view. A ValueError names an image that cannot be read.
    """
    seen = list(stimuli) if modality == "language" else _contents(name, ids, stimuli)
    content = canonical_hash({"modality": modality, "ids": list(ids), "stimuli": seen})
    return View(name, modality, tuple(ids), tuple(stimuli), content, tuple(left_out))


def _contents(name: str, ids: Sequence[str], images: Sequence[ImageSource]) -> list[str]:
    def content(image: ImageSource) -> str | OSError:
        try:
            return source_content(image)
        except OSError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as threads:
        results = list(threads.map(content, images))
    unreadable = [
        f"{id} ({error.filename or image}: {error.strerror or error})"
        for id, image, error in zip(ids, images, results, strict=True)
        if isinstance(error, OSError)
    ]
    refuse_listed(
        unreadable,
        f"{len(unreadable)} of the {len(images)} images of {name} cannot be opened",
        "Put the files there, or leave these items out",
    )
    return [result for result in results if isinstance(result, str)]


def restricted(view: View, chosen: Mapping[str, str], name: str | None = None) -> View:
    """A view of the ids in `chosen`, each with the stimulus of the id that `chosen` maps it to.

    Ids that are no longer shown join those that the view left out.
    """
    stimuli = dict(zip(view.ids, view.stimuli, strict=True))
    left_out = (*view.left_out, *(id for id in view.ids if id not in chosen))
    shown = [stimuli[source] for source in chosen.values()]
    return make_view(name or view.name, view.modality, list(chosen), shown, left_out)


def common_items(views: Sequence[View]) -> tuple[tuple[View, ...], dict[str, tuple[str, ...]]]:
    """Views restricted to the items that all of them show, for conditions that are compared.

    A caption without nouns cannot be shown as nouns; its item must also leave the view of the originals.

    Returns:
      The views, with items in the order of the first; and, for each item that is lost, the names of the views that
      could not show it.

    Raises:
      ValueError: No views, or no item that all of them show.
    """
    if not views:
        raise ValueError("There are no views to compare: give at least one")
    shared = set(views[0].ids).intersection(*(view.ids for view in views))
    if not shared:
        raise ValueError(
            f"{', '.join(view.name for view in views)} have no item in common; give views of the same dataset"
        )
    kept = {id: id for id in views[0].ids if id in shared}
    lost = [id for view in views for id in (*view.ids, *view.left_out) if id not in shared]
    unable = {id: tuple(dict.fromkeys(view.name for view in views if id not in view.ids)) for id in lost}
    return tuple(view if view.ids == tuple(kept) else restricted(view, kept) for view in views), unable
