"""What is known of items beside their activations: captions, concreteness of words, kinds of things shown."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from vla.experiments.study import DatasetPlan
from vla.records import View
from vla.stimuli.datasets.coco import locate_coco
from vla.stimuli.datasets.coco_annotations import coco_categories
from vla.stimuli.word_norms import VALUE, WORD, caption_norms, read_norms


@dataclasses.dataclass(frozen=True)
class ItemFacts:
    """What is known of the items beside their activations.

    Attributes:
      captions: By item, as they were shown.
      concreteness: By item the mean norm of its caption's words, NaN where no word has one; empty without norms.
      supercategories: By item the groups of things its photograph shows; empty where that is not known.
    """

    captions: Mapping[str, str]
    concreteness: Mapping[str, float] = dataclasses.field(default_factory=dict)
    supercategories: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def item_facts(
    shown: View,
    counted: View,
    *,
    instances: str | os.PathLike[str] = "",
    norms: str = "",
    norms_word: str = WORD,
    norms_value: str = VALUE,
) -> ItemFacts:
    """Captions as shown, and what norms and instances say of the items.

    Args:
      shown: Captions as language models read them.
      counted: Captions whose words are looked up in the norms.
      instances: COCO's instances file; "" for none.
      norms: File of norms of words; "" for none.
      norms_word: Its column of words.
      norms_value: Its column of values.

    Raises:
      ValueError: A file that cannot be used, or that says nothing of these items.
    """
    captions = {id: str(caption) for id, caption in zip(shown.ids, shown.stimuli, strict=True)}
    concreteness: dict[str, float] = {}
    if norms:
        means, _ = caption_norms(
            [str(caption) for caption in counted.stimuli], read_norms(norms, norms_word, norms_value)
        )
        concreteness = dict(zip(counted.ids, means, strict=True))
        if not np.isfinite(means).any():
            raise ValueError(f"{norms} has no word of the captions, such as {counted.stimuli[0]!r}")
    kinds: dict[str, tuple[str, ...]] = {}
    if instances:
        there = coco_categories(instances)
        kinds = {id: tuple(sorted({kind.supercategory for kind in there[id]})) for id in shown.ids if id in there}
        if not kinds:
            raise ValueError(f"{instances} lists none of the items of {shown.name}, such as {shown.ids[0]!r}")
    return ItemFacts(captions, concreteness, kinds)


def instances_beside(plan: DatasetPlan) -> str:
    """The instances file in COCO's directory; "" where there is none, or where the dataset is another."""
    if plan.directory is None or not plan.name.startswith("coco"):
        return ""
    try:
        found = locate_coco(plan.directory).instances
    except ValueError:
        return ""
    return "" if found is None else str(found)
