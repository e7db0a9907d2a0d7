"""Lesson 08: misunderstandings of what "once" takes, and of messages that fail."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from functools import partial

import socketio

from . import wrong

PUT_DOWN = "INSERT INTO doorstep VALUES (?)"
NOTE = "INSERT OR IGNORE INTO inbox VALUES (?)"

# -- 08.1 once, wherever the power fails ----------------------------------------------------------


def careful(driver, db, mark):
    """The solution, with another `mark(package, delivery)` in the inbox."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            if db.execute(NOTE, [mark(package, delivery)]).rowcount:
                db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="after statement 2 of the handler; it comes again: 'O-2'")
def no_inbox(driver, db):
    """Committed before the answer, and done again when the answer is lost."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="statement 2 was: commit")
def noted_first(driver, db):
    """Two transactions, the inbox first: a crash between them, and the work is never done."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            new = db.execute(NOTE, [delivery["id"]]).rowcount
        if new:
            with db:
                db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="after statement 3 of the handler; it comes again: 'O-3'")
def noted_afterwards(driver, db):
    """Two transactions, the work first: a crash between them, and it is done twice."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        known = "SELECT 1 FROM inbox WHERE id = ?"
        if db.execute(known, [delivery["id"]]).fetchone() is None:
            with db:
                db.execute(PUT_DOWN, [package])
            with db:
                db.execute(NOTE, [delivery["id"]])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="after statement 3 of the handler; it comes again: 'O-3'")
def known_by_its_receipt(driver, db):
    """The receipt is new at each attempt, so nothing is ever known."""
    careful(driver, db, lambda package, delivery: delivery["receipt"])


@wrong("08.1", client="ada", says="after statement 3 of the handler; it comes again: 'O-3'")
def known_by_id_and_attempt(driver, db):
    """With the attempt in it, each attempt is another message."""
    careful(driver, db, lambda package, delivery: f"{delivery['id']} {delivery['attempt']}")


@wrong("08.1", client="ada", says="two people order the same: 'pizza'")
def known_by_what_is_in_it(driver, db):
    """The same content is taken for the same message."""
    careful(driver, db, lambda package, delivery: package)


@wrong("08.1", client="ada", says="after statement 1 of the handler; it comes again: 'O-1'")
def the_first_attempt_only(driver, db):
    """What is redelivered is taken to be done already: it *may* have been."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        if not delivery["redelivered"]:
            with db:
                db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="after statement 2 of the handler; it comes again: 'O-2'")
def an_inbox_in_memory(driver, db):
    """The inbox ends with its program, and the doorstep does not."""
    inbox = set()

    @driver.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] not in inbox:
            with db:
                db.execute(PUT_DOWN, [package])
            inbox.add(delivery["id"])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="after statement 1 of the handler; it comes again: 'O-1'")
def answered_first(driver, db):
    """The answer, then the work: what fails after the answer is never done."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        await driver.call("received", {"receipt": delivery["receipt"]})
        with db:
            if db.execute(NOTE, [delivery["id"]]).rowcount:
                db.execute(PUT_DOWN, [package])


@wrong("08.1", client="ada", says="'pizza'")
def committed_after_the_answer(driver, db):
    """What one message has written is committed with the next: answered, and not on disk."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        db.commit()
        if db.execute(NOTE, [delivery["id"]]).rowcount:
            db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="what the queue 'drivers' still keeps")
def a_duplicate_is_not_answered(driver, db):
    """A duplicate is thrown away without a word: it comes again and again."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            new = db.execute(NOTE, [delivery["id"]]).rowcount
            if new:
                db.execute(PUT_DOWN, [package])
        return delivery["receipt"] if new else None


@wrong("08.1", client="ada", says="no answer that counts")
def never_answered(driver, db):
    """The row is committed, and that is taken to be an answer."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            if db.execute(NOTE, [delivery["id"]]).rowcount:
                db.execute(PUT_DOWN, [package])


@wrong("08.1", client="ada", says="what the handler wrote last is not committed")
def never_committed(driver, db):
    """The handler reads back what it wrote, so it is taken to be on disk."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        if db.execute(NOTE, [delivery["id"]]).rowcount:
            db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="after statement 1 of the handler; it comes again: 'O-1'")
def emitted_first(driver, db):
    """`emit` sends the answer at once, not when the handler is done."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        await driver.emit("received", {"receipt": delivery["receipt"]})
        with db:
            if db.execute(NOTE, [delivery["id"]]).rowcount:
                db.execute(PUT_DOWN, [package])


