"""`python -m chatq queues`: at a hub that runs, and at the file of one that does not."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import hubs
import pytest
import socketio
from aiohttp import web
from hubs import Hub
from nats_nodes import new_stream

from chatq import Outbox, Queues
from chatq.__main__ import main
from chatq.clients.inbox import open_inbox
from chatq.hub.queues_command import CANNOT, DONE, UNKNOWN, WRONG
from chatq.hub.text_table import shown, text_table


@pytest.fixture
def said(capsys):
    """Run the command; return its status, and what it printed: read as JSON, if that is asked."""

    def run(*arguments: str) -> tuple[int, Any]:
        try:
            status = main(["queues", *arguments])
        except SystemExit as exit:
            status = int(str(exit.code))
        out, error = capsys.readouterr()
        assert not (out and error)
        text = out or error
        return status, json.loads(text) if "--json" in arguments and not status else text

    return run


async def filled(url: str) -> dict[str, str]:
    """Fill queues; return ids: of one that is ready, and of one in another queue."""
    async with await Queues.open(url) as queues:
        ids = [await queues.emit("pickup", {"secret": n}, to="drivers") for n in range(3)]
        other = await queues.emit("pickup", {"secret": "x"}, to="acme")
        [attempt] = (await queues.store.claim("acme", 1, 9.0, in_order=False, to="ann")).attempts
        await queues.store.bury(attempt.receipt, "no \x1b[31mroad\n")
    return {"ready": ids[0], "dead": other}


@pytest.fixture
def file(tmp_path: Path) -> tuple[str, dict[str, str]]:
    url = f"sqlite:///{tmp_path / 'q.db'}"
    return url, asyncio.run(filled(url))


def test_a_file_that_no_hub_has_open(file, said) -> None:
    url, ids = file
    status, table = said(url)
    assert status == DONE
    assert [line.split()[:5] for line in table.splitlines()] == [
        ["queue", "ready", "out", "delayed", "dead"],
        ["acme", "0", "0", "0", "1"],
        ["drivers", "3", "0", "0", "0"],
    ]
    assert said(url, "list") == (status, table) or "s" in table  # ages go on
    assert "consumers" not in table
    assert said(url, "stats", "drivers", "--json")[1]["ready"] == 3
    status, dead = said(url, "dead", "acme")
    assert "no \\u001b[31mroad\\u000a" in dead
    assert "secret" not in dead + said(url, "peek", "drivers")[1]
    assert '{"secret": 0}' in said(url, "peek", "drivers", "--bodies")[1]
    status, fate = said(url, "where", ids["dead"])
    assert f"message {ids['dead']} (pickup) of queue acme: dead" in fate
    assert "ann" in fate
    redriven = {"queue": "acme", "redriven": 1}
    assert said(url, "redrive", "acme", "--json") == (DONE, redriven)
    assert said(url, "purge", "drivers", "--yes") == (DONE, "3 deleted from drivers\n")
    assert said(url, "where", ids["ready"], "--json")[1]["state"] == "purged"


def test_ids_that_are_not_dead_are_named_and_the_others_are_redriven(file, said) -> None:
    url, ids = file
    left = [ids["ready"], "no\x1b[31mnsense", "2be80c83-1", ""]
    status, text = said(url, "redrive", "acme", *left)
    assert status == UNKNOWN
    assert text.splitlines() == [
        "0 put back into acme",
        *(f"not dead there, so left alone: {shown(id)}" for id in left),
    ]
    status, text = said(url, "redrive", "acme", "x", ids["dead"], "x", ids["dead"])
    assert (status, text) == (
        UNKNOWN,
        "1 put back into acme\nnot dead there, so left alone: x\n",
    )
    status, text = said(url, "redrive", "acme", ids["dead"])  # it is alive by now
    assert (status, text.count(ids["dead"])) == (UNKNOWN, 1)
    assert said(url, "redrive", "acme") == (DONE, "0 put back into acme\n")


def test_attempts_before_a_redrive_are_told_from_those_since(tmp_path, said) -> None:
    url = f"sqlite:///{tmp_path / 'q.db'}"

    async def fail(last: bool) -> str:
        async with await Queues.open(url) as queues:
            [attempt] = (await queues.store.claim("q", 1, 9.0, in_order=False)).attempts
            if last:
                await queues.store.bury(attempt.receipt, "x")
            else:
                await queues.store.release(attempt.receipt)
            return attempt.id

    async def put() -> None:
        async with await Queues.open(url) as queues:
            await queues.emit("e", 1, to="q")

    def attempts() -> str:
        status, text = said(url, "where", id)
        assert status == DONE
        return next(line for line in text.splitlines() if "attempts:" in line)

    asyncio.run(put())
    id = asyncio.run(fail(last=False))
    assert attempts() == "  attempts: 1, of which 1 failed"
    asyncio.run(fail(last=True))
    assert attempts() == "  attempts: 2"
    assert said(url, "redrive", "q")[0] == DONE
    assert attempts() == "  attempts: 2, none of them since it was redriven"
    asyncio.run(fail(last=False))
    assert attempts() == "  attempts: 3, of which 1 since it was redriven; of these, 1 failed"


def test_a_page_begins_after_a_message_of_that_queue(file, said) -> None:
    url, ids = file
    status, rest = said(url, "peek", "drivers", "--after", ids["ready"])
    assert (status, len(rest.splitlines())) == (DONE, 3)
    for id in ("nonsense", ids["dead"], ids["dead"] + "9"):
        status, text = said(url, "peek", "drivers", "--after", id)
        assert (status, f"'drivers' has never had a message '{id}'" in text) == (UNKNOWN, True)
    assert said(url, "purge", "drivers", "--yes")[0] == DONE
    # What has ended meanwhile is a place all the same.
    assert said(url, "peek", "drivers", "--after", ids["ready"]) == (DONE, "nothing waits\n")


def test_a_look_changes_nothing_that_another_program_keeps(tmp_path, said) -> None:
    """Dead letters are kept for as long as the rules of that program say, and not of this."""
    url, ids = f"sqlite:///{tmp_path / 'q.db'}", asyncio.run(filled(f"sqlite:///{tmp_path}/q.db"))
    with closing(sqlite3.connect(tmp_path / "q.db")) as db, db:
        db.execute("UPDATE dead SET died = died - 3e7")  # a year
    assert said(url, "dead", "acme", "--json")[1]["dead"][0]["id"] == ids["dead"]
    assert said(url, "where", ids["dead"], "--json")[1]["state"] == "dead"


@pytest.mark.needs("nats")
def test_a_stream(said) -> None:
    url = new_stream()
    status, text = said(url)
    assert (status, "no such stream" in text) == (CANNOT, True)
    ids = asyncio.run(filled(url))
    assert said(url, "stats", "drivers", "--json")[1]["ready"] == 3
    fate = said(url, "where", ids["dead"], "--json")[1]
    assert (fate["state"], [s["detail"] for s in fate["steps"]]) == (
        "dead",
        ["ann", "no \x1b[31mroad\n"],
    )


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with hubs.hub("--token", "sesame", folder=tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("CHATQ_TOKEN", "sesame")


async def worked(hub: Hub) -> list[str]:
    """Let two clients publish and consume; return the ids: one done, one out."""
    client = await hub.client(auth={"token": "sesame"})
    inbox = hubs.Inbox(client, hub.namespace)
    asked = {"queue": "work", "event": "e", "data": "secret"}
    ids = [(await hub.call(client, "publish", asked))["id"] for _ in range(2)]
    await hub.call(client, "subscribe", {"queue": "work", "name": "ann"})
    await inbox.until(2)
    assert (await hub.call(client, "received", {"receipt": inbox.receipts[0]}))["ok"]
    await client.disconnect()
    return ids


def test_a_hub_that_runs(hub, said, token, monkeypatch) -> None:
    done, out = asyncio.run(worked(hub))
    assert said(hub.url, "where", done, "--json")[1]["state"] == "acknowledged"
    status, fate = said(hub.url + hub.namespace, "where", out)
    # Whether its client's goodbye has come before the end of the line depends on the Python.
    there = [f"message {out} (e) of queue work: {state}" for state in ("ready", "leased")]
    assert (status, fate.splitlines()[0] in there) == (DONE, True), fate
    assert said(hub.url)[1].split()[-2:] == ["s", "nobody"]
    status, text = said(f"sqlite:///{hub.folder / 'hub.db'}", "where", done)
    assert (status, "ask it: give its URL" in text) == (CANNOT, True)
    # Nobody is asked where nobody sits.
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, text = said(hub.url, "purge", "work")
    assert (status, "--yes" in text) == (WRONG, True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    status, text = said(hub.url, "purge", "work")
    assert text == "Delete all 1 messages of queue work? [y/N] 1 deleted from work\n"


def test_a_hub_that_was_killed_has_what_it_confirmed(tmp_path, said) -> None:
    async def done(hub: Hub) -> list[str]:
        ids = await worked(hub)
        await hub.stop(signal.SIGKILL)
        return ids

    with hubs.hub(folder=tmp_path) as running:
        ids = asyncio.run(done(running))
    fate = said(f"sqlite:///{tmp_path / 'hub.db'}", "where", ids[0], "--json")[1]
    assert [(s["what"], s["detail"]) for s in fate["steps"]] == [
        ("sent", "ann"),
        ("acknowledged", ""),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["where", "nonsense"], UNKNOWN, "have never had a message 'nonsense'"),
        (["where", "2be80c83"], UNKNOWN, "never"),
        (["where", "<script>"], UNKNOWN, "never"),
        (["where", "x\u202ey"], UNKNOWN, "never"),
        (["where", "1" * 5_000], UNKNOWN, "never"),
        (["stats", "nobody's"], UNKNOWN, "nobody has put anything"),
        (["stats", "a\nb"], WRONG, "printable"),
        (["stats", "\u202eevil"], WRONG, "\\u202e"),
        (["stats", "q" * 101], WRONG, "1 to 100"),
        (["peek", "<script>alert(1)</script>"], UNKNOWN, "nobody has put"),
        (["peek", "q", "--limit", "0"], WRONG, "limit"),
        (["peek", "q", "--limit", "x"], WRONG, "invalid int"),
        (["nonsense"], WRONG, "invalid choice"),
        (["where"], WRONG, "required"),
    ],
)
@pytest.mark.parametrize("at", ["file", "hub"])
def test_what_is_not_there(at, arguments, status, words, request, said, token) -> None:
    place = (
        request.getfixturevalue("file")[0] if at == "file" else request.getfixturevalue("hub").url
    )
    found, text = said(place, *arguments)
    assert (found, words in text) == (status, True), text
    assert all(c.isprintable() or c == "\n" for c in text)


def test_a_token_that_is_missing_or_wrong(hub, said, monkeypatch) -> None:
    for value, what in (("", "no token"), ("wrong", "wrong token")):
        monkeypatch.setenv("CHATQ_TOKEN", value)
        status, text = said(hub.url)
        assert (status, "CHATQ_TOKEN" in text, what in text) == (CANNOT, True, True), text
    monkeypatch.setenv("CHATQ_TOKEN", "sesame")
    status, text = said(f"{hub.url}/other")
    assert (status, f"are in {hub.namespace}, not in /other" in text) == (CANNOT, True)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("memory:", "in its program alone"),
        ("redis://x", "queues are kept at"),
        ("ws://127.0.0.1:1", "asked at http://127.0.0.1:1"),
        ("q.db", 'did you mean "sqlite:///q.db"?'),
        ("", "queues are kept at"),
        ("http://", "a hub is at"),
        ("http://127.0.0.1:x", "a hub is at"),
        ("http://127.0.0.1?x=1", "a hub is at"),
        ("http://me:secret@127.0.0.1:1", "taken from the variable CHATQ_TOKEN"),
        ("/tmp", "a hub is asked at http://HOST:PORT"),
        ("nats://", "a NATS address"),
    ],
)
def test_what_is_no_place(place, words, said) -> None:
    status, text = said(place)
    assert (status, words in text, "secret" in text) == (WRONG, True, False), text


async def an_outbox(path: Path) -> None:
    await (await Outbox.open(path, socketio.AsyncClient())).close()


def test_files_that_are_no_store_stay_as_they_are(tmp_path, said) -> None:
    newer, other, empty, noise = (tmp_path / name for name in ("newer", "other", "empty", "noise"))
    inbox, mixed, outbox = (tmp_path / name for name in ("inbox", "mixed", "outbox"))
    asyncio.run(filled(f"sqlite:///{newer}"))
    with closing(sqlite3.connect(newer)) as db, db:
        db.execute("PRAGMA user_version = 99")
    with closing(sqlite3.connect(other)) as db, db:
        db.execute("CREATE TABLE t (x)")
        db.execute('CREATE TABLE "a\x1b[31m\n" (x)')
    open_inbox(inbox, 1).close()
    with closing(sqlite3.connect(mixed)) as db:
        for n in range(5):
            db.execute(f"CREATE TABLE t{n} (x)")
        open_inbox(db, 1)
    asyncio.run(an_outbox(outbox))
    empty.touch()
    noise.write_bytes(os.urandom(5_000))
    for path, words in (
        (newer, "written by a newer chatq"),
        (other, "is a database of another program (with the tables 't', "),
        (inbox, "has the inbox of a consumer (ids of messages that it has handled) in it, and no"),
        (mixed, "program (with the tables 't0', 't1', 't2', …), with the inbox of a consumer"),
        (outbox, "holds an outbox, not queues: give another file"),
        (empty, "an empty one"),
        (noise, "not a database"),
        (tmp_path, "it is a folder"),
        (tmp_path / "missing", "no such file"),
        (tmp_path / "no" / "folder", "there is no folder"),
    ):
        was = path.read_bytes() if path.is_file() else None
        status, text = said(f"sqlite:///{path}")
        assert (status, words in text) == (CANNOT, True), text
        assert text.count("\n") == 1
        assert text[:-1].isprintable()
        assert (path.read_bytes() if path.is_file() else None) == was
    assert not (tmp_path / "missing").exists()


async def test_a_server_that_is_no_hub(tmp_path) -> None:
    app, bare = web.Application(), web.Application()
    socketio.AsyncServer(async_mode="aiohttp").attach(app)
    for application, words in ((app, "no hub of this version"), (bare, "no hub answers at")):
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        command = [
            sys.executable,
            "-m",
            "chatq",
            "queues",
            f"http://127.0.0.1:{runner.addresses[0][1]}",
        ]
        asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert (asked.returncode, words in asked.stderr) == (CANNOT, True), asked
        assert asked.stderr.count("\n") == 1
        await runner.cleanup()


# -- tables ---------------------------------------------------------------------------------------


def test_a_table_is_cut_to_the_terminal() -> None:
    table = text_table(["a", "b"], [["x" * 90, 1], ["東京" * 30, 20]], 40, right=(1,))
    lines = table.splitlines()
    assert lines[1] == "x" * 35 + "…" + "   1"
    assert lines[2] == "東京" * 8 + "東" + "…" + "   20"
    assert text_table(["a"], [], 10) == "a"


def test_what_steers_a_terminal_is_shown_by_its_number() -> None:
    assert shown("a\x1b[31m\u202eb\n\U000e0001") == "a\\u001b[31m\\u202eb\\u000a\\U000e0001"
