"""launch.generate, as a user runs it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from PIL import Image

from tests.stimuli.generators.server import TEN, serving
from tests.stimuli.generators.tiny_diffusion import write_pipeline
from vla.stimuli import read_captioned_folder
from vla.stimuli.generators import with_paraphrases, with_synthetic

ROOT = Path(__file__).parents[2]


def command(*flags, where, **environment):
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    flags = ("-m", "launch.generate", *flags, "--config.dataset=captioned_folder", "--config.n_items=0")
    return subprocess.Popen(
        [sys.executable, *flags], cwd=where, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(*flags, where, succeeds=True, **environment):
    process = command(*flags, where=where, **environment)
    out, err = process.communicate(timeout=300)
    assert (process.returncode == 0) is succeeds, out + err
    return out, err


def photographs(folder, n, captions=5):
    (folder / "Images").mkdir(parents=True)
    lines = [f"{i}.png,a thing {i} seen {c} times" for i in range(n) for c in range(captions)]
    (folder / "captions.txt").write_text("\n".join(["image,caption", *lines]) + "\n")
    for i in range(n):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "Images" / f"{i}.png")
    return folder


def test_paraphrases_survive_a_kill_and_no_key_is_written(tmp_path):
    folder = photographs(tmp_path / "photographs", 6)
    reached, secret = threading.Event(), "the-secret-key"

    def script(number, asked):
        if number == 3:
            reached.set()
            threading.Event().wait(5)
        return TEN

    with serving(script) as server:
        flags = (
            f"--config={ROOT / 'configs/paraphrases.py'}:openai",
            f"--config.directory={folder}",
            "--config.client.model=m",
            f"--config.client.base_url={server.url}/v1",
            "--config.run.at_once=1",
        )
        process = command(*flags, where=tmp_path, OPENAI_API_KEY=secret)
        assert reached.wait(120)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        out, err = run(*flags, where=tmp_path, OPENAI_API_KEY=secret)
        assert len(server.requests) == 3 + 1 + 3
    first, last = out.splitlines()
    assert first.startswith("3 requests to make, 3 finished: ") and first.endswith(last)
    joined = with_paraphrases(read_captioned_folder(folder), last)
    assert all(len(item.paraphrases) == 10 for item in joined.items)
    kept = "".join(path.read_text() for path in (tmp_path / "workdir").rglob("*") if path.is_file())
    assert secret not in kept + out + err


def test_images_are_drawn_and_joined(tmp_path):
    folder = photographs(tmp_path / "photographs", 2, captions=2)
    write_pipeline(tmp_path / "tiny")
    flags = (
        f"--config={ROOT / 'configs/synthetic_images.py'}",
        f"--config.directory={folder}",
        "--config.painter.model=tiny",
        "--config.painter.steps=2",
        "--config.plan.n_captions=2",
        "--config.plan.variants=1",
    )
    out, _ = run(*flags, where=tmp_path)
    first, last = out.splitlines()
    assert first.startswith("4 images to generate, 0 finished: ")
    assert [len(item.synthetic) for item in with_synthetic(read_captioned_folder(folder), last).items] == [2, 2]


def test_a_dry_run_needs_no_key_and_mistakes_are_one_clear_line(tmp_path):
    folder = photographs(tmp_path / "photographs", 6)
    flags = (f"--config={ROOT / 'configs/paraphrases.py'}", f"--config.directory={folder}")
    keyless = {"GEMINI_API_KEY": "", "GOOGLE_API_KEY": ""}
    out, _ = run(*flags, "--dry_run", where=tmp_path, **keyless)
    assert out.startswith("6 requests to make, 0 finished: ") and not (tmp_path / "workdir").exists()
    _, err = run(*flags, where=tmp_path, succeeds=False, **keyless)
    assert err.strip().splitlines()[-1].startswith("error: no key for Gemini") and "Traceback" not in err
