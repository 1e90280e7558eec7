"""A small spaCy pipeline that tags parts of speech, trained on a few captions; and one that does not tag."""

import random
from pathlib import Path

# Word/part of speech, so that a mistake shows.
CAPTIONS = """
a/DET dog/NOUN runs/VERB on/ADP the/DET grass/NOUN ./PUNCT
two/NUM men/NOUN are/AUX riding/VERB red/ADJ bikes/NOUN
a/DET little/ADJ girl/NOUN looking/VERB at/ADP a/DET brochure/NOUN
the/DET woman/NOUN and/CCONJ her/PRON child/NOUN sit/VERB on/ADP a/DET bench/NOUN
Paris/PROPN is/AUX behind/ADP a/DET bridge/NOUN and/CCONJ a/DET boat/NOUN
a/DET cat/NOUN is/AUX sleeping/VERB under/ADP the/DET table/NOUN ./PUNCT
people/NOUN walk/VERB in/ADP London/PROPN
three/NUM small/ADJ boats/NOUN sail/VERB by/ADP the/DET city/NOUN
he/PRON is/AUX jumping/VERB into/ADP the/DET water/NOUN
a/DET man/NOUN holds/VERB his/PRON surfboard/NOUN while/SCONJ it/PRON rains/VERB
beautiful/ADJ !/PUNCT
so/ADV blue/ADJ and/CCONJ so/ADV green/ADJ
"""


def write_tagger(folder: Path, epochs: int = 30, captions: str = CAPTIONS) -> Path:
    """Train a morphologizer on the captions, which it then tags as they are tagged here."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example

    random.seed(0)
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("morphologizer")
    examples = []
    for line in captions.strip().splitlines():
        words, tags = zip(*(token.rsplit("/", 1) for token in line.split()), strict=True)
        examples.append(Example(Doc(nlp.vocab, words), Doc(nlp.vocab, words, pos=list(tags))))
    nlp.initialize(lambda: examples)
    for _ in range(epochs):
        nlp.update(examples)
    folder.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(folder)
    return folder


def write_blank(folder: Path) -> Path:
    import spacy

    spacy.blank("en").to_disk(folder)
    return folder
