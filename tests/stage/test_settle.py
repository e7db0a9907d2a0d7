"""`settle()` returns exactly when nothing is under way any more.

That nothing is left is proved without chatq's own counts: `later` sends round trips over every live
connection, both ways, several times. A connection delivers in order, so each round flushes whatever
was in flight before it; what handlers then log came after settle, and there must be none of it.
"""

import asyncio
import queue as queues
import random
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from itertools import product

import aiohttp.web
import engineio
import pytest
import socketio
from sizes import first

from chatq import HandlerRaised, NotSettled, Reason, Stage
from chatq.internals.network import serving_host
from chatq.journal.activity import Activity, wait_for
from chatq.waiting import give_way, set_within

pytestmark = pytest.mark.usefixtures("network")  # both

EITHER = pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=lambda t: t[0])
NAMESPACES = ("/", "/room")


def echo(*_):
    """The handler of the round trips: it logs nothing."""


async def later(sio, clients, log, rounds=3):
    """Flush all connections, both ways; return what was logged meanwhile."""
    before = len(log)
    for _ in range(rounds):
        for client in clients:
            for namespace in [*client.namespaces]:
                await client.call("echo", namespace=namespace, timeout=5)
                sid = client.get_sid(namespace)
                await sio.call("echo", to=sid, namespace=namespace, timeout=5)
    return log[before:]


# -- cascades -----------------------------------------------------------------------------------


@EITHER
async def test_one_settle_sees_a_cascade_of_12_hops_and_52_events_to_its_end(
    sio, stage, transports
):
    """13 rounds: the first emit and 12 hops. In each round the server tells each of 2 clients
    (2 events), each answers (2 events), and the second answer starts the next round: 13 x 4 = 52
    messages, each with one handler call."""
    calls, heard = [], []
    sio.on("echo", echo)
    clients = await stage.clients("ada", "bob", transports=transports)

    async def tell(hop):
        for client in clients:
            await sio.emit("hop", hop, to=client.get_sid())

    @sio.event
    async def answer(sid, hop):
        calls.append(("server", hop))
        heard.append(hop)
        if heard.count(hop) == 2 and hop < 12:
            await tell(hop + 1)

    for client in clients:

        async def hop(n, client=client):
            calls.append((client.name, n))
            await client.emit("answer", n)

        client.on("hop", hop)
        client.on("echo", echo)

    await tell(0)
    assert len(calls) < 52
    await stage.settle()
    assert len(calls) == 52
    assert max(hop for _, hop in calls) == 12
    assert stage.journal.messages == 52
    assert await later(sio, clients, calls) == []


@EITHER
async def test_a_burst_in_both_directions_has_arrived(sio, stage, transports):
    got = []
    sio.on("up", lambda sid, n: got.append(("up", n)))
    ada, bob = await stage.clients("ada", "bob", transports=transports)
    for client in (ada, bob):
        client.on("down", lambda n: got.append(("down", n)))
    for n in range(5):
        await ada.emit("up", n)
        await sio.emit("down", n)
    await stage.settle()
    assert sorted(got) == sorted(
        [("up", n) for n in range(5)] + 2 * [("down", n) for n in range(5)]
    )


async def test_settling_when_nothing_happened_returns_at_once(stage):
    await stage.settle(within=0)


# -- handlers that await ------------------------------------------------------------------------


@EITHER
@pytest.mark.parametrize("side", ["server", "client"])
async def test_a_handler_may_await_what_another_handler_resolves(sio, stage, side, transports):
    released, log = asyncio.get_running_loop().create_future(), []

    async def wait(*_):
        await released
        log.append("waited")

    async def release(*_):
        log.append("released")
        released.set_result(None)

    ada = await stage.client("ada", transports=transports)
    listener, sender = (sio, ada) if side == "server" else (ada, sio)
    listener.on("wait", wait)
    listener.on("release", release)
    await sender.emit("wait")
    await sender.emit("release")
    await stage.settle()
    assert log == ["released", "waited"]


@EITHER
async def test_handlers_may_call_each_other(sio, stage, transports):
    """ada asks the server, whose handler asks bob, whose handler asks the server again."""
    log = []
    ada, bob = await stage.clients("ada", "bob", transports=transports)

    @sio.event
    async def ask(sid):
        log.append(await sio.call("your name", to=bob.get_sid()))

    @bob.on("your name")
    async def your_name():
        return await bob.call("which name")

    sio.on("which name", lambda sid: "bob")
    await ada.emit("ask")
    await stage.settle()
    assert log == ["bob"]


@pytest.mark.parametrize("side", ["server", "client"])
async def test_a_handler_may_wait_for_a_thread(sio, stage, side):
    gate, log = threading.Event(), []

    async def slow(*_):
        await asyncio.to_thread(gate.wait)
        log.append("slow")

    async def open_gate(*_):
        await asyncio.to_thread(gate.set)

    ada = await stage.client("ada")
    listener, sender = (sio, ada) if side == "server" else (ada, sio)
    listener.on("slow", slow)
    listener.on("open", open_gate)
    await sender.emit("slow")
    await sender.emit("open")
    await stage.settle()
    assert log == ["slow"]


@pytest.mark.parametrize("side", ["server", "client"])
async def test_an_acknowledgement_callback_is_waited_for(sio, stage, side):
    """Also one that awaits, and what it sends."""
    log = []
    ada = await stage.client("ada")
    ada.on("ping", lambda: "pong")
    sio.on("ping", lambda sid: "pong")
    sio.on("thanks", lambda sid: log.append("thanks"))

    async def callback(answer):
        await asyncio.to_thread(log.append, answer)
        await ada.emit("thanks")

    await (sio.emit if side == "server" else ada.emit)("ping", callback=callback)
    await stage.settle()
    assert log == ["pong", "thanks"]


# -- background tasks ---------------------------------------------------------------------------

LOOSE = set()  # an event loop keeps no task


@pytest.fixture(autouse=True)
def loose_tasks():
    """Forget those of the test before: whatever looks through all tasks takes long with many."""
    LOOSE.clear()


