"""Packed captions of every language family equal each caption alone on torch; equal captions are computed once."""

import json

import numpy as np
import pytest

from tests.activations import tiny
from tests.checkpoints import WORDS, write_tokenizer
from tests.language_checkpoints import LANGUAGE, write_family
from tests.models.language_reference import torch_decoder_layers
from vla.activations.captions import ROW_TOKENS, caption_batches, pack, row_length
from vla.activations.extract import extract
from vla.models import load_model

LONGROPE = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.1, 1.2, 1.3], "long_factor": [1.5, 3, 6]}
CASES = {
    **{kind: (kind, {}) for kind in LANGUAGE},
    "phi3, longrope": (
        "phi3",
        {
            "hidden_size": 24,
            "num_attention_heads": 4,
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 10,
        },
    ),
    "bloom, 6 heads": ("bloom", {"hidden_size": 24, "n_head": 6}),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
}
CASES |= {
    f"{case}, not causal": (CASES[case][0], {**CASES[case][1], "is_causal": False})
    for case in ("bloom", "gpt2", "llama", "mistral", "phi3, longrope", "qwen2, windows")
}
CASES["gemma3_text, both ways"] = ("gemma3_text", {"use_bidirectional_attention": True, "sliding_window": 8})


def captions_that_begin_alike() -> list[str]:
    rng = np.random.default_rng(0)
    starts = ["the old dog", "the old red boat sails on the water near", "a cat"]
    made = [f"{starts[i % 3]} {' '.join(rng.choice(WORDS, rng.integers(1, 12)))}" for i in range(20)]
    return [*made, "the old dog", made[0], " ".join(["two"] * 24)]


@pytest.mark.parametrize("case", CASES)
def test_packed_captions_are_what_torch_makes_of_each_alone(case, tmp_path):
    kind, changes = CASES[case]
    twin = write_family(tmp_path / "net", kind, **changes)
    # not beside the config: transformers would take the tokenizer for one of the model's family
    write_tokenizer(tmp_path / "words")
    model = load_model(tmp_path / "net", processor=tmp_path / "words")
    captions = captions_that_begin_alike()
    ids = model.preprocess(captions)
    read = extract(model, captions, pool=("mean", "last"))
    assert read.dims == ("pool", "layer", "item", "unit") and read["pool"].values.tolist() == ["mean", "last"]
    for i, tokens in enumerate(ids):
        theirs = np.stack([hidden[0] for hidden in torch_decoder_layers(twin, tokens[None]).values()])
        assert tiny.apart(read.values[0, :, i], theirs.mean(1)) < 1e-5
        assert tiny.apart(read.values[1, :, i], theirs[:, -1]) < 1e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.language(tmp_path_factory.mktemp("language") / "tiny-llama")[0]


def test_equal_captions_are_one(model):
    captions = ["a dog", "a cat", "a dog", "a dog  ", "a dog runs"]
    [(batch, places)] = caption_batches(model, captions, list("abcde"), ("mean",))
    real = batch.ends > np.arange(batch.ends.shape[1])
    assert real.sum() == 5  # <s> a dog runs, cat
    assert sorted(places.items.tolist()) == [0, 1, 2, 3, 4]
    slots = dict(zip(places.items.tolist(), places.slots.tolist(), strict=True))
    assert slots[0] == slots[2] == slots[3] != slots[4]


def test_several_pools_are_those_of_one_each(model):
    captions = tiny.captions(9)
    together = extract(model, captions, pool=["last", "mean_no_bos", "mean", "last"])
    assert together["pool"].values.tolist() == ["last", "mean_no_bos", "mean"]
    for pool in model.pools:
        np.testing.assert_array_equal(together.sel(pool=pool).values, extract(model, captions, pool=pool).values)
    with pytest.raises(ValueError, match="pool is an empty list; expected some of"):
        extract(model, captions, pool=[])


def test_longest_captions_and_short_ones_share_no_padding(model, monkeypatch):
    from vla.activations import captions as module

    monkeypatch.setattr(module, "row_length", lambda captions: 16)
    monkeypatch.setattr(module, "ROW_TOKENS", 16)
    stimuli = tiny.captions(20)
    batches = caption_batches(model, stimuli, stimuli, ("mean",))
    assert sorted({batch.tokens.shape[1] for batch, _ in batches}) == [16, 32, 48]
    assert sorted(item for _, places in batches for item in places.items) == list(range(20))


def test_the_item_whose_caption_is_too_long_is_named(model):
    with pytest.raises(ValueError, match=r"item 'b': .*has 41 tokens, but the model reads 40 at most"):
        extract(model, ["a dog", " ".join(["dog"] * tiny.LENGTH)], items=["a", "b"])


