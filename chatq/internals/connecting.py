"""The clients of a server that are just connecting: call-backs for the end of a connect handler.

Owns which clients of a server those are, and who waits for which of them. Must not know: queues,
what anybody waits for.

While its connect handler runs, a client can be put into rooms, but has not been let in yet, and may
still be refused: python-socketio says so to it (`CONNECT`) after the handler, or with
`always_connect=True` before, and then says goodbye to those that are refused.

Touches python-socketio 5.18 (`_handle_connect`, `always_connect`, `manager.eio_sid_from_sid`,
`manager.is_connected`) and python-engineio 4.15 (of a socket `closed`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .engine import connection
from .wrapping import kept_on

__all__ = ["Connecting", "is_here"]


def is_here(sio: Any, sid: str, namespace: str) -> bool:
    """Return whether a client is connected, and its connection still there.

    A connection that ends while the connect handler runs leaves a client behind of which
    python-socketio thinks for ever that it is connected.
    """
    if not sio.manager.is_connected(sid, namespace):
        return False
    socket = connection(sio, sid, namespace)
    return socket is not None and not socket.closed


class Connecting:
    """The clients of `sio` whose connect handlers run; see `of`."""

    def __init__(self, sio: Any) -> None:
        self._sio, self._handle = sio, sio._handle_connect
        #: By Engine.IO's sid and namespace: how many handlers run, and whom to call at their end.
        self._running: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], list[tuple[str, Callable[[bool], None]]]] = {}
        sio._handle_connect = self._connect

    @classmethod
    def of(cls, sio: Any) -> Connecting:
        """Return that of this server, made when it is first asked for."""
        return kept_on(sio, cls)

    def __contains__(self, client: tuple[str, str]) -> bool:
        """Return whether the connect handler of a client, (sid, namespace), runs."""
        sid, namespace = client
        return (self._sio.manager.eio_sid_from_sid(sid, namespace), namespace) in self._running

    def then(self, sid: str, namespace: str, call: Callable[[bool], None]) -> None:
        """Call `call(connected)` when the connect handler of this client has ended and the client
        has been told; at once if it has."""
        if (sid, namespace) in self:
            key = (self._sio.manager.eio_sid_from_sid(sid, namespace), namespace)
            self._waiting.setdefault(key, []).append((sid, call))
        else:
            call(is_here(self._sio, sid, namespace))

    async def _connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        key = (eio_sid, namespace or "/")
        self._running[key] = self._running.get(key, 0) + 1
        let_in = self._sio.always_connect  # then it was told before
        try:
            await self._handle(eio_sid, namespace, data)
            let_in = True  # else the handler has raised, and the client hears nothing of it
        finally:
            self._running[key] -= 1
            if not self._running[key]:  # a client may ask twice; the second time is refused
                del self._running[key]
                for sid, call in self._waiting.pop(key, ()):
                    call(let_in and is_here(self._sio, sid, key[1]))
