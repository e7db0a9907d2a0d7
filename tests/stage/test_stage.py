"""A stage opens, serves, names its clients, tells them apart, and closes without a trace."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from contextlib import asynccontextmanager

import aiohttp
import pytest
import socketio
from aiohttp import web

from chatq import HandlerRaised, Reason, Stage
from chatq.waiting import give_way

pytestmark = pytest.mark.usefixtures("network")  # both


def server(**options):
    return socketio.AsyncServer(async_mode="aiohttp", **options)


@asynccontextmanager
async def guest(stage, query="", **options):
    """An ordinary client that no stage made."""
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    await client.connect(stage.url + query, transports=["websocket"], **options)
    try:
        yield client
    finally:
        await client.disconnect()


async def refused(url):
    """Return whether nobody listens at the port of `url`."""
    host, port = url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


# -- opening and closing ------------------------------------------------------------------------


async def open_it(sio):
    return await Stage.open(sio)


async def enter_it(sio):
    return await Stage(sio).__aenter__()


async def close_it(stage):
    await stage.close()


async def leave_it(stage):
    await stage.__aexit__(None, None, None)


@pytest.mark.parametrize("enter", [open_it, enter_it])
@pytest.mark.parametrize("leave", [close_it, leave_it])
async def test_open_and_close_equal_async_with(sio, enter, leave):
    stage = await enter(sio)
    assert not await refused(stage.url)
    assert repr(stage) == "<Stage: open, clients: none>"
    await leave(stage)
    assert await refused(stage.url)
    assert repr(stage) == "<Stage: closed, clients: none>"


async def test_entering_an_open_stage_again_changes_nothing(stage):
    ada = await stage.client("ada")
    url = stage.url
    assert await stage.__aenter__() is stage
    assert stage.url == url
    assert ada.connected


async def test_closing_twice_or_unopened_is_harmless(sio):
    stage = Stage(sio)
    await stage.close()
    await stage.__aenter__()
    await stage.close()
    await stage.close()


async def test_closing_takes_less_than_a_second_and_leaves_nothing_behind(sio):
    tasks, threads = asyncio.all_tasks(), {*threading.enumerate()}
    stage = await Stage.open(sio)
    ada = await stage.client("ada")
    bob = await stage.client("bob", transports=["polling"])
    cy = await stage.client("cy", transports=["polling", "websocket"])
    async with asyncio.timeout(1):
        await stage.close()
    assert not any(client.connected for client in (ada, bob, cy))
    assert asyncio.all_tasks() == tasks
    assert {*threading.enumerate()} == threads
    assert await refused(stage.url)


async def test_closing_with_frozen_and_cut_clients_leaves_no_task(sio):
    tasks = asyncio.all_tasks()
    stage = await Stage.open(sio)
    ada, _ = await stage.clients("ada", "bob")
    await stage.freeze(ada)
    await stage.cut("bob")
    async with asyncio.timeout(1):
        await stage.close()
    assert asyncio.all_tasks() == tasks


async def test_closing_with_a_guest_connected_leaves_no_task(sio):
    tasks = asyncio.all_tasks()
    stage = await Stage.open(sio)
    async with guest(stage):
        async with asyncio.timeout(2):
            await stage.close()
    left = [repr(task.get_coro()) for task in asyncio.all_tasks() - tasks]
    assert left == []


async def test_closing_is_not_part_of_the_journal_which_stays(sio):
    stage = await Stage.open(sio)
    ada = await stage.client("ada")
    ada.on("news", lambda text: None)
    await sio.emit("news", "hello")
    await stage.settle()
    facts = [*stage.journal]
    await stage.close()
    assert [*stage.journal] == facts
    assert stage.why("ada", "news") == "ada got 'news'."
    assert stage.deliveries().who_got("news") == {"ada"}


async def test_reopening_the_same_server_closes_the_earlier_stage_and_works(sio):
    first = await Stage.open(sio)
    before = await first.client("ada")
    async with Stage(sio) as second:
        assert not before.connected
        assert await refused(first.url)
        sio.on("ask", lambda sid: "answer")
        ada = await second.client("ada")
        assert await ada.call("ask") == "answer"
        assert first.journal.messages == 0
        await first.close()  # harmless to the second
        assert await ada.call("ask") == "answer"


async def test_several_stages_at_once_do_not_mix():
    async with Stage(server()) as one, Stage(server()) as two:
        got = []
        for stage in (one, two):
            ada = await stage.client("ada")
            ada.on("news", lambda which, stage=stage: got.append((which, stage is one)))
        await one.sio.emit("news", "one")
        await two.sio.emit("news", "two")
        await one.settle()
        await two.settle()
        assert sorted(got) == [("one", True), ("two", False)]
        assert one.journal.messages == two.journal.messages == 1


async def test_the_server_is_as_before_after_closing(sio):
    sio.on("ask", lambda sid: "answer")
    parts = (sio, sio.manager, sio.eio)
    before = [dict(vars(part)) for part in parts]
    handlers = dict(sio.eio.handlers)
    async with Stage(sio) as stage:
        assert [dict(vars(part)) for part in parts] != before
        await stage.clients("ada", "bob")
        await sio.emit("news")
    # what the library itself remembers of having run
    ran = {"manager_initialized", "start_service_task", "service_task_event", "sequence_number"}
    for part, was in zip(parts, before, strict=True):
        assert {k: v for k, v in vars(part).items() if k not in ran} == {
            k: v for k, v in was.items() if k not in ran
        }
    assert sio.eio.handlers == handlers


@pytest.mark.parametrize("sio", ["aiohttp"], indirect=True)
async def test_the_server_serves_without_a_stage_after_closing(sio):
    sio.on("ask", lambda sid: "answer")
    async with Stage(sio) as stage:
        await stage.client("ada")
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    await client.connect("http://{}:{}".format(*runner.addresses[0]), transports=["websocket"])
    assert await client.call("ask") == "answer"
    await client.disconnect()
    await sio.shutdown()
    await runner.cleanup()


async def test_works_in_a_plain_script(tmp_path, complaints):
    """With every warning an error and asyncio's debug mode on."""
    script = tmp_path / "script.py"
    script.write_text("""
import asyncio
import socketio
from chatq import Stage

sio = socketio.AsyncServer(async_mode="aiohttp")

@sio.event
async def ask(sid, n):
    await sio.emit("news", n + 1)

async def main():
    async with Stage(sio) as stage:
        ada, bob = await stage.clients("ada", "bob")
        bob.on("news", lambda n: print("bob got", n))
        await ada.emit("ask", 1)
        await stage.settle()
        print(stage.why("ada", "news"))

asyncio.run(main())
""")
    command = [sys.executable, "-W", "error", "-X", "dev", str(script)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: ASYNC221
    assert ran.stdout.splitlines() == [
        "bob got 2",
        "'news' arrived at ada, but no handler listens to that name.",
    ]
    assert complaints(ran.stderr) == ""
    assert ran.returncode == 0


# -- serving ------------------------------------------------------------------------------------


async def test_handlers_may_be_added_before_and_after_opening(sio):
    sio.on("before", lambda sid: "before")
    async with Stage(sio) as stage:
        ada = await stage.client("ada")
        sio.on("after", lambda sid: "after")
        assert [await ada.call("before"), await ada.call("after")] == ["before", "after"]


@pytest.mark.parametrize("sio", ["aiohttp"], indirect=True)
@pytest.mark.parametrize("attached", [True, False])
async def test_an_app_of_ones_own_serves_pages_beside_the_sockets(sio, attached):
    async def page(request):
        return web.Response(text="my page")

    app = web.Application()
    app.router.add_get("/", page)
    if attached:
        sio.attach(app)
    sio.on("ask", lambda sid: "answer")
    async with Stage(sio, app) as stage:
        ada = await stage.client("ada")
        assert await ada.call("ask") == "answer"
        async with aiohttp.ClientSession() as http, http.get(stage.url) as answer:
            assert await answer.text() == "my page"


@pytest.mark.parametrize(
    ("transports", "transport"),
    [
        (None, "websocket"),
        (["polling"], "polling"),
        (["polling", "websocket"], "websocket"),
    ],
)
async def test_a_client_uses_websocket_unless_asked(sio, stage, transports, transport):
    ada = await stage.client("ada", transports=transports)
    assert ada.transport() == transport
    sio.on("ask", lambda sid: "answer")
    assert await ada.call("ask") == "answer"


async def test_connect_false_leaves_the_dialling_to_the_caller(sio, stage):
    sio.on("connect", lambda sid, environ, auth: sio.start_background_task(welcome, sid, auth))

    async def welcome(sid, auth):
        await stage.until(lambda: stage.connected("ada"), "ada")
        await sio.emit("welcome", auth, to=sid)

    greeted = asyncio.get_running_loop().create_future()
    ada = await stage.client("ada", connect=False)
    assert not ada.connected
    ada.on("welcome", greeted.set_result)
    await ada.connect(auth={"token": 1})
    async with asyncio.timeout(5):
        assert await greeted == {"token": 1}


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=lambda t: t[0])
async def test_a_client_of_the_same_name_replaces_the_earlier(sio, stage, transports):
    old = await stage.client("ada", transports=transports)
    new = await stage.client("ada", transports=transports)
    assert new is not old
    assert (old.connected, new.connected) == (False, True)
    new.on("news", lambda: None)
    await sio.emit("news")
    await stage.settle()
    assert stage.reason("ada", "news") is Reason.RECEIVED
    assert repr(stage) == "<Stage: open, clients: ada>"


