"""Huh et al. (2024): The Platonic Representation Hypothesis, its core figure.

Do larger or better language models align better with vision models? The score is mutual k-nearest neighbours (k = 10)
of all pairs of layers on the same captioned images; a pair of models is represented by its best pair of layers. The
paper uses 1,024 items of the Wikipedia-based image text dataset.
"""

from vla.experiments.experiment import Condition, Experiment, Paper
from vla.experiments.study import MAIN
from vla.report.claims import grows


def experiments() -> dict[str, Experiment]:
    """Alignment against size and against loss, from the same scores."""
    result = {}
    for id, against, words in (
        ("Size", "parameters", "the size of the language model"),
        ("Loss", "loss", "a lower loss of the language model"),
    ):
        result[id] = Experiment(
            id,
            f"Alignment against {words}",
            f"Does alignment with vision models rise with {words}?",
            (Condition("original"),),
            figure="3",
            expected="The larger or better the language model, the more it aligns with every vision model.",
            dataset=MAIN,
            layers="all",
            metrics=("mutual_knn",),
            vision=MAIN,
            language=MAIN,
            claims=(grows({"id": id, "against": against}, words),),
            against=against,
        )
    return result


PAPER = Paper(
    name="platonic",
    citation="Huh, Cheung, Wang & Isola (2024), The Platonic Representation Hypothesis",
    experiments=experiments,
    settings={},
    main_claims=lambda run: [],
)
