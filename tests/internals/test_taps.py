"""The taps: python-socketio has what they rely on, and they record it as facts."""

import asyncio
import inspect

import aiohttp
import engineio
import pytest
import socketio
from engineio import packet as engineio_packet
from engineio.async_socket import AsyncSocket
from socketio import packet as socketio_packet

from chatq import Reason, Stage
from chatq.journal.facts import (
    SERVER,
    Acknowledged,
    Connected,
    Disconnected,
    Emitted,
    Joined,
    Left,
    Received,
    Rejected,
)

pytestmark = pytest.mark.usefixtures("network")  # both


def facts(stage, *kinds):
    return [fact for fact in stage.journal if isinstance(fact, kinds)]


def emitted(stage, event):
    return [fact for fact in facts(stage, Emitted) if fact.event == event]


# -- the inside of the libraries ----------------------------------------------------------------

RELIED_ON = [
    # server_tap.py
    (socketio.AsyncManager, "emit", "event data namespace room skip_sid callback to kwargs"),
    (socketio.AsyncManager, "_generate_ack_id", "sid callback"),
    (socketio.AsyncManager, "trigger_callback", "sid id data"),
    (socketio.AsyncManager, "basic_enter_room", "sid namespace room eio_sid"),
    (socketio.AsyncManager, "basic_leave_room", "sid namespace room"),
    (socketio.AsyncManager, "get_participants", "namespace room"),
    (socketio.AsyncManager, "sid_from_eio_sid", "eio_sid namespace"),
    (socketio.AsyncManager, "is_connected", "sid namespace"),
    (socketio.AsyncServer, "_handle_connect", "eio_sid namespace data"),
    (socketio.AsyncServer, "_handle_disconnect", "eio_sid namespace reason"),
    (socketio.AsyncServer, "disconnect", "sid namespace ignore_queue"),
    (socketio.AsyncServer, "_handle_event", "eio_sid namespace id data"),
    (socketio.AsyncServer, "_handle_event_internal", "server sid eio_sid data namespace id"),
    (socketio.AsyncServer, "_send_packet", "eio_sid pkt"),
    (socketio.AsyncServer, "_handle_eio_connect", "eio_sid environ"),
    (socketio.AsyncServer, "_handle_eio_message", "eio_sid data"),
    (socketio.AsyncServer, "_handle_eio_disconnect", "eio_sid reason"),
    (socketio.AsyncServer, "_get_event_handler", "event namespace args"),
    (socketio.AsyncServer, "_get_namespace_handler", "namespace args"),
    (engineio.AsyncServer, "send_packet", "sid pkt"),
    (engineio.AsyncServer, "start_background_task", "target args kwargs"),
    (engineio.AsyncServer, "on", "event handler"),
    (AsyncSocket, "close", "wait abort reason"),
    (socketio.AsyncNamespace, "trigger_event", "event args"),
    # client.py
    (
        socketio.AsyncClient,
        "connect",
        "url headers auth transports namespaces socketio_path wait wait_timeout retry",
    ),
    (socketio.AsyncClient, "emit", "event data namespace callback"),
    (socketio.AsyncClient, "disconnect", ""),
    (socketio.AsyncClient, "shutdown", ""),
    (socketio.AsyncClient, "_engineio_client_class", ""),
    (socketio.AsyncClient, "_generate_ack_id", "namespace callback"),
    (socketio.AsyncClient, "_get_real_value", "value"),
    (socketio.AsyncClient, "_handle_eio_connect", ""),
    (socketio.AsyncClient, "_handle_eio_message", "data"),
    (socketio.AsyncClient, "_handle_eio_disconnect", "reason"),
    (socketio.AsyncClient, "_handle_connect", "namespace data"),
    (socketio.AsyncClient, "_handle_disconnect", "namespace"),
    (socketio.AsyncClient, "_handle_error", "namespace data"),
    (socketio.AsyncClient, "_handle_event", "namespace id data"),
    (socketio.AsyncClient, "_handle_ack", "namespace id data"),
    (socketio.AsyncClient, "_trigger_event", "event namespace args"),
    (socketio.AsyncClient, "_get_event_handler", "event namespace args"),
    (socketio.AsyncClient, "_get_namespace_handler", "namespace args"),
    (socketio.AsyncClientNamespace, "trigger_event", "event args"),
    (engineio.AsyncClient, "send", "data"),
    (engineio.AsyncClient, "start_background_task", "target args kwargs"),
    (engineio.AsyncClient, "_receive_packet", "pkt"),
    (engineio.AsyncClient, "disconnect", "abort reason"),
    # wire.py
    (aiohttp.ClientWebSocketResponse, "receive", "timeout"),
    (aiohttp.ClientWebSocketResponse, "send_str", "data compress"),
    (aiohttp.ClientWebSocketResponse, "send_bytes", "data compress"),
]


