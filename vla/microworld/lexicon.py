"""The words of the captions with their universal parts of speech, with synonyms for most concepts."""

Words = tuple[tuple[str, str], ...]


def tagged(text: str) -> Words:
    """Parse tagged words, such as "next/ADV to/ADP"."""
    return tuple((word, tag) for word, _, tag in (pair.rpartition("/") for pair in text.split()))


def _all(*texts: str) -> tuple[Words, ...]:
    return tuple(tagged(text) for text in texts)


# (singular, plural) of each name of a category; the first name is the usual one.
NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "ball": (("ball", "balls"),),
    "balloon": (("balloon", "balloons"),),
    "bird": (("bird", "birds"),),
    "boat": (("boat", "boats"), ("ship", "ships")),
    "car": (("car", "cars"), ("automobile", "automobiles")),
    "cat": (("cat", "cats"), ("kitty", "kitties")),
    "chair": (("chair", "chairs"), ("seat", "seats")),
    "cup": (("cup", "cups"), ("mug", "mugs")),
    "fish": (("fish", "fish"),),
    "flower": (("flower", "flowers"), ("blossom", "blossoms")),
    "house": (("house", "houses"), ("cottage", "cottages"), ("home", "homes")),
    "kite": (("kite", "kites"),),
    "plane": (("plane", "planes"), ("airplane", "airplanes"), ("jet", "jets")),
    "star": (("star", "stars"),),
    "tree": (("tree", "trees"),),
    "umbrella": (("umbrella", "umbrellas"), ("parasol", "parasols")),
}
SIZES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
NUMBERS = {2: "two", 3: "three"}

# Third person singular, base form (also of the plural), participle.
_VERBS: dict[str, tuple[str, ...]] = {
    "bloom": ("blooms bloom blooming", "grows grow growing"),
    "bounce": ("bounces bounce bouncing",),
    "drift": ("drifts drift drifting", "floats float floating"),
    "fall": ("falls fall falling",),
    "float": ("floats float floating", "hovers hover hovering", "drifts drift drifting"),
    "fly": ("flies fly flying", "soars soar soaring", "glides glide gliding"),
    "grow": ("grows grow growing", "stands stand standing"),
    "hang": ("hangs hang hanging", "dangles dangle dangling"),
    "jump": ("jumps jump jumping", "leaps leap leaping"),
    "lie": ("lies lie lying", "rests rest resting"),
    "roll": ("rolls roll rolling",),
    "sail": ("sails sail sailing", "cruises cruise cruising"),
    "shine": ("shines shine shining", "glows glow glowing", "twinkles twinkle twinkling"),
    "sit": ("sits sit sitting",),
    "sleep": ("sleeps sleep sleeping", "naps nap napping", "dozes doze dozing"),
    "speed": ("speeds speed speeding", "races race racing", "drives drive driving"),
    "stand": ("stands stand standing",),
    "steam": ("steams steam steaming",),
    "swim": ("swims swim swimming",),
    "wait": ("waits wait waiting", "stands stand standing"),
    "walk": ("walks walk walking", "strolls stroll strolling"),
}
_VERBS_OF = {
    ("ball", "float"): ("floats float floating", "bobs bob bobbing"),
    ("bird", "sit"): ("sits sit sitting", "perches perch perching"),
    ("cup", "stand"): ("stands stand standing", "sits sit sitting"),
}
SINGULAR, BASE, PARTICIPLE = range(3)

