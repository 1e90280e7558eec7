"""Says things of a scene in phrases, and keeps account of what was said."""

import dataclasses
from random import Random

from vla.microworld import lexicon
from vla.microworld.lexicon import BASE, PARTICIPLE, SINGULAR, Words, tagged
from vla.microworld.placing import high, inverse
from vla.microworld.scenes import Description, Scene, Wanted


class Teller:
    """Phrases for one caption of a scene.

    Attributes:
      scene: What is told of.
      rng: Source of chance.
      n: How many groups of things there are.
    """

    def __init__(self, scene: Scene, rng: Random):
        """Nothing is said yet."""
        self.scene, self.rng, self.n = scene, rng, len(scene.groups)
        self._groups: dict[int, Wanted] = {}
        self._says: dict[str, str] = {}

    def chance(self, probability: float) -> bool:
        """True as often as said."""
        return self.rng.random() < probability

    def one(self, *texts: str) -> Words:
        """One of several tagged phrases."""
        return tagged(self.rng.choice(texts))

    def some(self, which: int, colour: float = 0.0, size: float = 0.0, the: bool = False) -> Words:
        """A group as a noun phrase: "a small red ball", "two birds", "the cat".

        Args:
          which: Which group.
          colour: How often its colour is said.
          size: How often its size is said.
          the: With "the", its number not said but by the noun's form.
        """
        group = self.scene.groups[which]
        self._say(which, count=group.count)
        words: list[tuple[str, str]] = []
        if self.chance(size):
            self._say(which, size=group.size)
            words.append((self.rng.choice(lexicon.SIZES[group.size]), "ADJ"))
        if self.chance(colour):
            self._say(which, colour=group.colour)
            words.append((group.colour, "ADJ"))
        words.append((self.noun(which), "NOUN"))
        if the:
            first = (("the", "DET"),)
        elif group.count > 1:
            first = ((lexicon.NUMBERS[group.count], "NUM"),)
        else:
            first = (("an" if words[0][0][0] in "aeiou" else "a", "DET"),)
        return (*first, *words)

    def noun(self, which: int) -> str:
        """What a group is called, by its usual name two times of three."""
        group = self.scene.groups[which]
        self._say(which)
        names = lexicon.NOUNS[group.kind]
        name = names[0] if len(names) == 1 or self.chance(0.65) else self.rng.choice(names[1:])
        return name[group.count > 1]

    def does(self, which: int) -> Words:
        """What a group does, in the present: "flies", "fly"."""
        return ((self._verb(which)[BASE if self._plural(which) else SINGULAR], "VERB"),)

    def doing(self, which: int) -> Words:
        """The same as a participle: "flying"."""
        return ((self._verb(which)[PARTICIPLE], "VERB"),)

    def be(self, which: int, tag: str = "AUX") -> Words:
        """The form of "be" that agrees with a group; a full verb in "there is"."""
        return (("are" if self._plural(which) else "is", tag),)

    def it(self, which: int, subject: bool = False) -> Words:
        """A group as a pronoun."""
        return ((("they" if subject else "them") if self._plural(which) else "it", "PRON"),)

    def colour(self, which: int) -> Words:
        """A group's colour as a predicate."""
        group = self.scene.groups[which]
        self._say(which, colour=group.colour)
        return ((group.colour, "ADJ"),)

    def size(self, which: int) -> Words:
        """A group's size as a predicate."""
        group = self.scene.groups[which]
        self._say(which, size=group.size)
        return ((self.rng.choice(lexicon.SIZES[group.size]), "ADJ"),)

    def where(self, which: int) -> Words:
        """On, over or in what a group is."""
        group = self.scene.groups[which]
        self._says["stuff"] = self.scene.stuff
        in_the_air = high(self.scene.stuff, group.action)
        return self.rng.choice(lexicon.where(self.scene.stuff, group.kind, group.action, in_the_air))

    def stuff(self) -> Words:
        """The ground as a noun phrase."""
        self._says["stuff"] = self.scene.stuff
        return self.rng.choice(lexicon.STUFF[self.scene.stuff])

    def weather(self, probability: float = 1.0) -> Words:
        """What the sky does, as often as said; nothing where there is no such sky."""
        if self.scene.weather is None or not self.chance(probability):
            return ()
        self._says["weather"] = self.scene.weather
        return self.rng.choice(lexicon.WEATHER[self.scene.weather])

    def place(self, probability: float = 1.0) -> Words:
        """Where in the picture the first group is, as often as said."""
        if not self.chance(probability):
            return ()
        self._says["place"] = self.scene.place
        return self.rng.choice(lexicon.PLACE[self.scene.place])

    def to(self, which: int, other: int) -> Words:
        """How one of the first two groups is placed to the other: "behind", "next to"."""
        assert self.scene.relation is not None and {which, other} == {0, 1}
        relation = self.scene.relation if which == 0 else inverse(self.scene.relation)
        if relation in ("left of", "right of") and self.chance(0.65):
            relation = "beside"
            self._says["relation"] = "beside"
        else:
            self._says["relation"] = self.scene.relation
        return self.rng.choice(lexicon.RELATION[relation])

    def says(self) -> Description:
        """All that was said so far."""
        order = sorted(self._groups)
        known: dict = dict(self._says)
        if not {0, 1} <= set(order):
            known.pop("relation", None)
        return Description(groups=tuple(self._groups[i] for i in order), **known)

    def _say(self, which: int, **known: object) -> None:
        group = self.scene.groups[which]
        # The noun's form tells one from several, and a number several from more.
        before = self._groups.get(which, Wanted(group.kind, count=group.count))
        self._groups[which] = dataclasses.replace(before, **known)  # pyright: ignore

    def _plural(self, which: int) -> bool:
        return self.scene.groups[which].count > 1

    def _verb(self, which: int) -> tuple[str, str, str]:
        group = self.scene.groups[which]
        self._say(which, action=group.action)
        return self.rng.choice(lexicon.verbs(group.kind, group.action))
