"""Token ids of vocab.json and merges.txt are byte pairs merged by hand."""

import dataclasses
import html
import itertools
import json
import shutil
import unicodedata
from pathlib import Path

import pytest
import regex
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from tests.checkpoints import edit_config, write_language, write_tokenizer
from tests.models.captions import ROOMY, awkward_captions, read, rows, write_config
from tests.models.real_data import real_data
from vla.models import load_model
from vla.models.tokenizer import Tokenizer


def byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it is printable, else the next one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


class BytePairs:
    """Byte pairs as OpenAI's GPT-2 and CLIP merge them: of all pairs of a word, the one that was learned first."""

    def __init__(self, directory: Path, split: str, flags: int = 0, end: str = "") -> None:
        self.ids = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
        lines = (directory / "merges.txt").read_text(encoding="utf-8").split("\n")
        pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.split, self.end, self.letters = regex.compile(split, flags), end, byte_letters()

    def __call__(self, text: str) -> list[int]:
        return [self.ids[part] for word in self.split.findall(text) for part in self.merged(word)]

    def merged(self, word: str) -> list[str]:
        parts = [self.letters[byte] for byte in word.encode()]
        parts[-1] += self.end
        while len(parts) > 1:
            ranked = {pair: self.ranks[pair] for pair in itertools.pairwise(parts) if pair in self.ranks}
            if not ranked:
                break
            first, second = min(ranked, key=ranked.__getitem__)
            after, i = [], 0
            while i < len(parts):
                fits = parts[i] == first and i + 1 < len(parts) and parts[i + 1] == second
                after.append(first + second if fits else parts[i])
                i += 1 + fits
            parts = after
        return parts


GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


CLIP_SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_byte_pairs(directory: Path, captions: list[str], special: list[str], end: str = "") -> None:
    """vocab.json and merges.txt of byte pairs learned on captions."""
    suffix = {"end_of_word_suffix": end} if end else {}
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers.Tokenizer(models.BPE(**suffix))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=alphabet, show_progress=False, **suffix)
    tokenizer.train_from_iterator(captions, trainer)
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1]))
    for token in [*([letter + end for letter in alphabet] if end else []), *special]:
        vocabulary.setdefault(token, len(vocabulary))
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("said", [None, {"tokenizer_class": "GPT2Tokenizer"}, {"add_bos_token": True}])
def test_gpt2s_files_give_gpt2s_byte_pairs(said, tmp_path):
    captions = awkward_captions(300)
    train_byte_pairs(tmp_path, captions, ["<|endoftext|>"])
    if said is not None:
        write_config(tmp_path, **said)
    by_hand = BytePairs(tmp_path, GPT2_SPLIT)
    end = by_hand.ids["<|endoftext|>"]
    opening = [end] if said and "add_bos_token" in said else []
    tokenizer = read(tmp_path, "gpt2")
    assert rows(tokenizer(captions)) == [[*opening, *by_hand(caption)] for caption in captions]
    assert rows(tokenizer(["dog<|endoftext|>"])) == [[*opening, *by_hand("dog"), end]]
    assert tokenizer.bos == end