# Noun phrases of the ground, for "a picture of ...".
STUFF: dict[str, tuple[Words, ...]] = {
    "brick wall": _all(
        "a/DET brick/NOUN wall/NOUN", "a/DET red/ADJ brick/NOUN wall/NOUN", "a/DET wall/NOUN of/ADP bricks/NOUN"
    ),
    "grass": _all("green/ADJ grass/NOUN", "a/DET green/ADJ lawn/NOUN", "a/DET grassy/ADJ meadow/NOUN"),
    "night sky": _all("the/DET night/NOUN sky/NOUN", "a/DET dark/ADJ sky/NOUN", "the/DET starry/ADJ night/NOUN"),
    "road": _all("a/DET road/NOUN", "a/DET grey/ADJ street/NOUN", "a/DET grey/ADJ road/NOUN"),
    "sand": _all("a/DET sandy/ADJ beach/NOUN", "yellow/ADJ sand/NOUN", "a/DET beach/NOUN"),
    "sea": _all("the/DET blue/ADJ sea/NOUN", "the/DET ocean/NOUN", "open/ADJ water/NOUN"),
    "snow": _all("white/ADJ snow/NOUN", "a/DET snowy/ADJ field/NOUN", "snowy/ADJ ground/NOUN"),
    "wooden floor": _all(
        "a/DET wooden/ADJ floor/NOUN", "a/DET floor/NOUN of/ADP wood/NOUN", "a/DET brown/ADJ wooden/ADJ floor/NOUN"
    ),
}
# Location of what touches the ground.
ON: dict[str, tuple[Words, ...]] = {
    "brick wall": _all("in/ADP front/NOUN of/ADP a/DET brick/NOUN wall/NOUN", "by/ADP a/DET brick/NOUN wall/NOUN"),
    "grass": _all("on/ADP the/DET grass/NOUN", "on/ADP the/DET green/ADJ lawn/NOUN", "in/ADP a/DET meadow/NOUN"),
    "road": _all("on/ADP the/DET road/NOUN", "on/ADP the/DET street/NOUN", "on/ADP a/DET grey/ADJ road/NOUN"),
    "sand": _all("on/ADP the/DET sand/NOUN", "on/ADP the/DET beach/NOUN", "on/ADP a/DET sandy/ADJ beach/NOUN"),
    "sea": _all("on/ADP the/DET sea/NOUN", "on/ADP the/DET water/NOUN", "on/ADP the/DET blue/ADJ ocean/NOUN"),
    "snow": _all("in/ADP the/DET snow/NOUN", "on/ADP the/DET snow/NOUN", "on/ADP snowy/ADJ ground/NOUN"),
    "wooden floor": _all(
        "on/ADP a/DET wooden/ADJ floor/NOUN", "on/ADP the/DET floor/NOUN", "on/ADP the/DET wooden/ADJ floor/NOUN"
    ),
}
# Location of what is in the air.
OVER: dict[str, tuple[Words, ...]] = {
    "brick wall": ON["brick wall"],
    "grass": _all("over/ADP the/DET grass/NOUN", "above/ADP a/DET green/ADJ meadow/NOUN", "over/ADP the/DET lawn/NOUN"),
    "night sky": _all(
        "in/ADP the/DET night/NOUN sky/NOUN",
        "in/ADP the/DET dark/ADJ sky/NOUN",
        "in/ADP the/DET sky/NOUN at/ADP night/NOUN",
    ),
    "road": _all("over/ADP the/DET road/NOUN", "above/ADP the/DET street/NOUN", "over/ADP a/DET grey/ADJ road/NOUN"),
    "sand": _all("over/ADP the/DET beach/NOUN", "above/ADP the/DET sand/NOUN", "over/ADP a/DET sandy/ADJ beach/NOUN"),
    "sea": _all("over/ADP the/DET sea/NOUN", "above/ADP the/DET water/NOUN", "over/ADP the/DET blue/ADJ ocean/NOUN"),
    "snow": _all(
        "over/ADP the/DET snow/NOUN", "above/ADP a/DET snowy/ADJ field/NOUN", "over/ADP snowy/ADJ ground/NOUN"
    ),
    "wooden floor": _all(
        "over/ADP a/DET wooden/ADJ floor/NOUN", "above/ADP the/DET floor/NOUN", "over/ADP the/DET wooden/ADJ floor/NOUN"
    ),
}
# Location of moving things.
_MOVING = {
    "grass": _all("across/ADP the/DET grass/NOUN", "over/ADP the/DET lawn/NOUN"),
    "road": _all("along/ADP the/DET road/NOUN", "down/ADP the/DET street/NOUN", "across/ADP the/DET road/NOUN"),
    "snow": _all("through/ADP the/DET snow/NOUN", "across/ADP the/DET snow/NOUN"),
    "wooden floor": _all("across/ADP a/DET wooden/ADJ floor/NOUN", "over/ADP the/DET floor/NOUN"),
}
_ROADSIDE = _all("by/ADP the/DET road/NOUN", "beside/ADP a/DET grey/ADJ road/NOUN", "beside/ADP the/DET street/NOUN")
# Location by (ground, action), where it is not that of ON or OVER.
LOCATION: dict[tuple[str, str], tuple[Words, ...]] = {
    ("brick wall", "hang"): _all("on/ADP a/DET brick/NOUN wall/NOUN", "from/ADP a/DET brick/NOUN wall/NOUN"),
    ("night sky", "fly"): (*OVER["night sky"], tagged("across/ADP the/DET night/NOUN sky/NOUN")),
    ("night sky", "fall"): (OVER["night sky"][0], tagged("from/ADP the/DET night/NOUN sky/NOUN")),
    ("road", "grow"): _ROADSIDE,
    ("sea", "jump"): _all("out/ADP of/ADP the/DET sea/NOUN", "out/ADP of/ADP the/DET water/NOUN"),
    ("sea", "swim"): _all("in/ADP the/DET sea/NOUN", "in/ADP the/DET water/NOUN", "in/ADP the/DET blue/ADJ ocean/NOUN"),
    **{(stuff, action): words for stuff, words in _MOVING.items() for action in ("roll", "speed", "walk")},
}
# Location by (ground, category), before all others.
LOCATION_OF_CATEGORY: dict[tuple[str, str], tuple[Words, ...]] = {("road", "house"): _ROADSIDE}

