"""Sections of analyses beyond the paper that not every run has: dimensions, items and kinds of content."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vla.alignment.item_scores import ENDS, best_and_worst_on_average
from vla.report.figures import kinds, spectrum
from vla.report.figures.style import DIRECTION_WORDS, PAIR, ordered_directions, spoken
from vla.report.illustrations import Illustration, file_name
from vla.report.run_folder import RunFolder
from vla.report.words import NONE, number, table, thumbnail_url

_SHOWN = 5
# Of so many leading dimensions, and of the first model pair, the items at the ends are shown with their images.
_DIMENSIONS = 2
_SAMPLES = "content"
_ONE = [*PAIR, "direction"]


def extra_sections(run: RunFolder) -> list[dict[str, Any]]:
    """What the template shows of them, each with the figures that are to be drawn as `planned`."""
    said = run.run.get("content") or {}
    if said.get("status") == "not run":
        return [_section("content", "What carries the alignment", _WHOLE, notes=[f"Not run: {said['why']}."])]
    found = {name: rows for name, rows in run.extras.items() if len(rows)}
    images, about, sections = _images(run), _about(said), []
    if "spectrum.csv" in found:
        sections.append(_dimensions(found["spectrum.csv"], found.get("directions.csv"), images, about))
    if "items.parquet" in found:
        sections.append(_items(found["items.parquet"], images, about))
    if "content.csv" in found:
        sections.append(_kinds(found["content.csv"], said.get("absent", ()), about))
    elif said.get("absent"):
        notes = [f"Not run. {each}." for each in said["absent"]]
        sections.append(_section("content-kinds", *_KINDS, about=about, notes=notes))
    return sections


_WHOLE = "Which dimensions, which items and which kinds of content carry the alignment?"
_KINDS = (
    "Which kinds of content they agree on",
    "Are some kinds of things, or concrete captions, predicted better than others?",
)


def _about(said: Mapping[str, Any]) -> str:
    """Of which condition and models the sections are, in words."""
    if not said:
        return ""
    pairs = " and ".join(" with ".join(pair) for pair in said["pairs"][:3])
    more = f" and {len(said['pairs']) - 3} further pairs" if len(said["pairs"]) > 3 else ""
    layers = " and ".join(map(spoken, said["layers"])) if said.get("layers") else "penultimate blocks"
    return f"Of {said['experiment']}, condition {said['condition']}: {pairs}{more}, {layers}."


def _images(run: RunFolder) -> dict[str, list[str]]:
    """Images of items, as a page shows them, by item."""
    sample = run.samples.get(_SAMPLES, {"items": ()})
    return {str(item["id"]): [thumbnail_url(image) for image in item["images"]] for item in sample["items"]}


def _section(anchor: str, title: str, question: str, **content: Any) -> dict[str, Any]:
    empty = {"planned": [], "tables": [], "folded": [], "items": [], "notes": [], "about": "", "items_note": ""}
    return {"anchor": anchor, "title": title, "question": question, **empty, **content}


def _dimensions(
    rows: pd.DataFrame, ends: pd.DataFrame | None, images: Mapping[str, list[str]], about: str
) -> dict[str, Any]:
    measured = pd.DataFrame(
        [
            {
                **_named(key),
                "First dimension, r": number(own.loc[own["rank"].idxmin(), "r"]),
                "Dimensions in effect": number(own["effective_dimension"].iloc[0], 1),
                "of the target itself": number(own["target_dimension"].iloc[0], 1),
                "Variance explained": number(own.loc[own["rank"].idxmax(), "cumulative_explained"]),
            }
            for key, own in rows.groupby(_ONE, sort=False)
        ]
    )
    figure = Illustration(
        "content--dimensions",
        "Correlation of prediction and target on held-out items along each dimension of the map, those first along "
        "which the map moves most. Thin lines are model pairs, the thick line their mean. Dashed: over how many "
        "dimensions the shared variance is spread in effect (participation ratio), the mean over model pairs.",
        "Dimensions of the map. "
        + "; ".join(
            f"{', '.join(row[:3])}: r {row[3]} along the first, {row[4]} dimensions in effect"
            for row in measured.itertuples(index=False)
        )
        + ".",
        lambda: spectrum.draw(rows),
        rows,
        "spectrum.csv",
        of_paper=False,
    )
    caption = (
        "Dimensions in effect: over how many the variance that prediction and target share is spread; beside it, over "
        "how many the target’s own is. The variance explained on held-out items is a share of the target’s; below 0 "
        "the map does worse than the mean."
    )
    pictured = [] if ends is None else _pictured_ends(ends, images)
    return _section(
        "content-dimensions",
        "Along which dimensions they agree",
        "How many dimensions carry the alignment, and what lies at their ends?",
        planned=[figure],
        about=about,
        tables=[table(caption, measured)],
        items=pictured,
        items_note="Below are the items at both ends of the leading dimensions; the number is where an item is "
        "predicted to lie along it." * bool(pictured),
        folded=[] if ends is None else [_ends(key, own) for key, own in ends.groupby(_ONE, sort=False)],
    )


def _ends(key: tuple[str, str, str], rows: pd.DataFrame) -> dict[str, Any]:
    said = pd.DataFrame(
        [
            {
                "Dimension": str(rank),
                "End": end,
                "Captions, the outermost first": " · ".join(own["caption"].astype(str)),
            }
            for (rank, end), own in rows.sort_values("place").groupby(["rank", "end"])
        ]
    )
    return table(f"Items at the ends of the leading dimensions: {', '.join(_named(key).values())}.", said)


def _pictured_ends(rows: pd.DataFrame, images: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Items at the ends of the first dimensions of the first model pair, where their images are there."""
    first = rows.loc[(rows[PAIR] == rows[PAIR].iloc[0]).all(axis=1) & (rows["rank"] <= _DIMENSIONS)]
    if "item" not in first or not set(first["item"]) <= set(images):
        return []
    vision, language = rows[PAIR].iloc[0]
    return [
        {
            "title": f"{_spoken(direction)}: the {end} end of dimension {rank} ({vision}, {language})",
            "items": [
                _item(row["item"], row["caption"], number(row["predicted"], 2), images)
                for row in own.sort_values("place").to_dict("records")
            ],
        }
        for (direction, rank, end), own in first.groupby(["direction", "rank", "end"], sort=False)
    ]


