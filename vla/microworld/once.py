"""Makes a folder once: whole or not at all, and not again when it is already there."""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from vla.records import listed

RECIPE = "microworld.json"


def make_once(folder: str | os.PathLike[str], recipe: dict, fill: Callable[[Path], None]) -> Path:
    """The folder that `recipe` describes, filled by `fill` unless it was already.

    It is filled under a hidden name beside its place and then renamed, so that a killed run leaves nothing
    that looks finished. The recipe is kept in it as `microworld.json`, with the size of every file.

    Args:
      folder: Where it shall be; it may not exist yet, or be empty.
      recipe: What determines its content, as a JSON value.
      fill: Writes the content into the (empty) folder it is given.

    Returns:
      The folder's absolute path.

    Raises:
      ValueError: there is something else at that place, or files of it are gone; it is left as it is.
    """
    place = Path(os.path.abspath(Path(folder).expanduser()))
    if _is_made(place, recipe):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.parent / f".{place.name}.{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        fill(draft)
        files = {path.relative_to(draft).as_posix(): path.stat().st_size for path in _files(draft)}
        made = {"recipe": recipe, "files": files}
        (draft / RECIPE).write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        try:
            draft.rename(place)
        except OSError:
            # Another process that makes the same may have been faster.
            if not _is_made(place, recipe):
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_made(place: Path, recipe: dict) -> bool:
    """Whether the folder is there, whole, made from this recipe; anything else in its place is an error."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return False
    wanted = json.loads(json.dumps(recipe))
    try:
        made = json.loads((place / RECIPE).read_text(encoding="utf-8"))
        found, files = made["recipe"], made["files"]
    except (OSError, ValueError, KeyError, TypeError):
        found, files = None, {}
    if found != wanted:
        what = "something else" if found is None else f"what was made from {json.dumps(found, sort_keys=True)}"
        raise ValueError(
            f"{place} holds {what}; expected it made from {json.dumps(wanted, sort_keys=True)}. "
            "Name another folder, or delete this one"
        )
    lost = [
        name for name, size in files.items() if not (place / name).is_file() or (place / name).stat().st_size != size
    ]
    if lost:
        raise ValueError(
            f"{place} is no longer whole: {listed(lost)} gone or cut short. Delete the folder to make it anew"
        )
    return True
