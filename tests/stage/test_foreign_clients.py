"""Other people's clients, the official `socket.io-client` under Node, on our stages and lessons."""

import asyncio
import os
import re
import signal

import pytest
from foreign_client import PeerError, mentioning, peer
from lesson_server import cells, lesson, served
from socketio.exceptions import ConnectionRefusedError

from chatq import NotSettled, Reason, Stage
from chatq.journal.facts import Connected, Disconnected, Joined, Left, Rejected

LESSON = "01-the-phone-call"
CHAT = "chat message"


@pytest.fixture
async def node():
    async with peer() as one:
        yield one


def facts(stage, *kinds):
    return [fact for fact in stage.journal if isinstance(fact, kinds)]


# -- the other side itself ----------------------------------------------------------------------


@pytest.mark.needs("node", "chromium", "linux")
async def test_a_peer_leaves_no_process_behind_when_a_test_fails():
    async def failing(seen):
        async with peer() as one:
            await one.open("page", "data:text/html,<title>hello</title>")
            seen += [one.process.pid, await one.do("scratch")]  # the browser's profile is in there
            assert mentioning(seen[1])
            raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        await failing(seen)
    pid, scratch = seen
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert mentioning(scratch) == []
    with pytest.raises(FileNotFoundError):
        os.stat(scratch)


@pytest.mark.needs("node")
async def test_a_wait_in_vain_says_what_was_pending(stage, node):
    await node.connect("eve", stage.url)
    with pytest.raises(PeerError, match=r"waited 50 ms in vain for 2 of news at eve; arr"):
        await node.do("wait", who="eve", event="news", count=2, within=50)
    with pytest.raises(PeerError, match="no socket is called zed"):
        await node.do("emit", who="zed", event="x")


@pytest.mark.needs("node")
async def test_a_peer_that_dies_is_told_of(node):
    waiting = asyncio.create_task(node.do("wait", who="eve", event="x"))
    os.kill(node.process.pid, signal.SIGKILL)
    with pytest.raises(PeerError):
        await waiting


# -- the lesson's own server --------------------------------------------------------------------


def test_a_lesson_runs_up_to_the_cell_that_closes():
    code = "\n".join(cells(LESSON))
    assert "Stage.open" in code
    assert ".close()" not in code
    with pytest.raises(LookupError, match="no cell of 01-the-phone-call matches"):
        cells(LESSON, "no such text")


async def test_a_lesson_closes_its_stage_when_a_test_fails():
    async def failing(seen):
        async with lesson(LESSON) as names:
            seen.append(names["stage"])
            assert seen[0].connected("ada")
            raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        await failing(seen)
    assert repr(seen[0]).startswith("<Stage: closed")


@pytest.mark.needs("node")
async def test_node_and_python_chat_on_the_server_of_lesson_01(node):
    async with lesson(LESSON) as names:
        stage, ada = names["stage"], names["ada"]
        await node.connect("eve", stage.url, query={"name": "eve"})
        assert await node.do("ask", who="eve", event=CHAT, args=["hello"]) == []
        await stage.settle()
        assert stage.reason("ada", CHAT) is Reason.RECEIVED
        await ada.emit(CHAT, "hello yourself")
        assert await node.do("wait", who="eve", event=CHAT, count=2) == [
            ["hello"],
            ["hello yourself"],
        ]
        await stage.settle()
        assert stage.why("eve", CHAT) == (
            f"{CHAT!r} was sent to eve; whether it arrived, only eve knows."
        )
        row = repr(stage.deliveries(CHAT, last=1)).splitlines()[2]
        assert row.split("  ")[-1].strip() == "✓ sent"
        [asked] = [m for m in stage.deliveries(CHAT).messages if m.emitted.sender == "eve"]
        assert asked.explanations["server"].reason is Reason.RECEIVED
        assert "eve connects" in repr(stage.diagram())


