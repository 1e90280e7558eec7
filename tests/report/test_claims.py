"""Verdicts count what the paper claims and a run says."""

import pandas as pd
import pytest

from vla.experiments.experiment import Outcome
from vla.experiments.results import ALIKE, DIFFERS, FEW, NEITHER, NOT_RUN, SAME, SIGN, UNTESTED
from vla.report.claims import verdict

HOLDS, FAILS, OPEN = (Outcome("a claim", "found", holds) for holds in (True, False, None))


@pytest.mark.parametrize(
    ("rows", "claims", "words"),
    [
        ([SAME, SAME, ""], [HOLDS], "agrees"),
        ([SAME, NEITHER, UNTESTED], [], "agrees"),
        ([NEITHER, UNTESTED, SIGN, DIFFERS], [], "agrees in part"),
        ([SAME, SIGN], [], "agrees in part"),
        ([SAME, DIFFERS, SIGN], [OPEN], "differs"),
        ([], [FAILS], "differs"),
        ([SAME], [HOLDS, FAILS], "agrees in part"),
        ([FEW, FEW], [], "too few pairs"),
        ([FEW, SAME, NOT_RUN], [], "agrees"),
        (["", NOT_RUN], [OPEN], "no claim to compare"),
        ([NOT_RUN, NOT_RUN], [], "not run"),
        ([NOT_RUN, NOT_RUN], [HOLDS], "agrees"),
        ([NOT_RUN, ""], [], "no claim to compare"),
        ([NOT_RUN, FEW], [], "too few pairs"),
        ([], [], "no claim to compare"),
        ([ALIKE, ALIKE], [], "no test"),
        ([ALIKE, SAME], [], "agrees"),
    ],
)
def test_verdicts(rows, claims, words):
    assert verdict({"status": "run"}, pd.DataFrame({"verdict": rows}), claims).words == words


def test_the_tally_says_what_a_verdict_rests_on():
    rows = pd.DataFrame({"verdict": [SAME, NEITHER, SIGN, FEW, ALIKE, NOT_RUN]})
    assert verdict({"status": "run"}, rows, [HOLDS, FAILS, OPEN]).tally == (
        "2 of 3 comparisons as in the paper, 1 with the same sign alone, 1 of 2 further claims hold, 1 undecided, "
        "1 with too few model pairs, 1 without a test: all model pairs differ by the same amount, 1 not run"
    )
    assert verdict({"status": "run"}, pd.DataFrame({"verdict": [""]}), [HOLDS]).tally == "1 of 1 claims hold"
    assert verdict({"status": "not run", "why": "no weights"}, pd.DataFrame({"verdict": []}), []).tally == "no weights"