def _item(id: str, caption: str, score: str, images: Mapping[str, list[str]]) -> dict[str, Any]:
    shown = [{"data": data, "alt": f"Item {id}: {caption}"} for data in images.get(id, ())]
    return {"id": id, "caption": caption, "score": score, "images": shown}


def _spoken(direction: str) -> str:
    return DIRECTION_WORDS.get(direction, direction).capitalize()


def _items(rows: pd.DataFrame, images: Mapping[str, list[str]], about: str) -> dict[str, Any]:
    """Items by the mean of their scores over model pairs."""
    chosen = best_and_worst_on_average(rows, _SHOWN)
    groups = [
        {
            "title": f"{_spoken(direction)}: predicted {end}",
            "items": [
                _item(row["item"], row["caption"], number(row["correlation"]), images)
                for row in chosen.loc[(chosen["end"] == end) & (chosen["direction"] == direction)].to_dict("records")
            ],
        }
        for direction in ordered_directions(rows["direction"].unique())
        for end in ENDS
    ]
    pairs = len(rows[PAIR].drop_duplicates())
    return _section(
        "content-items",
        "Which items they agree on",
        f"Which of {rows['item'].nunique()} items are predicted best and worst by maps that did not see them? The "
        "number is the correlation of an item’s prediction with its own representation"
        + (f", averaged over {pairs} model pairs." if pairs > 1 else "."),
        about=about,
        items=[group for group in groups if group["items"]],
    )


def _kinds(rows: pd.DataFrame, absent: Sequence[str], about: str) -> dict[str, Any]:
    means = rows.loc[rows["statistic"] != "Spearman rho"]
    planned = [
        Illustration(
            file_name("content", "kinds", *pair),
            f"{pair[0]} and {pair[1]}: mean score of the items of each kind of content (their number in brackets), "
            "with its 95 % interval over items; no bar where there are too few items.",
            f"Scores by kind of content, {pair[0]} and {pair[1]}. "
            + "; ".join(
                f"{DIRECTION_WORDS.get(row['direction'], row['direction'])}, {row['group']}: {_with_interval(row)}"
                for row in own.to_dict("records")
            )
            + ".",
            lambda own=own: kinds.draw(own),
            own,
            "content.csv",
            of_paper=False,
        )
        for pair, own in means.groupby(PAIR, sort=False)
    ]
    return _section(
        "content-kinds",
        *_KINDS,
        about=about,
        notes=[f"Not run. {each}." for each in absent],
        planned=planned,
        tables=[
            table(
                f"{', '.join(_named(key).values())}: brackets hold 95 % intervals over items; the difference is that "
                "of the kind’s mean from the mean of the items outside it.",
                pd.DataFrame([_kind(row) for row in own.to_dict("records")]),
            )
            for key, own in rows.groupby(_ONE, sort=False)
        ],
    )


def _kind(row: dict[str, Any]) -> dict[str, str]:
    note = row["note"] if isinstance(row["note"], str) else ""
    return {
        "Kind": f"{row['kind']}: {row['group']}",
        "Items": f"{row['n_items']:g}",
        "Statistic": row["statistic"],
        "Value": _with_interval(row),
        "Difference from the rest": _with_interval(row, "difference", "difference_ci_low", "difference_ci_high", True),
        "Note": note,
    }


def _with_interval(
    row: dict[str, Any], value: str = "mean", low: str = "ci_low", high: str = "ci_high", sign: bool = False
) -> str:
    said = number(row[value], sign=sign)
    if said == NONE or number(row[low]) == NONE:
        return said
    return f"{said} [{number(row[low], sign=sign)}, {number(row[high], sign=sign)}]"


def _named(key: tuple[str, str, str]) -> dict[str, str]:
    vision, language, direction = (str(part) for part in key)
    return {
        "Vision model": vision,
        "Language model": language,
        "Direction": DIRECTION_WORDS.get(direction, direction),
    }