async def test_a_client_connects_again_after_disconnecting(sio, stage):
    sio.on("ask", lambda sid: "answer")
    ada = await stage.client("ada")
    await ada.disconnect()
    await stage.settle()
    assert not stage.connected("ada")
    await ada.connect()
    assert stage.connected("ada")
    assert await ada.call("ask") == "answer"


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: object(), r"needs a socketio.AsyncServer, not object: sio = socketio"),
        (
            lambda: socketio.Server(async_mode="threading"),
            r"cannot serve Server, which needs threads: .*await stage.process\('web', program\)",
        ),
        (
            lambda: socketio.WSGIApp(socketio.Server(async_mode="threading")),
            r"cannot serve WSGIApp, which needs threads: .* stage.client\('ada', url=web.address\)",
        ),
        (
            lambda: socketio.AsyncServer(async_mode="tornado"),
            r"was made for 'tornado': a stage serves .* with aiohttp or ASGI\. .*stage\.process\(",
        ),
    ],
)
def test_a_server_of_another_kind_is_refused(make, told):
    with pytest.raises(TypeError, match=told):
        Stage(make())


@pytest.mark.parametrize(
    ("mode", "app", "told"),
    [
        ("aiohttp", lambda scope, receive, send: None, "function is no aiohttp.web.Application"),
        ("aiohttp", socketio.ASGIApp(None), 'ASGIApp is no aiohttp.web.Application: .*="asgi"'),
        ("asgi", web.Application(), 'Application is no ASGI application: .*async_mode="aiohttp"'),
        ("asgi", "app", "str is no ASGI application"),
    ],
)
def test_an_application_of_another_kind_is_refused(mode, app, told):
    with pytest.raises(TypeError, match=told):
        Stage(socketio.AsyncServer(async_mode=mode), app)


