"""Draws a contact sheet as one picture."""

import functools
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vla.report.contact_sheet import Sheet, counts

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
