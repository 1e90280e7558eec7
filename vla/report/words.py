"""Numbers, names, tables and images in the form that the page needs."""

import math
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pandas as pd

NONE = "–"


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A number with `digits` decimals and a true minus sign; a dash if it is missing or not finite."""
    if value is None or not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def p_value(value: Any) -> str:
    """A p-value with four decimals, or "<.0001"; text is kept."""
    if isinstance(value, str):
        return value.replace("0.", ".", 1) or NONE
    if value is None or not math.isfinite(value):
        return NONE
    return "<.0001" if value < 0.0001 else f"{value:.4f}".lstrip("0") if value < 1 else "1"


def figures(numbers: str) -> str:
    """Numbers of figures of the paper in words: "2, 13" becomes "Figures 2 and 13"."""
    *before, last = [number.strip() for number in numbers.split(",")]
    return f"Figures {', '.join(before)} and {last}" if before else f"Figure {last}"


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def anchor(*parts: object) -> str:
    """A unique anchor on the page for some parts: a space becomes "_", any other sign its number."""
    return "--".join(
        "".join(_encoded(letter, text[:index]) for index, letter in enumerate(text)) for text in map(str, parts)
    )


def _encoded(letter: str, before: str) -> str:
    # A single hyphen is kept, because two hyphens separate parts.
    if letter.isalnum() or (letter == "-" and before and before[-1] != "-"):
        return letter
    return "_" if letter == " " else f".{ord(letter):x}."


def table(caption: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as a table of the template, with text in every cell."""
    rows = [[number(v, 3) if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    return {"caption": caption, "columns": list(frame.columns), "rows": rows}


# Characters that need no encoding in a data URL within double quotes.
_PLAIN = " =:/'<>,;()!?&*+-@[]{}|"


def svg_url(path: Path) -> tuple[str, int, int]:
    """An SVG file as a data URL, with its width and height in CSS pixels."""
    text = path.read_text(encoding="utf-8")
    drawing = re.sub(r">\s+<", "><", text[text.index("<svg") :])
    drawing = re.sub(r"\s+", " ", re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", drawing, flags=re.DOTALL))
    size = [float(length) for length in re.findall(r'(?:width|height)="([\d.]+)pt"', drawing)[:2]]
    # Points are 1/72 of an inch, CSS pixels 1/96.
    width, height = (round(length * 96 / 72) for length in size)
    quoted = urllib.parse.quote(drawing.replace('"', "'"), safe=_PLAIN)
    return f"data:image/svg+xml,{quoted}", width, height


def thumbnail_url(encoded: str) -> str:
    """A small image, base64 of a JPEG or PNG file, as a data URL."""
    file_type = "png" if encoded.startswith("iVBOR") else "jpeg"
    return f"data:image/{file_type};base64,{encoded}"
