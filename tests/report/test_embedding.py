"""A drawing as a data URL is the drawing."""

import base64
import urllib.parse
import xml.etree.ElementTree as ElementTree

from vla.report.embedding import svg_url, thumbnail_url

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