@pytest.mark.parametrize(
    ("owner", "name", "expected"), RELIED_ON, ids=[f"{o.__name__}.{n}" for o, n, _ in RELIED_ON]
)
def test_a_method_that_the_taps_rely_on_is_as_it_was(owner, name, expected):
    method = getattr(owner, name, None)
    assert method is not None, f"{owner.__name__} has no {name} any more: see the taps"
    found = " ".join([*inspect.signature(method).parameters][1:])
    assert found == expected, f"{owner.__name__}.{name} is now called with ({found})"


async def test_the_attributes_that_the_taps_rely_on_are_there(sio):
    client = socketio.AsyncClient(handle_sigint=False)
    missing = [
        f"{type(owner).__name__}.{name}"
        for owner, names in [
            (sio, "manager eio handlers reason async_handlers always_connect async_mode"),
            (sio.manager, "rooms"),
            (sio.eio, "sockets handlers start_service_task"),
            (client, "eio connected namespaces reserved_events _reconnect_task handlers"),
            (client.eio, "state ws read_loop_task write_loop_task"),
        ]
        for name in names.split()
        if not hasattr(owner, name)
    ]
    assert not missing
    assert {*sio.eio.handlers} == {"connect", "message", "disconnect"}


def test_the_constants_that_the_taps_rely_on_are_there(sio):
    assert (socketio_packet.DISCONNECT, socketio_packet.CONNECT_ERROR) == (1, 4)
    assert engineio_packet.MESSAGE == 4
    assert sio.reason.CLIENT_DISCONNECT == "client disconnect"
    assert sio.reason.SERVER_DISCONNECT == "server disconnect"


# -- coming and going ---------------------------------------------------------------------------


async def test_connecting_and_each_way_of_leaving_is_a_fact_with_its_reason(sio, stage):
    ada, bob, _, di = await stage.clients("ada", "bob", "cy", "di")
    await ada.disconnect()
    await stage.settle()
    await sio.disconnect(bob.get_sid())
    await stage.settle()
    await stage.cut("cy")
    await stage.settle()
    assert facts(stage, Connected) == [Connected(name, "/") for name in ("ada", "bob", "cy", "di")]
    reasons = {fact.client: fact.reason for fact in facts(stage, Disconnected)}
    assert set(reasons) == {"ada", "bob", "cy"}
    assert reasons["bob"] == "server disconnect"
    assert reasons["ada"] == "client disconnect"
    assert reasons["cy"] == "transport close"
    await sio.emit("news")
    await stage.settle()
    told = [stage.reason(name, "news") for name in ("ada", "bob", "cy", "di")]
    assert told == [Reason.LEFT, Reason.LEFT, Reason.CUT_OFF, Reason.NO_HANDLER]
    assert di.connected


async def test_a_sid_is_shown_out_of_its_own_namespace_only(stage):
    sio = stage.sio
    sio.on("connect", lambda sid, environ: None)
    sio.on("connect", lambda sid, environ: None, namespace="/chat")
    ada = await stage.client("ada", namespaces=["/", "/chat"])
    await sio.disconnect(ada.get_sid("/chat"))  # it means "/", where nobody has that sid
    await stage.settle()
    assert facts(stage, Disconnected) == []
    await sio.disconnect(ada.get_sid("/chat"), namespace="/chat")
    await stage.settle()
    assert facts(stage, Disconnected) == [Disconnected("ada", "/chat", "server disconnect")]


async def test_a_client_that_falls_silent_is_cut_off():
    sio = socketio.AsyncServer(async_mode="aiohttp", ping_interval=1, ping_timeout=0.2)
    async with Stage(sio) as stage:
        await stage.client("ada")
        await stage.freeze("ada")
        await stage.until(lambda: not stage.connected("ada"), "the ping timeout")
        # Two clocks of Engine.IO run out at the same time; either may be first.
        reason = facts(stage, Disconnected)[0].reason
        assert reason in ("ping timeout", "transport close")
        await sio.emit("news")
        assert stage.reason("ada", "news") is Reason.CUT_OFF


