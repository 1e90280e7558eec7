"""Figures and thumbnails as part of a page."""

import re
import urllib.parse
from pathlib import Path

# What a data URL in double quotes may hold as it is.
_PLAIN = " =:/'<>,;()!?&*+-@[]{}|"


def svg_url(path: Path) -> tuple[str, int, int]:
    """A drawing as a data URL, with its width and height in CSS pixels."""
    text = path.read_text(encoding="utf-8")
    drawing = re.sub(r">\s+<", "><", text[text.index("<svg") :])
    drawing = re.sub(r"\s+", " ", re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", drawing, flags=re.DOTALL))
    size = [float(found) for found in re.findall(r'(?:width|height)="([\d.]+)pt"', drawing)[:2]]
    # Points are 1/72 of an inch, CSS pixels 1/96.
    width, height = (round(length * 96 / 72) for length in size)
    quoted = urllib.parse.quote(drawing.replace('"', "'"), safe=_PLAIN)
    return f"data:image/svg+xml,{quoted}", width, height


def thumbnail_url(encoded: str) -> str:
    """A small image, base64 of a JPEG or PNG file, as a data URL."""
    kind = "png" if encoded.startswith("iVBOR") else "jpeg"
    return f"data:image/{kind};base64,{encoded}"
