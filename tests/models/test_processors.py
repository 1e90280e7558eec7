"""Tokenizers and image processors, and what they refuse."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import sentencepiece
import tokenizers
from PIL import Image

from tests.checkpoints import WORDS, write_image_processor, write_language, write_tokenizer, write_vision
from tests.models.real_data import real_data
from vla.models import load_model
from vla.models.decoder import DecoderConfig
from vla.models.families import FAMILIES
from vla.models.processors import Tokenizer
from vla.models.rotary import Rotary

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
    length=64,
    rotary=Rotary(),
    attention_bias=False,
    feed_forward_bias=False,
)
FALLBACK = FAMILIES["llama"].tokenizer or ("", {})


@pytest.mark.parametrize("bos", [True, False])
def test_captions_become_ids_with_default_special_tokens(bos, tmp_path):
    write_language(tmp_path, bos=bos)
    ids = load_model(tmp_path).preprocess(["a dog runs", "the cat", "zebra"])
    place = {word: i + 3 for i, word in enumerate(WORDS)}
    start = [1] if bos else []
    expected = [[*start, place["a"], place["dog"], place["runs"]], [*start, place["the"], place["cat"]], [*start, 0]]
    assert [list(row) for row in ids] == expected
    assert all(row.dtype == np.int32 for row in ids)


def test_nothing_becomes_nothing(tmp_path):
    write_language(tmp_path)
    assert load_model(tmp_path).preprocess([]) == []


def test_padding_and_truncation_of_the_file_are_not_used(tmp_path):
    write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    fields = json.loads(path.read_text())
    fields["padding"] = {
        "strategy": {"Fixed": 32},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<unk>",
    }
    fields["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(fields))
    assert [len(ids) for ids in Tokenizer(tmp_path, ROOMY, FALLBACK)(["a dog runs", "the cat"])] == [4, 3]


@pytest.mark.parametrize(
    "captions, message",
    [
        (["a dog", 3], "caption 1 is int; expected str"),
        (["a dog", ""], r"caption 1 \(''\) has no tokens"),
        (["a dog", " \n"], r"caption 1 \(' \\n'\) has no tokens"),
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
    with pytest.raises(ValueError, match="transformers cannot read the tokenizer in"):
        load_model(tmp_path)


def test_a_bare_sentencepiece_model_is_read_as_llamas(tmp_path):
    path = real_data("tokenizers", "llama", "tokenizer.model")
    shutil.copy(path, tmp_path)
    caption = "A black dog runs through the surf."
    expected = sentencepiece.SentencePieceProcessor(model_file=str(path)).encode(caption)
    tokenizer = Tokenizer(tmp_path, ROOMY, FALLBACK)
    assert tokenizer.bos == 1
    assert list(tokenizer([caption])[0]) == [1, *expected]
    # what the checkpoint says of it goes before what the family does by default
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false}')
    assert list(Tokenizer(tmp_path, ROOMY, FALLBACK)([caption])[0]) == expected


@pytest.mark.parametrize(
    "family, said",
    [
        ("llama", {}),
        ("mistral", {"add_bos_token": True}),
        ("mistral", {"add_bos_token": False}),
        ("mixtral", {}),
        ("phi3", {"tokenizer_class": "PreTrainedTokenizerFast"}),
    ],
)
def test_a_sentencepiece_model_is_read_by_the_class_that_is_named(family, said, tmp_path):
    path = real_data("tokenizers", "llama", "tokenizer.model")
    shutil.copy(path, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    fields = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**fields, **said}))
    caption = "A black dog runs through the surf."
    expected = sentencepiece.SentencePieceProcessor(model_file=str(path)).encode(caption)
    opening = [1] if said.get("add_bos_token", True) else []
    tokenizer = Tokenizer(tmp_path, ROOMY, FAMILIES[family].tokenizer or FALLBACK)
    assert list(tokenizer([caption])[0]) == [*opening, *expected]


@pytest.mark.parametrize("rule, merged", [("identity", False), ("identity", True), ("nmt_nfkc", True)])
@pytest.mark.parametrize("said", ["", '{"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>"}'])
def test_a_sentencepiece_model_normalises_as_sentencepiece_does(said, rule, merged, tmp_path):
    sentences = [f"{one} {two} {three} ." for one in WORDS for two in WORDS[::3] for three in WORDS[::5]]
    (tmp_path / "sentences").write_text("\n".join(sentences))
    sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]
        input=str(tmp_path / "sentences"),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name=rule,
        remove_extra_whitespaces=merged,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    if said:
        (tmp_path / "tokenizer_config.json").write_text(said)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    captions = [
        "a dog runs .",
        "a  dog   runs .",
        "the cat ",
        "“two” ﬁsh … ½",
        "ＤＯＧ\u00a0cat",
        "a\ttab",
        "a\nline",
        "naïve",
    ]
    ids = Tokenizer(tmp_path, ROOMY, FALLBACK)(captions)
    assert [list(row) for row in ids] == [[1, *pieces.encode(caption)] for caption in captions]


def real_captions(n: int) -> list[str]:
    lines = real_data("data", "flickr8k", "captions.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(",", 1)[1] for line in lines[1 : n + 1]]


def test_real_captions_become_the_ids_of_sentencepiece_itself(tmp_path):
    path = real_data("tokenizers", "llama", "tokenizer.model")
    shutil.copy(path, tmp_path)
    captions = real_captions(500)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = Tokenizer(tmp_path, dataclasses.replace(ROOMY, length=128), FALLBACK)(captions)
    assert [list(row) for row in ids] == [[1, *pieces.encode(caption)] for caption in captions]


@pytest.mark.parametrize("name", ["smollm", "phi3-mini"])
def test_real_captions_become_the_ids_of_the_published_file(name):
    """smollm's file pads every text to the longest, which must not show."""
    folder = real_data("tokenizers", name)
    captions = real_captions(500)
    reader = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert (reader.padding is not None) == (name == "smollm")
    reader.no_padding()
    expected = [reader.encode(caption).ids for caption in captions]
    ids = Tokenizer(folder, dataclasses.replace(ROOMY, length=128), FALLBACK)(captions)
    assert [list(row) for row in ids] == expected


