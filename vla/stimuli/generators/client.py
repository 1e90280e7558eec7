"""What every way of reaching a language model has in common."""

import contextlib
import importlib
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from vla.stimuli.generators.back_off import Transient

# Too many requests, a server's fault, or a gateway's: the same request may succeed later.
TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


@runtime_checkable
class Client(Protocol):
    """A language model that answers requests."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that, with the request and the seed, determine the answer as far as anything does."""
        ...

    @property
    def most_at_once(self) -> int | None:
        """How many requests may be under way at once; None where any number may."""
        ...

    def open(self) -> None:
        """Make ready to answer: find the key, load the weights.

        Raises:
          ValueError: a package, a key or weights are missing; the message has the remedy.
        """
        ...

    def complete(self, request: str, seed: int) -> str:
        """The answer to a request; "" where the model gave none.

        Raises:
          Transient: it did not work, but may work later.
          ValueError: it did not work and will not.
        """
        ...


@contextlib.contextmanager
def needing(*packages: str) -> Iterator[None]:
    """Around imports of optional packages.

    Raises:
      ValueError: one of them is not installed; the message has the command.
    """
    try:
        yield
    except ImportError as error:
        command = f"pip install {' '.join(packages)}"
        raise ValueError(f"an optional package is needed ({error}): run `{command}`") from error


def key_from_environment(*variables: str) -> str | None:
    """The first of these environment variables that holds something, without the white space around it."""
    found = (os.environ.get(variable, "").strip() for variable in variables)
    return next(filter(None, found), None)


def check_url(url: str) -> str:
    """A server's address without a final slash.

    Raises:
      ValueError: it is not http(s), or holds a password or a query, which would be written into the cache.
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


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are not None: the others are left to the provider."""
    return {name: value for name, value in parameters.items() if value is not None}


def scrub(text: object, *secrets: str | None) -> str:
    """An error's words without keys: those given, and whatever looks like one in a URL or a header."""
    words = str(text)
    for secret in filter(None, secrets):
        words = words.replace(secret, "***").replace(urllib.parse.quote(secret, safe=""), "***")
    words = re.sub(r"(?i)([?&](?:api_?)?key=)[^&\s'\"]+", r"\1***", words)
    words = re.sub(r"(?i)(bearer\s+)[^\s'\",]+", r"\1***", words)
    return words if len(words) <= 500 else words[:500] + "..."


def failure(
    who: str, words: str, status: int | None, *, wait: float | None = None, hopeless: bool = False
) -> Transient | ValueError:
    """What to raise when a request failed with an HTTP status, or with None where no answer came at all."""
    told = f"{who} answered {status}: {words}" if status else f"{who} cannot be reached: {words}"
    if (status is None or status in TRANSIENT_STATUS) and not hopeless:
        return Transient(told, wait)
    remedy = {
        400: "Check the model's name, the parameters and the key",
        401: "Check the key in the environment",
        403: "Check the key in the environment and what it permits",
        404: "Check the model's name and the address",
        429: "The quota is used up: raise it, or run again later",
    }.get(status or 0, "Check the settings")
    return ValueError(f"{told}. {remedy}; what is finished is kept")


def unreadable(who: str, words: str) -> Transient:
    """What to raise for an answer in another form than the interface's, such as the page of an overloaded server."""
    return Transient(f"{who} gave an answer that cannot be read: {words}")


def transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP libraries raise when no answer comes; a client library may use either."""
    found = []
    for module in ("httpx", "httpx2"):
        try:
            found.append(importlib.import_module(module).TransportError)
        except ImportError:
            continue
    return tuple(found)
