"""Paraphrases: plans, requests, answers that are kept, and the template of a request."""

import json
import re
import threading
import time

import pytest

from tests.stimuli.generators.server import TEN, gemini_error, serving
from tests.stimuli.generators.worlds import dataset
from vla.stimuli.generators import Gemini, generate_paraphrases, plan_paraphrases, with_paraphrases
from vla.stimuli.generators.client import BackOff, Transient
from vla.stimuli.generators.paraphrases import read_template, write_request

AT_ONCE = BackOff(tries=4, first=0.0, longest=0.01)


class Scripted:
    """A language model whose answer to a request is a function of it."""

    name = "scripted/model"
    most_at_once = None

    def __init__(self, script, **settings):
        self.script, self.settings = script, {"client": "scripted", **settings}
        self.asked, self.opened = [], 0

    def open(self):
        self.opened += 1

    def complete(self, request, seed):
        self.asked.append((request, seed))
        return self.script(request, seed)


def fresh(request, seed):
    """Ten captions that tell the item, so that a mix-up shows."""
    thing = request.split("- a thing ")[1].split(" ")[0]
    return "\n".join(f"{i}. thing {thing} as caption {i}" for i in range(1, 11))


def make(world, client, folder, **settings):
    return generate_paraphrases(plan_paraphrases(world, client, folder, **settings), back_off=AT_ONCE)


def test_every_item_gets_its_own_paraphrases(tmp_path):
    world, client = dataset(20), Scripted(fresh)
    folder = make(world, client, tmp_path)
    joined = with_paraphrases(world, folder)
    for i, item in enumerate(joined.items):
        assert item.paraphrases == tuple(f"thing {i} as caption {n}" for n in range(1, 11))
        assert item.captions == world.items[i].captions
    assert len(client.asked) == 20 and folder.parent == tmp_path and folder.name.startswith("world--scripted_model--")


def test_a_second_run_asks_nothing_and_needs_no_key(tmp_path):
    world = dataset(3)
    make(world, Scripted(fresh), tmp_path)
    again = Scripted(fresh)
    plan = plan_paraphrases(world, again, tmp_path)
    assert plan.pending == () and plan.finished == world.ids
    generate_paraphrases(plan)
    assert again.asked == [] and again.opened == 0


def test_a_larger_sample_asks_for_the_new_items_only(tmp_path):
    make(dataset(2), Scripted(fresh), tmp_path)
    more = Scripted(fresh)
    make(dataset(5), more, tmp_path)
    assert len(more.asked) == 3


@pytest.mark.parametrize("change", ["captions", "count", "template", "seed", "model", "n_captions"])
def test_whatever_determines_an_answer_is_part_of_its_key(tmp_path, change):
    world = dataset(1)
    make(world, Scripted(fresh), tmp_path / "answers")
    client, settings = Scripted(fresh), {}
    if change == "captions":
        world = dataset(1, subject="thing 0 or")
    elif change == "template":
        settings["template"] = tmp_path / "t.txt"
        settings["template"].write_text("{captions}\nagain")
    elif change == "model":
        client = Scripted(fresh, temperature=2)
    else:
        settings[change] = {"count": 9, "seed": 1, "n_captions": 4}[change]
    assert len(plan_paraphrases(world, client, tmp_path / "answers", **settings).pending) == 1


def test_invalid_answers_are_asked_for_again_with_another_seed(tmp_path):
    answers = iter(["nonsense", "1. only\n2. three\n3. captions", TEN])
    client = Scripted(lambda request, seed: next(answers))
    folder = make(dataset(1), client, tmp_path)
    requests, seeds = zip(*client.asked, strict=True)
    assert len(set(requests)) == 1 and len(set(seeds)) == 3
    assert json.loads(next(folder.iterdir()).read_text())["ask"] == 2


def test_items_without_a_valid_answer_are_named_after_all_others_are_made(tmp_path):
    world = dataset(4)
    client = Scripted(lambda request, seed: "no" if "a thing 1 " in request else fresh(request, seed))
    with pytest.raises(ValueError, match=r"1 of the 4 items .* item_1 \(expected a list numbered 1 to 10, got none"):
        make(world, client, tmp_path)
    plan = plan_paraphrases(world, Scripted(fresh), tmp_path)
    assert [one.id for one in plan.pending] == ["item_1"]
    with pytest.raises(ValueError, match="1 of the 4 items of world have no paraphrases: item_1"):
        with_paraphrases(world, plan.folder)
    kept = with_paraphrases(world, plan.folder, missing="drop")
    assert kept.ids == ("item_0", "item_2", "item_3") and kept.dropped == ("item_1",)


def test_a_model_that_never_answers_well_is_not_asked_for_every_item(tmp_path):
    client = Scripted(lambda request, seed: "no")
    with pytest.raises(ValueError, match="20 of the 200 items"):
        make(dataset(200), client, tmp_path)
    assert len(client.asked) < 4 * 40


