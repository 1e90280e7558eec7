"""Sections of analyses beyond the paper that not every run has: dimensions, items and kinds of content."""

from typing import Any

import pandas as pd

from vla.alignment.item_scores import ENDS, best_and_worst
from vla.report.figures import kinds, spectrum
from vla.report.figures.pairs import PAIR
from vla.report.figures.style import DIRECTION_WORDS, ordered_directions
from vla.report.illustrations import Illustration, file_name
from vla.report.run_folder import RunFolder
from vla.report.words import NONE, number, table

_SHOWN = 5
_ONE = [*PAIR, "direction"]


def extra_sections(run: RunFolder) -> list[dict[str, Any]]:
    """What the template shows of them, each with the figures that are to be drawn as `planned`."""
    found = {name: rows for name, rows in run.extras.items() if len(rows)}
    sections = []
    if "spectrum.csv" in found:
        sections.append(_dimensions(found["spectrum.csv"], found.get("directions.csv")))
    if "items.parquet" in found:
        sections.append(_items(found["items.parquet"]))
    if "content.csv" in found:
        sections.append(_kinds(found["content.csv"]))
    return sections


def _section(anchor: str, title: str, question: str, **content: Any) -> dict[str, Any]:
    empty = {"planned": [], "tables": [], "folded": [], "items": []}
    return {"anchor": anchor, "title": title, "question": question, **empty, **content}


def _dimensions(rows: pd.DataFrame, ends: pd.DataFrame | None) -> dict[str, Any]:
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
        "Shared variance is spread over so many dimensions in effect, the held-out target’s own over so many. "
        "The variance explained on held-out items is a share of the target’s; below 0 the map does worse than the mean."
    )
    return _section(
        "content-dimensions",
        "Along which dimensions they agree",
        "How many dimensions carry the alignment, and what lies at their ends?",
        planned=[figure],
        tables=[table(caption, measured)],
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


def _items(rows: pd.DataFrame) -> dict[str, Any]:
    """Items by the mean of their scores over model pairs."""
    groups = []
    for direction in ordered_directions(rows["direction"].unique()):
        own = rows.loc[rows["direction"] == direction]
        mean = own.groupby("item", sort=False).agg(correlation=("correlation", "mean"), caption=("caption", "first"))
        chosen = best_and_worst(mean.reset_index(), _SHOWN) if len(mean) > 1 else mean.assign(end=[])
        for end in ENDS:
            shown = chosen.loc[chosen["end"] == end].to_dict("records")
            groups.append(
                {
                    "title": f"{DIRECTION_WORDS.get(direction, direction).capitalize()}: predicted {end}",
                    "items": [
                        {"id": row["item"], "caption": row["caption"], "score": number(row["correlation"])}
                        for row in shown
                    ],
                }
            )
    pairs = len(rows[PAIR].drop_duplicates())
    return _section(
        "content-items",
        "Which items they agree on",
        f"Which of {rows['item'].nunique()} items are predicted best and worst by maps that did not see them? The "
        "number is the correlation of an item’s prediction with its own representation"
        + (f", averaged over {pairs} model pairs." if pairs > 1 else "."),
        items=[group for group in groups if group["items"]],
    )


def _kinds(rows: pd.DataFrame) -> dict[str, Any]:
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
        "Which kinds of content they agree on",
        "Are some kinds of things, or concrete captions, predicted better than others?",
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
