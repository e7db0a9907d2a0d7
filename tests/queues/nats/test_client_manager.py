"""Emits, rooms and namespaces across servers by way of NATS: what a single server does, and that
nothing is lost in silence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import pytest
import socketio
from aiohttp import web
from nats_nodes import new_stream

from chatq import NatsManager, Queues, Stage, StoreError
from chatq.journal.activity import wait_for
from chatq.stage.nats_server import NatsServers
from chatq.waiting import give_way

pytestmark = pytest.mark.needs("nats")


class Server:
    """A Socket.IO server of its own, and clients of it that note what they hear."""

    def __init__(self, url: str, **options: Any) -> None:
        self.manager = NatsManager(url, **options)
        self.sio = socketio.AsyncServer(
            async_mode="aiohttp", client_manager=self.manager, namespaces="*"
        )
        self.clients: list[Client] = []

    async def open(self) -> Server:
        app = web.Application()
        self.sio.attach(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await web.SockSite(self._runner, listener).start()
        self.manager.initialize()
        self.sio.manager_initialized = True
        async with asyncio.timeout(10):
            await self.manager.listening()
        return self

    async def client(self, namespace: str = "/") -> Client:
        client = Client(namespace)
        self.clients.append(client)
        await client.connect(self.url, namespaces=[namespace], transports=["websocket"])
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.disconnect()
        await self.manager.close()
        await self._runner.cleanup()


class Client(socketio.AsyncClient):
    def __init__(self, namespace: str) -> None:
        super().__init__(reconnection=False)
        self.heard: list[Any] = []
        self.namespace = namespace
        self.look = lambda: None
        self.on("news", self._news, namespace=namespace)

    async def _news(self, *data: Any) -> Any:
        self.heard.append(data[0] if len(data) == 1 else data)
        self.look()
        return "thanks", len(self.heard)

    @property
    def sid_here(self) -> str:
        return str(self.get_sid(self.namespace))

    async def some(self, number: int, what: str = "more") -> None:
        """Wait until so much was heard."""

        def listen(look: Any) -> Any:
            self.look = look
            return lambda: None

        await wait_for(lambda: len(self.heard) >= number, listen, what, 20.0)

    async def until(self, *wanted: Any) -> None:
        """Wait until this, and nothing else, was heard."""
        await self.some(len(wanted), f"{wanted}")
        assert self.heard == [*wanted]


@pytest.fixture
async def opened():
    servers: list[Server] = []

    async def open(url: str, **options: Any) -> Server:
        servers.append(Server(url, **options))
        return await servers[-1].open()

    yield open
    for server in servers:
        await server.close()


@pytest.fixture
async def both(opened):
    url = new_stream()
    return [await opened(url) for _ in range(2)]


async def test_an_emit_reaches_the_clients_of_all_servers_once(both):
    one, two = both
    here, there = await one.client(), await two.client()
    await one.sio.emit("news", "a")
    await two.sio.emit("news", {"b": b"bytes", "c": [1, "é"]})
    await one.sio.emit("news", ("two", "values"))
    for client in (here, there):
        await client.some(3)  # between servers, there is no order
        wanted = ["a", {"b": b"bytes", "c": [1, "é"]}, ("two", "values")]
        assert sorted(client.heard, key=repr) == sorted(wanted, key=repr)


async def test_emits_of_one_server_come_in_their_order(both):
    one, two = both
    there = await two.client()
    for n in range(100):
        await one.sio.emit("news", n)
    await there.until(*range(100))
    there.heard.clear()
    await asyncio.gather(*(one.sio.emit("news", n) for n in range(100)))
    await there.until(*range(100))


async def test_what_comes_twice_out_of_the_stream_is_emitted_once(both):
    """A confirmation may be lost, and then the same is written again."""
    one, two = both
    there = await two.client()
    await one.sio.emit("news", 1)
    manager = one.manager
    manager._number -= 1
    message = {"method": "emit", "event": "news", "data": [1], "namespace": "/", "room": None}
    await manager._publish({**message, "skip_sid": None, "host_id": manager.host_id})
    await one.sio.emit("news", 2)
    await there.until(1, 2)


async def test_rooms_and_skipped_clients_are_everywhere(both):
    one, two = both
    ada, bob, cy = await one.client(), await two.client(), await two.client()
    await two.sio.enter_room(bob.sid_here, "cats")
    await one.sio.enter_room(cy.sid_here, "cats")  # a client of the other server
    await one.sio.emit("news", "to bob alone", to=bob.sid_here)
    await one.sio.emit("news", "cats", to="cats")
    await one.sio.emit("news", "all but bob", skip_sid=bob.sid_here)
    await one.sio.leave_room(bob.sid_here, "cats")
    await one.sio.emit("news", "cats again", to="cats")
    await cy.until("cats", "all but bob", "cats again")  # between servers, there is no other order
    await two.sio.close_room("cats")
    await one.sio.emit("news", "nobody", to="cats")
    await one.sio.emit("news", "end")
    await ada.until("all but bob", "end")
    await bob.until("to bob alone", "cats", "end")
    await cy.until("cats", "all but bob", "cats again", "end")


async def test_namespaces_are_apart(both):
    one, two = both
    shop, plain = await two.client("/shop"), await two.client()
    await one.sio.emit("news", "for the shop", namespace="/shop")
    await one.sio.emit("news", "for all")
    await shop.until("for the shop")
    await plain.until("for all")


async def test_an_acknowledgement_comes_back_to_the_server_that_asked(both):
    one, two = both
    there = await two.client()
    answered = asyncio.get_running_loop().create_future()
    await one.sio.emit(
        "news", 1, to=there.sid_here, callback=lambda *answer: answered.set_result(answer)
    )
    async with asyncio.timeout(10):
        assert await answered == ("thanks", 1)
    assert await one.sio.call("news", 2, to=there.sid_here) == ("thanks", 2)


async def test_a_client_of_another_server_can_be_disconnected(both):
    one, two = both
    there = await two.client()
    gone = asyncio.Event()
    there.on("disconnect", lambda *_: gone.set())
    await one.sio.disconnect(there.sid_here)
    async with asyncio.timeout(10):
        await gone.wait()


async def test_channels_are_apart(opened):
    url = new_stream()
    one, two = await opened(url, channel="one"), await opened(url, channel="two")
    here, there = await one.client(), await two.client()
    await one.sio.emit("news", 1)
    await two.sio.emit("news", 2)
    await here.until(1)
    await there.until(2)


async def test_a_process_that_only_emits(opened):
    url = new_stream()
    server = await opened(url)
    client = await server.client()
    outside = NatsManager(url, write_only=True)
    await outside.emit("news", "from outside")
    await client.until("from outside")
    await outside.close()
    with pytest.raises(StoreError, match="closed"):
        await outside.emit("news", "too late")


async def test_deliveries_of_queues_are_nobody_elses_business(both):
    """A delivery is for one client that is here: the other servers need not read it."""
    one, two = both
    client = await one.client()
    async with await Queues.open("memory:") as queues:
        queues.attach(one.sio)
        before = await one.manager._log.newest()
        await queues.subscribe(client.sid_here, "q")
        for n in range(5):
            await queues.emit("news", n, to="q")
        await client.some(5)
        assert [n for n, _ in client.heard] == [*range(5)]
        assert await one.manager._log.newest() == before
        assert two.manager._last_numbers == {}
        await queues.close(0)  # the client does not answer


# -- on a stage ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def stages(number: int = 2, url: str = "", **options: Any):
    """So many servers that share their emits, each on a stage, with a client: ada, bob, ..."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for name in ("ada", "bob", "cy")[:number]:
            manager = NatsManager(url or new_stream(), **options)
            sio = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)
            stack.push_async_callback(manager.close)
            stage = await stack.enter_async_context(Stage(sio))
            made.append((stage, await stage.client(name)))
            async with asyncio.timeout(10):
                await manager.listening()
        yield made


