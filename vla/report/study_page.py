"""The page of a study: everything the template shows, and the page as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from vla.experiments.experiment import Outcome
from vla.experiments.naming import trunk
from vla.experiments.study import OUTER_FOLDS
from vla.report.claims import NOT_RUN
from vla.report.figures.style import metric_words
from vla.report.run_folder import RunFolder
from vla.report.sections import model_places
from vla.report.words import NONE, anchor, figures, number, sentence, table, thumbnail_url

_VERDICTS = (("agree with the paper", "agrees"), ("agree in part", "agrees in part"), ("differ", "differs"))
_COMMANDS = {"run": "The whole run:", "report": "This page, drawn again from the same files:"}
_FILES = (
    "scores.parquet", "summary.csv", "statistics.csv", "curves.csv", "plateaus.csv", "depth.csv", "peaks.csv",
    "run.json", "activations.json",
)  # fmt: skip


def page(
    run: RunFolder,
    sections: Sequence[Mapping[str, Any]],
    extras: Sequence[Mapping[str, Any]],
    seen: Sequence[Mapping[str, Any]],
    overview: Mapping[str, Any] | None,
    losses: Mapping[str, Any] | None,
    main: Sequence[Outcome],
    citation: str = "",
) -> str:
    """The page, from what `vla.report.sections`, `vla.report.claims` and `vla.report.write` made of a run.

    `citation` is that of the paper with which the run is compared; "" for none.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vla.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"figures": figures, "sentence": sentence}
    assert environment.loader is not None
    style = environment.loader.get_source(environment, "study.css")[0]
    described = run.run
    return environment.get_template("study.html.j2").render(
        title=described["title"] or "vla: do vision and language models agree?",
        style=markupsafe.Markup(style),
        note=described["note"],
        glance=_glance(run, sections),
        of_paper=_of_paper(run),
        citation=citation,
        folds=_folds(described["settings"]),
        has_cka=any("cka" in one.get("metrics", ()) for one in run.experiments),
        main=main,
        missing=run.missing,
        overview=overview,
        experiments=sections,
        extras=extras,
        views=seen,
        models=[_model(model) for model in described["models"]],
        losses=losses,
        held_out=_held_out(described["models"]),
        datasets=_datasets(run),
        settings=_settings(described["settings"]),
        commands=[
            (words, described["commands"][name]) for name, words in _COMMANDS.items() if name in described["commands"]
        ],
        tables=[name for name in (*_FILES, *run.extras) if (run.path / name).is_file()],
        times=_pairs("Time by step, in seconds.", "Step", "Seconds", described["times"]),
        versions=_pairs(
            "Software and machine.", "What", "Which", {**described["versions"], "machine": described.get("machine", "")}
        ),
    )


def _of_paper(run: RunFolder) -> bool:
    """Whether any experiment has a figure in the paper, or an outcome to check."""
    return any(experiment.get("figure") or experiment.get("expected") for experiment in run.experiments)


def _glance(run: RunFolder, sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # Checkpoints of one model are that model.
    models = [run.scores[name].dropna().map(trunk).nunique() for name in ("vision_model", "language_model")]
    items = run.scores["n_items"].max() if len(run.scores) else 0
    ran = sum(each["verdict"]["words"] != NOT_RUN for each in sections)
    return {
        "asked": len(sections),
        "numbers": [
            ("experiments run", f"{ran} of {len(sections)}"),
            *(
                (words, sum(section["verdict"]["words"] == verdict for section in sections))
                for words, verdict in _VERDICTS
                if _of_paper(run)
            ),
            ("items at most", f"{items:,}"),
            ("vision × language models", " × ".join(map(str, models))),
        ],
    }


def _folds(settings: Any) -> str:
    """In how many parts items were split for ridge regression, in words."""
    given = [] if isinstance(settings, Mapping) else settings
    said = [str(each["value"]) for each in given if each.get("setting") == "overrides.outer_folds"]
    count = said[0] if said else str(OUTER_FOLDS)
    return {"2": "two", "3": "three", "4": "four", "5": "five", "10": "ten"}.get(count, count)


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    places = dict(zip(("vision", "language"), model_places(model["name"], model["name"]), strict=True))
    layers = model.get("layers", ())
    return {
        **{name: model.get(name, "") for name in ("name", "modality", "source", "pool")},
        "width": model.get("width") or NONE,
        "anchor": places.get(model["modality"], f"model-{model['name']}"),
        "layers": (len(layers) if isinstance(layers, list | tuple) else layers) or NONE,
        "fingerprint": str(model.get("fingerprint", ""))[:12],
    }


def _held_out(models: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Losses on data that was not trained on: trivial, untrained and trained."""
    rows = [
        {"Model": model["name"], "What is predicted": part, **{name: losses.get(name) for name in _HELD_OUT}}
        for model in models
        for part, losses in (model.get("held_out") or {}).items()
    ]
    if not rows:
        return None
    caption = "Loss on held-out data. The trivial baseline knows only how often each answer occurs."
    return table(caption, pd.DataFrame(rows))


_HELD_OUT = ("trivial", "untrained", "trained")


def _datasets(run: RunFolder) -> dict[str, Any] | None:
    if not run.run["datasets"]:
        return None
    frame = pd.DataFrame(
        {
            "Dataset": [each["name"] for each in run.run["datasets"]],
            "Role": [each.get("role", "") for each in run.run["datasets"]],
            "Items": [each.get("n", "") for each in run.run["datasets"]],
            "Seed": [each.get("seed", "") for each in run.run["datasets"]],
            "Dropped when read": [
                len(dropped) if isinstance(dropped := each.get("dropped", 0), list) else dropped
                for each in run.run["datasets"]
            ],
        }
    )
    return table("Where the items come from.", frame)


def _settings(settings: Any) -> dict[str, Any]:
    if isinstance(settings, Mapping):
        settings = [{"point": name, "setting": name, "value": value} for name, value in settings.items()]
    columns = {"point": "Open point", "setting": "Setting", "value": "Here", "alternatives": "Alternatives"}
    frame = pd.DataFrame([{words: str(each.get(name, "")) for name, words in columns.items()} for each in settings])
    return table("Every choice that the paper’s text leaves open.", frame)


def _pairs(caption: str, first: str, second: str, values: Mapping[str, Any]) -> dict[str, Any]:
    rows = [[str(name), number(value, 1) if isinstance(value, float) else str(value)] for name, value in values.items()]
    return {"caption": caption, "columns": [first, second], "rows": rows}


def metrics_in_words(names: Sequence[str]) -> str:
    """Names of metrics for a sentence."""
    return ", ".join(metric_words(name) for name in names)


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