def test_a_journal_of_no_facts_is_refused(sio):
    with pytest.raises(ValueError, match="at least 1 fact, not 0"):
        Stage(sio, keep=0)


@pytest.mark.parametrize("name", ["", "server"])
async def test_some_names_are_not_free(stage, name):
    with pytest.raises(ValueError, match=f"a client cannot be called '{name}'"):
        await stage.client(name)


async def test_two_clients_cannot_share_a_name(stage):
    with pytest.raises(ValueError, match="each client needs a name of its own"):
        await stage.clients("ada", "bob", "ada")
    assert repr(stage) == "<Stage: open, clients: none>"


async def test_the_name_of_a_guest_is_not_free(stage):
    async with guest(stage, "?name=ada"):
        with pytest.raises(ValueError, match="'ada': that name is not free"):
            await stage.client("ada")


async def test_unknown_clients_and_messages_are_named_with_those_there_are(sio, stage):
    with pytest.raises(LookupError, match="no message 'news' was emitted; emitted so far: nothing"):
        stage.why("ada", "news")
    await stage.client("ada")
    await sio.emit("news")
    for ask in (stage.why, stage.reason):
        with pytest.raises(LookupError, match=r"no client is called 'bob'; there are \['ada'\]"):
            ask("bob", "news")
        with pytest.raises(LookupError, match=r"no message 'new' .* so far: \['news'\]"):
            ask("ada", "new")
        with pytest.raises(LookupError, match=r"no message 2 .* so far: \['news'\]"):
            ask("ada", 2)
    await stage.settle()
    with pytest.raises(LookupError, match=r"no message 'new' in this table"):
        stage.deliveries().who_got("new")
    for do in (stage.freeze, stage.thaw, stage.cut):
        with pytest.raises(LookupError, match="no client is called 'bob'"):
            await do("bob")
    with pytest.raises(LookupError, match="no client is called 'bob'"):
        stage.wire("bob")


async def test_a_closed_stage_says_how_to_open_it(sio):
    stage = Stage(sio)
    with pytest.raises(RuntimeError, match=r"not open: stage = await Stage.open\(sio\)"):
        await stage.client("ada")
    await stage.__aenter__()
    await stage.close()
    with pytest.raises(RuntimeError, match="not open"):
        await stage.clients("ada")


@pytest.mark.parametrize("fault", ["freeze", "cut"])
async def test_faults_need_a_connected_websocket(stage, fault):
    ada = await stage.client("ada", connect=False)
    with pytest.raises(RuntimeError, match=f"cannot {fault} ada: it is not connected"):
        await getattr(stage, fault)(ada)
    bob = await stage.client("bob", transports=["polling"])
    with pytest.raises(RuntimeError, match=rf"cannot {fault} bob: it polls.*\[\"websocket\"\]"):
        await getattr(stage, fault)(bob)