@pytest.mark.needs("node")
async def test_a_client_finds_the_lessons_server_again_after_it_was_killed(node):
    async with served(LESSON) as server:
        quick = {"reconnectionDelay": 50, "reconnectionDelayMax": 200}
        await node.connect("eve", server.url, **quick)
        await node.do("ask", who="eve", event=CHAT, args=["before"])
        await server.kill()
        [[reason]] = await node.do("wait", who="eve", event="(disconnect)")
        assert reason in ("transport close", "transport error")
        await node.do("emit", who="eve", event=CHAT, args=["meanwhile"])  # its own buffer keeps it
        await server.start()
        await node.do("wait", who="eve", event="(connect)", count=2)
        said = await node.do("wait", who="eve", event=CHAT, count=2)
        assert said == [["before"], ["meanwhile"]]
    assert [line for line in server.lines if "hears" in line] == [
        "the server hears: before",
        "the server hears: meanwhile",
    ]


# -- names --------------------------------------------------------------------------------------


@pytest.mark.needs("node")
async def test_guests_are_called_as_they_say_or_in_order_of_arrival(stage, node):
    await node.connect("a", stage.url)
    await node.connect("b", stage.url, transports=["polling"])
    await node.connect("c", stage.url, query={"name": "eve"})
    await node.connect("d", stage.url, query={"name": "eve"})  # the first is still there
    assert [fact.client for fact in facts(stage, Connected)] == [
        "guest 1",
        "guest 2",
        "eve",
        "guest 4",
    ]


@pytest.mark.needs("node")
async def test_a_guest_that_comes_back_has_its_name_back(sio, stage, node):
    await node.connect("first", stage.url, query={"name": "eve"})
    await node.do("disconnect", who="first")
    await stage.until(lambda: not stage.connected("eve"), "eve to leave")
    await stage.settle()
    await sio.emit("news", 1)
    assert stage.reason("eve", "news") is Reason.LEFT
    await node.connect("second", stage.url, query={"name": "eve"})
    await sio.emit("news", 2)
    assert await node.do("wait", who="second", event="news") == [[2]]
    assert stage.reason("eve", "news") is Reason.SENT
    assert repr(stage) == "<Stage: open, clients: eve>"


# -- rooms and namespaces -----------------------------------------------------------------------


