"""Token ids are those of the tokenizers library for a tokenizer.json, with the tokens that the files add."""

import dataclasses
import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

import vla
from tests.checkpoints import WORDS, write_language, write_tokenizer
from tests.models.captions import ROOMY, awkward_captions, read, rows, write_config
from tests.models.real_data import real_data
from vla.models import load_model
from vla.models.tokenizer import Tokenizer


@pytest.mark.parametrize("bos", [True, False])
def test_captions_become_ids_with_default_special_tokens(bos, tmp_path):
    write_language(tmp_path, bos=bos)
    ids = load_model(tmp_path).preprocess(["a dog runs", "the cat", "zebra"])
    place = {word: i + 3 for i, word in enumerate(WORDS)}
    start = [1] if bos else []
    expected = [[*start, place["a"], place["dog"], place["runs"]], [*start, place["the"], place["cat"]], [*start, 0]]
    assert rows(ids) == expected
    assert all(row.dtype == np.int32 for row in ids)


def test_nothing_becomes_nothing(tmp_path):
    write_language(tmp_path)
    assert load_model(tmp_path).preprocess([]) == []


@pytest.mark.parametrize(
    "captions, message",
    [
        (["a dog", 3], "caption 1 is int; expected str"),
        (["a dog", ""], r"caption 1 \(''\) has no tokens"),
        (["a dog", " \n"], r"caption 1 \(' \\n'\) has no tokens"),
        (["a dog", "<s>"], r"caption 1 \('<s>'\) has no tokens"),
        (
            ["a dog", "a \ud83d dog"],
            r"caption 1 \(.*\) is not valid Unicode: .* at character 2; read the file .* UTF-8",
        ),
        (["dog " * 64], r"caption 0 \('dog dog .* \.\.\.\) has 65 tokens, but the model reads 64 at most"),
    ],
)
def test_captions_that_cannot_be_read_are_named(captions, message, tmp_path):
    write_language(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path).preprocess(captions)


def test_a_tokenizer_of_another_model_is_noticed(tmp_path):
    write_language(tmp_path / "model")
    write_tokenizer(tmp_path / "other", [*WORDS, "zebra"])
    model = load_model(tmp_path / "model", processor=tmp_path / "other")
    with pytest.raises(ValueError, match=r"caption 0 \('a zebra'\) has token id 23, but .* below 23.*processor="):
        model.preprocess(["a zebra"])


