"""Numbers and names as the page prints them."""

import math
import re
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


def anchor(*parts: object) -> str:
    """An id for a place on the page."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", str(part)).strip("-") for part in parts)


def table(caption: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as the template's table: text for every cell."""
    rows = [[number(v, 3) if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    return {"caption": caption, "columns": list(frame.columns), "rows": rows}
