"""The HTTP requests of a hub's clients: how large their bodies may be, and how long they may take.

Owns the checks of requests that aiohttp and Engine.IO do not make. Must not know: what is in a
packet, queues, who a client is.

Touches python-engineio 4.15 (`eio._async`, `eio.handle_request`, `eio.sockets`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from aiohttp import web

__all__ = ["HEADERS", "check_requests"]

#: How long the head of a request may take, and its body, in seconds.
HEADERS, BODY = 10.0, 20.0


def check_requests(
    eio: Any, largest: int, too_large: Callable[[], None], end: Callable[[Any], Awaitable[None]]
) -> None:
    """Let this Engine.IO server handle no request whose body is larger than `largest`, comes too
    slowly, or comes beside another one of the same client: it ends the connection, with a word.

    `too_large`: called when a body was; `end(socket)`: ends a connection.
    """
    handle, translate = eio.handle_request, eio._async["translate_request"]
    posting: set[str] = set()
    body: ContextVar[bytes | None] = ContextVar("body", default=None)  # each request is a task

    def translated(request: web.Request) -> dict[str, Any]:
        environ: dict[str, Any] = translate(request)
        if (read := body.get()) is not None:
            environ["wsgi.input"] = _Read(read)
        return environ

    async def checked(request: web.Request) -> web.StreamResponse:
        sid = request.query.get("sid", "")
        response: web.StreamResponse
        if request.method != "POST" or sid not in eio.sockets:
            response = await handle(request)
            return response
        if sid in posting:  # so does Engine.IO in JavaScript
            return await _ended(
                end(eio.sockets.get(sid)), 400, "a client sends one request with packets at a time"
            )
        posting.add(sid)
        try:
            length = request.content_length
            if length is None:
                return await _ended(
                    end(eio.sockets.get(sid)), 411, "a request says its Content-Length"
                )
            if length > largest:
                too_large()
                return await _ended(
                    end(eio.sockets.get(sid)), 413, f"a packet has at most {largest} bytes"
                )
            try:
                async with asyncio.timeout(BODY):
                    body.set(await request.content.readexactly(length))
            except TimeoutError:
                return await _ended(
                    end(eio.sockets.get(sid)), 408, f"a request is complete within {BODY:g} s"
                )
            except asyncio.IncompleteReadError:
                return await _ended(end(eio.sockets.get(sid)), 400, "the request was cut off")
            response = await handle(request)
            return response
        finally:
            body.set(None)
            posting.discard(sid)

    eio.handle_request = checked
    eio._async = {**eio._async, "translate_request": translated}


async def _ended(ending: Awaitable[None], status: int, why: str) -> web.Response:
    await ending
    response = web.Response(status=status, text=why)
    response.force_close()  # what is left of the body is not read
    return response


class _Read:
    """A body that has been read, as Engine.IO reads one."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, length: int) -> bytes:
        return self._body[:length]
