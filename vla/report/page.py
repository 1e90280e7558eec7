"""One self-contained page: question, settings, summary and heat maps."""

import base64
import dataclasses
import html
from pathlib import Path

import pandas as pd

from vla.experiments.layer_map import LayerMap

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1b1b1b; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: .88rem; } .wide { overflow-x: auto; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { background: #f2f2f2; } td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0 2rem; break-inside: avoid; }
figcaption { font-size: .88rem; color: #444; } .note { background: #fff6dc; padding: .6rem 1rem; }
"""

_QUESTION = """Each cell of a map asks how well one layer of one model tells what one layer of the other model does with
the same items. <em>original</em> pairs every photograph with its own caption; <em>shuffled</em> pairs it with the
caption of another item, so it shows what the measure gives when there is nothing to agree about.
Hatched cells have no score: the layer is the same for every item, as a class token is before the first block."""


def write_page(path: Path, plan: LayerMap, summary: pd.DataFrame, figures: dict[str, Path], note: str = "") -> None:
    """Write the page; figures are embedded, so it needs no other file and no network.

    Args:
      path: The file to write.
      plan: What was compared.
      summary: As from `vla.report.summary.summarise`.
      figures: PNG files by what they show, in words.
      note: What a reader must know before trusting the numbers, shown at the top.
    """
    shown = "\n".join(_figure(words, figure) for words, figure in figures.items())
    chosen = dataclasses.asdict(plan)
    settings = pd.DataFrame({"setting": list(chosen), "value": [str(value) for value in chosen.values()]})
    remark = f'<p class="note" role="note">{html.escape(note)}</p>' if note else ""
    path.write_text(
        f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>vla: layer by layer alignment</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Where, and how strongly, do vision and language models agree about the same things?</h1>
{remark}
<p>{_QUESTION}</p>
<h2>Summary over layer pairs</h2>
<div class="wide">{_table(summary)}</div>
<h2>Maps</h2>
{shown}
<h2>Settings</h2>
<div class="wide">{_table(settings)}</div>
</main>
</body>
</html>
""",
        encoding="utf-8",
    )


def _figure(words: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="Heat maps of {html.escape(words)}, original and shuffled; the numbers are in scores.csv" '
        f'src="data:image/png;base64,{data}"><figcaption>{html.escape(words)}</figcaption></figure>'
    )


def _table(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0, float_format="{:.4f}".format, na_rep="", justify="left")
