"""Trains a small spaCy pipeline on the parts of speech of the microworld's captions, which are known exactly."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla.checks import check_whole_number
from vla.microworld.captions import Caption, describe, paraphrase
from vla.microworld.make_once import make_once
from vla.microworld.scenes import scene

# Raise it whenever the same seed would give another pipeline.
VERSION = 2
SCENES, ROUNDS, BATCH = 45, 6, 24
_TOK2VEC = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 32,
    "depth": 2,
    "embed_size": 300,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": False,
}


def write_tagger(folder: str | os.PathLike[str], seed: int = 0) -> Path:
    """Train a blank English pipeline with a morphologizer on captions of training scenes, unless the folder exists.

    `vla.stimuli.tagging.Tagger` takes the folder, whose absolute path is returned. Its `accuracy.json` has the tagging
    accuracy on captions of evaluation scenes.
    """
    check_whole_number("seed", seed, 0)

    def fill(draft: Path) -> None:
        nlp = _train(gold_captions(seed, SCENES, "training"), seed)
        nlp.to_disk(draft)
        report = accuracy(nlp, gold_captions(seed, 30, "evaluation"))
        (draft / "accuracy.json").write_text(json.dumps(report) + "\n")

    return make_once(folder, {"what": "tagger", "seed": seed, "version": VERSION}, fill)


def gold_captions(seed: int, n: int, part: str) -> list[Caption]:
    """Captions and paraphrases of `n` scenes, with their parts of speech."""
    scenes = [scene(seed, index, part) for index in range(n)]
    described = [(each, describe(each)) for each in scenes]
    return [gold for each, captions in described for gold in (*captions, *paraphrase(each, captions))]


def accuracy(nlp: Any, captions: Sequence[Caption]) -> dict[str, float | int]:
    """Share of tokens tagged correctly, and the numbers of tokens and captions."""
    docs = nlp.pipe([caption.text for caption in captions])
    correct = [
        token.pos_ == tag
        for doc, caption in zip(docs, captions, strict=True)
        for token, tag in zip(doc, caption.tags, strict=True)
    ]
    return {"accuracy": sum(correct) / len(correct), "tokens": len(correct), "captions": len(captions)}


def _train(captions: Sequence[Caption], seed: int) -> Any:
    import spacy
    from spacy.training import Example
    from thinc.api import fix_random_seed

    fix_random_seed(seed)
    nlp = spacy.blank("en", meta={"name": "microworld"})
    model = {"@architectures": "spacy.Tagger.v2", "nO": None, "normalize": False, "tok2vec": _TOK2VEC}
    nlp.add_pipe("morphologizer", config={"model": model})
    examples = [
        Example.from_dict(nlp.make_doc(caption.text), {"pos": list(caption.tags), "morphs": [""] * len(caption.tags)})
        for caption in captions
    ]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.005
    order = random.Random(seed)
    for _ in range(ROUNDS):
        order.shuffle(examples)
        for start in range(0, len(examples), BATCH):
            nlp.update(examples[start : start + BATCH], sgd=optimizer)
    return nlp
