"""Sentence patterns of the captions: how five annotators describe a scene, and five more ways to paraphrase them."""

import dataclasses
from collections.abc import Callable
from random import Random
from typing import Any

from vla.microworld import lexicon
from vla.microworld.lexicon import BASE, PARTICIPLE, SINGULAR, Words, tagged
from vla.microworld.placement import high, inverse
from vla.microworld.scenes import Description, GroupDescription, Scene


class PhraseBuilder:
    """Builds the phrases of one caption of a scene, with a random generator, and records what they say about it."""

    def __init__(self, scene: Scene, rng: Random):
        """Start a caption that says nothing yet."""
        self.scene, self.rng, self.n_groups = scene, rng, len(scene.groups)
        self._groups: dict[int, GroupDescription] = {}
        self._scene_facts: dict[str, str] = {}

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.rng.random() < probability

    def choose(self, *texts: str) -> Words:
        """One of several tagged phrases, at random."""
        return tagged(self.rng.choice(texts))

    def noun_phrase(self, index: int, colour: float = 0.0, size: float = 0.0, definite: bool = False) -> Words:
        """A group as a noun phrase: "a small red ball", "two birds"; if definite, "the cat".

        Its colour and size are mentioned with these probabilities.
        """
        group = self.scene.groups[index]
        self._record(index, count=group.count)
        words: list[tuple[str, str]] = []
        if self.chance(size):
            self._record(index, size=group.size)
            words.append((self.rng.choice(lexicon.SIZES[group.size]), "ADJ"))
        if self.chance(colour):
            self._record(index, colour=group.colour)
            words.append((group.colour, "ADJ"))
        words.append((self.noun(index), "NOUN"))
        if definite:
            article = (("the", "DET"),)
        elif group.count > 1:
            article = ((lexicon.NUMBERS[group.count], "NUM"),)
        else:
            article = (("an" if words[0][0][0] in "aeiou" else "a", "DET"),)
        return (*article, *words)

    def noun(self, index: int) -> str:
        """A name of a group, about two times out of three the usual one."""
        group = self.scene.groups[index]
        self._record(index)
        names = lexicon.NOUNS[group.category]
        name = names[0] if len(names) == 1 or self.chance(0.65) else self.rng.choice(names[1:])
        return name[group.count > 1]

    def verb(self, index: int) -> Words:
        """The action of a group in the present tense: "flies", "fly"."""
        return ((self._verb(index)[BASE if self._plural(index) else SINGULAR], "VERB"),)

    def participle(self, index: int) -> Words:
        """The action of a group as a participle: "flying"."""
        return ((self._verb(index)[PARTICIPLE], "VERB"),)

    def be(self, index: int, tag: str = "AUX") -> Words:
        """The form of "be" that agrees with a group; its tag is "VERB" in "there is"."""
        return (("are" if self._plural(index) else "is", tag),)

    def pronoun(self, index: int, subject: bool = False) -> Words:
        """A group as a pronoun."""
        return ((("they" if subject else "them") if self._plural(index) else "it", "PRON"),)

    def colour(self, index: int) -> Words:
        """The colour of a group as a predicate."""
        colour = self.scene.groups[index].colour
        self._record(index, colour=colour)
        return ((colour, "ADJ"),)

    def size(self, index: int) -> Words:
        """The size of a group as a predicate."""
        size = self.scene.groups[index].size
        self._record(index, size=size)
        return ((self.rng.choice(lexicon.SIZES[size]), "ADJ"),)

    def location(self, index: int) -> Words:
        """The location of a group relative to the ground, such as "on the grass"."""
        group = self.scene.groups[index]
        self._scene_facts["stuff"] = self.scene.stuff
        in_the_air = high(self.scene.stuff, group.action)
        return self.rng.choice(lexicon.location(self.scene.stuff, group.category, group.action, in_the_air))

    def stuff(self) -> Words:
        """The ground as a noun phrase."""
        self._scene_facts["stuff"] = self.scene.stuff
        return self.rng.choice(lexicon.STUFF[self.scene.stuff])

    def weather(self, probability: float = 1.0) -> Words:
        """The weather, with a probability; empty where the sky is not visible."""
        if self.scene.weather is None or not self.chance(probability):
            return ()
        self._scene_facts["weather"] = self.scene.weather
        return self.rng.choice(lexicon.WEATHER[self.scene.weather])

    def position(self, probability: float = 1.0) -> Words:
        """The position of the first group in the image, with a probability."""
        if not self.chance(probability):
            return ()
        self._scene_facts["position"] = self.scene.position
        return self.rng.choice(lexicon.POSITION[self.scene.position])

    def relation(self, index: int, other: int) -> Words:
        """The position of one of the first two groups relative to the other: "behind", "next to"."""
        assert self.scene.relation is not None and {index, other} == {0, 1}
        relation = self.scene.relation if index == 0 else inverse(self.scene.relation)
        if relation in ("left of", "right of") and self.chance(0.65):
            relation = "beside"
            self._scene_facts["relation"] = "beside"
        else:
            self._scene_facts["relation"] = self.scene.relation
        return self.rng.choice(lexicon.RELATION[relation])

    def description(self) -> Description:
        """Everything that the phrases so far say about the scene."""
        facts: dict[str, Any] = dict(self._scene_facts)
        if not {0, 1} <= set(self._groups):
            facts.pop("relation", None)
        return Description(groups=tuple(self._groups[i] for i in sorted(self._groups)), **facts)

    def _record(self, index: int, **known: object) -> None:
        group = self.scene.groups[index]
        # Every mention gives the count away, by the form of the noun or by a number.
        before = self._groups.get(index, GroupDescription(group.category, count=group.count))
        self._groups[index] = dataclasses.replace(before, **known)  # pyright: ignore

    def _plural(self, index: int) -> bool:
        return self.scene.groups[index].count > 1

    def _verb(self, index: int) -> tuple[str, ...]:
        group = self.scene.groups[index]
        self._record(index, action=group.action)
        return self.rng.choice(lexicon.verbs(group.category, group.action))