async def turns(n):
    for _ in range(n):
        await give_way()


async def in_a_group(emit):
    async with asyncio.TaskGroup() as group:
        group.create_task(turns(9))
        group.create_task(emit())


async def after(emit, *waits):
    for wait in waits:
        await wait
    await emit()


def busy():
    """Work for about a tenth of a second."""
    return sum(range(3_000_000))


async def unawaited():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.run_in_executor(None, busy).add_done_callback(lambda _: done.set_result(None))
    await done


async def waits_for_futures():
    loop = asyncio.get_running_loop()
    futures = [loop.run_in_executor(None, busy) for _ in range(3)]
    await asyncio.gather(*futures[:2])
    await asyncio.wait(futures, timeout=5)


async def by_a_lock(emit):
    lock, tasks = asyncio.Lock(), []

    async def one():
        async with lock:
            await turns(5)

    tasks = [asyncio.create_task(one()) for _ in range(3)]
    await asyncio.gather(*tasks)
    await emit()


async def by_a_queue(emit):
    queue = asyncio.Queue(maxsize=1)

    async def produce():
        for n in range(5):
            await queue.put(n)
            await turns(2)

    producing = asyncio.create_task(produce())
    while await queue.get() < 4:
        pass
    await emit()
    await producing


async def a_tree_of_tasks(emit, depth=5):
    if depth:
        LOOSE.add(asyncio.create_task(a_tree_of_tasks(emit, depth - 1)))
    else:
        await emit()


async def by_a_stream(emit):
    async def stream():
        for n in range(5):
            await turns(1)
            yield n

    async for n in stream():
        if n == 4:
            await emit()


async def in_a_thread_that_calls_back(emit):
    loop = asyncio.get_running_loop()

    def work():
        asyncio.run_coroutine_threadsafe(emit(), loop).result(5)

    await asyncio.to_thread(work)


async def beside_others(emit):
    LOOSE.add(asyncio.create_task(asyncio.Event().wait()))
    await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(turns(20))), 60)
    await emit()


#: How a handler leaves an emit to something else, given the server and the emit.
LEFT = {
    "start_background_task": lambda sio, emit: sio.start_background_task(emit),
    "create_task": lambda sio, emit: asyncio.create_task(emit()),
    "ensure_future": lambda sio, emit: asyncio.ensure_future(emit()),
    "call_soon": lambda sio, emit: asyncio.get_running_loop().call_soon(
        lambda: asyncio.ensure_future(emit())
    ),
    "gather": lambda sio, emit: asyncio.gather(turns(9), emit()),
    **{
        f"in a task, {name}": lambda sio, emit, make=make: asyncio.create_task(make(emit))
        for name, make in {
            "after a turn": lambda emit: after(emit, turns(1)),
            "after 100 turns": lambda emit: after(emit, turns(100)),
            "after a thread": lambda emit: after(emit, asyncio.to_thread(int), turns(3)),
            "after many threads": lambda emit: after(
                emit, *(asyncio.to_thread(sum, range(10_000)) for _ in range(20))
            ),
            "after threads that nobody awaits": lambda emit: after(emit, unawaited()),
            "after a shielded thread": lambda emit: after(
                emit, asyncio.shield(asyncio.get_running_loop().run_in_executor(None, busy))
            ),
            "after futures of threads": lambda emit: after(emit, waits_for_futures()),
            "after a thread in a gather": lambda emit: after(
                emit, asyncio.gather(asyncio.to_thread(int), asyncio.to_thread(sum, range(10**6)))
            ),
            "in a group": in_a_group,
            "by a lock": by_a_lock,
            "by a queue": by_a_queue,
            "by a stream": by_a_stream,
            "a tree of tasks": a_tree_of_tasks,
            "in a thread that calls back": in_a_thread_that_calls_back,
            "beside others": beside_others,
        }.items()
    },
}
#: Whose code it is, by the kind of handler or call-back.
PLACES = ["event", "connect", "acknowledgement", "client", "class", "route", "worker"]
#: Where a handler runs in the task of whoever has called this, such as a cell.
GOODBYES = ["shown the door", "line closed", "hung up", "client hung up"]


async def leave(sio, stage, place, left):
    """Have an emit of `news` left by code of this kind, and return when that code has run."""

    def emit(*_):
        return sio.emit("news", "from the background", to="all")

    def leaves(*_):
        LOOSE.add(left(sio, emit))

    ada = await stage.client("ada")
    ada.on("news", echo)
    await sio.enter_room(ada.get_sid(), "all")
    match place:
        case "event":
            sio.on("say", leaves)
            await ada.emit("say")
        case "connect":
            sio.on("connect", leaves)
            await stage.client("bob")
        case "acknowledgement":
            sio.on("say", lambda sid: "well")
            await ada.emit("say", callback=leaves)
        case "client":
            ada.on("say", leaves)
            await sio.emit("say")
        case "class":

            class Talk(socketio.AsyncNamespace):
                async def on_say(self, sid):
                    leaves()

            sio.register_namespace(Talk("/talk"))
            cy = await stage.client("cy", namespaces=["/talk"])
            await cy.emit("say", namespace="/talk")
        case "route":
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{stage.url}/say") as answer,
            ):
                assert await answer.text() == "said"
        case "shown the door":
            sio.on("disconnect", leaves)
            bob = await stage.client("bob")
            await sio.disconnect(bob.get_sid())
        case "line closed":
            sio.on("disconnect", leaves)
            await sio.eio.disconnect((await stage.client("bob")).eio.sid)
        case "hung up":
            sio.on("disconnect", leaves)
            await (await stage.client("bob")).disconnect()
        case "client hung up":
            bob = await stage.client("bob")
            bob.on("disconnect", leaves)
            await bob.disconnect()
        case "cell":
            leaves()
        case "worker":
            stage.wake.set()
    return ada


