"""Which alignment of a study is looked into: dimensions, items and kinds of content."""

import dataclasses
from pathlib import Path

from vla.checks import check_choice
from vla.experiments.experiment import Layers, read_layers
from vla.records import Modality
from vla.stimuli.word_norms import VALUE, WORD

PAIRS = ("none", "first", "all")
SCORES = ("correlation", "match")


@dataclasses.dataclass(frozen=True)
class ContentPlan:
    """The ridge maps of one condition between one layer of each model, in both directions.

    Attributes:
      pairs: "first": the first vision and the first language model of the experiment; "all" its pairs; or "none".
      experiment: Id of the experiment; "" for the first with a condition that can be used.
      condition: Name of its condition; "" for the first that shows images and captions as they are.
      vision_layer: "penultimate", or a layer of the vision models by its name, which the experiment extracts.
      language_layer: The same of the language models.
      norms: File of norms of words that you fetched, such as Brysbaert's of concreteness; "" for none.
      norms_word: Its column of words.
      norms_value: Its column of values.
      norms_view: What is done to captions before their words are looked up.
      instances: COCO's instances file; "" for the one in the dataset's directory, if it has one.
      score: What of an item is compared between kinds of content: "correlation" or "match".
      n_directions: How many leading dimensions have the items at their ends listed.
      n_extreme: How many items at each end, and how many best and worst items are shown.
    """

    pairs: str = "none"
    experiment: str = ""
    condition: str = ""
    vision_layer: str = "penultimate"
    language_layer: str = "penultimate"
    norms: str = ""
    norms_word: str = WORD
    norms_value: str = VALUE
    norms_view: str = "original"
    instances: str = ""
    score: str = "correlation"
    n_directions: int = 5
    n_extreme: int = 5

    def layer(self, modality: Modality) -> Layers:
        """The layer of the models of a modality."""
        return read_layers(self.vision_layer if modality == "vision" else self.language_layer)

    def __post_init__(self) -> None:
        """Refuse what would fail only after hours of extraction."""
        for name, value, allowed in (("pairs", self.pairs, PAIRS), ("score", self.score, SCORES)):
            check_choice(f"content.{name}", value, allowed)
        for name, layer in (("vision_layer", self.vision_layer), ("language_layer", self.language_layer)):
            layers = read_layers(layer)
            if layers == "all" or (layers != "penultimate" and len(layers) > 1):
                raise ValueError(f"content.{name}={layer!r}; expected penultimate or one layer's name")
        for name in ("norms", "instances"):
            given = getattr(self, name)
            if given and not Path(given).expanduser().is_file():
                raise ValueError(f"content.{name}={given!r} is no file; give one that you fetched, or '' for none")