@pytest.mark.parametrize("always_connect", [False, True])
async def test_a_refusal_is_a_fact_with_its_reason(always_connect):
    sio = socketio.AsyncServer(async_mode="aiohttp", always_connect=always_connect)

    @sio.event
    def connect(sid, environ, auth):
        if auth == "bob":
            raise socketio.exceptions.ConnectionRefusedError("not bob")

    async with Stage(sio) as stage:
        await stage.client("ada", auth="ada")
        try:
            await stage.client("bob", auth="bob")
        except socketio.exceptions.ConnectionError:
            assert not always_connect
        await stage.settle()
        assert facts(stage, Rejected) == [Rejected("bob", "/", "not bob")]
        assert [stage.connected(name) for name in ("ada", "bob")] == [True, False]
        await sio.emit("news")
        assert stage.reason("bob", "news") is Reason.REFUSED


async def test_a_namespace_that_is_not_served_refuses(sio, stage):
    await stage.client("ada", namespaces=["/", "/nowhere"], wait=False)
    await stage.until(lambda: facts(stage, Rejected), "the refusal")
    assert facts(stage, Rejected) == [Rejected("ada", "/nowhere", "Unable to connect")]


async def test_rooms_are_facts_once_and_under_the_name_of_the_client(sio, stage):
    ada, bob = await stage.clients("ada", "bob")
    for client in (ada, bob):
        await sio.enter_room(client.get_sid(), "drivers")
    await sio.enter_room(ada.get_sid(), "drivers")  # again: nothing new
    await sio.leave_room(ada.get_sid(), "drivers")
    await sio.leave_room(ada.get_sid(), "drivers")
    await sio.enter_room(ada.get_sid(), 17)
    await sio.close_room("drivers")
    await ada.disconnect()
    await stage.settle()
    assert facts(stage, Joined, Left) == [
        Joined("ada", "/", "drivers"),
        Joined("bob", "/", "drivers"),
        Left("ada", "/", "drivers"),
        Joined("ada", "/", 17),
        Left("bob", "/", "drivers"),
        Left("ada", "/", 17, gone=True),
    ]


# -- messages -----------------------------------------------------------------------------------


async def test_whom_an_emit_was_addressed_to_is_told_by_name(sio, stage):
    ada, bob, cy = await stage.clients("ada", "bob", "cy")
    await sio.enter_room(bob.get_sid(), "drivers")
    await sio.emit("all", 1)
    await sio.emit("but", 2, skip_sid=[ada.get_sid(), cy.get_sid()])
    await sio.emit("some", 3, to=["drivers", cy.get_sid()])
    await sio.emit("nobody", 4, room="empty")
    await bob.emit("up", (5, "five"))
    everyone = ("ada", "bob", "cy")
    assert facts(stage, Emitted) == [
        Emitted(1, SERVER, "all", "1", "/", recipients=everyone),
        Emitted(2, SERVER, "but", "2", "/", skipped=("ada", "cy"), recipients=("bob",)),
        Emitted(3, SERVER, "some", "3", "/", ("drivers",), ("cy",), recipients=("bob", "cy")),
        Emitted(4, SERVER, "nobody", "4", "/", ("empty",)),
        Emitted(5, "bob", "up", "5, 'five'", "/", recipients=(SERVER,)),
    ]
    await stage.settle()


async def test_acknowledgements_are_facts_on_both_sides(sio, stage):
    ada = await stage.client("ada")
    ada.on("down", lambda: ("two", "values"))
    sio.on("up", lambda sid: None)
    await ada.call("up")
    assert await sio.call("down", to=ada.get_sid()) == ("two", "values")
    assert facts(stage, Acknowledged) == [
        Acknowledged(1, SERVER, ""),
        Acknowledged(2, "ada", "'two', 'values'"),
    ]


async def test_without_async_handlers_messages_are_handled_one_by_one():
    sio = socketio.AsyncServer(async_mode="aiohttp", async_handlers=False)
    log = []

    @sio.event
    async def work(sid, n):
        log.append(("begins", n))
        await asyncio.to_thread(int)
        await sio.emit("done", n)
        log.append(("ends", n))

    async with Stage(sio) as stage:
        ada = await stage.client("ada")
        ada.on("done", lambda n: log.append(("done", n)))
        for n in range(3):
            await ada.emit("work", n)
        await stage.settle()
        server_side = [entry for entry in log if entry[0] != "done"]
        assert server_side == [(what, n) for n in range(3) for what in ("begins", "ends")]
        assert len(log) == 9
        assert [fact.cause for fact in emitted(stage, "done")] == [1, 2, 3]