@wrong("08.1", client="ada", says="puts 'pizza' on the doorstep twice")
def looked_up_on_the_doorstep(driver, db):
    """What comes again, and has a namesake on the doorstep, is taken to be there."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        there = db.execute("SELECT 1 FROM doorstep WHERE package = ?", [package]).fetchone()
        if not (delivery["redelivered"] and there):
            with db:
                db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="puts 'pizza' on the doorstep once")
def tidied_up_too_soon(driver, db):
    """What came twice is thought not to come a third time, and its note is thrown away."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            if db.execute(NOTE, [delivery["id"]]).rowcount:
                db.execute(PUT_DOWN, [package])
            else:
                db.execute("DELETE FROM inbox WHERE id = ?", [delivery["id"]])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="puts '' on the doorstep once")
def what_is_empty_is_nothing(driver, db):
    """A package whose name is empty is one, too."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        with db:
            if db.execute(NOTE, [delivery["id"]]).rowcount and package:
                db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


@wrong("08.1", client="ada", says="statement 1 was")
def each_statement_by_itself(driver, db):
    """Without a transaction each statement is one: noted, and not put down."""
    db.isolation_level = None

    @driver.on("pickup")
    async def pickup(package, delivery):
        if db.execute(NOTE, [delivery["id"]]).rowcount:
            db.execute(PUT_DOWN, [package])
        return delivery["receipt"]


# -- 08.2 a message that always fails -------------------------------------------------------------


def refuses(driver, deliver, refusal, receipt=lambda delivery: None):
    """What fails is refused with `refusal(error, delivery)`; `receipt`: and answered with that."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        try:
            deliver(package)
        except Exception as error:
            if said := refusal(error, delivery):
                await driver.emit("failed", said)
            return receipt(delivery)
        return delivery["receipt"]


@wrong("08.2", says="ada's handler of 'pickup' raised LookupError: no such street")
def left_to_raise(driver, deliver):
    """An error that nobody catches is no answer."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        deliver(package)
        return delivery["receipt"]


@wrong("08.2", client="ada", says="P-3 had a flat tyre the first time: 'P-3'")
def answered_all_the_same(driver, deliver):
    """The receipt is sent whatever happened, so that the queue is not held up: what failed is
    gone."""
    refuses(driver, deliver, lambda error, delivery: None, lambda delivery: delivery["receipt"])


@wrong("08.2", client="ada", says="what failed, and was tried once")
def without_a_word(driver, deliver):
    """The error is caught, and nothing is said: the queue waits until the lease ends."""
    refuses(driver, deliver, lambda error, delivery: None)


@wrong("08.2", client="ada", says="after the last attempt: 'P-1'")
def without_a_reason(driver, deliver):
    """Whoever looks at the dead later has nothing to go by."""
    refuses(driver, deliver, lambda error, delivery: {"receipt": delivery["receipt"]})


@wrong("08.2", client="ada", says="what failed, and was tried once")
def refused_by_its_id(driver, deliver):
    """The id names the message, but only the receipt names this attempt."""
    refuses(driver, deliver, lambda e, delivery: {"receipt": delivery["id"], "reason": str(e)})


@wrong("08.2", client="ada", says="what failed, and was tried once")
def a_bare_receipt(driver, deliver):
    """`failed` takes a dict; the receipt alone is malformed, and refused in turn."""
    refuses(driver, deliver, lambda error, delivery: delivery["receipt"])


@wrong("08.2", says="not JSON serializable")
def the_error_itself(driver, deliver):
    """A reason is text; an exception cannot travel."""
    refuses(driver, deliver, lambda e, delivery: {"receipt": delivery["receipt"], "reason": e})


@wrong("08.2", client="ada", says="P-3 had a flat tyre the first time: 'P-3'")
def only_the_streets(driver, deliver):
    """One kind of error is thought of as final, and the other as done."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        try:
            deliver(package)
        except LookupError as error:
            refusal = {"receipt": delivery["receipt"], "reason": str(error)}
            return await driver.emit("failed", refusal)
        except OSError:
            pass
        return delivery["receipt"]


@wrong("08.2", client="ada", says="after the last attempt: 'P-1'")
def tried_again_by_itself(driver, deliver):
    """It tries in a loop of its own, and answers for what it has given up: nobody will look."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        for _ in range(3):
            try:
                deliver(package)
                break
            except Exception:
                continue
        return delivery["receipt"]


@wrong("08.2", client="ada", says="called deliver")
def nobody_looks_again(driver, deliver):
    """What has failed once is taken to be poison: but a tyre may be mended."""
    poison = {}

    @driver.on("pickup")
    async def pickup(package, delivery):
        try:
            if package in poison:
                raise poison[package]
            deliver(package)
        except LookupError as error:
            poison[package] = error
            await driver.emit("failed", {"receipt": delivery["receipt"], "reason": str(error)})
        except Exception as error:
            await driver.emit("failed", {"receipt": delivery["receipt"], "reason": str(error)})
        else:
            return delivery["receipt"]


@wrong("08.2", client="ada", says="after the last attempt: 'P-1'")
def as_python_writes_it(driver, deliver):
    """`repr` is what a programmer sees; asked for is the text."""
    refuses(driver, deliver, lambda e, d: {"receipt": d["receipt"], "reason": repr(e)})


@wrong("08.2", says="raised IndexError")
def its_first_argument(driver, deliver):
    """An error need not have an argument, and its text need not be that."""
    refuses(driver, deliver, lambda e, d: {"receipt": d["receipt"], "reason": e.args[0]})


@wrong("08.2", client="ada", says="answers at once, whether the work was done or has failed")
def without_a_text_it_is_no_error(driver, deliver):
    """An error without a text has failed, too."""
    refuses(
        driver,
        deliver,
        lambda e, d: str(e) and {"receipt": d["receipt"], "reason": str(e)},
    )


@wrong("08.2", says="raised ValueError")
def the_errors_that_were_named(driver, deliver):
    """Work may fail for reasons that nobody has thought of."""

    @driver.on("pickup")
    async def pickup(package, delivery):
        try:
            deliver(package)
        except (OSError, LookupError) as error:
            await driver.emit("failed", {"receipt": delivery["receipt"], "reason": str(error)})
        else:
            return delivery["receipt"]


@wrong("08.2", client="ada", says="dead, each with its reason")
def the_first_reason(driver, deliver):
    """The reason is that of the last attempt, and not what such a package died of before."""
    reasons = {}

    def refusal(error, delivery):
        reason = reasons.setdefault("first", str(error))
        return {"receipt": delivery["receipt"], "reason": reason if reason else "?"}

    refuses(driver, deliver, refusal)


@wrong("08.2", client="ada", says="has given back what has failed")
def counted_by_its_name(driver, deliver):
    """It gives up by itself, after so many failures of that name: of others, too."""
    failures = {}

    @driver.on("pickup")
    async def pickup(package, delivery):
        try:
            deliver(package)
        except Exception as error:
            failures[package] = failures.get(package, 0) + 1
            if failures[package] <= 3:
                refusal = {"receipt": delivery["receipt"], "reason": str(error)}
                return await driver.emit("failed", refusal)
        return delivery["receipt"]


@wrong("08.2", client="ada", says="fails with OSError of a hundred characters")
def half_a_reason(driver, deliver):
    """The reason is cut, as for a column of a table."""

    def refusal(error, delivery):
        return {"receipt": delivery["receipt"], "reason": str(error)[:50]}

    refuses(driver, deliver, refusal)


# -- 08.3 the hub is off --------------------------------------------------------------------------

ORDER = "INSERT INTO orders VALUES (?)"
OUT = "INSERT INTO outbox (package) VALUES (?)"
ALL = "SELECT id, package FROM outbox ORDER BY id"
GONE = "DELETE FROM outbox WHERE id = ?"


def shop(vendor, db, *, sell=None, key=lambda row: row[0], connect=True, stored=True):
    """The solution, with one part of it changed or left out."""

    async def hand_over():
        with suppress(socketio.exceptions.SocketIOError):
            for row in db.execute(ALL).fetchall():
                await vendor.emit("pickup", (key(row), row[1]))

    if connect:
        vendor.on("connect", hand_over)

    if stored:

        @vendor.on("stored")
        async def is_stored(key):
            with db:
                db.execute(GONE, [key])

    async def sells(package):
        with db:
            db.execute(ORDER, [package])
            db.execute(OUT, [package])
        await hand_over()

    return partial(sell, hand_over) if sell else sells


@wrong("08.3", client="vendor", says="takes the order")
def no_outbox(vendor, db):
    """Handed over at once, or not at all: off is off."""

    @vendor.on("stored")
    async def stored(key):
        """Nothing is to be done."""

    async def sell(package):
        with db:
            number = db.execute(ORDER, [package]).lastrowid
        await vendor.emit("pickup", (number, package))

    return sell


@wrong("08.3", client="vendor", says="the hub does not have it")
def nobody_asks_when_it_is_back(vendor, db):
    """Written down, and handed over when it is sold; when the hub comes back nobody looks."""
    return shop(vendor, db, connect=False)


@wrong("08.3", client="vendor", says="'pizza', twice in orders, is at the hub as often")
def known_by_what_is_sold(vendor, db):
    """Two who order the same have one key."""
    return shop(vendor, db, key=lambda row: row[1])


@wrong("08.3", client="vendor", says="the hub has it 3 times")
def a_key_for_each_try(vendor, db):
    """A key that is made when it is sent: each try is another order."""
    return shop(vendor, db, key=lambda row: str(uuid.uuid4()))


@wrong("08.3", client="vendor", says="")
def two_transactions(vendor, db):
    """The order first, the outbox afterwards: killed between them, nobody will hand it over."""

    async def sell(hand_over, package):
        with db:
            db.execute(ORDER, [package])
        with db:
            db.execute(OUT, [package])
        await hand_over()

    return shop(vendor, db, sell=sell)


@wrong("08.3", client="vendor", says="")
def the_outbox_first(vendor, db):
    """Two transactions the other way round: the hub gets what was never sold."""

    async def sell(hand_over, package):
        with db:
            db.execute(OUT, [package])
        with db:
            db.execute(ORDER, [package])
        await hand_over()

    return shop(vendor, db, sell=sell)


@wrong("08.3", client="vendor", says="")
def sent_before_it_is_written(vendor, db):
    """Handed over first, written down afterwards."""

    async def sell(hand_over, package):
        with db:
            key = db.execute(OUT, [package]).lastrowid
            if vendor.connected:
                await vendor.emit("pickup", (key, package))
                await asyncio.sleep(0.01)
            db.execute(ORDER, [package])

    return shop(vendor, db, sell=sell)


@wrong("08.3", client="vendor", says="the hub does not have it")
def deleted_when_sent(vendor, db):
    """Sent is taken for stored."""

    async def hand_over():
        with suppress(socketio.exceptions.SocketIOError):
            for row in db.execute(ALL).fetchall():
                await vendor.emit("pickup", row)
                with db:
                    db.execute(GONE, [row[0]])

    vendor.on("connect", hand_over)

    async def sell(package):
        with db:
            db.execute(ORDER, [package])
            db.execute(OUT, [package])
        await hand_over()

    return sell


@wrong("08.3", client="vendor", says="the hub does not have it")
def an_outbox_in_memory(vendor, db):
    """A list: it is gone with the program."""
    waiting = {}

    async def hand_over():
        with suppress(socketio.exceptions.SocketIOError):
            for key, package in [*waiting.items()]:
                await vendor.emit("pickup", (key, package))

    vendor.on("connect", hand_over)
    vendor.on("stored", lambda key: waiting.pop(key, None) and None)

    async def sell(package):
        with db:
            key = db.execute(ORDER, [package]).lastrowid
        waiting[key] = package
        await hand_over()

    return sell


@wrong("08.3", client="vendor", says="it is not in the file")
def sold_without_a_commit(vendor, db):
    """Without a commit nothing is in the file."""

    async def sell(hand_over, package):
        db.execute(ORDER, [package])
        db.execute(OUT, [package])
        await hand_over()

    return shop(vendor, db, sell=sell)


@wrong("08.3", client="vendor", says="takes the order")
def asks_nobody(vendor, db):
    """The library's error while the hub is off reaches the customer."""

    async def sell(hand_over, package):
        with db:
            db.execute(ORDER, [package])
            key = db.execute(OUT, [package]).lastrowid
        await vendor.emit("pickup", (key, package))

    return shop(vendor, db, sell=sell)


@wrong("08.3", client="vendor", says="a tuple becomes several arguments")
def one_argument(vendor, db):
    """A list is one argument, and a tuple is several."""

    async def hand_over():
        with suppress(socketio.exceptions.SocketIOError):
            for row in db.execute(ALL).fetchall():
                await vendor.emit("pickup", [*row])

    vendor.on("connect", hand_over)

    async def sell(package):
        with db:
            db.execute(ORDER, [package])
            db.execute(OUT, [package])
        await hand_over()

    return sell


@wrong("08.3", client="vendor", says="`return sell` is missing")
def returns_nothing(vendor, db):
    """The function is made, and nobody gets it."""
    shop(vendor, db)


@wrong("08.3", client="vendor", says="the hub does not have it")
def not_connected_yet(vendor, db):
    """In the handler of `connect` it is not `connected` yet, so nothing is handed over."""

    async def hand_over():
        for row in db.execute(ALL).fetchall():
            if vendor.connected:
                await vendor.emit("pickup", row)

    vendor.on("connect", hand_over)

    @vendor.on("stored")
    async def stored(key):
        with db:
            db.execute(GONE, [key])

    async def sell(package):
        with db:
            db.execute(ORDER, [package])
            db.execute(OUT, [package])
        await hand_over()

    return sell


@wrong("08.3", client="vendor", says="has nothing left in its outbox")
def never_deletes(vendor, db):
    """The outbox grows for ever, and all of it is handed over each time."""
    return shop(vendor, db, stored=False)
