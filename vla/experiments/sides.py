"""What one modality is shown in a condition: views of which the activations are averaged, then perhaps mismatched."""

import dataclasses
from typing import Any

from vla.experiments.choices import Choices
from vla.records import Modality
from vla.stimuli import CAPTION_MANIPULATIONS, IMAGE_MANIPULATIONS
from vla.stimuli.specs import ORIGINAL, read_spec, read_steps

BEST, WORST = "best_by_clip", "worst_by_clip"
LENGTH = "length"

# Images that judgments have, in the words of conditions.
_IMAGES = {"preferred": {}, "non_preferred": {"source": "rejected"}}
_OWN = {"vision": ("average", "non_preferred", "preferred"), "language": ("average", BEST, LENGTH, "mismatched", WORST)}
_WHICH = ("index", "source")


@dataclasses.dataclass(frozen=True)
class Side:
    """What one modality is shown.

    Attributes:
      modality: Whose it is.
      members: Specs of single views, as `vla.experiments.gallery.Gallery.view` reads them; their activations are
        averaged item by item.
      mismatched: Whether every item is then given the row of another.
    """

    modality: Modality
    members: tuple[str, ...]
    mismatched: bool = False


def read_side(spec: Any, modality: Modality, choices: Choices) -> Side:
    """The side that a condition names.

    Args:
      spec: As `vla.stimuli.view` reads it: manipulations joined by " + ", with `source` and `index`. Beside them:
        "average:k=5" for the mean of the first k captions (human ones, then paraphrases) or synthetic images;
        "preferred" and "non_preferred" images of judgments; "best_by_clip" and "worst_by_clip" captions; "mismatched"
        captions, each of another item; "length", the number of characters, words and tokens of the first caption.
      modality: Whose side it is.
      choices: What the condition leaves open.

    Raises:
      ValueError: Something of it is not known; the message lists what is.
    """
    steps, average, mismatched, kind = [], None, False, ""
    for name, given in read_spec(spec):
        if name == "average" and set(given) <= {"k"}:
            average = _count(spec, given.get("k"))
        elif name == "mismatched" and modality == "language" and not given:
            mismatched = True
        elif name in (BEST, WORST, LENGTH) and modality == "language" and not given:
            kind = name
        elif name in _IMAGES and modality == "vision" and not given:
            steps.append((ORIGINAL, dict(_IMAGES[name])))
        else:
            steps.append((name, dict(given)))
    which = {key: given.pop(key) for _, given in steps for key in _WHICH if key in given}
    steps = [(name, {**choices.of_step(name, modality), **given}) for name, given in steps]
    steps = [step for step in steps if step != (ORIGINAL, {})]
    _check(spec, modality, steps)
    if kind and (steps or which or average):
        raise ValueError(f"{spec!r}: {kind} stands alone, or with mismatched only")
    return Side(modality, _members(modality, steps, which, average, kind, choices), mismatched)


def _members(
    modality: Modality, steps: list, which: dict[str, Any], average: int | None, kind: str, choices: Choices
) -> tuple[str, ...]:
    if kind == LENGTH:
        return (LENGTH,)
    if kind:
        return tuple(f"{kind}:place={place}" for place in range(2)) if choices.clip_groups == "median" else (kind,)
    if average is None:
        if modality == "language" and "index" not in which and choices.caption:
            which = {**which, "index": choices.caption}
        return (_spelled(steps, which),)
    if modality == "language":
        own = choices.human_captions
        places = [{"index": i} if i < own else {"source": "paraphrase", "index": i - own} for i in range(average)]
    else:
        first = int(choices.synthetic_set == "with_photograph")
        places = [{}] * first + [{"source": "synthetic", "index": i} for i in range(average - first)]
    return tuple(_spelled(steps, {**which, **place}) for place in places)


def _spelled(steps: list[tuple[str, dict[str, Any]]], which: dict[str, Any]) -> str:
    """One spelling of each view, so that a view that several conditions show is known as one."""
    which = {key: value for key, value in which.items() if str(value) not in ("0", "human", "photograph")}
    if which.get("source") == "synthetic" or which.get("source") == "paraphrase":
        which.setdefault("index", 0)
    parts = [(name, given) for name, given in steps] or [(ORIGINAL, {})]
    parts[0] = (parts[0][0], {**parts[0][1], **which})
    return " + ".join(
        name + (":" + ",".join(f"{key}={value}" for key, value in sorted(given.items())) if given else "")
        for name, given in parts
    )


def _check(spec: Any, modality: Modality, steps: list[tuple[str, dict[str, Any]]]) -> None:
    known = IMAGE_MANIPULATIONS if modality == "vision" else CAPTION_MANIPULATIONS
    own = _OWN[modality]
    for name, given in steps:
        if name not in known:
            kind = "image" if modality == "vision" else "caption"
            raise ValueError(
                f"{spec!r}: no {kind} view is called {name!r}; expected one of "
                f"{', '.join(sorted([*known, *own, ORIGINAL]))}"
            )
        read_steps({"name": name, **given}, known)


def _count(spec: Any, given: Any) -> int:
    text = str(given)
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{spec!r}: average needs k, how many, such as average:k=5")
    return int(text)
