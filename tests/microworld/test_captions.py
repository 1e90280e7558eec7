"""Captions are English, of five patterns, true of the scene, and every word has its part of speech."""

import collections
import re
from random import Random

import pytest
import spacy

from vla.microworld.captions import describe, paraphrase
from vla.microworld.grammars import ANNOTATORS, PhraseBuilder, existential
from vla.microworld.lexicon import verbs
from vla.microworld.placement import Spot
from vla.microworld.scenes import Group, Scene, scene
from vla.microworld.world import CATEGORIES, STUFF

SCENES = [scene(2, index) for index in range(500)]
CAPTIONS = [describe(what) for what in SCENES]
PARAPHRASES = [paraphrase(what, captions) for what, captions in zip(SCENES, CAPTIONS, strict=True)]
EVERY = [(what, caption) for what, a, b in zip(SCENES, CAPTIONS, PARAPHRASES, strict=True) for caption in (*a, *b)]

# Written down from a dictionary: nouns of the things with their plurals, verbs in the third person and their base.
NOUNS = {
    "ball": "ball balls", "balloon": "balloon balloons", "bird": "bird birds", "boat": "boat boats ship ships",
    "car": "car cars automobile automobiles", "cat": "cat cats kitty kitties", "chair": "chair chairs seat seats",
    "cup": "cup cups mug mugs", "fish": "fish fish", "flower": "flower flowers blossom blossoms",
    "house": "house houses cottage cottages home homes", "kite": "kite kites",
    "plane": "plane planes airplane airplanes jet jets", "star": "star stars", "tree": "tree trees",
    "umbrella": "umbrella umbrellas parasol parasols",
}  # fmt: skip
SINGULAR = {word: kind for kind, words in NOUNS.items() for word in words.split()[::2]}
PLURAL = {word: kind for kind, words in NOUNS.items() for word in words.split()[1::2]}
THIRD_PERSON = set(
    "blooms bobs bounces cruises dangles dozes drifts drives falls flies floats glides glows grows hangs has hovers is "
    "jumps leaps lies looks naps perches races rests rolls sails shines sits sleeps soars speeds stands steams strolls "
    "swims twinkles waits walks".split()
)
BASE = set(
    "are bloom bob bounce cruise dangle doze drift drive fall fly float glide glow grow hang have hover jump leap lie "
    "look nap perch race rest roll sail shine sit sleep soar speed stand steam stroll swim twinkle wait walk".split()
)


def test_lengths_articles_and_punctuation():
    for _, caption in EVERY:
        assert 8 <= len(caption.text.split()) <= 15, caption.text
        assert re.fullmatch(r"[A-Z][a-z, ]+\.", caption.text), caption.text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|  | ,|,[^ ]", caption.text), caption.text


def test_all_fifteen_of_a_scene_are_different():
    for captions, more in zip(CAPTIONS, PARAPHRASES, strict=True):
        assert (len(captions), len(more)) == (5, 10)
        assert len({caption.text for caption in (*captions, *more)}) == 15
    texts = [caption.text for captions in CAPTIONS for caption in captions]
    assert len(set(texts)) > 0.98 * len(texts)


def test_five_people_in_changing_order():
    def person(caption):
        first, *_ = words = caption.text.lower().split()
        if first == "there":
            return "existential"
        if words[2] == "of":
            return "photograph"
        return "describer" if first == "the" else "place" if first in ("in", "on", "under", "at", "over", "above",
            "across", "along", "by", "beside", "down", "through", "from", "out") else "plain"  # fmt: skip

    orders = [tuple(map(person, captions)) for captions in CAPTIONS]
    assert len(ANNOTATORS) == 5
    assert sum(len(set(order)) == 5 for order in orders) > 0.97 * len(orders)
    first = collections.Counter(order[0] for order in orders)
    # Binomial with mean 100 and standard deviation 9.
    assert all(60 < first[who] < 140 for who in ("existential", "photograph", "describer", "place", "plain")), first


def test_subjects_and_verbs_agree():
    kinds, agreed = {**PLURAL, **SINGULAR}, collections.Counter()
    for what, caption in EVERY:
        many = {group.category: group.count > 1 for group in what.groups}
        words = [token.lower() for token in caption.tokens]
        nouns = [place for place, word in enumerate(words) if word in kinds]
        # All nouns are of the number that the scene has.
        assert all(kinds[words[n]] == "fish" or (words[n] in PLURAL) == many[kinds[words[n]]] for n in nouns)
        if words[0] == "the" and words[1] != "picture":
            # In "the cats next to a ball are black" the head is the last noun before with "the".
            nouns = [n for n in nouns if "the" in words[max(0, n - 2) : n]]
        for place, (word, tag) in enumerate(zip(words, caption.tags, strict=True)):
            if tag not in ("VERB", "AUX") or not {word} & (THIRD_PERSON | BASE):
                continue
            before = [n for n in nouns if n < place]
            if words[0] == "there" and place == 1:
                before = nouns[:1]
            elif words[0] in ("the", "this") and place <= 2 or words[place - 1] in ("can", "we", "you", "one"):
                continue
            assert (word in BASE) == many[kinds[words[before[-1]]]], caption.text
            agreed[word in BASE] += 1
    assert agreed[False] > 4000 and agreed[True] > 1500