AND, WITH, COMMA = tagged("and"), tagged("with"), ((",", "PUNCT"),)


def plain(t: PhraseBuilder) -> Words:
    """The action and the location of the main thing: "A red ball rolls across the grass next to a house."."""
    words = t.noun_phrase(0, colour=0.85, size=0.4) + t.verb(0)
    if t.n_groups == 1:
        return words + t.location(0) + t.weather(0.5) + t.position(0.3)
    if t.chance(0.6):
        return words + t.location(0) + t.relation(0, 1) + t.noun_phrase(1, colour=0.4, size=0.2)
    return words + t.relation(0, 1) + t.noun_phrase(1, colour=0.6, size=0.3) + t.weather(0.5)


def existential(t: PhraseBuilder) -> Words:
    """Existence: "There are two birds flying above a green tree."."""
    words = tagged("there") + t.be(0, "VERB") + t.noun_phrase(0, colour=0.6, size=0.2)
    if t.n_groups == 1:
        return words + t.participle(0) + t.location(0) + t.weather(0.4)
    if t.chance(0.5):
        return words + t.participle(0) + t.relation(0, 1) + t.noun_phrase(1, colour=0.6)
    return words + AND + t.noun_phrase(1, colour=0.6) + t.participle(1) + t.location(1)


def image_of(t: PhraseBuilder) -> Words:
    """The ground first, then the things, without a verb: "A picture of the sea with two boats."."""
    head = t.choose("a picture of", "a photo of", "a view of")
    words = head + t.stuff() + t.weather(0.6) + WITH
    if t.n_groups == 1:
        return words + t.noun_phrase(0, colour=0.5, size=0.6) + t.position(0.7)
    rest = t.noun_phrase(1, colour=0.25, size=0.4)
    if t.n_groups == 3 and t.chance(0.6):
        return words + t.noun_phrase(0, colour=0.2) + COMMA + t.noun_phrase(1) + AND + t.noun_phrase(2)
    return words + t.noun_phrase(0, colour=0.35, size=0.4) + AND + rest


def location_first(t: PhraseBuilder) -> Words:
    """Location, weather or position first: "On the road a cat walks while a white bird sits."."""
    if t.n_groups == 1:
        first = t.position(0.5) or t.weather() or t.position()
        return first + t.noun_phrase(0, colour=0.5, size=0.4) + t.verb(0) + t.location(0)
    while_ = t.choose("while", "and")
    if t.chance(0.5):
        return (
            t.location(0) + t.noun_phrase(0, colour=0.3) + t.verb(0) + while_ + t.noun_phrase(1, colour=0.4) + t.verb(1)
        )
    first = t.weather() or t.position()
    second = t.relation(0, 1) + t.noun_phrase(1, colour=0.4)
    return first + t.noun_phrase(0, colour=0.5) + t.verb(0) + second