def told(stage: Stage, event: str) -> str:
    return repr(stage.deliveries(event)).splitlines()[2]


async def test_a_stage_shows_what_another_server_emits_to_its_clients():
    async with stages(url=new_stream()) as [(one, _), (two, bob)]:
        heard = []
        bob.on("news", lambda *data: heard.append(data))
        await one.sio.emit("news", {"b": b"bytes"})
        # No `settle` without this: between servers, nobody counts what is under way.
        await two.until(lambda: "news" in repr(two.deliveries()), "the news")
        await two.settle()  # also what the fact has only announced
        assert heard == [({"b": b"bytes"},)]
        assert "news {'b': <5 bytes>}  server → everyone" in told(two, "news")
        assert two.why("bob", "news") == "bob got 'news'."
        assert [repr(stage.deliveries()).count("<5 bytes>") for stage in (one, two)] == [1, 1]
        await one.sio.emit("end", skip_sid=bob.get_sid())
        await two.until(lambda: "end" in repr(two.deliveries()), "the end")
        assert two.reason("bob", "end").name == "SKIPPED"


async def test_a_stage_shows_no_sid_of_a_client_that_is_elsewhere():
    async with stages(3, new_stream()) as [(one, _), (two, bob), (three, _)]:
        await one.sio.emit("news", 1, to=bob.get_sid())
        await one.sio.emit("end")
        for stage in (two, three):
            await stage.until(lambda: "end" in repr(stage.deliveries()), "the end")  # noqa: B023
            await stage.settle()
        assert told(two, "news").split()[3:8] == ["server", "→", "bob", "↗", "○"]
        assert "news" not in repr(three.deliveries())
        assert not any(bob.get_sid() in repr(fact) for fact in three.journal)