@pytest.mark.needs("node")
async def test_rooms(sio, stage, node):
    @sio.event
    async def join(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def leave(sid, room):
        await sio.leave_room(sid, room)

    for name in ("eve", "zed"):
        await node.connect(name, stage.url, query={"name": name})
    await node.do("ask", who="eve", event="join", args=["kitchen"])
    await sio.emit("news", 1, room="kitchen")
    await sio.emit("end")
    await node.do("wait", who="zed", event="end")
    assert await node.do("wait", who="eve", event="news") == [[1]]
    assert "news" not in [one["event"] for one in await node.do("arrived", who="zed")]
    assert stage.reason("eve", "news") is Reason.SENT
    assert stage.why("zed", "news") == "zed did not get 'news': it was not in room 'kitchen'."

    await node.do("ask", who="eve", event="leave", args=["kitchen"])
    await sio.emit("news", 2, room="kitchen")
    assert stage.why("eve", "news").startswith("eve did not get 'news': it had left room 'kitchen'")

    await node.do("ask", who="zed", event="join", args=["hall"])
    await node.do("disconnect", who="zed")
    await stage.until(lambda: not stage.connected("zed"), "zed to leave")
    await stage.settle()
    assert facts(stage, Joined, Left, Disconnected) == [
        Joined("eve", "/", "kitchen"),
        Left("eve", "/", "kitchen"),
        Joined("zed", "/", "hall"),
        Disconnected("zed", "/", "client disconnect"),
        Left("zed", "/", "hall", gone=True),
    ]


@pytest.mark.needs("node")
async def test_a_namespace_lets_in_whom_it_knows_and_tells_the_others_why(sio, stage, node):
    @sio.on("connect", namespace="/staff")
    def gate(sid, environ, auth):
        if auth != {"token": "open sesame"}:
            raise ConnectionRefusedError("staff only", {"ask": "ada"})

    await node.connect("eve", stage.url, query={"name": "eve"})
    good = {"namespace": "/staff", "auth": {"token": "open sesame"}}
    assert (await node.connect("eve's", stage.url, on="eve", **good))["connected"]
    answer = await node.connect("zed", stage.url, namespace="/staff", query={"name": "zed"})
    assert answer == {"connected": False, "reason": "staff only", "data": {"ask": "ada"}}
    await sio.emit("memo", "psst", namespace="/staff")
    assert await node.do("wait", who="eve's", event="memo") == [["psst"]]
    assert stage.connected("eve", "/staff")
    assert facts(stage, Rejected) == [Rejected("zed", "/staff", "staff only")]
    assert stage.reason("eve", "memo") is Reason.SENT
    assert stage.why("zed", "memo") == "zed did not get 'memo': /staff had refused it (staff only)."
    assert [fact for fact in facts(stage, Connected) if fact.client == "eve"] == [
        Connected("eve", "/"),
        Connected("eve", "/staff"),
    ]
    assert await node.do("arrived", who="zed") == []


# -- what is said -------------------------------------------------------------------------------


@pytest.mark.needs("node")
@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_acknowledgements_and_binary_data_both_ways(sio, stage, node, transports):
    sent = {"picture": bytes(range(256)), "tags": ["a", b"\0\xff", 1.5, None, "ü"]}

    @sio.event
    async def mirror(sid, data, more):
        assert type(data["picture"]) is bytes
        return data, more

    options = {"query": {"name": "eve"}, "transports": transports}
    sid = (await node.connect("eve", stage.url, answers={"ask": [sent, 2]}, **options))["sid"]
    assert await node.do("transport", who="eve", name=transports[-1]) == transports[-1]
    assert await node.do("ask", who="eve", event="mirror", args=[sent, 7]) == [sent, 7]
    assert await sio.call("ask", sent, to=sid, timeout=5) == (sent, 2)
    assert (await node.do("wait", who="eve", event="ask")) == [[sent]]
    await stage.settle()
    assert "<256 bytes>" in repr(stage.deliveries("mirror"))
    assert "✓ sent, ack {" in repr(stage.deliveries("ask"))
    assert stage.reason("server", "mirror") is Reason.RECEIVED


@pytest.mark.needs("node")
async def test_what_is_said_during_the_change_of_transport_arrives_once_and_in_order(
    sio, stage, node
):
    heard = []
    sio.on("say", lambda sid, number: heard.append(number))
    await node.connect("eve", stage.url, query={"name": "eve"})
    for number in range(100):
        await node.do("emit", who="eve", event="say", args=[number])
        await sio.emit("news", number)
    await node.do("transport", who="eve", name="websocket")
    assert await node.do("wait", who="eve", event="news", count=100) == [[n] for n in range(100)]
    await stage.until(lambda: len(heard) == 100, "all that eve said")
    await stage.settle()
    assert heard == [*range(100)]
    said = [m.emitted.data for m in stage.deliveries("say").messages]
    assert said == [str(number) for number in range(100)]


# -- quiet, and the end -------------------------------------------------------------------------


@pytest.mark.needs("node")
async def test_settle_waits_for_what_a_guest_has_begun(sio, stage, node):
    [ada] = await stage.clients("ada")
    ada.on("news", lambda text: None)
    begun, go_on = asyncio.Event(), asyncio.Event()

    @sio.event
    async def think(sid, text):
        begun.set()
        await go_on.wait()
        await sio.emit("news", text)

    await node.connect("eve", stage.url, query={"name": "eve"})
    answer = asyncio.create_task(node.do("ask", who="eve", event="think", args=["hm"]))
    await begun.wait()
    with pytest.raises(NotSettled, match=re.escape("server: the handler of 'think'")):
        await stage.settle(within=0.05)
    go_on.set()
    await stage.settle()
    assert stage.reason("ada", "news") is Reason.RECEIVED
    assert await answer == []


@pytest.mark.needs("node")
async def test_a_guest_whose_process_dies_was_cut_off(sio, stage):
    async with peer() as node:
        await node.connect("eve", stage.url, query={"name": "eve"}, transports=["websocket"])
        os.kill(node.process.pid, signal.SIGKILL)
        await stage.until(lambda: not stage.connected("eve"), "the server to notice")
        await stage.settle()
    await sio.emit("news", 1)
    assert stage.reason("eve", "news") is Reason.CUT_OFF


@pytest.mark.needs("node")
async def test_closing_with_clients_under_node_is_quick_and_leaves_no_task(sio, node):
    tasks = asyncio.all_tasks()
    stage = await Stage.open(sio)
    await node.connect("a", stage.url, transports=["websocket"])
    await node.connect("b", stage.url, transports=["polling"])
    await node.connect("c", stage.url)
    async with asyncio.timeout(2):
        await stage.close()
    assert asyncio.all_tasks() == tasks
