"""Numbers and names as the page prints them."""

import base64
import math
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from vla.report.words import NONE, anchor, figures, number, p_value, sentence, svg_url, table, thumbnail_url


@pytest.mark.parametrize(
    ("value", "options", "said"),
    [
        (0.12345, {}, "0.123"),
        (-0.5, {"digits": 1}, "−0.5"),
        (0.5, {"digits": 1, "sign": True}, "+0.5"),
        (-0.0004, {"sign": True}, "−0.000"),
        (math.nan, {}, NONE),
        (math.inf, {}, NONE),
        (None, {}, NONE),
        ("0.5", {}, NONE),
    ],
)
def test_numbers_have_a_true_minus_or_are_a_dash(value, options, said):
    assert number(value, **options) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.04561, ".0456"), (0.00009, "<.0001"), (0.0001, ".0001"), (1.0, "1"), (0.99999, "1.0000"), (math.nan, NONE),
     ("<0.0001", "<.0001"), ("0.0176", ".0176"), ("", NONE)],
)  # fmt: skip
def test_p_values_have_no_leading_zero_and_those_printed_stay_as_they_are(value, said):
    assert p_value(value) == said


@pytest.mark.parametrize(
    ("numbers", "said"),
    [("5A", "Figure 5A"), ("3C-D", "Figure 3C-D"), ("2, 13", "Figures 2 and 13"),
     ("10, 11, 14", "Figures 10, 11 and 14")],
)  # fmt: skip
def test_figures_of_the_paper(numbers, said):
    assert figures(numbers) == said


def test_sentences_and_places():
    assert sentence("vision predicts Language") == "Vision predicts Language" and sentence("") == ""
    assert anchor("E3", "things only", "micro-dinov2") == "E3--things_only--micro-dinov2"
    names = ["a b", "a-b", "a_b", "a+b", "a.b", "a--b", "ab", "-a", "模型", "网络", "+", "", "a.2b.b"]
    pairs = [anchor(one, other) for one in names for other in names]
    assert len(set(pairs)) == len(names) ** 2 and not any(set(pair) & set(" \t\"'&<>#%") for pair in pairs)


def test_tables_are_text():
    shown = table("A caption.", pd.DataFrame({"a": [1.0, math.nan], "b": ["x", 3]}))
    assert shown == {"caption": "A caption.", "columns": ["a", "b"], "rows": [["1.000", "x"], [NONE, "3"]]}


DRAWING = """<?xml version="1.0"?>
<!DOCTYPE svg>
<svg xmlns="http://www.w3.org/2000/svg" width="144pt" height="72.5pt" viewBox="0 0 144 72">
  <metadata><a>when</a></metadata>
  <!-- a comment -->
  <text fill="#ff0000">50 %  &amp; more</text>
</svg>
"""


def test_a_drawing_keeps_its_content_and_size(tmp_path):
    path = tmp_path / "a.svg"
    path.write_text(DRAWING, encoding="utf-8")
    url, width, height = svg_url(path)
    assert (width, height) == (192, 97)
    head, _, body = url.partition(",")
    assert head == "data:image/svg+xml" and not set(body) & set('"#%\n') - {"%"}
    root = ElementTree.fromstring(urllib.parse.unquote(body))
    (text,) = root
    assert text.text == "50 % & more" and text.attrib == {"fill": "#ff0000"} and root.attrib["viewBox"] == "0 0 144 72"


def test_thumbnails_are_called_what_they_are():
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
    jpeg = base64.b64encode(b"\xff\xd8\xff\xe0 rest").decode()
    assert thumbnail_url(png) == f"data:image/png;base64,{png}"
    assert thumbnail_url(jpeg) == f"data:image/jpeg;base64,{jpeg}"
