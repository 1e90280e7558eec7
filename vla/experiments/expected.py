"""How long the stages of a run will take, for its display: products by this machine's rates, the rest by the piece."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vla.experiments import estimates
from vla.experiments.estimates import Work, layer_count, this_machine
from vla.experiments.experiment import Layers
from vla.experiments.scoring import Table
from vla.experiments.study import Study
from vla.metrics import find
from vla.records import Modality, View

# Seconds beside the products, as two cores of a CPU took them in the study of the drawn world: reading and preparing an
# item, preparing and keeping a table of scores, making its rows, and drawing what an experiment has to show.
ITEM, TABLE, ROWS, FIGURES = 0.0008, 0.2, 0.02, 1.0


def expected(
    study: Study, bench: Any, views: Mapping[tuple[Modality, str], Sequence[tuple[View, Layers]]],
    missing: Sequence[Table], tables: int,
) -> dict[str, float]:  # fmt: skip
    """Seconds by stage.

    Args:
      study: What is asked.
      bench: Its models, datasets and stores.
      views: To be extracted, with their layers, by model.
      missing: Tables to be scored.
      tables: How many there will be.
    """
    items = sum(len(view.ids) for own in views.values() for view, _ in own)
    work = Work()
    for (modality, given), own in views.items():
        work += views_work(study, modality, given, [(len(view.ids), layers) for view, layers in own])
    for table in missing:
        work += table_work(study, bench, table)
    extracting, scoring = work.seconds(this_machine(), study.dtype) if items or missing else (0.0, 0.0)
    return {
        "extracting": extracting + ITEM * items,
        "scoring": scoring + TABLE * len(missing),
        "writing tables": ROWS * tables,
        "drawing": FIGURES * len(study.experiments),
    }


def views_work(study: Study, modality: Modality, given: str, seen: Iterable[tuple[int, Layers]]) -> Work:
    """What extraction takes, reading the weights apart; nothing where the model's size is not known.

    Args:
      study: What is asked.
      modality: Of the model.
      given: The model.
      seen: Number of items and layers of each view.
    """
    size, work = estimates.size(given, modality), Work()
    if size is not None:
        for items, layers in seen:
            work += estimates.extraction(size, items, layers, study.dtype, study.stream, study.tensor_parallel)
    return work


def table_work(study: Study, bench: Any, table: Table) -> Work:
    """What scoring a table takes; nothing where a model's size is not known.

    Args:
      study: What is asked.
      bench: Its items; None where the dataset is not at hand.
      table: Which.
    """
    vision, language = estimates.size(table.vision, "vision"), estimates.size(table.language, "language")
    if vision is None or language is None:
        return Work()
    sides = {}
    for modality, one, stacked in (("vision", vision, table.images), ("language", language, table.captions)):
        sides[modality] = (layer_count(one, table.layers) if table.is_map else len(stacked), one.width)
    ordered = ("language", "vision") if table.direction == "language_to_vision" else ("vision", "language")
    items = table.items or (len(bench.items[table.part]) if bench else study.datasets[table.dataset].n_items or 1000)
    draws = study.draws(table.layers)
    # Of directed metrics, held-out predictions are made once more and then drawn from.
    again = min(draws, 1) if find(table.metric).directed else draws
    return estimates.scoring(table.metric, [sides[name] for name in ordered], items, 1 + study.null + again)
