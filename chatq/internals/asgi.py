"""Serving an ASGI application in the event loop of the reader, by uvicorn.

Owns how uvicorn is begun there, and ended in a moment; and where in an application a Socket.IO
server is. Must not know: what the application is for, who connects.

`uvicorn.Server.serve` takes the signals of the process, ends the process if the application does
not start, and waits for tenths of seconds on the way out. So what it does is called step by step.

Touches uvicorn 0.54 (`Server.startup`, `main_loop`, `lifespan`, `servers`, `server_state`), and
`ASGIApp` of python-engineio 4.15.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any

from ..waiting import Tasks, end_task

__all__ = ["AsgiServer", "socket_path"]

#: What holds the application inside another, by the names that frameworks give it.
_INSIDE = (
    "app", "_app", "asgi", "asgi_app", "application", "other_asgi_app", "router", "routes",
    "__self__", "__wrapped__", "func",
)  # fmt: skip
#: How many objects are looked at, at most: an application is not searched for ever.
_MOST = 1_000


def socket_path(app: Any, sio: Any) -> str | None:
    """Return the path of the Socket.IO server `sio` inside this application; None: it is not found
    there."""
    waiting: deque[tuple[Any, str]] = deque([(app, "")])
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        at, prefix = waiting.popleft()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if getattr(at, "engineio_server", None) in (sio, sio.eio):
            # Without a path of its own it answers whatever is asked there.
            return (at.engineio_path or "").strip("/") or f"{prefix}/socket.io".strip("/")
        for each in at if isinstance(at, (list, tuple)) else ():
            path = getattr(each, "path", "")  # a route, or an application that is mounted there
            waiting.append((each, prefix + path if isinstance(path, str) else prefix))
        known = getattr(at, "__dict__", {})
        waiting.extend((known[name], prefix) for name in _INSIDE if name in known)
        cells = getattr(at, "__closure__", None) or ()
        for cell in cells:  # a function that calls the application inside it
            with suppress(ValueError):  # which has not been set yet
                waiting.append((cell.cell_contents, prefix))
    return None


class AsgiServer:
    """Serves one ASGI application from `begin` to `end`; requests that are under way then have
    `last` seconds to end."""

    def __init__(self, app: Any, last: float) -> None:
        try:
            import uvicorn
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "a stage serves an ASGI application with uvicorn, which is not installed: "
                "python -m pip install 'chatq[asgi]'",
                name=error.name,
            ) from None
        self._uvicorn, self._app, self._last = uvicorn, app, last
        self._server: Any = None
        self._ticking: asyncio.Task[None] | None = None
        self._failure = "it does not say why"

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def noticed(message: Any) -> None:
            if message["type"].endswith(".failed"):
                self._failure = message.get("message", "").strip() or self._failure
            await send(message)

        await self._app(scope, receive, noticed)

    async def begin(self, host: str) -> str:
        """Start the application, and serve it on a free port of `host`; return the address.

        Raises `RuntimeError` if the application does not start.
        """
        config = self._uvicorn.Config(
            self._serve, host=host, port=0, log_config=None, access_log=False, interface="asgi3"
        )
        config.load()
        server = self._uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        with suppress(SystemExit):  # of a program that can do nothing without the application
            await server.startup()
        if not server.started:
            told = self._failure.splitlines()[-1]
            raise RuntimeError(f"the ASGI application did not start: {told}")
        self._server = server
        self._ticking = asyncio.create_task(server.main_loop())  # keeps its clock
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://{host}:{port}"

    async def end(self) -> None:
        """End the connections, then the application."""
        if self._ticking is None:
            return
        await end_task(self._ticking, 0)
        state, servers = self._server.server_state, self._server.servers
        for server in servers:
            server.close()
        for connection in [*state.connections]:
            connection.shutdown()
        requests = Tasks()
        for task in state.tasks:
            requests.add(task, "a request")
        log = logging.getLogger("uvicorn.error")
        log.addFilter(_is_no_cancellation)
        try:
            await requests.end(self._last)
        finally:
            log.removeFilter(_is_no_cancellation)
        await self._server.lifespan.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._last):
                for server in servers:
                    await server.wait_closed()


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
