"""A contact sheet: the images and captions of some items in several views, as the models will see them."""

import base64
import dataclasses
import functools
import html
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vla.files import replacing, write_file
from vla.records import Dataset, Modality, View
from vla.stimuli import CAPTION_MANIPULATIONS, IMAGE_MANIPULATIONS, decode_image, view

ALL = "all"

_THREADS = 4


def choose_views(
    dataset: Dataset, image_views: Any = ALL, caption_views: Any = ALL, seed: int = 42, tagger: Any = None
) -> tuple[list[View], dict[str, str]]:
    """The views to show of a dataset.

    Args:
      dataset: The items.
      image_views: Specs as of `vla.stimuli.view`; or "all" for the original and every manipulation that the dataset
        has what is needed for; items without a mask are left out of the views that need one.
      caption_views: The same for captions.
      seed: Of what is drawn at random.
      tagger: As of `vla.stimuli.caption_view`; None for its default.

    Returns:
      The views; and, where all were asked for, those that cannot be shown, with the reason.

    Raises:
      ValueError: A view that was asked for by its spec cannot be shown, or none can; as `vla.stimuli.view`.
    """
    options = {"seed": seed} if tagger is None else {"seed": seed, "tagger": tagger}
    views, absent = [], {}
    asked: tuple[tuple[Modality, Any, Mapping[str, Any]], ...] = (
        ("vision", image_views, IMAGE_MANIPULATIONS),
        ("language", caption_views, CAPTION_MANIPULATIONS),
    )
    for modality, specs, known in asked:
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
    """What a contact sheet shows.

    Attributes:
      title: Of the sheet.
      views: The views, of either modality, in order.
      items: Ids of the items shown.
      spoken: Of each item what is said of its image to those who cannot see it.
      images: Thumbnails by (name of view, id); an item that its view left out has none.
      absent: Why views that were looked for cannot be shown, by what was asked for.
    """

    title: str
    views: tuple[View, ...]
    items: tuple[str, ...]
    spoken: Mapping[str, str]
    images: Mapping[tuple[str, str], Image.Image]
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def shown(self, view: View, id: str) -> Any:
        """The caption or the thumbnail of an item in a view; None where the view left it out."""
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
      dataset: Of which the views are.
      views: Views of both modalities; images are manipulated as for a model.
      n_shown: How many items.
      side: Longer side of a thumbnail in pixels.
      preprocess: A vision model's own preprocessing, `model.preprocess`: images are shown resized and cut as it does,
        its change of the values' scale undone. Without it they are shown as they are given to every model.
      absent: As of `Sheet`.

    Raises:
      ValueError: no views; two of one name; an image that cannot be read or manipulated, by item.
    """
    if not views:
        raise ValueError("There are no views to show: give at least one")
    names = [view.name for view in views]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"The view {twice[0]} is given twice; show each once")
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
    spoken = {item.id: item.captions[0] for item in dataset.items[:n_shown]}
    title = f"{dataset.name}: {len(items)} of {len(dataset)} items"
    return Sheet(title, tuple(views), items, spoken, images, absent or {})


def counts(sheet: Sheet) -> dict[str, list[str]]:
    """Names of views by how many items they show and how many they left out, in words."""
    names: dict[str, list[str]] = {}
    for shown in sheet.views:
        words = f"{len(shown.ids)} items" + (f", {len(shown.left_out)} left out" if shown.left_out else "")
        names.setdefault(words, []).append(shown.name)
    return names


def _as_preprocessed(image: Image.Image, preprocess: Callable[[Sequence[Any]], list[np.ndarray]]) -> Image.Image:
    """What a model's preprocessing makes of an image, on the scale 0..255 again."""
    # Scaling and normalising are the same line for all pixels of a channel: black and white tell which.
    black, white = (Image.new("RGB", image.size, (level,) * 3) for level in (0, 255))
    pixels, low, high = preprocess([image, black, white])
    levels = 255 * (pixels - low) / (high - low)
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0))


_INK, _GREY, _PALE = (27, 27, 27), (90, 90, 90), (235, 235, 235)
_GAP, _TEXT, _LINE = 10, 13, 19

# Below this the captions under the images, and the names above them, would be broken into single words.
_LEAST_WIDTH, _LEAST_COLUMN = 900, 120


