"""The contact sheet from the command line."""

import json
from pathlib import Path

from PIL import Image

from tests.stimuli.example_images import smooth
from vla.stimuli import IMAGE_MANIPULATIONS


def test_a_folder_of_photographs(command, tmp_path):
    (tmp_path / "photos").mkdir()
    lines = ["image,caption"]
    for place in range(3):
        smooth(60, 40 + place).save(tmp_path / "photos" / f"{place}.png")
        lines.append(f"{place}.png,a dog sees {place} boats")
    (tmp_path / "photos" / "captions.txt").write_text("\n".join(lines))
    flags = ["--config.dataset=captioned_folder", "--config.directory=photos", "--config.n_items=0"]
    specs = '--config.image_views=("rotation:angle=30 + blur", {"name": "occlusion", "fraction": 0.5})'
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = command(tmp_path, "launch.stimuli", *flags, specs, **cache)
    assert "Warning" not in done.stderr, done.stderr
    png, page = map(Path, done.stdout.split())
    assert png == tmp_path / "workdir" / "stimuli" / "contact_sheet.png"
    with Image.open(png) as image:
        assert image.width >= 900
    text = page.read_text(encoding="utf-8")
    assert "photos/rotation-30+blur-4" in text and "photos/occlusion-0.5" in text and text.count("<img") == 3 * 2
    assert "photos/caption_0/scrambled" in text and "photos/caption_0/reversed" in text

    wrong = command(tmp_path, "launch.stimuli", *flags, "--config.image_views=rotate", succeeds=False, **cache)
    assert wrong.returncode == 1 and wrong.stderr.startswith(
        "error: No image manipulation is called 'rotate'; expected"
    )
    assert "Traceback" not in wrong.stderr and page.read_text(encoding="utf-8") == text


def test_the_benchmark_measures_every_manipulation(command, tmp_path):
    flags = ("--what=stimuli", "--size=n_items=3", "--size=tagger=xx_absent")
    done = command(tmp_path, "launch.benchmark", *flags)
    assert "not measured: tagging: The spaCy pipeline 'xx_absent' is not installed" in done.stdout
    figures = json.loads(Path(done.stdout.splitlines()[-1]).read_text())
    assert figures.pop("sizes").startswith("Sizes(")
    images = {name.partition(",")[0] for name in figures if "thread" in name}
    assert images == {"original", *IMAGE_MANIPULATIONS} and {"scrambled", "reversed"} == {*figures} - {
        name for name in figures if "thread" in name
    }
    assert all(seconds > 0 for seconds in figures.values())