async def test_without_async_handlers_a_dropped_message_does_not_unsettle_the_others():
    """bob is removed while his message is under way, and ada's handler still runs."""
    sio = socketio.AsyncServer(async_mode="aiohttp", async_handlers=False)
    began, gate, log = asyncio.Event(), asyncio.Event(), []

    @sio.event
    async def work(sid):
        began.set()
        await gate.wait()
        log.append("worked")

    async with Stage(sio) as stage:
        ada, bob = await stage.clients("ada", "bob")
        await ada.emit("work")
        await began.wait()
        await bob.emit("work")
        await sio.disconnect(bob.get_sid())
        await stage.until(lambda: not bob.connected, "bob to know", within=5)
        settling = asyncio.create_task(stage.settle())
        gate.set()
        await settling
        assert log == ["worked"]
        assert stage.reason(SERVER, "work") is Reason.LOST
        await ada.emit("work")
        await stage.settle()
        assert log == ["worked", "worked"]


async def test_a_class_based_namespace_on_both_sides(sio, stage):
    class Caps(socketio.AsyncNamespace):
        async def on_order(self, sid, n):
            await self.emit("ready", n, to=sid)

    class Mine(socketio.AsyncClientNamespace):
        def on_ready(self, n):
            return n

    sio.register_namespace(Caps("/caps"))
    ada = await stage.client("ada", connect=False)
    ada.register_namespace(Mine("/caps"))
    await ada.connect()
    await ada.emit("order", 7, namespace="/caps")
    await ada.emit("unheard of", namespace="/caps")
    await stage.settle()
    assert facts(stage, Connected) == [Connected("ada", "/caps")]
    assert {*facts(stage, Received)} == {
        Received(1, SERVER, True),
        Received(2, SERVER, False),
        Received(3, "ada", True),
    }


async def test_catch_all_handlers_listen_to_everything_but_the_reserved_events(sio, stage):
    sio.on("*", lambda event, sid, *data: None)
    ada = await stage.client("ada")
    ada.on("*", lambda event, *data: None)
    await ada.emit("anything")
    await sio.emit("whatever")
    await stage.settle()
    assert sorted(facts(stage, Received), key=lambda fact: fact.message) == [
        Received(1, SERVER, True),
        Received(2, "ada", True),
    ]


async def test_a_namespace_that_overrides_trigger_event_listens_to_everything(sio, stage):
    class All(socketio.AsyncNamespace):
        async def trigger_event(self, event, *args):
            return None

    sio.register_namespace(All("/all"))
    ada = await stage.client("ada", namespaces=["/all"])
    await ada.emit("anything", namespace="/all")
    await stage.settle()
    assert facts(stage, Received) == [Received(1, SERVER, True)]


async def test_the_cause_of_a_message_is_the_one_whose_handler_emitted_it(sio, stage):
    """Also after the handler awaited, with another handler running meanwhile, and across sides."""
    ada, bob = await stage.clients("ada", "bob")

    @sio.event
    async def order(sid, n):
        await asyncio.to_thread(int)
        await sio.emit("pickup", n, to=bob.get_sid())

    @bob.event
    async def pickup(n):
        await asyncio.to_thread(int)
        await bob.emit("taken", n)

    for n in range(3):
        await ada.emit("order", n)
    await stage.settle()
    await sio.emit("news")
    by_number = {fact.message: fact for fact in facts(stage, Emitted)}
    chains = {}
    for taken in emitted(stage, "taken"):
        chain = [taken]
        while chain[-1].cause:
            chain.append(by_number[chain[-1].cause])
        chains[taken.data] = [(fact.event, fact.data) for fact in chain]
    assert chains == {
        str(n): [(event, str(n)) for event in ("taken", "pickup", "order")] for n in range(3)
    }
    assert emitted(stage, "news")[0].cause is None
    await stage.settle()


async def test_the_client_that_caused_a_message_is_the_sender_that_was_skipped(sio, stage):
    ada, _ = await stage.clients("ada", "bob")

    @sio.event
    async def say(sid, text):
        await sio.emit("said", text, skip_sid=sid)

    await ada.emit("say", "hello")
    await stage.settle()
    assert (
        stage.why("ada", "said")
        == "ada did not get 'said': it was the sender that skip_sid left out."
    )
