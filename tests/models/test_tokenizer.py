"""Token ids are those of the published files: of the tokenizers library, sentencepiece, or byte pairs by hand."""

import dataclasses
import html
import itertools
import json
import pickle
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import regex
import sentencepiece
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

import vla
from tests.checkpoints import WORDS, edit_config, write_language, write_tokenizer
from tests.models.real_data import real_data
from vla.models import load_model
from vla.models.decoder import DecoderConfig
from vla.models.families import FAMILIES
from vla.models.rotary import Rotary
from vla.models.tokenizer import Tokenizer

ROOMY = DecoderConfig(
    width=8,
    depth=1,
    heads=1,
    kv_heads=1,
    head_width=8,
    inner=8,
    nonlinearity="silu",
    norm_epsilon=1e-6,
    vocabulary=200_000,
    length=1024,
    rotary=Rotary(),
    attention_bias=False,
    feed_forward_bias=False,
)

# What tokenizers stumble over; {} is a caption.
HABITS = (
    "{}",
    " {}",
    "{}  twice   as much ",
    "1,234 {} 567890 2½ ٣",
    "{} 😀 👩‍👩‍👧 🏳️‍🌈",
    "“{}” — it’s ‘here’ …",
    "two dogs &amp; &quot;{}&quot; &#39;s &lt;b&gt;",
    "\t{}\n\nnext\r\nline",
    "Ça va? {} naïve ﬁsh ＤＯＧ ½ Straße Ångström e\u0301",
    "一只黑狗 {} собака そして كلب ไทย",
    "{}\u00a0\u200b\u3000end",
    "DON'T we'll 'S {} I'VE",
    "▁{} ▁▁ _ __",
    "{} <unk> <pad> [MASK] {{}} \\n \x00",
)


def awkward_captions(n: int = 1000) -> list[str]:
    """Captions of Flickr8k, each with something that tokenizers stumble over."""
    lines = real_data("data", "flickr8k", "captions.txt").read_text(encoding="utf-8").splitlines()[1 : n + 1]
    short = ["a", ".", "  x", "0", "😀", "é", "'s", "\u00a0a", "a\n"]
    captions = [HABITS[i % len(HABITS)].format(line.split(",", 1)[1]) for i, line in enumerate(lines)]
    return captions[: n - len(short)] + short


def read(directory: Path, family: str = "llama") -> Tokenizer:
    return Tokenizer(directory, ROOMY, FAMILIES[family].tokenizer or "")


def rows(ids: list[np.ndarray]) -> list[list[int]]:
    return [row.tolist() for row in ids]


def write_config(directory: Path, **fields) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))


# --- what a caption is, and what is refused


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


# --- tokenizer.json


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


# --- tokenizer.model


