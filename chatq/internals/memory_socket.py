"""A socket in memory: one end of a connection whose other end is in the same process.

Owns the bytes on the way, how each end learns that the other has ended, and when an end is ready
to be read or written. Must not know: addresses, servers, protocols.

It does what a connection over the loopback of Linux does, of which it takes no port and no file
descriptor: it holds as much, and what is sent to somebody who is gone resets it.

Touches asyncio's event loops: what its transports of sockets ask of a socket that does not block.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from itertools import count
from typing import Any

__all__ = ["Address", "MemorySocket", "turns"]

Address = tuple[str, int]
Buffer = bytes | bytearray | memoryview
#: How many bytes one direction of a connection holds that are not read: as on Linux.
_ROOM = 4 * 2**20
#: How many of them are read at once, at most: as from a connection that is new. A reader that takes
#: the beginning of something long for all of it must not get away with it here.
_AT_ONCE = 2**16
#: Times before any clock began, in order.
_past = map(float, count(-(2**52)))


def turns(loop: asyncio.AbstractEventLoop) -> Callable[..., object]:
    """Return what calls back in the next turn of this event loop, when its sockets would: after
    all that is called soon, before timers. So what happens has the same order as with sockets.

    Only asyncio's own loops have such a place: there, it is that of timers that are long over.
    """
    if not isinstance(loop, asyncio.BaseEventLoop):
        return loop.call_soon
    call_at = type(loop).call_at  # not what was put in its place for timers, which this is none of
    return lambda call, *args, context: call_at(loop, next(_past), call, *args, context=context)


class Watch:
    """Calls somebody back in each turn of the event loop in which `ready()`, from `begin` until
    `end`; `call_in_turn`: see `turns`."""

    def __init__(self, call_in_turn: Callable[..., object], ready: Callable[[], bool]) -> None:
        self._call_in_turn, self._ready = call_in_turn, ready
        self._watcher: tuple[Callable[[], object], Context] | None = None
        self._soon = False

    def begin(self, call: Callable[[], object]) -> None:
        """Call `call` from now on, in a copy of the present context, in place of the one before."""
        self._watcher, self._soon = (call, copy_context()), False
        self.look()

    def end(self) -> bool:
        """Call nobody any more; return whether somebody was called."""
        before, self._watcher = self._watcher, None
        return before is not None

    def look(self) -> None:
        """See whether it is ready now: to be told after each change."""
        if self._watcher is not None and not self._soon and self._ready():
            self._soon = True
            self._call_in_turn(self._turn, self._watcher, context=self._watcher[1])

    def _turn(self, watcher: tuple[Callable[[], object], Context]) -> None:
        if watcher is not self._watcher:  # it has ended, or somebody else watches
            return
        self._soon = False
        if self._ready():
            try:
                watcher[0]()
            finally:
                self.look()


class MemorySocket:
    """One end of a connection (see `pair`), or the place where a server listens.

    `call_in_turn`: calls back those who watch, see `turns`; `number`: stands for a file descriptor,
    and is none: a negative one; `closed`: called when it has been closed.
    """

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP

    def __init__(
        self,
        call_in_turn: Callable[..., object],
        number: int,
        address: Address,
        closed: Callable[[MemorySocket], object],
    ) -> None:
        self._number, self._address, self._on_close = number, address, closed
        self._peer: MemorySocket | None = None
        self._arrived = bytearray()  # and not read yet
        self._ended = False  # the other end writes nothing any more
        self._deaf = self._mute = False  # this end reads, or writes, nothing any more
        self._error: OSError | None = None  # for whoever reads or writes next
        self._lost = False  # it was reset
        self._closed = False
        self.reading = Watch(call_in_turn, self._readable)
        self.writing = Watch(call_in_turn, self._writable)

    def pair(self, other: MemorySocket) -> None:
        """Make this end and the other one connection."""
        self._peer, other._peer = other, self

    def _readable(self) -> bool:
        return bool(self._arrived) or self._ended or self._deaf or self._error is not None

    def _writable(self) -> bool:
        peer = self._connected()
        return self._mute or peer._deaf or len(peer._arrived) < _ROOM

    def _connected(self) -> MemorySocket:
        if self._peer is None or self._closed:
            raise _error(errno.EBADF if self._closed else errno.ENOTCONN)
        return self._peer

    # -- reading and writing --------------------------------------------------------------------

    def recv(self, most: int) -> bytes:
        """Return what has arrived, at most so many bytes; b"" when the other end has ended."""
        peer, arrived = self._connected(), self._arrived
        if not arrived:
            if not self._ended:  # an end that was said counts more than a reset after it
                self._fail()
            if self._ended or self._deaf:
                return b""
            raise _error(errno.EAGAIN)
        most = min(most, _AT_ONCE)
        if len(arrived) <= most:
            taken = bytes(arrived)
            arrived.clear()
        else:
            taken = bytes(memoryview(arrived)[:most])
            del arrived[:most]
        peer.writing.look()
        return taken

    def recv_into(self, buffer: Buffer) -> int:
        """Put what has arrived into `buffer`; return how many bytes that are."""
        into = memoryview(buffer)
        taken = self.recv(len(into))
        into[: len(taken)] = taken
        return len(taken)

    def send(self, data: Buffer) -> int:
        """Send as many of these bytes as there is room for; return how many."""
        peer = self._connected()
        self._fail()
        if self._mute:
            raise _error(errno.EPIPE)
        given = memoryview(data)
        if peer._deaf:  # it is lost, and so is the connection, also to whoever is cut off there
            peer.reset()
            self.reset()
            return len(given)
        sent = min(len(given), _ROOM - len(peer._arrived))
        if not sent:
            raise _error(errno.EAGAIN)
        peer._arrived += given[:sent]
        peer.reading.look()
        return sent

    def sendmsg(self, buffers: Iterable[Buffer]) -> int:
        """Send as many of these bytes as there is room for; return how many."""
        return self.send(b"".join(buffers))

    def _fail(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._ended = True
            raise error

    # -- the end --------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """End reading, writing or both, as the method of this name of a socket does."""
        peer = self._connected()
        if self._lost or (self._mute and self._ended):  # it is over
            raise _error(errno.ENOTCONN)
        self._shut(peer, how)

    def _shut(self, peer: MemorySocket, how: int) -> None:
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._deaf = True
            peer.writing.look()
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self._mute:
            self._mute = peer._ended = True
            peer.reading.look()
        self.reading.look()
        self.writing.look()

    def close(self) -> None:
        """End both; the other end is reset if this one has not read all."""
        if self._closed:
            return
        if self._peer is not None:
            if self._arrived:
                self._mute = True  # so it is no orderly end
                self._peer.reset()
            self._shut(self._peer, socket.SHUT_RDWR)
        self._closed = True
        self._arrived.clear()
        self.reading.end()
        self.writing.end()
        self._on_close(self)

    def reset(self) -> None:
        """Nobody is at the other end: what has arrived can be read, then there is an error."""
        if not self._closed:
            self._error = _error(errno.EPIPE if self._ended else errno.ECONNRESET)
            self._mute = self._lost = True
            self.reading.look()
            self.writing.look()

    # -- what else is asked of a socket ---------------------------------------------------------

    def dup(self) -> AbstractContextManager[MemorySocket]:
        """Return a second hold on this connection; to let go of it does not close it."""
        return nullcontext(self)

    def fileno(self) -> int:
        """Return a number that no file has."""
        return -1 if self._closed else self._number

    def getsockname(self) -> Address:
        """Return the address of this end."""
        return self._address

    def getpeername(self) -> Address:
        """Return the address of the other end."""
        return self._connected()._address

    def setsockopt(self, *_: Any) -> None:
        """Do nothing: there is nothing to set."""

    def getsockopt(self, *_: Any) -> int:
        """Return 0: nothing is set."""
        return 0

    def listen(self, backlog: int = 0) -> None:
        """Do nothing: whoever serves says so to the network."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it never blocks."""

    def gettimeout(self) -> float:
        """Return 0: it never blocks."""
        return 0.0


def _error(number: int) -> OSError:
    """Return the error as the machine's own network raises it."""
    return OSError(number, os.strerror(number))
