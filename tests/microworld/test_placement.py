"""Things are where the relation, the place and the size of a scene say."""

from vla.microworld.placement import RELATIONS, high, inverse
from vla.microworld.scenes import scene

SCENES = [scene(0, index) for index in range(1000)]


def middle(group, axis):
    return sum(getattr(spot, axis) for spot in group.spots) / group.count


def test_relations_hold():
    seen = set()
    for what in SCENES:
        if what.relation is None:
            continue
        first, second = what.groups[:2]
        seen.add(what.relation)
        x, y = (middle(first, axis) - middle(second, axis) for axis in "xy")
        feet = max(s.y + s.radius for s in first.spots) - max(s.y + s.radius for s in second.spots)
        assert {
            "left of": x < -0.2,
            "right of": x > 0.2,
            "above": y < -0.2,
            "below": y > 0.2,
            "behind": feet < 0 and abs(x) < 0.35,
            "in front of": feet > 0 and abs(x) < 0.35,
        }[what.relation], what
    assert seen == set(RELATIONS)


def test_places_and_sizes_are_what_the_words_say():
    for what in SCENES:
        x = middle(what.groups[0], "x")
        assert {"left": x < 0.46, "middle": 0.4 < x < 0.6, "right": x > 0.54}[what.position], what
        for group in what.groups:
            for spot in group.spots:
                assert (spot.radius > 0.15) == (group.size == "big")
                # Its body is within the picture.
                assert 0.9 * spot.radius < spot.x < 1 - 0.9 * spot.radius
                assert 0.6 * spot.radius < spot.y < 1 - 0.3 * spot.radius


def test_what_is_in_the_air_is_higher_than_what_is_not():
    for what in SCENES:
        heights = {True: [], False: []}
        for group in what.groups:
            heights[high(what.stuff, group.action)] += [spot.y for spot in group.spots]
        if what.relation not in ("above", "below") and heights[True] and heights[False]:
            assert max(heights[True]) < min(heights[False]) + 0.12, what


def test_inverse():
    assert [inverse(relation) for relation in RELATIONS] == [
        "right of", "left of", "in front of", "behind", "below", "above",
    ]  # fmt: skip
