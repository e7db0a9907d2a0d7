"""A cable that can be cut: a relay on 127.0.0.1 between one client and a server.

Owns the passing on of bytes, both ways, and the cutting. Must not know: what the bytes mean, whose
they are.

A cut cable ends its connections without a goodbye, and whoever dials over it is turned away until
it is mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Relay"]

_CHUNK = 65536  # bytes


class Relay:
    """Passes what comes to its own port on to the server at `where()`; see `open`."""

    def __init__(self, where: Callable[[], str]) -> None:
        self._where = where
        self.severed = False
        #: The address to dial instead of the server's.
        self.url = ""
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, where: Callable[[], str]) -> Self:
        """Return a relay, listening on a free port of 127.0.0.1.

        `where` gives the address of the server, "" if there is none now. It is asked whenever
        somebody dials: a server that is started again may listen on another port.
        """
        relay = cls(where)
        relay._server = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
        host, port = relay._server.sockets[0].getsockname()[:2]
        relay.url = f"http://{host}:{port}"
        return relay

    def cut(self) -> None:
        """End all connections without a goodbye, and let nobody through until `mend`."""
        self.severed = True
        for end in [*self._ends]:
            end.transport.abort()

    def mend(self) -> None:
        """Let through whoever dials from now on."""
        self.severed = False

    async def close(self) -> None:
        """Cut, and listen no more. Closing twice is harmless."""
        self.cut()
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = {writer}
        self._ends.add(writer)
        try:
            server = urlsplit(self._where())
            if server.port and not self.severed:
                far_reader, far = await asyncio.open_connection(server.hostname, server.port)
                ends.add(far)
                self._ends.add(far)
                if not self.severed:
                    await asyncio.gather(_pass_on(reader, far), _pass_on(far_reader, writer))
        except OSError:
            pass  # nobody listens there: whoever dialled is told so by the closing
        except asyncio.CancelledError:
            pass  # the event loop ends; its streams would complain of a cancelled task
        finally:
            for end in ends:
                end.transport.abort()
            self._ends -= ends


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what is read until its end, then end the other side's reading, too."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
