"""Writes a figure's files, with what made it beside them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla.report.embedding import svg_url
from vla.report.figures.style import save, settle, styled
from vla.report.illustrations import Illustration
from vla.report.whole import whole

# Of the figures' files unless asked otherwise; PDF takes as long as the rest together.
FORMATS = (".svg", ".png")
# Figures wider than this many CSS pixels are scrolled, not shrunk, on a narrow screen.
_BROAD = 560
_MOST_KEYS = 40


def drawn(
    shown: Illustration, folder: Path, command: str, keys: Sequence[str], figure: str = "",
    formats: Sequence[str] = FORMATS,
) -> dict[str, Any]:  # fmt: skip
    """Draw a figure and write `folder/<name>` in every format, its rows as .csv, what made it as .json.

    Args:
      shown: The figure.
      folder: Where.
      command: What draws it again.
      keys: Keys of the store behind it.
      figure: Its number in the paper; "" for none.
      formats: Suffixes, of .svg, .png and .pdf; the .svg is part of the page, so it must be among them.

    Returns:
      What the page's template shows.
    """
    with styled():
        picture = settle(shown.draw())
    for suffix in formats:
        whole(folder / f"{shown.name}{suffix}", lambda path: save(picture, path))
    whole(folder / f"{shown.name}.csv", lambda path: shown.rows.to_csv(path, index=False))
    made = {"command": command, "source": shown.source, "rows": len(shown.rows), "keys": list(keys)}
    described = {"figure": figure, "caption": shown.caption, **made}
    whole(
        folder / f"{shown.name}.json",
        lambda path: path.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"),
    )
    data, width, height = svg_url(folder / f"{shown.name}.svg")
    more = [f"and {len(keys) - _MOST_KEYS} more in {shown.name}.json"] if len(keys) > _MOST_KEYS else []
    return {
        "id": f"figure-{shown.name}",
        "data": data,
        "width": width,
        "height": height,
        "broad": width > _BROAD,
        "alt": shown.spoken,
        "caption": shown.caption,
        "figure": figure,
        "files": [
            {"href": f"../{folder.name}/{shown.name}{suffix}", "words": suffix[1:].upper()}
            for suffix in (*formats, ".csv", ".json")
        ],
        "made": {**made, "keys": [*keys[:_MOST_KEYS], *more]},
    }
