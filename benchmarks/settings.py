"""What can be chosen about a server or a client: JSON module, event loop, compression.

Owns the choices and the names of the namespaces. Must not know: what is measured with them.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any

import engineio.async_drivers.aiohttp as engineio_aiohttp
import socketio
from aiohttp import web

__all__ = ["FASTEST", "NAMESPACE", "PLAIN", "add_arguments", "json_module", "run", "start", "there"]

NAMESPACE, PLAIN = "/caps", "/bare"


def there(package: str) -> bool:
    """Whether an optional package is installed."""
    return find_spec(package) is not None


#: The arguments of a client that holds nobody back.
FASTEST = [
    *(["--json", "orjson"] if there("orjson") else []),
    *(["--loop", "uvloop"] if there("uvloop") else []),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choices to the command line of a child."""
    parser.add_argument("--json", choices=["json", "orjson"], default="json")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--compress", action=argparse.BooleanOptionalAction, default=True)


def json_module(name: str) -> Any:
    """Return what python-socketio takes as its `json`."""
    if name == "json":
        return json
    import orjson

    class Orjson:
        @staticmethod
        def dumps(data: Any, **_: Any) -> str:
            return str(orjson.dumps(data), "utf-8")

        loads = staticmethod(orjson.loads)

    return Orjson


def run(main: Coroutine[Any, Any, None], loop: str) -> None:
    """Run a child on the event loop that was chosen."""
    if loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


async def start(sio: socketio.AsyncServer, *, compress: bool) -> web.AppRunner:
    """Serve on a free port of loopback; `cleanup` of what is returned ends it."""
    if not compress:
        # Neither python-socketio nor Engine.IO has an option for it.
        engineio_aiohttp.WebSocketResponse = functools.partial(
            web.WebSocketResponse, compress=False
        )
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner
