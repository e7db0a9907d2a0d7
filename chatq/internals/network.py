"""The network under a stage: sockets of this machine, or one in memory, under the event loop.

Owns on which host is served, where connections in memory are made, and how a connection is cut.
Must not know: servers, clients, what they say to each other.

The network in memory answers for one address that is never real; whatever is asked of the event
loop about others goes on to its own methods. So libraries notice nothing: aiohttp, Engine.IO and
servers of other makes run on asyncio's own transports and servers, of which only the sockets are in
memory (`memory_socket`), and what they send is the same, in the same order. No port is taken, so a
thousand scenes can be played; and no socket of this machine reaches it: no other process, thread or
event loop.

Touches asyncio's event loops: `create_server`, `create_connection`, `sock_connect`, and the methods
of the loop that its transports and servers of sockets use (CPython 3.11 to 3.14).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import weakref
from asyncio import base_events, constants, selector_events
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from itertools import count, cycle
from typing import Any, Literal, get_args

from .memory_socket import Address, MemorySocket, turns
from .wrapping import Wrapped, kept_on

__all__ = ["MEMORY_HOST", "MemoryNetwork", "Network", "check_network", "cut", "serving_host"]

Network = Literal["sockets", "memory"]
#: Of a range that is kept for documentation (RFC 5737): no machine has it.
MEMORY_HOST = "192.0.2.1"
#: Taken one after the other, and then again: no address has a greater one.
_PORTS = range(40_001, 65_536)


def check_network(network: object) -> None:
    """Raise `ValueError` if there is no such network."""
    if network not in get_args(Network):
        raise ValueError(
            f'a stage has no network {network!r}: it has "sockets", those of this machine, or '
            '"memory", which takes no port'
        )


def serving_host(network: Network) -> str:
    """Return the host to serve on, on the event loop that runs."""
    if network == "sockets":
        return "127.0.0.1"
    MemoryNetwork.of(asyncio.get_running_loop())
    return MEMORY_HOST


def cut(wire: Any) -> None:
    """Break a connection: both ends see it end, without a goodbye, as if its cable were cut.

    `wire`: what its transport gives as its "socket", on either network.
    """
    # It may be closing just now. (What uvloop gives cannot be shut down, but its double can.)
    with contextlib.suppress(OSError), wire.dup() as double:
        double.shutdown(socket.SHUT_RDWR)


class MemoryNetwork:
    """The connections in memory of one event loop; see `of`.

    It stays on its loop: a client that is late must be refused, not sent out into the world.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sockets: Any = _Sockets(loop)
        self._ports = cycle(_PORTS)
        self._bound: set[Address] = set()
        #: The sockets of the machine that a library would have connected to a place in memory.
        self._dialled: weakref.WeakKeyDictionary[socket.socket, Address]
        self._dialled = weakref.WeakKeyDictionary()
        wrapped = Wrapped()
        wrapped.method(loop, "create_server", self._on_create_server)
        wrapped.method(loop, "sock_connect", self._on_sock_connect)
        wrapped.method(loop, "create_connection", self._on_create_connection)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> MemoryNetwork:
        """Return that of this loop, made when it is first asked for."""
        return kept_on(loop, cls)

    def _free(self) -> int:
        """Return a port that no server has."""
        return next(port for port in self._ports if (MEMORY_HOST, port) not in self._bound)

    # -- serving --------------------------------------------------------------------------------

    def bind(self, port: int = 0) -> MemorySocket:
        """Return a socket for a server to listen at, for `create_server(sock=…)`.

        Raises `OSError` if the port is taken; 0: one that is free.
        """
        address = (MEMORY_HOST, port or self._free())
        if address in self._bound:
            text = os.strerror(errno.EADDRINUSE).lower()
            raise OSError(
                errno.EADDRINUSE, f"error while attempting to bind on address {address}: {text}"
            )
        self._bound.add(address)
        sock: MemorySocket = self._sockets.new(address, lambda _: self._bound.discard(address))
        return sock

    def _on_create_server(
        self, original: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        sock = options.pop("sock", None)
        if isinstance(sock, MemorySocket):
            return self._serve(factory, sock, **options)
        if host == MEMORY_HOST:
            return self._serve(factory, self.bind(port or 0), **options)
        given = options if sock is None else {**options, "sock": sock}
        return original(factory, host, port, **given)

    async def _serve(
        self,
        factory: Any,
        sock: Any,
        *,
        ssl: Any = None,
        start_serving: bool = True,
        backlog: int = 100,
        **_: Any,
    ) -> _Server:
        if ssl:
            sock.close()
            raise _no_tls()
        server = _Server(self._sockets, [sock], factory, None, backlog, None)
        if start_serving:
            await server.start_serving()
        return server

    # -- connecting -----------------------------------------------------------------------------

    def _on_sock_connect(self, original: Any, sock: Any, address: Any) -> Any:
        if address[0] != MEMORY_HOST:
            return original(sock, address)
        return self._dial(sock, address[:2])

    async def _dial(self, sock: socket.socket, address: Address) -> None:
        self._sockets.listening(address)
        self._dialled[sock] = address

    def _on_create_connection(
        self, original: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        sock = options.pop("sock", None)
        if sock in self._dialled:
            return self._connect(factory, self._dialled.pop(sock), sock, **options)
        if host == MEMORY_HOST:
            return self._connect(factory, (host, port), **options)
        given = options if sock is None else {**options, "sock": sock}
        return original(factory, host, port, **given)

    async def _connect(
        self, factory: Any, address: Address, given: Any = None, *, ssl: Any = None, **_: Any
    ) -> tuple[asyncio.Transport, Any]:
        if given is not None:
            given.close()  # it was never connected: the one in memory takes its place
        if ssl:
            raise _no_tls()
        accept = self._sockets.listening(address)
        near = self._sockets.new((MEMORY_HOST, self._free()))
        far = self._sockets.new(address)
        near.pair(far)
        try:
            protocol = factory()
        except BaseException:
            near.close()
            raise
        accept(far)
        connected = self._loop.create_future()
        transport = _Transport(self._sockets, near, protocol, connected)
        try:
            await connected
        except BaseException:
            transport.close()
            raise
        return transport, protocol


class _Sockets:
    """An event loop as asyncio's transports and servers of sockets see it, for those in memory."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        #: The open ones, which live as long as they are open, by their numbers.
        self._open: dict[int, MemorySocket] = {}
        self._numbers = count(-2, -1)
        self.call_in_turn = turns(loop)
        #: Who takes the connections to an address.
        self._listening: dict[Address, Callable[[MemorySocket], object]] = {}
        self._transports: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._selector = self
        self.call_soon, self.get_debug = loop.call_soon, loop.get_debug  # asked for all the time

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def new(
        self, address: Address, closed: Callable[[MemorySocket], object] = lambda _: None
    ) -> MemorySocket:
        """Return a new socket; `closed`: called when it has been closed."""

        def forget(sock: MemorySocket) -> None:
            del self._open[number]
            closed(sock)

        number = next(self._numbers)
        sock = self._open[number] = MemorySocket(self.call_in_turn, number, address, forget)
        return sock

    def listening(self, address: Address) -> Callable[[MemorySocket], object]:
        """Return who takes connections to `address`. Raises `OSError` if nobody does."""
        if address not in self._listening:
            raise OSError(errno.ECONNREFUSED, f"Connect call failed {address}")
        return self._listening[address]

    # -- what a transport asks of its loop ------------------------------------------------------

    def get_key(self, number: int) -> Any:
        raise KeyError(number)  # no selector knows it: so says the `repr` of a transport

    def _add_reader(self, number: int, call: Callable[..., object], *args: Any) -> None:
        self._open[number].reading.begin(partial(call, *args))

    def _add_writer(self, number: int, call: Callable[..., object], *args: Any) -> None:
        self._open[number].writing.begin(partial(call, *args))

    def _remove_reader(self, number: int) -> bool:
        return number in self._open and self._open[number].reading.end()

    def _remove_writer(self, number: int) -> bool:
        return number in self._open and self._open[number].writing.end()

    # -- what a server asks of its loop ---------------------------------------------------------

    def _start_serving(
        self, factory: Any, sock: MemorySocket, _: Any, server: _Server, *__: Any
    ) -> None:
        context = copy_context()  # whoever serves: what connections begin belongs to it
        address = sock.getsockname()

        def take(far: MemorySocket) -> None:
            accept = partial(self._accept, factory, server, take)
            self.call_in_turn(accept, far, context=context.copy())

        self._listening[address] = take

    def _accept(self, factory: Any, server: _Server, take: Any, far: MemorySocket) -> None:
        if self._listening.get(far.getsockname()) is not take:  # it has closed meanwhile
            far.close()
            return
        try:
            _Transport(self, far, factory(), server=server)
        except Exception as error:
            far.close()
            self.loop.call_exception_handler(
                {"message": "Error on accepting a connection in memory", "exception": error}
            )

    def _stop_serving(self, sock: MemorySocket) -> None:
        self._listening.pop(sock.getsockname(), None)
        sock.close()


_OfSockets: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]


class _Transport(_OfSockets):  # type: ignore[misc]
    """asyncio's own transport; a file is sent by reading it, as there is no descriptor."""

    _sendfile_compatible = constants._SendfileMode.FALLBACK


class _Server(base_events.Server):
    """asyncio's own server."""

    _loop: Any

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that it runs on."""
        loop: asyncio.AbstractEventLoop = self._loop.loop
        return loop


def _no_tls() -> ValueError:
    return ValueError('the network in memory has no TLS: leave out ssl, or network="memory"')
