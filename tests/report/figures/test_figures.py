"""Every kind of figure shows the numbers of its table, in the right place."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.report.figures import conditions, curves, layer_maps, spectrum, training
from vla.report.figures.style import PALETTE, interval, save, settle, styled

PAIRS = [("seer", "teller"), ("seer", "reader"), ("watcher", "teller"), ("watcher", "reader")]
LAYERS = ("embed", "block_1", "block_2")


def _rows(values, **same):
    """One row per model pair and given value."""
    rows = []
    for (vision, language), scores in zip(PAIRS, values, strict=True):
        for name, score in scores.items():
            rows.append({"vision_model": vision, "language_model": language, "at": name, "score": score, **same})
    return pd.DataFrame(rows).assign(metric="linear_predictivity", n_items=12)


def _maps():
    rows = []
    for place, (vision, language) in enumerate(PAIRS):
        for i, high in enumerate(LAYERS):
            for j, low in enumerate(LAYERS):
                score = np.nan if i == 0 else 0.1 * i + 0.01 * j + 0.001 * place
                rows.append(
                    {"vision_model": vision, "language_model": language, "vision_layer": high, "language_layer": low,
                     "direction": "language_to_vision", "metric": "cka", "n_items": 9, "score": score,
                     "null_mean": 0.05, "condition": "original"}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_layer_maps_stand_by_model_and_mark_the_best_and_the_baseline():
    table = _maps()
    figure = layer_maps.draw(table[table["vision_model"] == "watcher"])
    teller, reader, bar = figure.axes
    assert [axis.get_title(loc="left") or axis.get_title() for axis in (teller, reader)] == ["teller", "reader"]
    for axis, place in ((teller, 2), (reader, 3)):
        shown = axis.images[0].get_array().filled(np.nan)
        assert np.isnan(shown[0]).all() and axis.images[0].origin == "lower"
        np.testing.assert_allclose(shown[1:], [[0.1 * i + 0.01 * j + 0.001 * place for j in range(3)] for i in (1, 2)])
        assert axis.texts[0].xy == (2, 2) and axis.texts[0].get_text() == "0.22"
        assert axis.images[0].get_clim() == (0.0, pytest.approx(0.223))
    assert bar.texts[0].get_text() == "shuffled" and bar.texts[0].xy[1] == pytest.approx(0.05)
    below = layer_maps.draw(table[table["vision_model"] == "watcher"].assign(null_mean=-0.004)).axes[-1]
    assert [(text.get_text(), text.xy[1]) for text in below.texts] == [("shuffled", 0.0)]


def test_long_names_of_conditions_are_broken():
    assert conditions._label("stuff_only") == "stuff\nonly" and conditions._label("highest CLIP Score")[7] == "\n"
    assert conditions._label("captions by the second annotator") == "captions by\nthe second\nannotator"
    long = conditions._label("x" * 80 + " and more").split("\n")
    assert len(long) == 4 and max(map(len, long)) <= 14 and long[-1].endswith("…")


def test_dollars_in_names_are_dollars(tmp_path):
    table = _maps().query("vision_model == 'seer'").replace({"teller": "cost $_{ of $^$"})
    with styled():
        figure = settle(layer_maps.draw(table))
    save(figure, tmp_path / "maps.svg")
    assert figure.axes[0].get_title(loc="left") == "cost $_{ of $^$" and (tmp_path / "maps.svg").stat().st_size > 0


def test_ranks_of_few_dimensions_are_whole_numbers():
    for most, named in ((6, {"1", "2", "3", "4", "5", "6"}), (60, {"1", "10"})):
        rows = [{"vision_model": "v", "language_model": "t", "direction": "vision_to_language", "rank": rank,
                 "r": 1 / rank, "effective_dimension": 2.2} for rank in range(1, most + 1)]  # fmt: skip
        figure = spectrum.draw(pd.DataFrame(rows))
        figure.draw_without_rendering()
        axis = figure.axes[0].xaxis
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        assert named == {one.label1.get_text() for one in ticks if 1 <= one.get_loc() <= most} - {""}


def test_layers_are_named_in_order_and_negative_scores_extend_the_scale():
    table = _maps().query("vision_model == 'seer' and language_model == 'teller'")
    axis = layer_maps.draw(table).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["embed", "1", "2"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["embed", "1", "2"]
    low = table.assign(score=table["score"] - 0.5)
    assert layer_maps.draw(low).axes[0].images[0].get_clim() == (pytest.approx(-0.4), pytest.approx(1e-6))


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_files_of_maps_have_the_same_bytes_every_time(tmp_path, suffix):
    for name in ("a", "b"):
        save(settle(layer_maps.draw(_maps().query("vision_model == 'seer'"))), tmp_path / (name + suffix))
    assert (tmp_path / ("a" + suffix)).read_bytes() == (tmp_path / ("b" + suffix)).read_bytes()


def test_of_a_distance_the_smallest_is_marked_and_bright():
    table = _maps().query("vision_model == 'seer' and language_model == 'teller'").assign(metric="shape_distance")
    axis = layer_maps.draw(table).axes[0]
    assert axis.texts[0].xy == (0, 1) and axis.texts[0].get_text() == "0.10"
    assert axis.images[0].get_cmap().name == "viridis_r"


def test_a_map_without_any_score_is_drawn():
    table = _maps().assign(score=np.nan)
    assert len(layer_maps.draw(table[table["vision_model"] == "seer"]).axes[0].texts) == 0


def test_many_layers_are_named_now_and_then_with_the_first_and_the_last():
    assert layer_maps._ticks(4) == [0, 1, 2, 3]
    named = layer_maps._ticks(41)
    assert named[0] == 0 and named[-1] == 40 and len(named) == 8


def _conditions():
    values = [{"original": 0.5 + i / 100, "nouns": 0.4 + i / 50, "scrambled": 0.5} for i in range(4)]
    found = _rows(values, direction="vision_to_language", null_mean=0.02).rename(columns={"at": "condition"})
    statistics = pd.DataFrame(
        [{"higher": "original", "lower": "nouns", "direction": "vision_to_language", "q": 0.004, "p": 0.9},
         {"higher": "original", "lower": "scrambled", "direction": "vision_to_language", "q": np.nan, "p": 0.2}]
    )  # fmt: skip
    return found, statistics


def test_pairs_are_connected_over_conditions_with_means_and_marks():
    table, statistics = _conditions()
    length = table[table["condition"] == "nouns"].assign(score=[0.1, 0.2, 0.1, 0.2])
    (axis,) = conditions.draw(table, statistics, length).axes
    pairs = axis.lines[:4]
    for i, line in enumerate(pairs):
        np.testing.assert_allclose(line.get_ydata(), [0.5 + i / 100, 0.4 + i / 50, 0.5])
    means = next(line for line in axis.lines if line.get_marker() == "_" and line.get_markersize() == 17)
    np.testing.assert_allclose(means.get_ydata(), [0.515, 0.43, 0.5])
    bars = [segment[:, 1] for segment in axis.collections[0].get_segments()]
    # [[.40, .42], [.44, .46]] has mean squares 16e-4, 4e-4 and 0: variance 20e-4 / 4.
    half = np.sqrt(20e-4 / 4)
    np.testing.assert_allclose(bars[1], [0.43 - half, 0.43 + half])
    words = {text.get_text(): text.xy for text in axis.texts}
    assert words["**"][0] == 1 and words["n.s."][0] == 2
    assert words["shuffled"][1] == pytest.approx(0.02) and words["length only"][1] == pytest.approx(0.15)
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["original", "nouns", "scrambled"]


def test_no_mark_where_there_was_no_test():
    table, statistics = _conditions()
    (axis,) = conditions.draw(table, statistics.assign(q=np.nan, p=np.nan)).axes
    assert {text.get_text() for text in axis.texts} == {"shuffled"}
    assert [conditions.stars(value) for value in (0.0005, 0.005, 0.05, np.nan)] == ["***", "**", "n.s.", ""]


def _curve(series="captions", scale=1.0, ks=(1, 2, 5)):
    values = [{k: scale * (0.3 + 0.01 * i + 0.02 * k) for k in ks} for i in range(4)]
    return _rows(values, direction="language_to_vision", series=series, null_mean=0.0).rename(columns={"at": "k"})


def test_curves_show_the_mean_its_interval_and_the_plateau():
    table = pd.concat([_curve(), _curve("shuffled captions", 0.0)])
    figure = curves.draw(table, "captions averaged", {("captions", "language_to_vision"): (3.0, 2.0, np.inf)})
    (axis,) = figure.axes
    mean = next(line for line in axis.lines if line.get_label() == "captions")
    np.testing.assert_allclose(mean.get_xdata(), [1, 2, 5])
    np.testing.assert_allclose(mean.get_ydata(), [0.335, 0.355, 0.415])
    assert mean.get_color() == PALETTE[0]
    # [[.30, .31], [.32, .33]] has mean squares 4e-4, 1e-4 and 0: variance 5e-4 / 4, 25 / 17 degrees of freedom.
    half = stats.t.ppf(0.975, 25 / 17) * np.sqrt(5e-4 / 4)
    band = axis.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.415 + half, abs=1e-6)
    bar = next(line for line in axis.lines if line.get_marker() == "|")
    np.testing.assert_allclose(bar.get_xdata(), [2, 5])
    shuffled = next(line for line in axis.lines if line.get_label() == "shuffled captions")
    assert shuffled.get_linestyle() == "--" and shuffled.get_color() != PALETTE[1]
    assert axis.get_xlabel() == "captions averaged" and axis.get_legend() is not None


def test_what_is_not_shuffled_is_no_baseline_and_counts_are_whole():
    table = _curve("captions, not shuffled", ks=(1, 2, 3))
    (axis,) = curves.draw(table, "captions averaged").axes
    mean = next(line for line in axis.lines if line.get_label() == "captions, not shuffled")
    assert mean.get_linestyle() == "-" and mean.get_color() == PALETTE[0]
    assert all(float(tick).is_integer() for tick in axis.get_xticks())


def test_one_pair_has_no_interval():
    one = pd.DataFrame([[0.1, 0.2]], pd.MultiIndex.from_tuples(PAIRS[:1], names=["vision_model", "language_model"]))
    mean, low, high = interval(one)
    np.testing.assert_allclose(mean, [0.1, 0.2])
    assert np.isnan(low).all() and np.isnan(high).all()
    table = _curve().query("vision_model == 'seer' and language_model == 'teller'")
    assert len(curves.draw(table, "captions averaged").axes[0].collections) == 0


def test_backbones_go_from_one_exemplar_to_the_most():
    (axis,) = curves.draw_gains(_curve()).axes
    rising = [line.get_ydata() for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    np.testing.assert_allclose(rising, [[0.325, 0.405], [0.345, 0.425]])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["seer", "watcher"]


def test_depth_profiles_take_the_best_of_the_other_side_at_relative_depths():
    profiles = layer_maps.profiles_of(_maps())
    seen = profiles.query("side == 'vision' and model == 'seer'")
    np.testing.assert_allclose(seen["depth"], [0.5, 1.0])
    # Best of three language layers, then the mean over the two language models.
    np.testing.assert_allclose(seen["score"], [0.1 + 0.02 + 0.0005, 0.2 + 0.02 + 0.0005])
    read = profiles.query("side == 'language' and model == 'reader'")
    np.testing.assert_allclose(read["depth"], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(read["score"], [0.202, 0.212, 0.222])
    figure = layer_maps.draw_depth(profiles, {("language_to_vision", "vision"): (1.0, 0.5, 1.0)})
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[1].get_ydata(), seen["score"])
    assert left.lines[0].get_xdata()[0] == 1.0 and len(left.patches) == 1 and len(right.patches) == 0


def test_training_shows_every_layer_at_every_step():
    table = pd.concat([_curve(name, scale, (0, 10, 100)) for name, scale in (("block_1", 0.1), ("block_2", 0.2))])
    upper, lower = training.draw(table).axes[:2]
    shown = upper.images[0].get_array()
    np.testing.assert_allclose(shown, [[s * (0.315 + 0.02 * k) for k in (0, 10, 100)] for s in (0.1, 0.2)])
    assert [tick.get_text() for tick in upper.get_yticklabels()] == ["block 1", "block 2"]
    np.testing.assert_allclose(lower.lines[-1].get_ydata(), [0.2 * (0.315 + 0.02 * k) for k in (0, 10, 100)])


def test_the_overview_puts_both_t_side_by_side():
    rows = [
        {"experiment": "E2", "comparison": "grayscale", "direction": "symmetric", "t": -1.0, "df": 7, "paper_t": 2.0},
        {"experiment": "E3", "comparison": "nouns", "direction": "symmetric", "t": 99.0, "df": 7, "paper_t": 3.0},
    ]
    (axis,) = conditions.draw_tests(pd.DataFrame(rows)).axes
    ours = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    theirs = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert ours == [-1.0, 25.0] and theirs == [2.0, 3.0]
    assert conditions.critical(np.array([7.0, np.nan])) == pytest.approx(2.364624, abs=1e-6)


def test_losses_are_drawn_with_their_baseline():
    models = [{"name": "a", "losses": {"steps": [0, 5], "loss": [2.0, 1.0], "baseline": 1.5, "unit": "nats"}}]
    (axis,) = training.draw_losses(models).axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [2.0, 1.0])
    np.testing.assert_allclose(axis.lines[1].get_ydata(), [1.5, 1.5])
    assert axis.get_ylabel() == "nats"


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_files_hold_the_same_bytes_every_time(tmp_path, suffix):
    for name in ("a", "b"):
        save(settle(curves.draw(_curve(), "captions averaged")), tmp_path / f"{name}{suffix}")
    written = (tmp_path / f"a{suffix}").read_bytes()
    assert written == (tmp_path / f"b{suffix}").read_bytes() and len(written) > 5000


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"written as '.gif'; expected one of .pdf, .png, .svg"):
        save(training.draw_losses([{"name": "a", "losses": {"steps": [0], "loss": [1.0]}}]), tmp_path / "a.gif")
