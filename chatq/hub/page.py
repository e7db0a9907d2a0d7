"""The page of a hub, at its `/`: what waits for whom, for a class to look at.

Owns which files make the page, how they are sent, and where the official client is taken from. Must
not know: queues, tokens, what is on the page.

Nothing is loaded from elsewhere, and nothing but these files runs on the page: its policy
(`Content-Security-Policy`) says so to the browser. The official client is no part of this package:
it is the one that is installed where the hub was started (`npm install socket.io-client`). Where
there is none, `small_client.js` takes its place, which speaks as much of the protocol as the page
needs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from aiohttp import web

__all__ = ["add_to"]

_FOLDER = Path(__file__).parent
_CLIENT = Path("node_modules/socket.io-client/dist/socket.io.min.js")
#: How the file of a client begins that speaks this protocol.
_VERSION = re.compile(rb"/\*!\s*\* Socket\.IO v[34]\.")
#: Namespaces that may be a path of their own.
_PLAIN, _TAKEN = re.compile(r"(/[\w-]+)+"), {"/socket.io"}
#: A client is much smaller than that, in bytes.
_LARGEST = 1_000_000

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_to(application: web.Application, namespace: str) -> None:
    """Let this application send the page; also to who opens the address that the hub has printed,
    which ends with the `namespace` of its clients."""
    for path, name, kind in (
        ("/", "page.html", "text/html"),
        ("/page.css", "page.css", "text/css"),
        ("/page.js", "page.js", "text/javascript"),
    ):
        _add(application, path, (_FOLDER / name).read_bytes(), kind)
    client = _installed(Path.cwd()) or (_FOLDER / "small_client.js").read_bytes()
    _add(application, "/socket.io.min.js", client, "text/javascript")
    if _PLAIN.fullmatch(namespace) and namespace not in _TAKEN:
        application.router.add_get(namespace, _to_the_page)


async def _to_the_page(_: web.Request) -> web.Response:
    raise web.HTTPFound("/")


def _add(application: web.Application, path: str, content: bytes, kind: str) -> None:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=_HEADERS)

    application.router.add_get(path, send)


def _installed(folder: Path) -> bytes | None:
    """Return the official client as it is installed in this folder or one above it, as Node would
    find it; None if there is none, or it is somebody else's or of another protocol."""
    for each in (folder, *folder.parents):
        file = each / _CLIENT
        try:
            found = file.stat()
            if found.st_size > _LARGEST or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
                continue
            content = file.read_bytes()
        except OSError:
            continue
        if _VERSION.match(content):
            return content
    return None
