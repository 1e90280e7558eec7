"""He, Trott & Khosla: Seeing Through Words, Speaking Through Pixels."""

from vla.experiments.experiment import Paper
from vla.paper.seeing_through_words.claims import main_claims
from vla.paper.seeing_through_words.experiments import CAPTIONS, IMAGES, experiments

PAPER = Paper(
    name="seeing_through_words",
    citation="He, Trott & Khosla, Seeing Through Words, Speaking Through Pixels",
    experiments=experiments,
    settings={"captions": CAPTIONS, "images": IMAGES},
    main_claims=main_claims,
)
