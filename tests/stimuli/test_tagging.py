"""Tags are the pipeline's own, kept on disk, and a pipeline that cannot tag is refused with the remedy."""

import json
import os
import shutil

import pytest
import spacy

from tests.stimuli.pipelines import CAPTIONS, write_blank, write_tagger
from vla.stimuli import tagging
from vla.stimuli.tagging import Tagger, Token, default_cache

GOLD = [[tuple(token.rsplit("/", 1)) for token in line.split()] for line in CAPTIONS.strip().splitlines()]
TEXTS = [" ".join(word for word, _ in line) for line in GOLD]


class Counting(Tagger):
    """Counts what reaches the pipeline."""

    seen = 0

    def _docs(self, texts):
        self.seen += len(texts)
        return super()._docs(texts)


def test_tags_are_those_that_the_pipeline_was_trained_on(pipeline):
    assert [list(tokens) for tokens in Tagger(pipeline, cache=None).tag(TEXTS)] == [
        [Token(*t) for t in line] for line in GOLD
    ]


def test_tags_are_those_of_spacy_alone(pipeline):
    nlp = spacy.load(pipeline)
    strange = ["un perro corre", "犬が走る", "🐕 🐕‍🦺 !!!", "don't  stop\tnow", "x" * 300, "a\u00a0b", "."]
    found = Tagger(str(pipeline), cache=None).tag(strange)
    for text, tokens in zip(strange, found, strict=True):
        assert list(tokens) == [Token(t.text, t.pos_) for t in nlp(text) if not t.is_space]


def test_processes_change_nothing(pipeline):
    assert Tagger(pipeline, cache=None, processes=2).tag(TEXTS) == Tagger(pipeline, cache=None).tag(TEXTS)


def test_what_was_tagged_is_not_tagged_again(pipeline, tmp_path):
    first, second = Counting(pipeline, cache=tmp_path / "tags"), Counting(pipeline, cache=tmp_path / "tags")
    once = first.tag(TEXTS[:6] + TEXTS[:2])
    assert first.seen == 6
    assert second.tag(TEXTS)[:6] == once[:6] and once[6:] == once[:2]
    assert second.seen == len(TEXTS) - 6
    assert not [path for path in (tmp_path / "tags").rglob(".*")]


def test_another_pipeline_of_the_same_name_shares_no_tags(pipeline, tmp_path):
    twin = write_tagger(tmp_path / "other" / pipeline.name, epochs=1)
    for folder in (pipeline, twin):
        tagger = Counting(folder, cache=tmp_path / "tags")
        tagger.tag(TEXTS[:3])
        assert tagger.seen == 3
    moved = tmp_path / "moved"
    shutil.copytree(pipeline, moved)
    tagger = Counting(moved, cache=tmp_path / "tags")
    tagger.tag(TEXTS[:3])
    assert tagger.seen == 0


def test_a_damaged_cache_is_tagged_again(pipeline, tmp_path):
    Tagger(pipeline, cache=tmp_path / "tags").tag(TEXTS)
    files = sorted((tmp_path / "tags").rglob("*.json"))
    files[0].write_text('{"a dog')
    files[1].write_text("[]")
    files[2].write_text(json.dumps({text: [["dog"]] for text in TEXTS}))
    tagger = Counting(pipeline, cache=tmp_path / "tags")
    assert [list(tokens) for tokens in tagger.tag(TEXTS)] == [[Token(*t) for t in line] for line in GOLD]
    assert tagger.seen >= 3


def test_a_kill_while_writing_leaves_the_old_file(pipeline, tmp_path, monkeypatch):
    Tagger(pipeline, cache=tmp_path / "tags").tag(TEXTS[:1])
    before = {path: path.read_bytes() for path in (tmp_path / "tags").rglob("*.json")}

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Tagger(pipeline, cache=tmp_path / "tags").tag(TEXTS)
    assert {path: path.read_bytes() for path in (tmp_path / "tags").rglob("*") if path.is_file()} == before


def test_where_tags_are_kept_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "vla" / "tags"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "vla" / "tags"


def test_a_pipeline_that_is_not_installed():
    with pytest.raises(ValueError, match="'xx_no_such_sm' is not installed.*`python -m spacy download xx_no_such_sm`"):
        Tagger("xx_no_such_sm", cache=None).tag(["a dog"])
    assert Tagger().pipeline == "en_core_web_sm"


def test_a_pipeline_without_parts_of_speech(tmp_path):
    blank = write_blank(tmp_path / "blank")
    with pytest.raises(
        ValueError, match=r"blank gives no parts of speech \(Token.pos_\); its components are none.*such"
    ):
        Tagger(blank, cache=None).tag(["a dog"])


def test_a_folder_that_is_no_pipeline(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded.*Install it again"):
        Tagger(tmp_path, cache=None).tag(["a dog"])


def test_spacy_absent(monkeypatch, pipeline):
    import sys

    tagging._load.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ValueError, match="need spaCy, which is not installed: pip install spacy"):
        Tagger(pipeline, cache=None).tag(["a dog"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pipeline": None}, "tagger=None; expected the name of a spaCy pipeline"),
        ({"pipeline": ""}, "tagger=''"),
        ({"processes": 0}, "processes=0; expected a whole number of at least 1"),
    ],
)
def test_bad_settings(options, words):
    with pytest.raises(ValueError, match=words):
        Tagger(**options)
