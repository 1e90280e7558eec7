"""Sections about the content of an alignment: dimensions, items and categories of items."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vla.alignment.item_scores import ENDS, best_and_worst_on_average
from vla.report.figures import spectrum
from vla.report.figures.style import PAIR, direction_words, ordered_directions, spoken
from vla.report.illustrations import Illustration, file_name, note
from vla.report.run_folder import RunFolder
from vla.report.words import NONE, number, table, thumbnail_url

_SHOWN = 5
# Number of leading dimensions of the first model pair whose extreme items are shown with their images.
_DIMENSIONS = 2
_SAMPLES = "content"
_MAP = [*PAIR, "direction"]


def extra_sections(run: RunFolder) -> list[dict[str, Any]]:
    """The values of the template for these sections, with the figures to draw as `planned`."""
    content = run.run.get("content") or {}
    if content.get("status") == "not run":
        question = "Which dimensions, items and categories of items carry the alignment?"
        return [_section("content", "Content of the alignment", question, notes=[f"Not run: {content['why']}."])]
    tables = {name: rows for name, rows in run.extras.items() if len(rows)}
    images, about, sections = _images(run), _about(content), []
    if "spectrum.csv" in tables:
        sections.append(_dimensions(tables["spectrum.csv"], tables.get("directions.csv"), images, about))
    if "items.parquet" in tables:
        sections.append(_items(tables["items.parquet"], images, about))
    if "content.csv" in tables:
        sections.append(_categories(tables["content.csv"], content.get("absent", ()), about))
    elif content.get("absent"):
        notes = [f"Not run. {each}." for each in content["absent"]]
        sections.append(_section("content-kinds", *_CATEGORIES, about=about, notes=notes))
    return sections


_CATEGORIES = (
    "Categories of items",
    "Are some categories of things, or concrete captions, predicted better than others?",
)


def _about(content: Mapping[str, Any]) -> str:
    """The condition and the models of these sections, in words."""
    if not content:
        return ""
    pairs = " and ".join(" with ".join(pair) for pair in content["pairs"][:3])
    more = f" and {len(content['pairs']) - 3} further pairs" if len(content["pairs"]) > 3 else ""
    layers = " and ".join(map(spoken, content["layers"])) if content.get("layers") else "penultimate blocks"
    return f"{content['experiment']}, condition {content['condition']}: {pairs}{more}, {layers}."


def _images(run: RunFolder) -> dict[str, list[str]]:
    """The images of items as data URLs, by item."""
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
                "First dimension, r": number(part.loc[part["rank"].idxmin(), "r"]),
                "Effective dimensions": number(part["effective_dimension"].iloc[0], 1),
                "of the target": number(part["target_dimension"].iloc[0], 1),
                "Variance explained": number(part.loc[part["rank"].idxmax(), "cumulative_explained"]),
            }
            for key, part in rows.groupby(_MAP, sort=False)
        ]
    )
    figure = Illustration(
        "content--dimensions",
        "Correlation of prediction and target on held-out items along each dimension of the map, ordered by the "
        "variance of the map. Thin lines are model pairs, the thick line their mean. Dashed: the effective number of "
        "dimensions of the shared variance (participation ratio), mean over model pairs.",
        "Dimensions of the map. "
        + "; ".join(
            f"{', '.join(row[:3])}: r {row[3]} along the first, {row[4]} effective dimensions"
            for row in measured.itertuples(index=False)
        )
        + ".",
        lambda: spectrum.draw(rows),
        rows,
        "spectrum.csv",
        of_paper=False,
    )
    caption = (
        "Effective dimensions: the participation ratio of the variance that prediction and target share, and that of "
        "the target. The variance explained on held-out items is a share of the variance of the target; below 0 the "
        "map is worse than the mean."
    )
    groups = [] if ends is None else _end_groups(ends, images)
    return _section(
        "content-dimensions",
        "Dimensions of the map",
        "How many dimensions carry the alignment, and which items are at their ends?",
        planned=[figure],
        about=about,
        tables=[table(caption, measured)],
        items=groups,
        items_note="Below are the items at both ends of the leading dimensions; the number is the predicted position "
        "of an item along the dimension." * bool(groups),
        folded=[] if ends is None else [_ends(key, part) for key, part in ends.groupby(_MAP, sort=False)],
    )


def _ends(key: tuple[str, str, str], rows: pd.DataFrame) -> dict[str, Any]:
    captions = (
        rows.sort_values("place").groupby(["rank", "end"])["caption"].agg(lambda part: " · ".join(map(str, part)))
    )
    ends = captions.reset_index().astype({"rank": str})
    ends.columns = ["Dimension", "End", "Captions, the most extreme first"]
    return table(f"Items at the ends of the leading dimensions: {', '.join(_named(key).values())}.", ends)


def _end_groups(rows: pd.DataFrame, images: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Items at the ends of the first dimensions of the first model pair, if their images exist."""
    first = rows.loc[(rows[PAIR] == rows[PAIR].iloc[0]).all(axis=1) & (rows["rank"] <= _DIMENSIONS)]
    if "item" not in first or not set(first["item"]) <= set(images):
        return []
    vision, language = rows[PAIR].iloc[0]
    return [
        {
            "title": f"{direction_words(direction).capitalize()}: {end} end of dimension {rank} ({vision}, {language})",
            "items": [
                _item(row["item"], row["caption"], number(row["predicted"], 2), images)
                for row in part.sort_values("place").to_dict("records")
            ],
        }
        for (direction, rank, end), part in first.groupby(["direction", "rank", "end"], sort=False)
    ]