def test_numbers_stand_before_plurals():
    for what, caption in EVERY:
        for before, token in zip(caption.tokens, caption.tokens[1:], strict=False):
            if before.lower() in ("two", "three"):
                assert token in PLURAL or token in "small little tiny big large huge".split() or token in {
                    group.colour for group in what.groups
                }, caption.text  # fmt: skip


def test_what_they_say_is_there():
    said = set()
    for what, caption in EVERY:
        assert caption.description.fits(what), caption.text
        words = re.findall("[a-z]+", caption.text.lower())
        kinds = {{**PLURAL, **SINGULAR}[word] for word in words if word in PLURAL or word in SINGULAR}
        assert (
            kinds
            == {group.category for group in caption.description.groups}
            <= {group.category for group in what.groups}
        )
        # A colour before a thing's name is that thing's, and is known to be said.
        for colour, noun in zip(words, words[1:], strict=False):
            kind = {**PLURAL, **SINGULAR}.get(noun)
            if kind and colour in {colour for own in CATEGORIES.values() for colour in own}:
                (wanted,) = (group for group in caption.description.groups if group.category == kind)
                assert wanted.colour == colour, caption.text
                said.add((colour, kind))
    assert len(said) > 80


def test_no_ground_is_said_to_be_empty():
    """For something is on every one."""
    assert not [caption.text for _, caption in EVERY if re.search(r"\b(empty|bare|deserted|vacant)\b", caption.text)]


def test_paraphrases_say_nothing_new():
    for captions, more in zip(CAPTIONS, PARAPHRASES, strict=True):
        known = collections.defaultdict(set)
        for caption in captions:
            for group in caption.description.groups:
                known[group.category] |= {group.colour, group.size, group.action, group.count}
            known["scene"] |= {caption.description.stuff, caption.description.weather, caption.description.position}
        for caption in more:
            for group in caption.description.groups:
                assert {group.colour, group.size, group.action, group.count} - {None} <= known[group.category]
            assert {caption.description.stuff, caption.description.weather, caption.description.position} - {
                None
            } <= known["scene"]


def test_seeded():
    assert describe(SCENES[3]) == CAPTIONS[3]
    assert paraphrase(SCENES[3], CAPTIONS[3], 4) == PARAPHRASES[3][:4]
    with pytest.raises(ValueError, match="count=11; expected 1 to 10"):
        paraphrase(SCENES[3], CAPTIONS[3], 11)


def test_tokens_are_spacys_own():
    tokenizer = spacy.blank("en").tokenizer
    for _, caption in EVERY:
        assert tuple(token.text for token in tokenizer(caption.text)) == caption.tokens
        assert len(caption.tags) == len(caption.tokens)


def test_parts_of_speech_of_known_words():
    # The tags that Universal Dependencies' guidelines give these words in these uses.
    by_word = collections.defaultdict(set)
    for _, caption in EVERY:
        for token, tag in zip(caption.tokens, caption.tags, strict=True):
            by_word[token.lower()].add(tag)
    for words, tags in (
        ("a an the", {"DET"}), ("two three", {"NUM"}), ("and", {"CCONJ"}), ("while", {"SCONJ"}), (". ,", {"PUNCT"}),
        ("red small huge sunny wooden", {"ADJ"}), ("cats boat sky wall front sunset", {"NOUN"}), ("can", {"AUX"}),
        ("flying flies fly sits see", {"VERB"}), ("is are", {"VERB", "AUX"}), ("on in of with behind", {"ADP"}),
        ("it them there we", {"PRON"}), ("next too", {"ADV"}), ("left right", {"NOUN", "ADJ"}),
    ):  # fmt: skip
        for word in words.split():
            assert by_word[word] <= tags | ({"ADV"} if word == "right" else set()) and by_word[word], word


def test_a_verb_tells_which_action():
    for stuff in STUFF.values():
        for kind, actions in stuff.things.items():
            forms = [verb for action in actions for verb in verbs(kind, action)]
            assert len(set(forms)) == len(forms), kind


def test_by_hand():
    class Always(Random):
        """Chance that says yes to everything and takes the first of all choices."""

        def random(self):
            return 0.0

        def choice(self, choices):
            return choices[0]

    spots = (Spot(0.3, 0.3, 0.1, False), Spot(0.5, 0.3, 0.1, False))
    birds, boat = Group("bird", "red", "small", "fly", spots), Group("boat", "white", "big", "sail", spots[:1])
    builder = PhraseBuilder(Scene("sea", "sunny", (birds, boat), "above", "left", 0), Always(0))
    words = existential(builder)
    assert " ".join(word for word, _ in words) == "there are two small red birds flying above a white boat"
    assert [tag for _, tag in words] == "PRON VERB NUM ADJ ADJ NOUN VERB ADP DET ADJ NOUN".split()
    assert (builder.description().relation, builder.description().stuff) == ("above", None)
