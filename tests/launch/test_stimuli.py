"""The contact sheet from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.stimuli.example_images import smooth
from vla.stimuli import IMAGE_MANIPULATIONS

ROOT = Path(__file__).parents[2]


def run(where: Path, *arguments: str, what: str = "stimuli") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(where / "cache")}
    command = [sys.executable, "-m", f"launch.{what}", *arguments]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=300)


def test_a_folder_of_photographs(tmp_path):
    (tmp_path / "photos").mkdir()
    lines = ["image,caption"]
    for place in range(3):
        smooth(60, 40 + place).save(tmp_path / "photos" / f"{place}.png")
        lines.append(f"{place}.png,a dog sees {place} boats")
    (tmp_path / "photos" / "captions.txt").write_text("\n".join(lines))
    flags = ["--config.dataset=captioned_folder", "--config.directory=photos", "--config.n_items=0"]
    specs = '--config.image_views=("rotation:angle=30 + blur", {"name": "occlusion", "fraction": 0.5})'
    done = run(tmp_path, *flags, specs)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    png, page = map(Path, done.stdout.split())
    assert png == tmp_path / "workdir" / "stimuli" / "contact_sheet.png"
    with Image.open(png) as image:
        assert image.width >= 900
    text = page.read_text(encoding="utf-8")
    assert "photos/rotation-30+blur-4" in text and "photos/occlusion-0.5" in text and text.count("<img") == 3 * 2
    assert "photos/caption_0/scrambled" in text and "photos/caption_0/reversed" in text

    wrong = run(tmp_path, *flags, "--config.image_views=rotate")
    assert wrong.returncode == 1 and wrong.stderr.startswith(
        "error: No image manipulation is called 'rotate'; expected"
    )
    assert "Traceback" not in wrong.stderr and page.read_text(encoding="utf-8") == text


def test_the_benchmark_measures_every_manipulation(tmp_path):
    flags = ("--what=stimuli", "--size=n_items=3", "--size=tagger=xx_absent")
    done = run(tmp_path, *flags, what="benchmark")
    assert done.returncode == 0, done.stderr
    assert "not measured: tagging: The spaCy pipeline 'xx_absent' is not installed" in done.stdout
    figures = json.loads(Path(done.stdout.splitlines()[-1]).read_text())
    assert figures.pop("sizes").startswith("Sizes(")
    images = {name.partition(",")[0] for name in figures if "thread" in name}
    assert images == {"original", *IMAGE_MANIPULATIONS} and {"scrambled", "reversed"} == {*figures} - {
        name for name in figures if "thread" in name
    }
    assert all(seconds > 0 for seconds in figures.values())
