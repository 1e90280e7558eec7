"""The page of a study: the values of the template, and the page as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from vla.experiments.experiment import Outcome
from vla.experiments.names import base_name
from vla.experiments.study import OUTER_FOLDS
from vla.report.claims import NOT_RUN
from vla.report.run_folder import RunFolder
from vla.report.sections import model_anchors
from vla.report.words import NONE, anchor, figures, number, sentence, table, thumbnail_url

_VERDICTS = (("agree with the paper", "agrees"), ("agree in part", "agrees in part"), ("differ", "differs"))
_COMMANDS = {"run": "To run the study:", "report": "To draw this page again from the same files:"}
_FILES = (
    "scores.parquet", "summary.csv", "statistics.csv", "curves.csv", "plateaus.csv", "depth.csv", "peaks.csv",
    "run.json", "activations.json",
)  # fmt: skip


def page(
    run: RunFolder,
    sections: Sequence[Mapping[str, Any]],
    extras: Sequence[Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
    overview: Mapping[str, Any] | None,
    losses: Mapping[str, Any] | None,
    main: Sequence[Outcome],
    citation: str = "",
) -> str:
    """The page as HTML.

    Args:
      run: The run.
      sections: Experiments, as of `vla.report.sections.section`, with their figures.
      extras: Further sections, as of `vla.report.extras.extra_sections`, with their figures.
      samples: Sample items, as of `sample_views`.
      overview: The figure of all printed tests, if any.
      losses: The figure of training losses, if any.
      main: Claims for the summary.
      citation: The paper with which the run is compared; "" for none.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vla.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"figures": figures, "sentence": sentence}
    assert environment.loader is not None
    style = environment.loader.get_source(environment, "study.css")[0]
    values = run.run
    metrics = {name for experiment in run.experiments for name in experiment.get("metrics", ())}
    return environment.get_template("study.html.j2").render(
        title=values["title"] or "vla: do vision and language models agree?",
        style=markupsafe.Markup(style),
        note=values["note"],
        glance=_glance(run, sections),
        of_paper=_of_paper(run),
        citation=citation,
        folds=_folds(values["settings"]),
        has_ridge="linear_predictivity" in metrics,
        has_cka="cka" in metrics,
        has_neighbours="mutual_knn" in metrics,
        main=main,
        missing=run.missing,
        overview=overview,
        experiments=sections,
        extras=extras,
        views=samples,
        models=[_model(model) for model in values["models"]],
        losses=losses,
        held_out=_held_out(values["models"]),
        datasets=_datasets(run),
        settings=_settings(values["settings"]),
        commands=[(words, values["commands"][name]) for name, words in _COMMANDS.items() if name in values["commands"]],
        tables=[name for name in (*_FILES, *run.extras) if (run.path / name).is_file()],
        times=_pairs("Time by step, in seconds.", "Step", "Seconds", values["times"]),
        versions=_pairs(
            "Software and machine.", "What", "Which", {**values["versions"], "machine": values.get("machine", "")}
        ),
    )


def _of_paper(run: RunFolder) -> bool:
    """Whether any experiment has a figure in a paper, or an expected outcome."""
    return any(experiment.get("figure") or experiment.get("expected") for experiment in run.experiments)


def _glance(run: RunFolder, sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # Checkpoints of one model count as one.
    models = [run.scores[name].dropna().map(base_name).nunique() for name in ("vision_model", "language_model")]
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
    """Number of folds of ridge regression, in words."""
    rows = [] if isinstance(settings, Mapping) else settings
    values = [str(row["value"]) for row in rows if row.get("setting") == "overrides.outer_folds"]
    count = values[0] if values else str(OUTER_FOLDS)
    return {"2": "two", "3": "three", "4": "four", "5": "five", "10": "ten"}.get(count, count)


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    anchors = dict(zip(("vision", "language"), model_anchors(model["name"], model["name"]), strict=True))
    layers = model.get("layers", ())
    return {
        **{name: model.get(name, "") for name in ("name", "modality", "source", "pool")},
        "width": model.get("width") or NONE,
        "anchor": anchors.get(model["modality"], f"model-{model['name']}"),
        "layers": (len(layers) if isinstance(layers, list | tuple) else layers) or NONE,
        "fingerprint": str(model.get("fingerprint", ""))[:12],
    }


def _held_out(models: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The table of losses on held-out data: trivial, untrained and trained."""
    rows = [
        {"Model": model["name"], "Target": part, **{name: losses.get(name) for name in _HELD_OUT}}
        for model in models
        for part, losses in (model.get("held_out") or {}).items()
    ]
    if not rows:
        return None
    caption = "Loss on held-out data. The trivial baseline knows only the frequency of each answer."
    return table(caption, pd.DataFrame(rows))


_HELD_OUT = ("trivial", "untrained", "trained")


def _datasets(run: RunFolder) -> dict[str, Any] | None:
    if not run.run["datasets"]:
        return None
    columns = {"name": "Dataset", "role": "Role", "n": "Items", "seed": "Seed", "dropped": "Dropped when read"}
    frame = pd.DataFrame(run.run["datasets"]).reindex(columns=list(columns)).astype(object).fillna("")
    frame["dropped"] = [len(items) if isinstance(items, list) else items or 0 for items in frame["dropped"]]
    return table("Datasets.", frame.rename(columns=columns))


def _settings(settings: Any) -> dict[str, Any]:
    if isinstance(settings, Mapping):
        settings = [{"point": name, "setting": name, "value": value} for name, value in settings.items()]
    columns = {"point": "Open point", "setting": "Setting", "value": "Here", "alternatives": "Alternatives"}
    frame = pd.DataFrame([{words: str(each.get(name, "")) for name, words in columns.items()} for each in settings])
    return table("Choices that the text of the paper leaves open, and further settings.", frame)


def _pairs(caption: str, first: str, second: str, values: Mapping[str, Any]) -> dict[str, Any]:
    rows = [[str(name), number(value, 1) if isinstance(value, float) else str(value)] for name, value in values.items()]
    return {"caption": caption, "columns": [first, second], "rows": rows}


def sample_views(run: RunFolder) -> tuple[list[dict[str, Any]], dict[tuple[str, str], str]]:
    """The values of the template for each file of sample items, and the anchor of each by (experiment, condition)."""
    used: dict[str, list[tuple[str, str]]] = {}
    for experiment in run.experiments:
        for condition in experiment.get("conditions", ()):
            if condition.get("samples") in run.samples:
                used.setdefault(condition["samples"], []).append((str(experiment["id"]), condition["name"]))
    samples = [_sample(name, run.samples[name], users) for name, users in used.items()]
    return samples, {user: f"view-{anchor(name)}" for name, users in used.items() for user in users}


def _sample(name: str, sample: dict[str, Any], used: list[tuple[str, str]]) -> dict[str, Any]:
    by_experiment: dict[str, list[str]] = {}
    for experiment, condition in used:
        by_experiment.setdefault(experiment, []).append(condition)
    images, captions = (sample[f"{stimulus}_views"] for stimulus in ("image", "caption"))
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
