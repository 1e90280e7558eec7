"""Every caption manipulation by name, with its parameters."""

from vla.stimuli.caption_manipulations.word_classes import function_words, nouns, nouns_verbs, verbs
from vla.stimuli.caption_manipulations.word_order import reversed_words, scrambled
from vla.stimuli.manipulation import Manipulation, Parameter

_PROPER = Parameter("drop", "proper nouns (PROPN): drop or keep", choices=("drop", "keep"))
_AUXILIARIES = Parameter("drop", "auxiliary verbs (AUX): drop or keep", choices=("drop", "keep"))
_EMPTY = Parameter(
    "drop", "items whose caption is left empty: drop (left out, counted) or keep", choices=("drop", "keep")
)
_CUT = Parameter("whitespace", "where words are cut: at whitespace, or as spaCy does", choices=("whitespace", "spacy"))

CAPTION_MANIPULATIONS = {
    manipulation.name: manipulation
    for manipulation in (
        Manipulation("nouns", "language", "Only nouns.", nouns, {"proper": _PROPER}, {"empty": _EMPTY}, tagged=True),
        Manipulation(
            "nouns_verbs",
            "language",
            "Only nouns and verbs.",
            nouns_verbs,
            {"proper": _PROPER, "auxiliaries": _AUXILIARIES},
            {"empty": _EMPTY},
            tagged=True,
        ),
        Manipulation(
            "verbs", "language", "Only verbs.", verbs, {"auxiliaries": _AUXILIARIES}, {"empty": _EMPTY}, tagged=True
        ),
        Manipulation(
            "function_words", "language", "Only function words.", function_words, {}, {"empty": _EMPTY}, tagged=True
        ),
        Manipulation(
            "scrambled",
            "language",
            "Words in random order.",
            scrambled,
            {"fraction": Parameter(1.0, "share of the words that change places", 0, 1), "cut": _CUT},
            {
                "unchanged": Parameter(
                    "keep",
                    "captions that have only one order: keep, or drop (left out, counted)",
                    choices=("keep", "drop"),
                )
            },
            dose="fraction",
            seeded=True,
        ),
        Manipulation("reversed", "language", "Words from last to first.", reversed_words, {"cut": _CUT}),
    )
}