async def test_a_connect_handler_that_raises_is_what_the_caller_sees(sio, stage):
    @sio.event
    def connect(sid, environ, auth):
        raise ValueError("broken")

    with pytest.raises(HandlerRaised, match="server's handler of 'connect' raised ValueError"):
        await stage.client("ada")
    await stage.settle()  # shown once


async def test_a_connect_handler_that_refuses(sio, stage):
    @sio.event
    def connect(sid, environ, auth):
        if not auth:
            raise ConnectionRefusedError("no token")
        if auth == "full":
            raise socketio.exceptions.ConnectionRefusedError("the house is full")
        return auth == "right"

    for auth in (None, "full", "wrong"):
        with pytest.raises(socketio.exceptions.ConnectionError, match="failed to connect: /"):
            await stage.client("ada", auth=auth)
        await stage.settle()
        assert not stage.connected("ada")
    await stage.client("bob", auth="right")
    await stage.settle()
    assert stage.connected("bob")
    await sio.emit("news")
    assert stage.reason("ada", "news") is Reason.REFUSED


# -- guests -------------------------------------------------------------------------------------


async def test_a_guest_is_seen_from_the_servers_side(sio, stage):
    sio.on("ask", lambda sid: "answer")
    async with guest(stage) as one:
        assert await one.call("ask") == "answer"
        await sio.emit("news", "hello")
        await stage.settle()
        assert stage.connected("guest 1")
        assert stage.reason("guest 1", "news") is Reason.SENT
        assert "✓ sent" in repr(stage.deliveries("news"))
        assert stage.why("guest 1", "news") == (
            "'news' was sent to guest 1; whether it arrived, only guest 1 knows."
        )
        assert stage.reason("server", "ask") is Reason.RECEIVED
    await stage.until(lambda: not stage.connected("guest 1"), "the guest to leave")


async def test_a_guest_acknowledges_what_it_got(sio, stage):
    async with guest(stage) as one:
        one.on("news", lambda text: "thanks")
        assert await sio.call("news", "hello", to=one.get_sid()) == "thanks"
        assert "ack 'thanks'" in repr(stage.deliveries())


async def test_guests_have_names_of_their_own(stage):
    """Whatever they call themselves, and whatever the others are called."""
    await stage.clients("ada", "guest 3")
    async with (
        guest(stage, "?name=zoe"),
        guest(stage, "?name=ada"),
        guest(stage),
        guest(stage, "?name=server"),
        guest(stage, "?name=guest%206"),
        guest(stage),
    ):
        names = repr(stage).removeprefix("<Stage: open, clients: ").rstrip(">").split(", ")
    assert names[:3] == ["ada", "guest 3", "zoe"]
    assert len(names) == 8
    assert len({*names, "server"}) == 9


async def test_a_guest_that_comes_back_has_its_name_back(sio, stage):
    async with guest(stage, "?name=eve"):
        pass
    await stage.until(lambda: not stage.connected("eve"), "eve to leave")
    await stage.settle()
    async with guest(stage, "?name=eve"):
        await sio.emit("news")
        assert stage.reason("eve", "news") is Reason.SENT
    assert repr(stage) == "<Stage: open, clients: eve>"


async def test_closing_with_a_guest_that_changed_its_transport_leaves_no_task(sio):
    tasks = asyncio.all_tasks()
    stage = await Stage.open(sio)
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    await client.connect(stage.url)
    assert client.transport() == "websocket"
    others = asyncio.all_tasks()
    async with asyncio.timeout(2):
        await stage.close()
        await client.wait()
    assert asyncio.all_tasks() <= others
    assert asyncio.all_tasks() == tasks


async def test_a_journal_that_is_kept_keeps_nothing_else(sio):
    async with Stage(sio) as stage:
        await stage.client("ada")
        journal, seen = stage.journal, weakref.ref(stage)
    del stage
    await give_way()  # the last call-backs of its tasks
    gc.collect()
    assert seen() is None
    assert journal.kinds() == {"ada": "client"}


async def test_a_client_that_is_not_let_in_says_why(sio, stage):
    def connect(sid, environ, auth):
        raise socketio.exceptions.ConnectionRefusedError("bad token")

    sio.on("connect", connect)
    with pytest.raises(socketio.exceptions.ConnectionError) as refused:
        await stage.client("eve")
    assert refused.value.__notes__ == ["eve is refused in /: bad token"]
    with pytest.raises(socketio.exceptions.ConnectionError) as lost:
        await stage.client("bob", socketio_path="nowhere")
    [note] = lost.value.__notes__
    assert note.startswith(f"bob has not reached the server at /nowhere/ of {stage.url}: ")
