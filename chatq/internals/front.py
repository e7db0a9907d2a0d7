"""What is looked at of each request before an application gets it, websockets included.

Owns how a check is put before an application of aiohttp or ASGI, and how a refusal is answered.
Must not know: what is checked, the application.

Touches aiohttp 3.11 to 3.14 (`web.Server.request_handler`, which takes each request).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

__all__ = ["Asked", "Check", "Refusal", "before_aiohttp", "before_asgi"]


class Asked(NamedTuple):
    """A request: `headers` by their names in lower case, `target` as in its first line, `local`
    and `port`: the address of this machine to which it came, `secure`: whether over TLS."""

    headers: Mapping[str, list[str]]
    target: str
    local: str
    secure: bool = False
    port: int = 0

    def header(self, name: str) -> str:
        """Return a header that is given once; else ""."""
        values = self.headers.get(name, [])
        return values[0] if len(values) == 1 else ""

    def forwarded(self) -> list[str]:
        """Return the names under which proxies were reached, as they, or others, say."""
        headers = self.headers.get("x-forwarded-host", [])
        return [name.strip() for header in headers for name in header.split(",")]


class Refusal(NamedTuple):
    """The answer to a request that is refused; `text` is read by people."""

    status: int
    text: str
    headers: dict[str, str] = {}  # noqa: RUF012 (never changed)

    def all_headers(self) -> dict[str, str]:
        """Return the headers of the answer: its text is never taken for a page."""
        plain = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
        return {**plain, "Connection": "close", **self.headers}


#: Returns why a request is refused; None: it is not.
Check = Callable[[Asked], Refusal | None]


def before_aiohttp(runner: web.BaseRunner, check: Check) -> None:
    """Have `check` asked before each request to what `runner`, which is set up, serves."""
    server = runner.server
    assert server is not None
    served: Any = server.request_handler

    async def handle(request: web.BaseRequest) -> Any:
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        transport = request.transport
        local = (transport.get_extra_info("sockname") if transport else None) or ("", 0)
        local, port = str(local[0]), int(local[1])
        refusal = check(Asked(headers, request.raw_path, local, request.secure, port))
        if refusal is None:
            return await served(request)
        answer = web.Response(
            status=refusal.status, body=refusal.text.encode(), headers=refusal.all_headers()
        )
        answer.force_close()
        return answer

    server.request_handler = handle


def before_asgi(app: Any, check: Check) -> Any:
    """Return an ASGI application that asks `check` before each request to `app`."""

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        refusal = None
        if scope["type"] in ("http", "websocket"):
            headers: dict[str, list[str]] = {}
            for name, value in scope["headers"]:
                headers.setdefault(name.decode("latin-1").lower(), []).append(
                    value.decode("latin-1")
                )
            local, port = scope.get("server") or ("", 0)
            secure = scope.get("scheme") in ("https", "wss")
            refusal = check(Asked(headers, scope["path"], local or "", secure, port or 0))
        if refusal is None:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it began: a 403
        else:
            pairs = [(n.lower().encode(), v.encode()) for n, v in refusal.all_headers().items()]
            await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
            await send({"type": "http.response.body", "body": refusal.text.encode()})

    return checked
