"""Numbers and names as the page prints them."""

import math
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pandas as pd

NONE = "–"


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A number with so many decimals, a true minus, a dash where there is none."""
    if value is None or not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def p_value(value: Any) -> str:
    """A p-value: four decimals, "<.0001" below; text as it is."""
    if isinstance(value, str):
        return value.replace("0.", ".", 1) or NONE
    if value is None or not math.isfinite(value):
        return NONE
    return "<.0001" if value < 0.0001 else f"{value:.4f}".lstrip("0") if value < 1 else "1"


def figures(numbers: str) -> str:
    """Numbers of the paper's figures in words: "2, 13" as "Figures 2 and 13"."""
    each = [one.strip() for one in numbers.split(",")]
    return f"Figures {', '.join(each[:-1])} and {each[-1]}" if len(each) > 1 else f"Figure {numbers}"


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def anchor(*parts: object) -> str:
    """An id for a place on the page, another one for other parts: a space is "_", any further sign its number."""
    return "--".join(
        "".join(_spelled(letter, text[:place]) for place, letter in enumerate(text)) for text in map(str, parts)
    )


def _spelled(letter: str, before: str) -> str:
    # One hyphen at a time is itself, so that two tell the parts apart.
    if letter.isalnum() or (letter == "-" and before and before[-1] != "-"):
        return letter
    return "_" if letter == " " else f".{ord(letter):x}."


def table(caption: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as the template's table: text for every cell."""
    rows = [[number(v, 3) if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    return {"caption": caption, "columns": list(frame.columns), "rows": rows}


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
