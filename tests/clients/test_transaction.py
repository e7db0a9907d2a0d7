"""`emit_in_transaction` belongs to the user's transaction, on whatever connection that is."""

import asyncio
import contextlib
import sqlite3
import sys

import pytest
from shop import Undo, left, new_shop, orders, sell, taken

import chatq
from chatq import Outbox, Queues, Rules, emit_in_transaction, outbox_insert

QUICK = Rules(back_off=0.01, longest_back_off=0.05)


@pytest.fixture
def path(tmp_path):
    new_shop(tmp_path / "shop.db").close()
    return tmp_path / "shop.db"


@pytest.fixture
def db(path):
    with contextlib.closing(sqlite3.connect(path, check_same_thread=False)) as db:
        yield db


@pytest.fixture
async def queues():
    async with await Queues.open("memory:") as queues:
        yield queues


async def sent(path, queues):
    """Return what an outbox sends that is opened now."""
    async with await Outbox.inside(path, queues, rules=QUICK) as outbox:
        await outbox.flush()
        assert await outbox.rejected() == []
    return await taken(queues)


# What users set on their connections. A message is stored by the same statements as their rows.
CONNECTIONS = {
    "as it is": {},
    "immediate": {"isolation_level": "IMMEDIATE"},
    "exclusive": {"isolation_level": "EXCLUSIVE"},
    "by hand": {"isolation_level": None},
    "types": {"detect_types": sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES},
    "no statements kept": {"cached_statements": 0},
}
if sys.version_info >= (3, 12):
    CONNECTIONS["autocommit=False"] = {"autocommit": False}
    CONNECTIONS["autocommit=True"] = {"autocommit": True}


@pytest.mark.parametrize("how", CONNECTIONS)
@pytest.mark.parametrize("journal", ["wal", "delete", "truncate", "persist"])
async def test_it_is_stored_if_and_only_if_the_transaction_is(tmp_path, queues, how, journal):
    path = tmp_path / "shop.db"
    new_shop(path, journal).close()
    db = sqlite3.connect(path, **CONNECTIONS[how])
    by_hand = how in ("by hand", "autocommit=True")

    def begin():
        if by_hand:
            db.execute("BEGIN")

    def end(word):
        if by_hand:
            db.execute(word)
        else:
            getattr(db, word.lower())()

    for number, word in enumerate(["COMMIT", "ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT"]):
        begin()
        sell(db, number)
        end(word)
    begin()
    sell(db, 5)
    for number, undone in [(6, True), (7, False), (8, True)]:  # savepoints
        db.execute("SAVEPOINT outer_one")
        sell(db, number)
        db.execute("SAVEPOINT inner_one")
        sell(db, number + 10)
        db.execute("ROLLBACK TO inner_one")
        if undone:
            db.execute("ROLLBACK TO outer_one")
        db.execute("RELEASE outer_one")
    end("COMMIT")
    begin()
    sell(db, 9)
    db.close()  # without a word
    assert orders(path) == [0, 2, 4, 5, 7]
    assert await sent(path, queues) == [0, 2, 4, 5, 7]
    assert left(path) == 0


@pytest.mark.parametrize("error", [Undo, KeyboardInterrupt, sqlite3.IntegrityError])
async def test_an_exception_in_the_block_undoes_it(path, db, queues, error):
    def fail(error):
        with db:
            sell(db, 1)
            raise error

    def repeat_a_number():
        with db:
            sell(db, 3)
            db.execute(
                "INSERT INTO chatq_outbox (number, key, event, body) VALUES (1, 'k', 'e', 1)"
            )

    with pytest.raises(error):
        fail(error)
    with db:
        sell(db, 2)
    with pytest.raises(sqlite3.IntegrityError):
        repeat_a_number()
    assert orders(path) == await sent(path, queues) == [2]


async def test_what_the_user_has_set_on_the_connection_does_not_matter(path, db, queues):
    db.row_factory = sqlite3.Row
    db.text_factory = bytes
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA recursive_triggers = ON")
    db.execute("CREATE TEMP TABLE chatq_outbox (mine)")  # hides others of this name
    rows = db.execute("SELECT * FROM orders")  # a statement that is under way
    with db:
        key = sell(db, 1)
        sell(db, 2, key="mine")
    rows.fetchall()
    await asyncio.to_thread(lambda: (sell(db, 3), db.commit()))
    assert type(key) is str
    assert db.execute("SELECT count(*) FROM temp.chatq_outbox").fetchone()[0] == 0
    assert await sent(path, queues) == [1, 2, 3]


async def test_a_database_from_before_the_table_gets_it_with_the_transaction(path, db, queues):
    sell(db, 1)
    db.rollback()
    with db:
        db.execute("BEGIN")
        sell(db, 2)
    assert await sent(path, queues) == [2]