def test_an_absent_tokenizer_is_asked_for_and_may_come_from_elsewhere(tmp_path):
    write_language(tmp_path / "model")
    write_tokenizer(tmp_path / "tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).unlink()
    with pytest.raises(ValueError, match=r"no tokenizer in .*: expected tokenizer\.json or .*; found .*processor="):
        load_model(tmp_path / "model")
    assert len(load_model(tmp_path / "model", processor=tmp_path / "tokenizer").preprocess(["a dog"])[0]) == 3


def test_a_tokenizer_without_its_config_is_refused(tmp_path):
    write_language(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match="no tokenizer_config.json beside tokenizer.json"):
        load_model(tmp_path)


def test_a_broken_tokenizer_is_refused(tmp_path):
    write_language(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"the tokenizers library cannot read .*tokenizer\.json: "):
        load_model(tmp_path)


def test_the_length_of_the_model_is_what_counts(tmp_path):
    write_tokenizer(tmp_path)
    tokenizer = Tokenizer(tmp_path, dataclasses.replace(ROOMY, length=3), "")
    assert len(tokenizer(["a dog"])[0]) == 3
    with pytest.raises(ValueError, match="has 4 tokens, but the model reads 3 at most"):
        tokenizer(["a dog runs"])


def test_a_text_that_is_cut_keeps_what_opens_and_closes_it(tmp_path):
    write_templated(tmp_path, "<s> $A </s>")
    tokenizer = Tokenizer(tmp_path, dataclasses.replace(ROOMY, length=4), "")
    assert rows(tokenizer(["a dog runs on grass", "cat"], truncate=True)) == [
        [1, *words("a dog"), 2],
        [1, *words("cat"), 2],
    ]


def test_a_tokenizer_can_be_sent_to_another_process(tmp_path):
    write_tokenizer(tmp_path)
    assert rows(pickle.loads(pickle.dumps(read(tmp_path)))(["a dog"])) == rows(read(tmp_path)(["a dog"]))


def test_a_tokenizer_is_read_without_transformers():
    """Its import takes seconds, which nobody who loads a language model need pay."""
    folder = Path(vla.__file__).parent / "microworld" / "weights" / "micro-llama"
    code = (
        f"import sys, vla; ids = vla.load_model({str(folder)!r}, weights=False).preprocess(['a red ball']); "
        "assert len(ids[0]) > 1 and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def words(text: str) -> list[int]:
    return [WORDS.index(word) + 3 for word in text.split()]


def write_templated(directory: Path, template: str | None, **fields) -> None:
    """A tokenizer of WORDS whose post-processor puts <s> (1) and </s> (2) where the template says."""
    write_tokenizer(directory, bos=False)
    path = directory / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    if template is not None:
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single=template, pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    tokenizer.save(str(path))
    write_config(directory, **{"bos_token": "<s>", "eos_token": "</s>", **fields})


@pytest.mark.parametrize("add_eos", [None, False, True])
@pytest.mark.parametrize("add_bos", [None, False, True])
@pytest.mark.parametrize("template", [None, "$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_special_tokens_are_added_as_the_config_asks_and_else_as_the_file_does(template, add_bos, add_eos, tmp_path):
    asked = {"add_bos_token": add_bos, "add_eos_token": add_eos}
    write_templated(tmp_path, template, tokenizer_class="LlamaTokenizerFast", **asked)
    opens = "<s>" in (template or "") if add_bos is None else add_bos
    closes = "</s>" in (template or "") if add_eos is None else add_eos
    tokenizer = read(tmp_path)
    assert rows(tokenizer(["a dog"])) == [[*[1] * opens, *words("a dog"), *[2] * closes]]
    assert tokenizer.bos == 1


def test_a_text_of_opening_and_end_alone_has_no_tokens(tmp_path):
    write_templated(tmp_path, "<s> $A </s>")
    tokenizer = read(tmp_path)
    assert rows(tokenizer(["dog"])) == [[1, *words("dog"), 2]]
    for nothing in ("", " ", "\n\t", "<s>"):
        with pytest.raises(ValueError, match=r"caption 1 \(.*\) has no tokens"):
            tokenizer(["dog", nothing])


@pytest.mark.parametrize("template, fields", [("<s> $A", {}), ("$A", {"add_bos_token": True})])
def test_a_caption_that_a_chat_template_has_opened_is_not_opened_again(template, fields, tmp_path):
    write_templated(tmp_path, template, **fields)
    opened, plain, inside = read(tmp_path)(["<s> a dog", "a dog", "a <s> dog"])
    assert opened.tolist() == plain.tolist() == [1, *words("a dog")]
    assert inside.tolist() == [1, *words("a"), 1, *words("dog")]


def test_special_tokens_may_be_named_by_objects_and_by_the_map_alone(tmp_path):
    write_templated(tmp_path, "$A", bos_token=None, eos_token=None, add_bos_token=True, add_eos_token=True)
    assert rows(read(tmp_path)(["a dog"])) == [words("a dog")]  # null: nothing to add
    bos = {"content": "<s>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": bos, "eos_token": "</s>"}))
    assert rows(read(tmp_path)(["a dog"])) == [[1, *words("a dog"), 2]]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"bos_token": "<begin>", "add_bos_token": True}, r"bos_token '<begin>' is to be added.* no token"),
        (
            {"eos_token": "<end>", "add_eos_token": True},
            r"eos_token '<end>' is to be added.*correct eos_token or add_eos",
        ),
        ({"add_bos_token": "yes"}, r"add_bos_token is 'yes'; expected true or false"),
    ],
)
def test_special_tokens_that_cannot_be_added_are_named(fields, message, tmp_path):
    write_templated(tmp_path, "$A", **fields)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_what_opens_a_text_is_its_bos_where_none_is_named(tmp_path):
    write_templated(tmp_path, "<s> $A")
    write_config(tmp_path, tokenizer_class="PreTrainedTokenizerFast")
    assert read(tmp_path).bos == 1
    write_config(tmp_path, add_bos_token=False)
    assert rows(read(tmp_path)(["a dog"])) == [words("a dog")]


