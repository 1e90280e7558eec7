"""Shows a dataset to one modality: its captions to language, its photographs to vision."""

from vla.records import Dataset, View, canonical_hash, file_hash, listed


def caption_view(dataset: Dataset, index: int = 0) -> View:
    """The `index`-th human caption of each item, counted from 0 in published order.

    Raises:
      ValueError: items have too few captions, or `index` is negative.
    """
    if index < 0:
        raise ValueError(f"index={index}; expected the caption's place in published order, from 0")
    short = [f"{item.id} ({len(item.captions)})" for item in dataset.items if len(item.captions) <= index]
    if short:
        fewest = min(len(item.captions) for item in dataset.items)
        raise ValueError(
            f"caption index {index} asks for {index + 1} captions an item, but {len(short)} of the "
            f"{len(dataset)} items of {dataset.name} have fewer: {listed(short)}. "
            f"Use an index below {fewest}, or leave these items out"
        )
    captions = tuple(item.captions[index] for item in dataset.items)
    content = canonical_hash({"modality": "language", "ids": dataset.ids, "stimuli": captions})
    return View(f"{dataset.name}/caption_{index}", "language", dataset.ids, captions, content)


def image_view(dataset: Dataset) -> View:
    """The photograph of each item as it was published.

    `content` covers the bytes of each file, not where it lies: the same photographs in another folder are the
    same view.

    Raises:
      ValueError: a photograph's file cannot be read.
    """
    hashes, lost = [], []
    for item in dataset.items:
        try:
            hashes.append(file_hash(item.image))
        except OSError as error:
            lost.append(f"{item.id} ({item.image}: {error.strerror})")
    if lost:
        raise ValueError(
            f"{len(lost)} of the {len(dataset)} photographs of {dataset.name} cannot be opened: "
            f"{listed(lost)}. Put the files there, or leave these items out"
        )
    content = canonical_hash({"modality": "vision", "ids": dataset.ids, "stimuli": hashes})
    images = tuple(item.image for item in dataset.items)
    return View(f"{dataset.name}/original", "vision", dataset.ids, images, content)
