"""A TCP relay on 127.0.0.1 between one client and a server, which can be cut like a cable.

Owns the forwarding of bytes, both ways, and the cutting. Must not know: what the bytes mean, whose
they are.

A cut relay aborts its connections, and refuses new ones until it is mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

from ..waiting import Tasks

__all__ = ["Relay"]

_CHUNK = 65536  # bytes
_GOODBYE = 1.0  # seconds


class Relay:
    """Forwards connections to its own port to the server at `where()`; see `open`."""

    severed: bool

    def __init__(self, where: Callable[[], str]) -> None:
        self._where = where
        self.severed = False
        #: The address to dial instead of the server's.
        self.url = ""
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks = Tasks()

    @classmethod
    async def open(cls, where: Callable[[], str]) -> Self:
        """Open a relay on a free port of 127.0.0.1.

        `where` returns the address of the server, "" if there is none now. It is called for each
        connection: a restarted server may listen on another port.
        """
        relay = cls(where)
        relay._server = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
        host, port = relay._server.sockets[0].getsockname()[:2]
        relay.url = f"http://{host}:{port}"
        return relay

    def cut(self) -> None:
        """Abort all connections, and refuse new ones until `mend`."""
        self.severed = True
        for end in [*self._ends]:
            end.transport.abort()

    def mend(self) -> None:
        """Accept new connections again."""
        self.severed = False

    async def close(self) -> None:
        """Cut, and listen no more. Closing twice is harmless."""
        self.cut()
        if self._server is not None:
            self._server.close()
        await self._tasks.end(_GOODBYE)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = {writer}
        self._ends.add(writer)
        try:
            server = urlsplit(self._where())
            if server.port and not self.severed:
                far_reader, far = await asyncio.open_connection(server.hostname, server.port)
                ends.add(far)
                self._ends.add(far)
                if not self.severed:
                    await asyncio.gather(_forward(reader, far), _forward(far_reader, writer))
        except OSError:
            pass  # no server there: the client sees its connection closed
        except asyncio.CancelledError:
            pass  # the event loop ends; its streams would complain of a cancelled task
        finally:
            for end in ends:
                end.transport.abort()
            self._ends -= ends


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes until their end, then forward the end."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
