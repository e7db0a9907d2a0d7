"""An event that is sent as text is what an emit sends, and is emitted wherever it may not be."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from typing import Any

import pytest
import socketio
from aiohttp import web
from engineio.async_socket import AsyncSocket
from socketio.async_pubsub_manager import AsyncPubSubManager
from socketio.packet import Packet

from chatq import Queues, Stage
from chatq.internals.engine import connection, text_sender
from chatq.internals.hub_server import hub_server

DATA = [1, -2.5, 1e300, True, None, 'é " \\ \u2028 \0', {"a_name": [{}], "": []}]


@pytest.fixture
async def serve():
    """Serves a server to a plain client: `await serve(sio, namespace)` returns the client, and its
    sid there."""
    ends = []

    async def serve(sio: Any, namespace: str = "/") -> tuple[socketio.AsyncClient, str]:
        sio.on("connect", lambda sid, environ: None, namespace=namespace)
        application = web.Application()
        sio.attach(application)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        ends.append(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await client.connect(url, namespaces=[namespace], transports=["websocket"])
        ends.append(sio.shutdown)
        ends.append(client.disconnect)
        return client, client.get_sid(namespace)

    yield serve
    for end in reversed(ends):
        await end()


def server(**options: Any) -> Any:
    return socketio.AsyncServer(async_mode="aiohttp", **options)


@pytest.mark.parametrize("namespace", ["/", "/orders"])
@pytest.mark.parametrize("kind", ["server", "hub"])
async def test_what_is_sent_as_text_arrives_as_if_it_were_emitted(serve, namespace, kind):
    sio = server() if kind == "server" else hub_server(lambda record: True)
    client, sid = await serve(sio, namespace)
    got: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def listen(*arguments: Any) -> Any:
        got.put_nowait(arguments)
        return "thanks", 2

    client.on("*", listen, namespace=namespace)
    arguments = (DATA, {"receipt": "r"})

    def answered(*answer: Any) -> None:
        answers.put_nowait(answer)

    await sio.emit("news", arguments, to=sid, namespace=namespace, callback=answered)
    send = text_sender(sio, sid, namespace)
    assert send is not None
    send(json.dumps(["news", *arguments]), answered)
    send(json.dumps(["news", *arguments]), None)
    async with asyncio.timeout(10):
        emitted, sent, unasked = await got.get(), await got.get(), await got.get()
        assert emitted == sent == unasked == ("news", *arguments)
        assert await answers.get() == await answers.get() == ("thanks", 2)
    assert sio.manager.callbacks[sid].keys() == {0}  # python-socketio's counter: none is left


class Backwards(Packet):
    """A packet of somebody's own protocol."""

    def encode(self) -> Any:
        text = super().encode()
        return text[:1] + text[:0:-1] if isinstance(text, str) else text


class Hidden:
    """A JSON module that writes none."""

    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return base64.b64encode(json.dumps(value).encode()).decode()


class Camel(Hidden):
    """One that writes other names."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return json.dumps(value).replace("_n", "N")


class Broken(Hidden):
    """One that takes only text."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return str(value.encode())


class Emitting(socketio.AsyncServer):
    """A server that does something of its own with emits."""

    async def emit(self, *args: Any, **options: Any) -> None:
        await super().emit(*args, **options)


class Managing(socketio.AsyncManager):
    async def emit(self, *args: Any, **options: Any) -> None:
        await super().emit(*args, **options)


def packets(kind: Any, module: Any = json) -> dict[str, Any]:
    """A packet class of its own: `json=` would change the one that all servers share."""
    return {"serializer": type("Own", (kind,), {"json": module})}


OWN = {
    "the JSON module is Python's": (packets(Packet), True),
    "the packets are others": (packets(Backwards), False),
    "the JSON module hides": (packets(Packet, Hidden), False),
    "the JSON module changes names": (packets(Packet, Camel), False),
    "the JSON module fails": (packets(Packet, Broken), False),
    "the manager is derived": ({"client_manager": Managing()}, False),
    "the manager shares emits": ({"client_manager": AsyncPubSubManager()}, True),
}


