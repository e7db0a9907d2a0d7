"""The network in memory: what is done there gives what it gives on sockets of this machine.

The same programs run on both. Random ones first: whatever two ends do, each gets the same bytes and
the same end. Then by example what servers and clients are built on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
import sys
import weakref
from contextvars import ContextVar
from importlib.util import find_spec

import aiohttp
import pytest
import socketio
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sizes import size

from chatq import Stage
from chatq.internals.network import MEMORY_HOST, MemoryNetwork, cut, serving_host
from chatq.waiting import give_way

NETWORKS = ("sockets", "memory")
MB = 2**20


class End(asyncio.Protocol):
    """One end of a connection, which writes down what it is told."""

    def __init__(self, keeps_open=False):
        self.keeps_open = keeps_open
        self.told = []
        self.got = bytearray()
        self.lost = asyncio.get_running_loop().create_future()
        self.paused = 0

    def connection_made(self, transport):
        self.transport = transport
        self.told.append("made")

    def data_received(self, data):
        assert isinstance(data, bytes)
        self.got += data
        if self.told[-1] != "data":
            self.told.append("data")

    def eof_received(self):
        self.told.append("eof")
        return self.keeps_open

    def pause_writing(self):
        self.paused += 1

    def resume_writing(self):
        self.paused -= 1

    def connection_lost(self, error):
        self.told.append(f"lost: {type(error).__name__}")
        self.lost.set_result(None)


@contextlib.asynccontextmanager
async def two_ends(network, *keep_open):
    """Two connected ends: that of the client, and that of the server."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    def accept():
        end = End("far" in keep_open)
        accepted.set_result(end)
        return end

    host = serving_host(network)
    server = await loop.create_server(accept, host, 0)
    host, port = server.sockets[0].getsockname()[:2]
    _, near = await loop.create_connection(lambda: End("near" in keep_open), host, port)
    far = await accepted
    async with asyncio.timeout(5):
        while not far.told:
            await give_way()
    try:
        yield near, far
    finally:
        for end in (near, far):
            if not end.lost.done():
                end.transport.abort()
            await end.lost
        server.close()
        await server.wait_closed()


async def turns(n=8):
    for _ in range(n):
        await give_way()


# -- random programs on both networks -------------------------------------------------------------

#: Less than a window: how much of what is beyond it a reset loses is a matter of the machine.
SIZES = st.sampled_from([0, 1, 10, 1_000])
STEPS = st.one_of(
    st.tuples(st.just("write"), SIZES),
    # Not nothing: since Python 3.12 a transport never gets rid of that, on either network.
    st.tuples(st.just("writelines"), st.lists(SIZES.filter(bool), max_size=3)),
    st.tuples(
        st.sampled_from(["write_eof", "pause_reading", "resume_reading", "close", "abort", "cut"])
    ),
)
PROGRAMS = st.lists(
    st.one_of(st.tuples(st.sampled_from(["near", "far"]), STEPS), st.just("turns")), max_size=12
)


def act(end, step, number):
    """Let this end take a step; return what it says to that."""
    name, *arguments = step
    transport = end.transport
    letter = bytes([65 + number % 26])
    try:
        match name:
            case "write":
                transport.write(bytearray(letter * arguments[0]))
            case "writelines":
                transport.writelines([letter * each for each in arguments[0]])
            case "cut":
                cut(transport.get_extra_info("socket"))
            case _:
                getattr(transport, name)()
    except Exception as error:  # as asyncio does after the end
        return type(error).__name__
    return transport.is_closing(), transport.is_reading()


async def play(network, program, keep_open):
    """Return all that the two ends have seen and said in this program."""
    said = []
    async with two_ends(network, *keep_open) as (near, far):
        for number, step in enumerate(program):
            if step == "turns":
                await turns()
            else:
                end = near if step[0] == "near" else far
                said.append(act(end, step[1], number))
        await turns()
        for end in (near, far):
            end.transport.resume_reading()
            await turns()
        for end in (near, far):
            end.transport.close()
            await turns()
        async with asyncio.timeout(5):
            await near.lost
            await far.lost
    return said, *((end.told, bytes(end.got)) for end in (near, far))


@settings(max_examples=size(150, 1_000), deadline=None)
@example([("far", ("cut",)), ("near", ("write", 1))], [])
@example([("near", ("close",)), ("far", ("write", 1))], [])
@example([("near", ("cut",)), "turns", ("near", ("write_eof",))], ["near"])
@example([("far", ("close",)), "turns", ("near", ("write", 1)), ("near", ("write_eof",))], ["near"])
@given(PROGRAMS, st.lists(st.sampled_from(["near", "far"]), unique=True))
def test_two_ends_see_in_memory_what_they_see_over_sockets(program, keep_open):
    in_memory = asyncio.run(play("memory", program, keep_open))
    for _ in range(5):  # a busy machine may be late with what is on its way
        over_sockets = asyncio.run(play("sockets", program, keep_open))
        if in_memory == over_sockets:
            return
    assert in_memory == over_sockets