def train_pieces(directory: Path, **options) -> sentencepiece.SentencePieceProcessor:
    """A small sentencepiece model of drawn sentences in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    sentences = [f"{one} {two} {three} ." for one in WORDS for two in WORDS[::3] for three in WORDS[::5]]
    (directory / "sentences").write_text("\n".join(sentences))
    chosen = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 400, "hard_vocab_limit": False, **options}
    sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]
        input=str(directory / "sentences"), model_prefix=str(directory / "tokenizer"), minloglevel=2, **chosen
    )
    (directory / "sentences").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


CAPTIONS = [
    "a dog runs .",
    " a  dog   runs .",
    "the cat ",
    "“two” ﬁsh … ½",
    "ＤＯＧ\u00a0cat",
    "a\ttab",
    "a\nline",
    "naïve 😀 12",
    "<s> a dog</s><unk>",
    "[INST] dog [/INST]",
    "▁a ▁▁ _",
]


@pytest.mark.parametrize("said", [None, {"tokenizer_class": "LlamaTokenizer"}])
@pytest.mark.parametrize(
    "options",
    [
        {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        {"normalization_rule_name": "identity"},
        {"normalization_rule_name": "nmt_nfkc"},
        {"add_dummy_prefix": False, "remove_extra_whitespaces": False},
        {"model_type": "unigram", "vocab_size": 340},
        {"model_type": "unigram", "vocab_size": 80, "byte_fallback": False},
        {"model_type": "char", "byte_fallback": False},
        {"user_defined_symbols": ["[INST]", "▁▁", "dog"]},
        {"treat_whitespace_as_suffix": True},
        {"split_digits": True, "allow_whitespace_only_pieces": True},
    ],
    ids=lambda options: "-".join(f"{name}={value}" for name, value in options.items()),
)
def test_a_sentencepiece_model_is_read_by_sentencepiece(options, said, tmp_path):
    pieces = train_pieces(tmp_path, **options)
    if said is not None:
        write_config(tmp_path, **said)
    assert rows(read(tmp_path)(CAPTIONS)) == [[1, *pieces.encode(caption)] for caption in CAPTIONS]


def test_merges_follow_scores_and_not_ids():
    """LLaMA's own file: of 1,000 captions, those whose merges by id differ from merges by score are many."""
    directory = real_data("tokenizers", "llama")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    converted = tokenizers.Tokenizer.from_file(str(real_data("tokenizers", "phi3-mini") / "tokenizer.json"))
    captions = awkward_captions()
    ids = rows(read(directory)(captions))
    assert ids == [[1, *pieces.encode(caption)] for caption in captions]
    # The same 32,000 pieces, converted by Microsoft; where it writes its control tokens into the text, they differ.
    plain = [i for i, caption in enumerate(captions) if "<unk>" not in caption]
    assert len(plain) > 900
    assert [ids[i] for i in plain] == [[1, *converted.encode(captions[i]).ids] for i in plain]


@pytest.mark.parametrize(
    "family, said, opened",
    [
        ("llama", {}, True),
        ("mistral", {"add_bos_token": True}, True),
        ("mistral", {"add_bos_token": False}, False),
        ("mixtral", {"tokenizer_class": "LlamaTokenizerFast"}, True),
        ("phi3", {"tokenizer_class": "PreTrainedTokenizerFast"}, True),
        ("gemma", {}, True),
        ("qwen2", {"tokenizer_class": "LlamaTokenizer"}, True),
    ],
)
def test_a_sentencepiece_model_opens_as_its_class_does(family, said, opened, tmp_path):
    pieces = train_pieces(tmp_path)
    write_config(tmp_path, **{"model_max_length": 2048, **said})
    tokenizer = read(tmp_path, family)
    assert rows(tokenizer(["a dog"])) == [[*[1] * opened, *pieces.encode("a dog")]]
    assert tokenizer.bos == 1


@pytest.mark.parametrize("add_eos", [None, False, True])
@pytest.mark.parametrize("add_bos", [None, False, True])
def test_a_sentencepiece_model_is_opened_and_closed_as_the_config_asks(add_bos, add_eos, tmp_path):
    pieces = train_pieces(tmp_path)
    write_config(tmp_path, tokenizer_class="LlamaTokenizer", add_bos_token=add_bos, add_eos_token=add_eos)
    expected = [*[1] * (add_bos is not False), *pieces.encode("a dog"), *[2] * (add_eos is True)]
    assert rows(read(tmp_path)(["a dog"])) == [expected]


def test_a_sentencepiece_model_without_control_tokens_opens_nothing(tmp_path):
    pieces = train_pieces(tmp_path, bos_id=-1, eos_id=-1)
    tokenizer = read(tmp_path)
    assert (tokenizer.bos, rows(tokenizer(["a dog"]))) == (None, [pieces.encode("a dog")])
    write_config(tmp_path, tokenizer_class="LlamaTokenizer", add_bos_token=True)
    with pytest.raises(ValueError, match="bos_token None is to be added to every text, but is no token"):
        read(tmp_path)


