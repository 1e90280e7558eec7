"""Creates a folder in one step: complete or not at all, and only if it does not exist yet."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from vla.checks import refuse_listed
from vla.files import replacing

RECIPE = "microworld.json"


def make_once(folder: str | os.PathLike[str], recipe: Mapping[str, object], fill: Callable[[Path], None]) -> Path:
    """Create the folder that `recipe` describes by calling `fill`, unless it exists already; returns its absolute path.

    The recipe has everything that determines the content, as JSON values; `fill` writes it into an empty folder with a
    temporary name, which is then renamed, so an interrupted run leaves nothing that looks finished. The recipe and the
    size of every file are kept in the folder as `microworld.json`.

    Raises:
      ValueError: The folder holds something else, or some of its files are missing; it is not changed.
    """
    path = Path(os.path.abspath(Path(folder).expanduser()))
    if _is_complete(path, recipe):
        return path
    try:
        with replacing(path) as temporary:
            temporary.mkdir()
            fill(temporary)
            paths = [path for path in temporary.rglob("*") if path.is_file()]
            files = {path.relative_to(temporary).as_posix(): path.stat().st_size for path in paths}
            content = {"recipe": recipe, "files": files}
            text = json.dumps(content, indent=2, sort_keys=True) + "\n"
            (temporary / RECIPE).write_text(text, encoding="utf-8")
    except OSError:
        # Another process may have created the same folder in the meantime.
        if not _is_complete(path, recipe):
            raise
    return path


def _is_complete(path: Path, recipe: Mapping[str, object]) -> bool:
    """Whether the folder exists with all files of this recipe; any other content is an error."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    expected = json.loads(json.dumps(recipe))
    try:
        content = json.loads((path / RECIPE).read_text(encoding="utf-8"))
        actual, files = content["recipe"], content["files"]
    except (OSError, ValueError, KeyError, TypeError):
        actual, files = None, {}
    if actual != expected:
        holds = "something else" if actual is None else f"the result of {json.dumps(actual, sort_keys=True)}"
        raise ValueError(
            f"{path} holds {holds}; expected the result of {json.dumps(expected, sort_keys=True)}. "
            "Name another folder, or delete this one"
        )
    sizes = {name: (path / name).stat().st_size for name in files if (path / name).is_file()}
    missing = [name for name, size in files.items() if sizes.get(name) != size]
    refuse_listed(missing, f"{path} is incomplete: files missing or truncated", "Delete it to create it again")
    return True
