"""Draws captions anew: what a caption says is kept, all else is another; or one thing that it says is wrong."""

import dataclasses
from random import Random

from vla.microworld.scenes import Description, Scene, compose
from vla.microworld.world import ACTIONS, COLOURS, KINDS, SIZES, STUFF

_TRIES = 60
# A prompt names things and their colours more often than anything else; so are the mistakes.
MISTAKES = ("colour", "kind", "relation", "stuff", "count", "size", "action")


def rerender(says: Description, scene: Scene, rng: Random) -> Scene:
    """Another scene of which the same can be said; of the same part as the first.

    Where a caption says nearly all, the first scene itself is arranged anew.
    """
    try:
        return compose(rng, says, scene.part)
    except ValueError:
        return dataclasses.replace(scene, grain=rng.randrange(2**31))


def spoil(says: Description, rng: Random, part: str) -> tuple[Scene, str]:
    """A scene of which one thing that is said is wrong, and which: an attribute, a thing or a relation.

    Raises:
      ValueError: there is none that differs so.
    """
    for _ in range(_TRIES):
        mistake = rng.choice(MISTAKES)
        wrong = _wrong(says, mistake, rng)
        if wrong is None:
            continue
        try:
            scene = compose(rng, wrong, part)
        except ValueError:
            continue
        if not says.fits(scene):
            return scene, mistake
    raise ValueError(f"nothing of {says} can be drawn wrongly. Describe more of a scene")


def _wrong(says: Description, mistake: str, rng: Random) -> Description | None:
    """What is said with one thing changed; None where that is not said."""
    if mistake == "relation":
        others = {"behind": "in front of", "in front of": "behind", "above": "below", "below": "above"}
        others |= {"left of": "right of", "right of": "left of", "beside": "behind"}
        return dataclasses.replace(says, relation=others[says.relation]) if says.relation else None
    if mistake == "stuff":
        if says.stuff is None:
            return None
        return dataclasses.replace(says, stuff=rng.choice([stuff for stuff in STUFF if stuff != says.stuff]))
    which = rng.randrange(len(says.groups))
    group = says.groups[which]
    choices = {"colour": COLOURS, "kind": tuple(KINDS), "count": (1, 2, 3), "size": SIZES, "action": ACTIONS}[mistake]
    if getattr(group, mistake) is None:
        return None
    taken = {each.kind for each in says.groups} if mistake == "kind" else {getattr(group, mistake)}
    other = rng.choice([choice for choice in choices if choice not in taken])
    # Another kind of thing does what its kind does.
    changed = dataclasses.replace(group, kind=other, action=None) if mistake == "kind" else None
    changed = changed or dataclasses.replace(group, **{mistake: other})
    return dataclasses.replace(says, groups=(*says.groups[:which], changed, *says.groups[which + 1 :]))
