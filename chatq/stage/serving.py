"""How the server of a stage is served: by aiohttp, or as an ASGI application.

Owns which of them serves a server and its application, and what is said of those that none can.
Must not know: what is recorded of it, clients.
"""

from __future__ import annotations

from typing import Any, Protocol

import socketio  # type: ignore[import-untyped]
from aiohttp import web

from ..internals.asgi import AsgiServer, socket_path
from ..internals.front import Check, before_aiohttp, before_asgi

__all__ = ["Serving", "serving"]

#: How long requests may take to end that are under way when it closes, in seconds.
_LAST_REQUESTS = 0.3
_ELSEWHERE = (
    "a stage serves in its own event loop, with aiohttp or ASGI. Of a server of another kind it "
    "can record what its clients see, if that runs as a process and prints its address: "
    "`stage = await Stage.open(socketio.AsyncServer(async_mode='aiohttp'))`, "
    "`web = await stage.process('web', program)`, `await web.line('http://')`, "
    "`ada = await stage.client('ada', url=web.address)`"
)


class Serving(Protocol):
    """Serves one application; `socket_path`: where its clients find the Socket.IO server."""

    app: Any
    socket_path: str

    async def begin(self, host: str) -> str:
        """Serve it on a free port of `host`; return its address. Raises what its start raises."""

    async def end(self) -> None:
        """Serve it no longer, and free the port."""


def serving(sio: Any, app: Any, check: Check) -> Serving:
    """Return what serves `sio` and its application `app`; None: it has none of its own. `check` is
    asked before each request.

    Raises `TypeError` for a server that cannot be served here, or an application that is not of its
    kind.
    """
    made = 'sio = socketio.AsyncServer(async_mode="asgi"), or "aiohttp"; then Stage(sio, app)'
    if isinstance(sio, (socketio.Server, socketio.WSGIApp)):
        raise TypeError(
            f"a stage cannot serve {type(sio).__name__}, which needs threads: {_ELSEWHERE}"
        )
    if not isinstance(sio, socketio.AsyncServer):
        raise TypeError(f"a stage needs a socketio.AsyncServer, not {type(sio).__name__}: {made}")
    if sio.async_mode == "asgi":
        if isinstance(app, web.Application) or not (app is None or callable(app)):
            raise TypeError(
                f"this server was made for 'asgi', and {type(app).__name__} is no ASGI "
                'application: make the server with async_mode="aiohttp"'
            )
        return _Asgi(sio, app, check)
    if sio.async_mode != "aiohttp":
        raise TypeError(f"this server was made for {sio.async_mode!r}: {_ELSEWHERE}")
    if not isinstance(app, web.Application | None):
        raise TypeError(
            f"this server was made for 'aiohttp', and {type(app).__name__} is no "
            'aiohttp.web.Application: make the server with async_mode="asgi"'
        )
    return _Aiohttp(sio, app, check)


class _Aiohttp:
    socket_path = "socket.io"

    def __init__(self, sio: Any, app: web.Application | None, check: Check) -> None:
        self.app = app if app is not None else web.Application()
        self._sio, self._check = sio, check
        self._runner = web.AppRunner(self.app, shutdown_timeout=_LAST_REQUESTS, access_log=None)

    async def begin(self, host: str) -> str:
        if not any(r.canonical == "/socket.io/" for r in self.app.router.resources()):
            self._sio.attach(self.app)
        await self._runner.setup()
        before_aiohttp(self._runner, self._check)
        await web.TCPSite(self._runner, host, 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def end(self) -> None:
        await self._runner.cleanup()


class _Asgi(AsgiServer):
    def __init__(self, sio: Any, app: Any, check: Check) -> None:
        path = socket_path(app, sio)
        self.app = app if path is not None else socketio.ASGIApp(sio, app)
        self.socket_path = path or "socket.io"
        super().__init__(before_asgi(self.app, check), _LAST_REQUESTS)
