"""Lesson 08: right answers in other styles than the lesson's."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from functools import partial

import socketio

from . import right

# -- 08.1 -----------------------------------------------------------------------------------------


@right("08.1")
def look_then_write(driver, db):
    """It looks before it writes, commits by itself, and answers by an event."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        known = db.execute("SELECT 1 FROM inbox WHERE id = ?", [delivery["id"]]).fetchone()
        if not known:
            db.execute("INSERT INTO doorstep VALUES (?)", [package])
            db.execute("INSERT INTO inbox VALUES (?)", [delivery["id"]])
            db.commit()
        await driver.emit("received", {"receipt": delivery["receipt"]})


@right("08.1")
def the_note_refuses(driver, db):
    """The primary key of the inbox refuses what is known, and with it the whole transaction."""

    @driver.on("pickup")
    def pickup(package, delivery):
        try:
            with db:
                db.execute("INSERT INTO doorstep VALUES (?)", [package])
                db.execute("INSERT INTO inbox VALUES (?)", [delivery["id"]])
        except sqlite3.IntegrityError:
            pass
        return delivery["receipt"]


@right("08.1")
def begins_and_commits(driver, db):
    """Transactions by hand, in a class."""
    db.isolation_level = None

    class Root(socketio.AsyncClientNamespace):
        async def on_pickup(self, package, delivery):
            db.execute("BEGIN IMMEDIATE")
            cursor = db.cursor()
            cursor.execute("INSERT OR IGNORE INTO inbox VALUES (?)", [delivery["id"]])
            cursor.executemany("INSERT INTO doorstep VALUES (?)", [[package]] * cursor.rowcount)
            db.execute("COMMIT")
            return delivery["receipt"]

    driver.register_namespace(Root("/"))


@right("08.1")
def in_one_statement(driver, db):
    """One table says it all: a trigger puts down what is noted."""
    db.executescript("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, package)")
    db.executescript(
        "CREATE TRIGGER IF NOT EXISTS put AFTER INSERT ON seen "
        "BEGIN INSERT INTO doorstep VALUES (new.package); END"
    )

    async def pickup(db, package, delivery):
        with db:
            db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", [delivery["id"], package])
        return delivery["receipt"]

    driver.on("pickup", partial(pickup, db))


# -- 08.2 -----------------------------------------------------------------------------------------


@right("08.2")
def a_plain_function_and_a_task(driver, deliver):
    """A handler that is no coroutine says what has failed in a background task."""

    def pickup(package, delivery):
        try:
            deliver(package)
        except Exception as error:
            refusal = {"receipt": delivery["receipt"], "reason": str(error)}
            driver.start_background_task(driver.emit, "failed", refusal)
            return None
        return delivery["receipt"]

    driver.on("pickup", pickup)


@right("08.2")
def both_by_events(driver, deliver):
    """Both answers are events, and the second waits for its reply."""

    @driver.on("*")
    async def anything(event, package, delivery):
        answer, said = "received", {"receipt": delivery["receipt"]}
        try:
            deliver(package)
        except Exception as error:
            answer, said["reason"] = "failed", f"{error}"
        await driver.call(answer, said)


@right("08.2")
def in_a_class(driver, deliver):
    """A namespace, and its own `emit`."""

    class Root(socketio.AsyncClientNamespace):
        async def on_pickup(self, package, delivery):
            error = await asyncio.gather(self.tries(package), return_exceptions=True)
            if error != [None]:
                refusal = {"receipt": delivery["receipt"], "reason": str(error[0])}
                return await self.emit("failed", refusal)
            return delivery["receipt"]

        async def tries(self, package):
            deliver(package)

    driver.register_namespace(Root("/"))


@right("08.2")
def with_a_reason_always(driver, deliver):
    """Where the error has no text, its kind is better than nothing."""

    @driver.event
    async def pickup(package, delivery):
        try:
            deliver(package)
        except Exception as error:
            reason = str(error) or type(error).__name__
            await driver.emit("failed", {"receipt": delivery["receipt"], "reason": reason})
        else:
            await driver.emit("received", {"receipt": delivery["receipt"]})


@right("08.1")
def a_transaction_in_words_of_sql(driver, db):
    """Begins and commits by statements; a cursor is not read to its end."""

    @driver.on("pickup")
    def pickup(package, delivery):
        db.execute("BEGIN IMMEDIATE")
        try:
            known = "SELECT count(*) FROM inbox WHERE id = ?"
            if db.execute(known, [delivery["id"]]).fetchone()[0] == 0:
                db.execute("INSERT INTO doorstep VALUES (?)", [package])
                db.execute("INSERT INTO inbox VALUES (?)", [delivery["id"]])
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return delivery["receipt"]


# -- 08.3 -----------------------------------------------------------------------------------------


@right("08.3")
def always_tries(vendor, db):
    """It asks nobody whether the hub is there: the library's error says so."""

    async def hand_over():
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            for key, package in db.execute("SELECT id, package FROM outbox").fetchall():
                await vendor.emit("pickup", (key, package))

    @vendor.on("connect")
    async def connect():
        await hand_over()

    @vendor.on("stored")
    def stored(key):
        db.execute("DELETE FROM outbox WHERE id = ?", [key])
        db.commit()

    async def sell(package):
        db.execute("INSERT INTO outbox (package) VALUES (?)", [package])
        db.execute("INSERT INTO orders VALUES (?)", [package])
        db.commit()
        await hand_over()

    return sell


@right("08.3")
def one_after_the_other(vendor, db):
    """It hands over the oldest, and the next one when that is stored."""

    async def oldest():
        row = db.execute("SELECT id, package FROM outbox ORDER BY id LIMIT 1").fetchone()
        if row:
            with contextlib.suppress(socketio.exceptions.SocketIOError):
                await vendor.emit("pickup", row)

    vendor.on("connect", oldest)

    @vendor.event
    async def stored(key):
        with db:
            db.execute("DELETE FROM outbox WHERE id = ?", [key])
        await oldest()

    async def sell(package):
        with db:
            db.execute("INSERT INTO orders VALUES (?)", [package])
            db.execute("INSERT INTO outbox (package) VALUES (?)", [package])
        await oldest()

    return sell


@right("08.3")
def a_task_hands_over(vendor, db):
    """`sell` is a plain function, and a task does the rest."""

    @vendor.event
    async def connect():
        for row in db.execute("SELECT id, package FROM outbox ORDER BY id").fetchall():
            await vendor.emit("pickup", row)

    @vendor.event
    async def stored(key):
        with db:
            db.execute("DELETE FROM outbox WHERE id = ?", [key])

    def sell(package):
        with db:
            db.execute("INSERT INTO orders VALUES (?)", [package])
            db.execute("INSERT INTO outbox (package) VALUES (?)", [package])
        if vendor.connected:
            vendor.start_background_task(connect)

    return sell
