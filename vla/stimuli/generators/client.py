"""The interface of language models that write paraphrases, and what text generators share."""

import contextlib
import dataclasses
import importlib
import os
import random
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from vla.checks import listed
from vla.files import safe_name
from vla.records import Dataset, canonical_hash

Result = TypeVar("Result")


def plan_folder(
    dataset: Dataset, name: str, settings: Mapping[str, Any], folder: str | os.PathLike[str], n_captions: int | None
) -> Path:
    """The folder of what a model generates from the first `n_captions` captions of each item (None for all).

    A ValueError names items with fewer captions.
    """
    few = [f"{item.id} ({len(item.captions)})" for item in dataset.items if len(item.captions) < (n_captions or 1)]
    if few:
        raise ValueError(
            f"{len(few)} of the {len(dataset)} items of {dataset.name} have fewer than {n_captions} captions: "
            f"{listed(few)}. Lower n_captions, or leave these items out"
        )
    path = safe_name(f"{dataset.name}--{name}".replace("/", "_"))
    return Path(folder).expanduser().absolute() / f"{path}--{canonical_hash(settings)[:8]}"


# Too many requests, or an error of the server or a gateway: the same request may succeed later.
TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Transient(Exception):
    """A request failed but may succeed later: too many requests, a server error, a lost connection.

    Attributes:
      wait: Seconds that the server asks to wait, if it does.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        """Record the reason and the wait."""
        super().__init__(reason)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class BackOff:
    """Exponential back-off for requests that fail with `Transient`.

    Attributes:
      tries: Largest number of requests.
      first: Seconds to wait after the first failure; doubled after each further one.
      longest: Longest wait in seconds; if a server asks for more, the request fails.
    """

    tries: int = 8
    first: float = 1.0
    longest: float = 120.0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.tries < 1 or self.first < 0 or self.longest < self.first:
            raise ValueError(f"{self}: expected tries of at least 1, and 0 <= first <= longest in seconds")

    def call(self, request: Callable[[], Result], wait: Callable[[float], object] = time.sleep) -> Result:
        """The result of the first request that succeeds; `wait` waits for a number of seconds.

        A wait is 50 to 100 % of the doubled time, so that requests that failed together are not repeated together, and
        at least what the server asks for.

        Raises:
          Transient: The last try failed, or the server asks for a longer wait than `longest`.
        """
        failures = 0
        while True:
            try:
                return request()
            except Transient as error:
                failures += 1
                asked = error.wait or 0.0
                if asked > self.longest:
                    raise Transient(f"{error}; the server asks to wait {asked:.0f} s") from None
                if failures >= self.tries:
                    raise Transient(f"{error} (tried {failures} times)") from None
                doubled = min(self.longest, self.first * 2.0 ** (failures - 1))
                wait(max(asked, doubled * random.uniform(0.5, 1.0)))


@runtime_checkable
class Client(Protocol):
    """A language model that answers requests."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that, with the request and the seed, determine the answer (as far as anything does)."""
        ...

    @property
    def most_at_once(self) -> int | None:
        """Largest number of concurrent requests; None for no limit."""
        ...

    def open(self) -> None:
        """Read the key or load the weights; a ValueError with the remedy if something is missing."""
        ...

    def complete(self, request: str, seed: int) -> str:
        """The answer to a request; "" if the model returned none.

        Raises:
          Transient: The request failed but may succeed later.
          ValueError: The request failed and will fail again.
        """
        ...


@contextlib.contextmanager
def require_packages(*packages: str) -> Iterator[None]:
    """Context for imports of optional packages; a ValueError has the command that installs a missing one."""
    try:
        yield
    except ImportError as error:
        command = f"pip install {' '.join(packages)}"
        raise ValueError(f"an optional package is needed ({error}): run `{command}`") from error


def key_from_environment(*variables: str) -> str | None:
    """The first of these environment variables that is not empty, stripped of white space."""
    values = (os.environ.get(variable, "").strip() for variable in variables)
    return next(filter(None, values), None)


def check_url(url: str) -> str:
    """The address of a server without a final slash.

    A ValueError if it is not http(s), or has a user name, password or query, which would be written to disk.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url={url!r}; expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"base_url of {parts.hostname} holds a user name, a password or a query; give the bare address, and the "
            "key in the environment"
        )
    return url.rstrip("/")


def without_none(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}


def redact(text: object, *secrets: str | None) -> str:
    """The message of an error without the secrets, and without anything that looks like a key in a URL or header."""
    message = str(text)
    for secret in filter(None, secrets):
        message = message.replace(secret, "***").replace(urllib.parse.quote(secret, safe=""), "***")
    message = re.sub(r"(?i)([?&](?:api_?)?key=)[^&\s'\"]+", r"\1***", message)
    message = re.sub(r"(?i)(bearer\s+)[^\s'\",]+", r"\1***", message)
    return message if len(message) <= 500 else message[:500] + "..."


def failure(
    server: str, message: str, status: int | None, *, wait: float | None = None, permanent: bool = False
) -> Transient | ValueError:
    """The error for a request that failed with an HTTP status, or with None if no answer came.

    It is a ValueError if the request will fail again: by its status, or if `permanent`. `server` names the server and
    the model, `message` is the server's, without keys, and `wait` are the seconds that the server asks to wait.
    """
    reason = f"{server} answered {status}: {message}" if status else f"{server} cannot be reached: {message}"
    if (status is None or status in TRANSIENT_STATUS) and not permanent:
        return Transient(reason, wait)
    remedy = {
        400: "Check the model's name, the parameters and the key",
        401: "Check the key in the environment",
        403: "Check the key in the environment and its permissions",
        404: "Check the model's name and the address",
        429: "The quota is used up: raise it, or run again later",
    }.get(status or 0, "Check the settings")
    return ValueError(f"{reason}. {remedy}; finished items are kept")


def transport_errors() -> tuple[type[Exception], ...]:
    """The errors of the HTTP libraries when no answer comes; a client library may use either library."""
    errors = []
    for module in ("httpx", "httpx2"):
        try:
            errors.append(importlib.import_module(module).TransportError)
        except ImportError:
            continue
    return tuple(errors)
