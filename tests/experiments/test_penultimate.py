"""One score for each condition and pair of models: that of the penultimate layers."""

import pandas as pd

from vla.experiments.penultimate import penultimate, scalars

CELL = {"experiment": "E", "metric": "cka", "direction": "symmetric"}


def grid(condition, vision, language, models=("v", "t")):
    """Rows of a map, the score telling the place."""
    rows = [(condition, *models, a, b) for a in vision for b in language]
    names = ["condition", "vision_model", "language_model", "vision_layer", "language_layer"]
    return pd.DataFrame(rows, columns=names).assign(score=range(len(rows)), **CELL)


def test_blocks_go_by_their_number_and_other_layers_by_their_place():
    assert penultimate(["embed", "block_1", "block_10", "block_11", "block_9", "final_norm"]) == "block_10"
    assert penultimate(["block_3", "block_6", "block_9"]) == "block_6"
    assert penultimate(["embed", "block_1", "final_norm"]) == "block_1"
    assert penultimate(["low", "middle", "high"]) == "middle" and penultimate(["alone"]) == "alone"


def test_of_maps_the_penultimate_pair_stays_and_single_scores_stay_as_they_are():
    blocks = ["embed", "block_1", "block_2", "block_3", "final_norm"]
    parts = [
        grid("map", blocks, blocks[:3]),
        grid("map", blocks[1:3], ["low", "middle", "high"], ("v", "saved")),
        grid("map", blocks[:3], blocks, ("twin", "twin")),
        grid("one", ["block_9"], ["length"]),
        grid("one", ["block_9"], ["length"]),
    ]
    found = scalars(pd.concat(parts, ignore_index=True))
    assert found[["language_model", "vision_layer", "language_layer"]].to_numpy().tolist() == [
        ["t", "block_2", "block_1"], ["saved", "block_1", "middle"], ["twin", "block_1", "block_2"],
        ["t", "block_9", "length"], ["t", "block_9", "length"],
    ]  # fmt: skip
    assert scalars(parts[0].iloc[:0]).empty