@pytest.mark.parametrize("why", OWN)
async def test_a_server_of_its_own_kind_emits(why):
    options, sends = OWN[why]
    sio = server(**options)
    # No connection, since python-socketio's client would not understand all of them.
    sid = await sio.manager.connect("connection", "/")
    socket = sio.eio.sockets["connection"] = AsyncSocket(sio.eio, "connection")
    socket.upgraded, socket.last_ping = True, None
    assert (text_sender(sio, sid, "/") is not None) is sends


async def test_a_derived_server_emits(serve):
    sio = Emitting(async_mode="aiohttp")
    _, sid = await serve(sio)
    assert text_sender(sio, sid, "/") is None


async def replaced(*_: Any, **__: Any) -> None:
    """What somebody has put in the place of a method."""


CHANGES: dict[str, Any] = {
    "emit is replaced": lambda sio, socket: setattr(sio, "emit", replaced),
    "a step of emit is replaced": lambda sio, socket: setattr(sio, "_send_packet", replaced),
    "the manager's emit is replaced": lambda sio, socket: setattr(sio.manager, "emit", replaced),
    "call-backs are counted": lambda sio, socket: setattr(
        sio.manager, "_generate_ack_id", sio.manager._generate_ack_id
    ),
    "packets are counted": lambda sio, socket: setattr(sio.eio, "send_packet", replaced),
    "texts are counted": lambda sio, socket: setattr(sio.eio, "send", replaced),
    "the connection's packets are counted": lambda sio, socket: setattr(socket, "send", replaced),
    "emits are logged": lambda sio, socket: setattr(sio, "logger", logging.Logger("a", 20)),
    "packets are logged": lambda sio, socket: setattr(sio.eio, "logger", logging.Logger("a", 20)),
    "a ping is not answered": lambda sio, socket: setattr(socket, "last_ping", time.time()),
    "it is being closed": lambda sio, socket: setattr(socket, "closing", True),
    "it is closed": lambda sio, socket: setattr(socket, "closed", True),
    "it has left": lambda sio, socket: sio.eio.sockets.clear(),
    "it polls": lambda sio, socket: setattr(socket, "upgraded", False),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_where_an_emit_may_be_more_it_is_emitted(serve, change):
    sio = server()
    _, sid = await serve(sio)
    socket = connection(sio, sid, "/")
    assert text_sender(sio, sid, "/") is not None
    before = dict(vars(socket)), dict(sio.eio.sockets)
    CHANGES[change](sio, socket)
    assert text_sender(sio, sid, "/") is None
    for owner in (sio, sio.eio, sio.manager):  # so that it ends as it has begun
        for name in ("emit", "send", "send_packet", "_send_packet", "_generate_ack_id"):
            vars(owner).pop(name, None)
    vars(socket).clear()
    vars(socket).update(before[0])
    sio.eio.sockets.update(before[1])


async def test_a_client_on_a_stage_is_emitted_to():
    async with Stage(server()) as stage:
        ada = await stage.client("ada")
        assert text_sender(stage.sio, ada.sid, "/") is None


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_message_of_a_queue_passes_what_wraps_an_emit(serve, wrapped):
    sio = server()
    seen = []
    if wrapped:
        emit = sio.manager.emit

        async def counted(event: Any, *args: Any, **options: Any) -> None:
            seen.append(event)
            await emit(event, *args, **options)

        sio.manager.emit = counted
    async with await Queues.open("memory:") as queues:
        queues.attach(sio)
        client, sid = await serve(sio)
        got: asyncio.Queue[Any] = asyncio.Queue()

        async def pickup(data: Any, delivery: Any) -> str:
            got.put_nowait((data, delivery["queue"], delivery["attempt"]))
            return str(delivery["receipt"])

        client.on("pickup", pickup)
        for n in range(3):
            await queues.emit("pickup", [n, *DATA], to="drivers")
        await queues.subscribe(sid, "drivers")
        async with asyncio.timeout(10):
            for n in range(3):
                assert await got.get() == ([n, *DATA], "drivers", 1)
        await queues.close()
    assert seen == (["pickup"] * 3 if wrapped else [])
