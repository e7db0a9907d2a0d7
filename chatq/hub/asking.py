"""Who answers what is asked about queues: a hub that runs, or the store of one that does not.

Owns how either is reached, and what is said if it cannot be. Must not know: what is asked, what the
answers look like.

A look changes nothing: no file or stream is made, and what is kept only for a time is kept for
longer than that here, whatever the rules of the program are whose queues these are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import socketio  # type: ignore[import-untyped]

from ..internals.connect_errors import met
from ..queues.inspection import CHANGES, Inspection
from ..queues.queues import Queues
from ..queues.rules import Rules
from ..queues.store import StoreError
from .inside import NAMESPACE

__all__ = ["Ask", "Refused", "check_url", "hub", "store"]

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

_EVER = 1e11  # seconds
_ALL = 10**12
#: Whoever looks sweeps nothing away.
_RULES = Rules(
    length=_ALL,
    key_memory=_EVER,
    keys=_ALL,
    dead_memory=_EVER,
    dead_length=_ALL,
    queue_memory=_EVER,
)
#: How long a hub may take to let somebody in, to answer, and to change something, in seconds.
_CONNECT, _ANSWER, _CHANGE = 5, 30, 600
#: How the command is made to trust a certificate.
_TRUST = "give it in the environment, SSL_CERT_FILE=cert.pem"
#: The variable that has the token.
_TOKEN = "CHATQ_TOKEN"


class Refused(RuntimeError):
    """A hub has answered with an error of this code."""

    code: str

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@asynccontextmanager
async def store(url: str, path: str | None) -> AsyncIterator[Ask]:
    """Open the store at `url`, which is the file `path` if it is one; give what answers.

    Raises `StoreError` if there is none, or somebody else has it.
    """
    try:
        queues = await Queues.open(url, _RULES, create=False)
    except StoreError as problem:
        if path is None or "in use" not in str(problem):
            raise
        raise StoreError(
            f"{problem}. If that is a hub, ask it: give its URL, as http://127.0.0.1:3001"
        ) from None
    async with queues:
        yield Inspection(queues, None).ask


def check_url(url: str) -> None:
    """Raise `ValueError` for what cannot be the URL of a hub."""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:  # a port that is no number
        good = False
    if not good or not url.isprintable() or " " in url:
        raise ValueError(f"a hub is at http://HOST:PORT, not at {url!r:.200}")
    if "@" in parts.netloc:  # which others may see, in a list of processes
        raise ValueError(f"a hub's token is taken from the variable {_TOKEN}, not from its URL")


@asynccontextmanager
async def hub(url: str) -> AsyncIterator[Ask]:
    """Connect to the hub at `url`; give what asks it. Raises `Refused` if it answers with an error,
    `StoreError` if none is there."""
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}"
    why: list[Any] = []
    client = socketio.AsyncClient(reconnection=False)

    def failed(*given: Any) -> None:
        why.append((given[0] if given else None, met(client, given, _TRUST)))

    client.on("connect_error", failed, namespace=NAMESPACE)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def gone(*_: Any) -> None:
        if not ended.done():
            ended.set_result(None)

    client.on("disconnect", gone, namespace=NAMESPACE)
    auth = {"token": os.environ[_TOKEN]} if os.environ.get(_TOKEN) else None
    try:
        await client.connect(
            base, auth=auth, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=_CONNECT
        )
    except (socketio.exceptions.ConnectionError, ValueError) as problem:
        await client.disconnect()
        raise _not_let_in(base, why, problem) from None

    async def ask(request: str, asked: dict[str, Any]) -> dict[str, Any]:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(*given: Any) -> None:
            if not answered.done():
                answered.set_result(given[0] if given else None)

        await client.emit(request, asked, namespace=NAMESPACE, callback=answer)
        await asyncio.wait(
            {answered, ended},
            timeout=_CHANGE if request in CHANGES else _ANSWER,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not answered.done():
            what = "has ended" if ended.done() else "does not answer"
            raise StoreError(f"the hub at {base} {what}; nobody knows whether it has done that")
        return _checked(answered.result())

    try:
        about = await ask("hub", {})
        if parts.path.rstrip("/") not in ("", about["namespace"].rstrip("/")):
            raise StoreError(
                f"the clients of the hub at {base} are in {about['namespace']}, not in "
                f"{parts.path}: is it the hub that you mean? If so, give {base}"
            )
        yield ask
    finally:
        await client.disconnect()


def _checked(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise StoreError("that is no hub of this version of chatq: it does not answer as one")
    if "error" in answer:
        raise Refused(answer["error"]["code"], answer["error"]["message"])
    return answer


def _not_let_in(base: str, why: list[Any], problem: Exception) -> Exception:
    """Return what is to be said of a hub that cannot be asked."""
    data, told = why[-1] if why else (None, str(problem))
    found = data.get("data") if isinstance(data, dict) else None
    refused = found.get("error") if isinstance(found, dict) else None
    if isinstance(refused, dict) and refused.get("code") == "forbidden":
        said = f"{refused.get('message')}: it has to be in {_TOKEN}"
        return Refused("forbidden", f"the hub at {base} lets nobody in without its token: {said}")
    if "namespaces failed to connect" in str(problem):  # so a server is there
        return StoreError(
            f"what answers at {base} is a Socket.IO server, but no hub of this version of chatq"
        )
    return StoreError(f"no hub answers at {base}: {told}")
