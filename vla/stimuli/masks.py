"""Finds the items that a view of things or of stuff cannot show."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from vla.checks import RemediableError, listed
from vla.records import Dataset, Item
from vla.stimuli.image_manipulations import item_mask
from vla.stimuli.specs import Step

_THREADS = 4

_NEEDED = {
    "things": "Things are known from COCO's instances or COCO-Stuff's pixel maps",
    "stuff": "Stuff is known from COCO-Stuff's pixel maps (stuffthingmaps) alone, not from instances",
}


def without_masks(dataset: Dataset, steps: Sequence[Step], source: str = "photograph") -> list[str]:
    """Ids of items without a mask that some step needs, or with an empty one, as the step's policies say.

    Raises:
      ValueError: items have no mask and the policy `unmasked` is "refuse"; no item has one; a mask is needed after the
        pixels have moved, or of another image than the photograph.
    """
    left_out: set[str] = set()
    for place, step in enumerate(steps):
        own = step.manipulation
        if not own.masked:
            continue
        moved = [earlier.manipulation.name for earlier in steps[:place] if earlier.manipulation.moves]
        if moved:
            raise ValueError(
                f"{own.name} after {', '.join(moved)} would lay the photograph's mask on pixels that have moved; put "
                f"{own.name} before it"
            )
        if source != "photograph":
            raise ValueError(f"{own.name} needs masks, which only photographs have; source={source!r} has none")
        states = _states(dataset, own.masked)
        lacking = [id for id, state in states.items() if state is None]
        if lacking and (step.policies["unmasked"] == "refuse" or len(lacking) == len(dataset)):
            drop = ', or pass unmasked="drop" to leave these items out' if len(lacking) < len(dataset) else ""
            raise RemediableError(
                f"{len(lacking)} of the {len(dataset)} items of {dataset.name} have no mask of {own.masked}, which "
                f"{own.name} needs: {listed(lacking)}. {_NEEDED[own.masked]}: read the dataset with them{drop}",
                {"unmasked": "drop"} if drop else {"masks": own.masked},
            )
        left_out |= set(lacking)
        if step.policies["empty"] == "drop":
            left_out |= {id for id, state in states.items() if state is False}
    if len(dataset) and len(left_out) == len(dataset):
        raise ValueError(
            f'no item of {dataset.name} is left: all {len(dataset)} masks are empty. Pass empty="keep" to show them '
            "filled all over, or choose other items"
        )
    return [id for id in dataset.ids if id in left_out]


def _states(dataset: Dataset, kind: str) -> dict[str, bool | None]:
    """For each item whether its mask shows anything; None where there is no mask."""

    def state(item: Item) -> bool | None:
        if item.segmentation is None:
            return None
        mask = item_mask(item.id, item.image, item.segmentation, kind)
        return None if mask is None else bool(mask.any())

    with ThreadPoolExecutor(_THREADS) as threads:
        return dict(zip(dataset.ids, threads.map(state, dataset.items), strict=True))
