"""Files of queues, outboxes and inboxes are their owner's alone, from their first byte."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import socketio

from chatq import Outbox, Queues
from chatq.clients.inbox import open_inbox

pytestmark = pytest.mark.needs("posix")


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_the_files_of_queues_are_private(tmp_path: Path) -> None:
    file = tmp_path / "queues.db"
    async with await Queues.open(f"sqlite:///{file}") as queues:
        await queues.emit("e", 1, to="q")
        found = modes(tmp_path)
        assert {"queues.db", "queues.db-wal"} <= found.keys()
        assert {*found.values()} == {0o600}, found
        await queues.backup(tmp_path / "copy.db")
        assert modes(tmp_path)["copy.db"] == 0o600
    async with await Queues.open(f"sqlite:///{file}") as queues:  # again, with a new log
        await queues.emit("e", 1, to="q")
        assert {*modes(tmp_path).values()} == {0o600}


async def test_there_is_no_moment_in_which_others_could_open_it(tmp_path: Path) -> None:
    """Whoever has opened a file keeps it open, whatever its mode is afterwards."""
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in tmp_path.iterdir():
                try:
                    seen.add(path.stat().st_mode & 0o777)
                except FileNotFoundError:
                    pass

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(10):
        async with await Queues.open(f"sqlite:///{tmp_path / f'{number}.db'}") as queues:
            await queues.emit("e", 1, to="q")
    over.set()
    looking.join()
    assert seen == {0o600}


async def test_the_mode_of_a_file_that_is_there_is_somebodys_choice(tmp_path: Path) -> None:
    file = tmp_path / "queues.db"
    file.touch()
    file.chmod(0o660)
    async with await Queues.open(f"sqlite:///{file}") as queues:
        await queues.emit("e", 1, to="q")
        found = modes(tmp_path)
        assert found["queues.db"] == found["queues.db-wal"] == 0o660


async def test_where_a_link_leads_the_file_is_private(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "queues.db").symlink_to(tmp_path / "far" / "real.db")
    async with await Queues.open(f"sqlite:///{tmp_path / 'queues.db'}") as queues:
        await queues.emit("e", 1, to="q")
        assert {*modes(tmp_path / "far").values()} == {0o600}


async def test_outboxes_and_inboxes_are_private(tmp_path: Path) -> None:
    client = socketio.AsyncClient()
    async with await Outbox.open(tmp_path / "outbox.db", client) as outbox:
        await outbox.emit("e", 1, to="q")
        inbox = open_inbox(tmp_path / "inbox.db", 100)
        inbox.close()
        found = modes(tmp_path)
        assert {"outbox.db", "inbox.db"} <= found.keys()
        assert {*found.values()} == {0o600}, found