def attributes(t: PhraseBuilder) -> Words:
    """Attributes of things: "The ball is red and the house behind it is white."."""
    subject = t.noun_phrase(0, definite=True)
    if t.n_groups == 1:
        words = subject + t.choose("that") + t.verb(0) + t.location(0) + t.be(0)
        return words + (t.size(0) + AND + t.colour(0) if t.chance(0.6) else t.colour(0))
    if t.chance(0.3):
        subject += t.participle(0) + t.relation(0, 1) + t.noun_phrase(1, size=0.5)
        return subject + t.be(0) + t.size(0) + AND + t.colour(0)
    words = subject + (t.participle(0) + t.location(0) if t.chance(0.35) else ()) + t.be(0) + t.colour(0) + AND
    words += t.noun_phrase(1, size=0.5, definite=True)
    words += t.relation(1, 0) + t.pronoun(0) + t.be(1) + t.colour(1)
    return words + tagged("too") if t.scene.groups[0].colour == t.scene.groups[1].colour else words


def observed(t: PhraseBuilder) -> Words:
    """From the view of an observer: "We can see a cat that sleeps on the lawn."."""
    words = t.choose("we can see", "you see", "one can see", "we see")
    words += t.noun_phrase(0, colour=0.6, size=0.3)
    if t.n_groups == 1:
        return words + t.choose("that") + t.verb(0) + t.location(0) + t.weather(0.3)
    if t.chance(0.5):
        return words + t.participle(0) + t.relation(0, 1) + t.noun_phrase(1, colour=0.5) + t.weather(0.3)
    return words + AND + t.noun_phrase(1, colour=0.4) + t.choose("that") + t.verb(1) + t.location(1)


def fragment(t: PhraseBuilder) -> Words:
    """Noun phrases without a verb, the things first: "Two white birds and a tree under a grey sky."."""
    if t.n_groups == 1:
        return t.noun_phrase(0, colour=0.8, size=0.6) + t.participle(0) + t.location(0) + (t.weather() or t.position())
    words = t.noun_phrase(0, colour=0.6, size=0.3)
    if t.n_groups == 3 and t.chance(0.5):
        words += COMMA + t.noun_phrase(1) + AND + t.noun_phrase(2)
    else:
        words += AND + t.noun_phrase(1, colour=0.6, size=0.3)
    if t.chance(0.4) and not any(high(t.scene.stuff, group.action) for group in t.scene.groups):
        return words + t.location(0) + t.weather(0.5)
    return words + WITH + t.stuff() + t.choose("in the background", "all around") + t.weather(0.3)


def setting(t: PhraseBuilder) -> Words:
    """The ground as the setting: "This is a meadow where a red kite lies."."""
    words = t.choose("this/PRON is", "the picture shows", "here we have")
    words += t.stuff() + t.choose("where", "and")
    words += t.noun_phrase(0, colour=0.5, size=0.2) + t.verb(0)
    if t.n_groups == 1:
        return words + t.weather(0.7) + t.position(0.5)
    return words + t.relation(0, 1) + t.noun_phrase(1, colour=0.4) if t.chance(0.7) else words + t.weather(0.7)


def progressive(t: PhraseBuilder) -> Words:
    """Present progressive: "In this picture a large boat is sailing under a blue sky."."""
    words = t.choose("in this/DET picture", "in the image", "here", "right/ADV now")
    words += t.noun_phrase(0, colour=0.6, size=0.4) + t.be(0) + t.participle(0)
    if t.n_groups == 1:
        return words + t.location(0) + t.weather(0.4)
    return words + t.relation(0, 1) + t.noun_phrase(1, colour=0.5, size=0.2) + t.weather(0.3)


def inverted(t: PhraseBuilder) -> Words:
    """From the view of the second thing: "A white house has a red ball in front of it."."""
    if t.n_groups == 1:
        words = t.noun_phrase(0, colour=0.8) + t.be(0) + t.participle(0) + t.location(0) + AND
        words += t.pronoun(0, subject=True) + t.choose("look" if t.scene.groups[0].count > 1 else "looks")
        return words + t.size(0)
    have = t.choose("have" if t.scene.groups[1].count > 1 else "has")
    words = t.noun_phrase(1, colour=0.7, size=0.3) + have + t.noun_phrase(0, colour=0.7, size=0.2)
    return words + t.relation(0, 1) + t.pronoun(1) + t.weather(0.4)


# A sentence pattern; it calls the builder in an order that fixes the random draws.
Grammar = Callable[[PhraseBuilder], Words]
ANNOTATORS: tuple[Grammar, ...] = (plain, existential, image_of, location_first, attributes)
PARAPHRASERS: tuple[Grammar, ...] = (observed, fragment, setting, progressive, inverted, *ANNOTATORS)