async def test_what_the_clients_here_were_sent_stays_in_the_table_if_nobody_else_hears_of_it():
    async with (
        await NatsServers.open() as servers,
        stages(1, servers.url, patience=0.5) as [(stage, ada)],
    ):
        ada.on("news", lambda _: None)
        await servers.nodes[0].kill()
        await stage.freeze(ada)
        with pytest.raises(StoreError):
            await stage.sio.emit("news", 1)
        await stage.thaw(ada)
        await stage.settle()
        assert stage.why("ada", "news") == "ada got 'news'."
        with pytest.raises(TypeError):  # and what could not be encoded does not
            await stage.sio.emit("set", {1, 2})
        assert "set" not in repr(stage.deliveries())


# -- while NATS is away ---------------------------------------------------------------------------


async def test_an_emit_raises_if_nats_stays_away_and_nothing_is_lost_if_it_comes_back(opened):
    async with await NatsServers.open() as servers:
        [node] = servers.nodes
        one, two = [await opened(servers.url, patience=1.0) for _ in range(2)]
        there = await two.client()
        await one.sio.emit("news", 1)
        await node.kill()
        with pytest.raises(StoreError, match="not confirmed this within 1 s; not connected"):
            await one.sio.emit("news", "lost, and said so")
        one.manager._patience = 20.0
        waiting = asyncio.ensure_future(one.sio.emit("news", 2))
        await give_way()
        await node.start()
        await waiting
        await one.sio.emit("news", 3)
        await there.until(1, 2, 3)


async def test_an_emit_waits_as_long_as_it_takes_if_that_is_wanted(opened, caplog):
    async with await NatsServers.open() as servers:
        [node] = servers.nodes
        one, two = [await opened(servers.url, patience=None) for _ in range(2)]
        there = await two.client()
        await node.freeze()
        emits = [asyncio.ensure_future(one.sio.emit("news", n)) for n in range(10)]
        await give_way()
        await node.kill()
        await node.start()
        await asyncio.gather(*emits)
        await there.until(*range(10))


async def test_a_server_that_was_cut_off_for_too_long_says_so(both, caplog):
    one, two = both
    there = await two.client()
    await one.sio.emit("news", 1)
    await there.until(1)
    log = two.manager._log
    await log._reader.close()
    await one.sio.emit("news", "missed")
    await one.manager._log.purge(await log.newest() + 1)  # as time does
    await one.sio.emit("news", "missed, too")
    with caplog.at_level(logging.ERROR, "chatq.hub"):
        reader = log._reader
        await log.read(reader._last, reader._record, reader._hole)
        async with asyncio.timeout(10):
            while (now := log._reader)._ended or now is reader or not now._caught_up.is_set():
                await give_way()
    assert "cut off from NATS for longer than 300 s" in caplog.text
    await one.sio.emit("news", 2)
    await there.until(1, 2)


def reads_anew(log, before):
    reader = log and log is not before and log._reader
    return bool(reader) and reader._caught_up.is_set()


@pytest.mark.parametrize("verb", ["STREAM.DELETE", "STREAM.PURGE"])
async def test_a_stream_that_is_deleted_or_purged_is_said_and_emits_go_on(both, caplog, verb):
    one, two = both
    there = await two.client()
    await one.sio.emit("news", 1)
    await there.until(1)
    gone = two.manager._log
    with caplog.at_level(logging.ERROR, "chatq.hub"):
        await gone.api(verb)
        if verb == "STREAM.DELETE":
            async with asyncio.timeout(10):
                while not reads_anew(two.manager._log, gone):
                    await give_way()
            assert "missed what others have emitted" in caplog.text
            assert "it was deleted" in caplog.text
    async with asyncio.timeout(10):
        await one.sio.emit("news", 2)
        await there.until(1, 2)


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_is_a_time(patience):
    with pytest.raises(ValueError, match="patience"):
        NatsManager("nats://a", patience=patience)