def test_passing_failures_are_waited_out(tmp_path):
    failures = iter([True, True, False] * 3)

    def busy(request, seed):
        if next(failures):
            raise Transient("busy")
        return fresh(request, seed)

    world = dataset(3)
    folder = generate_paraphrases(
        plan_paraphrases(world, Scripted(busy), tmp_path), back_off=BackOff(6, 0.0, 0.01), at_once=1
    )
    assert len(with_paraphrases(world, folder)) == 3


def test_a_failure_that_stays_ends_the_run_and_keeps_what_is_made(tmp_path):
    def dies(request, seed):
        if "a thing 3 " in request:
            raise Transient("the server burns")
        return fresh(request, seed)

    with pytest.raises(ValueError, match=r"item 'item_3': the server burns \(tried 4 times\)"):
        generate_paraphrases(plan_paraphrases(dataset(50), Scripted(dies), tmp_path), at_once=1, back_off=AT_ONCE)
    assert len(plan_paraphrases(dataset(50), Scripted(fresh), tmp_path).finished) in range(3, 10)


def test_a_final_error_wakes_whoever_waits(tmp_path):
    def mixed(request, seed):
        if "a thing 0 " in request:
            raise Transient("busy", wait=60.0)
        time.sleep(0.05)
        raise ValueError("the key is wrong")

    began = time.monotonic()
    with pytest.raises(ValueError, match="the key is wrong"):
        generate_paraphrases(plan_paraphrases(dataset(2), Scripted(mixed), tmp_path), at_once=2)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("at_once", "limit", "expected"), [(3, None, 3), (8, 1, 1)])
def test_no_more_requests_are_under_way_than_allowed(tmp_path, at_once, limit, expected):
    lock, under_way, most = threading.Lock(), [0], [0]

    def slow(request, seed):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.01)
        with lock:
            under_way[0] -= 1
        return fresh(request, seed)

    client = Scripted(slow)
    client.most_at_once = limit
    generate_paraphrases(plan_paraphrases(dataset(12), client, tmp_path), at_once=at_once)
    assert most[0] == expected


def test_gemini_over_the_wire_with_every_kind_of_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "the-secret-key")
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    trouble = [
        gemini_error(429, "RESOURCE_EXHAUSTED", "slow down"),
        "1. too\n2. short",
        gemini_error(500, "INTERNAL", "oops"),
        (200, {}, "<html>"),
        (200, {}, json.dumps({"candidates": [{"finishReason": "SAFETY"}]})),
        "Here you are:\n\n" + TEN.replace("1. ", "1. **").replace("number a", "number a**"),
    ]
    with serving(lambda number, asked: trouble[number] if number < len(trouble) else TEN) as server:
        plan = plan_paraphrases(dataset(3), Gemini(base_url=server.url), tmp_path)
        folder = generate_paraphrases(plan, at_once=1, back_off=AT_ONCE)
        assert len(server.requests) == len(trouble) + 2
    assert with_paraphrases(dataset(3), folder).items[0].paraphrases[0] == "a fresh caption number a"
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "the-secret-key" not in kept and server.url not in kept


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_captions": 6}, "3 of the 3 items of world have fewer than 6 captions: item_0 (5), item_1 (5), item_2 (5)"),
        ({"count": 0}, "count=0"),
        ({"n_captions": 0}, "n_captions=0"),
        ({"template": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, words):
    with pytest.raises(ValueError) as refused:
        plan_paraphrases(dataset(), Scripted(fresh), tmp_path, **settings)
    assert words in str(refused.value)


@pytest.mark.parametrize("content", ["", "{}", '{"id": "item_0"}', "[1]"])
def test_a_damaged_answer_is_refused_by_name(tmp_path, content):
    folder = make(dataset(1), Scripted(fresh), tmp_path)
    (path,) = folder.iterdir()
    path.write_text(content)
    with pytest.raises(ValueError) as refused:
        plan_paraphrases(dataset(1), Scripted(fresh), tmp_path)
    assert str(path) in str(refused.value) and "Delete the file" in str(refused.value)


def test_our_own_request_holds_captions_and_number():
    request = write_request(read_template(), ["a {count} dog", "b\ncat "], 10)
    assert "- a {count} dog\n- b cat\n" in request
    assert "write 10 more" in request and not re.search(r"\{captions\}|\{count\}.*more", request)


def test_another_template_takes_its_place(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text('{"n": {count}} {captions}', encoding="utf-8")
    assert write_request(read_template(path), ["x"], 3) == '{"n": 3} - x'


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no place", "no placeholder for the captions"), (b"{captions} \xff", "not UTF-8 (byte 11)")],
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
