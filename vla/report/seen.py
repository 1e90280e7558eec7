"""What the models saw: sample items of every condition, once for all experiments that share it."""

from typing import Any

from vla.report.embedding import thumbnail_url
from vla.report.run_folder import RunFolder
from vla.report.words import anchor


def views(run: RunFolder) -> tuple[list[dict[str, Any]], dict[tuple[str, str], str]]:
    """Sample items by file.

    Returns:
      What the template shows of each file that a condition names, and by (experiment, condition) its place on the page.
    """
    used: dict[str, list[tuple[str, str]]] = {}
    for experiment in run.experiments:
        for condition in experiment.get("conditions", ()):
            if condition.get("samples") in run.samples:
                used.setdefault(condition["samples"], []).append((str(experiment["id"]), condition["name"]))
    shown = [_shown(name, run.samples[name], of) for name, of in used.items()]
    return shown, {each: f"view-{anchor(name)}" for name, of in used.items() for each in of}


def _shown(name: str, sample: dict[str, Any], used: list[tuple[str, str]]) -> dict[str, Any]:
    by_experiment: dict[str, list[str]] = {}
    for experiment, condition in used:
        by_experiment.setdefault(experiment, []).append(condition)
    images, captions = (sample[f"{kind}_views"] for kind in ("image", "caption"))
    return {
        "anchor": f"view-{anchor(name)}",
        "title": f"{_named(images)}, with {_named(captions)}",
        "used": "Shown in " + "; ".join(f"{id} ({', '.join(names)})" for id, names in by_experiment.items()),
        "n_items": sample["n_items"],
        "left_out": sample["left_out"],
        "items": [
            {
                "id": item["id"],
                "captions": item["captions"],
                "images": [
                    {"data": thumbnail_url(image), "alt": f"Item {item['id']} as {view}: {item['captions'][0]}"}
                    for image, view in zip(item["images"], images, strict=False)
                ],
            }
            for item in sample["items"]
        ],
    }


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
