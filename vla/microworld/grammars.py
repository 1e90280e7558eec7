"""How five people describe a scene, each in a grammar of their own, and how the same is said in yet other words."""

from collections.abc import Callable

from vla.microworld.lexicon import Words, tagged
from vla.microworld.placing import high
from vla.microworld.teller import Teller

AND, WITH, COMMA = tagged("and/CCONJ"), tagged("with/ADP"), ((",", "PUNCT"),)


def plain(t: Teller) -> Words:
    """What the main thing does and where: "A red ball rolls across the grass next to a house."."""
    words = t.some(0, colour=0.85, size=0.4) + t.does(0)
    if t.n == 1:
        return words + t.where(0) + t.weather(0.5) + t.place(0.3)
    if t.chance(0.6):
        return words + t.where(0) + t.to(0, 1) + t.some(1, colour=0.4, size=0.2)
    return words + t.to(0, 1) + t.some(1, colour=0.6, size=0.3) + t.weather(0.5)


def existential(t: Teller) -> Words:
    """That something is there: "There are two birds flying above a green tree."."""
    words = tagged("there/PRON") + t.be(0, "VERB") + t.some(0, colour=0.6, size=0.2)
    if t.n == 1:
        return words + t.doing(0) + t.where(0) + t.weather(0.4)
    if t.chance(0.5):
        return words + t.doing(0) + t.to(0, 1) + t.some(1, colour=0.6)
    return words + AND + t.some(1, colour=0.6) + t.doing(1) + t.where(1)


def photograph(t: Teller) -> Words:
    """The scene first, then what is in it, without a verb: "A picture of the sea with two boats."."""
    head = t.one("a/DET picture/NOUN of/ADP", "a/DET photo/NOUN of/ADP", "a/DET view/NOUN of/ADP")
    words = head + t.stuff() + t.weather(0.6) + WITH
    if t.n == 1:
        return words + t.some(0, colour=0.5, size=0.6) + t.place(0.7)
    rest = t.some(1, colour=0.25, size=0.4)
    if t.n == 3 and t.chance(0.6):
        return words + t.some(0, colour=0.2) + COMMA + t.some(1) + AND + t.some(2)
    return words + t.some(0, colour=0.35, size=0.4) + AND + rest


def place_first(t: Teller) -> Words:
    """Where or when first: "On the road a cat walks while a white bird sits."."""
    if t.n == 1:
        first = t.place(0.5) or t.weather() or t.place()
        return first + t.some(0, colour=0.5, size=0.4) + t.does(0) + t.where(0)
    while_ = t.one("while/SCONJ", "and/CCONJ")
    if t.chance(0.5):
        return t.where(0) + t.some(0, colour=0.3) + t.does(0) + while_ + t.some(1, colour=0.4) + t.does(1)
    first = t.weather() or t.place()
    second = t.to(0, 1) + t.some(1, colour=0.4)
    return first + t.some(0, colour=0.5) + t.does(0) + second


def describer(t: Teller) -> Words:
    """What things are like: "The ball is red and the house behind it is white."."""
    the = t.some(0, the=True)
    if t.n == 1:
        words = the + t.one("that/PRON") + t.does(0) + t.where(0) + t.be(0)
        return words + (t.size(0) + AND + t.colour(0) if t.chance(0.6) else t.colour(0))
    if t.chance(0.3):
        return the + t.doing(0) + t.to(0, 1) + t.some(1, size=0.5) + t.be(0) + t.size(0) + AND + t.colour(0)
    words = the + (t.doing(0) + t.where(0) if t.chance(0.35) else ()) + t.be(0) + t.colour(0) + AND
    words += t.some(1, size=0.5, the=True)
    words += t.to(1, 0) + t.it(0) + t.be(1) + t.colour(1)
    return words + tagged("too/ADV") if t.scene.groups[0].colour == t.scene.groups[1].colour else words


def seen(t: Teller) -> Words:
    """As told by someone who looks: "We can see a cat that sleeps on the lawn."."""
    words = t.one("we/PRON can/AUX see/VERB", "you/PRON see/VERB", "one/PRON can/AUX see/VERB", "we/PRON see/VERB")
    words += t.some(0, colour=0.6, size=0.3)
    if t.n == 1:
        return words + t.one("that/PRON") + t.does(0) + t.where(0) + t.weather(0.3)
    if t.chance(0.5):
        return words + t.doing(0) + t.to(0, 1) + t.some(1, colour=0.5) + t.weather(0.3)
    return words + AND + t.some(1, colour=0.4) + t.one("that/PRON") + t.does(1) + t.where(1)


def fragment(t: Teller) -> Words:
    """No sentence, the things first: "Two white birds and a tree under a grey sky."."""
    if t.n == 1:
        return t.some(0, colour=0.8, size=0.6) + t.doing(0) + t.where(0) + (t.weather() or t.place())
    words = t.some(0, colour=0.6, size=0.3)
    if t.n == 3 and t.chance(0.5):
        words += COMMA + t.some(1) + AND + t.some(2)
    else:
        words += AND + t.some(1, colour=0.6, size=0.3)
    if t.chance(0.4) and not any(high(t.scene.stuff, group.action) for group in t.scene.groups):
        return words + t.where(0) + t.weather(0.5)
    return words + WITH + t.stuff() + t.one("in/ADP the/DET background/NOUN", "all/ADV around/ADV") + t.weather(0.3)


def setting(t: Teller) -> Words:
    """What kind of place it is: "This is a meadow where a red kite lies."."""
    words = t.one("this/PRON is/AUX", "the/DET picture/NOUN shows/VERB", "here/ADV we/PRON have/VERB")
    words += t.stuff() + t.one("where/ADV", "and/CCONJ")
    words += t.some(0, colour=0.5, size=0.2) + t.does(0)
    if t.n == 1:
        return words + t.weather(0.7) + t.place(0.5)
    return words + t.to(0, 1) + t.some(1, colour=0.4) if t.chance(0.7) else words + t.weather(0.7)


def progressive(t: Teller) -> Words:
    """What is going on: "In this picture a large boat is sailing under a blue sky."."""
    words = t.one("in/ADP this/DET picture/NOUN", "in/ADP the/DET image/NOUN", "here/ADV", "right/ADV now/ADV")
    words += t.some(0, colour=0.6, size=0.4) + t.be(0) + t.doing(0)
    if t.n == 1:
        return words + t.where(0) + t.weather(0.4)
    return words + t.to(0, 1) + t.some(1, colour=0.5, size=0.2) + t.weather(0.3)


def turned(t: Teller) -> Words:
    """From the other thing's side: "A white house has a red ball in front of it."."""
    if t.n == 1:
        it = t.some(0, colour=0.8) + t.be(0) + t.doing(0) + t.where(0)
        return (
            it
            + AND
            + t.it(0, subject=True)
            + t.one("look/VERB" if t.scene.groups[0].count > 1 else "looks/VERB")
            + t.size(0)
        )
    have = t.one("have/VERB" if t.scene.groups[1].count > 1 else "has/VERB")
    return (
        t.some(1, colour=0.7, size=0.3) + have + t.some(0, colour=0.7, size=0.2) + t.to(0, 1) + t.it(1) + t.weather(0.4)
    )


Grammar = Callable[[Teller], Words]
ANNOTATORS: tuple[Grammar, ...] = (plain, existential, photograph, place_first, describer)
PARAPHRASERS: tuple[Grammar, ...] = (seen, fragment, setting, progressive, turned, *ANNOTATORS)
