"""Paraphrases of every item's captions: what is still to be asked, and the asking.

Layout under the folder: one folder per dataset, model and settings in it, one JSON file per item in that. A file is
named after the item and a hash of its captions and is put in place whole, so that a killed run goes on where it was.
"""

import concurrent.futures
import dataclasses
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla import progress
from vla.records import Dataset, Item, canonical_hash, listed
from vla.stimuli.generators.answers import InvalidAnswer, read_answer
from vla.stimuli.generators.back_off import BackOff, Transient
from vla.stimuli.generators.client import Client
from vla.stimuli.generators.files import safe_name, write_whole
from vla.stimuli.generators.request import read_template, write_request

# So many items without a valid answer show that template or model do not suit: no more is spent on them.
_MOST_INVALID = 20

_PATIENCE = BackOff()


@dataclasses.dataclass(frozen=True)
class Asked:
    """The paraphrases of one item.

    Attributes:
      id: The item's id.
      captions: What the model is shown.
      request: The words in which it is asked.
      path: Where its answer is kept.
    """

    id: str
    captions: tuple[str, ...]
    request: str
    path: Path


@dataclasses.dataclass(frozen=True)
class ParaphrasePlan:
    """What is to be asked of whom.

    Attributes:
      client: Who is asked.
      folder: Where the answers are kept, one file per item.
      settings: What determines the answers beside the captions, as JSON values.
      pending: Items still to be asked for.
      finished: Ids of those whose answer is there.
    """

    client: Client
    folder: Path
    settings: dict[str, Any]
    pending: tuple[Asked, ...]
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
    """What there is to ask for a dataset; asks nothing and needs no key.

    Args:
      dataset: The items.
      client: The language model: `Gemini()`, `OpenAIServer(model)` or `LocalModel(model)`.
      folder: Where everything is kept.
      count: New captions per item.
      n_captions: How many human captions the model is shown, the first ones; None for all that there are.
      template: File with the words of the request, with the places `{captions}` and `{count}`; "" takes ours.
      seed: Sent along where the client takes one; another one asks anew.

    Raises:
      ValueError: items have fewer captions than `n_captions`; a bad count, template or model; a damaged answer file.
    """
    if count < 1 or (n_captions is not None and n_captions < 1):
        raise ValueError(f"count={count}, n_captions={n_captions}; expected whole numbers of at least 1")
    short = [f"{item.id} ({len(item.captions)})" for item in dataset.items if len(item.captions) < (n_captions or 1)]
    if short:
        raise ValueError(
            f"{len(short)} of the {len(dataset)} items of {dataset.name} have fewer than {n_captions} captions: "
            f"{listed(short)}. Lower n_captions, or leave these items out"
        )
    words = read_template(template)
    settings = {
        **client.settings,
        "template": canonical_hash(words),
        "count": count,
        "n_captions": n_captions,
        "seed": seed,
    }
    name = safe_name(f"{dataset.name}--{client.name}".replace("/", "_"))
    place = Path(folder).expanduser().absolute() / f"{name}--{canonical_hash(settings)[:8]}"
    asked = [_asked(item, n_captions, words, count, place) for item in dataset.items]
    done = {one.id for one in asked if _finished(one, count)}
    pending = tuple(one for one in asked if one.id not in done)
    return ParaphrasePlan(client, place, settings, pending, tuple(one.id for one in asked if one.id in done))


def generate_paraphrases(
    plan: ParaphrasePlan,
    *,
    at_once: int = 8,
    asks: int = 4,
    back_off: BackOff = _PATIENCE,
    show_progress: bool = False,
) -> Path:
    """Ask for everything that is pending; returns the folder that `with_paraphrases` takes.

    Args:
      plan: From `plan_paraphrases`.
      at_once: Most requests under way at once.
      asks: How often a model is asked again whose answer is not what was asked for.
      back_off: How patiently requests are repeated that failed on the way.
      show_progress: Show a bar with rate and time left.

    Raises:
      ValueError: no key; a request that will not succeed; items without a valid answer after all asks (the others
        are asked for first). What is finished is kept, and the next run goes on from there.
    """
    if at_once < 1 or asks < 1:
        raise ValueError(f"at_once={at_once}, asks={asks}; expected whole numbers of at least 1")
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
        asked = {threads.submit(_ask, plan, one, asks, back_off, stop): one for one in plan.pending}
        try:
            for answer in concurrent.futures.as_completed(asked):
                try:
                    answer.result()
                    advance(1)
                except InvalidAnswer as error:
                    invalid.append(f"{asked[answer].id} ({error})")
                    if len(invalid) == _MOST_INVALID:
                        break
                except Transient as error:
                    raise ValueError(
                        f"item {asked[answer].id!r}: {error}. What is finished is kept: run again later, perhaps with "
                        "fewer requests at once"
                    ) from None
        finally:
            # Also on Ctrl-C: waiting threads wake up, and nothing new is asked.
            stop.set()
            threads.shutdown(cancel_futures=True)
    if invalid:
        raise ValueError(
            f"{len(invalid)} of the {total} items have no valid answer of {plan.client.name} after {asks} requests "
            f"each: {listed(invalid)}. The others are kept: run again, or change the model, the template or the count"
        )
    return plan.folder


def _asked(item: Item, n_captions: int | None, template: str, count: int, place: Path) -> Asked:
    captions = item.captions[:n_captions]
    name = f"{safe_name(item.id)}--{canonical_hash([item.id, captions])[:8]}.json"
    return Asked(item.id, captions, write_request(template, captions, count), place / name)


def _finished(asked: Asked, count: int) -> bool:
    """Whether the answer is there; refuse one that cannot be it."""
    if not asked.path.is_file():
        return False
    try:
        record = json.loads(asked.path.read_bytes())
        fits = record["id"] == asked.id and record["captions"] == list(asked.captions)
        if fits and len(record["paraphrases"]) == count:
            return True
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{asked.path} is damaged: it does not hold the paraphrases of {asked.id!r}. Delete that file")


def _ask(plan: ParaphrasePlan, asked: Asked, asks: int, back_off: BackOff, stop: threading.Event) -> None:
    """Ask for one item until the answer is valid, and keep it."""
    count: int = plan.settings["count"]
    for ask in range(asks):
        seed = _seed(plan.settings["seed"], asked.id, asked.captions, ask)
        answer = back_off.call(lambda seed=seed: _unless(stop, plan.client, asked.request, seed), stop.wait)
        try:
            paraphrases = read_answer(answer, count, asked.captions)
        except InvalidAnswer:
            if ask + 1 == asks:
                raise
            continue
        record = {
            "id": asked.id,
            "captions": asked.captions,
            "paraphrases": paraphrases,
            "ask": ask,
            "seed": seed,
            "settings": plan.settings,
        }
        write_whole(asked.path, json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n")
        return


def _unless(stop: threading.Event, client: Client, request: str, seed: int) -> str:
    if stop.is_set():
        raise concurrent.futures.CancelledError
    return client.complete(request, seed)


def _seed(seed: int, item_id: str, captions: Sequence[str], ask: int) -> int:
    """A seed of 31 bits, which is what every provider takes."""
    return int(canonical_hash([seed, item_id, captions, ask])[:8], 16) >> 1
