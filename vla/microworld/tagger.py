"""Trains a small spaCy pipeline on the parts of speech that the microworld knows of its own words."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla.microworld.captions import Caption, describe, paraphrase
from vla.microworld.once import make_once
from vla.microworld.scenes import scene

# Raised whenever the same seed would give another pipeline.
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
    """A blank English pipeline with a morphologizer, trained on captions of scenes for training.

    The folder is what `vla.stimuli.caption_manipulations.tagging.Tagger` takes; one that is there is used again.

    Returns:
      The folder's absolute path; `accuracy.json` in it has the share of right tags on captions of other scenes.

    Raises:
      ValueError: the folder holds something else, or `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed={seed} cannot be used; expected a whole number of 0 or more")

    def fill(draft: Path) -> None:
        nlp = _trained(gold(seed, SCENES, "training"), seed)
        nlp.to_disk(draft)
        (draft / "accuracy.json").write_text(json.dumps(accuracy(nlp, gold(seed, 30, "evaluation"))) + "\n")

    return make_once(folder, {"what": "tagger", "seed": seed, "version": VERSION}, fill)


def gold(seed: int, n: int, part: str) -> list[Caption]:
    """Captions and paraphrases of `n` scenes, with their parts of speech."""
    found: list[Caption] = []
    for index in range(n):
        what = scene(seed, index, part)
        captions = describe(what)
        found += [*captions, *paraphrase(what, captions)]
    return found


def accuracy(nlp: Any, captions: Sequence[Caption]) -> dict[str, Any]:
    """How many tokens of captions get their right part of speech, of how many."""
    docs = nlp.pipe([caption.text for caption in captions])
    pairs = [
        (token.pos_, tag)
        for doc, caption in zip(docs, captions, strict=True)
        for token, tag in zip(doc, caption.tags, strict=True)
    ]
    right = sum(found == tag for found, tag in pairs)
    return {"accuracy": right / len(pairs), "tokens": len(pairs), "captions": len(captions)}


def _trained(captions: Sequence[Caption], seed: int) -> Any:
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
