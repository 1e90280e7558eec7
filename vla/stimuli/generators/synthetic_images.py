"""Generates images from every item's captions with a text-to-image model: first a plan, then the images.

Layout: one folder per dataset, checkpoint and settings; in it `<id>/<n>.png`, counted from 0, the first variant of
every caption before the second, and `manifest.json`, written when a run finishes. Each image is written in one step
with a record of its origin, so an interrupted run resumes.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from vla import progress
from vla.checks import check_choice, check_whole_number, listed
from vla.files import safe_name, write_file
from vla.records import Dataset, Item, canonical_hash
from vla.stimuli.generators.client import plan_folder
from vla.stimuli.generators.image_files import png, read_record

MANIFEST = "manifest.json"
FLAGGED = ("redraw", "refuse")
# An image that is flagged this often is not flagged by chance.
_MAX_ATTEMPTS = 6


@runtime_checkable
class ImageModel(Protocol):
    """A text-to-image model, such as `vla.stimuli.generators.StableDiffusion`."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that, with prompt and seed, determine an image."""
        ...

    @property
    def software(self) -> dict[str, str]:
        """Versions of the libraries that compute the images."""
        ...

    def open(self) -> None:
        """Load the model."""
        ...

    def too_long(self, prompts: Sequence[str]) -> list[int]:
        """Indices of the prompts that are too long for the text encoder."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image | str]:
        """An image of each prompt, or the reason why there is none."""
        ...


@dataclasses.dataclass(frozen=True)
class PlannedImage:
    """One image of a plan: its number among those of its item, and among the variants of its caption."""

    item: str
    number: int
    caption: int
    variant: int
    prompt: str
    path: Path

    @property
    def description(self) -> dict[str, Any]:
        """All but the file, as records and the manifest have it."""
        return {name: value for name, value in vars(self).items() if name != "path"}


@dataclasses.dataclass(frozen=True)
class ImagePlan:
    """The images of a dataset, item by item; `pending` are those still to be generated, in batches.

    The settings are JSON values that, with prompts and seeds, determine the images.
    """

    model: ImageModel
    folder: Path
    settings: dict[str, Any]
    images: tuple[PlannedImage, ...]
    pending: tuple[tuple[PlannedImage, ...], ...]

    @property
    def n_pending(self) -> int:
        """Number of images still to be generated."""
        return sum(len(batch) for batch in self.pending)


def plan_images(
    dataset: Dataset,
    model: ImageModel,
    folder: str | os.PathLike[str],
    *,
    n_captions: int = 5,
    variants: int = 2,
    together: int = 1,
    seed: int = 42,
) -> ImagePlan:
    """Plan the images of a dataset; this generates nothing and loads no weights.

    Args:
      dataset: The items.
      model: The text-to-image model, such as `StableDiffusion()`.
      folder: Parent folder of the images.
      n_captions: Number of human captions that are used as prompts, the first ones.
      variants: Images per caption.
      together: Batch size: images of one item that are generated together. It can change the last bits of an image,
        so another value is another set of images; a batch with a missing image is generated again as a whole.
      seed: Seed of the set; with item id, caption and variant it determines the seed of each image.

    Raises:
      ValueError: Items have fewer captions than `n_captions`; a number is invalid; the folder has images that were
        generated from other captions.
    """
    for name, value in (("n_captions", n_captions), ("variants", variants), ("together", together)):
        check_whole_number(name, value)

    settings = {**model.settings, "n_captions": n_captions, "together": together, "seed": seed}
    path = plan_folder(dataset, model.name, settings, folder, n_captions)
    images, pending, stale = [], [], []
    for item in dataset.items:
        of_item = _planned(item, n_captions, variants, path)
        images += of_item
        current = {image.number: _is_current(image) for image in of_item}
        stale += [f"{item.id}/{number}" for number, is_current in current.items() if is_current is False]
        batches = [of_item[start : start + together] for start in range(0, len(of_item), together)]
        pending += [batch for batch in batches if not all(current[image.number] for image in batch)]
    if stale:
        raise ValueError(
            f"{len(stale)} images in {path} were generated from other captions than {dataset.name} has now: "
            f"{listed(stale)}. Delete them to generate them again, or name another folder"
        )
    return ImagePlan(model, path, settings, tuple(images), tuple(map(tuple, pending)))


def generate_images(plan: ImagePlan, *, flagged: str = "redraw", show_progress: bool = False) -> Path:
    """Generate all pending images; returns the folder for `with_synthetic`.

    Args:
      plan: From `plan_images`.
      flagged: Policy for an image that the safety checker blackens or that is of one colour: "redraw" generates it
        again from further seeds, up to five times, and counts it in the manifest; "refuse" leaves it out and ends in an
        error.
      show_progress: Show a progress bar with rate and remaining time.

    Raises:
      ValueError: Prompts are too long; images could not be generated (all others are generated first).
    """
    check_choice("flagged", flagged, FLAGGED)
    failed: list[str] = []
    if plan.pending:
        plan.model.open()
        prompts = [image for batch in plan.pending for image in batch if image.variant == 0]
        long = [prompts[index] for index in plan.model.too_long([image.prompt for image in prompts])]
        if long:
            names = listed([f"caption {image.caption} of {image.item}" for image in long])
            raise ValueError(
                f"{len(long)} captions are too long for {plan.model.name}: {names}. Pass truncate_prompts=True to "
                "truncate them, or leave these items out"
            )
    with progress.bar(f"generating by {plan.model.name}", len(plan.images), show_progress) as advance:
        advance(len(plan.images) - plan.n_pending)
        for batch in plan.pending:
            failed += _generate(plan, batch, _MAX_ATTEMPTS if flagged == "redraw" else 1)
            advance(len(batch))
    if failed:
        remedy = "Change the settings" if flagged == "redraw" else 'Pass flagged="redraw" to use further seeds'
        raise ValueError(
            f"{len(failed)} of the {len(plan.images)} images could not be generated: {listed(failed)}. The others are "
            f"kept in {plan.folder}. {remedy}, or leave these items out"
        )
    _write_manifest(plan)
    return plan.folder


def _planned(item: Item, n_captions: int, variants: int, path: Path) -> list[PlannedImage]:
    """The images of an item: the first variant of every caption, then the second, ..."""
    pairs = [(variant, caption) for variant in range(variants) for caption in range(n_captions)]
    folder = path / safe_name(item.id)
    return [
        PlannedImage(item.id, number, caption, variant, item.captions[caption], folder / f"{number}.png")
        for number, (variant, caption) in enumerate(pairs)
    ]


def _is_current(image: PlannedImage) -> bool | None:
    """Whether the file exists for this prompt (True), exists for another prompt (False), or does not exist (None)."""
    if not image.path.is_file():
        return None
    record = read_record(image.path) or {}
    return [record.get("item"), record.get("prompt")] == [image.item, image.prompt]


def _generate(plan: ImagePlan, batch: tuple[PlannedImage, ...], max_attempts: int) -> list[str]:
    """Generate and write a batch; returns the images that could not be generated, with the reason."""
    seeds = [_seed(plan, image, 0) for image in batch]
    results = plan.model.generate([image.prompt for image in batch], seeds)
    failed = []
    for image, seed, result in zip(batch, seeds, results, strict=True):
        attempt = 0
        # Repeat it alone, so that the image does not depend on which others of the batch were flagged.
        while isinstance(result, str) and attempt + 1 < max_attempts:
            attempt += 1
            seed = _seed(plan, image, attempt)
            (result,) = plan.model.generate([image.prompt], [seed])
        if isinstance(result, str):
            failed.append(f"{image.item}/{image.number} ({result}, generated {attempt + 1} times)")
            continue
        record = {**image.description, "seed": seed, "redrawn": attempt, "settings": plan.settings}
        write_file(image.path, png(result.convert("RGB"), record))
    return failed


def _seed(plan: ImagePlan, image: PlannedImage, attempt: int) -> int:
    """The seed of an image, 63 bits; it depends on no other image."""
    parts = [plan.settings["seed"], image.item, image.caption, image.variant, attempt]
    return int(canonical_hash(parts)[:16], 16) >> 1


def _write_manifest(plan: ImagePlan) -> None:
    """List every image with its prompt and seed, the number of repeated images, settings and library versions."""
    images = []
    for image in plan.images:
        record = read_record(image.path) or {}
        file = image.path.relative_to(plan.folder).as_posix()
        images.append({"file": file, **image.description, "seed": record["seed"], "redrawn": record["redrawn"]})
    redrawn = sum(image["redrawn"] > 0 for image in images)
    manifest = {"settings": plan.settings, "software": plan.model.software, "n_redrawn": redrawn, "images": images}
    write_file(plan.folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
