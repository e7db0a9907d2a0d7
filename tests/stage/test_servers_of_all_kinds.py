"""Servers that go wrong in all ways, which must not confuse what is recorded afterwards."""

import asyncio
import contextlib
import contextvars
import json
from urllib.parse import urlencode

import aiohttp
import pytest
import socketio
from aiohttp import web

from chatq import HandlerRaised, Reason, Stage

pytestmark = pytest.mark.usefixtures("network")  # both


@pytest.mark.parametrize("side", ["server", "client"])
async def test_an_emit_that_cannot_be_encoded_never_was(sio, stage, side):
    [ada] = await stage.clients("ada")
    sio.on("news", lambda sid, data: None)
    ada.on("news", lambda data: None)
    sender, receiver = (sio, "ada") if side == "server" else (ada, "server")
    with pytest.raises(TypeError):
        await sender.emit("news", {1, 2})
    await sender.emit("news", "real")
    await stage.settle()
    [message] = stage.deliveries().messages
    assert message.emitted.data == "'real'"
    assert stage.reason(receiver, "news") is Reason.RECEIVED


async def test_a_close_that_is_cancelled_is_finished_all_the_same(sio):
    before = asyncio.all_tasks()
    stage = await Stage.open(sio)
    await stage.clients("ada", "bob")
    begun = asyncio.Event()
    sio.on("disconnect", lambda sid, reason: begun.set())
    closing = asyncio.create_task(stage.close())
    await begun.wait()
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await stage.close()
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="opens only once"):
        await stage.__aenter__()


async def test_a_client_that_begins_to_dial_again_just_when_it_is_to_hang_up_hangs_up(sio, stage):
    ada = await stage.client("ada", connect=False, reconnection=True)
    await ada.connect(namespaces=["/"])
    begin, hanging_up = ada.start_background_task, asyncio.get_running_loop().create_future()

    def begun(target, *args, **options):
        if target == ada._handle_reconnect:  # in line before it
            hanging_up.set_result(asyncio.create_task(ada.hang_up()))
        return begin(target, *args, **options)

    ada.start_background_task = begun
    await stage.cut("ada")
    async with asyncio.timeout(5):
        await (await hanging_up)
    assert ada.eio.state == "disconnected"


async def test_a_handler_that_refuses_to_end_is_named_and_does_not_hold_up_closing(sio):
    stage = await Stage.open(sio)
    [ada] = await stage.clients("ada")
    began, at_last = asyncio.Event(), asyncio.Event()

    @sio.event
    async def tick(sid):
        began.set()
        while not at_last.is_set():
            try:
                await at_last.wait()
            except asyncio.CancelledError:
                continue

    await ada.emit("tick")
    await began.wait()
    with pytest.warns(UserWarning, match="refuses to be cancelled: tick"):
        async with asyncio.timeout(5):
            await stage.close()
    at_last.set()


@pytest.mark.parametrize("name", [5, None, ["ada", "bob"]])
async def test_a_name_that_is_no_string_is_refused_and_not_remembered(stage, name):
    with pytest.raises(TypeError, match="a name is a string"):
        await stage.clients(name)
    assert repr(stage) == "<Stage: open, clients: none>"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 41])
async def test_a_name_that_cannot_be_shown_is_refused_and_not_remembered(stage, name):
    with pytest.raises(ValueError, match="a name has 1 to 40 printable characters"):
        await stage.client(name)
    assert repr(stage) == "<Stage: open, clients: none>"


async def test_a_name_may_be_of_any_script(sio, stage):
    clients = await stage.clients("Zoë", "李", "Ada Lovelace")
    for client in clients:
        client.on("news", lambda data: None)
    await sio.emit("news", 1)
    await stage.settle()
    assert stage.deliveries().who_got("news") == {"Zoë", "李", "Ada Lovelace"}


async def test_only_a_stages_own_client_can_be_frozen(stage):
    old = await stage.client("ada")
    await stage.client("ada")
    with pytest.raises(LookupError, match="not, or no longer, a client of this stage"):
        await stage.freeze(old)


