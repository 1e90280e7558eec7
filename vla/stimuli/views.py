"""Shows a dataset to one modality: its captions to language, its images to vision, as they are or manipulated."""

from typing import Any

from vla.checks import check_choice
from vla.records import Dataset, View
from vla.stimuli.caption_manipulations import CAPTION_MANIPULATIONS, apply_steps
from vla.stimuli.image_manipulations import IMAGE_MANIPULATIONS, ManipulatedImage
from vla.stimuli.masks import without_masks
from vla.stimuli.published import captions_of, images_of
from vla.stimuli.specs import ORIGINAL, Step, read_spec, read_steps
from vla.stimuli.tagging import DEFAULT_PIPELINE, Tagger
from vla.stimuli.view_content import make_view

DEFAULT_SEED = 42


def image_view(
    dataset: Dataset,
    manipulation: Any = None,
    *,
    source: str = "photograph",
    index: Any = 0,
    seed: int = DEFAULT_SEED,
    **parameters: Any,
) -> View:
    """An image of each item, as published or manipulated; manipulations are done when an image is opened.

    Args:
      dataset: The items.
      manipulation: None for none; or what `vla.stimuli.specs.read_steps` reads, such as "rotation",
        "rotation:angle=30,corners=mean", "grayscale + blur" or a list, done in that order. The manipulations are in
        `vla.stimuli.IMAGE_MANIPULATIONS`.
      source: "photograph" (of a judgment, the preferred image), "synthetic" or "rejected".
      index: Which of the synthetic images, counted from 0.
      seed: Seed of what is drawn at random, together with the item's id: no item's outcome depends on the others.
      **parameters: Parameters of a single manipulation, such as angle=30.

    Returns:
      The view. Items without anything to show, such as those whose mask of things is empty, are in its `left_out`.

    Raises:
      ValueError: an unknown manipulation, parameter or source; an image file that cannot be read; items without such
        an image; items without masks where masks are needed and `unmasked` is not "drop"; no item left.
    """
    steps = read_steps(manipulation, IMAGE_MANIPULATIONS, **parameters)
    spoken, images = images_of(dataset, source, index)
    # A config gives the index as text; the draws are those of the number.
    drawn_for = [] if source != "synthetic" else ["synthetic", int(index)]
    if not steps:
        name = f"{dataset.name}/{ORIGINAL if source == 'photograph' else spoken}"
        return make_view(name, "vision", dataset.ids, images)
    left_out = without_masks(dataset, steps, source)
    shown = {
        item.id: ManipulatedImage(item.id, image, steps, (seed, item.id, *drawn_for), _masks_for(item, steps))
        for item, image in zip(dataset.items, images, strict=True)
        if item.id not in left_out
    }
    name = _name(dataset, "" if source == "photograph" else spoken, steps, seed)
    return make_view(name, "vision", list(shown), list(shown.values()), left_out)


def caption_view(
    dataset: Dataset,
    index: Any = 0,
    manipulation: Any = None,
    *,
    source: str = "human",
    seed: int = DEFAULT_SEED,
    tagger: Any = DEFAULT_PIPELINE,
    **parameters: Any,
) -> View:
    """A caption of each item, as published or manipulated.

    Args:
      dataset: The items.
      index: Which caption, counted from 0 in published order; or "seeded" for one drawn at random for each item.
      manipulation: None for none; or what `vla.stimuli.specs.read_steps` reads, such as "nouns",
        "nouns:proper=keep" or a list, done in that order. The manipulations are in
        `vla.stimuli.CAPTION_MANIPULATIONS`.
      source: "human" or "paraphrase".
      seed: Seed of what is drawn at random, together with the item's id and the caption.
      tagger: What tells nouns from verbs: the name of a spaCy pipeline, the folder of one, or a
        `vla.stimuli.Tagger`, which also says where tags are kept.
      **parameters: Parameters of a single manipulation, such as proper="keep".

    Returns:
      The view. Items whose caption a manipulation empties are in its `left_out`, unless its `empty` is "keep": then
      the caption is "", which `vla.extract` refuses.

    Raises:
      ValueError: an unknown manipulation, parameter or source; items with too few captions; a pipeline that is absent
        or gives no parts of speech; no item left.
    """
    steps = read_steps(manipulation, CAPTION_MANIPULATIONS, **parameters)
    spoken, captions = captions_of(dataset, source, index, seed)
    if not steps:
        return make_view(f"{dataset.name}/{spoken}", "language", dataset.ids, captions)
    tagger = tagger if isinstance(tagger, Tagger) else Tagger(tagger)
    manipulated = apply_steps(steps, captions, [(seed, id) for id in dataset.ids], tagger)
    shown = {id: caption for id, caption in zip(dataset.ids, manipulated, strict=True) if caption is not None}
    name = _name(dataset, spoken, steps, seed)
    if len(dataset) and not shown:
        raise ValueError(
            f"{name} has no item: the manipulation leaves nothing of any of the {len(dataset)} captions, such as "
            f"{captions[0]!r}. Choose another manipulation, or check that the pipeline is one for their language"
        )
    return make_view(name, "language", list(shown), list(shown.values()), [id for id in dataset.ids if id not in shown])


def view(
    dataset: Dataset,
    modality: str,
    spec: Any = None,
    *,
    seed: int = DEFAULT_SEED,
    tagger: Any = DEFAULT_PIPELINE,
) -> View:
    """The view that a spec names, for configs and tables of conditions.

    Args:
      dataset: The items.
      modality: "vision" or "language".
      spec: As `manipulation` of `image_view` and `caption_view`, with two more parameters, `source` and `index`:
        "original", "rotation:angle=30", "original:source=synthetic,index=2", "nouns:source=paraphrase,index=3".
      seed: As of both.
      tagger: As of `caption_view`.

    Raises:
      ValueError: As both.
    """
    check_choice("modality", modality, ("language", "vision"))
    which: dict[str, Any] = {}
    steps = []
    for name, given in read_spec(spec):
        own = dict(given)
        for setting in ("index", "source"):
            if setting in own and which.setdefault(setting, own[setting]) != own.pop(setting):
                raise ValueError(f"{spec!r} gives two values of {setting}; give it once")
        steps.append({"name": name, **own})
    if modality == "vision":
        return image_view(dataset, steps, seed=seed, **which)
    return caption_view(dataset, manipulation=steps, seed=seed, tagger=tagger, **which)


def _name(dataset: Dataset, source: str, steps: tuple[Step, ...], seed: int) -> str:
    drawn = any(step.manipulation.seeded for step in steps) and seed != DEFAULT_SEED
    done = "+".join(step.label for step in steps) + (f"-seed={seed}" if drawn else "")
    return "/".join(part for part in (dataset.name, source, done) if part)


def _masks_for(item: Any, steps: tuple[Step, ...]) -> Any:
    return item.segmentation if any(step.manipulation.masked for step in steps) else None