# -- bytes ----------------------------------------------------------------------------------------

both = pytest.mark.parametrize("network", NETWORKS)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await give_way()


@both
async def test_much_goes_both_ways_at_once(network):
    async with two_ends(network) as (near, far):
        for end, letter in ((near, b"n"), (far, b"f")):
            for _ in range(8):
                end.transport.write(letter * MB)
        await until(lambda: len(near.got) == len(far.got) == 8 * MB)
        assert {*near.got} == {ord("f")}
        assert {*far.got} == {ord("n")}


@both
async def test_a_writer_is_paused_while_nobody_reads_and_what_it_wrote_comes_in_order(network):
    async with two_ends(network) as (near, far):
        far.transport.pause_reading()
        sent = b"".join(bytes([65 + n]) * MB for n in range(16))
        for n in range(16):
            near.transport.write(sent[n * MB : (n + 1) * MB])
        await turns()
        assert near.paused == 1
        assert near.transport.get_write_buffer_size() > 64 * 1024
        assert far.got == b""
        far.transport.resume_reading()
        await until(lambda: len(far.got) == len(sent))
        assert far.got == sent
        await until(lambda: not near.transport.get_write_buffer_size())
        assert near.paused == 0


@both
async def test_closing_sends_what_was_written_before(network):
    async with two_ends(network) as (near, far):
        far.transport.pause_reading()
        near.transport.writelines([b"x" * MB] * 12)
        near.transport.close()
        await turns()
        assert near.told == ["made"]  # not before all is on its way
        far.transport.resume_reading()
        await until(far.lost.done)
        assert len(far.got) == 12 * MB
        assert near.told == ["made", "lost: NoneType"]
        assert far.told == ["made", "data", "eof", "lost: NoneType"]


@both
async def test_what_was_written_is_a_copy(network):
    async with two_ends(network) as (near, far):
        far.transport.pause_reading()
        data = bytearray(b"before")
        near.transport.write(data)
        data[:] = b"later!"
        far.transport.resume_reading()
        await until(lambda: far.got)
        assert far.got == b"before"


@both
async def test_a_protocol_may_bring_its_own_buffer(network):
    class Own(asyncio.BufferedProtocol):
        got = b""

        def get_buffer(self, _):
            self.buffer = bytearray(3)
            return self.buffer

        def buffer_updated(self, n):
            self.got += self.buffer[:n]

        def connection_lost(self, error):
            far.lost.set_result(None)

    async with two_ends(network) as (near, far):
        far.transport.set_protocol(own := Own())
        near.transport.write(b"some more words")
        await until(lambda: own.got == b"some more words")


@both
async def test_what_is_long_comes_in_parts(network):
    """So what takes the first part for the whole fails on both: Engine.IO does, of long posts."""
    async with two_ends(network) as (near, far):
        near.transport.write(b"x" * MB)
        await until(lambda: far.got)
        assert len(far.got) <= (MB / 4 if network == "sockets" else MB / 16)
        await until(lambda: len(far.got) == MB)


@both
async def test_both_ends_see_a_connection_that_is_cut(network):
    async with two_ends(network) as (near, far):
        near.transport.write(b"last words")
        cut(near.transport.get_extra_info("socket"))
        near.transport.write(b"lost")
        await until(lambda: near.lost.done() and far.lost.done())
        assert near.told == ["made", "lost: BrokenPipeError"]
        assert far.told == ["made", "data", "eof", "lost: NoneType"]
        assert far.got == b"last words"
        cut(near.transport.get_extra_info("socket"))  # once more does no harm


# -- addresses ------------------------------------------------------------------------------------


async def serve(network, accept=asyncio.Protocol, port=0, **options):
    """Return a server, and its host and port."""
    host = serving_host(network)
    server = await asyncio.get_running_loop().create_server(accept, host, port, **options)
    return server, server.sockets[0].getsockname()[:2]


@both
async def test_nobody_listens(network):
    loop = asyncio.get_running_loop()
    server, address = await serve(network)
    server.close()
    with pytest.raises(ConnectionRefusedError, match="Connect call failed") as refused:
        await loop.create_connection(asyncio.Protocol, *address)
    assert refused.value.errno == errno.ECONNREFUSED
    assert str(address) in str(refused.value)
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
            await loop.sock_connect(sock, address)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError, match="Cannot connect to host"):
            await http.get("http://{}:{}".format(*address))


