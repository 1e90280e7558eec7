"""Alignment against size or loss: rows, claims and figure, on tables in which the answer is known."""

import itertools

import pandas as pd
import pytest
from scipy import stats

from vla.paper import find
from vla.report.claims import outcomes
from vla.report.figures import training
from vla.report.figures.style import settle
from vla.report.run_folder import RunFolder, growth

SIZES = {"t-1b": 1e9, "t-3b": 3e9, "t-7b": 7e9, "t-13b": 13e9}
EMPTY = pd.DataFrame({name: pd.Series(dtype=object) for name in ("experiment", "series", "metric", "k", "score")})


def run_of(tmp_path, scores, models):
    rows = [
        ("Size", "mutual_knn", "symmetric", vision, language, layer, score - 0.01 * place)
        for (vision, language), score in scores.items()
        for place, layer in enumerate(("block_1", "block_2"))
    ]
    names = "experiment metric direction vision_model language_model vision_layer score".split()
    table = pd.DataFrame(rows, columns=names).assign(condition="original", language_layer="block_1")
    again = table.assign(experiment="Loss")
    return RunFolder(tmp_path, {"models": models}, pd.concat([table, again]), EMPTY, EMPTY, {}, {}, {}, ())


def models(sizes):
    return [{"name": name, "modality": "language", "parameters": size} for name, size in sizes.items()]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[:8])
def test_the_claim_is_an_exact_test_over_the_orders_of_language_models(tmp_path, order):
    heights = dict(zip(SIZES, order, strict=True))
    scores = {(v, t): 0.1 + 0.02 * heights[t] + high for v, high in (("a", 0.0), ("b", 0.1)) for t in SIZES}
    (found,) = outcomes(run_of(tmp_path, scores, models(SIZES)), "Size", find("platonic").experiments()["Size"].claims)
    rhos = [stats.spearmanr(range(4), other).statistic for other in itertools.permutations(range(4))]
    rho = stats.spearmanr(range(4), order).statistic
    p = sum(other >= rho - 1e-12 for other in rhos) / 24
    assert found.holds is bool(rho > 0 and p < 0.05)
    assert f"over 4 language models, p {p:.4f}".replace("0.", ".") in found.result


def test_three_language_models_cannot_say(tmp_path):
    few = dict(list(SIZES.items())[:3])
    scores = {("a", name): size for name, size in few.items()}
    (found,) = outcomes(run_of(tmp_path, scores, models(few)), "Size", find("platonic").experiments()["Size"].claims)
    assert found.holds is None and "3 language models, fewer than 4" in found.result


def test_checkpoints_stand_at_the_loss_of_their_step(tmp_path):
    losses = {"steps": [0, 40, 150], "loss": [7.9, 4.1, 2.0]}
    names = ("m@0", "m@40", "m", "other")
    described = [{"name": name, "modality": "language"} for name in names]
    described[2]["losses"] = losses
    scores = {("a", name): 0.1 * place for place, name in enumerate(names)}
    experiment = {"id": "Loss", "against": "loss"}
    rows = growth(run_of(tmp_path, scores, described), experiment)
    # Best losses last; a model whose loss nobody knows is left out.
    assert rows[["language_model", "growth"]].values.tolist() == [["m@0", 7.9], ["m@40", 4.1], ["m", 2.0]]
    assert rows["score"].tolist() == pytest.approx([0.0, 0.1, 0.2])
    axis = training.draw_growth(rows, "loss").axes[0]
    left, right = axis.get_xlim()
    assert left > right and [line.get_label() for line in axis.lines] == ["a"]
    assert list(axis.lines[0].get_xdata()) == [2.0, 4.1, 7.9]


def test_sizes_are_written_out_on_the_axis(tmp_path):
    """The style reads no TeX, in which matplotlib writes powers of ten."""
    for sizes in ({"s": 7e7, "t": 9e8}, {"s": 7e7, "t": 9e7}):
        models = [{"name": name, "modality": "language", "parameters": size} for name, size in sizes.items()]
        rows = growth(
            run_of(tmp_path, {("a", "s"): 0.1, ("a", "t"): 0.2}, models), {"id": "Size", "against": "parameters"}
        )
        axis = settle(training.draw_growth(rows, "parameters")).axes[0]
        labels = [text.get_text() for text in axis.get_xticklabels(which="both") if text.get_text()]
        assert labels and all(label[-1] in "kMB" for label in labels)