async def test_a_tuple_as_skip_sid_skips_nobody_as_in_the_library(sio, stage):
    [ada] = await stage.clients("ada")
    ada.on("news", lambda data: None)
    await sio.emit("news", 1, skip_sid=(ada.get_sid(),))
    await stage.settle()
    assert stage.reason("ada", "news") is Reason.RECEIVED
    assert "server → everyone " in repr(stage.deliveries())


async def test_a_frozen_client_can_neither_emit_nor_say_goodbye(stage):
    ada = await stage.client("ada")
    await stage.freeze("ada")
    with pytest.raises(RuntimeError, match="frozen"):
        await ada.emit("news")
    with pytest.raises(RuntimeError, match="frozen"):
        await ada.disconnect()


async def test_after_closing_nothing_is_on_its_way_and_nobody_is_connected():
    stage = await Stage.open(socketio.AsyncServer(async_mode="aiohttp"))
    await stage.client("ada")
    await stage.freeze("ada")
    await stage.sio.emit("news", 1)
    await stage.close()
    assert stage.reason("ada", "news") is Reason.LOST
    assert not stage.connected("ada")


async def test_a_diagram_without_rows_is_refused(stage):
    with pytest.raises(ValueError, match="at least 1 row, not 0"):
        stage.diagram(rows=0)


NO_EVENTS = ['42[["say"]]', '42[{"a":1}]', "42[]", '42{"a":1}', "42[null]", "42[7]"]


@pytest.mark.parametrize("frame", NO_EVENTS)
async def test_what_is_no_event_is_done_with_all_the_same(sio, stage, frame):
    """Anybody can send it over a bare websocket; it must not keep everybody from settling."""
    sio.on("say", lambda sid, *args: None)
    [ada] = await stage.clients("ada")
    url = f"{stage.url}/socket.io/?EIO=4&transport=websocket&name=eve"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.receive_str()
        await socket.send_str("40")
        await socket.receive_str()
        await socket.send_str(frame)
        await socket.send_str('420["say"]')  # taken up after it, and answered
        assert (await socket.receive_str()).startswith("430")
        with contextlib.suppress(HandlerRaised):
            await stage.settle()
        await ada.emit("say", 1)
        await stage.settle()
        assert stage.reason("server", "say") is Reason.RECEIVED


@pytest.mark.parametrize("event", [["say"], {"a": 1}, 7])
async def test_an_event_that_is_no_name_is_done_with_all_the_same(sio, stage, event):
    sio.on("say", lambda sid, *args: None)
    [ada] = await stage.clients("ada")
    ada.on("say", lambda *args: None)
    for sender in (ada, sio):
        await sender.emit(event, 1)
        with contextlib.suppress(HandlerRaised):
            await stage.settle()
        await sender.emit("say", 1)
        await stage.settle()


@pytest.mark.parametrize("name", ["everyone", "server", "a\nb", "\u202egnp", " ", ""])
async def test_a_guest_cannot_have_a_name_that_tells_nobody_apart(sio, stage, name):
    guest = socketio.AsyncClient()
    await guest.connect(f"{stage.url}?{urlencode({'name': name})}", transports=["websocket"])
    await stage.until(lambda: stage.connected("guest 1"), "the guest")
    await guest.disconnect()


# -- whoever wraps the server after the stage was opened ------------------------------------------


@pytest.fixture
def instrumented():
    """Instruments a server as the admin UI does, which replaces methods of a class, too."""
    undo = []

    def instrument(sio, mode):
        undo.append(sio.instrument(auth=False, mode=mode, server_stats_interval=60))

    yield instrument
    for admin in undo:
        admin.uninstrument()


