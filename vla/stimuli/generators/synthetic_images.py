"""Pictures drawn from every item's captions: what is still to be drawn, and the drawing.

Layout under the folder: one folder per dataset, checkpoint and settings; in it `<id>/<n>.png`, counted from 0, the
first variant of every caption before the second; and `manifest.json`, which the last finished run has written. Each
picture is put in place whole and says itself what it was drawn from, so that a killed run goes on where it was.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from vla import progress
from vla.records import Dataset, Item, canonical_hash, listed
from vla.stimuli.generators.files import safe_name, write_whole
from vla.stimuli.generators.picture_file import read_record, write_picture

MANIFEST = "manifest.json"
FLAGGED = ("redraw", "refuse")
# A picture that fails so often fails for another reason than chance.
_MOST_DRAWS = 6


@runtime_checkable
class Painter(Protocol):
    """Draws pictures from prompts, such as `vla.stimuli.generators.StableDiffusion`."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that, with prompt and seed, determine a picture."""
        ...

    @property
    def software(self) -> dict[str, str]:
        """Versions of the libraries behind it."""
        ...

    def open(self) -> None:
        """Make ready to draw."""
        ...

    def too_long(self, prompts: Sequence[str]) -> list[int]:
        """Places of the prompts that would not be read to their end."""
        ...

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image | str]:
        """A picture of each prompt, or why there is none."""
        ...


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One picture.

    Attributes:
      item: The item's id.
      number: The picture's place among those of its item, from 0.
      caption: Which caption is its prompt, from 0.
      variant: Which picture of that caption, from 0.
      prompt: The caption.
      path: Where the picture is kept.
    """

    item: str
    number: int
    caption: int
    variant: int
    prompt: str
    path: Path


@dataclasses.dataclass(frozen=True)
class ImagePlan:
    """What is to be drawn by whom.

    Attributes:
      painter: Who draws.
      folder: Where the pictures are kept.
      settings: What determines the pictures beside prompts and seeds, as JSON values.
      drawings: Every picture, item by item.
      pending: Those still to be drawn, in the groups that are drawn together.
    """

    painter: Painter
    folder: Path
    settings: dict[str, Any]
    drawings: tuple[Drawing, ...]
    pending: tuple[tuple[Drawing, ...], ...]

    @property
    def n_pending(self) -> int:
        """Pictures still to be drawn."""
        return sum(len(group) for group in self.pending)


def plan_images(
    dataset: Dataset,
    painter: Painter,
    folder: str | os.PathLike[str],
    *,
    n_captions: int = 5,
    variants: int = 2,
    together: int = 1,
    seed: int = 42,
) -> ImagePlan:
    """What there is to draw for a dataset; draws nothing and loads no weights.

    Args:
      dataset: The items.
      painter: Who draws, such as `StableDiffusion()`.
      folder: Where everything is kept.
      n_captions: How many human captions serve as prompts, the first ones.
      variants: Pictures per caption.
      together: Pictures of an item that are drawn in one batch. It can change the last bits of a picture, so another
        number is another set; a batch that lacks a picture is drawn whole again.
      seed: Of the set; a picture's own seed follows from it, the item's id, the caption's number and the variant.

    Raises:
      ValueError: items have fewer captions than `n_captions`; a bad number; pictures in the folder that were drawn
        from other captions.
    """
    if min(n_captions, variants, together) < 1:
        raise ValueError(f"n_captions={n_captions}, variants={variants}, together={together}; expected at least 1")
    short = [f"{item.id} ({len(item.captions)})" for item in dataset.items if len(item.captions) < n_captions]
    if short:
        raise ValueError(
            f"{len(short)} of the {len(dataset)} items of {dataset.name} have fewer than {n_captions} captions: "
            f"{listed(short)}. Lower n_captions, or leave these items out"
        )
    settings = {**painter.settings, "n_captions": n_captions, "together": together, "seed": seed}
    name = safe_name(f"{dataset.name}--{painter.name}".replace("/", "_"))
    place = Path(folder).expanduser().absolute() / f"{name}--{canonical_hash(settings)[:8]}"
    drawings, pending, stale = [], [], []
    for item in dataset.items:
        own = _drawings(item, n_captions, variants, place)
        drawings += own
        there = {drawing.number: _there(drawing) for drawing in own}
        stale += [f"{item.id}/{number}" for number, is_current in there.items() if is_current is False]
        groups = [own[start : start + together] for start in range(0, len(own), together)]
        pending += [group for group in groups if not all(there[drawing.number] for drawing in group)]
    if stale:
        raise ValueError(
            f"{len(stale)} pictures in {place} were drawn from other captions than {dataset.name} now has: "
            f"{listed(stale)}. Delete them to draw them anew, or give another folder"
        )
    return ImagePlan(painter, place, settings, tuple(drawings), tuple(map(tuple, pending)))


def generate_images(plan: ImagePlan, *, flagged: str = "redraw", show_progress: bool = False) -> Path:
    """Draw everything that is pending; returns the folder that `with_synthetic` takes.

    Args:
      plan: From `plan_images`.
      flagged: What becomes of a picture that the safety checker blackens or that is of one colour: "redraw" draws it
        anew from a further seed, as often as five times, and counts it in the manifest; "refuse" leaves it out and
        ends in an error that names it.
      show_progress: Show a bar with rate and time left.

    Raises:
      ValueError: prompts that are too long; pictures that could not be had, after all others are drawn.
    """
    if flagged not in FLAGGED:
        raise ValueError(f"flagged={flagged!r}; expected one of {', '.join(FLAGGED)}")
    failed: list[str] = []
    if plan.pending:
        plan.painter.open()
        _refuse_long(plan)
    with progress.bar(f"drawing by {plan.painter.name}", len(plan.drawings), show_progress) as advance:
        advance(len(plan.drawings) - plan.n_pending)
        for group in plan.pending:
            failed += _draw(plan, group, _MOST_DRAWS if flagged == "redraw" else 1)
            advance(len(group))
    if failed:
        remedy = "" if flagged == "redraw" else ' Pass flagged="redraw" to draw them from further seeds, or'
        raise ValueError(
            f"{len(failed)} of the {len(plan.drawings)} pictures could not be drawn: {listed(failed)}. The others are "
            f"kept in {plan.folder}.{remedy or ' Change the settings, or'} leave these items out"
        )
    _write_manifest(plan)
    return plan.folder


def _drawings(item: Item, n_captions: int, variants: int, place: Path) -> list[Drawing]:
    """The pictures of an item: the first variant of every caption, then the second, ..."""
    pairs = [(variant, caption) for variant in range(variants) for caption in range(n_captions)]
    folder = place / safe_name(item.id)
    return [
        Drawing(item.id, number, caption, variant, item.captions[caption], folder / f"{number}.png")
        for number, (variant, caption) in enumerate(pairs)
    ]


def _there(drawing: Drawing) -> bool | None:
    """Whether the picture is there (True), is one of another prompt (False), or is not there (None)."""
    if not drawing.path.is_file():
        return None
    record = read_record(drawing.path) or {}
    return [record.get("item"), record.get("prompt")] == [drawing.item, drawing.prompt]


def _refuse_long(plan: ImagePlan) -> None:
    drawings = [drawing for group in plan.pending for drawing in group if drawing.variant == 0]
    long = [drawings[place] for place in plan.painter.too_long([drawing.prompt for drawing in drawings])]
    if long:
        raise ValueError(
            f"{len(long)} captions are longer than {plan.painter.name} reads: "
            f"{listed([f'caption {drawing.caption} of {drawing.item}' for drawing in long])}. Pass "
            "truncate_prompts=True to have them cut off, or leave these items out"
        )


def _draw(plan: ImagePlan, group: tuple[Drawing, ...], most_draws: int) -> list[str]:
    """Draw and keep a group; returns what could not be drawn, and why."""
    seeds = [_seed(plan, drawing, 0) for drawing in group]
    failed = []
    for drawing, seed, image in zip(
        group, seeds, plan.painter.paint([drawing.prompt for drawing in group], seeds), strict=True
    ):
        draw = 0
        # Anew and alone, so that the picture does not depend on who else was flagged.
        while isinstance(image, str) and draw + 1 < most_draws:
            draw += 1
            seed = _seed(plan, drawing, draw)
            (image,) = plan.painter.paint([drawing.prompt], [seed])
        if isinstance(image, str):
            failed.append(f"{drawing.item}/{drawing.number} ({image}, drawn {draw + 1} times)")
            continue
        record = {**_words(drawing), "seed": seed, "redrawn": draw, "settings": plan.settings}
        write_picture(drawing.path, image, record)
    return failed


def _seed(plan: ImagePlan, drawing: Drawing, draw: int) -> int:
    """The picture's own seed, 63 bits; it depends on no other picture."""
    parts = [plan.settings["seed"], drawing.item, drawing.caption, drawing.variant, draw]
    return int(canonical_hash(parts)[:16], 16) >> 1


def _words(drawing: Drawing) -> dict[str, Any]:
    return {name: getattr(drawing, name) for name in ("item", "number", "caption", "variant", "prompt")}


def _write_manifest(plan: ImagePlan) -> None:
    """List every picture with its prompt and seed, how many were redrawn, and what they were made with."""
    images = []
    for drawing in plan.drawings:
        record = read_record(drawing.path) or {}
        file = drawing.path.relative_to(plan.folder).as_posix()
        images.append({"file": file, **_words(drawing), "seed": record["seed"], "redrawn": record["redrawn"]})
    redrawn = sum(image["redrawn"] > 0 for image in images)
    manifest = {"settings": plan.settings, "software": plan.painter.software, "n_redrawn": redrawn, "images": images}
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    write_whole(plan.folder / MANIFEST, text.encode())
