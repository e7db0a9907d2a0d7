"""A user's own database, and queues beside it: what tests of `Outbox.inside` need.

As a program it is a process that sells and sends, and kills itself at a step: `python shop.py
DATABASE QUEUES FIRST LAST STEP TIMES`, with queues in a file or a hub's URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from watched_hub import NAMESPACE, Seen, connect, hang_up, new_client

import chatq
from chatq.queues.message import decode
from chatq.waiting import give_way

#: Where a process may be killed, in the order of one message's life.
STEPS = ("begun", "emitted", "committed", "publishing", "storing", "stored", "deleting", "deleted")
_QUICK = chatq.Rules(back_off=0.01, longest_back_off=0.05)


def new_shop(path: Path, journal: str = "wal") -> sqlite3.Connection:
    """Create a database with orders in it, and no outbox; return a connection."""
    db = sqlite3.connect(path, check_same_thread=False)
    db.execute(f"PRAGMA journal_mode = {journal}")
    db.execute("CREATE TABLE orders (number INTEGER)")
    db.commit()
    return db


def sell(db: sqlite3.Connection, number: int, **options: Any) -> str:
    """Store an order and its message, in the transaction of the caller."""
    db.execute("INSERT INTO orders VALUES (?)", (number,))
    return chatq.emit_in_transaction(db, "pickup", number, to="drivers", **options)


def orders(path: Path) -> list[int]:
    """Return the orders, in the order of their transactions."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [number for (number,) in db.execute("SELECT number FROM orders ORDER BY rowid")]


def left(path: Path) -> int:
    """Return how many messages are in the table."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        [count] = db.execute("SELECT count(*) FROM chatq_outbox").fetchone()
        return count


async def taken(queues: chatq.Queues, queue: str = "drivers") -> list[Any]:
    """Take all that is in a queue, in order."""
    claimed = await queues.store.claim(queue, 100_000, 60, in_order=False)
    await queues.store.ack([attempt.receipt for attempt in claimed.attempts])
    return [decode(attempt.body) for attempt in claimed.attempts]


def watched(queues: chatq.Queues) -> Any:
    """Let these queues say when so many messages have come: `await queues.arrived(number)`."""
    seen, put = Seen(), queues.store.put

    def noted(messages):
        stored = put(messages)
        stored.add_done_callback(lambda done: done.exception() or [*map(seen.add, messages)])
        return stored

    queues.store.put, queues.arrived = noted, seen.reach
    return queues


class Undo(Exception):
    """Raised in a transaction that is not to be."""


class _Process:
    def __init__(self, step: str, times: int) -> None:
        self._step, self._times = step, times

    def at(self, step: str) -> None:
        if step == self._step:
            self._times -= 1
            if self._times == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def sell(self, db: sqlite3.Connection, number: int) -> None:
        """One transaction: most are committed, and some parts are undone."""
        kind = ("commit", "rollback", "commit", "raise", "savepoint")[number % 5]
        with contextlib.suppress(Undo), db:
            db.execute("INSERT INTO orders VALUES (?)", (number,))
            self.at("begun")
            key = f"order {number}" if number % 2 else None
            chatq.emit_in_transaction(db, "pickup", number, to="drivers", key=key)
            self.at("emitted")
            if kind == "raise":
                raise Undo
            if kind == "rollback":
                db.rollback()
            if kind == "savepoint":
                db.execute("SAVEPOINT inner_one")
                sell(db, -number)
                db.execute("ROLLBACK TO inner_one")
                db.execute("RELEASE inner_one")
        self.at("committed")

    def watch(self, outbox: chatq.Outbox) -> None:
        """Be asked at each step of sending."""
        connection, store = outbox._publisher._connection, outbox._store
        call, ack = connection.call, store.ack

        async def watched_call(*arguments: Any) -> Any:
            self.at("publishing")
            calling = asyncio.ensure_future(call(*arguments))
            await give_way()
            await give_way()
            self.at("storing")
            answer = await calling
            self.at("stored")
            return answer

        async def watched_ack(receipts: Any) -> Any:
            answer = await ack(receipts)
            self.at("deleted")
            return answer

        connection.call, store.ack = watched_call, watched_ack
        # A statement is traced before it is executed, and what is sent is deleted before this one.
        store._db.set_trace_callback(lambda sql: self.at("deleting") if sql == "COMMIT" else None)


async def _main(database: str, queues: str, first: str, last: str, step: str, times: str) -> None:
    process = _Process(step, int(times))
    db = sqlite3.connect(database)
    async with contextlib.AsyncExitStack() as stack:
        if queues.startswith("http"):
            end: Any = new_client()
            stack.push_async_callback(hang_up, end)
            await connect(end, queues)
        else:
            end = await stack.enter_async_context(await chatq.Queues.open(f"sqlite:///{queues}"))
        opening = chatq.Outbox.inside(database, end, NAMESPACE, _QUICK)
        outbox = await stack.enter_async_context(await opening)
        process.watch(outbox)
        for number in range(int(first), int(last)):
            process.sell(db, number)
            print(number, flush=True)
            if number % 5 == 0:
                await outbox.flush()
        await outbox.flush()
        print("flushed", flush=True)
    db.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