def test_qwen2s_published_files_give_qwen2s_byte_pairs():
    directory = real_data("tokenizers", "qwen2")
    by_hand = BytePairs(directory, QWEN2_SPLIT)
    captions = awkward_captions()
    tokenizer = read(directory, "qwen2")
    assert rows(tokenizer(captions)) == [by_hand(nfc(caption)) for caption in captions]
    assert tokenizer.bos is None
    chat = "<|im_start|>user\na dog<|im_end|>"
    assert rows(tokenizer([chat])) == [[151_644, *by_hand("user\na dog"), 151_645]]


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("said", [None, {"tokenizer_class": "CLIPTokenizer"}])
def test_clips_files_give_openais_byte_pairs(said, tmp_path):
    """Cleaned as in OpenAI's simple_tokenizer.py, but for ftfy."""
    captions = awkward_captions()
    train_byte_pairs(tmp_path, [caption.lower() for caption in captions], ["<|startoftext|>", "<|endoftext|>"], "</w>")
    if said is not None:
        write_config(tmp_path, **said)
    by_hand = BytePairs(tmp_path, CLIP_SPLIT, regex.IGNORECASE, "</w>")
    start, end = by_hand.ids["<|startoftext|>"], by_hand.ids["<|endoftext|>"]
    cleaned = [html.unescape(html.unescape(nfc(caption))).strip() for caption in captions]
    expected = [[start, *by_hand(regex.sub(r"\s+", " ", text).strip().lower()), end] for text in cleaned]
    tokenizer = read(tmp_path, "clip_text_model")
    assert rows(tokenizer(captions)) == expected
    assert rows(tokenizer(["a &amp; b"])) == rows(tokenizer(["A  &\nb "]))
    short = Tokenizer(tmp_path, dataclasses.replace(ROOMY, length=5), "CLIPTokenizer")
    assert rows(short(["a dog on the grass"], truncate=True)) == [
        [*rows(tokenizer(["a dog on the grass"]))[0][:4], end]
    ]


def test_added_tokens_have_the_ids_that_are_declared_or_are_refused(tmp_path):
    captions = awkward_captions(100)
    train_byte_pairs(tmp_path, captions, ["<|endoftext|>"])
    N = len(json.loads((tmp_path / "vocab.json").read_text()))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<b>": N + 1, "<a>": N}))
    assert rows(read(tmp_path, "gpt2")(["<b><a>"])) == [[N + 1, N]]
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<b>": N + 5}))
    with pytest.raises(ValueError, match=rf"token '<b>' is declared with id {N + 5}, but .* give it {N}"):
        read(tmp_path, "gpt2")


def test_the_config_beside_a_tokenizer_changes_neither_ids_nor_fingerprint(tmp_path):
    write_language(tmp_path / "model")
    write_tokenizer(tmp_path / "tokenizer")
    models = []
    for model_type in (None, "llama", "qwen2"):
        if model_type is not None:
            (tmp_path / "tokenizer" / "config.json").write_text("{}")
            edit_config(tmp_path / "tokenizer", model_type=model_type)
        models.append(load_model(tmp_path / "model", processor=tmp_path / "tokenizer", weights=False))
    assert len({model.fingerprint for model in models}) == 1
    assert len({str(rows(model.preprocess(["a dog"]))) for model in models}) == 1


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json", "tokenizer_config.json", "added_tokens.json"])
def test_every_file_that_decides_ids_is_in_the_fingerprint(name, tmp_path):
    write_language(tmp_path, vocab_size=2000)
    (tmp_path / "tokenizer.json").unlink()
    train_byte_pairs(tmp_path, ["a dog runs on the grass"] * 3, ["<|endoftext|>"])
    write_config(tmp_path, tokenizer_class="GPT2Tokenizer")
    before = load_model(tmp_path, weights=False).fingerprint
    path = tmp_path / name
    text = path.read_text() if path.exists() else "{}"
    path.write_text(text.strip() if text.endswith("\n") else text + "\n")
    assert load_model(tmp_path, weights=False).fingerprint != before


def test_a_real_tokenizer_may_be_copied_bare(tmp_path):
    """As OpenLLaMA is published: tokenizer.model alone."""
    path = real_data("tokenizers", "llama", "tokenizer.model")
    shutil.copy(path, tmp_path)
    caption = "A black dog runs through the surf."
    expected = sentencepiece.SentencePieceProcessor(model_file=str(path)).encode(caption)
    tokenizer = read(tmp_path)
    assert (tokenizer.bos, rows(tokenizer([caption]))) == (1, [[1, *expected]])
    # what the checkpoint says goes before what the family does by default
    write_config(tmp_path, add_bos_token=False)
    assert rows(read(tmp_path)([caption])) == [expected]
