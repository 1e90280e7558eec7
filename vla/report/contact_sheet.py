"""A contact sheet: images and captions of the first items of a dataset in several views, as models are shown them."""

import base64
import dataclasses
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vla.files import write_file
from vla.records import Dataset, Modality, View
from vla.stimuli.caption_manipulations import CAPTION_MANIPULATIONS
from vla.stimuli.image_manipulations import IMAGE_MANIPULATIONS
from vla.stimuli.images import decode_image
from vla.stimuli.views import view

ALL = "all"

_THREADS = 4


def choose_views(
    dataset: Dataset, image_views: Any = ALL, caption_views: Any = ALL, seed: int = 42, tagger: Any = None
) -> tuple[list[View], dict[str, str]]:
    """The views to show of a dataset.

    Args:
      dataset: The items.
      image_views: Specs as of `vla.stimuli.view`; or "all" for the original and every manipulation that the dataset
        allows; items without a mask are left out of views that need one.
      caption_views: The same for captions.
      seed: Seed of random manipulations.
      tagger: As of `vla.stimuli.caption_view`; None for its default.

    Returns:
      The views; and, for "all", the reasons why views cannot be shown, by name.

    Raises:
      ValueError: A view given by its spec cannot be shown; as `vla.stimuli.view`.
    """
    options = {"seed": seed} if tagger is None else {"seed": seed, "tagger": tagger}
    views, absent = [], {}
    requested: tuple[tuple[Modality, Any, Mapping[str, Any]], ...] = (
        ("vision", image_views, IMAGE_MANIPULATIONS),
        ("language", caption_views, CAPTION_MANIPULATIONS),
    )
    for modality, specs, known in requested:
        if specs != ALL:
            listed = [specs] if isinstance(specs, str | Mapping) else specs
            views += [view(dataset, modality, spec, **options) for spec in listed]
            continue
        views.append(view(dataset, modality, **options))
        for name, manipulation in known.items():
            spec = {"name": name, **({"unmasked": "drop"} if "unmasked" in manipulation.policies else {})}
            try:
                views.append(view(dataset, modality, spec, **options))
            except ValueError as error:
                absent[name] = str(error)
    return views, absent


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The content of a contact sheet.

    Attributes:
      title: Title of the sheet.
      views: The views, of either modality, in order.
      items: Ids of the items shown.
      descriptions: The text for screen readers of each item.
      images: Thumbnails by (name of view, id), except of items that the view leaves out.
      absent: Why views cannot be shown, by name.
    """

    title: str
    views: tuple[View, ...]
    items: tuple[str, ...]
    descriptions: Mapping[str, str]
    images: Mapping[tuple[str, str], Image.Image]
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def shown(self, view: View, id: str) -> Any:
        """The caption or the thumbnail of an item in a view; None if the view leaves it out."""
        if view.modality == "vision":
            return self.images.get((view.name, id))
        return dict(zip(view.ids, view.stimuli, strict=True)).get(id)

    def of(self, modality: str) -> list[View]:
        """The views of a modality."""
        return [view for view in self.views if view.modality == modality]


def contact_sheet(
    dataset: Dataset,
    views: Sequence[View],
    n_shown: int = 8,
    side: int = 192,
    preprocess: Callable[[Sequence[Any]], list[np.ndarray]] | None = None,
    absent: Mapping[str, str] | None = None,
) -> Sheet:
    """Open the images of the first items of a dataset in every view.

    Args:
      dataset: The dataset of the views.
      views: Views of both modalities; images are manipulated as for a model.
      n_shown: Number of items.
      side: Longer side of a thumbnail in pixels.
      preprocess: The preprocessing of a vision model, `model.preprocess`: images are resized and cropped as by it, with
        its normalisation undone. Without it they are shown as they are passed to every model.
      absent: As of `Sheet`.

    Raises:
      ValueError: No views; two views with the same name; an image that cannot be read or manipulated, by item.
    """
    if not views:
        raise ValueError("no views to show: name at least one")
    names = [view.name for view in views]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the view {twice[0]} is listed twice; list each once")
    items = dataset.ids[:n_shown]
    wanted = [
        (view.name, id, image)
        for view in views
        if view.modality == "vision"
        for id, image in zip(view.ids, view.stimuli, strict=True)
        if id in set(items)
    ]

    def thumbnail(task: tuple[str, str, Any]) -> Image.Image:
        image = decode_image(task[2], task[1])
        if preprocess is not None:
            image = _as_preprocessed(image, preprocess)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return image

    with ThreadPoolExecutor(_THREADS) as threads:
        images = dict(zip([task[:2] for task in wanted], threads.map(thumbnail, wanted), strict=True))
    descriptions = {item.id: item.captions[0] for item in dataset.items[:n_shown]}
    title = f"{dataset.name}: {len(items)} of {len(dataset)} items"
    return Sheet(title, tuple(views), items, descriptions, images, absent or {})


def counts(sheet: Sheet) -> dict[str, list[str]]:
    """Names of views by their numbers of items and of items left out, in words."""
    names: dict[str, list[str]] = {}
    for shown in sheet.views:
        words = f"{len(shown.ids)} items" + (f", {len(shown.left_out)} left out" if shown.left_out else "")
        names.setdefault(words, []).append(shown.name)
    return names


def _as_preprocessed(image: Image.Image, preprocess: Callable[[Sequence[Any]], list[np.ndarray]]) -> Image.Image:
    """An image after the preprocessing of a model, scaled back to 0..255."""
    # Scaling and normalisation are linear per channel, so the values of black and white determine them.
    black, white = (Image.new("RGB", image.size, (level,) * 3) for level in (0, 255))
    pixels, low, high = preprocess([image, black, white])
    levels = 255 * (pixels - low) / (high - low)
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0))


_INK, _GREY, _PALE = (27, 27, 27), (90, 90, 90), (235, 235, 235)
_GAP, _TEXT, _LINE = 10, 13, 19

# Minimum widths, so that captions and names of views have several words per line.
_LEAST_WIDTH, _LEAST_COLUMN = 900, 120


def draw_sheet(sheet: Sheet) -> Image.Image:
    """The sheet as an RGB image: for each item a row of images with its captions below.

    The font, DejaVu Sans, has Latin, Greek, Cyrillic and Arabic but no Chinese, Japanese or Korean letters: captions in
    these languages are boxes here and correct on the page.
    """
    images = sheet.of("vision")
    side = max((max(image.size) for image in sheet.images.values()), default=0)
    side = max(side, _LEAST_COLUMN)
    width = max(_GAP + len(images) * (side + _GAP), _LEAST_WIDTH)
    return _stacked([_heading(sheet, width), *(_item(sheet, id, width, side) for id in sheet.items)])


def _stacked(strips: Sequence[Image.Image], room: int = 0) -> Image.Image:
    """Strips of one width below each other, and so many further rows of pixels."""
    stack = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips) + room), "white")
    top = 0
    for strip in strips:
        stack.paste(strip, (0, top))
        top += strip.height
    return stack


def _heading(sheet: Sheet, width: int) -> Image.Image:
    lines = [(sheet.title, _INK)]
    lines += [(f"{count}: {', '.join(names)}", _GREY) for count, names in counts(sheet).items()]
    lines += [(f"not shown: {name}: {why}", _GREY) for name, why in sheet.absent.items()]
    return _lines(lines, width)


def _item(sheet: Sheet, id: str, width: int, side: int) -> Image.Image:
    """The strip of one item."""
    texts = [(view.name, sheet.shown(view, id)) for view in sheet.of("language")]
    parts = [_lines([(id, _INK)], width)]
    if sheet.of("vision"):
        parts.append(_images(sheet, id, width, side))
    parts.append(_lines([(f"{name}:  {'left out' if words is None else words}", _INK) for name, words in texts], width))
    strip = _stacked(parts, _GAP)
    ImageDraw.Draw(strip).line((_GAP, strip.height - 1, width - _GAP, strip.height - 1), fill=_PALE)
    return strip


def _images(sheet: Sheet, id: str, width: int, side: int) -> Image.Image:
    """A row of the images of an item, with the names of their views above."""
    names = [_wrapped(view.name.split("/", 1)[-1], side) for view in sheet.of("vision")]
    above = _LINE * max(len(lines) for lines in names)
    shown = [sheet.shown(view, id) for view in sheet.of("vision")]
    height = max((image.height for image in shown if image is not None), default=side // 2)
    row = Image.new("RGB", (width, above + height + _GAP), "white")
    draw = ImageDraw.Draw(row)
    for column, (image, lines) in enumerate(zip(shown, names, strict=True)):
        left = _GAP + column * (side + _GAP)
        for number, line in enumerate(lines):
            draw.text((left, number * _LINE), line, fill=_GREY, font=_font())
        if image is None:
            draw.rectangle((left, above, left + side - 1, above + height - 1), fill=_PALE)
            draw.text((left + _GAP, above + height // 2 - _TEXT), "left out", fill=_GREY, font=_font())
        else:
            row.paste(image, (left, above))
    return row


def _lines(lines: list[tuple[str, tuple[int, int, int]]], width: int) -> Image.Image:
    """Lines of text, wrapped to the width."""
    broken = [(part, ink) for text, ink in lines for part in _wrapped(text, width - 2 * _GAP)]
    block = Image.new("RGB", (width, len(broken) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(block)
    for number, (text, ink) in enumerate(broken):
        draw.text((_GAP, number * _LINE + _GAP // 2), text, fill=ink, font=_font())
    return block


def _wrapped(text: str, width: int) -> list[str]:
    """A text wrapped to lines of at most `width` pixels, at spaces if possible."""
    lines, line = [], ""
    for word in text.split() or [""]:
        longer = f"{line} {word}" if line else word
        if line and _font().getlength(longer) > width:
            lines.append(line)
            longer = word
        while _font().getlength(longer) > width and len(longer) > 1:
            fits = max(n for n in range(1, len(longer)) if n == 1 or _font().getlength(longer[:n]) <= width)
            lines.append(longer[:fits])
            longer = longer[fits:]
        line = longer
    return [*lines, line]


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), _TEXT)


def write_contact_sheet(sheet: Sheet, folder: Path) -> tuple[Path, Path]:
    """Write a sheet as `contact_sheet.png` and as the self-contained page `contact_sheet.html`; returns both paths."""
    data = io.BytesIO()
    draw_sheet(sheet).save(data, "PNG")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vla.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("contact_sheet.html.j2").render(
        sheet=sheet, counts=counts(sheet), data_url=_data_url
    )
    return write_file(folder / "contact_sheet.png", data.getvalue()), write_file(folder / "contact_sheet.html", page)


def _data_url(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
