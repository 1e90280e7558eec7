import pytest

from vla.stimuli.generators.answers import InvalidAnswer, read_answer

PLAIN = "1. a dog\n2. b cat\n3. c cow"


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN,
        "1) a dog\n2) b cat\n3) c cow\n",
        "(1) a dog\n(2) b cat\n[3] c cow",
        "1、a dog\n2．b cat\n3. c cow",
        "1: a dog\n2 - b cat\n3 – c cow",
        "1\\. a dog\n2\\. b cat\n3\\. c cow",
        "Sure, here are 3 captions:\n\n1. a dog\n\n2. b cat\n\n3. c cow\n\nLet me know if 4 would be better!",
        "```\n1. a dog\n2. b cat\n3. c cow\n```\nI hope that helps.",
        "**1.** a dog\n**2.** b cat\n**3.** c cow",
        "**1. a dog**\n**2. b cat**\n**3. c cow**",
        "**1**. a dog\n__2__. b cat\n3. __c cow__",
        "1. **a dog**\n2. *b cat*\n3. a `c`",
        "- 1. a dog\n* 2. b cat\n+ 3. c cow",
        "Caption 1: a dog\ncaption 2: b cat\n**Caption 3:** c cow",
        '1. [a dog]\n2. "b cat"\n3. “c cow”',
        "1. 'a dog'\n2. **\"b cat\"**\n3.   c \t cow  ",
        "1.\na dog\n2.\nb cat\n3.\nc cow",
        "<think>\n1. What is asked?\n2. Three captions.\n</think>\n1. a dog\n2. b cat\n3. c cow",
        "1. a dog\r\n2. b cat\r\n3. c cow\r\n",
        "1. a **dog**\n2. b cat\n3. c cow",
    ],
)
def test_usual_forms_of_a_list_are_read(answer):
    expected = ("a dog", "b cat", "a `c`" if "`c`" in answer else "c cow")
    assert read_answer(answer, 3, ["a dog and a cat"]) == expected


@pytest.mark.parametrize(
    ("line", "caption"),
    [
        ("2 dogs: one runs", "2 dogs: one runs"),
        ("'Stop' and 'go' signs", "'Stop' and 'go' signs"),
        ('"Stop" says the "sign"', '"Stop" says the "sign"'),
        ("'a dog's best day'", "a dog's best day"),
        ("[left] dog, [right] cat", "[left] dog, [right] cat"),
        ("Ein Hund läuft – schnell 🐕", "Ein Hund läuft – schnell 🐕"),
        ("一只狗在跑", "一只狗在跑"),
        ("a dog; 3. is its number", "a dog; 3. is its number"),
    ],
)
def test_what_belongs_to_a_caption_stays(line, caption):
    assert read_answer(f"1. {line}\n2. other", 2, ["x"])[0] == caption


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "got none"),
        ("I cannot help with that.", "got none"),
        ("1. a dog\n2. b cat", "got 1, 2 in"),
        (PLAIN + "\n4. d hen", "got 1, 2, 3, 4"),
        ("1. a dog\n3. b cat\n2. c cow", "got 1, 3, 2"),
        ("1. First I look.\n1. a dog\n2. b cat\n3. c cow", "got 1, 1, 2, 3"),
        ("- a dog\n- b cat\n- c cow", "got none"),
        ("1. a dog\nwhich runs\n2. b cat\n3. c cow", "belongs to no number: 'which runs'"),
        (PLAIN + "\nwhich eats", "belongs to no number: 'which eats'"),
        ("1. a dog\n2.\n3. c cow", "captions without words: 2"),
        ("1. a dog\n2. ...\n3. c cow", "captions without words: 2"),
        ("1. a dog\n2. 2\n3. 3/4", "captions without words: 2, 3"),
        ("1. a dog\n2. b cat\n3. A  DOG.", "caption 3 ('A DOG.') repeats caption 1"),
        ("1. a dog\n2. The given ONE\n3. c cow", "caption 2 ('The given ONE') repeats one of the request"),
        ("1. ａ ｄｏｇ\n2. a dog\n3. c cow", "caption 2 ('a dog') repeats caption 1"),
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused(answer, words):
    with pytest.raises(InvalidAnswer) as refused:
        read_answer(answer, 3, ["the  given one."])
    assert words in str(refused.value)
