"""Finds activations that older code made, so that they are not recomputed without a word."""

from collections.abc import Sequence

from vla.activations.extract import NUMERICS_VERSION
from vla.experiments.experiment import Layers
from vla.experiments.participants import Checkpoint
from vla.experiments.study import Study
from vla.records import View

# What else must agree for two sets of activations to be meant as the same.
_SAME = ("model_fingerprint", "view_content", "pool", "dtype")


def refuse_older(study: Study, participant: Checkpoint, views: Sequence[tuple[View, Layers]]) -> None:
    """Refuse to extract anew what the store has from older code, unless the study says to recompute.

    Raises:
      ValueError: There are such activations; the message explains.
    """
    if study.older == "recompute":
        return
    missing = [participant.recipes(*one) for one in views if not participant.has(*one)]
    names = participant.store.names() if missing else []
    found = {}
    for wanted in missing:
        for name in (name for name in names if name.startswith(wanted.name.rsplit("--", 1)[0])):
            attributes = participant.store.attributes(name)
            version = attributes.get("numerics_version", 0)
            same = all(attributes.get(key) == wanted.determines[key] for key in _SAME)
            if same and version < NUMERICS_VERSION:
                found[name] = version
    if found:
        name, version = next(iter(found.items()))
        raise ValueError(
            f"the store {participant.store.root} holds {len(found)} sets of activations that older code made, such as "
            f"{name} (numerics version {version}, now {NUMERICS_VERSION}): the same model on the same view now gives "
            "other numbers, so they are not used. Set --config.older=recompute to extract them again (the old ones "
            "stay until you delete them), or use the version of vla that made them"
        )