def test_a_tokenizer_that_pads_changes_nothing(tmp_path):
    twin = write_family(tmp_path, "llama")
    fields = json.loads((tmp_path / "tokenizer.json").read_text())
    fields["padding"] = {
        "strategy": {"Fixed": 12},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 2,
        "pad_type_id": 0,
        "pad_token": "</s>",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    model = load_model(tmp_path)
    [ids] = model.preprocess(["the old dog"])
    assert len(ids) == 4
    theirs = np.stack([hidden[0].mean(0) for hidden in torch_decoder_layers(twin, ids[None]).values()])
    assert tiny.apart(extract(model, ["the old dog", "a cat"]).values[:, 0], theirs) < 1e-5


def test_a_large_model_gets_batches_without_empty_rows(model, monkeypatch):
    made = tiny.captions(62)

    def empty_rows() -> int:
        batches = [batch for batch, _ in caption_batches(model, made, [str(i) for i in range(62)], ("mean",), 4)]
        return sum(int((batch.weights == 0).all(axis=(1, 2)).sum()) for batch in batches)

    assert empty_rows() > 0
    plain = extract(model, made, batch_size=4)
    monkeypatch.setattr("vla.activations.captions._LARGE", 1)
    assert empty_rows() == 0
    assert tiny.apart(extract(model, made, batch_size=4).values, plain.values) < 1e-6


def ids(*captions: list[int]) -> list[np.ndarray]:
    return [np.array(caption, np.int32) for caption in captions]


def test_a_tree_by_hand():
    [row] = pack(ids([1, 8], [1, 5, 7], [1, 5, 6, 9], [1, 5]), 16)
    assert row.members == (3, 2, 1, 0)
    assert row.tokens.tolist() == [1, 5, 6, 9, 7, 8]
    assert row.positions.tolist() == [0, 1, 2, 3, 2, 1]
    assert row.ends.tolist() == [6, 5, 4, 4, 5, 6]
    assert [places.tolist() for places in row.indices] == [[0, 1], [0, 1, 2, 3], [0, 1, 4], [0, 5]]


def random_captions(n: int) -> list[np.ndarray]:
    """Captions of a small alphabet, so that many begin alike, no two the same."""
    rng = np.random.default_rng(0)
    found = {tuple(rng.integers(0, 3, rng.integers(1, 21)).tolist()) for _ in range(n)}
    return ids(*map(list, sorted(found, key=hash)))


@pytest.mark.parametrize("longest", [8, 20, 64])
def test_every_token_sees_its_own_caption_up_to_itself_and_nothing_else(longest):
    captions = random_captions(300)
    rows = pack(captions, longest)
    assert sorted(member for row in rows for member in row.members) == list(range(len(captions)))
    for row in rows:
        assert len(row.tokens) <= longest or len(row.members) == 1
        reach = [{u for u in range(t + 1) if t < row.ends[u]} for t in range(len(row.tokens))]
        for member, places in zip(row.members, row.indices, strict=True):
            assert np.array_equal(row.tokens[places], captions[member])
            assert np.array_equal(row.positions[places], np.arange(len(places)))
            for i, place in enumerate(places):
                assert reach[place] == set(places[: i + 1].tolist())


def test_what_captions_share_is_computed_once_and_rows_are_full():
    captions = random_captions(2000)
    rows = pack(captions, 64)
    nodes = {tuple(caption[:i].tolist()) for caption in captions for i in range(1, len(caption) + 1)}
    used = sum(len(row.tokens) for row in rows)
    # the beginnings that two rows have in common are what is left to pay
    assert used < 1.25 * len(nodes) < 0.75 * sum(map(len, captions))
    assert used > 0.97 * 64 * (len(rows) - 1)


@pytest.mark.parametrize("longest", [20, 64])
def test_without_sharing_captions_that_begin_alike_stand_side_by_side(longest):
    captions = random_captions(300)
    rows = pack(captions, longest, share=False)
    assert sorted(member for row in rows for member in row.members) == list(range(len(captions)))
    for row in rows:
        assert sorted(np.concatenate(row.indices).tolist()) == list(range(len(row.tokens)))
        for member, places in zip(row.members, row.indices, strict=True):
            assert np.array_equal(row.tokens[places], captions[member])
            assert np.array_equal(row.positions[places], np.arange(len(places)))
            # what `sequence.within` tells captions apart by
            assert set(row.ends[places].tolist()) == {places[-1] + 1}


def test_long_captions_are_alone():
    captions = ids([1, 2, 3], [1, 2], [1, 2, 3, 4], [1] * 9, [1])
    assert [sorted(row.members) for row in pack(captions, 8)] == [[3], [0, 1, 2, 4]]
    assert [sorted(row.members) for row in pack(captions, 8, limit=3)] == [[3], [2], [0, 1, 4]]


def test_few_captions_need_no_long_row():
    assert row_length(ids([1] * 7, [2] * 10)) == 32
    assert row_length(random_captions(300)) == ROW_TOKENS