WEATHER: dict[str, tuple[Words, ...]] = {
    "cloudy": _all(
        "on/ADP a/DET cloudy/ADJ day/NOUN", "under/ADP a/DET grey/ADJ sky/NOUN", "under/ADP dark/ADJ clouds/NOUN"
    ),
    "sunny": _all(
        "on/ADP a/DET sunny/ADJ day/NOUN",
        "under/ADP a/DET blue/ADJ sky/NOUN",
        "in/ADP the/DET bright/ADJ sunshine/NOUN",
    ),
    "sunset": _all(
        "at/ADP sunset/NOUN", "in/ADP the/DET evening/NOUN", "under/ADP a/DET red/ADJ evening/NOUN sky/NOUN"
    ),
}
POSITION: dict[str, tuple[Words, ...]] = {
    "left": _all("on/ADP the/DET left/NOUN", "on/ADP the/DET left/ADJ side/NOUN"),
    "middle": _all("in/ADP the/DET middle/NOUN", "in/ADP the/DET centre/NOUN"),
    "right": _all("on/ADP the/DET right/NOUN", "on/ADP the/DET right/ADJ side/NOUN"),
}
RELATION: dict[str, tuple[Words, ...]] = {
    "above": _all("above/ADP", "over/ADP"),
    "behind": _all(
        "behind/ADP",
    ),
    "below": _all("below/ADP", "under/ADP", "beneath/ADP"),
    "beside": _all("next/ADV to/ADP", "beside/ADP", "near/ADP"),
    "in front of": _all("in/ADP front/NOUN of/ADP"),
    "left of": _all("to/ADP the/DET left/NOUN of/ADP"),
    "right of": _all("to/ADP the/DET right/NOUN of/ADP"),
}


def verbs(category: str, action: str) -> tuple[tuple[str, str, str], ...]:
    """The verbs for an action of a thing, each as (third person singular, base form, participle)."""
    forms = _VERBS_OF.get((category, action), _VERBS[action])
    return tuple((singular, base, participle) for singular, base, participle in map(str.split, forms))


def location(stuff: str, category: str, action: str, in_the_air: bool) -> tuple[Words, ...]:
    """The phrases for the location of a thing relative to the ground, such as "on the grass"."""
    usual = OVER[stuff] if in_the_air else ON[stuff]
    return LOCATION_OF_CATEGORY.get((stuff, category)) or LOCATION.get((stuff, action)) or usual