@both
async def test_a_port_is_taken_once(network):
    server, (_, port) = await serve(network)
    with pytest.raises(OSError, match="error while attempting to bind on address") as taken:
        await serve(network, port=port)
    assert taken.value.errno == errno.EADDRINUSE
    server.close()
    again, (_, same) = await serve(network, port=port)
    assert same == port
    again.close()


async def test_ports_are_taken_again_when_all_were_taken():
    """As in a notebook in which exercises are checked often."""
    network = MemoryNetwork(asyncio.get_running_loop())
    with contextlib.closing(network.bind()) as first:
        ports = set()
        for _ in range(30_000):
            with contextlib.closing(network.bind()) as sock:
                ports.add(sock.getsockname()[1])
    assert max(ports) < 2**16
    assert first.getsockname()[1] not in ports


@both
async def test_both_ends_know_the_addresses(network):
    async with two_ends(network) as (near, far):
        for name, other in (("peername", "sockname"), ("sockname", "peername")):
            assert near.transport.get_extra_info(name) == far.transport.get_extra_info(other)
        wire = near.transport.get_extra_info("socket")
        assert wire.getpeername() == near.transport.get_extra_info("peername")
        assert wire.getsockname() == near.transport.get_extra_info("sockname")
        assert (wire.family, wire.type) == (socket.AF_INET, socket.SOCK_STREAM)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert "Transport" in repr(near.transport)


async def test_what_is_elsewhere_is_reached_over_sockets_as_before():
    serving_host("memory")
    async with two_ends("sockets") as (near, far), two_ends("memory") as (here, _):
        assert near.transport.get_extra_info("peername")[0] == "127.0.0.1"
        assert here.transport.get_extra_info("peername")[0] == MEMORY_HOST
        near.transport.write(b"hello")
        await until(lambda: far.got == b"hello")


async def test_each_event_loop_has_a_network_of_its_own():
    server, address = await serve("memory")

    async def elsewhere():
        serving_host("memory")
        loop = asyncio.get_running_loop()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(asyncio.Protocol, *address)

    await asyncio.to_thread(asyncio.run, elsewhere())
    server.close()


async def test_there_is_no_tls_in_memory():
    _, address = await serve("memory")
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match=r"^the network in memory has no TLS: leave out ssl, or"):
        await loop.create_connection(asyncio.Protocol, *address, ssl=True)
    with pytest.raises(ValueError, match="has no TLS"):
        await serve("memory", port=443, ssl=True)
    server, _ = await serve("memory", port=443)  # it is free
    server.close()


# -- servers --------------------------------------------------------------------------------------


@both
async def test_a_server_is_asyncios(network):
    loop = asyncio.get_running_loop()
    ends = []
    server, address = await serve(network, lambda: ends.append(End()) or ends[-1])
    assert isinstance(server, asyncio.Server)
    assert server.is_serving()
    assert server.get_loop() is loop
    _, near = await loop.create_connection(End, *address)
    await until(lambda: ends and ends[0].told)
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    closed = asyncio.ensure_future(server.wait_closed())
    await turns()
    assert closed.done() == (sys.version_info < (3, 12))  # later ones wait for the connections
    near.transport.write(b"still here")
    await until(lambda: ends[0].got == b"still here")
    near.transport.close()
    await closed
    await until(near.lost.done)


@both
@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.13 brings it")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_a_server_ends_its_connections(network, how):
    server, address = await serve(network, End)
    _, near = await asyncio.get_running_loop().create_connection(End, *address)
    await turns()
    server.close()
    getattr(server, how)()
    await server.wait_closed()
    await until(near.lost.done)
    assert near.told == ["made", "eof", "lost: NoneType"]


@both
async def test_a_server_may_begin_to_serve_later_and_serves_until_it_is_cancelled(network):
    server, address = await serve(network, End, start_serving=False)
    loop = asyncio.get_running_loop()
    if network == "memory":  # a socket that is bound, on which nobody listens
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(End, *address)
    serving = asyncio.create_task(server.serve_forever())
    await turns()
    _, near = await loop.create_connection(End, *address)
    near.transport.close()
    await near.lost
    await turns()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(End, *address)


@both
async def test_what_connections_call_runs_in_the_context_of_who_began_them(network):
    who = ContextVar("who", default="")
    seen = {}

    class Asked(End):
        def __init__(self, name):
            super().__init__()
            self.name = name
            seen[name] = {who.get()}

        def connection_made(self, transport):
            seen[self.name].add(who.get())
            super().connection_made(transport)

        def data_received(self, data):
            seen[self.name].add(who.get())
            super().data_received(data)

    who.set("server")
    server, address = await serve(network, lambda: Asked("far"))
    who.set("client")
    _, near = await asyncio.get_running_loop().create_connection(lambda: Asked("near"), *address)
    who.set("writer")
    near.transport.write(b"hello")
    await until(lambda: len(seen) == 2)
    server.close()
    await turns(20)
    assert seen == {"far": {"server"}, "near": {"client"}}
    near.transport.close()
    await near.lost
    await turns()


