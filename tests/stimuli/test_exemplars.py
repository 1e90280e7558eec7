"""Exemplars come in the stated order, humans' before generated ones, of the same items at every place."""

import dataclasses
from pathlib import Path

import pytest

from tests.stimuli.example_images import noise
from vla.records import Dataset, Item
from vla.stimuli import Tagger, caption_exemplars, caption_view, image_exemplars, image_view


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    items = []
    for place, id in enumerate("abc"):
        images = tuple(tmp_path / f"{id}{number}.png" for number in range(4))
        for number, path in enumerate(images):
            noise(8, 8, 10 * place + number).save(path)
        # Published datasets have five captions of most photographs, six or seven of some.
        captions = tuple(f"a dog {number} of {id}" for number in range(3 + (id == "b")))
        paraphrases = tuple(f"the grass {number} of {id}" for number in range(4))
        items.append(Item(id, images[0], captions, paraphrases, images[1:]))
    return Dataset("toy", tuple(items))


def test_human_captions_then_paraphrases(dataset):
    views = caption_exemplars(dataset, 5)
    assert [view.name for view in views] == [f"toy/caption_{i}" for i in range(3)] + [
        "toy/paraphrase_0",
        "toy/paraphrase_1",
    ]
    assert {view.ids for view in views} == {("a", "b", "c")}
    # The fourth exemplar of every item is a paraphrase, though b has a fourth human caption.
    assert views[3].stimuli == ("the grass 0 of a", "the grass 0 of b", "the grass 0 of c")
    # The same views as anywhere else, so that activations are extracted once.
    assert views[1] == caption_view(dataset, 1)
    assert views[:2] == caption_exemplars(dataset, 2)


def test_fewer_human_captions(dataset):
    assert [view.name for view in caption_exemplars(dataset, 3, human=1)] == [
        "toy/caption_0",
        "toy/paraphrase_0",
        "toy/paraphrase_1",
    ]
    assert [view.name for view in caption_exemplars(dataset, 2, human=0)] == ["toy/paraphrase_0", "toy/paraphrase_1"]


def test_a_seeded_order_is_drawn_for_each_item_within_its_kinds():
    items = tuple(Item(str(i), Path("x"), tuple("vwxyz"), tuple("VWXYZ")) for i in range(200))
    views = caption_exemplars(Dataset("toy", items), 10, order="seeded", seed=5)
    assert views[0].name == "toy/caption_0/seeded-5"
    rows = list(zip(*(view.stimuli for view in views), strict=True))
    assert all("".join(sorted(row[:5])) == "vwxyz" and "".join(sorted(row[5:])) == "VWXYZ" for row in rows)
    # Binomial with mean 40 and standard deviation 6.
    assert all(15 < [row[place] for row in rows].count("v") < 65 for place in range(5))
    assert (
        caption_exemplars(Dataset("toy", items[::-1]), 1, order="seeded", seed=5)[0].stimuli == views[0].stimuli[::-1]
    )
    assert caption_exemplars(Dataset("toy", items), 1, order="seeded", seed=6)[0].stimuli != views[0].stimuli


def test_manipulated_exemplars_are_of_the_same_items(dataset, pipeline):
    items = list(dataset.items)
    items[1] = dataclasses.replace(items[1], captions=("a dog", "beautiful !", "a boat"))
    views = caption_exemplars(
        Dataset("toy", tuple(items)), 3, manipulation="nouns", tagger=Tagger(pipeline, cache=None)
    )
    assert [(view.name, view.ids, view.left_out) for view in views] == [
        (f"toy/caption_{i}/nouns", ("a", "c"), ("b",)) for i in range(3)
    ]
    assert views[1].stimuli[0].startswith("dog")


def test_images(dataset):
    views = image_exemplars(dataset, 3)
    assert views == tuple(image_view(dataset, source="synthetic", index=i) for i in range(3))
    assert [view.name for view in image_exemplars(dataset, 3, source="with_photograph")] == [
        "toy/original",
        "toy/synthetic_0",
        "toy/synthetic_1",
    ]
    assert image_exemplars(dataset, 2, manipulation="blur")[1] == image_view(
        dataset, "blur", source="synthetic", index=1
    )
    seeded = image_exemplars(dataset, 3, order="seeded")
    assert seeded[0].name == "toy/synthetic_0/seeded-42"
    assert [set(row) for row in zip(*(view.stimuli for view in seeded), strict=True)] == [
        set(item.synthetic) for item in dataset.items
    ]


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (caption_exemplars, {"k": 8}, r"k=8 exemplars need 5 paraphrases an item, but 3 of the 3 .*: a \(4\), b \(4\)"),
        (caption_exemplars, {"k": 4, "human": 4}, r"need 4 human captions .* 2 of the 3 .*: a \(3\), c \(3\). Ask for"),
        (caption_exemplars, {"k": 0}, "k=0; expected a whole number of at least 1"),
        (caption_exemplars, {"k": 2.0}, "k=2.0; expected a whole number"),
        (caption_exemplars, {"k": 2, "order": "random"}, "order='random'; expected one of published, seeded"),
        (image_exemplars, {"k": 4}, r"k=4 exemplars need 4 synthetic images an item, but 3 of the 3"),
        (image_exemplars, {"k": 5, "source": "with_photograph"}, "need 4 synthetic images"),
        (image_exemplars, {"k": 1, "source": "all"}, "source='all'; expected one of synthetic, with_photograph"),
    ],
)
def test_too_few(dataset, make, options, words):
    with pytest.raises(ValueError, match=words):
        make(dataset, **options)
