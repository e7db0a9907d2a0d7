"""All of it on event loops of other kinds, too: where tasks begin at once, and on uvloop.

An application may run its loop with `asyncio.eager_task_factory` (Python 3.12): a task may have
ended when `create_task` returns, so nothing may count on being a step ahead of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import hubs
import pytest
import socketio
from answers import solution
from nats_nodes import new_stream, shared_url
from watched_hub import Seen, hang_up, new_client

from chatq import (
    Consumer,
    HandlerRaised,
    NatsManager,
    Outbox,
    Queues,
    Rules,
    Stage,
    check,
)
from chatq.course.sandbox import ends_what_blocks
from chatq.journal.facts import SERVER
from chatq.waiting import give_way


def eager() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    return loop


def uv() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


NEEDS_EAGER = pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="Python 3.12 brings eager tasks"
)
NEEDS_UV = pytest.mark.skipif(
    find_spec("uvloop") is None, reason="uvloop is not installed: python -m pip install uvloop"
)


@pytest.fixture(
    params=[
        pytest.param(eager, marks=NEEDS_EAGER),
        pytest.param(uv, marks=NEEDS_UV),
    ],
    ids=lambda kind: kind.__name__,
)
def run(request):
    """Return what runs a scene on a loop of this kind; nothing that it meets is lost."""
    problems: list[dict[str, Any]] = []

    def running(scene):
        async def watched():
            asyncio.get_running_loop().set_exception_handler(lambda _, told: problems.append(told))
            with ends_what_blocks():
                async with asyncio.timeout(60):
                    await scene
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert {task for task in left if "chatq" in repr(task.get_coro())} == set()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(watched())
        assert problems == []

    return running


def new_server() -> socketio.AsyncServer:
    return socketio.AsyncServer(async_mode="aiohttp")


# -- the stage ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("network")
def test_a_stage_sees_and_settles(run):
    async def scene():
        sio = new_server()
        log = []

        @sio.event
        async def say(sid, text):
            await sio.emit("news", text, skip_sid=sid)
            return "said"

        @sio.event
        def broken(sid):
            raise LookupError("spanner")

        async with Stage(sio) as stage:
            ada, bob, cy = await stage.clients("ada", "bob", "cy")

            @bob.on("news")
            async def news(text):
                await bob.emit("thanks", text)

            cy.on("news", lambda text: log.append(text))
            for n in range(50):
                await ada.emit("say", f"hello {n}")
            await stage.settle()
            assert log == [f"hello {n}" for n in range(50)]
            assert await ada.call("say", "more") == "said"
            await stage.settle()
            assert stage.deliveries().who_got("news") == {"bob", "cy"}
            assert "skip_sid left out" in stage.why("ada", "news")
            assert "no handler listens" in stage.why(SERVER, "thanks")
            assert stage._tap.tasks.events() == []
            assert "handler" not in {kind for kind, *_ in stage._recorder.activity.counts}
            await ada.emit("broken")
            with pytest.raises(HandlerRaised, match="spanner"):
                await stage.settle()

    run(scene())


def test_no_task_of_a_handler_is_kept_when_it_has_ended(run):
    async def scene():
        sio = new_server()
        sio.on("plain", lambda sid: None)
        async with Stage(sio) as stage:
            ada = await stage.client("ada")
            ada.on("news", lambda: None)
            await stage.settle()
            before = len(stage._tap.tasks), len(ada.tasks)
            for _ in range(20):
                await ada.emit("plain")
                await sio.emit("news")
            await stage.settle()
            assert (len(stage._tap.tasks), len(ada.tasks)) == before

    run(scene())


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=lambda t: t[0])
def test_clients_come_and_go(run, transports):
    async def scene():
        sio, began = new_server(), asyncio.Event()

        @sio.event
        async def stay(sid):
            began.set()
            await asyncio.Event().wait()  # it never ends

        async with Stage(sio) as stage:
            ada, bob = await stage.clients("ada", "bob", transports=transports)
            await sio.enter_room(bob.get_sid(), "room")
            await ada.disconnect()
            await stage.settle()
            assert not stage.connected("ada")
            await sio.disconnect(bob.get_sid())
            await stage.settle()
            await ada.connect()
            await ada.emit("stay")
            await began.wait()
            assert stage._tap.tasks.events() == ["stay"]
            async with Stage(sio) as again:  # closes the one before
                assert stage.closed
                await again.client("ada")
                await again.settle()
            await again.close()

    run(scene())


def test_faults_are_real(run):
    async def scene():
        sio = new_server()
        async with Stage(sio) as stage:
            ada, bob = await stage.clients("ada", "bob")
            for client in (ada, bob):
                client.on("news", lambda *_: None)
            await stage.freeze("ada")
            await sio.emit("news", 1)
            await stage.settle()
            assert stage.deliveries().who_got("news") == {"bob"}
            await stage.thaw("ada")
            await stage.settle()
            assert stage.deliveries().who_got("news") == {"ada", "bob"}
            await stage.cut("ada")
            await stage.settle()
            assert not stage.connected("ada")
            await ada.connect()
            await sio.emit("news", 2)
            await stage.settle()
            program = "import sys; print(sys.argv[1][:7]); print(input())"
            process = await stage.process("p", program)
            assert await process.line("http://") == "http://"
            await stage.kill(process)

    run(scene())


def test_a_panel_is_drawn_again_and_again(run):
    async def scene():
        sio = new_server()
        async with Stage(sio) as stage:
            ada = await stage.client("ada")
            ada.on("news", lambda *_: None)
            panel = stage.panel("?")
            panel._repr_mimebundle_()
            for text in ("one", "two", "three"):
                await stage.run(f"await sio.emit('news', {text!r})")
                async with asyncio.timeout(5):
                    while text not in panel._board._table.value:
                        await give_way()

    run(scene())


@pytest.mark.usefixtures("few_scenes")
def test_an_answer_is_checked(run):
    async def scene():
        assert (await check("03.1", solution("03.1"))).passed
        assert (await check("07.5", solution("07.5"))).passed

    run(scene())


# -- queues ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_queues_deliver_until_they_are_closed(run, kept, tmp_path):
    url = "memory:" if kept == "memory" else f"sqlite:///{tmp_path}/q.db"

    async def scene():
        sio = new_server()
        async with Stage(sio) as stage:
            queues = await Queues.open(url, Rules(attempts=2, back_off=0.01), random=Random(1))
            queues.attach(sio)
            stage.watch(queues)
            for n in range(40):
                await queues.emit("pickup", n, to="drivers")
            got: list[int] = []
            ada, bob = [await stage.client(name) for name in ("ada", "bob")]

            @ada.on("pickup")
            def by_packet(n, delivery):
                got.append(n)
                return delivery["receipt"]

            @bob.on("pickup")
            async def by_event(n, delivery):
                got.append(n)
                await bob.emit("received", {"receipt": delivery["receipt"]})

            await queues.subscribe(ada.get_sid(), "drivers", window=4)
            await queues.subscribe(bob.get_sid(), "drivers", window=4)
            await stage.settle()
            assert sorted(got) == [*range(40)]
            assert (await queues.stats("drivers")).ready == 0
            await queues.emit("pickup", 41, to="drivers", ttl=0.000001)
            await queues.emit("poison", "p", to="drivers")  # nobody listens: no receipt
            await queues.unsubscribe(bob.get_sid(), "drivers")
            await queues.emit("pickup", 42, to="drivers")
            await stage.settle()
            assert got[-1] == 42
            await queues.close(within=0)
            await queues.close()
            await stage.settle()

    run(scene())


def test_who_subscribes_is_answered_before_the_first_message_comes(run):
    async def scene():
        sio, order = new_server(), []
        async with Stage(sio) as stage, await Queues.open("memory:") as queues:
            queues.attach(sio)
            stage.watch(queues)
            ada = await stage.client("ada")
            ada.on("pickup", lambda n, delivery: order.append("message") or delivery["receipt"])

            @sio.event
            async def drive(sid):
                subscribing = asyncio.ensure_future(queues.subscribe(sid, "drivers"))
                await queues.emit("pickup", 1, to="drivers")  # while it has not begun yet
                await subscribing
                return "as you like"

            await ada.emit("drive", callback=lambda *_: order.append("answer"))
            await stage.settle()
            assert order == ["answer", "message"]

    run(scene())


@pytest.mark.parametrize("dialect", [None, "caps"])
def test_a_hub_with_both_its_ends(run, dialect, tmp_path):
    async def scene():
        hub = hubs.Here(tmp_path, dialect)
        await hub.open()
        client = new_client()
        if dialect == "caps":
            await caps(hub, client)
        else:
            await native(hub, client, tmp_path)
        await hang_up(client)
        await hub.close()

    run(scene())


async def native(hub: hubs.Here, client: Any, folder: Path) -> None:
    got = Seen()
    with closing(sqlite3.connect(folder / "own.db")) as own:
        consumer = Consumer(client, "drivers", namespace=hub.namespace, inbox=own, window=8)

        @consumer.on("pickup")
        async def pickup(n, delivery):
            got.add(n)
            if n == 3 and delivery["attempt"] == 1:
                raise LookupError("no such street")

        async with await Outbox.open(folder / "outbox.db", client, hub.namespace) as outbox:
            for n in range(30):
                await outbox.emit("pickup", n, to="drivers")
            await client.connect(hub.url, namespaces=[hub.namespace], transports=["websocket"])
            await outbox.flush(within=20)
            await consumer.start()
            await got.until(lambda: {*got} == {*range(30)} and got.count(3) == 2, "message")
        await consumer.close()
    assert (await hub.queues.stats("drivers")).ready == 0


async def caps(hub: hubs.Here, client: Any) -> None:
    inbox = hubs.Inbox(client, hub.namespace)
    await client.connect(hub.url, namespaces=[hub.namespace], transports=["websocket"])
    for n in range(30):
        await hub.call(client, "pickup", {"store": "s", "orderId": str(n), "messageId": str(n)})
    for name in ("drivers", "ada", "bob"):  # two of them with queues of their own
        await hub.call(client, "getAll", {"clientId": name, "queueId": "drivers"})
    await inbox.until(30, "what was missed")
    answers = [
        hub.call(client, "received", {"clientId": "ada", "messageId": str(n)}) for n in range(30)
    ]
    assert await asyncio.gather(*answers) == [{"ok": True}] * 30


# -- on NATS --------------------------------------------------------------------------------------


@pytest.mark.needs("nats")
def test_queues_and_emits_on_nats(run):
    url, nats = new_stream(), shared_url()

    async def scene():
        managers = [NatsManager(nats, "loops") for _ in range(2)]
        servers = [
            socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)
            for manager in managers
        ]
        got, heard = Seen(), Seen()
        async with Stage(servers[0]) as here, Stage(servers[1]) as there:
            queues = await Queues.open(url)
            queues.attach(servers[1])
            ada = await there.client("ada")
            ada.on("pickup", lambda n, delivery: got.add(n) or delivery["receipt"])
            ada.on("news", heard.add)
            await here.client("bob")
            for manager in managers:
                await manager.listening()
            for n in range(20):
                await queues.emit("pickup", n, to="drivers")
                await servers[0].emit("news", n)
            await queues.subscribe(ada.get_sid(), "drivers")
            assert await got.reach(20) == [*range(20)]
            assert await heard.reach(20) == [*range(20)]
            await queues.close()
            for manager in managers:
                await manager.close()

    run(scene())
