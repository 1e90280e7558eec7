"""Families of comparisons: the paper's printed table comes out as printed, with directions pooled."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.alignment.paired import with_q_values

# Comparison: t, p and q as printed, language to vision, then vision to language; None where not printed (n.s.).
PRINTED = {
    "E2 images": {
        "grayscale": [(-0.8405, ".4284", ".4284"), (-1.3386, ".2226", ".2543")],
        "rotation": [(-1.7569, ".1224", ".1631"), (-3.1161, ".0169", ".0271")],
        "things only": [(3.4304, ".0110", ".0220"), (7.2528, ".0002", ".0005")],
        "stuff only": [(10.1267, "<.0001", ".0001"), (11.7109, "<.0001", ".0001")],
    },
    "E3 captions": {
        "nouns": [None, (3.5956, ".0088", ".0176")],
        "nouns and verbs": [None, (5.3561, ".0011", ".0032")],
        "scrambled": [None, (22.8176, "<.0001", "<.0001")],
    },
    "E13 images": {
        "grayscale": [(8.1393, ".0001", ".0002"), (2.7209, ".0297", ".0396")],
        "rotation": [(-1.1300, ".2957", ".3379"), (-0.5698, ".5866", ".5866")],
        "stuff only": [(12.8386, "<.0001", "<.0001"), (12.1947, "<.0001", "<.0001")],
        "things only": [(21.4355, "<.0001", "<.0001"), (5.5535, ".0009", ".0014")],
    },
    "E13 captions": {
        "nouns": [(6.3039, ".0004", ".0008"), (5.3781, ".0010", ".0015")],
        "nouns and verbs": [(3.6133, ".0086", ".0086"), (3.6944, ".0077", ".0086")],
        "scrambled": [(8.9154, "<.0001", ".0001"), (9.8068, "<.0001", ".0001")],
    },
}


def is_printed_as(value, text):
    """Whether a number of four decimals reads so; "<.0001" is printed of some that round to .0001 or below."""
    if text == "<.0001":
        return value < 0.0001
    return abs(value - float(text)) <= 0.5e-4 + 1e-9


def table(unprinted):
    """All comparisons with p from the printed t, 7 degrees of freedom."""
    rows = []
    for experiment, comparisons in PRINTED.items():
        for comparison, directions in comparisons.items():
            for direction, values in zip(("language_to_vision", "vision_to_language"), directions, strict=True):
                t, p, q = values or (None, None, None)
                exact = unprinted() if t is None else 2 * stats.t.sf(abs(t), 7)
                rows.append([experiment, "linear_predictivity", comparison, direction, exact, p, q])
    return pd.DataFrame(
        rows, columns=["experiment", "metric", "comparison", "direction", "p", "printed_p", "printed_q"]
    )


def test_printed_p_follow_from_printed_t():
    """But for one last digit: .2226 is printed for what is .22254, from which the printed q follows."""
    for row in table(lambda: 0.5).dropna(subset="printed_p").itertuples():
        p = row.p + 1e-4 * (row.printed_p == ".2226")
        assert is_printed_as(p, row.printed_p), row


@pytest.mark.parametrize("seed", range(5))
def test_q_comes_out_as_printed_whatever_the_unprinted_are(seed):
    """What is not printed is not significant: somewhere between .05 and 1."""
    found = with_q_values(table(lambda: np.random.default_rng(seed).uniform(0.05, 1)))
    printed = found.dropna(subset="printed_q")
    assert len(printed) == 25
    for row in printed.itertuples():
        assert is_printed_as(row.q, row.printed_q), row
    sizes = found.groupby("experiment")["family"].first()
    assert sizes["E2 images"].startswith("E2 images, linear_predictivity, language_to_vision and vision_to_language")
    assert [text[-9:] for text in sizes] == ["(6 tests)", "(8 tests)", "(8 tests)", "(6 tests)"]


@pytest.mark.parametrize("experiment", ["E2 images", "E13 images", "E13 captions"])
def test_families_within_a_direction_are_not_what_was_printed(experiment):
    found = with_q_values(table(lambda: 0.5), family="direction")
    rows = found[found["experiment"] == experiment]
    assert not all(is_printed_as(row.q, row.printed_q) for row in rows.itertuples())
    assert rows["family"].nunique() == 2


def test_q_from_the_rounded_p_is_as_printed_within_their_rounding():
    frame = table(lambda: 0.5)
    rounded = [float(p.removeprefix("<")) if isinstance(p, str) else 0.5 for p in frame["printed_p"]]
    for row in with_q_values(frame.assign(p=rounded)).dropna(subset="printed_q").itertuples():
        if "<" not in row.printed_p + row.printed_q:
            family = int((frame["experiment"] == row.experiment).sum())
            assert row.q == pytest.approx(float(row.printed_q), abs=0.5e-4 * (1 + family)), row


def test_comparisons_without_a_test_belong_to_no_family():
    frame = pd.DataFrame(
        {
            "experiment": ["E2"] * 4 + ["E4"],
            "metric": "cka",
            "direction": "symmetric",
            "p": [0.01, np.nan, 0.04, 0.03, np.nan],
        },
        index=[7, 7, 3, 2, 1],
    )
    found = with_q_values(frame)
    np.testing.assert_allclose(found["q"], [0.03, np.nan, 0.04, 0.04, np.nan])
    assert found["family"].tolist() == ["E2, cka, symmetric (3 tests)", "", *["E2, cka, symmetric (3 tests)"] * 2, ""]
    assert found.index.tolist() == frame.index.tolist() and "q" not in frame


def test_bad_input_is_refused():
    frame = pd.DataFrame({"experiment": ["E2"], "metric": ["cka"], "direction": ["symmetric"], "p": [0.5]})
    with pytest.raises(ValueError, match="family='both'; expected one of direction, pooled"):
        with_q_values(frame, "both")
    with pytest.raises(ValueError, match="have no column dataset; they have experiment"):
        with_q_values(frame, by=("experiment", "dataset"))
    with pytest.raises(ValueError, match="p=1.5: expected values from 0 to 1"):
        with_q_values(frame.assign(p=1.5))
    assert with_q_values(frame.iloc[:0]).columns.tolist() == [*frame.columns, "family", "q"]
