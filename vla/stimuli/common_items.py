"""Restricts views to the items that all of them can show."""

from collections.abc import Sequence

from vla.records import View
from vla.stimuli.view_content import restricted


def common_items(views: Sequence[View]) -> tuple[tuple[View, ...], dict[str, tuple[str, ...]]]:
    """Views of the same items in the same order, for conditions that are compared.

    A caption without a noun cannot be shown as nouns; compared with the original, its item must be out of both.

    Args:
      views: Views of one dataset, of either modality. The order is that of the first.

    Returns:
      The views, restricted to the items that all of them show (a view that loses nothing is returned as it is); and,
      of each item that one of them lost, the names of the views that could not show it, to be reported.

    Raises:
      ValueError: no views, or no item that all of them show.
    """
    if not views:
        raise ValueError("There are no views to compare: give at least one")
    shared = set(views[0].ids).intersection(*(view.ids for view in views))
    if not shared:
        raise ValueError(
            f"{', '.join(view.name for view in views)} have no item in common; give views of the same dataset"
        )
    kept = {id: id for id in views[0].ids if id in shared}
    everywhere = dict.fromkeys(id for view in views for id in (*view.ids, *view.left_out))
    lost = {
        id: tuple(dict.fromkeys(view.name for view in views if id not in view.ids))
        for id in everywhere
        if id not in shared
    }
    return tuple(view if view.ids == tuple(kept) else restricted(view, kept) for view in views), lost