def test_an_id_for_padding_beyond_the_table_does_no_harm():
    folder = real_data("tokenizers", "smollm")
    tight = dataclasses.replace(ROOMY, vocabulary=49_152)
    tokenizer = Tokenizer(folder, tight, FALLBACK)
    assert tokenizer._tokenizer.pad_token_id == 49_152
    assert len(tokenizer(["A black dog runs through the surf."])) == 1
    with pytest.raises(ValueError, match=r"caption 0 \('\[PAD\]'\) has token id 49152, but .* below 49152.*smollm"):
        tokenizer(["[PAD]"])


def test_a_text_of_opening_and_end_alone_has_no_tokens(tmp_path):
    write_tokenizer(tmp_path, bos=False)
    path = tmp_path / "tokenizer.json"
    reader = tokenizers.Tokenizer.from_file(str(path))
    reader.post_processor = tokenizers.processors.TemplateProcessing(  # type: ignore[assignment]
        single="<s> $A </s>", pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    reader.save(str(path))
    tokenizer = Tokenizer(tmp_path, ROOMY, FALLBACK)
    place = WORDS.index("dog") + 3
    assert [list(row) for row in tokenizer(["dog"])] == [[1, place, 2]]
    for nothing in ("", " ", "\n\t"):
        with pytest.raises(ValueError, match=r"caption 1 \(.*\) has no tokens"):
            tokenizer(["dog", nothing])


@pytest.mark.parametrize("name", ["qwen2", "smollm", "phi3-mini"])
def test_real_tokenizers_give_back_their_captions(name):
    tokenizer = Tokenizer(real_data("tokenizers", name), ROOMY, FALLBACK)
    captions = ["A black dog runs through the surf.", "Two men."]
    ids = tokenizer(captions)
    assert [tokenizer._tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids] == captions


def photograph(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_images_are_resized_cropped_and_normalised_as_written(tmp_path):
    write_vision(tmp_path)
    image = photograph(80, 56)
    [pixels] = load_model(tmp_path).preprocess([image])
    resized = image.resize((40, 28), Image.Resampling.BICUBIC).crop((6, 0, 34, 28))
    expected = (np.asarray(resized, np.float64) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert pixels.dtype == np.float32
    assert np.abs(pixels - expected.transpose(2, 0, 1)).max() < 1e-5


def test_images_keep_the_sizes_that_the_processor_gives_them(tmp_path):
    write_vision(tmp_path)
    write_image_processor(tmp_path, 28, do_center_crop=False)
    model = load_model(tmp_path)
    pixels = model.preprocess([photograph(56, 28), photograph(28, 84)])
    assert [image.shape for image in pixels] == [(3, 28, 56), (3, 84, 28)]
    assert model.readouts(pixels[0][None], pool="cls", layers=("embed",)).shape == (1, 1, 24)


@pytest.mark.parametrize(
    "image, message",
    [
        ("photo.jpg", "image 0 is str; expected a PIL image of mode RGB"),
        (Image.new("L", (40, 40)), "image 0 is a PIL image of mode L"),
        (Image.new("RGBA", (40, 40)), "image 0 is a PIL image of mode RGBA"),
    ],
)
def test_what_is_no_rgb_image_is_named(image, message, tmp_path):
    write_vision(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path).preprocess([image])


def test_a_processor_of_another_model_is_noticed(tmp_path):
    write_vision(tmp_path)
    write_image_processor(tmp_path, 6)
    with pytest.raises(ValueError, match=r"makes \[3, 6, 6\] of image 0, .* at least 7.*processor="):
        load_model(tmp_path).preprocess([photograph(40, 40)])


def test_an_image_that_the_processor_cannot_take_is_named(tmp_path):
    write_vision(tmp_path)
    write_image_processor(tmp_path, 28, image_mean=[0.5, 0.5])
    with pytest.raises(ValueError, match=r"the image processor cannot take image 0, \(40, 40\) pixels"):
        load_model(tmp_path).preprocess([photograph(40, 40)])


def test_an_absent_image_processor_is_asked_for_and_may_come_from_elsewhere(tmp_path):
    write_vision(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    write_image_processor(tmp_path / "processor", 28)
    with pytest.raises(ValueError, match=r"no image processor in .*: expected preprocessor_config\.json .*processor="):
        load_model(tmp_path / "model")
    assert load_model(tmp_path / "model", processor=tmp_path / "processor").preprocess([photograph(30, 30)])


@pytest.mark.parametrize(
    "text, message", [("{", "is not JSON"), ('{"image_processor_type": "None"}', "cannot read the image processor")]
)
def test_a_broken_image_processor_is_refused(text, message, tmp_path):
    write_vision(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def test_the_length_of_the_model_is_what_counts(tmp_path):
    write_tokenizer(tmp_path)
    short = dataclasses.replace(ROOMY, length=3)
    assert len(Tokenizer(tmp_path, short, FALLBACK)(["a dog"])[0]) == 3
    with pytest.raises(ValueError, match="has 4 tokens, but the model reads 3 at most"):
        Tokenizer(tmp_path, short, FALLBACK)(["a dog runs"])
