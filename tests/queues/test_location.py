"""Queues are kept where the URL says: never in a file by surprise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import socketio

from chatq import Outbox, Queues, StoreError
from chatq.queues.location import engine_and_place

MEMORY = r'is "memory:"'
REFUSED = {
    "sqlite:///:memory:": MEMORY,
    "sqlite:///:MEMORY:": MEMORY,
    "sqlite:///:memory:?cache=shared": MEMORY,
    "sqlite://": MEMORY,
    "sqlite://:memory:": MEMORY,
    "sqlite::memory:": MEMORY,
    "sqlite:///file::memory:": MEMORY,
    "sqlite:///file::memory:?cache=shared": MEMORY,
    "sqlite:///file:x.db?mode=memory": MEMORY,
    "file::memory:": MEMORY,
    ":memory:": MEMORY,
    "memory": MEMORY,
    "Memory:": MEMORY,
    "memory://": MEMORY,
    "memory://x": MEMORY,
    "sqlite:///memory:": MEMORY,
    "SQLITE:///x": 'did you mean "sqlite:///x"',
    "Sqlite:////srv/x.db": 'did you mean "sqlite:////srv/x.db"',
    "sqlite3:///x.db": 'did you mean "sqlite:///x.db"',
    "sqlite+aiosqlite:///x.db": 'did you mean "sqlite:///x.db"',
    "sqlite:x.db": 'did you mean "sqlite:///x.db"',
    "sqlite://x.db": 'did you mean "sqlite:///x.db"',
    "sqlite:/x.db": 'did you mean "sqlite:///x.db"',
    "file:x.db": 'did you mean "sqlite:///x.db"',
    "x.db": 'did you mean "sqlite:///x.db"',
    "/var/lib/x.db": 'did you mean "sqlite:////var/lib/x.db"',
    "NATS://host": 'did you mean "nats://host"',
    "redis://host": "sqlite:///FILE",
    "postgresql:///x": "sqlite:///FILE",
    "": "sqlite:///FILE",
    "sqlite:": "sqlite:///FILE",
    "sqlite:///": "sqlite:///FILE",
    "sqlite:///x.db?mode=ro": r"and \?mode=ro no option",
    "sqlite:///x.db?timeout=5&cache=shared": r"and \?timeout=5&cache=shared no option",
    "sqlite:///file:x.db": "without 'file:'",
    "sqlite:///FILE:x.db?mode=ro": "without 'file:'",
    "sqlite:/// x.db": "without spaces at its ends",
    "sqlite:///x.db ": "without spaces at its ends",
    "sqlite:///x.db\n": "without control characters",
    "sqlite:///x\0.db": "without control characters",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("url", REFUSED, ids=ascii)
async def test_what_would_surprise_is_refused_and_no_file_is_made(url, folder):
    with pytest.raises(ValueError, match=REFUSED[url]):
        await Queues.open(url)
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("url", [Path("x.db"), b"memory:", None, 1], ids=repr)
async def test_what_is_no_text_is_refused(url, folder):
    with pytest.raises(TypeError, match="give it as text"):
        await Queues.open(url)
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize(
    "name",
    [
        "x.db",
        "with space.db",
        "with%20escape.db",
        "what?.db",
        "a?b&c=d.db",
        "a#b.db",
        "x=1.db",
        "ümläut ✓.db",
        "memory",
        "sqlite",
        "./:memory:",
        "nats:x",
        "~x.db",
        "a?1=2.db",
    ],
)
async def test_any_other_name_is_the_name_as_it_is(name, folder):
    for _ in range(2):
        async with await Queues.open(f"sqlite:///{name}") as queues:
            await queues.emit("e", 1, to="q", key="k")
    own = Path(name).name
    assert {file.name for file in folder.iterdir()} == {own, f"{own}-reserve"}
    async with await Queues.open(f"sqlite:///{folder}/{name}") as queues:
        assert (await queues.stats("q")).ready == 1


@pytest.mark.parametrize(
    "url", ["sqlite:///no such folder/x.db", "sqlite:///.", "sqlite:///~/x.db"]
)
async def test_what_cannot_be_a_file_is_an_error_of_the_store(url, folder):
    with pytest.raises(StoreError):
        await Queues.open(url)
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize(
    "path", [":memory:", ":MEMORY:", "FILE:x.db", "file:x.db", "x.db?mode=ro", Path(":memory:")]
)
async def test_an_outbox_is_kept_in_no_such_file_either(path, folder):
    with pytest.raises(ValueError, match="would be the name of a file"):
        await Outbox.open(path, socketio.AsyncClient())
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("url", ["nats://host", "nats://a,b:1/s?patience=2", "tls://host"])
def test_nats_has_two_schemes(url):
    assert engine_and_place(url) == ("nats", url)


@pytest.mark.parametrize("url", ["x:" + 10_000 * "y", "sqlite:///" + 10_000 * "y" + "\n"])
def test_what_is_refused_is_told_in_short(url):
    with pytest.raises(ValueError, match="yyy") as refused:
        engine_and_place(url)
    assert len(str(refused.value)) < 500


def test_a_hub_says_so_in_one_line(folder):
    hub = subprocess.run(
        [sys.executable, "-m", "chatq", "serve", "--port", "0", "--store", "sqlite:///:memory:"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (hub.returncode, hub.stdout) == (2, "")
    assert 'is "memory:"' in hub.stderr
    assert [*folder.iterdir()] == []
