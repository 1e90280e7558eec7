"""Does manipulations to the captions of many items at once."""

from collections.abc import Sequence

from vla.stimuli.caption_manipulations.tagging import Tagger
from vla.stimuli.draws import Key
from vla.stimuli.manipulation import Step


def apply_steps(
    steps: Sequence[Step], captions: Sequence[str], keys: Sequence[Key], tagger: Tagger
) -> list[str | None]:
    """Captions after some manipulations, each done to the outcome of the one before.

    Args:
      steps: Of `CAPTION_MANIPULATIONS`.
      captions: The captions.
      keys: What each caption's draws are for, such as (seed, item id).
      tagger: Cuts captions into tokens, where a step needs them.

    Returns:
      One caption each; None for one that a step's policy leaves out.

    Raises:
      ValueError: As of `Tagger.tag`.
    """
    shown: list[str | None] = list(captions)
    for step in steps:
        here = [row for row, caption in enumerate(shown) if caption is not None]
        before = [str(shown[row]) for row in here]
        for row, old, new in zip(here, before, _apply(step, before, [keys[row] for row in here], tagger), strict=True):
            emptied = step.policies.get("empty") == "drop" and not new
            # The same words in the same order, however they were spaced.
            unchanged = step.policies.get("unchanged") == "drop" and new.split() == old.split()
            shown[row] = None if emptied or unchanged else new
    return shown


def _apply(step: Step, captions: Sequence[str], keys: Sequence[Key], tagger: Tagger) -> list[str]:
    """The outcome of one manipulation of every caption."""
    own, given = step.manipulation, step.parameters
    cut = given.pop("cut", None)
    if own.tagged:
        cuts = tagger.tag(captions)
    elif cut == "spacy":
        cuts = [[token.text for token in tokens] for tokens in tagger.tag(captions)]
    else:
        cuts = [caption.split() for caption in captions]
    if own.seeded:
        return [own.apply(words, key, **given) for words, key in zip(cuts, keys, strict=True)]
    return [own.apply(words, **given) for words in cuts]