async def test_an_attached_database_has_its_own(tmp_path, path, queues):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("ATTACH ? AS 'my \"shop'", (str(path),))
    with other:
        other.execute("INSERT INTO orders VALUES (1)")
        emit_in_transaction(other, "pickup", 1, to="drivers", schema='my "shop')
    with pytest.raises(sqlite3.OperationalError, match="unknown database"):
        emit_in_transaction(other, "pickup", 2, to="drivers", schema="shop")
    other.close()
    assert await sent(path, queues) == orders(path) == [1]
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == []


@pytest.mark.parametrize(
    "how", [how for how in CONNECTIONS if how in ("by hand", "autocommit=True")]
)
def test_without_a_transaction_it_is_refused(path, how):
    db = sqlite3.connect(path, **CONNECTIONS[how])
    with pytest.raises(RuntimeError, match=r"in no transaction.*execute BEGIN first"):
        emit_in_transaction(db, "pickup", 1, to="drivers")
    assert db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'chatq%'").fetchall() == []
    db.close()


WRONG = [
    {"data": {1, 2}, "to": "drivers"},
    {"data": (1, 2), "to": "drivers"},
    {"data": {"order": [1, {2: 3}]}, "to": "drivers"},
    {"data": float("nan"), "to": "drivers"},
    {"data": "x" * 900_001, "to": "drivers"},
    {"data": 1, "to": []},
    {"data": 1, "to": ["a", "a"]},
    {"data": 1, "to": ""},
    {"data": 1, "to": 7},
    {"data": 1, "to": "drivers", "key": 5},
    {"data": 1, "to": "drivers", "key": "\n"},
    {"data": 1, "to": "drivers", "ttl": -1},
    {"data": 1, "to": "drivers", "delay": "soon"},
    {"data": 1, "to": "drivers", "delay": 10, "ttl": 10},
    {"event": "connect", "data": 1, "to": "drivers"},
    {"event": "", "data": 1, "to": "drivers"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_what_emit_refuses_is_refused_in_the_same_words_and_nothing_is_stored(
    path, db, queues, wrong
):
    arguments = {"event": "pickup", **wrong}
    with pytest.raises((TypeError, ValueError)) as emitting:
        await queues.emit(**arguments)
    with db:
        db.execute("INSERT INTO orders VALUES (1)")
        for refuse in (
            lambda: emit_in_transaction(db, **arguments),
            lambda: outbox_insert(**arguments),
        ):
            with pytest.raises(emitting.type) as refusing:
                refuse()
            assert str(refusing.value) == str(emitting.value)
        sell(db, 2)  # and the transaction goes on
    assert orders(path) == [1, 2]
    assert await sent(path, queues) == [2]


async def test_a_limit_of_ones_own_is_kept(path, db):
    with db:
        emit_in_transaction(db, "pickup", "x" * 98, to="drivers", payload=100)
        with pytest.raises(chatq.TooLarge, match="100 bytes as JSON, not 101"):
            emit_in_transaction(db, "pickup", "x" * 99, to="drivers", payload=100)
    assert left(path) == 1


async def test_data_arrives_as_it_was(path, db, queues):
    values = [None, 0, "é\u2028💶", [], {"a": [1.5, True]}, b"\0\xff", {"scan": b"x", "n": [b"y"]}]
    with db:
        for value in values:
            emit_in_transaction(db, "pickup", value, to=("drivers", "vendors"))
    assert await sent(path, queues) == values
    assert await taken(queues, "vendors") == values


async def test_a_locked_database_is_said_by_the_users_own_connection(path, db):
    with db:
        sell(db, 1)
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as second:
        sell(db, 2)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sell(second, 3)
        db.commit()
        with second:
            sell(second, 4)
    assert orders(path) == [1, 2, 4]
    assert left(path) == 3


class Awaited:
    """A connection whose statements are awaited, as others write them: a thread, and futures."""

    def __init__(self, path):
        self._db = sqlite3.connect(path, check_same_thread=False)

    def __await__(self):
        return self._opened().__await__()

    async def _opened(self):
        return self

    async def cursor(self):
        return await asyncio.to_thread(self._db.cursor)

    async def execute(self, sql, parameters=()):
        return await asyncio.to_thread(self._db.execute, sql, parameters)

    async def commit(self):
        await asyncio.to_thread(self._db.commit)


async def test_any_other_driver_executes_the_statement(path, queues):
    async with await Outbox.inside(path, queues, rules=QUICK, look=1000) as outbox:
        db = Awaited(path)
        with pytest.raises(TypeError, match=r"not by Awaited: execute chatq.outbox_insert\("):
            emit_in_transaction(db, "pickup", 1, to="drivers")
        await db.execute("INSERT INTO orders VALUES (1)")
        await db.execute(*outbox_insert("pickup", 1, to="drivers"))
        await outbox.flush()
        assert await taken(queues) == []  # not committed
        await db.commit()
        await outbox.flush()
        assert await taken(queues) == [1]
        db._db.close()
    for wrong in (None, "shop.db", path):
        with pytest.raises(TypeError, match="connection of DB-API 2"):
            emit_in_transaction(wrong, "pickup", 1, to="drivers")