def draw_sheet(sheet: Sheet) -> Image.Image:
    """The sheet as an RGB picture: for each item a row of images and its captions below.

    Text is in DejaVu Sans, which has Latin, Greek, Cyrillic and Arabic but no Chinese, Japanese or Korean: captions in
    these are boxes here, and right on the page.
    """
    images = sheet.of("vision")
    side = max((max(image.size) for image in sheet.images.values()), default=0)
    side = max(side, _LEAST_COLUMN)
    width = max(_GAP + len(images) * (side + _GAP), _LEAST_WIDTH)
    strips = [_heading(sheet, width), *(_item(sheet, id, width, side) for id in sheet.items)]
    picture = Image.new("RGB", (width, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height
    return picture


def _heading(sheet: Sheet, width: int) -> Image.Image:
    lines = [(sheet.title, _INK)]
    lines += [(f"{count}: {', '.join(names)}", _GREY) for count, names in counts(sheet).items()]
    lines += [(f"not shown: {name}: {why}", _GREY) for name, why in sheet.absent.items()]
    return _lines(lines, width)


def _item(sheet: Sheet, id: str, width: int, side: int) -> Image.Image:
    """The strip of one item."""
    images, captions = sheet.of("vision"), sheet.of("language")
    said = [(view.name, sheet.shown(view, id)) for view in captions]
    parts = [_lines([(id, _INK)], width)]
    if images:
        parts.append(_images(sheet, id, width, side))
    parts.append(_lines([(f"{name}:  {'left out' if words is None else words}", _INK) for name, words in said], width))
    strip = Image.new("RGB", (width, sum(part.height for part in parts) + _GAP), "white")
    top = 0
    for part in parts:
        strip.paste(part, (0, top))
        top += part.height
    ImageDraw.Draw(strip).line((_GAP, strip.height - 1, width - _GAP, strip.height - 1), fill=_PALE)
    return strip


def _images(sheet: Sheet, id: str, width: int, side: int) -> Image.Image:
    """A row of an item's images, their views' names above."""
    names = [_wrapped(view.name.split("/", 1)[-1], side) for view in sheet.of("vision")]
    above = _LINE * max(len(lines) for lines in names)
    shown = [sheet.shown(view, id) for view in sheet.of("vision")]
    height = max((image.height for image in shown if image is not None), default=side // 2)
    row = Image.new("RGB", (width, above + height + _GAP), "white")
    draw = ImageDraw.Draw(row)
    for place, (image, lines) in enumerate(zip(shown, names, strict=True)):
        left = _GAP + place * (side + _GAP)
        for number, line in enumerate(lines):
            draw.text((left, number * _LINE), line, fill=_GREY, font=_font())
        if image is None:
            draw.rectangle((left, above, left + side - 1, above + height - 1), fill=_PALE)
            draw.text((left + _GAP, above + height // 2 - _TEXT), "left out", fill=_GREY, font=_font())
        else:
            row.paste(image, (left, above))
    return row


def _lines(lines: list[tuple[str, tuple[int, int, int]]], width: int) -> Image.Image:
    """Lines of text, broken where they are too long."""
    broken = [(part, ink) for text, ink in lines for part in _wrapped(text, width - 2 * _GAP)]
    block = Image.new("RGB", (width, len(broken) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(block)
    for number, (text, ink) in enumerate(broken):
        draw.text((_GAP, number * _LINE + _GAP // 2), text, fill=ink, font=_font())
    return block


def _wrapped(text: str, width: int) -> list[str]:
    """A text as lines of at most so many pixels, broken at spaces where it has some."""
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


_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; font-family: ui-monospace, monospace; }
.images { display: flex; flex-wrap: wrap; gap: .6rem; } figure { margin: 0; }
figcaption { font-size: .8rem; color: #444; overflow-wrap: anywhere; } img { display: block; background: #fff; }
.absent { width: 8rem; height: 8rem; display: grid; place-items: center; }
.absent { background: #eee; color: #444; font-size: .8rem; }
table { border-collapse: collapse; margin-top: .4rem; } th, td { text-align: left; vertical-align: top; }
th, td { padding: .1rem .8rem .1rem 0; } th { font-weight: 500; color: #444; font-size: .85rem; white-space: nowrap; }
.left-out { color: #767676; font-style: italic; }
"""


def write_contact_sheet(sheet: Sheet, folder: Path) -> tuple[Path, Path]:
    """Write a sheet as `contact_sheet.png` and as the self-contained page `contact_sheet.html`; returns both."""
    png, page = folder / "contact_sheet.png", folder / "contact_sheet.html"
    picture = draw_sheet(sheet)
    with replacing(png) as temporary:
        picture.save(temporary, "PNG")
    write_file(page, _page(sheet))
    return png, page


def _page(sheet: Sheet) -> str:
    shown = "\n".join(
        f"<tr><th scope='row'>{count}</th><td>{html.escape(', '.join(names))}</td></tr>"
        for count, names in counts(sheet).items()
    )
    absent = "".join(
        f"<li><strong>{html.escape(name)}</strong>: {html.escape(why)}</li>" for name, why in sheet.absent.items()
    )
    not_shown = f"<h2>Not shown</h2><ul>{absent}</ul>" if absent else ""
    items = "\n".join(_section(sheet, id) for id in sheet.items)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(sheet.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(sheet.title)}</h1>
<table>{shown}</table>
{not_shown}
{items}
</main>
</body>
</html>
"""


def _section(sheet: Sheet, id: str) -> str:
    figures = "\n".join(_figure(sheet, view, id) for view in sheet.of("vision"))
    captions = "\n".join(_caption(view, sheet.shown(view, id)) for view in sheet.of("language"))
    images = f"<div class='images'>{figures}</div>" if figures else ""
    table = f"<table>{captions}</table>" if captions else ""
    return f"<section><h2>{html.escape(id)}</h2>{images}{table}</section>"


def _figure(sheet: Sheet, view: View, id: str) -> str:
    image, name = sheet.shown(view, id), html.escape(view.name)
    caption = f"<figcaption>{name}</figcaption>"
    if image is None:
        return f"<figure><div class='absent'>left out</div>{caption}</figure>"
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    alt = html.escape(f"item {id}, shown as {view.name}: {sheet.spoken[id]}", quote=True)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img alt="{alt}" width="{image.width}" height="{image.height}" '
        f'src="data:image/jpeg;base64,{data}">{caption}</figure>'
    )


def _caption(view: View, caption: str | None) -> str:
    said = "<span class='left-out'>left out</span>" if caption is None else html.escape(caption)
    return f"<tr><th scope='row'>{html.escape(view.name)}</th><td>{said}</td></tr>"