def test_control_tokens_in_a_caption_are_text_unless_the_files_declare_them(tmp_path):
    pieces = train_pieces(tmp_path, bos_piece="<begin>")
    caption = "<begin>a dog</s> cat"
    assert 1 not in pieces.encode(caption)
    assert rows(read(tmp_path)([caption])) == [[1, *pieces.encode(caption)]]
    fields = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<begin>", "eos_token": "</s>"}
    write_config(tmp_path, **fields)
    declared = [1, *pieces.encode("a dog"), 2, *pieces.encode(" cat")]
    assert rows(read(tmp_path)([caption, "a dog"])) == [declared, [1, *pieces.encode("a dog")]]
    write_config(tmp_path, **fields, split_special_tokens=True)
    assert rows(read(tmp_path)([caption])) == [[1, *pieces.encode(caption)]]


def test_tokens_added_to_a_sentencepiece_model_have_their_ids(tmp_path):
    pieces = train_pieces(tmp_path)
    N = pieces.get_piece_size()
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_end|>": N + 1, "<|im_start|>": N}))
    end = {"content": "<|end|>", "rstrip": True, "lstrip": False, "single_word": False, "normalized": False}
    write_config(tmp_path, tokenizer_class="LlamaTokenizer", added_tokens_decoder={str(N + 2): end})
    caption = "<|im_start|>a dog<|end|>  cat <|im_end|>"
    expected = [1, N, *pieces.encode("a dog"), N + 2, *pieces.encode("cat "), N + 1]
    tokenizer = read(tmp_path)
    assert rows(tokenizer([caption])) == [expected]
    assert tokenizer.decode(expected) == "a dog cat"


@pytest.mark.parametrize("fields", [{"legacy": False}, {"add_prefix_space": False}, {}])
def test_the_blank_before_a_text_is_left_out_where_the_config_says_so(fields, tmp_path):
    pieces = train_pieces(tmp_path)

    def bare(text: str) -> list[int]:
        """Behind a letter that merges with nothing, whose own pieces are then taken off."""
        return pieces.encode("~" + text)[len(pieces.encode("~")) :]

    assert pieces.encode("dog") != bare("dog")
    write_config(tmp_path, tokenizer_class="LlamaTokenizer", bos_token="<s>", **fields)
    first = bare if "add_prefix_space" in fields else pieces.encode
    later = bare if fields else pieces.encode
    expected = [[1, *first("dog runs"), 1, *later("cat")], [1, *later("dog")]]
    assert rows(read(tmp_path)(["dog runs<s>cat", "<s>dog"])) == expected


@pytest.mark.parametrize(
    "files, family, fields, message",
    [
        (
            ["tokenizer.model"],
            "llama",
            {"tokenizer_class": "XGLMTokenizer"},
            "tokenizer.model without .*XGLMTokenizer does",
        ),
        (["tokenizer.model"], "gpt2", {}, r"GPT2Tokenizer does not read it .*CodeLlamaTokenizer.*LlamaTokenizer\)"),
        (["tokenizer.model"], "gpt_neox", {}, r"its class is not named .*Download the checkpoint's tokenizer\.json"),
        (["vocab.json", "merges.txt"], "olmo2", {}, "vocab.json without tokenizer.json, and its class is not named"),
        (["vocab.json", "merges.txt"], "llama", {}, "LlamaTokenizer does not read it"),
        (["vocab.json"], "gpt2", {}, r"no merges\.txt beside vocab\.json"),
    ],
)
def test_a_vocabulary_whose_rules_are_not_known_is_refused(files, family, fields, message, tmp_path):
    for name in files:
        (tmp_path / name).write_text("{}")
    if fields:
        write_config(tmp_path, **fields)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, family)


def test_another_vocabulary_of_that_name_is_refused(tmp_path):
    (tmp_path / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")  # tiktoken's
    with pytest.raises(ValueError, match=r"tokenizer\.model is no sentencepiece model \(a tiktoken vocabulary"):
        read(tmp_path)


# --- vocab.json and merges.txt


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


# --- what determines the ids is in the fingerprint


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
