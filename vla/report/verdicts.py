"""One verdict per experiment: how many of the paper's claims came out in a run."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vla.experiments.compare import AGREE, ALIKE, DIFFERS, FEW, NOT_RUN, SIGN
from vla.experiments.experiment import Outcome


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a run says of an experiment of the paper.

    Attributes:
      words: "agrees", "agrees in part", "differs", "not run", "too few pairs", "no test" or "no claim to
        compare".
      tally: What that rests on, in words.
    """

    words: str
    tally: str


def verdict(experiment: Mapping[str, Any], statistics: pd.DataFrame, outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict of an experiment.

    A printed test agrees if its sign and its side of .05 are the paper's; a claim in words if it holds. "agrees": all
    of them; "differs": fewer than half; "agrees in part" else. What was not run, not tested or could not be decided is
    not counted; "not run" also where all tests are rows that were not run and there is no other claim.
    """
    if experiment["status"] == NOT_RUN:
        return Verdict(NOT_RUN, str(experiment.get("why", "")))
    found = Counter(statistics["verdict"])
    held, failed, open_ = (sum(each.holds is truth for each in outcomes) for truth in (True, False, None))
    alike = sum(found[one] for one in AGREE)
    compared, agree = alike + found[SIGN] + found[DIFFERS], alike + held
    total = compared + held + failed
    parts = [
        f"{alike} of {compared} comparisons as in the paper" if compared else "",
        f"{found[SIGN]} with its sign alone" if found[SIGN] else "",
        f"{held} of {held + failed} {'further ' * bool(compared)}claims hold" if held + failed else "",
        f"{open_} that this run cannot decide" if open_ else "",
        f"{found[FEW]} with too few model pairs" if found[FEW] else "",
        f"{found[ALIKE]} without a test: all model pairs differ alike" if found[ALIKE] else "",
        f"{found[NOT_RUN]} not run" if found[NOT_RUN] else "",
    ]
    tally = ", ".join(part for part in parts if part)
    if not total:
        unrun = found[NOT_RUN] and found[NOT_RUN] == len(statistics) and not outcomes
        untested = next((one for one in (FEW, ALIKE) if found[one]), "")
        return Verdict(untested or (NOT_RUN if unrun else "no claim to compare"), tally)
    words = "agrees" if agree == total else "differs" if agree < total / 2 else "agrees in part"
    return Verdict(words, tally)