def test_control_tokens_in_a_caption_are_text_where_the_config_says_so(tmp_path):
    write_templated(tmp_path, "<s> $A", split_special_tokens=True)
    reader = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    reader.encode_special_tokens = True
    expected = reader.encode("a <s> dog").ids
    assert expected.count(1) == 1
    assert rows(read(tmp_path)(["a <s> dog"])) == [expected]


def test_padding_truncation_and_dropout_of_the_file_are_not_used(tmp_path):
    captions = [f"a {one} {two}" for one, two in itertools.product(WORDS, WORDS)]
    tokenizer = tokenizers.Tokenizer(models.BPE(dropout=0.5))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()  # type: ignore[assignment]
    tokenizer.train_from_iterator(captions, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    tokenizer.model.dropout = None
    expected = [tokenizer.encode(caption).ids for caption in captions]
    tokenizer.model.dropout = 0.5
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_config(tmp_path, tokenizer_class="GPT2Tokenizer")
    assert rows(read(tmp_path)(captions)) == expected


def llama_like(captions: list[str]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")  # Yi's: no blank before the first word
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.decoder = tokenizers.decoders.ByteFallback()
    return tokenizer


def cl100k_like(captions: list[str]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    steps = [
        pre_tokenizers.Split(tokenizers.Regex(split), "isolated"),
        pre_tokenizers.ByteLevel(False, use_regex=False),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def unigram(captions: list[str]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(vocab_size=800, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


@pytest.mark.parametrize("make", [llama_like, cl100k_like, unigram])
def test_a_tokenizer_json_is_read_as_it_stands_whatever_is_named_beside_it(make, tmp_path):
    captions = awkward_captions()
    write_language(tmp_path, vocab_size=2000, max_position_embeddings=1024)  # a config.json of LLaMA's
    tokenizer = make(captions)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    expected = [tokenizer.encode(caption).ids for caption in captions]
    for named in ("LlamaTokenizer", "GPT2Tokenizer", "Qwen2TokenizerFast", "GemmaTokenizer", None):
        write_config(tmp_path, tokenizer_class=named, bos_token="<s>", eos_token="</s>")
        assert rows(load_model(tmp_path, weights=False).preprocess(captions)) == expected, named


@pytest.mark.parametrize(
    "folder, opens",
    [
        (("tokenizers", "smollm"), False),
        (("tokenizers", "phi3-mini"), False),
        (("models", "stories260K"), True),
    ],
)
def test_published_tokenizer_jsons_give_the_ids_of_the_library(folder, opens):
    """smollm's pads every text to the longest and splits digits, which its named class does not."""
    directory = real_data(*folder)
    reader = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    reader.no_padding()
    reader.no_truncation()
    captions = awkward_captions()
    expected = [reader.encode(caption).ids for caption in captions]
    assert all((ids[0] == 1) == opens for ids in expected)
    assert rows(read(directory)(captions)) == expected


def test_smollm_splits_digits_and_keeps_blanks_apart():
    [ids] = read(real_data("tokenizers", "smollm"))(["two dogs  2 cats"])
    reader = tokenizers.Tokenizer.from_file(str(real_data("tokenizers", "smollm") / "tokenizer.json"))
    assert [reader.id_to_token(number) for number in ids] == ["two", "Ġdogs", "ĠĠ", "2", "Ġcats"]


def test_an_id_for_padding_beyond_the_table_does_no_harm():
    folder = real_data("tokenizers", "smollm")
    tokenizer = Tokenizer(folder, dataclasses.replace(ROOMY, vocabulary=49_152), "")
    assert len(tokenizer(["A black dog runs through the surf."])) == 1
    with pytest.raises(ValueError, match=r"caption 0 \('\[PAD\]'\) has token id 49152, but .* below 49152.*smollm"):
        tokenizer(["[PAD]"])


@pytest.mark.parametrize("name", ["llama", "qwen2", "smollm", "phi3-mini"])
def test_real_tokenizers_give_back_their_captions(name):
    tokenizer = read(real_data("tokenizers", name), "qwen2" if name == "qwen2" else "llama")
    captions = ["A black dog runs through the surf.", "Two men."]
    assert [tokenizer.decode(row).strip() for row in tokenizer(captions)] == captions
