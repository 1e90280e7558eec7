"""Judgments between two drawings of a prompt, one of them wrong, written as Pick-a-Pic is published."""

import dataclasses
import uuid
from pathlib import Path
from random import Random

from vla.microworld.captions import describe
from vla.microworld.drawing import draw
from vla.microworld.pictures import encode
from vla.microworld.rerendering import rerender, spoil
from vla.microworld.scenes import Scene, scene

# How often a judge sees no difference worth naming, and how often one prefers the wrong picture all the same.
TIES, NOISE = 0.1, 0.12
# How often a prompt is one that was judged before, with two other pictures.
AGAIN = 0.15
# Scenes of prompts are numbered far from those that are photographed.
_FIRST = 10_000_000
_ROW_GROUP = 250


@dataclasses.dataclass(frozen=True)
class Judgment:
    """Two scenes drawn for a prompt, and what a judge said.

    Attributes:
      prompt: The caption that both were to show.
      first: The scene shown first.
      second: The scene shown second.
      right: Which of them is as the prompt says, 0 or 1.
      mistake: What is wrong with the other.
      label: 1.0 where the first was preferred, 0.0 where the second was, 0.5 for neither.
      ranking: Number of the judgment.
    """

    prompt: str
    first: Scene
    second: Scene
    right: int
    mistake: str
    label: float
    ranking: int


def judgments(n: int, seed: int) -> list[Judgment]:
    """As many judgments as hold `n` with a preference; ties come on top, about one in ten.

    In 12 of 100 preferences the wrong picture is preferred. Some prompts are judged more than once.
    """
    rng, made, prompts = Random(f"judgments {seed}"), [], []
    while sum(one.label != 0.5 for one in made) < n:
        if prompts and rng.random() < AGAIN:
            what, caption = rng.choice(prompts)
        else:
            what = scene(seed, _FIRST + len(prompts))
            caption = rng.choice(describe(what))
            prompts.append((what, caption))
        good = rerender(caption.says, what, rng)
        bad, mistake = spoil(caption.says, rng, what.part)
        right = rng.randrange(2)
        pair = (good, bad) if right == 0 else (bad, good)
        chance = rng.random()
        preferred = right if chance >= TIES + (1 - TIES) * NOISE else 1 - right
        label = 0.5 if chance < TIES else float(preferred == 0)
        made.append(Judgment(caption.text, *pair, right, mistake, label, len(made)))
    return made


def write_pick_a_pic(folder: Path, n: int, seed: int) -> None:
    """Judgments as one shard of Pick-a-Pic, for `vla.stimuli.read_dataset("pick_a_pic", folder)`.

    The columns are those of the published shards that the reader knows; images are PNG, as bytes. A further column,
    `mistake`, says what is wrong with the worse picture.
    """
    import pyarrow
    import pyarrow.parquet

    (folder / "data").mkdir(parents=True)
    rows = []
    for one in judgments(n, seed):
        uids = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed} {one.ranking} {which}")) for which in (0, 1)]
        rows.append(
            {
                "ranking_id": one.ranking,
                "caption": one.prompt,
                "image_0_uid": uids[0],
                "image_1_uid": uids[1],
                "jpg_0": encode(draw(one.first)),
                "jpg_1": encode(draw(one.second)),
                "label_0": one.label,
                "label_1": 1 - one.label,
                "has_label": True,
                "are_different": True,
                "mistake": one.mistake,
            }
        )
    path = folder / "data" / "validation_unique-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=_ROW_GROUP)
