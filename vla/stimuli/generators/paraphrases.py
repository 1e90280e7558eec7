"""Generates paraphrases of every item's captions with a language model: first a plan, then its requests.

Layout: one folder per dataset, model and settings; in it one JSON file per item, named after the item and a hash of
its captions. Each file is written in one step, so an interrupted run resumes.
"""

import concurrent.futures
import dataclasses
import importlib.resources
import itertools
import json
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla import progress
from vla.checks import check_whole_number, listed
from vla.files import safe_name, write_file
from vla.records import Dataset, Item, canonical_hash
from vla.stimuli.generators.answers import InvalidAnswer, read_answer
from vla.stimuli.generators.client import BackOff, Client, Transient, plan_folder

TEMPLATE = "paraphrase_request.txt"
_PLACEHOLDER = re.compile(r"\{(captions|count)\}")

# After this many items without a valid answer, template or model are unsuitable: stop spending requests.
_MAX_INVALID = 20


@dataclasses.dataclass(frozen=True)
class Request:
    """The request for the paraphrases of one item: its text, and the file of the answer."""

    id: str
    captions: tuple[str, ...]
    text: str
    path: Path


@dataclasses.dataclass(frozen=True)
class ParaphrasePlan:
    """The pending requests for a dataset, and the ids of the items whose answer exists.

    The settings are JSON values that, with the captions, determine the answers; the folder has one file per item.
    """

    client: Client
    folder: Path
    settings: dict[str, Any]
    pending: tuple[Request, ...]
    finished: tuple[str, ...]


def plan_paraphrases(
    dataset: Dataset,
    client: Client,
    folder: str | os.PathLike[str],
    *,
    count: int = 10,
    n_captions: int | None = 5,
    template: str | os.PathLike[str] = "",
    seed: int = 42,
) -> ParaphrasePlan:
    """Plan the requests for a dataset; this makes no request and needs no key.

    Args:
      dataset: The items.
      client: The language model: `Gemini()`, `OpenAIServer(model)` or `LocalModel(model)`.
      folder: Parent folder of the answers.
      count: Number of paraphrases per item.
      n_captions: Number of human captions in the request, the first ones; None for all.
      template: File with the text of the request, with the placeholders `{captions}` and `{count}`; "" for the
        package's.
      seed: Seed, sent to servers that accept one; another seed gives new requests.

    Raises:
      ValueError: Items have fewer captions than `n_captions`; a count, the template or the model is invalid; a file of
        an answer is damaged.
    """
    check_whole_number("count", count)
    check_whole_number("n_captions", n_captions, other=[None])

    text = read_template(template)
    chosen = {"template": canonical_hash(text), "count": count, "n_captions": n_captions, "seed": seed}
    settings = {**client.settings, **chosen}
    path = plan_folder(dataset, client.name, settings, folder, n_captions)
    requests = [_request(item, n_captions, text, count, path) for item in dataset.items]
    finished = [_is_finished(request, count) for request in requests]
    pending = tuple(request for request, is_finished in zip(requests, finished, strict=True) if not is_finished)
    return ParaphrasePlan(client, path, settings, pending, tuple(itertools.compress(dataset.ids, finished)))