@pytest.mark.parametrize(
    ("left", "place"),
    # Of the reader's own tasks, in a cell, those are the server's that are begun by it.
    [
        ("start_background_task", "cell"),
        *(
            pytest.param(*case, marks=[pytest.mark.long] if n % 2 else [])
            for n, case in enumerate(product(LEFT, PLACES + GOODBYES))
        ),
    ],
)
async def test_what_is_left_to_a_background_task_is_waited_for(place, left):
    sio = socketio.AsyncServer(async_mode="aiohttp")
    app = aiohttp.web.Application()
    wake = asyncio.Event()

    def emit(*_):
        return sio.emit("news", "from the background", to="all")

    async def say(request):
        LOOSE.add(LEFT[left](sio, emit))
        return aiohttp.web.Response(text="said")

    async def worker(app):
        async def work():
            await wake.wait()
            LOOSE.add(LEFT[left](sio, emit))

        LOOSE.add(asyncio.create_task(work()))

    app.router.add_get("/say", say)
    app.on_startup.append(worker)
    async with Stage(sio, app) as stage:
        stage.wake = wake
        await leave(sio, stage, place, LEFT[left])
        await stage.settle()
        assert [m.got_by for m in stage.deliveries("news").messages] == [{"ada"}]


class Echo(asyncio.Protocol):
    """Answers with what it gets."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def test_a_task_that_asks_over_the_network_is_waited_for(sio, stage, network):
    """What is on its way between two sockets of this process arrives in a turn; then it goes on."""
    tasks, heard = [], []
    host = serving_host(network)
    server = await asyncio.get_running_loop().create_server(Echo, host, 0)

    async def ask():
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for n in range(20):
            writer.write(b"%d\n" % n)
            await reader.readline()
        await sio.emit("news", "asked")
        writer.close()

    @sio.event
    async def begin(sid):
        tasks.append(asyncio.create_task(ask()))

    ada = await stage.client("ada")
    ada.on("news", heard.append)
    await ada.emit("begin")
    await stage.settle()
    assert heard == ["asked"]
    await asyncio.wait(tasks)
    server.close()


async def test_a_task_that_waits_for_time_or_the_outside_is_not_waited_for_but_named(sio, stage):
    tasks, outside = [], asyncio.get_running_loop().create_future()

    async def sleeper():
        await set_within(asyncio.Event(), 3600)

    async def ticker():
        while not outside.done():
            await set_within(asyncio.Event(), 0.001)

    async def listener():
        await outside

    @sio.event
    def begin(sid):
        tasks.append(sio.start_background_task(sleeper))
        tasks.append(asyncio.create_task(ticker()))
        tasks.append(asyncio.create_task(listener()))

    ada = await stage.client("ada")
    assert stage.tasks() == []
    await ada.emit("begin")
    await stage.settle()
    told = stage.tasks()
    assert len(told) == 3
    for name, waits in (("sleeper", "waits in Event.wait"), ("listener", "waits"), ("ticker", "")):
        assert any(f"<locals>.{name} {waits}" in line for line in told), told
    assert all("of test_settle.py)" in line for line in told)
    for task in tasks:
        task.cancel()


def begins_what_never_rests(sio):
    """Have `begin` begin a task that goes on in each turn until an event; return that, and the
    tasks."""
    ended, tasks = asyncio.Event(), []

    async def restless():
        while not ended.is_set():
            await turns(1)

    @sio.event
    def begin(sid):
        tasks.append(asyncio.create_task(restless()))

    return ended, tasks


async def test_a_task_that_never_comes_to_rest_is_named(sio, stage):
    ended, tasks = begins_what_never_rests(sio)
    ada = await stage.client("ada")
    await ada.emit("begin")
    with pytest.raises(NotSettled, match=r"not settled after 0.1 s: a background task: .*restless"):
        await stage.settle(within=0.1)
    ended.set()
    await stage.settle()
    assert tasks[0].done()


async def test_a_thread_that_waits_for_the_outside_is_not_waited_for_long(sio, stage):
    """As a worker that takes the next item from a queue of threads."""
    queue, done = queues.SimpleQueue(), []

    async def work():
        while (item := await asyncio.to_thread(queue.get)) is not None:
            done.append(item)

    sio.on("begin", lambda sid: LOOSE.add(asyncio.create_task(work())))
    ada = await stage.client("ada")
    await ada.emit("begin")
    with pytest.raises(NotSettled, match="a background task: a thread is at work"):
        await stage.settle(within=0.2)
    await stage.settle()
    assert any("work waits" in line for line in stage.tasks())
    queue.put("item")
    await stage.until(lambda: done)
    queue.put(None)
    await stage.settle()
    assert stage.tasks() == []


async def test_many_that_sleep_again_and_again_are_not_waited_for(sio, stage):
    pauses = sio.sleep  # what a server of somebody's does again and again

    async def ticker(seconds):
        while True:
            await pauses(seconds)

    @sio.event
    def begin(sid):
        for n in range(1, 41):
            sio.start_background_task(ticker, 0.001 + n / 10_000)

    ada = await stage.client("ada")
    await ada.emit("begin")
    await stage.settle()
    assert len(stage.tasks()) == 40


async def a_future_of_a_timer():
    loop = asyncio.get_running_loop()
    rings = loop.create_future()
    loop.call_later(0.001, rings.set_result, None)
    await rings


#: Ways to wait for a millisecond.
PAUSES = {
    "sleep": partial(asyncio.sleep, 0.001),
    "timeout": lambda: set_within(asyncio.Event(), 0.001),
    "wait": lambda: asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.001),
    "call_later": a_future_of_a_timer,
}
if sys.version_info >= (3, 12):  # before, it begins a task each time, which is news
    PAUSES["wait_for"] = lambda: asyncio.wait_for(asyncio.Event().wait(), 0.001)


@pytest.mark.parametrize("pause", PAUSES)
async def test_what_time_wakes_in_every_turn_is_not_waited_for(sio, stage, pause):
    """As the loop of a game in a server whose turns take longer than it waits."""
    loop, ended = asyncio.get_running_loop(), False

    def slow_turn():
        if not ended:
            began = time.perf_counter()
            while time.perf_counter() - began < 0.002:
                pass
            loop.call_soon(slow_turn)

    async def ticker():
        while not ended:
            with suppress(TimeoutError):
                await PAUSES[pause]()

    sio.on("begin", lambda sid: LOOSE.update({asyncio.create_task(ticker()) for _ in range(3)}))
    ada = await stage.client("ada")
    await ada.emit("begin")
    loop.call_soon(slow_turn)
    try:
        await stage.settle()
        ada.on("news", echo)
        await sio.emit("news")
        await stage.settle()
    finally:
        ended = True
    assert stage.deliveries("news").who_got("news") == {"ada"}


async def test_a_task_with_a_deadline_is_waited_for(sio, stage):
    """Its timer does not wake it."""

    async def work():
        async with asyncio.timeout(60):
            await turns(50)
        for _ in range(50):
            await asyncio.wait_for(turns(1), 60)
        await sio.emit("news")

    sio.on("begin", lambda sid: LOOSE.add(asyncio.create_task(work())))
    ada = await stage.client("ada")
    await ada.emit("begin")
    await stage.settle()
    assert "no handler" in stage.why("ada", "news")


async def test_tasks_of_the_server_may_settle_side_by_side(sio, stage):
    settled = []

    @sio.event
    def begin(sid):
        async def settle(n):
            await stage.settle()
            settled.append(n)

        for n in range(3):
            sio.start_background_task(settle, n)

    ada = await stage.client("ada")
    await ada.emit("begin")
    await stage.until(lambda: len(settled) == 3, within=5)


async def test_settling_within_a_task_of_the_server(sio, stage):
    """It does not wait for itself."""
    done = asyncio.Event()

    @sio.event
    def begin(sid):
        async def settle():
            await stage.settle()
            done.set()

        sio.start_background_task(settle)

    ada = await stage.client("ada")
    await ada.emit("begin")
    async with asyncio.timeout(5):
        await done.wait()


async def test_the_tasks_of_two_stages_are_not_mixed_up(sio):
    other = socketio.AsyncServer(async_mode="aiohttp")
    ended, tasks = begins_what_never_rests(other)
    async with Stage(sio) as stage, Stage(other) as busy:
        await (await busy.client("bob")).emit("begin")
        await busy.until(lambda: tasks)
        await stage.settle()
        with pytest.raises(NotSettled, match="restless"):
            await busy.settle(within=0.1)
        ended.set()
        await busy.settle()


# -- handlers and tasks that raise --------------------------------------------------------------


async def raises(*_):
    await turns(5)
    raise KeyError("worker")


async def raises_at_once(*_):
    raise KeyError("worker")


def kept_until_done(emit):
    task = asyncio.create_task(emit())
    LOOSE.add(task)
    task.add_done_callback(LOOSE.discard)


#: How a task is begun of which nobody asks what has become of it.
UNASKED = {
    "start_background_task": lambda sio, work: sio.start_background_task(work),
    "create_task": lambda sio, work: asyncio.create_task(work()) and None,
    "kept until done": lambda sio, work: kept_until_done(work),
    "call_soon": lambda sio, work: asyncio.get_running_loop().call_soon(
        lambda: asyncio.ensure_future(work()) and None
    ),
}


@pytest.mark.parametrize("begin", UNASKED)
@pytest.mark.parametrize("work", [raises, raises_at_once], ids=lambda work: work.__name__)
@pytest.mark.parametrize("side", ["server", "ada"])
async def test_a_background_task_that_raised_is_shown_once(sio, stage, side, work, begin):
    def handler(*_):
        UNASKED[begin](sio, work)

    ada = await stage.client("ada")
    (sio if side == "server" else ada).on("go", handler)
    await (ada if side == "server" else sio).emit("go")
    told = f"a background task, {work.__name__}, raised KeyError: 'worker'"
    with pytest.raises(HandlerRaised, match=told) as raised:
        await stage.settle()
    assert [type(error) for error in raised.value.errors] == [KeyError]
    await stage.settle()


async def test_what_is_asked_of_a_task_is_its_owners_matter(sio, stage):
    seen = []

    async def asks():
        for work in (raises(), raises_at_once()):
            try:
                await asyncio.create_task(work)
            except KeyError as error:
                seen.append(error)

    sio.on("go", lambda sid: LOOSE.add(asyncio.create_task(asks())))
    await (await stage.client("ada")).emit("go")
    await stage.settle()
    assert len(seen) == 2


async def test_a_task_of_somebody_else_that_raises_is_no_matter_of_the_stage(sio, stage, caplog):
    ada = await stage.client("ada")
    await ada.emit("go")
    task = asyncio.create_task(raises())
    await asyncio.wait({task})
    del task
    assert "never retrieved" in caplog.text
    await stage.settle()


async def provoke(sio, ada, where):
    """Let a handler raise, and return the exception."""
    error = ValueError(f"broken {where}")

    def broken(*_):
        raise error

    if where == "server":
        sio.on("oops", broken)
        await ada.emit("oops")
    elif where == "ada":
        ada.on("oops", broken)
        await sio.emit("oops")
    elif where == "callback of ada":
        sio.on("fine", lambda sid: None)
        await ada.emit("fine", callback=broken)
    elif where == "background":
        ada.on("oops", broken)
        sio.on("say", lambda sid: sio.start_background_task(sio.emit, "oops"))
        await ada.emit("say")
    elif where == "disconnect":
        sio.on("disconnect", broken)
    else:
        ada.on("fine", lambda: None)
        await sio.emit("fine", to=ada.get_sid(), callback=broken)
    return error


@EITHER
@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("server", "server's handler of 'oops' raised ValueError: broken server"),
        ("ada", "ada's handler of 'oops' raised ValueError: broken ada"),
        ("callback of ada", "ada's handler of 'acknowledgement' raised ValueError"),
        ("callback of server", "server's handler of 'acknowledgement' raised ValueError"),
    ],
)
async def test_a_handler_that_raised_is_shown_once_and_the_stage_goes_on(
    sio, stage, where, told, transports
):
    ada = await stage.client("ada", transports=transports)
    sio.on("echo", lambda sid: "still here")
    error = await provoke(sio, ada, where)
    with pytest.raises(HandlerRaised, match=told) as raised:
        await stage.settle()
    assert raised.value.__cause__ is error
    assert raised.value.errors == [error]
    await stage.settle()  # shown once
    assert await ada.call("echo") == "still here"


async def test_all_that_raised_is_told_in_one_error(sio, stage):
    ada = await stage.client("ada")
    errors = [await provoke(sio, ada, "server"), await provoke(sio, ada, "ada")]
    with pytest.raises(HandlerRaised, match=r"server's .*; ada's|ada's .*; server's") as raised:
        await stage.settle()
    assert set(raised.value.errors) == set(errors)


@pytest.mark.parametrize("side", ["server", "client"])
async def test_a_disconnect_handler_that_raises_is_shown(sio, stage, side):
    ada = await stage.client("ada")

    def disconnect(*_):
        raise ValueError("goodbye failed")

    (sio if side == "server" else ada).on("disconnect", disconnect)
    await ada.disconnect()
    who = "server" if side == "server" else "ada"
    with pytest.raises(HandlerRaised, match=f"{who}'s handler of 'disconnect' raised ValueError"):
        await stage.settle()


async def unseen(sio, stage, where):
    """Let a handler raise, and do not settle; return what has to be said of it."""
    await provoke(sio, await stage.client("ada"), where)
    event = where if where == "disconnect" else "oops"
    return f"handler of '{event}' raised ValueError: broken {where}"


@pytest.mark.parametrize("where", ["server", "ada", "background", "disconnect"])
async def test_leaving_and_closing_raise_what_nobody_has_seen(where):
    stage = Stage(socketio.AsyncServer(async_mode="aiohttp"))
    with pytest.raises(HandlerRaised, match="raised ValueError: broken") as raised:
        async with stage:
            told = await unseen(stage.sio, stage, where)
    assert told in str(raised.value)
    stage = await Stage.open(socketio.AsyncServer(async_mode="aiohttp"))
    told = await unseen(stage.sio, stage, where)
    with pytest.raises(HandlerRaised, match="raised ValueError: broken") as raised:
        await stage.close()
    assert told in str(raised.value)
    await stage.close()  # said once


async def test_what_was_seen_is_not_said_again_and_hides_no_other_error():
    stage = Stage(socketio.AsyncServer(async_mode="aiohttp"))
    async with stage:
        await unseen(stage.sio, stage, "server")
        with pytest.raises(HandlerRaised):
            await stage.settle()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with Stage(socketio.AsyncServer(async_mode="aiohttp")) as stage:
            await unseen(stage.sio, stage, "server")
            raise ZeroDivisionError
    first = await Stage.open(socketio.AsyncServer(async_mode="aiohttp"))
    await unseen(first.sio, first, "server")
    async with Stage(first.sio):  # opened again, as a cell is run again
        pass


# -- clients that leave in the middle -----------------------------------------------------------


@EITHER
@pytest.mark.parametrize("how", ["leaves", "kicked", "cut"])
async def test_a_client_may_go_while_messages_to_and_from_it_are_under_way(
    sio, stage, how, transports
):
    if how == "cut" and transports == ["polling"]:
        transports = ["polling", "websocket"]  # there is no connection to cut; an upgraded one
    log = []
    sio.on("up", lambda sid, n: log.append(("server", n)))
    sio.on("echo", echo)
    sio.on("disconnect", lambda sid, reason: log.append(("server", "disconnect")))
    ada, bob = await stage.clients("ada", "bob", transports=transports)
    for client in (ada, bob):
        client.on("down", lambda n, who=client.name: log.append((who, n)))
        client.on("echo", echo)
    for n in range(8):
        await sio.emit("down", n)
        await ada.emit("up", n)
    match how:
        case "leaves":
            await ada.disconnect()
        case "kicked":
            await sio.disconnect(ada.get_sid())
        case "cut":
            await stage.cut(ada)
    await sio.emit("down", 8)
    await stage.settle()
    assert not ada.connected
    assert not stage.connected("ada")
    assert [n for who, n in log if who == "bob"] == [*range(9)]
    assert log.count(("server", "disconnect")) == 1
    assert await later(sio, [bob], log) == []


async def test_a_frozen_client_does_not_hold_up_settle_and_gets_its_messages_when_it_thaws(
    sio, stage
):
    log = []
    ada, bob = await stage.clients("ada", "bob")
    for client in (ada, bob):
        client.on("news", lambda n, who=client.name: log.append((who, n)))
    await stage.freeze(ada)
    for n in range(3):
        await sio.emit("news", n)
    await stage.settle()
    assert log == [("bob", n) for n in range(3)]
    await stage.thaw(ada)
    await stage.settle()
    assert log[3:] == [("ada", n) for n in range(3)]


async def test_a_frozen_client_learns_that_it_was_kicked_when_it_thaws(sio, stage):
    log = []
    ada = await stage.client("ada")
    ada.on("disconnect", log.append)
    await stage.freeze(ada)
    await sio.disconnect(ada.get_sid())
    await stage.settle()
    assert log == []
    await stage.thaw(ada)
    await stage.settle()
    assert len(log) == 1
    assert not stage.connected("ada")


async def test_a_frozen_client_that_is_cut_never_gets_what_waited_for_it(sio, stage):
    log = []
    ada = await stage.client("ada")
    ada.on("news", log.append)
    await stage.freeze(ada)
    await sio.emit("news", 1)
    await stage.settle()
    await stage.cut(ada)
    await stage.settle()
    assert log == []
    assert not ada.connected
    assert not stage.connected("ada")


async def test_a_message_that_is_read_during_the_goodbye_is_waited_for(sio, stage):
    """The library reads on while its `disconnect` handler runs, and handles what it reads."""
    leaving, leave, finish = asyncio.Event(), asyncio.Event(), asyncio.Event()
    began, ended = [], []
    sio.on("echo", echo)
    ada, bob = await stage.clients("ada", "bob")

    @ada.event
    async def disconnect(reason):
        leaving.set()
        await leave.wait()

    @ada.event
    async def news(n):
        began.append(n)
        await finish.wait()
        ended.append(n)

    goodbye = asyncio.create_task(ada.disconnect())
    await leaving.wait()
    await sio.emit("news", 1)
    async with asyncio.timeout(5):
        while not any("news" in str(data) for _, data in ada.tape.frames):
            await bob.call("echo")
    leave.set()
    await goodbye
    with suppress(NotSettled):
        await stage.settle(within=0.2)
        assert began == ended, "settled, but a handler still runs"
    finish.set()
    await stage.settle()
    assert began == ended


async def test_a_frozen_client_may_be_told_to_disconnect(stage):
    """It cannot take part in the goodbye, but whoever asked for it must not hang."""
    ada = await stage.client("ada")
    await stage.freeze(ada)
    goodbye = asyncio.create_task(ada.disconnect())
    done, _ = await asyncio.wait([goodbye], timeout=1)
    await stage.thaw(ada)
    await asyncio.wait([goodbye], timeout=5)
    assert done, "disconnect() hung until the client was thawed"


# -- no end in sight ----------------------------------------------------------------------------


@EITHER
async def test_endless_chatter_is_not_settled_and_says_who_is_busy(sio, transports):
    before = asyncio.all_tasks()
    stage = await Stage.open(sio)
    ada, bob = await stage.clients("ada", "bob", transports=transports)

    @sio.event
    async def chat(sid, n):
        await sio.emit("chat", n, skip_sid=sid)

    for client in (ada, bob):

        async def answer(n, client=client):
            await client.emit("chat", n + 1)

        client.on("chat", answer)

    await ada.emit("chat", 0)
    with pytest.raises(TimeoutError, match=r"not settled after 0.2 s: .*(ada|bob|server)") as busy:
        await stage.settle(within=0.2)
    assert isinstance(busy.value, NotSettled)
    await closes_quickly(stage, before)


async def closes_quickly(stage, before):
    async with asyncio.timeout(1):
        await stage.close()
    assert asyncio.all_tasks() == before


@EITHER
@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("data", ["text", b"\x00\xffbytes", ("two", "arguments")], ids=str)
async def test_a_handler_that_never_returns_is_named_with_its_event(sio, side, data, transports):
    before = asyncio.all_tasks()
    stage = await Stage.open(sio)
    ada = await stage.client("ada", transports=transports)

    async def forever(*_):
        await asyncio.get_running_loop().create_future()

    listener, sender = (sio, ada) if side == "server" else (ada, sio)
    listener.on("stuck", forever)
    await sender.emit("stuck", data)
    who = "server" if side == "server" else "ada"
    with pytest.raises(NotSettled, match=f"{who}: the handler of 'stuck' has not returned"):
        await stage.settle(within=0.2)
    await closes_quickly(stage, before)


@EITHER
@pytest.mark.parametrize("side", ["server", "client"])
async def test_a_disconnect_handler_that_never_returns_does_not_hold_up_closing(
    sio, side, transports
):
    before = asyncio.all_tasks()
    stage = await Stage.open(sio)
    ada = await stage.client("ada", transports=transports)

    async def disconnect(*_):
        await asyncio.get_running_loop().create_future()

    (sio if side == "server" else ada).on("disconnect", disconnect)
    await closes_quickly(stage, before)


async def test_a_connect_handler_that_has_not_returned_is_named(sio, stage):
    began, gate = asyncio.Event(), asyncio.Event()

    @sio.event
    async def connect(sid, environ):
        began.set()
        await gate.wait()

    joining = asyncio.create_task(stage.client("ada"))
    await began.wait()
    with pytest.raises(NotSettled, match="server: the handler of 'connect' has not returned"):
        await stage.settle(within=0.05)
    gate.set()
    await joining
    await stage.settle()
    assert stage.connected("ada")


# -- a thousand scripts -------------------------------------------------------------------------


class Scene:
    """Three clients in two namespaces, all of whose handlers act at random, a few hops deep.

    What a handler does depends on the seed and on the path of the message alone, not on the order
    in which handlers happen to run. Those in `polls` poll, and stay: leaving takes a polling client
    as long as its open poll (the tests above have that).
    """

    def __init__(self, sio, stage, clients, polls=()):
        self.sio, self.stage, self.clients, self.polls = sio, stage, clients, polls
        self.seed, self.log, self.began, self.ended = 0, [], 0, 0
        self.background = set()

    async def handle(self, who, namespace, act, path, budget):
        self.began += 1
        self.log.append((who, namespace, path))
        chance = random.Random(f"{self.seed} {who} {path}")
        if chance.random() < 0.2:
            await asyncio.to_thread(int)
        for i in range(min(budget, chance.randrange(3))):
            doing = f"{path}.{i}"
            acting = act(random.Random(f"{self.seed} {doing}"), namespace, doing, budget - 1)
            match chance.randrange(6):
                case 0:
                    self.background.add(asyncio.create_task(self.late(chance, acting)))
                case 1:
                    self.sio.start_background_task(self.late, chance, acting)
                case _:
                    await acting
        if chance.random() < 0.1:
            await asyncio.to_thread(int)
        self.ended += 1
        return path

    async def late(self, chance, acting):
        """Act in a background task, some turns of the event loop or a thread later."""
        self.began += 1
        for _ in range(chance.randrange(20)):
            await give_way()
        if chance.random() < 0.2:
            await asyncio.to_thread(int)
        await acting
        self.ended += 1

    def acknowledged(self, who, namespace, act, path, budget):
        async def callback(*_):
            await self.handle(who, namespace, act, f"{path}!", budget)

        return callback

    async def server_acts(self, chance, namespace, path, budget):
        """Emit somewhere, or move or remove one client."""
        client = chance.choice(self.clients)
        sid = client.get_sid(namespace)
        there = sid is not None and self.sio.manager.is_connected(sid, namespace)
        where, data = {"namespace": namespace}, (path, budget)
        match chance.randrange(10):
            case 0 | 1:
                await self.sio.emit("go", data, **where)
            case 2:
                await self.sio.emit("go", data, room=chance.choice("ab"), **where)
            case 3:
                await self.sio.emit("go", data, skip_sid=sid, **where)
            case 4 if there:
                callback = self.acknowledged("server", namespace, self.server_acts, path, budget)
                await self.sio.emit("go", data, to=sid, callback=callback, **where)
            case 5 if there:
                await self.sio.enter_room(sid, chance.choice("ab"), **where)
            case 6 if there:
                await self.sio.leave_room(sid, chance.choice("ab"), **where)
            case 7 if there and chance.random() < 0.3 and client not in self.polls:
                # It forgets events that wait for attachments, of other namespaces, too.
                if not self.sio._binary_packet:
                    await self.sio.disconnect(sid, **where)
            case _ if there:
                await self.sio.emit("go", data, to=sid, **where)

    def client_acts(self, client):
        async def act(chance, namespace, path, budget):
            with suppress(socketio.exceptions.BadNamespaceError):
                match chance.randrange(8):
                    case 0 | 1:
                        turn = self.client_acts(client)
                        callback = self.acknowledged(client.name, namespace, turn, path, budget)
                        await client.emit("go", (path, budget), namespace, callback)
                    case 2 if chance.random() < 0.2 and client not in self.polls:
                        await client.disconnect()
                    case 3:
                        await client.emit("nobody listens", path, namespace)
                    case 4:
                        await client.emit("go", (path, budget), namespace)
                        await client.emit("bytes", path.encode(), namespace)
                    case _:
                        await client.emit("go", (path, budget), namespace)

        return act

    def listen(self):
        """Register the handlers: functions in one namespace, classes in the other."""
        scene = self

        async def go(who, namespace, act, path, budget):
            return await self.handle(who, namespace, act, path, budget)

        async def at_server(sid, path, budget):
            return await go("server", "/", self.server_acts, path, budget)

        class Room(socketio.AsyncNamespace):
            async def on_go(self, sid, path, budget):
                return await go("server", "/room", scene.server_acts, path, budget)

            async def on_disconnect(self, sid, reason):
                scene.log.append(("server", "/room", reason))

            def on_bytes(self, sid, data):
                scene.log.append(("server", "/room", data))

            on_echo = staticmethod(echo)

        self.sio.on("go", at_server)
        self.sio.on("bytes", lambda sid, data: self.log.append(("server", "/", data)))
        self.sio.on("disconnect", lambda sid, reason: self.log.append(("server", "/", reason)))
        self.sio.on("echo", echo)
        self.sio.register_namespace(Room("/room"))
        for client in self.clients:
            for namespace in NAMESPACES:

                async def at_client(path, budget, client=client, namespace=namespace):
                    act = self.client_acts(client)
                    return await go(client.name, namespace, act, path, budget)

                def disconnect(reason, client=client, namespace=namespace):
                    self.log.append((client.name, namespace, reason))

                client.on("go", at_client, namespace=namespace)
                client.on("disconnect", disconnect, namespace=namespace)
                client.on("echo", echo, namespace=namespace)

    async def play(self, seed):
        """Run one script; afterwards nothing may be under way."""
        self.seed, self.log[:] = seed, []
        chance = random.Random(seed)
        for client in self.clients:
            if len(client.namespaces) < len(NAMESPACES):
                await client.hang_up()
                await self.stage.settle()
                await client.connect(
                    transports=["polling" if client in self.polls else "websocket"],
                    namespaces=[*NAMESPACES],
                )
        frozen = None
        for i in range(chance.randint(2, 6)):
            namespace, budget = chance.choice(NAMESPACES), chance.randrange(4)
            client = chance.choice(self.clients)
            solid = client.connected and client.transport() == "websocket"
            if solid and frozen is None and chance.random() < 0.05:
                frozen = client
                await self.stage.freeze(client)
            elif solid and client is not frozen and chance.random() < 0.05:
                await self.stage.cut(client)
            elif solid and client is not frozen and chance.random() < 0.05:
                await client.disconnect()
            elif chance.random() < 0.1:
                await self.stage.settle()
            elif chance.random() < 0.5:
                await self.server_acts(chance, namespace, f"s{i}", budget)
            elif client is not frozen:
                await self.client_acts(client)(chance, namespace, f"{client.name}{i}", budget)
        if frozen:
            await self.stage.settle()
            await self.stage.thaw(frozen)
        await self.stage.settle()


@pytest.fixture
async def scene(request, sio, stage, monkeypatch):
    # A polling client takes 16 packets in one answer; with more it breaks its connection.
    monkeypatch.setattr(engineio.payload.Payload, "max_decode_packets", 10_000)
    clients = [await stage.client(name, connect=False) for name in ("ada", "bob", "cy")]
    scene = Scene(sio, stage, clients, polls=clients[2:] if request.param == "polling" else ())
    scene.listen()
    return scene


@pytest.mark.parametrize(
    ("batch", "scene"),
    first(2, ((batch, "polling" if batch % 5 == 2 else "websocket") for batch in range(12))),
    indirect=["scene"],
)
async def test_after_settle_nothing_arrives_any_more(sio, stage, scene, batch):
    """50 random scripts; a failure names the seed. In every fifth batch one client polls."""
    for seed in range(50 * batch, 50 * batch + 50):
        try:
            await scene.play(seed)
        except NotSettled as error:
            pytest.fail(f"seed {seed}: {error}")
        assert scene.began == scene.ended, f"seed {seed}: a handler still runs"
        for client in scene.clients:  # both sides agree on who is there
            for namespace in NAMESPACES:
                inside = namespace in client.namespaces
                assert stage.connected(client, namespace) == inside, f"seed {seed}: {client}"
        assert await later(sio, scene.clients, scene.log, rounds=2) == [], f"seed {seed}"


@pytest.mark.parametrize("scene", ["websocket", "polling"], indirect=True)
async def test_after_settle_no_message_is_said_to_be_on_its_way(stage, scene):
    for seed in range(50):
        await scene.play(seed)
        waiting = [
            (seed, name, message.emitted)
            for message in stage.deliveries().messages
            for name, verdict in message.explanations.items()
            if verdict.reason in (Reason.ON_THE_WAY, Reason.FROZEN)
        ]
        assert not waiting


# -- the parts ----------------------------------------------------------------------------------


async def test_activity_is_quiet_when_all_that_began_has_ended():
    activity = Activity()
    activity.begin(("packet", "ada", ""), 2)
    activity.begin(("handler", "server", "news"))
    waiting = asyncio.create_task(activity.quiet(within=5))
    activity.end(("packet", "ada", ""), 2)
    with pytest.raises(NotSettled, match=r"^not settled after 0 s: .*server.*'news'"):
        await activity.quiet(within=0)
    assert not waiting.done()
    activity.end(("handler", "server", "news"))
    await waiting
    assert activity.counts == {}
    await activity.quiet(within=0)


async def test_activity_stays_busy_if_the_first_that_is_woken_begins_something():
    activity, work = Activity(), ("packet", "ada", "")
    activity.begin(work)

    async def again():
        await activity.quiet(within=5)
        activity.begin(work)

    first = asyncio.create_task(again())
    second = asyncio.create_task(activity.quiet(within=5))
    with pytest.raises(NotSettled):
        await activity.quiet(within=0)  # also lets the two begin to wait
    activity.end(work)
    await first
    with pytest.raises(NotSettled):
        await activity.quiet(within=0)
    assert not second.done()
    activity.end(work)
    await second


def test_activity_says_what_is_under_way():
    activity = Activity()
    assert activity.describe() == "nothing"
    activity.begin(("goodbye", "cy", ""))
    activity.begin(("packet", "ada", ""), 2)
    activity.begin(("packet", "bob", ""))
    assert activity.describe().startswith("cy: one side has hung up")
    assert "2 packets are on the way to ada" in activity.describe()
    assert "1 packet is on the way to bob" in activity.describe()


class Changes:
    """Something that can be listened to."""

    def __init__(self):
        self.listeners = []

    def listen(self, listener):
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


async def test_wait_for_asks_again_after_each_change_and_then_stops_listening():
    changes, values = Changes(), iter([False, False, True])
    waiting = asyncio.create_task(wait_for(lambda: next(values), changes.listen, "it", 5))
    asked = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(asked.set_result, None)
    await asked
    assert len(changes.listeners) == 1
    changes.listeners[0]()
    await waiting
    assert changes.listeners == []
    assert next(values, "used up") == "used up"


async def test_wait_for_a_true_condition_does_not_listen():
    await wait_for(lambda: True, None, "it", within=0)


async def test_waiting_in_vain_names_what_for_and_stops_listening():
    changes = Changes()
    with pytest.raises(NotSettled, match=r"^waited 0.01 s in vain for the moon$"):
        await wait_for(lambda: False, changes.listen, "the moon", 0.01)
    assert changes.listeners == []


async def test_until_may_ask_about_what_is_yet_to_come(sio, stage):
    async def later():
        await set_within(asyncio.Event(), 0.05)
        await sio.emit("news")

    ada = await stage.client("ada")
    ada.on("news", echo)
    LOOSE.add(asyncio.create_task(later()))
    await stage.until(lambda: stage.deliveries().who_got("news") == {"ada"}, "the news", within=5)
    with pytest.raises(NotSettled, match="in vain for more") as told:
        await stage.until(lambda: stage.deliveries().got_once("ada", "more"), "more", within=0.1)
    assert "no message 'more' in this table" in str(told.value.__cause__)
    with pytest.raises(KeyError, match="misspelt"):  # a mistake is told at once
        await stage.until(lambda: {}["misspelt"], within=60)


async def test_until_sees_what_no_fact_goes_with(sio, stage, tmp_path):
    ada, heard = await stage.client("ada"), []
    there = tmp_path / "there"

    @ada.on("news")
    async def news(text):
        await asyncio.to_thread(int)
        heard.append(text)
        asyncio.get_running_loop().call_later(0.02, there.touch)

    await sio.emit("news", "hello")
    await stage.until(lambda: heard, "the handler", within=2)
    await stage.until(there.exists, "the file", within=2)


@pytest.mark.parametrize("seen", ["client", "handler", "server"])
async def test_a_reconnection_is_complete_when_it_has_settled(sio, stage, seen):
    """Cut off, it comes back by itself; whatever says so first, settling waits for the rest."""
    back = []
    sio.on("hello", lambda sid: "hello")
    ada = await stage.client("ada", reconnection=True)
    ada.reconnection_delay = 0.01

    @ada.event
    async def connect():
        await asyncio.to_thread(int)
        back.append("back")

    await stage.cut(ada)
    await stage.settle()
    conditions = {
        "client": lambda: ada.connected,
        "handler": lambda: back,
        "server": lambda: stage.connected("ada"),
    }
    await stage.until(conditions[seen], seen)
    await stage.settle()
    assert ada.connected
    assert stage.connected("ada")
    assert back == ["back"]
    await stage.freeze(ada)
    await stage.thaw(ada)
    assert await ada.call("hello", timeout=5) == "hello"


async def test_until_is_asked_after_every_fact(sio, stage):
    await stage.client("ada")
    joining = asyncio.create_task(stage.until(lambda: stage.connected("bob"), "bob", within=5))
    await stage.client("bob")
    await joining
    with pytest.raises(NotSettled, match="in vain for cy"):
        await stage.until(lambda: stage.connected("cy"), "cy", within=0.01)