async def test_a_protocol_that_cannot_be_made_ends_the_connection_and_is_told():
    told = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: told.append(what["exception"]))

    def clumsy():
        raise LookupError("no protocol")

    server, address = await serve("memory", clumsy)
    _, near = await loop.create_connection(End, *address)
    await until(near.lost.done)
    assert [str(error) for error in told] == ["no protocol"]
    server.close()


async def test_a_server_that_closes_first_takes_nobody_in():
    server, address = await serve("memory", End)
    connecting = asyncio.create_task(asyncio.get_running_loop().create_connection(End, *address))
    await give_way()
    server.close()
    _, near = await connecting
    await until(near.lost.done)
    assert near.got == b""


@both
async def test_streams_wait_until_they_may_write(network):
    async def answer(reader, writer):
        data = await reader.read()  # until its end
        writer.write(data * 2)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    host = serving_host(network)
    async with await asyncio.start_server(answer, host, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        for _ in range(10):
            writer.write(b"x" * MB)
            await writer.drain()
        assert writer.can_write_eof()
        writer.write_eof()
        assert len(await reader.read()) == 20 * MB
        writer.close()
        await writer.wait_closed()


async def test_a_connection_lives_as_long_as_it_is_open():
    """Nobody but the network holds it while both ends wait."""
    ends = weakref.WeakSet()
    server, address = await serve("memory", lambda: ends.add(end := End()) or end)
    await asyncio.get_running_loop().create_connection(
        lambda: ends.add(end := End()) or end, *address
    )
    await turns()
    gc.collect()
    near, far = ends
    near.transport.write(b"hello")
    await until(lambda: far.got == b"hello")
    near.transport.close()
    await until(lambda: near.lost.done() and far.lost.done())
    server.close()


async def test_a_socket_in_memory_can_be_given_to_a_server():
    """As hypercorn does, which binds its sockets itself."""
    network = MemoryNetwork.of(asyncio.get_running_loop())
    sock = network.bind(8000)
    with pytest.raises(OSError, match="address already in use"):
        network.bind(8000)
    async with await asyncio.start_server(lambda _, writer: writer.close(), sock=sock):
        reader, writer = await asyncio.open_connection(MEMORY_HOST, 8000)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    network.bind(8000).close()


# -- a stage on it --------------------------------------------------------------------------------


@pytest.fixture
def no_sockets(monkeypatch):
    """No socket of this machine is bound or connected."""

    def refuse(sock, *address):
        raise AssertionError(f"{sock} was to be at {address}")

    for name in ("bind", "listen", "connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_stage_in_memory_takes_no_port(sio, no_sockets, transport, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("x" * MB)
    app = web.Application()
    app.router.add_static("/pages", tmp_path)
    sio.on("ask", lambda sid, data: data)
    async with Stage(sio, app, network="memory") as stage:
        ada, _ = await stage.clients("ada", "bob", transports=[transport])
        assert await ada.call("ask", "x" * 50_000) == "x" * 50_000
        async with aiohttp.ClientSession() as http, http.get(stage.url + "/pages/page.html") as got:
            assert await got.text() == page.read_text()
        async with socketio.AsyncSimpleClient() as guest:
            await guest.connect(stage.url, transports=[transport])
            assert await guest.call("ask", "me, too") == "me, too"
        await stage.settle()


async def test_a_closed_stage_in_memory_is_not_looked_for_in_the_world(sio, no_sockets):
    async with Stage(sio, network="memory") as stage:
        await stage.client("ada")
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError, match="Cannot connect to host"):
            await http.get(stage.url)


def test_a_stage_has_no_other_network(sio):
    with pytest.raises(ValueError, match=r"no network 'carrier pigeon': it has \"sockets\""):
        Stage(sio, network="carrier pigeon")


async def test_a_process_does_not_reach_a_network_in_memory(sio):
    async with Stage(sio, network="memory") as stage:
        with pytest.raises(ValueError, match=r"leave out network=\"memory\"$"):
            await stage.process("driver", "print('hello')")
        assert "driver" not in repr(stage)


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
@pytest.mark.parametrize("keep_open", [(), ("far",)])
def test_the_same_on_uvloop(keep_open):
    import uvloop

    program = [
        ("near", ("write", 1_000)),
        "turns",
        ("far", ("write", 10)),
        ("near", ("write_eof",)),
        "turns",
        ("far", ("writelines", [10, 10])),
        "turns",
    ]
    uv = uvloop.run(play("memory", program, keep_open))
    assert uv == asyncio.run(play("memory", program, keep_open))
