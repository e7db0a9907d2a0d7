"""The hub as its users meet it: a process, its arguments, its first line, its end; its protocol."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import hubs
import pytest
import socketio
from hubs import Hub, Inbox
from sizes import first

from chatq import Queues
from chatq.__main__ import main
from chatq.internals.hub_server import BUFFER
from chatq.queues import service
from chatq.queues.error_codes import CODES


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One hub for the tests that change nothing but queues of their own."""
    with hubs.hub(folder=tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
async def clients(shared):
    """Connected clients of the shared hub: `await clients()` gives one more."""
    made: list[socketio.AsyncClient] = []

    async def connect(**options: Any) -> socketio.AsyncClient:
        made.append(await shared.client(**options))
        return made[-1]

    yield connect
    for client in made:
        await client.disconnect()


@pytest.fixture
def queue(request):
    return request.node.name[:100]


def code(answer: dict[str, Any]) -> str:
    assert answer.keys() == {"error"}, answer
    assert answer["error"].keys() == {"code", "message"}
    assert answer["error"]["code"] in CODES
    assert answer["error"]["message"]
    return str(answer["error"]["code"])


# -- the process --------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["/caps", "/", "/shop/1"])
async def test_the_first_line_says_where_it_listens(namespace: str, tmp_path: Path) -> None:
    with hubs.hub("--namespace", namespace, folder=tmp_path) as hub:
        assert hub.line == f"chatq hub listening on http://127.0.0.1:{hub.port}{namespace}\n"
        client = await hub.client()
        assert "id" in await hub.call(client, "publish", {"queue": "q", "event": "e"})
        await client.disconnect()


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a hub that cannot be, here; return its status and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        if "--port" not in arguments:
            arguments = ("--port", "0", *arguments)
        try:
            status = main(["serve", *arguments])
        except SystemExit as exit:
            status = exit.code
        out, error = capsys.readouterr()
        assert out == ""
        return status, error

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "x"], "a port is a number from 0 to 65535, not 'x'"),
        (["--port", "65536"], "a port is a number"),
        (["--port", "-1"], "a port is a number"),
        (["--namespace", "caps"], "a namespace is like /caps, not 'caps'"),
        (["--namespace", "/a,b"], "a namespace is like /caps"),
        (
            ["--dialect", "other"],
            "--dialect: other: No such file or directory; there is also: caps",
        ),
        (["--learn"], "--learn is about the words of a --dialect"),
        (["--token", ""], "a token that is empty"),
        (
            ["--store", "redis://x"],
            'kept at "sqlite:///FILE", "memory:" or "nats://HOST", not at \'redis://x\'',
        ),
        (["--store", "sqlite:///"], "kept at"),
        (["--store", "my.db"], "not at 'my.db': did you mean \"sqlite:///my.db\"?"),
        (["--host", "0.0.0.0"], "give a --token"),
        (["--host", "::"], "give a --token"),
        (["--host", ""], "give a --token"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], said: str, refused) -> None:
    status, error = refused(*arguments)
    assert (status, said in error) == (2, True), error


def test_a_port_that_is_taken(refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, error = refused("--port", str(port))
    assert status == 1
    assert error == f"chatq serve: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_host_that_is_not_here(refused) -> None:
    status, error = refused("--host", "192.0.2.1", "--token", "x")
    assert status == 1
    assert error.startswith("chatq serve: cannot listen on 192.0.2.1 port 0: ")
    assert error.count("\n") == 1


def test_a_store_that_is_in_use(shared: Hub, refused) -> None:
    status, error = refused("--store", f"sqlite:///{shared.folder / 'hub.db'}")
    assert (status, error.count("\n")) == (1, 1)
    assert "is in use by another process" in error


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("newer", "was written by a newer chatq"),
        ("damaged", "is damaged or not an SQLite file"),
        ("other", "is a database of another program"),
        ("folder", "hub.db: it is a folder: give a file in it"),
        ("nowhere", "there is no folder "),
        ("outbox", "hub.db holds an outbox, not queues: give another file; it was left as it is"),
    ],
)
def test_a_store_that_cannot_be_opened(what: str, said: str, tmp_path: Path, refused) -> None:
    file = tmp_path / "hub.db"
    if what == "newer":
        hubs.end(hubs.Hub(folder=tmp_path).process)
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    elif what == "damaged":
        file.write_bytes(b"no database" * 1000)
    elif what == "other":
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE t (x)")
        db.close()
    elif what == "folder":
        file.mkdir()
    elif what == "outbox":
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA application_id = 0x63686f62")
        db.close()
    else:
        file = tmp_path / "no" / "hub.db"
    before = file.read_bytes() if file.is_file() else None
    status, error = refused("--store", f"sqlite:///{file}")
    assert (status, error.count("\n"), said in error) == (1, 1, True), error
    assert before == (file.read_bytes() if file.is_file() else None)


