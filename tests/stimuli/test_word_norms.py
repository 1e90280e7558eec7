"""Norms of words in the published columns, and what they say of captions."""

import math

import pytest

from vla.stimuli.word_norms import caption_norms, read_norms

HEADER = ["Word", "Bigram", "Conc.M", "Conc.SD", "Unknown", "Total", "Percent_known", "SUBTLEX", "Dom_Pos"]
ROWS = [
    ["dog", "0", "4.85", "0.45", "0", "27", "1", "9867", "Noun"],
    ["justice", "0", "1.45", "0.72", "0", "26", "1", "2000", "Noun"],
    ["run", "0", "4", "1.1", "0", "28", "1", "1", "Verb"],
    ["city", "0", "4.79", "0.5", "0", "28", "1", "1", "Noun"],
    ["ride", "0", "3.9", "0.5", "0", "28", "1", "1", "Verb"],
    ["the", "0", "1.43", "0.5", "0", "28", "1", "1", "Determiner"],
    ["Zip Code", "1", "4.1", "0.5", "0", "28", "1", "1", "Noun"],
    ["unknown", "0", "NA", "", "0", "28", "1", "1", "Noun"],
]


def write(path, separator="\t", rows=ROWS, header=HEADER, encoding="utf-8", end="\n"):
    path.write_text(end.join(separator.join(row) for row in [header, *rows]) + end, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("separator", "encoding", "end"), [("\t", "utf-8", "\r\n"), (",", "utf-8-sig", "\n"), (";", "utf-8", "\n")]
)
def test_published_columns(tmp_path, separator, encoding, end):
    norms = read_norms(write(tmp_path / "norms.txt", separator, encoding=encoding, end=end))
    assert norms == {
        "dog": 4.85, "justice": 1.45, "run": 4.0, "city": 4.79, "ride": 3.9, "the": 1.43, "zip code": 4.1
    }  # fmt: skip


def test_other_columns_and_decimal_commas(tmp_path):
    path = write(tmp_path / "n.csv", ";", [["Hund", "6,5"]], ["Wort", "Wert"])
    assert read_norms(path, "Wort", "Wert") == {"hund": 6.5}


def test_a_caption_is_the_mean_of_its_words():
    norms = {"dog": 4.85, "justice": 1.45, "run": 4.0, "city": 4.79, "ride": 3.9}
    means, shares = caption_norms(
        ["A dog runs .", "Dogs running, riding cities!", "blue 12", "the dog's city", ""], norms
    )
    assert means[0] == pytest.approx((4.85 + 4) / 2) and shares[0] == pytest.approx(2 / 3)
    assert means[1] == pytest.approx((4.85 + 4 + 3.9 + 4.79) / 4) and shares[1] == 1
    assert math.isnan(means[2]) and shares[2] == 0
    assert means[3] == pytest.approx((4.85 + 4.79) / 2)
    assert math.isnan(means[4]) and shares[4] == 0


@pytest.mark.parametrize(
    ("word", "base", "other"),
    [
        ("kites", "kite", "kit"),
        ("planes", "plane", "plan"),
        ("slides", "slide", "slid"),
        ("dishes", "dish", "dishe"),
        ("buses", "bus", "buse"),
        ("boxes", "box", "boxe"),
        ("tomatoes", "tomato", "tomatoe"),
        ("riding", "ride", "rid"),
        ("stared", "stare", "star"),
        ("typing", "type", "typ"),
        ("using", "use", "us"),
        ("eating", "eat", "eate"),
        ("snowing", "snow", "snowe"),
        ("opened", "open", "op"),
        ("walking", "walk", "walke"),
        ("sitting", "sit", "sitt"),
        ("starring", "star", "stare"),
        ("hissing", "hiss", "his"),
        ("falling", "fall", "fal"),
        ("travelling", "travel", "trave"),
    ],
)
def test_an_ending_is_cut_as_it_is_spelt(word, base, other):
    assert caption_norms([word], {base: 1.0, other: 5.0})[0] == [1.0]


def test_a_word_of_its_own_is_not_cut():
    assert caption_norms(["glasses"], {"glasses": 4.9, "glass": 4.8})[0] == [4.9]
    assert caption_norms(["was is as"], {"wa": 1.0, "i": 1.0, "a": 1.0})[0] == [1.0]


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"norms.csv cannot be opened: No such file .* Give a file of norms"):
        read_norms(tmp_path / "norms.csv")
    with pytest.raises(ValueError, match="has no column Conc.M; it has Word, Rating"):
        read_norms(write(tmp_path / "a.csv", ",", [["dog", "3"]], ["Word", "Rating"]))
    with pytest.raises(ValueError, match=r"no number: line 3 \(cat: 'high'\); a second value: line 4 \(dog\)"):
        read_norms(write(tmp_path / "b.csv", "\t", [["dog", "3"], ["cat", "high"], ["Dog", "4"]], ["Word", "Conc.M"]))
    with pytest.raises(ValueError, match="holds no word with a value"):
        read_norms(write(tmp_path / "c.csv", "\t", [], ["Word", "Conc.M"]))
    (tmp_path / "d.csv").write_bytes(b"Word\tConc.M\n\xff\xfe\t3\n")
    with pytest.raises(ValueError, match=r"is not UTF-8 \(byte 12\)"):
        read_norms(tmp_path / "d.csv")
