"""`subscribe` where everybody would write it: in a `connect` handler, as `enter_room`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import socketio
from hubs import Inbox

from chatq import HandlerRaised, Queues, Stage
from chatq.journal.facts import Subscribed, Unsubscribed
from chatq.queues.observers import Observer
from chatq.queues.store import Stats

ALWAYS = pytest.mark.parametrize("always", [False, True], ids=["let in after", "let in before"])


@pytest.fixture(params=["memory", "sqlite"])
async def queues(request, tmp_path):
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/q.db"
    async with await Queues.open(url) as queues:
        yield queues
        await queues.close(0)


def server(always: bool) -> socketio.AsyncServer:
    return socketio.AsyncServer(async_mode="aiohttp", always_connect=always, namespaces="*")


def listen(sio, how: str, namespace: str, connected) -> None:
    """Have `connected(sid)` called by a connect handler, written in one of the ways there are."""

    class Own(socketio.AsyncNamespace):
        async def on_connect(self, sid, *_):
            return await connected(sid)

    class All(socketio.AsyncNamespace):
        async def on_connect(self, namespace, sid, *_):
            return await connected(sid)

    async def function(sid, environ):
        return await connected(sid)

    async def of_all(namespace, sid, environ):
        return await connected(sid)

    match how:
        case "function":
            sio.on("connect", function, namespace=namespace)
        case "function of all":
            sio.on("connect", of_all, namespace="*")
        case "class":
            sio.register_namespace(Own(namespace))
        case "class of all":
            sio.register_namespace(All("*"))


HOW = pytest.mark.parametrize("how", ["function", "function of all", "class", "class of all"])


class Seen(Observer):
    """An observer that keeps all facts."""

    def __init__(self) -> None:
        self.facts: list[Any] = []

    def happened(self, fact) -> None:
        self.facts.append(fact)


class Slow:
    """A connect handler that subscribes, and then waits to be told how to end."""

    def __init__(self, queues, **options) -> None:
        self.queues, self.options = queues, options
        self.sid = ""
        self.subscribed, self.may_end = asyncio.Event(), asyncio.Event()
        self.end: Any = None

    async def __call__(self, sid):
        self.sid = sid
        await self.queues.subscribe(sid, "drivers", **self.options)
        self.subscribed.set()
        await self.may_end.wait()
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


async def soon(work):
    async with asyncio.timeout(5):
        return await work


@ALWAYS
@HOW
@pytest.mark.parametrize("frame", [0, 5])
async def test_delivery_begins_when_the_client_is_let_in(queues, how, always, frame):
    """Nothing before, and nothing is lost: neither what waited nor what is put meanwhile."""
    sio = server(always)
    handler = Slow(queues, frame=frame)
    listen(sio, how, "/caps", handler)
    queues.attach(sio, "/caps")
    async with Stage(sio) as stage:
        stage.watch(queues)
        await queues.emit("pickup", 1, to="drivers")
        client = socketio.AsyncClient(reconnection=False)
        inbox = Inbox(client, "/caps", answer=not frame)
        connecting = asyncio.create_task(
            client.connect(stage.url, namespaces=["/caps"], transports=["websocket"])
        )
        await soon(handler.subscribed.wait())
        await queues.emit("pickup", 2, to="drivers")
        stats = await queues.stats("drivers")
        assert (stats.ready, stats.leased) == (2, 0)
        assert queues.subscriptions(handler.sid) == ["drivers"]
        handler.may_end.set()
        await soon(connecting)
        await inbox.until(1 if frame else 2)
        if not frame:
            assert inbox.data == [1, 2]
            await soon(empty(queues))
        await client.disconnect()


@ALWAYS
@HOW
@pytest.mark.parametrize(
    "end",
    [
        False,
        socketio.exceptions.ConnectionRefusedError("no"),
        ConnectionRefusedError("no"),
    ],
    ids=lambda end: type(end).__module__ if isinstance(end, Exception) else "False",
)
async def test_nothing_is_left_of_the_subscription_of_who_is_refused(queues, how, always, end):
    sio = server(always)
    handler, seen = Slow(queues), Seen()
    handler.end = end
    listen(sio, how, "/caps", handler)
    queues.attach(sio, "/caps")
    queues.watch(seen)
    async with Stage(sio) as stage:
        await queues.emit("pickup", 1, to="drivers")
        client = socketio.AsyncClient(reconnection=False)
        inbox = Inbox(client, "/caps")
        connecting = asyncio.create_task(
            client.connect(stage.url, namespaces=["/caps"], transports=["websocket"])
        )
        await soon(handler.subscribed.wait())
        handler.may_end.set()
        await soon(asyncio.wait({connecting}))
        assert always or connecting.exception() is not None
        await soon(gone(queues, handler.sid))
        stats = await queues.stats("drivers")
        assert (stats.ready, stats.leased) == (1, 0)
        assert inbox.events == []
        assert [fact for fact in seen.facts if not hasattr(fact, "message")] == [
            Subscribed(handler.sid, "drivers"),
            Unsubscribed(handler.sid, "drivers"),
        ]
        assert not queues._delivery._subscriptions
        assert not queues._delivery._consumers
        await client.disconnect()


async def gone(queues, sid):
    while queues.subscriptions(sid):
        await asyncio.to_thread(lambda: None)


async def empty(queues):
    while await queues.stats("drivers") != Stats():
        await asyncio.to_thread(lambda: None)


async def test_a_handler_that_raises_something_else_leaves_nothing_behind(queues, caplog):
    sio = server(False)
    handler = Slow(queues)
    handler.end = ZeroDivisionError("planted")
    listen(sio, "function", "/", handler)
    queues.attach(sio)
    async with Stage(sio) as stage:
        await queues.emit("pickup", 1, to="drivers")
        client = socketio.AsyncClient(reconnection=False)
        connecting = asyncio.create_task(client.connect(stage.url, wait_timeout=0.1))
        await soon(handler.subscribed.wait())
        handler.may_end.set()
        await soon(gone(queues, handler.sid))
        await asyncio.wait({connecting})
        assert (await queues.stats("drivers")).ready == 1
        await client.disconnect()
        with pytest.raises(HandlerRaised, match="ZeroDivisionError: planted"):
            await stage.settle()


@ALWAYS
async def test_a_line_that_is_cut_while_the_handler_runs_takes_nothing(queues, always):
    """python-socketio thinks for ever that such a client is connected."""
    sio = server(always)
    handler = Slow(queues)
    listen(sio, "function", "/", handler)
    queues.attach(sio)
    async with Stage(sio) as stage:
        await queues.emit("pickup", 1, to="drivers")
        client = socketio.AsyncClient(reconnection=False)
        connecting = asyncio.create_task(client.connect(stage.url, transports=["websocket"]))
        await soon(handler.subscribed.wait())
        [connection] = sio.eio.sockets.values()
        await connection.close(wait=False, abort=True)
        handler.may_end.set()
        await soon(asyncio.wait({connecting}))
        await soon(gone(queues, handler.sid))
        stats = await queues.stats("drivers")
        assert (stats.ready, stats.leased) == (1, 0)
        with pytest.raises(LookupError):
            await queues.subscribe(handler.sid, "drivers")
        await client.shutdown()


@ALWAYS
async def test_who_unsubscribes_or_subscribes_again_in_the_handler_is_heeded(always):
    sio = server(always)
    boxes = {}

    async with await Queues.open("memory:") as queues, Stage(sio) as stage:

        @sio.event
        async def connect(sid, environ):
            await queues.subscribe(sid, "one")
            assert await queues.unsubscribe(sid, "one") is True
            await queues.subscribe(sid, "two", window=1)
            await queues.subscribe(sid, "two", window=3)
            boxes[sid] = queues.subscriptions(sid)

        queues.attach(sio)
        stage.watch(queues)
        for n in range(5):
            await queues.emit("pickup", n, to=["one", "two"])
        await stage.client("ada")
        await stage.settle()
        assert [*boxes.values()] == [["two"]]
        assert (await queues.stats("one")).leased == 0
        assert (await queues.stats("two")).leased == 3
        await queues.close(0)


@ALWAYS
async def test_closing_the_queues_waits_for_no_connect_handler(queues, always):
    sio = server(always)
    handler = Slow(queues)
    listen(sio, "function", "/", handler)
    queues.attach(sio)
    async with Stage(sio) as stage:
        connecting = asyncio.create_task(stage.client("ada"))
        await soon(handler.subscribed.wait())
        await soon(queues.close())
        handler.may_end.set()
        await soon(connecting)
        await stage.settle()


async def test_each_namespace_is_let_in_by_itself(queues):
    """One is refused while the other is delivered to; without a namespace the sid tells."""
    sio = server(False)
    slow = Slow(queues)

    @sio.on("connect", namespace="/quick")
    async def quick(sid, environ):
        await queues.subscribe(sid, "quick")

    listen(sio, "function", "/caps", slow)
    slow.end = False
    queues.attach(sio, "/quick")
    queues.attach(sio, "/caps")
    for queue in ("drivers", "quick"):
        await queues.emit("pickup", queue, to=queue)
    async with Stage(sio) as stage:
        client = socketio.AsyncClient(reconnection=False)
        inbox = Inbox(client, "/quick", answer=True)
        connecting = asyncio.create_task(
            client.connect(
                stage.url, namespaces=["/quick", "/caps"], transports=["websocket"], wait=False
            )
        )
        await soon(slow.subscribed.wait())
        await inbox.until(1)
        slow.may_end.set()
        await soon(asyncio.wait({connecting}))
        await soon(gone(queues, slow.sid))
        assert inbox.data == ["quick"]
        assert (await queues.stats("drivers")).ready == 1
        await client.disconnect()


async def test_a_task_that_the_handler_has_begun_may_subscribe_too(queues):
    sio = server(False)
    done = asyncio.Event()

    @sio.event
    async def connect(sid, environ):
        async def later():
            await queues.subscribe(sid, "drivers")
            done.set()

        sio.start_background_task(later)
        await done.wait()

    queues.attach(sio)
    await queues.emit("pickup", 1, to="drivers")
    async with Stage(sio) as stage:
        stage.watch(queues)
        await stage.client("ada")
        await stage.settle()
        assert (await queues.stats("drivers")).leased == 1
        await queues.close(0)


async def test_a_server_goes_from_stage_to_stage(queues):
    """A stage that ends takes with it what it has wrapped, and nothing of the queues'."""
    sio = server(False)

    @sio.event
    async def connect(sid, environ):
        await queues.subscribe(sid, "drivers")

    for n in range(3):
        async with Stage(sio) as stage:
            if not n:
                queues.attach(sio)
            stage.watch(queues)
            ada = await stage.client("ada")
            got = []
            ada.on(
                "pickup", lambda data, delivery, got=got: got.append(data) or delivery["receipt"]
            )
            await queues.emit("pickup", n, to="drivers")
            await stage.settle()
            assert got == [n]


async def test_many_who_are_let_in_slowly_are_not_swept_away(queues):
    """Subscriptions of clients that have left are looked for when there are many."""
    sio = server(False)
    handler = Slow(queues)
    listen(sio, "function", "/caps", handler)
    queues.attach(sio, "/caps")
    queues.attach(sio)
    await queues.emit("pickup", 1, to="drivers")
    async with Stage(sio) as stage:
        client = socketio.AsyncClient(reconnection=False)
        inbox = Inbox(client, "/caps", answer=True)
        connecting = asyncio.create_task(client.connect(stage.url, namespaces=["/caps"]))
        await soon(handler.subscribed.wait())
        bob = await stage.client("bob")
        for n in range(70):
            await queues.subscribe(bob.get_sid(), f"queue {n}")
        handler.may_end.set()
        await soon(connecting)
        await inbox.until(1)
        await client.disconnect()
