"""With tokenizers of every habit, extraction gives what torch makes of each caption alone, without padding."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import processors

from tests.checkpoints import WORDS, write_tokenizer
from tests.language_checkpoints import make_language
from tests.models.language_reference import torch_decoder_layers
from tests.models.real_data import real_data
from tests.models.reference import distance
from tests.models.test_byte_pairs import QWEN2_SPLIT, BytePairs
from vla.activations.extract import extract
from vla.models import load_model

CAPTIONS = [
    "A black dog runs through the surf .",
    "Two men",
    "A child in a pink dress is climbing up a set of stairs in an entry way , holding on with both hands .",
    "a dog",
    "Two men",
    "A naïve café-goer reads 1,234 pages of “Émile” — twice 😀",
]


def alone(reference, ids: list[list[int]], drop_first: list[bool]) -> dict[str, np.ndarray]:
    """Every pool at every layer, [pool, layer, item, unit], each caption in a batch of its own."""
    pools: dict[str, list] = {"mean": [], "mean_no_bos": [], "last": []}
    for row, opened in zip(ids, drop_first, strict=True):
        layers = np.stack([read[0] for read in torch_decoder_layers(reference, np.array([row])).values()])
        pools["mean"].append(layers.mean(1))
        pools["mean_no_bos"].append(layers[:, opened:].mean(1))
        pools["last"].append(layers[:, -1])
    return {name: np.stack(read, axis=1) for name, read in pools.items()}


def check(directory: Path, reference, captions: list[str], ids: list[list[int]], bos: bool) -> None:
    expected = alone(reference, ids, [bos] * len(ids))
    model = load_model(directory)
    for pool, theirs in expected.items():
        assert distance(extract(model, captions, pool=pool).values, theirs) < 1e-5, pool


def save(directory: Path, kind: str, **changes):
    reference = make_language(kind, **changes)
    reference.save_pretrained(directory)
    return reference


def test_a_bare_sentencepiece_model_opens_with_its_token(tmp_path):
    """As OpenLLaMA is published: tokenizer.model alone, no token for padding."""
    path = real_data("tokenizers", "llama", "tokenizer.model")
    reference = save(tmp_path, "llama", vocab_size=32000)
    shutil.copy(path, tmp_path)
    said = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "pad_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**said, "sp_model_kwargs": {}}))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    check(tmp_path, reference, CAPTIONS, [[1, *pieces.encode(caption)] for caption in CAPTIONS], True)


@pytest.mark.parametrize(
    "name, kind, vocabulary",
    [("phi3-mini", "phi3", 32064), ("qwen2", "qwen2", 151_936), ("smollm", "llama", 49_152)],
)
def test_published_tokenizers_neither_pad_nor_cut_nor_open(name, kind, vocabulary, tmp_path):
    """smollm's pads as it is published, to an id beyond the table; the others pad on the left, or have no opening."""
    folder = real_data("tokenizers", name)
    reference = save(tmp_path, kind, vocab_size=vocabulary)
    for file in folder.iterdir():
        if file.name != "config.json":
            shutil.copy(file, tmp_path)
    if (folder / "tokenizer.json").is_file():
        reader = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        reader.no_padding()
        reader.no_truncation()
        ids = [reader.encode(caption).ids for caption in CAPTIONS]
    else:
        by_hand = BytePairs(folder, QWEN2_SPLIT)
        ids = [by_hand(caption) for caption in CAPTIONS]
    assert len({len(row) for row in ids}) > 2
    check(tmp_path, reference, CAPTIONS, ids, False)


HABITS = {
    "no_opening": ("$A", {}, {}),
    "opening": ("<s> $A", {"bos_token": "<s>"}, {}),
    "opening_and_end": ("<s> $A </s>", {"bos_token": "<s>"}, {}),
    "end_alone": ("$A </s>", {}, {}),
    "pads_left": ("<s> $A", {"bos_token": "<s>", "pad_token": "</s>", "padding_side": "left"}, {}),
    "pads_to_32_and_cuts_at_2": (
        "<s> $A",
        {"bos_token": "<s>", "pad_token": "</s>"},
        {
            "padding": {
                "strategy": {"Fixed": 32},
                "direction": "Left",
                "pad_to_multiple_of": None,
                "pad_id": 2,
                "pad_type_id": 0,
                "pad_token": "</s>",
            },
            "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        },
    ),
    "believes_in_short_texts": ("<s> $A", {"bos_token": "<s>", "model_max_length": 3, "truncation_side": "left"}, {}),
}


@pytest.mark.parametrize("habit", HABITS)
def test_habits_of_tokenizers_do_not_show(habit, tmp_path):
    template, said, file = HABITS[habit]
    reference = save(tmp_path, "llama")
    write_tokenizer(tmp_path, bos=False)
    path = tmp_path / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=template, pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    path.write_text(json.dumps({**json.loads(tokenizer.to_str()), **file}))
    fields = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**fields, **said}))
    captions = ["a dog runs on the grass near the red house", "a cat", "the boat sails", "dog"]
    inner = [[WORDS.index(word) + 3 for word in caption.split()] for caption in captions]
    begin = [1] * template.startswith("<s>")
    check(
        tmp_path, reference, captions, [[*begin, *row, *[2] * template.endswith("</s>")] for row in inner], bool(begin)
    )
    model = load_model(tmp_path)
    for nothing in ("", "  \n"):
        with pytest.raises(ValueError, match=r"caption 0 \(.*\) has no tokens"):
            model.preprocess([nothing])