def _item(id: str, caption: str, score: str, images: Mapping[str, list[str]]) -> dict[str, Any]:
    shown = [{"data": data, "alt": f"Item {id}: {caption}"} for data in images.get(id, ())]
    return {"id": id, "caption": caption, "score": score, "images": shown}


def _items(rows: pd.DataFrame, images: Mapping[str, list[str]], about: str) -> dict[str, Any]:
    """The items with the best and worst scores, averaged over model pairs."""
    chosen = best_and_worst_on_average(rows, _SHOWN)
    groups = [
        {
            "title": f"{direction_words(direction).capitalize()}: predicted {end}",
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
        "Best and worst items",
        f"Which of {rows['item'].nunique()} items are predicted best and worst by maps that were fitted without them? "
        "The number is the correlation of the prediction of an item with its representation"
        + (f", averaged over {pairs} model pairs." if pairs > 1 else "."),
        about=about,
        items=[group for group in groups if group["items"]],
    )


def _categories(rows: pd.DataFrame, absent: Sequence[str], about: str) -> dict[str, Any]:
    means = rows.loc[rows["statistic"] != "Spearman rho"]
    planned = [
        Illustration(
            file_name("content", "kinds", *pair),
            f"{pair[0]} and {pair[1]}: mean score of the items of each category (number of items in brackets), with "
            "its 95 % interval over items; no bar for too few items.",
            f"Scores by category, {pair[0]} and {pair[1]}. "
            + "; ".join(
                f"{direction_words(row['direction'])}, {row['group']}: {_with_interval(row)}"
                for row in part.to_dict("records")
            )
            + ".",
            lambda part=part: spectrum.draw_categories(part),
            part,
            "content.csv",
            of_paper=False,
        )
        for pair, part in means.groupby(PAIR, sort=False)
    ]
    return _section(
        "content-kinds",
        *_CATEGORIES,
        about=about,
        notes=[f"Not run. {each}." for each in absent],
        planned=planned,
        tables=[
            table(
                f"{', '.join(_named(key).values())}: brackets: 95 % intervals over items; the difference is "
                "that of the mean of a category from the mean of all other items.",
                pd.DataFrame([_category(row) for row in part.to_dict("records")]),
            )
            for key, part in rows.groupby(_MAP, sort=False)
        ],
    )


def _category(row: dict[str, Any]) -> dict[str, str]:
    return {
        "Category": f"{row['kind']}: {row['group']}",
        "Items": f"{row['n_items']:g}",
        "Statistic": row["statistic"],
        "Value": _with_interval(row),
        "Difference from the rest": _with_interval(row, "difference", "difference_", sign=True),
        "Note": note(row),
    }


def _with_interval(row: dict[str, Any], value: str = "mean", prefix: str = "", sign: bool = False) -> str:
    text, low, high = (number(row[name], sign=sign) for name in (value, f"{prefix}ci_low", f"{prefix}ci_high"))
    return text if NONE in (text, low) else f"{text} [{low}, {high}]"


def _named(key: tuple[str, str, str]) -> dict[str, str]:
    vision, language, direction = key
    return {"Vision model": str(vision), "Language model": str(language), "Direction": direction_words(direction)}