def test_a_store_that_the_labs_dialect_cannot_read(tmp_path: Path, refused) -> None:
    file = tmp_path / "hub.db"

    async def fill() -> None:
        async with await Queues.open(f"sqlite:///{file}") as queues:
            orders = [queues.message("pickup", "x" * 10_000, to="caps drivers") for _ in range(50)]
            await queues.emit_many(orders)

    asyncio.run(fill())
    with file.open("r+b") as damaged:  # some pages in the middle: it can be opened
        damaged.seek(25 * 4096)
        damaged.write(b"\xff" * 50 * 4096)
    status, error = refused("--dialect", "caps", "--store", f"sqlite:///{file}")
    assert (status, error.count("\n"), "does nothing more" in error) == (1, 1, True), error


def test_a_process_says_the_same(tmp_path: Path) -> None:
    process = hubs.spawn("--host", "0.0.0.0", folder=tmp_path, stderr=subprocess.PIPE)
    with hubs.deadline(process):
        out, error = process.communicate()
    assert (process.returncode, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("chatq serve: 0.0.0.0 can be reached from other machines: ")


def test_help_says_what_there_is(capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["serve", "--help"])
    out = capsys.readouterr().out
    assert exit.value.code == 0
    for option in ("--host", "--port", "--namespace", "--store", "--dialect", "--learn", "--token"):
        assert option in out


@pytest.mark.parametrize(
    ("number", "dialect"),
    first(
        2,
        [
            (signal.SIGTERM, []),
            (signal.SIGINT, ["--dialect", "caps"]),
            (signal.SIGTERM, ["--dialect", "caps"]),
            (signal.SIGINT, []),
        ],
    ),
)
async def test_a_signal_ends_it_within_two_seconds(
    number: int, dialect: list[str], tmp_path: Path
) -> None:
    with hubs.hub(*dialect, folder=tmp_path) as hub:
        event, data = ("join", '"drivers"') if dialect else ("subscribe", '{"queue": "q"}')
        with (
            hubs.frozen(hub, event, data, "websocket"),
            hubs.frozen(hub, event, data, "polling"),
        ):
            web = await hub.client()
            poll = await hub.client(transports=["polling"])
            for client in (web, poll):
                await hub.call(client, event, json.loads(data))
            order = {"store": "s", "orderId": 1, "much": "x" * 800_000}
            for n in range(16):
                if dialect:
                    await hub.call(web, "pickup", {**order, "orderId": n})
                else:
                    message = {"queue": "q", "event": "e", "data": order}
                    assert "id" in await hub.call(web, "publish", message)
            took = await hub.stop(number)
            assert took < 2.0
            assert hub.process.stdout.read() == ""
            assert "warning" not in hub.log
            assert "error" not in hub.log
            await asyncio.gather(web.disconnect(), poll.disconnect())
    with sqlite3.connect(tmp_path / "hub.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_sigkill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    answered: list[tuple[int, str]] = []
    with hubs.hub(folder=tmp_path) as hub:
        client = await hub.client()

        async def produce(n: int) -> None:
            message = {"queue": "q", "event": "e", "data": n}
            answered.append((n, (await hub.call(client, "publish", message))["id"]))
            if len(answered) == 200:
                hub.process.kill()

        tasks = [asyncio.create_task(produce(n)) for n in range(500)]
        await asyncio.to_thread(hub.process.wait, hubs.DEADLINE)
        await client.disconnect()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(answered) >= 200
    with hubs.hub(folder=tmp_path) as hub:
        client = await hub.client()
        inbox = Inbox(client, hub.namespace, answer=True)
        await hub.call(client, "subscribe", {"queue": "q"})
        wanted = {id for _, id in answered}
        await inbox.until(lambda: wanted <= {a[1]["id"] for _, a in inbox.events})
        kept = {(a[0], a[1]["id"]) for _, a in inbox.events}
        assert kept >= set(answered)
        assert all(a[1]["attempt"] == 1 for _, a in inbox.events)
        await client.disconnect()


# -- the token ----------------------------------------------------------------------------------


async def test_only_those_who_know_the_token_come_in(tmp_path: Path) -> None:
    secret = "open sesame ✓"
    with hubs.hub("--host", "0.0.0.0", "--token", secret, folder=tmp_path) as hub:
        assert hub.url.startswith("http://0.0.0.0:")
        hub.url = f"http://127.0.0.1:{hub.port}"
        for auth in [None, {}, {"token": "no"}, {"token": 5}, {"token": None}, "open", [secret]]:
            stranger = socketio.AsyncClient(reconnection=False)
            reasons: list[Any] = []
            stranger.on("connect_error", reasons.append, namespace=hub.namespace)
            with pytest.raises(socketio.exceptions.ConnectionError):
                await hub.join(stranger, auth=auth)
            assert "token: connect with auth: {token: …}" in reasons[0]["message"]
            assert code(reasons[0]["data"]) == "forbidden"
        client = await hub.client(auth={"token": secret})
        assert "id" in await hub.call(client, "publish", {"queue": "q", "event": "e"})
        await client.disconnect()
        assert hub.log.count("refused a client at 127.0.0.1: ") == 7
        assert "sesame" not in hub.log


# -- the protocol -------------------------------------------------------------------------------


async def test_a_message_is_delivered_with_what_is_needed_to_answer(shared, clients, queue) -> None:
    producer, consumer = await clients(), await clients()
    inbox = Inbox(consumer, shared.namespace)
    before = await shared.call(consumer, "subscribe", {"queue": queue})
    assert before == {"queue": queue, "ready": 0, "leased": 0, "dead": 0}
    data = {"store": "1-206-flowers", "bytes": b"\x00\xff", "ünï": ["⚘", None, 1.5]}
    answer = await shared.call(producer, "publish", {"queue": queue, "event": "hi", "data": data})
    await inbox.until(1)
    (event, (got, delivery)) = inbox.events[0]
    assert (event, got) == ("hi", data)
    receipt = delivery.pop("receipt")
    assert delivery == {**answer, "queue": queue, "attempt": 1, "redelivered": False}
    leased = await shared.call(producer, "stats", {"queue": queue})
    assert (leased["ready"], leased["leased"], leased["dead"]) == (0, 1, 0)
    # A receipt settles once, and only for the client that the message is out to.
    assert await shared.call(producer, "received", {"receipt": receipt}) == {"ok": False}
    assert await shared.call(producer, "failed", {"receipt": receipt}) == {"ok": False}
    assert await shared.call(consumer, "received", {"receipt": receipt}) == {"ok": True}
    assert await shared.call(consumer, "received", {"receipt": receipt}) == {"ok": False}
    assert await shared.call(consumer, "failed", {"receipt": receipt}) == {"ok": False}
    assert (await shared.call(producer, "stats", {"queue": queue}))["leased"] == 0


async def test_data_that_looks_like_a_place_holder_is_data(shared, clients, queue) -> None:
    """A place-holder of bytes, that is: it is not taken for one, nor does it stop others."""
    client = await clients()
    inbox = Inbox(client, shared.namespace, answer=True)
    await shared.call(client, "subscribe", {"queue": queue})
    stored = [{"_chatq_bytes": 5}, {"bytes": 0}, {"b": 0}, {"bytes-": 9}]
    for data in [{"raw": b"x", "more": stored}, stored, "after"]:
        await shared.call(client, "publish", {"queue": queue, "event": "e", "data": data})
    await inbox.until(3)
    assert inbox.data == [{"raw": b"x", "more": stored}, stored, "after"]


async def test_many_receipts_at_once(shared, clients, queue) -> None:
    client, other = await clients(), await clients()
    inbox = Inbox(client, shared.namespace)
    await shared.call(client, "subscribe", {"queue": queue})
    messages = [{"queue": queue, "event": "e", "data": n} for n in range(5)]
    assert len((await shared.call(client, "publish", {"messages": messages}))["ids"]) == 5
    await inbox.until(5)
    assert inbox.data == [0, 1, 2, 3, 4]
    receipts = inbox.receipts
    assert await shared.call(other, "received", {"receipts": receipts}) == {"ok": False}
    assert await shared.call(client, "received", {"receipts": receipts[:3]}) == {"ok": True}
    assert await shared.call(client, "received", {"receipts": [*receipts, 5, "x"]}) == {"ok": False}
    stats = await shared.call(client, "stats", {"queue": queue})
    assert (stats["ready"], stats["leased"]) == (0, 0)


async def test_frames(shared, clients, queue) -> None:
    client = await clients()
    inbox = Inbox(client, shared.namespace)
    messages = [{"queue": queue, "event": "e", "data": n} for n in range(20)]
    await shared.call(client, "publish", {"messages": messages})
    await shared.call(client, "subscribe", {"queue": queue, "window": 20, "frame": 8})
    await inbox.until(3)
    assert {event for event, _ in inbox.events} == {"deliveries"}
    frames = [json.loads(frame) for frame in inbox.data]
    flat = [one for frame in frames for one in frame]
    assert [len(frame) for frame in frames] == [8, 8, 4]
    # Who asks for frames may keep them waiting, and has to know for how long.
    asked = {"queue": queue, "window": 20}
    nothing = {"queue": queue, "ready": 0, "leased": 20, "dead": 0}
    assert await shared.call(client, "subscribe", asked) == nothing
    framed = {**nothing, "lease": 30.0}
    assert await shared.call(client, "subscribe", {**asked, "frame": 8}) == framed
    assert [(event, data) for event, data, _ in flat] == [("e", n) for n in range(20)]
    receipts = [delivery["receipt"] for _, _, delivery in flat]
    assert await shared.call(client, "received", {"receipts": receipts}) == {"ok": True}


async def test_a_batch_is_stored_as_a_whole_or_not_at_all(shared, clients, queue) -> None:
    client = await clients()
    good = {"queue": [queue, queue + "2"], "event": "e", "data": 1, "key": "k"}
    single = {"queue": queue, "event": "e", "ttl": 60}
    for bad in [
        {},
        {"queue": queue},
        {"queue": queue, "event": "e", "datum": 1},
        {"queue": queue, "event": "e", "data": "x" * 900_000},
        {"queue": "", "event": "e"},
        {"queue": queue, "event": "e", "ttl": 0},
        {"queue": queue, "event": "e", "delay": 0},
        {"queue": queue, "event": "e", "ttl": 5, "delay": 6},
        {"queue": queue, "event": "connect"},
        "text",
        None,
    ]:
        answer = await shared.call(client, "publish", {"messages": [good, bad]})
        assert code(answer) == (
            "too_large" if isinstance(bad, dict) and len(bad.get("data", "")) > 9 else "malformed"
        )
        assert answer["error"]["message"].startswith("messages[1], and so none was stored: ")
    assert code(await shared.call(client, "stats", {"queue": queue})) == "unknown_queue"
    ids = (await shared.call(client, "publish", {"messages": [good, single, good]}))["ids"]
    assert ids[0] == ids[2]
    assert len(ids[0]) == 2
    assert isinstance(ids[1], str)
    assert (await shared.call(client, "stats", {"queue": queue}))["ready"] == 2
    for bad in [[], {}, "x", [good] * (service.BATCH + 1)]:
        assert code(await shared.call(client, "publish", {"messages": bad})) == "malformed"
    both = {"messages": [good], "queue": queue}
    assert code(await shared.call(client, "publish", both)) == "malformed"


async def test_consumers_compete_and_queues_fan_out(shared, clients, queue) -> None:
    one, two, all_of = await clients(), await clients(), await clients()
    inboxes = [Inbox(client, shared.namespace, answer=True) for client in (one, two, all_of)]
    for client in (one, two):
        await shared.call(client, "subscribe", {"queue": queue, "window": 2})
    await shared.call(all_of, "subscribe", {"queue": queue + " copy"})
    for n in range(40):
        message = {"queue": [queue, queue + " copy"], "event": "e", "data": n}
        assert len((await shared.call(one, "publish", message))["ids"]) == 2
    await inboxes[2].until(40)
    until = time.monotonic() + hubs.DEADLINE
    while time.monotonic() < until:
        stats = await shared.call(one, "stats", {"queue": queue})
        if not stats["ready"] + stats["leased"]:
            break
    assert sorted(inboxes[0].data + inboxes[1].data) == [*range(40)]
    assert inboxes[0].data
    assert inboxes[1].data
    assert inboxes[2].data == [*range(40)]


async def test_a_publish_needs_no_data(shared, clients, queue) -> None:
    client = await clients()
    inbox = Inbox(client, shared.namespace)
    one = {"queue": queue, "event": "e"}
    none = {"key": None, "ttl": None, "delay": None}
    assert "id" in await shared.call(client, "publish", {**one, **none})
    assert "ids" in await shared.call(client, "publish", {"messages": [one]})
    await shared.call(client, "subscribe", {"queue": queue})
    await inbox.until(2)
    assert inbox.data == [None, None]


async def test_a_key_makes_publishing_idempotent(shared, clients, queue) -> None:
    client = await clients()
    message = {"queue": queue, "event": "e", "data": 1, "key": "order-17"}
    first = await shared.call(client, "publish", message)
    assert await shared.call(client, "publish", {**message, "data": 2}) == first
    assert (await shared.call(client, "stats", {"queue": queue}))["ready"] == 1


async def test_a_message_with_a_delay_is_delivered_when_that_is_over(
    shared, clients, queue
) -> None:
    client = await clients()
    inbox = Inbox(client, shared.namespace)
    await shared.call(client, "subscribe", {"queue": queue})
    late = {"queue": queue, "event": "late", "data": 1, "delay": 0.3}
    began = time.monotonic()
    await shared.call(client, "publish", {"messages": [late, {**late, "delay": 3600}]})
    await shared.call(client, "publish", {"queue": queue, "event": "soon", "data": 2})
    await inbox.until(2)
    assert time.monotonic() - began >= 0.29
    assert [event for event, *_ in inbox.events] == ["soon", "late"]
    assert (await shared.call(client, "stats", {"queue": queue}))["delayed"] == 1


async def test_what_expires_and_what_fails_is_dead_until_it_is_redriven(
    shared, clients, queue
) -> None:
    client = await clients()
    inbox = Inbox(client, shared.namespace)
    message = {"queue": queue, "event": "old", "data": {"n": 1}, "ttl": 0.001}
    id = (await shared.call(client, "publish", message))["id"]
    await shared.call(client, "subscribe", {"queue": queue})
    dead = (await shared.call(client, "dead", {"queue": queue}))["dead"]
    until = time.monotonic() + hubs.DEADLINE
    while not dead and time.monotonic() < until:
        dead = (await shared.call(client, "dead", {"queue": queue}))["dead"]
    assert [(d["id"], d["event"], d["data"], d["reason"]) for d in dead] == [
        (id, "old", {"n": 1}, "expired")
    ]
    assert not inbox.events
    assert (await shared.call(client, "stats", {"queue": queue}))["dead"] == 1
    assert await shared.call(client, "redrive", {"queue": queue, "ids": ["x"]}) == {
        "queue": queue,
        "redriven": 0,
        "missing": ["x"],
    }
    redriven = await shared.call(client, "redrive", {"queue": queue, "ids": [id]})
    assert redriven["redriven"] == 1
    await inbox.until(1)
    delivery = inbox.events[0][1][1]
    assert (delivery["id"], delivery["attempt"], delivery["redelivered"]) == (id, 1, False)
    # It fails until it is dead, and says why; a lone surrogate in the reason is no matter.
    for attempt in range(5):
        await inbox.until(attempt + 1)
        receipt = inbox.receipts[attempt]
        request = {"receipt": receipt, "reason": "no \ud800 such street", "delay": 0}
        assert await shared.call(client, "failed", request) == {"ok": True}
    dead = (await shared.call(client, "dead", {"queue": queue}))["dead"]
    assert [d["reason"] for d in dead] == ["no ? such street"]
    assert (await shared.call(client, "redrive", {"queue": queue}))["redriven"] == 1


@pytest.mark.parametrize("namespace", ["/", "/kaps"])
async def test_who_asks_for_another_namespace_is_told_where_to_go(shared, namespace) -> None:
    stranger = socketio.AsyncClient(reconnection=False)
    reasons: list[Any] = []
    stranger.on("connect_error", reasons.append, namespace=namespace)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stranger.connect(shared.url, namespaces=[namespace], wait_timeout=5)
    assert reasons[0]["message"] == "no such namespace: clients of this hub connect to /caps"
    assert code(reasons[0]["data"]) == "malformed"


async def test_failed_with_a_delay(shared, clients, queue) -> None:
    client = await clients()
    inbox = Inbox(client, shared.namespace)
    await shared.call(client, "subscribe", {"queue": queue})
    await shared.call(client, "publish", {"queue": queue, "event": "e"})
    await inbox.until(1)
    began = time.monotonic()
    await shared.call(client, "failed", {"receipt": inbox.receipts[0], "delay": 0.3})
    assert (await shared.call(client, "stats", {"queue": queue}))["delayed"] == 1
    await inbox.until(2)
    assert 0.3 <= time.monotonic() - began < 2
    assert inbox.events[1][1][1]["attempt"] == 2
    for bad in [-1, "1", True, float("nan"), 1e300]:
        request = {"receipt": inbox.receipts[1], "delay": bad}
        assert code(await shared.call(client, "failed", request)) == "malformed"


async def test_unsubscribe_ends_delivery_and_leaves_the_answer(shared, clients, queue) -> None:
    client = await clients()
    inbox = Inbox(client, shared.namespace)
    await shared.call(client, "subscribe", {"queue": queue, "window": 1})
    for n in range(2):
        await shared.call(client, "publish", {"queue": queue, "event": "e", "data": n})
    await inbox.until(1)
    assert await shared.call(client, "unsubscribe", {"queue": queue}) == {"ok": True}
    assert await shared.call(client, "unsubscribe", {"queue": queue}) == {"ok": False}
    assert await shared.call(client, "received", {"receipt": inbox.receipts[0]}) == {"ok": True}
    assert (await shared.call(client, "stats", {"queue": queue}))["ready"] == 1
    assert inbox.data == [0]


async def test_a_frozen_consumer_holds_back_nobody_else(shared, clients, queue) -> None:
    request = json.dumps({"queue": queue, "window": 3})
    with hubs.frozen(shared, "subscribe", request):
        client = await clients()
        inbox = Inbox(client, shared.namespace, answer=True)
        await shared.call(client, "subscribe", {"queue": queue, "window": 2})
        for n in range(50):
            message = {"queue": queue, "event": "e", "data": [n, "x" * 100_000]}
            await shared.call(client, "publish", message)
        await inbox.until(47)
        stats = await shared.call(client, "stats", {"queue": queue})
        assert (stats["ready"], stats["leased"] <= 5) == (0, True)


async def test_clients_that_die_and_cables_that_are_cut(shared, clients, queue) -> None:
    message = {"queue": queue, "event": "e", "data": "x" * 1000}
    with hubs.frozen(shared, "subscribe", json.dumps({"queue": queue, "window": 1})) as process:
        client = await clients()
        await shared.call(client, "publish", message)
        process.kill()
        process.wait()
    for _ in range(5):
        cut = await clients()
        await cut.emit("publish", message, namespace=shared.namespace)
        cut.eio.ws._response.connection.transport.abort()
    survivor = await clients()
    inbox = Inbox(survivor, shared.namespace, answer=True)
    await shared.call(survivor, "subscribe", {"queue": queue})
    await shared.call(survivor, "publish", {**message, "data": "after"})
    await inbox.until(lambda: "after" in inbox.data)
    assert shared.process.poll() is None


# -- limits -------------------------------------------------------------------------------------


async def test_limits_are_told(shared, clients, queue) -> None:
    client = await clients()
    for request in [
        {"queue": "q" * 101, "event": "e"},
        {"queue": "a\nb", "event": "e"},
        {"queue": [], "event": "e"},
        {"queue": [queue, queue], "event": "e"},
        {"queue": [f"{queue}{n}" for n in range(1001)], "event": "e"},
        {"queue": queue, "event": "e" * 101},
        {"queue": queue, "event": "disconnect"},
        {"queue": queue, "event": "e", "key": "k" * 501},
        {"queue": queue, "event": "e", "key": 5},
        {"queue": queue, "event": "e", "ttl": "soon"},
        {"queue": queue, "event": "e", "delay": "later"},
        {"queue": queue, "event": "e", "delay": True},
        {"queue": queue, "event": "e", "ttl": -1},
        {"queue": queue, "event": "e", "data": float("inf")},
        {"queue": queue, "event": "e", "data": 10**150},
        {"queue": queue, "event": "e", "data": json.loads("[" * 200 + "]" * 200)},
        {"queue": queue, "event": "e", "more": 1},
    ]:
        assert code(await shared.call(client, "publish", request)) == "malformed", request
    for data in ["x" * 900_000, {"b": b"x" * 900_000}]:
        request = {"queue": queue, "event": "e", "data": data}
        assert code(await shared.call(client, "publish", request)) == "too_large"
    for window in [0, -1, 1001, True, 1.5, "16", None]:
        request = {"queue": queue, "window": window}
        assert code(await shared.call(client, "subscribe", request)) == "malformed"
    for event in ("stats", "dead", "redrive"):
        assert code(await shared.call(client, event, {"queue": queue})) == "unknown_queue"
        assert code(await shared.call(client, event, {"queue": 5})) == "malformed"
        assert code(await shared.call(client, event)) == "malformed"


async def test_a_client_has_so_many_queues_and_no_more(shared, clients, queue) -> None:
    client = await clients()
    for n in range(service.SUBSCRIPTIONS):
        assert "ready" in await shared.call(client, "subscribe", {"queue": f"{queue} {n}"})
    assert code(await shared.call(client, "subscribe", {"queue": f"{queue} more"})) == "limit"
    assert "ready" in await shared.call(client, "subscribe", {"queue": f"{queue} 0", "window": 2})
    await shared.call(client, "unsubscribe", {"queue": f"{queue} 0"})
    assert "ready" in await shared.call(client, "subscribe", {"queue": f"{queue} more"})
    names = [f"{queue} new {n}" for n in range(service.NEW_QUEUES)]
    assert "ids" in await shared.call(client, "publish", {"queue": names, "event": "e"})
    fresh = {"queue": f"{queue} one too many", "event": "e"}
    assert code(await shared.call(client, "publish", fresh)) == "limit"
    assert "ids" in await shared.call(client, "publish", {"queue": names[:5], "event": "e"})
    other = await clients()
    assert "id" in await shared.call(other, "publish", fresh)


async def test_what_is_too_large_for_the_wire_ends_the_connection(shared, clients, queue) -> None:
    client = await clients()
    gone = asyncio.Event()
    client.on("disconnect", lambda *_: gone.set(), namespace=shared.namespace)
    data = {"queue": queue, "event": "e", "data": "x" * (BUFFER + 1)}
    await client.emit("publish", data, namespace=shared.namespace)
    async with asyncio.timeout(hubs.DEADLINE):
        await gone.wait()
    other = await clients()
    assert code(await shared.call(other, "stats", {"queue": queue})) == "unknown_queue"


async def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    process = hubs.spawn(folder=tmp_path, stderr=subprocess.PIPE)
    try:
        with hubs.deadline(process):
            line = process.stdout.readline()
        url = line.split()[-1].removesuffix("/caps")
        for _ in range(60):  # 20 lines of 70 bytes each: more than a pipe holds
            client = socketio.AsyncClient(reconnection=False)
            await client.connect(url, namespaces=["/caps"], transports=["websocket"])
            calls = [
                client.call("x" * 40 + str(n), namespace="/caps", timeout=5) for n in range(22)
            ]
            assert {code(answer) for answer in await asyncio.gather(*calls)} == {"malformed"}
            await client.disconnect()
        process.terminate()
        assert await asyncio.to_thread(process.wait, 2) == 0
    finally:
        hubs.end(process)