@pytest.mark.parametrize("mode", ["production", "development"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_admin_ui_blinds_nobody(instrumented, mode, when):
    sio = socketio.AsyncServer(async_mode="aiohttp")
    sio.on("say", lambda sid, text: text.upper())
    if when == "before":
        instrumented(sio, mode)
    stage = Stage(sio, hide=["/admin"])
    async with stage:
        if when == "after":
            instrumented(sio, mode)
        ada, bob = await stage.clients("ada", "bob")
        bob.on("news", lambda text: None)
        await sio.enter_room(bob.get_sid(), "room")
        await sio.emit("news", "hello", to="room")
        assert await ada.call("say", "hello") == "HELLO"
        ui = await stage.client("ui", namespaces=["/admin"])
        await stage.settle()
        assert stage.reason("bob", "news") is Reason.RECEIVED
        assert stage.reason("ada", "news") is Reason.NOT_IN_ROOM
        assert stage.reason("server", "say") is Reason.RECEIVED
        assert len(stage.deliveries().messages) == 2, stage.deliveries()
        assert "/admin" not in str(stage.roster()) + str(stage.diagram())
        await ada.disconnect()
        await ui.disconnect()
        await stage.settle()
        assert not stage.connected("ada")
    assert sio.eio.handlers["message"] == sio._handle_eio_message
    await sio.shutdown()


@pytest.mark.parametrize("how", ["a function", "a decorator"])
async def test_handlers_of_the_engine_that_are_registered_later_are_seen_through(sio, how):
    calls = []

    async def connect(eio_sid, environ):
        calls.append("connect")
        return await sio._handle_eio_connect(eio_sid, environ)

    async def message(eio_sid, data):
        calls.append("message")
        return await sio._handle_eio_message(eio_sid, data)

    sio.on("say", lambda sid: None)
    async with Stage(sio) as stage:
        for function in (connect, message):
            if how == "a function":
                sio.eio.on(function.__name__, function)
            else:
                assert sio.eio.on(function.__name__)(function) is function
        ada = await stage.client("ada")
        await ada.emit("say")
        await stage.settle()
        assert stage.reason("server", "say") is Reason.RECEIVED
    assert sio.eio.handlers["connect"] is connect
    assert sio.eio.handlers["message"] is message
    assert {*calls} == {"connect", "message"}


@pytest.mark.parametrize(
    "sio", [None, socketio.AsyncServer(async_mode="tornado")], ids=["no server", "tornado"]
)
def test_a_refused_stage_can_be_shown(sio):
    stage = Stage.__new__(Stage)
    with pytest.raises(TypeError):
        stage.__init__(sio)
    assert repr(stage) == "<Stage: closed, clients: none>"


# -- closing, whatever is in the way ---------------------------------------------------------------


async def test_a_clean_up_that_raises_leaves_nothing_behind():
    sio = socketio.AsyncServer(async_mode="aiohttp")
    app = web.Application()

    async def cleanup(app):
        raise OSError("cannot clean up")

    def broken(*_):
        raise ZeroDivisionError

    app.on_cleanup.append(cleanup)
    sio.on("oops", broken)
    stage = await Stage.open(sio, app)
    folder = stage.folder
    await (await stage.client("ada")).emit("oops")
    with pytest.raises(HandlerRaised, match="ZeroDivisionError") as raised:
        await stage.close()
    assert "cannot clean up" in repr(raised.value.__context__)
    assert not folder.exists()
    async with Stage(sio) as again:  # nothing of the one before is in its way
        await (await again.client("ada")).emit("oops")
        with pytest.raises(HandlerRaised, match="ZeroDivisionError"):
            await again.settle()
        assert again.reason("server", "oops") is Reason.RAISED


async def test_the_tasks_that_a_server_has_begun_end_with_the_stage(sio):
    tasks = []

    @sio.event
    def begin(sid):
        tasks.append(asyncio.create_task(asyncio.Event().wait()))

    before = asyncio.all_tasks()
    async with Stage(sio) as stage:
        await (await stage.client("ada")).emit("begin")
    assert tasks[0].cancelled()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("sio", ["aiohttp"], indirect=True)
async def test_what_is_set_around_a_stage_holds_in_its_handlers(sio):
    """As it does where aiohttp serves without one; and its `cleanup_ctx` may set it back."""
    tenant = contextvars.ContextVar("tenant", default="nobody")
    inside, seen, app = contextvars.ContextVar("inside"), [], web.Application()

    async def lifetime(app):
        token = inside.set("app")
        yield
        inside.reset(token)

    app.cleanup_ctx.append(lifetime)
    sio.on("who", lambda sid: seen.append((tenant.get(), inside.get())))
    tenant.set("acme")
    async with Stage(sio, app) as stage:
        ada = await stage.client("ada")
        ada.on("who", lambda: seen.append((tenant.get(), inside.get(None))))
        await ada.emit("who")
        await sio.emit("who")
        await stage.settle()
    assert sorted(seen, key=str) == [("acme", "app"), ("acme", None)]


# -- who sends what --------------------------------------------------------------------------------


async def test_an_emit_within_another_and_what_an_emit_begins_are_told_apart():
    """As by a client manager that tells a hidden namespace, and begins its worker when needed."""
    jobs, workers = asyncio.Queue(), []

    class Manager(socketio.AsyncManager):
        async def emit(self, event, data, namespace, *rest, **options):
            if not workers:
                workers.append(asyncio.create_task(self.work()))
            await super().emit(event, data, namespace, *rest, **options)
            if event == "news":
                await self.server.emit("sent", event, namespace="/hidden")

        async def work(self):
            while True:
                await self.server.emit(*await jobs.get())

    sio = socketio.AsyncServer(async_mode="aiohttp", client_manager=Manager(), namespaces="*")
    async with Stage(sio, hide="/hidden") as stage:
        ada = await stage.client("ada", namespaces=["/", "/hidden"])
        heard = []
        ada.on("*", lambda event, data: heard.append(event))
        await sio.emit("news", 1)
        for n in range(3):
            await jobs.put(("job", n))
        await stage.settle()
        assert heard == ["news", "job", "job", "job"]
        assert [m.got_by for m in stage.deliveries().messages] == [{"ada"}] * 4


async def test_the_json_of_one_client_is_not_that_of_all(sio, stage):
    class Own:
        dumps = staticmethod(json.dumps)

        @staticmethod
        def loads(text, **options):
            raise ValueError("reads nothing")

    sio.on("say", lambda sid: "well")
    [bob] = await stage.clients("bob")
    with pytest.raises(HandlerRaised, match="ValueError: reads nothing"):
        await stage.client("ada", json=Own, wait_timeout=0.1)
    assert await bob.call("say") == "well"


async def test_a_frozen_client_hides_no_error_of_the_goodbyes_of_others():
    """What it reads only because it is hung up is not told; what the server raises is."""
    sio = socketio.AsyncServer(async_mode="aiohttp")

    def broken(*_):
        raise ZeroDivisionError

    sio.on("disconnect", broken)
    stage = await Stage.open(sio)
    ada, _ = await stage.clients("ada", "bob")
    ada.on("news", broken)
    await stage.freeze(ada)
    await sio.emit("news", 1, to=ada.get_sid())
    with pytest.raises(HandlerRaised, match="server's handler of 'disconnect'") as raised:
        await stage.close()
    assert "ada's handler" not in str(raised.value)


async def test_a_handler_that_closing_pulls_the_line_from_is_no_news():
    stage = await Stage.open(socketio.AsyncServer(async_mode="aiohttp"))
    ada = await stage.client("ada")
    gone, raised = asyncio.Event(), []
    ada.on("disconnect", lambda reason: gone.set())

    @ada.event
    async def news():
        await gone.wait()
        try:
            await ada.emit("answer")
        except socketio.exceptions.BadNamespaceError as error:
            raised.append(error)
            raise

    await stage.sio.emit("news")
    await stage.close()
    assert len(raised) == 1
