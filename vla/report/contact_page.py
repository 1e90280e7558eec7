"""Writes a contact sheet as a picture and as one self-contained page."""

import base64
import html
import io
from pathlib import Path

from vla.records import View
from vla.report.contact_picture import draw_sheet
from vla.report.contact_sheet import Sheet, counts
from vla.report.whole import whole

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
    whole(png, lambda path: picture.save(path, "PNG"))
    whole(page, lambda path: path.write_text(_page(sheet), encoding="utf-8"))
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
    items = "\n".join(_item(sheet, id) for id in sheet.items)
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


def _item(sheet: Sheet, id: str) -> str:
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
