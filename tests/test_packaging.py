"""The wheel: it installs `vla` alone, and works from any folder."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import vla

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_its_data_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"vla", f"vla-{vla.__version__}.dist-info"}
    # Every file of the package that git would keep is in the wheel.
    files = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "vla").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert files <= set(names)
    registers = {f"vla/third_party/{path.name}" for path in (ROOT / "third_party").glob("*.toml")}
    assert set(names) - files - registers == {name for name in names if ".dist-info/" in name}
    assert registers <= set(names)


def test_an_installed_package_works_without_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import vla, vla.metrics.cka\n"
        "from vla.models.catalogue import checkpoints\n"
        "from vla.stimuli.datasets.register import published\n"
        "from vla.microworld.shipped import shipped\n"
        "print(vla.__file__, len(vla.list_metrics()), len(checkpoints()), published('flickr8k').id)\n"
        "assert vla.load_model(shipped('micro-llama'), weights=False).layer_names[0] == 'embed'\n"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    path, metrics, n_checkpoints, dataset = done.stdout.split()
    assert Path(path).is_relative_to(tmp_path) and int(metrics) == len(vla.list_metrics())
    register = tomllib.loads((ROOT / "third_party" / "checkpoints.toml").read_text(encoding="utf-8"))
    assert int(n_checkpoints) == len(register["checkpoint"]) and dataset == "flickr8k"


def test_the_version_is_one_everywhere():
    assert f"version: {vla.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {vla.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
