"""Token ids of a tokenizer.model are those of sentencepiece."""

import json
from pathlib import Path

import pytest
import sentencepiece
import tokenizers

from tests.checkpoints import WORDS
from tests.models.captions import awkward_captions, read, rows, write_config
from tests.models.real_data import real_data


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
    with pytest.raises(ValueError, match=r"tokenizer\.model is not a sentencepiece model \(a tiktoken vocabulary"):
        read(tmp_path)