def generate_paraphrases(
    plan: ParaphrasePlan,
    *,
    at_once: int = 8,
    asks: int = 4,
    back_off: BackOff = BackOff(),  # noqa: B008  # it is immutable
    show_progress: bool = False,
) -> Path:
    """Make all pending requests; returns the folder for `with_paraphrases`.

    Args:
      plan: From `plan_paraphrases`.
      at_once: Largest number of concurrent requests.
      asks: Largest number of requests for an item, if answers are invalid.
      back_off: Repetition of requests that failed.
      show_progress: Show a progress bar with rate and remaining time.

    Raises:
      ValueError: There is no key; a request fails permanently; items have no valid answer after `asks` requests (all
        other items come first). Finished items are kept, and the next run resumes.
    """
    check_whole_number("at_once", at_once)
    check_whole_number("asks", asks)
    total = len(plan.pending) + len(plan.finished)
    invalid: list[str] = []
    stop = threading.Event()
    if plan.pending:
        plan.client.open()
    workers = min(at_once, plan.client.most_at_once or at_once)
    with (
        progress.bar(f"paraphrasing by {plan.client.name}", total, show_progress) as advance,
        concurrent.futures.ThreadPoolExecutor(workers) as threads,
    ):
        advance(len(plan.finished))
        futures = {threads.submit(_ask, plan, request, asks, back_off, stop): request for request in plan.pending}
        try:
            for future in concurrent.futures.as_completed(futures):
                try:
                    future.result()
                    advance(1)
                except InvalidAnswer as error:
                    invalid.append(f"{futures[future].id} ({error})")
                    if len(invalid) == _MAX_INVALID:
                        break
                except Transient as error:
                    raise ValueError(
                        f"item {futures[future].id!r}: {error}. Finished items are kept: run again later, perhaps with "
                        "a lower at_once"
                    ) from None
        finally:
            # Also on Ctrl-C: waiting threads wake up, and no new request starts.
            stop.set()
            threads.shutdown(cancel_futures=True)
    if invalid:
        raise ValueError(
            f"{len(invalid)} of the {total} items have no valid answer of {plan.client.name} after {asks} requests "
            f"each: {listed(invalid)}. The others are kept: run again, or change the model, the template or the count"
        )
    return plan.folder


def read_template(path: str | os.PathLike[str] = "") -> str:
    """The template in a file, or the package's for ""; a ValueError if it cannot be used."""
    if not os.fspath(path):
        return importlib.resources.files("vla.stimuli.generators").joinpath(TEMPLATE).read_text(encoding="utf-8")
    try:
        template = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"template {path} cannot be read: {error.strerror}. Name a text file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"template {path} is not UTF-8 (byte {error.start}); save it in the encoding UTF-8") from error
    if "{captions}" not in template:
        raise ValueError(
            f"template {path} has no placeholder for the captions; write {{captions}} where they belong, and {{count}} "
            "where the number of new captions belongs"
        )
    return template


def write_request(template: str, captions: Sequence[str], count: int) -> str:
    """Fill a template: `{captions}` with one line `- caption` each, `{count}` with the number.

    Braces within a caption are not replaced.
    """
    lines = "\n".join(f"- {' '.join(caption.split())}" for caption in captions)
    return _PLACEHOLDER.sub(lambda match: lines if match[1] == "captions" else str(count), template)


def _request(item: Item, n_captions: int | None, template: str, count: int, folder: Path) -> Request:
    captions = item.captions[:n_captions]
    name = f"{safe_name(item.id)}--{canonical_hash([item.id, captions])[:8]}.json"
    return Request(item.id, captions, write_request(template, captions, count), folder / name)


def _is_finished(request: Request, count: int) -> bool:
    """Whether the answer exists; a damaged one is an error."""
    if not request.path.is_file():
        return False
    try:
        record = json.loads(request.path.read_bytes())
        fits = record["id"] == request.id and record["captions"] == list(request.captions)
        if fits and len(record["paraphrases"]) == count:
            return True
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{request.path} is damaged: it does not hold the paraphrases of {request.id!r}. Delete the file")


def _ask(plan: ParaphrasePlan, request: Request, asks: int, back_off: BackOff, stop: threading.Event) -> None:
    count: int = plan.settings["count"]
    for ask in range(asks):
        # 31 bits, the range that every provider accepts.
        seed = int(canonical_hash([plan.settings["seed"], request.id, request.captions, ask])[:8], 16) >> 1

        def complete(seed: int = seed) -> str:
            if stop.is_set():
                raise concurrent.futures.CancelledError
            return plan.client.complete(request.text, seed)

        answer = back_off.call(complete, stop.wait)
        try:
            paraphrases = read_answer(answer, count, request.captions)
        except InvalidAnswer:
            if ask + 1 == asks:
                raise
            continue
        record = {"id": request.id, "captions": request.captions, "paraphrases": paraphrases}
        record |= {"ask": ask, "seed": seed, "settings": plan.settings}
        write_file(request.path, json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n")
        return
