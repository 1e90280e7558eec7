import re

import pytest

from vla.stimuli.generators.request import read_template, write_request


def test_our_own_request_holds_captions_and_number():
    request = write_request(read_template(), ["a {count} dog", "b\ncat "], 10)
    assert "- a {count} dog\n- b cat\n" in request
    assert "write 10 more" in request and not re.search(r"\{captions\}|\{count\}.*more", request)


def test_another_template_takes_its_place(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text('{"n": {count}} {captions}', encoding="utf-8")
    assert write_request(read_template(path), ["x"], 3) == '{"n": 3} - x'


@pytest.mark.parametrize(
    ("content", "words"), [(b"no place", "no place for the captions"), (b"{captions} \xff", "not UTF-8 (byte 11)")]
)
def test_a_template_that_cannot_be_used_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_template(path)
    assert words in str(refused.value) and str(path) in str(refused.value)


def test_an_absent_template_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_template(tmp_path / "none.txt")
