"""Every store keeps the contract of `queues/store.py`: one class of tests, inherited for each.

The clock is the test's own, so that leases, delays and keys end when the test says so.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from claims import QUEUE, claim
from clock import Clock
from nats_nodes import new_stream

from chatq.queues import sqlite_store, sqlite_trail, sqlite_upkeep, stock, trail
from chatq.queues.memory import MemoryStore
from chatq.queues.nats.nats_store import NatsStore
from chatq.queues.rules import EXPIRED
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage, QueueFull, Stats, StoreError
from chatq.waiting import give_way

DAY = 24 * 3600.0


def about(time: float) -> Any:
    """Times are kept to the millisecond."""
    return pytest.approx(time, rel=0, abs=1.1e-3)


def stats_of(*counts: int, oldest: float | None) -> Stats:
    return Stats(*counts, oldest=oldest if oldest is None else about(oldest))


#: The tables of the first version of a file.
SCHEMA_1 = """
CREATE TABLE meta (name TEXT NOT NULL, next INTEGER NOT NULL);
CREATE TABLE queue (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, pending INTEGER, dead INTEGER
);
CREATE TABLE body (
    id INTEGER PRIMARY KEY, event TEXT NOT NULL, data NOT NULL, born REAL NOT NULL,
    copies INTEGER NOT NULL
);
CREATE TABLE pending (
    queue INTEGER NOT NULL, seq INTEGER NOT NULL, body INTEGER NOT NULL, attempts INTEGER NOT NULL,
    spent INTEGER NOT NULL, expires REAL, due REAL, PRIMARY KEY (queue, seq)
) WITHOUT ROWID;
CREATE TABLE retry (
    queue INTEGER NOT NULL, due REAL NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (queue, due, seq)
) WITHOUT ROWID;
CREATE TABLE dead (
    queue INTEGER NOT NULL, seq INTEGER NOT NULL, body INTEGER NOT NULL, attempts INTEGER NOT NULL,
    expires REAL, reason TEXT NOT NULL, died REAL NOT NULL, PRIMARY KEY (queue, seq)
) WITHOUT ROWID;
CREATE TABLE key (
    queue INTEGER NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX key_until ON key (until);
"""


def message(n: object = 0, *queues: str, **more: Any) -> NewMessage:
    return NewMessage("pickup", f'"{n}"', queues or (QUEUE,), **more)


async def put(store, *numbers, **more):
    """Put one message for each number; return their ids."""
    return [ids[0] for ids in await store.put([message(n, **more) for n in numbers])]


async def put_into(store, queue, *numbers, **more):
    return [ids[0] for ids in await store.put([message(n, queue, **more) for n in numbers])]


async def passed(store, clock, seconds):
    """Let so much time pass, and the store see it: its own timer is one of the event loop."""
    clock.now += seconds
    store.tick()
    await store.names()  # what was asked before is done


async def emptied(store, queue):
    """Delete a queue in slices; return how many messages that were."""
    deleted = 0
    while (n := await store.delete(queue, 2)) is not None:
        deleted += n
    return deleted


def told(fate):
    """Return the way of a message, in a line."""
    return ", ".join(f"{step.what} {step.detail}".rstrip() for step in fate.steps)


def numbers(attempts):
    return [int(attempt.body.strip('"')) for attempt in attempts]


class Contract:
    """The contract of all stores; `group`: what is asked at once takes effect at once."""

    group = True

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def store(self, clock, tmp_path):
        store = await self.open(tmp_path, clock=clock)
        yield store
        await store.close()

    async def open(self, folder: Path, **options: Any):
        raise NotImplementedError

    # -- put ------------------------------------------------------------------------------------

    async def test_what_was_put_is_claimed_as_it_was(self, store):
        [ids] = await store.put(
            [NewMessage("pickup", b"\0body", (QUEUE,), expires=5e9 + 0.1234567)]
        )
        [attempt] = await claim(store)
        assert [attempt.id] == ids
        assert (attempt.queue, attempt.event, attempt.body) == (QUEUE, "pickup", b"\0body")
        assert (attempt.number, attempt.failures, attempt.expires) == (1, 0, about(5e9 + 0.1234567))
        assert len(attempt.receipt) == 32

    async def test_messages_come_in_the_order_of_put(self, store):
        await put(store, 1, 2)
        await put(store, 3)
        assert numbers(await claim(store, 2)) == [1, 2]
        assert numbers(await claim(store, 2)) == [3]
        assert await claim(store) == []

    async def test_queues_do_not_mix(self, store):
        await store.put([message(1, "a"), message(2, "b"), message(3, "a")])
        assert numbers(await claim(store, queue="a")) == [1, 3]
        assert numbers(await claim(store, queue="b")) == [2]
        assert await claim(store, queue="c") == []

    async def test_each_queue_has_a_copy_of_its_own(self, store):
        [ids] = await store.put([message(1, "a", "b", "c")])
        assert len(set(ids)) == 3
        copies = [(await claim(store, queue=name))[0] for name in "abc"]
        assert [copy.id for copy in copies] == ids
        assert await store.ack([copies[0].receipt]) == [True]
        assert await store.bury(copies[1].receipt, "no") is True
        assert await store.release(copies[2].receipt) is True
        assert await claim(store, queue="a") == []
        assert [dead.body for dead in await store.dead("b")] == ['"1"']
        assert numbers(await claim(store, queue="c")) == [1]
        assert await store.redrive("b") == 1
        assert numbers(await claim(store, queue="b")) == [1]

    async def test_an_id_that_only_looks_like_one_is_nobodys(self, store):
        [[id]] = await store.put([message(1)])
        name, _, number = id.rpartition("-")
        others = [f"{name}-0{number}", f"{name}--{number}", f"{name}-{number} ", f"x-{number}"]
        others += [f"{name}-٣", f"{name}-{'9' * 30}", number, "", "-"]
        assert await store.remove(QUEUE, others) == [False] * len(others)
        assert await store.redrive(QUEUE, others) == 0
        assert await store.remove(QUEUE, [id]) == [True]

    async def test_a_full_queue_takes_nothing_and_the_others_of_that_put_neither(
        self, clock, tmp_path
    ):
        store = await self.open(tmp_path, length=2, clock=clock)
        await put(store, 1)
        with pytest.raises(QueueFull, match=r"'drivers' may hold 2 .* nothing was stored"):
            await store.put([message(2, "a"), message(3), message(4, QUEUE, "b")])
        assert await claim(store, queue="a") == await claim(store, queue="b") == []
        await put(store, 2)
        with pytest.raises(QueueFull):
            await put(store, 3)
        assert numbers(await claim(store)) == [1, 2]
        with pytest.raises(QueueFull):  # those that are leased are still in it
            await put(store, 3)
        await store.close()

    async def test_what_is_put_at_once_fills_a_queue_to_its_limit(self, clock, tmp_path):
        store = await self.open(tmp_path, length=3, clock=clock)
        asked = [store.put_one("pickup", str(n), QUEUE) for n in range(5)]
        asked += [store.put_one("pickup", "9", "b")]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 3 + [True] * 2 + [
            False
        ]
        assert numbers(await claim(store)) == [0, 1, 2]
        with pytest.raises(QueueFull):
            await store.put([message(n, "b") for n in range(3)])
        assert numbers(await claim(store, queue="b")) == [9]
        with pytest.raises(QueueFull):
            await store.put([message(n, "new") for n in range(5)])
        assert await claim(store, queue="new") == []
        await store.close()

    async def test_what_is_put_at_once_is_in_the_order_of_the_calls(self, store):
        asked = []
        for n in range(0, 400, 4):
            asked += [store.put_one("pickup", str(n), QUEUE), store.put_one("pickup", "0", "b")]
            asked += [store.put([message(n + 1, key=str(n))]), store.put([message(n + 2, "b")])]
            asked += [store.put([message(n + 3), message(n + 3, "b")])]
        ids = await asyncio.gather(*asked)
        assert len({str(id) for id in ids}) == len(ids)
        attempts = await claim(store, 400)
        assert numbers(attempts) == [n for n in range(400) if n % 4 != 2]
        assert [a.id for a in attempts[0::3]] == ids[0::5]
        assert len(await claim(store, 400, queue="b")) == 300
        assert (await store.stats(QUEUE)).leased == 300

    async def test_a_key_that_was_seen_stores_nothing_and_gives_the_id_of_that_time(self, store):
        [first] = await put(store, 1, key="k")
        assert await put(store, 2, key="k") == [first]
        assert await put(store, 3, 4, key="new") != [first, first]
        assert numbers(await claim(store)) == [1, 3]

    async def test_a_key_is_of_its_queue(self, store):
        [[a]] = await store.put([message(1, "a", key="k")])
        [[b, again, c]] = await store.put([message(2, "b", "a", "c", key="k")])
        assert again == a
        assert len({a, b, c}) == 3
        assert numbers(await claim(store, queue="a")) == [1]
        assert numbers(await claim(store, queue="b")) == [2]
        [copy] = await claim(store, queue="c")
        assert await store.ack([copy.receipt]) == [True]

    async def test_a_key_twice_in_one_put_stores_one(self, store):
        [[a], [b, c]] = await store.put([message(1, "a", key="k"), message(2, "a", "c", key="k")])
        assert a == b != c
        assert numbers(await claim(store, queue="a")) == [1]
        assert (await store.stats("a")).leased == 1

    async def test_a_key_outlives_its_message(self, store):
        [id] = await put(store, 1, key="k")
        [attempt] = await claim(store)
        await store.ack([attempt.receipt])
        assert await put(store, 2, key="k") == [id]
        assert await claim(store) == []

    async def test_a_key_is_forgotten_in_time_and_not_before(self, clock, tmp_path):
        store = await self.open(tmp_path, key_memory=60.0, clock=clock)
        [first] = await put(store, 1, key="k")
        clock.now += 59
        assert await put(store, 2, key="k") == [first]
        clock.now += 1
        [second] = await put(store, 3, key="k")
        assert second != first
        assert await put(store, 4, key="k") == [second]
        assert numbers(await claim(store)) == [1, 3]
        await store.close()

    async def test_a_full_queue_still_knows_its_keys(self, clock, tmp_path):
        store = await self.open(tmp_path, length=1, clock=clock)
        [id] = await put(store, 1, key="k")
        assert await put(store, 2, key="k") == [id]
        await store.close()

    # -- claim and lease ------------------------------------------------------------------------

    async def test_a_leased_message_is_out_of_reach_until_its_lease_ends(self, store, clock):
        await put(store, 1, 2)
        [first] = await claim(store, 1, lease=30.0)
        assert numbers(await claim(store, 1)) == [2]
        clock.now += 29.9
        assert await claim(store) == []
        clock.now += 0.1
        again = await claim(store)
        assert numbers(again) == [1, 2]
        assert [attempt.number for attempt in again] == [2, 2]
        assert again[0].id == first.id
        assert again[0].receipt != first.receipt

    async def test_leases_of_different_lengths_end_each_at_its_time(self, store, clock):
        await put(store, 1, 2)
        await claim(store, 1, lease=100.0)
        claimed = await store.claim(QUEUE, 1, 10.0, in_order=False)
        assert claimed.due == clock.now + 10
        clock.now += 10
        assert numbers(await claim(store)) == [2]

    async def test_receipts_are_all_different(self, store, clock):
        await put(store, *range(50))
        seen = set()
        for _ in range(4):
            seen |= {attempt.receipt for attempt in await claim(store, 50)}
            clock.now += 31
        assert len(seen) == 200

    async def test_claim_says_when_time_alone_brings_more(self, store, clock):
        empty = await store.claim(QUEUE, 1, 30.0, in_order=False)
        assert (empty.attempts, empty.due) == ([], None)
        await put(store, 1, 2)
        claimed = await store.claim(QUEUE, 1, 30.0, in_order=False)
        assert claimed.due == clock.now + 30
        second = await store.claim(QUEUE, 1, 30.0, in_order=False)
        await store.release(second.attempts[0].receipt, 5.0)
        assert (await store.claim(QUEUE, 1, 30.0, in_order=False)).due == about(clock.now + 5)
        assert (await store.claim(QUEUE, 1, 30.0, in_order=True)).due == clock.now + 30

    # -- settling -------------------------------------------------------------------------------

    async def test_ack_deletes(self, store, clock):
        await put(store, 1, 2, 3)
        attempts = await claim(store, 3)
        assert await store.ack([attempts[0].receipt, attempts[2].receipt]) == [True, True]
        clock.now += 31
        assert numbers(await claim(store)) == [2]

    @pytest.mark.parametrize("way", ["ack", "release", "bury"])
    @pytest.mark.parametrize("first", ["ack", "release", "bury"])
    async def test_a_receipt_settles_once(self, store, first, way):
        await put(store, 1)
        [attempt] = await claim(store)
        assert await settle(store, first, attempt.receipt) is True
        before = await state(store)
        assert await settle(store, way, attempt.receipt) is False
        assert await state(store) == before

    @pytest.mark.parametrize("way", ["ack", "release", "bury"])
    async def test_a_receipt_of_another_attempt_changes_nothing(self, store, clock, way):
        await put(store, 1)
        [stale] = await claim(store)
        clock.now += 31
        [current] = await claim(store)
        before = await state(store)
        for receipt in (stale.receipt, "", "nonsense", current.receipt.upper() + "0"):
            assert await settle(store, way, receipt) is False
        assert await state(store) == before
        assert await settle(store, way, current.receipt) is True

    async def test_one_ack_tells_for_each_receipt_even_the_same_twice(self, store):
        await put(store, 1, 2)
        one, two = [attempt.receipt for attempt in await claim(store)]
        assert await store.ack([one, "x", one, two]) == [True, False, False, True]
        assert await store.ack([]) == []

    async def test_released_messages_come_first_and_in_order(self, store):
        await put(store, *range(6))
        attempts = await claim(store, 4)
        for n in (3, 0, 2):
            await store.release(attempts[n].receipt)
        again = await claim(store)
        assert numbers(again) == [0, 2, 3, 4, 5]
        assert [attempt.number for attempt in again] == [2, 2, 2, 1, 1]

    async def test_a_delayed_message_comes_when_its_time_has_come(self, store, clock):
        await put(store, 1, 2, 3)
        one, two, _ = await claim(store)
        await store.release(one.receipt, 20.0)
        await store.release(two.receipt, 10.0)
        await put(store, 4)
        assert numbers(await claim(store, 1)) == [4]
        clock.now += 20
        await put(store, 5)
        again = await claim(store)
        assert numbers(again) == [2, 1, 5]  # in the order in which their times came
        assert [attempt.number for attempt in again] == [2, 2, 1]

    async def test_given_back_at_once_comes_before_given_back_with_a_delay(self, store, clock):
        await put(store, 1, 2, 3)
        one, two, _ = await claim(store)
        await store.release(one.receipt, 1.0)
        clock.now += 5
        await store.release(two.receipt)
        assert numbers(await claim(store, 1)) == [2]
        assert numbers(await claim(store, 1)) == [1]

    async def test_what_was_never_sent_is_no_attempt(self, store):
        await put(store, 1)
        for _ in range(3):
            [attempt] = await claim(store)
            assert attempt.number == 1
            assert await store.release(attempt.receipt, sent=False) is True
        [attempt] = await claim(store)
        assert await store.release(attempt.receipt) is True
        assert [attempt.number for attempt in await claim(store)] == [2]

    # -- in order -------------------------------------------------------------------------------

    async def test_in_order_nothing_overtakes(self, store, clock):
        await put(store, 1, 2)
        [one] = await claim(store, in_order=True)
        assert numbers([one]) == [1]
        assert await claim(store, in_order=True) == []  # while it is leased
        await store.release(one.receipt, 5.0)
        assert await claim(store, in_order=True) == []  # while it waits
        clock.now += 5
        [one] = await claim(store, in_order=True)
        assert (numbers([one]), one.number) == ([1], 2)
        clock.now += 31
        [one] = await claim(store, in_order=True)  # its lease has ended
        assert (numbers([one]), one.number) == ([1], 3)
        await store.release(one.receipt)
        [one] = await claim(store, in_order=True)
        await store.ack([one.receipt])
        assert numbers(await claim(store, in_order=True)) == [2]

    async def test_in_order_beside_one_that_is_not(self, store):
        await put(store, 1, 2, 3)
        one, two = await claim(store, 2)
        assert await claim(store, in_order=True) == []
        await store.ack([one.receipt])
        assert await claim(store, in_order=True) == []
        await store.release(two.receipt)
        assert numbers(await claim(store, in_order=True)) == [2]
        assert numbers(await claim(store)) == [3]

    async def test_a_message_redriven_has_its_old_place_in_order(self, store):
        await put(store, 1, 2)
        [one] = await claim(store, in_order=True)
        await store.bury(one.receipt, "no")
        await store.redrive(QUEUE)
        assert numbers(await claim(store, in_order=True)) == [1]

    # -- the dead -------------------------------------------------------------------------------

    async def test_the_dead_say_what_became_of_them(self, store, clock):
        ids = await put(store, 1, 2, 3)
        attempts = await claim(store)
        clock.now += 1
        await store.bury(attempts[2].receipt, "third")
        await store.bury(attempts[0].receipt, "first")
        dead = await store.dead(QUEUE)
        assert [(d.id, d.event, d.body, d.attempts, d.reason, d.died) for d in dead] == [
            (ids[0], "pickup", '"1"', 1, "first", clock.now),
            (ids[2], "pickup", '"3"', 1, "third", clock.now),
        ]
        assert [d.id for d in await store.dead(QUEUE, 1)] == [ids[0]]
        assert await store.dead("nobody's") == []
        clock.now += 31
        assert numbers(await claim(store)) == [2]

    async def test_buried_unsent_is_no_attempt(self, store):
        await put(store, 1)
        [attempt] = await claim(store)
        assert await store.bury(attempt.receipt, "expired", sent=False) is True
        assert [dead.attempts for dead in await store.dead(QUEUE)] == [0]

    async def test_redrive_keeps_the_id_and_the_count_which_weighs_no_more(self, store, clock):
        await put(store, 1, 2)
        for _ in range(2):
            one, two = await claim(store)
            clock.now += 31
        one, two = await claim(store)
        await store.bury(one.receipt, "a")
        await store.bury(two.receipt, "b")
        assert await store.redrive(QUEUE, [two.id, two.id, "x", "x-1", one.id + "0", ""]) == 1
        [again] = await claim(store)
        assert (again.id, again.number, again.failures) == (two.id, 4, 0)
        assert (two.redriven, again.redriven) == (0, 3)
        fate = await store.where(two.id)
        assert (fate.attempts, fate.failures, fate.redriven) == (4, 0, 3)
        assert [d.id for d in await store.dead(QUEUE)] == [one.id]
        assert await store.redrive(QUEUE) == 1
        assert await store.redrive(QUEUE) == 0
        assert await store.redrive("nobody's") == 0
        assert await store.dead(QUEUE) == []

    async def test_which_ids_are_those_of_dead_letters(self, store):
        ids = await put(store, 0, 1, 2)
        [elsewhere] = await put_into(store, "other", 9)
        for queue in (QUEUE, "other"):
            claimed = await store.claim(queue, 1, 30.0, in_order=False)
            await store.bury(claimed.attempts[0].receipt, "x")
        asked = [ids[0], ids[1], elsewhere, "", "x-1", ids[0], f"{ids[0]}0"]
        assert await store.are_dead(QUEUE, asked) == [True, False, False, False, False, True, False]
        assert await store.are_dead("other", asked[:3]) == [False, False, True]
        assert await store.are_dead("nobody's", asked[:1]) == [False]
        await store.redrive(QUEUE, [ids[0]])
        assert await store.are_dead(QUEUE, [ids[0]]) == [False]

    async def test_a_redriven_message_does_not_expire_again(self, store, clock):
        await put(store, 1, expires=clock.now + 5)
        await passed(store, clock, 6)
        assert await store.redrive(QUEUE) == 1
        await passed(store, clock, 100)
        [attempt] = await claim(store)
        assert attempt.expires is None

    async def test_nothing_but_ack_and_redrive_takes_from_queue_and_dead(self, store, clock):
        await put(store, *range(5))
        for _ in range(30):
            await claim(store, 3)
            clock.now += 31
        assert len(await claim(store)) == 5

    # -- what counts, and who is suspect --------------------------------------------------------

    async def test_a_lease_that_ended_and_a_counted_release_are_failures(self, store, clock):
        await put(store, 1)
        [attempt] = await claim(store)
        assert (attempt.number, attempt.failures, attempt.suspect) == (1, 0, False)
        await store.release(attempt.receipt, counted=False)
        [attempt] = await claim(store)
        assert (attempt.number, attempt.failures, attempt.suspect) == (2, 0, False)
        await store.release(attempt.receipt, sent=False)
        [attempt] = await claim(store)
        assert (attempt.number, attempt.failures, attempt.suspect) == (2, 0, False)
        clock.now += 31
        [attempt] = await claim(store)
        assert (attempt.number, attempt.failures, attempt.suspect) == (3, 1, True)
        await store.release(attempt.receipt, counted=False)  # nobody has answered
        [attempt] = await claim(store)
        assert (attempt.number, attempt.failures, attempt.suspect) == (4, 1, True)
        await store.release(attempt.receipt, 1.0)
        clock.now += 1
        [attempt] = await claim(store)
        assert (attempt.number, attempt.failures, attempt.suspect) == (5, 2, False)

    @pytest.mark.parametrize("delay", [0.0, 1.0])
    async def test_a_suspect_message_is_claimed_alone(self, store, clock, delay):
        await put(store, 1, 2)
        both = await claim(store)
        clock.now += 31
        await put(store, 3, 4)
        [one] = await claim(store, 1)
        await store.release(one.receipt, delay, counted=False)
        clock.now += delay

        async def next_one(alone: bool):
            claimed = await store.claim(QUEUE, 10, 30.0, in_order=False, alone=alone)
            return numbers(claimed.attempts), claimed.suspect

        first, second = ([2], [1]) if delay else ([1], [2])
        assert await next_one(alone=False) == ([], True)
        assert await next_one(alone=True) == (first, True)
        assert await next_one(alone=False) == ([], True)
        assert await next_one(alone=True) == (second, True)
        assert await next_one(alone=False) == ([3, 4], False)
        assert await next_one(alone=True) == ([], False)
        assert not any(both_before.suspect for both_before in both)

    async def test_the_oldest_message_is_claimed_alone_if_it_is_suspect(self, store, clock):
        await put(store, 1, 2)
        await claim(store, 1)
        clock.now += 31

        async def oldest(alone: bool):
            claimed = await store.claim(QUEUE, 1, 30.0, in_order=True, alone=alone)
            return claimed.attempts, claimed.suspect

        assert await oldest(alone=False) == ([], True)
        [one], suspect = await oldest(alone=True)
        assert (*numbers([one]), suspect) == (1, True)
        assert await oldest(alone=False) == ([], False)
        await store.ack([one.receipt])
        [two], suspect = await oldest(alone=False)
        assert (*numbers([two]), suspect) == (2, False)

    async def test_nothing_follows_before_a_suspect_message(self, store, clock):
        await put(store, 1, 2, 3)
        one, _, three = await claim(store)
        await store.extend([one.receipt, three.receipt], 60.0)
        clock.now += 31
        await claim(store, 1)  # two is back, and suspect
        await store.release(one.receipt)
        await store.release(three.receipt)
        clock.now += 31
        claimed = await store.claim(QUEUE, 10, 30.0, in_order=False)
        assert (numbers(claimed.attempts), claimed.suspect) == ([1], True)
        claimed = await store.claim(QUEUE, 10, 30.0, in_order=False)
        assert (numbers(claimed.attempts), claimed.suspect) == ([2], True)
        claimed = await store.claim(QUEUE, 10, 30.0, in_order=False)
        assert (numbers(claimed.attempts), claimed.suspect) == ([3], False)

    @pytest.mark.parametrize("way", ["bury", "remove", "ack"])
    async def test_nobody_is_suspect_for_what_is_gone(self, store, clock, way):
        [id] = await put(store, 1)
        await claim(store)
        clock.now += 31
        [attempt] = await claim(store)
        if way == "bury":
            await store.bury(attempt.receipt, "no")
            await store.redrive(QUEUE)
            [attempt] = await claim(store)
            assert (attempt.failures, attempt.suspect) == (0, False)
        elif way == "remove":
            await store.remove(QUEUE, [id])
        await store.ack([attempt.receipt])
        await put(store, 2, 3)
        assert numbers((await store.claim(QUEUE, 5, 30.0, in_order=False)).attempts) == [2, 3]

    # -- clocks ---------------------------------------------------------------------------------

    async def test_a_clock_that_is_set_back_holds_up_nothing(self, store, clock):
        await put(store, 1, 2)
        one, _ = await claim(store)
        await store.release(one.receipt, 10.0)
        clock.now -= 3600
        assert (await store.stats(QUEUE)).oldest == 0.0
        clock.now += 5
        claimed = await store.claim(QUEUE, 5, 30.0, in_order=False)
        assert claimed.attempts == []
        clock.now += 5.1
        assert numbers(await claim(store)) == [1]
        clock.now += 20
        assert numbers(await claim(store)) == [2]
        stats = await store.stats(QUEUE)
        assert (stats.leased, stats.oldest) == (2, about(30.1))

    # -- extending leases -----------------------------------------------------------------------

    async def test_an_extended_lease_runs_anew(self, store, clock):
        await put(store, 1, 2)
        one, two = await claim(store)
        clock.now += 20
        assert await store.extend([one.receipt, "no receipt"], 30.0) == [True, False]
        claimed = await store.claim(QUEUE, 5, 30.0, in_order=False)
        assert (claimed.attempts, claimed.due) == ([], about(clock.now + 10))
        clock.now += 11
        [again] = await claim(store)
        assert (again.id, again.number) == (two.id, 2)
        assert await store.extend([two.receipt], 30.0) == [False]
        assert (await store.stats(QUEUE)).leased == 2
        clock.now += 18.9
        assert await claim(store) == []
        assert await store.ack([one.receipt]) == [True]
        assert await store.extend([one.receipt], 30.0) == [False]

    async def test_a_lease_may_be_extended_to_an_earlier_end(self, store, clock):
        await put(store, 1, 2)
        _, two = await claim(store, lease=100.0)
        assert await store.extend([two.receipt], 10.0) == [True]
        clock.now += 10
        [again] = await claim(store)
        assert again.id == two.id

    # -- what ends as time passes ---------------------------------------------------------------

    async def test_a_message_expires_though_nobody_consumes_its_queue(self, store, clock):
        mourned: list[tuple[str, str, str]] = []
        store.mourn(lambda *expired: mourned.append(expired))
        [id, other] = await put(store, 1, 2, expires=clock.now + 5)
        [kept] = await put(store, 3, expires=clock.now + 50)
        await passed(store, clock, 4.9)
        assert (await store.stats(QUEUE)).ready == 3
        await passed(store, clock, 0.1)
        assert await store.stats(QUEUE) == stats_of(1, 0, 0, 2, oldest=5.0)
        assert [(d.id, d.reason, d.attempts) for d in await store.dead(QUEUE)] == [
            (id, "expired", 0),
            (other, "expired", 0),
        ]
        assert [attempt.id for attempt in await claim(store)] == [kept]
        assert sorted(mourned) == [(QUEUE, id, "pickup"), (QUEUE, other, "pickup")]

    async def test_a_message_expires_though_nobody_asks_anything(self, tmp_path):
        """In the time of the event loop: a timer is set to the first end."""
        store = await self.open(tmp_path)
        expired = asyncio.Event()
        store.mourn(lambda *_: expired.set())
        await put(store, 1, expires=time.time() + 3600)
        await put(store, 2, expires=time.time() + 0.05)
        async with asyncio.timeout(10):
            await expired.wait()
        assert [dead.body for dead in await store.dead(QUEUE)] == ['"2"']
        await store.close()

    async def test_a_message_whose_lease_outlives_it_expires_with_that_though_nobody_asks(
        self, tmp_path
    ):
        store = await self.open(tmp_path)
        expired = asyncio.Event()
        store.mourn(lambda *_: expired.set())
        await put(store, 1, expires=time.time() + 0.1)
        claimed = await store.claim(QUEUE, 1, 0.4, in_order=False)
        until = time.time() + 0.4
        assert numbers(claimed.attempts) == [1]
        async with asyncio.timeout(10):
            await expired.wait()
        assert time.time() > until - 0.1
        assert [dead.attempts for dead in await store.dead(QUEUE)] == [1]
        await store.close()

    async def test_what_has_expired_takes_no_room(self, clock, tmp_path):
        store = await self.open(tmp_path, length=2, clock=clock)
        await put(store, 1, 2, expires=clock.now + 5)
        with pytest.raises(QueueFull):
            await put(store, 3)
        clock.now += 5
        await put(store, 3, 4)
        with pytest.raises(QueueFull):
            await put(store, 5)
        assert numbers(await claim(store)) == [3, 4]
        await store.close()

    async def test_more_may_expire_at_once_than_one_sweep_takes(self, clock, tmp_path, monkeypatch):
        """A queue has room at once where its messages have expired; the rest follows."""
        for module in (stock, sqlite_upkeep):
            monkeypatch.setattr(module, "_SWEEP", 3)
        store = await self.open(tmp_path, length=10, clock=clock)
        for queue in ("a", "b"):
            await put_into(store, queue, *range(10), expires=clock.now + 5)
        clock.now += 5
        await put_into(store, "b", 10, 11)
        for _ in range(20):
            await passed(store, clock, 0)
        assert (await store.stats("a")).dead == (await store.stats("b")).dead == 10
        assert numbers(await claim(store, queue="b")) == [10, 11]
        await store.close()

    async def test_what_is_leased_makes_no_room_though_its_time_is_over(
        self, clock, tmp_path, monkeypatch
    ):
        """Also while more have expired elsewhere than one sweep takes."""
        for module in (stock, sqlite_upkeep):
            monkeypatch.setattr(module, "_SWEEP", 3)
        store = await self.open(tmp_path, length=10, clock=clock)
        for queue in ("a", "b"):
            await put_into(store, queue, *range(10), expires=clock.now + 5)
        first, *_ = await claim(store, queue="b", lease=30.0)
        clock.now += 5
        with pytest.raises(QueueFull):
            await put_into(store, "b", 10)
        assert await store.ack([first.receipt]) == [True]
        await put_into(store, "b", 10)
        await store.close()

    async def test_a_message_that_is_leased_may_be_answered_after_its_time(self, store, clock):
        await put(store, 1, 2, expires=clock.now + 5)
        one, two = await claim(store, lease=30.0)
        await passed(store, clock, 20)
        assert (await store.stats(QUEUE)).leased == 2
        assert await store.ack([one.receipt]) == [True]
        await passed(store, clock, 9.9)
        assert (await store.stats(QUEUE)).dead == 0
        await passed(store, clock, 0.1)  # its lease ends, and nobody claims
        assert await store.stats(QUEUE) == stats_of(0, 0, 0, 1, oldest=None)
        assert await store.ack([two.receipt]) == [False]

    @pytest.mark.parametrize("delay", [0.0, 50.0])
    async def test_a_message_given_back_after_its_time_is_dead(self, store, clock, delay):
        await put(store, 1, expires=clock.now + 5)
        [attempt] = await claim(store)
        await passed(store, clock, 10)
        assert await store.release(attempt.receipt, delay) is True
        await passed(store, clock, 0)
        assert [(d.reason, d.attempts) for d in await store.dead(QUEUE)] == [("expired", 1)]
        assert await claim(store) == []

    async def test_what_waits_to_be_tried_again_expires(self, store, clock):
        await put(store, 1, 2, expires=clock.now + 5)
        one, two = await claim(store)
        await store.release(one.receipt, 100.0)
        await store.release(two.receipt)
        await passed(store, clock, 5)
        assert await store.stats(QUEUE) == stats_of(0, 0, 0, 2, oldest=None)
        assert await store.redrive(QUEUE) == 2
        assert numbers(await claim(store)) == [1, 2]

    async def test_listeners_hear_that_the_next_in_order_is_free_since_one_has_expired(
        self, store, clock
    ):
        heard: list[str] = []
        await put(store, 1, expires=clock.now + 5)
        await put(store, 2)
        [one] = await claim(store, in_order=True)
        await store.release(one.receipt, 50.0)
        assert await claim(store, in_order=True) == []
        store.listen(heard.append)
        await passed(store, clock, 5)
        await store.stats(QUEUE)
        assert heard == [QUEUE]
        assert numbers(await claim(store, in_order=True)) == [2]

    async def test_a_body_that_queues_share_outlives_one_that_expires_in_one_of_them(
        self, store, clock
    ):
        await store.put([message(1, "a", "b", "c", expires=clock.now + 5)])
        [copy] = await claim(store, queue="c", lease=100.0)
        await passed(store, clock, 5)
        assert await store.discard("a") == 1
        assert await store.redrive("b") == 1
        assert numbers(await claim(store, queue="b")) == [1]
        await store.release(copy.receipt)
        await passed(store, clock, 0)
        assert [dead.body for dead in await store.dead("c")] == ['"1"']

    async def test_dead_letters_are_kept_for_a_time(self, clock, tmp_path):
        store = await self.open(tmp_path, dead_memory=100.0, clock=clock)
        await put(store, 1, 2, expires=clock.now + 5)
        [attempt] = await claim(store, 1)
        await store.bury(attempt.receipt, "no")
        await passed(store, clock, 50)
        assert [(d.body, d.reason) for d in await store.dead(QUEUE)] == [
            ('"1"', "no"),
            ('"2"', "expired"),
        ]
        await passed(store, clock, 50)
        assert [d.body for d in await store.dead(QUEUE)] == ['"2"']
        await passed(store, clock, 50)
        assert await store.dead(QUEUE) == []
        assert await store.stats(QUEUE) == stats_of(0, 0, 0, 0, oldest=None)
        await store.close()

    async def test_so_many_dead_letters_are_kept_the_last_to_die(self, clock, tmp_path):
        store = await self.open(tmp_path, dead_length=2, clock=clock)
        await put(store, *range(5))
        attempts = await claim(store)
        for n in (4, 0, 2):
            clock.now += 1
            await store.bury(attempts[n].receipt, "no")
        assert [d.body for d in await store.dead(QUEUE)] == ['"0"', '"2"']
        assert (await store.stats(QUEUE)).dead == 2
        await put_into(store, "b", *range(5), expires=clock.now + 5)
        await passed(store, clock, 5)
        assert [d.body for d in await store.dead("b")] == ['"3"', '"4"']
        assert len(await store.dead(QUEUE)) == 2  # each queue has its own
        assert await store.redrive(QUEUE) == 2
        await store.close()

    @pytest.mark.parametrize("rule", ["dead_length", "dead_memory"])
    async def test_no_dead_letters_are_kept_where_nobody_wants_any(self, clock, tmp_path, rule):
        store = await self.open(tmp_path, clock=clock, **{rule: 0})
        await put(store, 1, expires=clock.now + 5)
        await passed(store, clock, 5)
        assert await store.stats(QUEUE) == stats_of(0, 0, 0, 0, oldest=None)
        await put(store, 2)
        [attempt] = await claim(store)
        assert await store.bury(attempt.receipt, "no") is True
        await passed(store, clock, 0)
        assert await store.dead(QUEUE) == []
        assert await store.redrive(QUEUE) == 0
        await store.close()

    async def test_so_many_keys_are_remembered_the_newest(self, clock, tmp_path):
        store = await self.open(tmp_path, keys=3, clock=clock)
        ids = [(await put(store, n, key=f"k{n}"))[0] for n in range(5)]
        assert [await put(store, n, key=f"k{n}") for n in (2, 3, 4)] == [[id] for id in ids[2:]]
        [anew] = await put(store, 1, key="k1")
        assert anew not in ids
        assert await put(store, 4, key="k4") == [ids[4]]
        many = [message(n, "b", key=f"m{n}") for n in range(5)]
        [*_, [last]] = await store.put(many)
        assert await store.put(many[4:]) == [[last]]
        assert (await store.put(many[:1]))[0] != (await store.put(many[4:]))[0]
        await store.close()

    async def test_a_queue_with_nothing_in_it_is_known_for_a_time(self, clock, tmp_path):
        store = await self.open(
            tmp_path, queue_memory=100.0, key_memory=10.0, dead_memory=50.0, clock=clock
        )
        await store.put([message(1, "a", "b", "c"), message(2, "d", expires=clock.now + 5)])
        for queue in "ab":
            [attempt] = await claim(store, queue=queue)
            await store.ack([attempt.receipt])
        await passed(store, clock, 70)  # now the message in d is dead
        await put_into(store, "b", 3)
        await passed(store, clock, 29.8)
        assert await store.names() == ["a", "b", "c", "d"]
        assert (await store.stats("a")).ready == 0  # a look keeps nothing
        await passed(store, clock, 0.3)
        assert await store.names() == ["b", "c", "d"]
        assert await store.stats("a") is None
        await passed(store, clock, 50)  # and now it is dropped
        await passed(store, clock, 99.9)
        assert await store.names() == ["b", "c", "d"]
        await passed(store, clock, 0.2)
        assert await store.names() == ["b", "c"]
        await store.close()

    async def test_a_queue_is_known_as_long_as_its_keys(self, clock, tmp_path):
        store = await self.open(tmp_path, queue_memory=5.0, key_memory=100.0, clock=clock)
        [id] = await put(store, 1, key="k")
        [attempt] = await claim(store)
        await store.ack([attempt.receipt])
        await passed(store, clock, 99)
        assert await put(store, 2, key="k") == [id]
        await passed(store, clock, 1)
        assert await store.names() == []
        assert await put(store, 3, key="k") != [id]
        await store.close()

    # -- purge, discard, delete ------------------------------------------------------------------

    async def test_a_refused_put_makes_no_queue(self, clock, tmp_path):
        store = await self.open(tmp_path, length=1, clock=clock)
        await put(store, 1)
        with pytest.raises(QueueFull):
            await store.put([message(2, "a", key="k"), message(3, "b", QUEUE)])
        assert await store.names() == [QUEUE]
        assert await store.stats("a") is None
        await store.close()

    async def test_purge_deletes_what_waits_and_nothing_else(self, store, clock):
        await put(store, *range(6), key=None)
        [keyed] = await put(store, 6, key="k")
        await put_into(store, "b", 1)
        attempts = await claim(store, 4)
        await store.bury(attempts[0].receipt, "no")
        await store.release(attempts[1].receipt, 50.0)
        await store.release(attempts[2].receipt)
        assert await store.purge(QUEUE, 2) == 2
        assert [k.body for k in await store.peek(QUEUE, 9)] == [f'"{n}"' for n in (3, 4, 5, 6)]
        assert await store.purge(QUEUE, 9) == 4
        assert await store.purge(QUEUE, 9) == await store.purge("nobody's", 9) == 0
        assert await store.stats(QUEUE) == stats_of(0, 0, 0, 1, oldest=None)
        assert await store.ack([attempts[3].receipt]) == [False]
        await passed(store, clock, 100)
        assert await claim(store) == []
        assert await put(store, 7, key="k") == [keyed]
        assert numbers(await claim(store, queue="b")) == [1]

    async def test_discard_deletes_dead_letters_and_nothing_else(self, store):
        ids = await put(store, *range(6))
        for attempt in (await claim(store))[:4]:
            await store.bury(attempt.receipt, "no")
        assert await store.discard(QUEUE, [ids[1], ids[1], ids[5], "x", "", ids[1] + "0"]) == 1
        assert [d.id for d in await store.dead(QUEUE)] == [ids[0], ids[2], ids[3]]
        assert await store.redrive(QUEUE, [ids[1]]) == 0
        assert await store.discard(QUEUE) == 3
        assert await store.discard(QUEUE) == await store.discard("nobody's") == 0
        assert await store.stats(QUEUE) == stats_of(0, 2, 0, 0, oldest=0.0)

    async def test_delete_leaves_nothing_of_a_queue(self, store, clock):
        [other] = await put_into(store, "b", 1, key="k")
        ids = await put(store, *range(4))
        [keyed] = await put(store, 4, key="k")
        attempts = await claim(store, 3)
        await store.bury(attempts[0].receipt, "no")
        assert await store.delete(QUEUE, 3) == 3
        assert (await store.stats(QUEUE)).ready == 1
        assert await emptied(store, QUEUE) == 2
        assert await store.delete(QUEUE, 3) is None
        assert await store.delete("nobody's", 3) is None
        assert await store.names() == ["b"]
        assert await store.stats(QUEUE) is None
        assert await store.dead(QUEUE) == await store.peek(QUEUE, 9) == await claim(store) == []
        assert await store.ack([attempts[1].receipt]) == [False]
        await passed(store, clock, 100)
        [anew] = await put(store, 5, key="k")
        assert anew not in [*ids, keyed]
        assert await put(store, 6, key="k") == [anew]
        assert await put_into(store, "b", 7, key="k") == [other]
        assert numbers(await claim(store)) == [5]

    # -- delay ------------------------------------------------------------------------------------

    async def test_a_message_with_a_delay_comes_when_that_is_over(self, store, clock):
        await put(store, 1, due=clock.now + 20)
        await put(store, 2, due=clock.now + 10)
        await put(store, 3)
        claimed = await store.claim(QUEUE, 9, 30.0, in_order=False)
        assert (numbers(claimed.attempts), claimed.due) == ([3], about(clock.now + 10))
        assert await store.stats(QUEUE) == stats_of(0, 1, 2, 0, oldest=0.0)
        clock.now += 9.9
        assert await claim(store) == []
        clock.now += 0.2
        [two] = await claim(store)
        assert (numbers([two]), two.number) == ([2], 1)
        clock.now += 10
        assert numbers(await claim(store)) == [1]

    async def test_a_delay_in_a_fan_out_and_behind_a_key(self, store, clock):
        [ids] = await store.put([message(1, "a", "b", key="k", due=clock.now + 10)])
        assert await store.put([message(2, "a", "b", key="k")]) == [ids]
        assert await claim(store, queue="a") == await claim(store, queue="b") == []
        clock.now += 10.1
        assert numbers(await claim(store, queue="a")) == [1]
        assert numbers(await claim(store, queue="b")) == [1]

    async def test_in_order_a_delay_holds_up_what_comes_after(self, store, clock):
        await put(store, 1, due=clock.now + 10)
        await put(store, 2)
        assert await claim(store, in_order=True) == []
        clock.now += 10.1
        assert numbers(await claim(store, in_order=True)) == [1]

    async def test_a_delay_that_is_over_is_none(self, store, clock):
        await put(store, 1, due=clock.now)
        assert numbers(await claim(store)) == [1]

    # -- stats ----------------------------------------------------------------------------------

    async def test_stats_add_up(self, store, clock):
        assert await store.stats(QUEUE) is None
        await put(store, *range(10))
        clock.now += 7
        attempts = await claim(store, 6)
        await store.ack([attempts[0].receipt])
        await store.bury(attempts[1].receipt, "no")
        await store.release(attempts[2].receipt, 5.0)
        await store.release(attempts[3].receipt)
        assert await store.stats(QUEUE) == stats_of(5, 2, 1, 1, oldest=7.0)
        clock.now += 31
        assert await store.stats(QUEUE) == stats_of(8, 0, 0, 1, oldest=38.0)
        rest = await claim(store)
        await store.ack([attempt.receipt for attempt in rest])
        assert await store.stats(QUEUE) == stats_of(0, 0, 0, 1, oldest=None)
        await store.redrive(QUEUE)
        assert await store.stats(QUEUE) == stats_of(1, 0, 0, 0, oldest=38.0)

    # -- listening and closing ------------------------------------------------------------------

    async def test_listeners_hear_of_queues_with_something_to_claim(self, store):
        heard: list[str] = []

        async def told():
            await store.stats("a")  # what was told before this is answered
            names, heard[:] = sorted(set(heard)), []
            return names

        store.listen(heard.append)
        await store.put([message(1, "a", "b")])
        assert await told() == ["a", "b"]
        [a] = await claim(store, queue="a")
        [b] = await claim(store, queue="b")
        await told()
        await store.release(a.receipt)
        assert await told() == ["a"]
        await store.bury(b.receipt, "no")
        await told()
        await store.redrive("b")
        assert await told() == ["b"]

    @pytest.mark.parametrize("in_order", [False, True])
    @pytest.mark.parametrize("way", ["ack", "bury", "remove"])
    async def test_listeners_hear_of_a_message_that_is_gone_where_the_next_waits_for_that(
        self, store, way, in_order
    ):
        """In a queue that is claimed in order the next is free then; elsewhere nothing is new."""
        heard: list[str] = []
        ids = await put(store, 1, 2)
        [first] = await claim(store, 1, in_order=in_order)
        store.listen(heard.append)
        await store.stats(QUEUE)
        assert heard == []
        if way == "remove":
            assert await store.remove(QUEUE, ids[:1]) == [True]
        else:
            assert await settle(store, way, first.receipt) is True
        await store.stats(QUEUE)
        assert heard == ([QUEUE] if in_order else [])
        assert numbers(await claim(store, 1, in_order=in_order)) == [2]

    @pytest.mark.parametrize("delay", [0.0, 30.0])
    async def test_listeners_hear_of_what_was_given_back_also_with_a_delay(self, store, delay):
        """Then a claim tells when it is over: before, there was nothing to wait for."""
        heard: list[str] = []
        await put(store, 1)
        [attempt] = await claim(store)
        store.listen(heard.append)
        assert await store.release(attempt.receipt, delay) is True
        assert await store.release(attempt.receipt) is False
        await store.stats(QUEUE)
        assert heard == [QUEUE]

    @pytest.mark.parametrize(
        ("limit", "in_order", "delayed", "news"),
        [(3, False, False, 0), (1, False, False, 1), (3, True, False, 1), (3, False, True, 1)],
        ids=["all", "one of them", "in order", "all but a delayed one"],
    )
    async def test_listeners_hear_nothing_of_what_is_claimed_together_with_being_put(
        self, store, clock, limit, in_order, delayed, news
    ):
        """If that leaves nothing that somebody else may claim, now or when a delay is over."""
        heard: list[str] = []
        if delayed:
            await put(store, 0, due=clock.now + 30)
        store.listen(heard.append)
        putting = asyncio.gather(store.put([message(1)]), store.put([message(2)]))
        claimed = await store.claim(QUEUE, limit, 10.0, in_order=in_order)
        await putting
        assert numbers(claimed.attempts) == ([1] if in_order or limit == 1 else [1, 2])
        assert heard == [QUEUE] * (news if self.group else 2)

    async def test_listeners_hear_of_a_message_put_together_with_an_answer_in_its_queue(
        self, store
    ):
        """All of it asked at once, and so, in a file, in one transaction."""
        heard: list[str] = []
        await put(store, 1)
        [first] = await claim(store)
        store.listen(heard.append)
        await asyncio.gather(store.put([message(2)]), store.ack([first.receipt]))
        await store.stats(QUEUE)
        assert set(heard) == {QUEUE}
        [second] = await claim(store)
        heard.clear()
        await asyncio.gather(store.ack([second.receipt]), store.put([message(3)]))
        await store.stats(QUEUE)
        assert set(heard) == {QUEUE}

    async def test_an_answer_takes_a_turn_of_the_event_loop(self, store):
        """So that `while not (await store.stats(…)).dead: pass` keeps nobody else from running."""
        loop = asyncio.get_running_loop()
        for asked in (
            lambda: store.put([message(1)]),
            lambda: store.claim(QUEUE, 1, 30.0, in_order=False),
            lambda: store.claim(QUEUE, 1, 30.0, in_order=False),
            lambda: store.ack(["no receipt"]),
            lambda: store.release("no receipt"),
            lambda: store.bury("no receipt", "no"),
            lambda: store.peek(QUEUE, 1),
            lambda: store.remove(QUEUE, ["no id"]),
            lambda: store.dead(QUEUE),
            lambda: store.redrive(QUEUE),
            lambda: store.purge(QUEUE, 1),
            lambda: store.discard(QUEUE),
            lambda: store.delete(QUEUE, 1),
            lambda: store.names(),
            lambda: store.stats(QUEUE),
            lambda: store.where("no id"),
            lambda: store.are_dead(QUEUE, ["no id"]),
        ):
            turns: list[int] = []
            loop.call_soon(turns.append, 1)
            await asked()
            assert turns

    # -- where ----------------------------------------------------------------------------------

    async def test_where_a_message_is(self, store, clock):
        ready, leased, delayed, dead = await put(store, *range(4))
        now = clock.now
        claimed = await store.claim(QUEUE, 4, 30.0, in_order=False, to="ann")
        _, _, third, fourth = (attempt.receipt for attempt in claimed.attempts)
        await store.release(claimed.attempts[0].receipt, counted=False, sent=False)
        await store.release(third, 5.0)
        await store.bury(fourth, "no road")
        for id, state, until, attempts, failures, *steps in (
            (ready, "ready", None, 0, 0, ("sent", "ann"), ("given back", "")),
            (leased, "leased", now + 30, 1, 0, ("sent", "ann")),
            (delayed, "delayed", now + 5, 1, 1, ("sent", "ann"), ("failed", "")),
        ):
            fate = await store.where(id)
            assert (fate.id, fate.state, fate.queue, fate.event) == (id, state, QUEUE, "pickup")
            assert fate.until == (until if until is None else about(until))
            assert (fate.attempts, fate.failures, fate.put) == (attempts, failures, about(now))
            assert [(step.what, step.detail) for step in fate.steps] == steps
            assert {step.queue for step in fate.steps} == {QUEUE}
        fate = await store.where(dead)
        assert (fate.state, fate.reason, fate.attempts) == ("dead", "no road", 1)
        assert told(fate) == "sent ann, dead no road"
        clock.now += 31
        assert [(await store.where(id)).state for id in (leased, delayed)] == ["ready", "ready"]
        assert (await store.stats(QUEUE)).ready == 3

    async def test_how_a_message_has_ended(self, store, clock):
        first, second, removed, purged, discarded, deleted = await put(store, *range(6))
        [attempt] = (await store.claim(QUEUE, 1, 5.0, in_order=False, to="änn 100%")).attempts
        clock.now += 6
        again = await store.claim(QUEUE, 2, 30.0, in_order=False, to="bob")
        await store.ack([again.attempts[0].receipt, attempt.receipt])
        [other] = (await store.claim(QUEUE, 1, 30.0, in_order=False, to="cy")).attempts
        await store.remove(QUEUE, [removed])
        clock.now += 10
        await store.ack([other.receipt])
        assert await store.purge(QUEUE, 1) == 1
        await store.bury((await claim(store, 1))[0].receipt, "no")
        assert await store.discard(QUEUE) == 1
        await emptied(store, QUEUE)
        ends = {
            first: "acknowledged: sent änn 100%, lease ended, sent bob, acknowledged",
            second: "acknowledged: sent cy, acknowledged",
            removed: "removed: removed",
            purged: "purged: purged",
            discarded: "discarded: sent, dead no, discarded",
            deleted: "queue deleted: queue deleted",
        }
        for id, end in ends.items():
            fate = await store.where(id)
            assert (f"{fate.state}: {told(fate)}", fate.queue) == (end, QUEUE)
            assert (fate.event, fate.attempts, fate.put, fate.until) == (None,) * 4
        steps = (await store.where(second)).steps
        assert [about(step.at) for step in steps] == [clock.now - 10, clock.now]

    async def test_a_dead_letter_comes_back_and_its_way_goes_on(self, clock, tmp_path):
        store = await self.open(tmp_path, clock=clock, dead_length=1)
        soon, later = await put(store, 1, expires=clock.now + 5), await put(store, 2)
        await passed(store, clock, 6)
        assert (await store.where(soon[0])).reason == EXPIRED
        assert await store.redrive(QUEUE, soon) == 1
        assert (await store.where(soon[0])).state == "ready"
        for _ in range(2):
            [attempt] = await claim(store, 1)
            await store.bury(attempt.receipt, "no")
        fates = [await store.where(id) for id in (*soon, *later)]
        assert sorted(fate.state for fate in fates) == ["dead", "dropped"]
        assert told(fates[0]).startswith(f"dead {EXPIRED}, redriven, sent, dead no")
        await store.close()

    async def test_what_was_never_here_is_nowhere(self, store, clock, tmp_path):
        [id] = await put(store, 1)
        name, _, number = id.partition("-")
        for never in (
            *(f"{name}-{n}" for n in (0, int(number) + 1, f"0{number}", 10**18, 10**40, -1, "١")),
            *(
                f"{name[:-1]}-{number}",
                f"{name[::-1]}x-{number}",
                name,
                "",
                "-",
                id + " ",
                id.upper(),
            ),
        ):
            if never != id:
                assert await store.where(never) is None, never
        assert (await store.where(id)).state == "ready"

    async def test_one_that_has_ended_long_ago_is_forgotten(self, store, monkeypatch):
        for module, name, value in ((sqlite_trail, "KEPT", 20), (sqlite_trail, "_SLICE", 1)):
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr(trail, "KEPT_IN_MEMORY", 20)
        ids = await put(store, *range(40))
        while attempts := await claim(store, 1):
            await store.ack([attempts[0].receipt])
        states = [(await store.where(id)).state for id in ids]
        assert states == ["forgotten"] * 30 + ["acknowledged"] * 10
        assert (await store.where(ids[0])).steps == ()

    async def test_closing_twice_is_harmless(self, store):
        await store.close()
        await asyncio.gather(store.close(), store.close())


def planted(*_, **__):
    raise LookupError("planted")


async def settle(store, way, receipt):
    if way == "ack":
        return (await store.ack([receipt]))[0]
    if way == "release":
        return await store.release(receipt, 3.0)
    return await store.bury(receipt, "no")


async def state(store):
    return await store.stats(QUEUE), await store.dead(QUEUE)


class TestMemoryStore(Contract):
    group = False

    async def open(self, folder, **options):
        return MemoryStore(**options)


@pytest.mark.needs("nats")
class TestNatsStore(Contract):
    async def open(self, folder, **options):
        return await NatsStore.open(new_stream(), **options)


@pytest.mark.needs("nats")
class TestNatsStoreThatIsCleanedAllTheTime(Contract):
    """A snapshot every few records, what is old removed, and no body at hand."""

    async def open(self, folder, **options):
        store = await NatsStore.open(new_stream(), **options)
        store._compaction._every, store._replica.bodies.most = 3, 0
        return store


class TestSqliteStore(Contract):
    async def open(self, folder, **options):
        return await SqliteStore.open(folder / "q.db", **options)

    @pytest.fixture
    def path(self, tmp_path) -> Path:
        return tmp_path / "q.db"

    # -- what outlives the process --------------------------------------------------------------

    async def test_a_queue_that_was_empty_in_a_kill_keeps_its_keys_if_the_clock_is_set_back(
        self, store, clock, path, tmp_path
    ):
        [id] = await put(store, 1, key="k")
        [attempt] = await claim(store)
        await store.ack([attempt.receipt])
        await put_into(store, "other", 2)  # says when the file was written
        copied(path, copy := tmp_path / "copy.db", "", "-wal")
        clock.now -= 90 * 86_400
        again = await SqliteStore.open(copy, clock=clock)
        await passed(again, clock, 30)
        assert await put(again, 3, key="k") == [id]
        await again.close()

    async def test_what_it_does_first_costs_the_same_whatever_waits(self, clock, tmp_path):
        """Counted in steps of SQLite's machine: one that reads all of a queue takes many more."""
        steps = {}
        for backlog in (200, 10_000):
            path = tmp_path / f"{backlog}.db"
            store = await SqliteStore.open(path, clock=clock)
            for _ in range(backlog // 200):
                await store.put([NewMessage("e", "1", ("q",))] * 200)
            await store.close()
            store = await SqliteStore.open(path, clock=clock)
            done: list[None] = []
            store._db.set_progress_handler(partial(done.append, None), 1)
            [attempt] = (await store.claim("q", 1, 30, in_order=False)).attempts
            assert (await store.stats("q")).leased == 1
            await store.put([NewMessage("e", "2", ("q",))])
            await store.ack([attempt.receipt])
            [attempt] = (await store.claim("q", 1, 30, in_order=True)).attempts
            await store.release(attempt.receipt, 5.0)
            await store.peek("q", 1)
            store.tick()
            await store.names()
            steps[backlog] = len(done)
            await store.close()
        assert steps[10_000] < 1.5 * steps[200], steps

    async def test_everything_outlives_closing(self, store, clock, path):
        ids = await put(store, *range(6), key=None)
        [keyed] = await put(store, 6, key="k")
        attempts = await claim(store, 4)
        await store.ack([attempts[0].receipt])
        await store.bury(attempts[1].receipt, "no")
        await store.release(attempts[2].receipt, 50.0)
        await store.close()
        again = await SqliteStore.open(path, clock=clock)
        assert await again.stats(QUEUE) == stats_of(4, 0, 1, 1, oldest=0.0)
        assert await put(again, 7, key="k") == [keyed]
        back = await claim(again)
        assert numbers(back) == [3, 4, 5, 6]
        assert [attempt.number for attempt in back] == [2, 1, 1, 1]
        assert await again.ack([attempts[3].receipt]) == [False]  # a receipt does not
        clock.now += 50
        assert [(a.id, a.number) for a in await claim(again, 1)] == [(ids[3], 3)]
        assert [d.id for d in await again.dead(QUEUE)] == [ids[1]]
        await again.close()

    @pytest.mark.parametrize("end", ["closed", "killed"])
    async def test_an_id_is_never_given_again(self, store, clock, path, tmp_path, end):
        """Whoever keeps the ids of what is done (an inbox) would take the new one for done."""
        ids = await put(store, *range(3))
        one, two, three = await claim(store)
        await store.bury(three.receipt, "no")
        await store.ack([one.receipt, two.receipt])
        await store.discard(QUEUE)
        if end == "closed":
            await store.close()
        else:
            copied(path, path := tmp_path / "copy.db", "", "-wal")
        again = await SqliteStore.open(path, clock=clock)
        ids += await put(again, 3)
        await again.close()
        assert len({*ids}) == 4

    async def test_what_waited_when_the_file_was_closed_is_leased_once(self, store, clock, path):
        await put(store, *range(6))
        for attempt in await claim(store, 5):
            await store.release(attempt.receipt, 10.0)
        await store.close()
        clock.now += 10
        again = await SqliteStore.open(path, clock=clock)
        seen = []
        for _ in range(6):
            seen += numbers(await claim(again, 2))
        assert seen == [0, 1, 2, 3, 4, 5]
        assert (await again.stats(QUEUE)).leased == 6
        await again.close()

    @pytest.mark.parametrize("idle", [0.0, 3000.0])
    async def test_a_clock_that_was_set_back_meanwhile_holds_up_nothing(
        self, store, clock, path, idle, caplog
    ):
        await put(store, 1, 2)
        [keyed] = await put(store, 3, key="k")
        clock.now += idle
        one, two, three = await claim(store)
        await store.release(one.receipt, 10.0)
        await store.release(two.receipt, 50.0)
        await store.ack([three.receipt])
        await store.close()
        clock.now -= 1800
        again = await SqliteStore.open(path, clock=clock)
        assert "the clock is 1800 s behind the times in" in caplog.text
        assert await claim(again) == []
        clock.now += 11
        assert numbers(await claim(again)) == [1]
        clock.now += 40
        assert 2 in numbers(await claim(again))
        assert await put(again, 4, key="k") == [keyed]
        assert (await again.stats(QUEUE)).oldest >= idle
        await again.close()
        caplog.clear()
        once_more = await SqliteStore.open(path, clock=clock)
        assert caplog.text == ""
        await once_more.close()

    async def test_a_file_of_the_first_version_goes_on(self, clock, path):
        """Made by the statements of then; its messages keep their attempts."""
        old = sqlite3.connect(path)
        for statement in SCHEMA_1.split(";"):
            old.execute(statement)
        old.execute("INSERT INTO meta VALUES ('0badcafe', 1000)")
        for seq, attempts, spent in ((1, 0, 0), (2, 3, 0), (3, 5, 4)):
            old.execute("INSERT INTO body VALUES (?, 'pickup', ?, 5.0, 1)", (seq, f'"{seq}"'))
            old.execute(
                "INSERT INTO pending VALUES (1, ?, ?, ?, ?, NULL, NULL)",
                (seq, seq, attempts, spent),
            )
        old.execute("INSERT INTO queue (id, name) VALUES (1, ?)", (QUEUE,))
        old.execute("PRAGMA application_id = 0x63686171")
        old.execute("PRAGMA user_version = 1")
        old.commit()
        old.close()
        store = await SqliteStore.open(path, clock=clock)
        claimed = await claim(store)
        assert [(a.id, a.number, a.failures) for a in claimed] == [
            ("0badcafe-1", 1, 0),
            ("0badcafe-2", 4, 3),
            ("0badcafe-3", 6, 1),
        ]
        await store.release(claimed[0].receipt, 1.0)
        await put(store, 9)
        await store.close()
        again = await SqliteStore.open(path, clock=clock)
        clock.now += 1
        assert sorted(numbers(await claim(again))) == [1, 2, 3, 9]
        await again.close()

    async def test_what_is_suspect_stays_so_when_the_file_is_opened_again(self, store, clock, path):
        await put(store, 1, 2)
        await claim(store, 1)
        clock.now += 31
        [again] = await claim(store, 1)
        assert again.suspect
        await store.close()
        reopened = await SqliteStore.open(path, clock=clock)
        claimed = await reopened.claim(QUEUE, 10, 30.0, in_order=False, alone=False)
        assert (claimed.attempts, claimed.suspect) == ([], True)
        alone = await reopened.claim(QUEUE, 10, 30.0, in_order=False, alone=True)
        assert [(a.id, a.suspect) for a in alone.attempts] == [(again.id, True)]
        assert numbers(await claim(reopened)) == [2]
        await reopened.close()

    async def test_a_file_of_the_second_version_goes_on(self, store, clock, path):
        await put(store, 1)
        [attempt] = await claim(store)
        await store.close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("ALTER TABLE pending DROP COLUMN redriven")
            db.execute("PRAGMA user_version = 2")
            db.commit()
        for number in (2, 3):  # made one of today's, and opened as that
            again = await SqliteStore.open(path, clock=clock)
            [attempt] = await claim(again)
            assert (attempt.number, attempt.redriven) == (number, 0)
            await again.close()

    async def test_what_was_redriven_and_reopened_is_leased_once(self, store, clock, path):
        await put(store, *range(3))
        for attempt in await claim(store, 3):
            await store.bury(attempt.receipt, "no")
        await store.redrive(QUEUE)
        await store.close()
        again = await SqliteStore.open(path, clock=clock)
        assert numbers(await claim(again, in_order=True)) == [0]
        assert numbers(await claim(again, 1)) == [1]
        assert numbers(await claim(again)) == [2]
        clock.now += 31
        assert numbers(await claim(again)) == [0, 1, 2]
        assert await claim(again) == []
        await again.close()

    @pytest.mark.parametrize("how", ["closed", "killed"])
    async def test_ids_never_come_twice(self, clock, path, how, tmp_path):
        seen: list[str] = []
        for turn in range(3):
            copy = tmp_path / f"{turn}.db"
            store = await SqliteStore.open(path, clock=clock)
            seen += await put(store, 1, 2)
            await store.put([message(3, "other", "more")])
            await store.ack([attempt.receipt for attempt in await claim(store)])
            if how == "killed":
                copied(path, copy, "", "-wal")
                path = copy
            await store.close()
        assert len(set(seen)) == 6

    async def test_nothing_is_kept_of_what_is_done(self, store, clock, path):
        await store.put([message(n, "a", "b") for n in range(20)])
        await put(store, *range(20))
        for queue in (QUEUE, "a", "b"):
            attempts = await claim(store, 20, queue=queue)
            await store.ack([attempt.receipt for attempt in attempts])
        await store.put([message(n, "a", "b", "c", "d", "e", key=str(n)) for n in range(20)])
        await store.put([message(n, "a", expires=clock.now + 1) for n in range(20)])
        for queue in "abcde":
            for n, attempt in enumerate(await claim(store, 10, queue=queue)):
                await settle(store, ("bury", "release")[n % 2], attempt.receipt)
        assert await store.purge("a", 100) == 35
        assert await store.discard("a") == 5
        assert await store.purge("b", 100) == 15
        assert await store.redrive("b") == 5
        await passed(store, clock, 10)
        for queue in "bcde":
            await emptied(store, queue)
        await store.close()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM key").fetchone() == (20,)  # those of a
            for table in ("pending", "body", "retry", "dead"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table

    async def test_a_fan_out_stores_its_body_once(self, store, path):
        await store.put([message(1, *(f"q{n}" for n in range(100)))])
        await store.close()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM body").fetchone() == (1,)
            assert db.execute("SELECT count(*) FROM pending").fetchone() == (100,)

    # -- who may open it ------------------------------------------------------------------------

    async def test_one_process_at_a_time_owns_the_file(self, clock, path):
        other = owner(path)
        try:
            assert await asyncio.to_thread(other.stdout.readline) == "open\n"
            with pytest.raises(StoreError, match=r"in use by another process: .* stop the"):
                await SqliteStore.open(path, clock=clock)
        finally:
            other.kill()
            other.communicate()
        store = await SqliteStore.open(path, clock=clock)  # a lock dies with its process
        assert len(await claim(store, queue="q")) == 1
        await store.close()

    @pytest.mark.parametrize("how", ["deleted", "replaced"])
    async def test_a_file_that_is_gone_takes_no_more(self, store, path, how):
        """Nobody would ever find there what is stored."""
        assert await put(store, 1)
        [held] = await claim(store)
        path.unlink()
        if how == "replaced":
            path.write_bytes(b"")
        store._checked = 0.0  # it looks once in a while
        with pytest.raises(StoreError, match="was deleted or replaced while it was open, and does"):
            await put(store, 2)
        for work in (store.ack([held.receipt]), store.stats(QUEUE), put(store, 3)):
            with pytest.raises(StoreError, match="end this program, put the file back if it was"):
                await work
        await store.close()

    async def test_a_process_may_go_to_another_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = await SqliteStore.open("relative.db")
        monkeypatch.chdir("/")
        store._checked = 0.0
        assert await put(store, 1)
        await store.close()

    async def test_two_stores_of_one_process_do_not_share_a_file(self, store, path):
        with pytest.raises(StoreError, match="is open in this program already: close that one"):
            await SqliteStore.open(path)
        assert await put(store, 1)

    @pytest.mark.parametrize("how", ["closed", "killed"])
    async def test_what_is_broken_off_again_and_again_comes_by_itself(
        self, store, clock, path, tmp_path, how
    ):
        """Else a message that ends its consumer, with the server ended soon, takes others along:
        found by benchmarks/crash.py."""
        await put(store, 1, 2)
        seen = []
        for turn in range(22):
            claimed = await store.claim(QUEUE, 5, 30.0, in_order=False)
            seen.append(numbers(claimed.attempts))
            copy = tmp_path / f"killed-{turn}.db"
            copied(path, copy, "", "-wal")
            await store.close()
            path = copy if how == "killed" else path
            store = await SqliteStore.open(path, clock=clock)
        assert seen == [[1, 2]] * 20 + [[1]] * 2
        assert numbers(await claim(store)) == [1, 2]
        await store.close()

    @pytest.mark.parametrize("wal", [False, True], ids=["closed", "killed"])
    async def test_a_newer_file_is_left_as_it_was(self, store, path, tmp_path, wal):
        await put(store, 1)
        await store.close()
        path = self._changed(path, tmp_path, "PRAGMA user_version = 99", wal)
        before = bytes_of(path)
        with pytest.raises(StoreError, match=r"newer chatq \(version 99 .* reads 3\).*install"):
            await SqliteStore.open(path)
        gc.collect()
        assert bytes_of(path) == before

    @pytest.mark.parametrize("wal", [False, True], ids=["closed", "killed"])
    async def test_a_database_of_another_program_is_left_as_it_was(self, path, tmp_path, wal):
        path = self._changed(path, tmp_path, "CREATE TABLE theirs (x)", wal)
        before = bytes_of(path)
        with pytest.raises(
            StoreError, match=r"another program \(with the tables 'theirs'\); it was left as it is"
        ):
            await SqliteStore.open(path)
        assert bytes_of(path) == before

    async def test_an_empty_database_that_is_marked_by_another_program_is_theirs(self, path):
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA application_id = 7")
        with pytest.raises(StoreError, match="another program"):
            await SqliteStore.open(path)

    def _changed(self, path: Path, folder: Path, statement: str, wal: bool) -> Path:
        """Let another program change the file; with `wal`, as if it had then been killed."""
        copy = folder / "copy.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
            db.execute(statement)
            copied(path, copy, *(("", "-wal") if wal else ("",)))
        return copy

    @pytest.mark.parametrize("how", ["text", "header", "cut", "page"])
    async def test_a_damaged_file_is_left_as_it_was(self, store, path, how):
        await put(store, *range(500))
        await store.close()
        whole = path.read_bytes()
        path.write_bytes(
            {
                "text": b"This is a letter, not a database.\n" * 100,
                "header": b"\xff" * 100 + whole[100:],
                "cut": whole[:5000],
                "page": whole[:8192] + b"\xff" * 4096 + whole[12288:],
            }[how]
        )
        before = bytes_of(path)
        with pytest.raises(StoreError, match=r"damaged or not an SQLite file.*restore a copy"):
            await SqliteStore.open(path)
        assert bytes_of(path) == before

    async def test_what_cannot_be_opened_is_said(self, tmp_path):
        for path in (tmp_path, tmp_path / "no" / "such" / "folder.db"):
            with pytest.raises(StoreError, match="cannot open"):
                await SqliteStore.open(path)

    # -- callers that go away, and a store that does ---------------------------------------------

    async def test_a_closed_store_says_so(self, store, path):
        asked = store.put([message(1)])
        await store.close()
        assert len(await asked) == 1  # what was asked before is finished
        with pytest.raises(StoreError, match="closed"):
            await put(store, 2)

    async def test_a_disk_that_does_not_answer_holds_up_closing_no_longer_than_told(
        self, store, path, monkeypatch, caplog
    ):
        monkeypatch.setattr(sqlite_store, "_GOODBYE", 0.05)
        answers, transact = threading.Event(), store._transact

        def slow(requests):
            assert answers.wait(10)
            return transact(requests)

        monkeypatch.setattr(store, "_transact", slow)
        asked = store.put([message(1)])
        async with asyncio.timeout(5):
            await store.close()
        assert "the disk has not answered for 0.05 s: " in caplog.text
        assert str(path) in caplog.text
        with pytest.raises(StoreError, match="closed"):
            await put(store, 2)
        answers.set()
        assert len(await asked) == 1  # it was done all the same
        await store.close()
        again = await SqliteStore.open(path)
        assert numbers(await claim(again)) == [1]
        await again.close()

    async def test_a_store_whose_thread_fails_can_be_closed(self, store, path, monkeypatch):
        met = []
        monkeypatch.setattr(threading, "excepthook", lambda problem: met.append(problem.exc_value))
        monkeypatch.setattr(store._rows, "sum_up", planted)
        async with asyncio.timeout(5):
            await store.close()
        assert [str(error) for error in met] == ["planted"]
        await (await SqliteStore.open(path)).close()

    async def test_callers_may_be_cancelled(self, store):
        async def produce(n):
            return await put(store, n)

        tasks = [asyncio.create_task(produce(n)) for n in range(10)]
        await give_way()  # all have asked, nothing is answered
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(result, list) for result in done) == 5
        assert set(range(1, 10, 2)) <= set(numbers(await claim(store)))

    async def test_opening_may_be_cancelled(self, path):
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        gc.disable()  # it shall not depend on the collector that the file is let go of
        try:
            opening = asyncio.create_task(SqliteStore.open(path))
            await give_way()
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await asyncio.to_thread(str)  # the only thread has done what came before
            await (await SqliteStore.open(path)).close()
        finally:
            gc.enable()

    async def test_closing_may_be_cancelled(self, store, path):
        closing_ = asyncio.create_task(store.close())
        await give_way()
        closing_.cancel()
        await asyncio.gather(closing_, return_exceptions=True)
        await store.close()
        await (await SqliteStore.open(path)).close()

    def test_an_event_loop_that_is_gone_hurts_nobody(self, path):
        gone = threading.Event()

        async def ask_and_leave():
            store = await SqliteStore.open(path)
            await put(store, 1)
            store._db.set_trace_callback(lambda _: gone.wait(5))  # no answer before the loop closes
            store.put([message(n) for n in range(1000)])
            store._submit()
            return store

        store = asyncio.run(ask_and_leave())
        gone.set()
        store._thread.join(5)
        assert not store._thread.is_alive()  # it has nobody left to work for

        async def look():
            again = await SqliteStore.open(path)
            assert (await again.stats(QUEUE)).ready == 1001
            await again.close()

        asyncio.run(look())

    # -- group commit ---------------------------------------------------------------------------

    async def test_what_is_asked_together_is_one_transaction(self, store):
        log = traced(store)
        await asyncio.gather(*(put(store, n) for n in range(100)))
        assert log["COMMIT"] == 1
        attempts = await claim(store, 100)
        await asyncio.gather(*(store.ack([attempt.receipt]) for attempt in attempts))
        assert log["COMMIT"] == 3

    async def test_one_that_cannot_be_done_spoils_it_for_nobody_else(self, store):
        bad = NewMessage("e", object(), (QUEUE,))  # no database can keep that
        done = await asyncio.gather(
            put(store, 1), store.put([bad]), put(store, 2), return_exceptions=True
        )
        assert isinstance(done[1], StoreError)
        assert "nothing was changed" in str(done[1])
        assert numbers(await claim(store)) == [1, 2]
        assert await store.stats(QUEUE) == stats_of(0, 2, 0, 0, oldest=0.0)
        with pytest.raises(StoreError):
            await store.dead(QUEUE, "many")
        with pytest.raises(StoreError):
            await put(store, 3, key="\ud800")
        assert await put(store, 4)

    async def test_a_full_disk_is_said_and_nothing_was_changed(self, store, clock):
        await put(store, *range(20), key=None)
        leased = await claim(store, 5, lease=30.0)
        clock.now += 31
        leased = await claim(store, 5, lease=30.0)
        limit = await at_most(store, "page_count")
        await at_most(store, f"max_page_count = {limit}")
        big = NewMessage("e", "x" * 100_000, (QUEUE,))
        before = await state(store)
        done = await asyncio.gather(
            store.put([big]), store.put([big, message(9)]), return_exceptions=True
        )
        assert [type(error) for error in done] == [StoreError, StoreError]
        assert "full" in str(done[0])
        assert await state(store) == before
        assert await store.ack([leased[0].receipt]) == [True]  # and it goes on
        await at_most(store, "max_page_count = 100000")
        await store.put([big])
        clock.now += 31
        assert len(await claim(store, 30)) == 20

    async def test_memory_goes_back_with_the_transaction(self, store, clock):
        """Whatever a failed transaction had done, the store behaves as if nobody had asked."""
        await put(store, *range(8))
        old = await claim(store, 4, lease=30.0)
        await store.release(old[1].receipt, 5.0)
        clock.now += 30
        broken_once(store)
        failed = await asyncio.gather(
            store.claim(QUEUE, 3, 30.0, in_order=False),
            store.put([message(8), message(9, "a", "b", key="k")]),
            store.claim(QUEUE, 9, 30.0, in_order=False),
            store.ack([old[0].receipt]),
            store.claim("a", 1, 30.0, in_order=True),
            return_exceptions=True,
        )
        # One by one they were then done, in their order.
        first, _, rest, _, other = failed
        assert numbers(first.attempts) == [0]
        assert numbers(rest.attempts) == [2]
        assert numbers(other.attempts) == [9]
        assert (await store.stats(QUEUE)).leased == 2
        assert numbers(await claim(store)) == [3, 1, 4, 5, 6, 7, 8]

    async def test_an_answer_whose_transaction_failed_settles_all_the_same(self, store):
        await put(store, 1, 2, 3)
        done, back, bad = await claim(store, 3)
        broken_once(store)
        answers = await asyncio.gather(
            store.ack([done.receipt]), store.release(back.receipt), store.bury(bad.receipt, "bad")
        )
        assert answers == [[True], True, True]
        assert numbers(await claim(store, 3)) == [2]

    @pytest.mark.parametrize("claimed_first", ["all", "one"])
    async def test_the_body_of_a_fan_out_goes_with_its_last_copy(self, store, claimed_first):
        await store.put([message(1, "a", "b")])

        async def receipt(queue: str) -> str:
            [attempt] = (await store.claim(queue, 1, 30.0, in_order=False)).attempts
            return attempt.receipt

        async def bodies() -> int:
            await store.stats("a")  # whatever was asked before is done
            return store._rows._db.execute("SELECT count(*) FROM body").fetchone()[0]

        one = await receipt("a")
        other = await receipt("b") if claimed_first == "all" else None
        assert await store.ack([one]) == [True]
        assert await bodies() == 1
        assert await store.ack([other or await receipt("b")]) == [True]
        assert await bodies() == 0

    async def test_space_comes_back_by_and_by(self, store, clock, path):
        """Not all at once, and not all: some stays free, so that the file need not grow soon."""
        big = [NewMessage("e", "x" * 20_000, (QUEUE,)) for _ in range(500)]
        await store.put(big)
        assert await store.purge(QUEUE, 1000) == 500
        sizes = []
        for _ in range(60):
            await passed(store, clock, 1.0)
            pages, free = [await at_most(store, name) for name in ("page_count", "freelist_count")]
            sizes.append(pages)
        steps = [before - after for before, after in pairwise(sizes)]
        assert 0 <= min(steps) <= max(steps) <= 260  # SQLite keeps a page of places for some
        assert free <= 256 <= pages <= 400 < 2000 < sizes[0]
        await store.close()
        assert path.stat().st_size == 4096 * pages

    async def test_a_file_of_an_older_chatq_goes_on(self, clock, path):
        """It has no index of ends, and cannot become smaller; nothing else is missing."""
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            for statement in SCHEMA_1.split(";"):
                db.execute(statement)
            db.execute("INSERT INTO meta VALUES ('abcd', 100)")
            db.execute("INSERT INTO queue VALUES (1, 'drivers', 1, 0), (2, 'empty', 0, 0)")
            db.execute("INSERT INTO queue VALUES (3, 'killed', NULL, NULL)")
            db.execute("INSERT INTO body VALUES (7, 'pickup', '\"7\"', 1e9, 1)")
            db.execute("INSERT INTO pending VALUES (1, 7, 7, 0, 0, ?, NULL)", (clock.now + 5,))
            db.execute(f"PRAGMA application_id = {0x63686171}")
            db.execute("PRAGMA user_version = 1")
        store = await SqliteStore.open(path, clock=clock, queue_memory=100.0, key_memory=1.0)
        assert await store.names() == ["drivers", "empty", "killed"]
        await passed(store, clock, 5)
        assert [dead.id for dead in await store.dead(QUEUE)] == ["abcd-7"]
        await passed(store, clock, 100)
        assert await store.names() == [QUEUE]
        assert await store.purge(QUEUE, 9) == 0
        assert await store.discard(QUEUE) == 1
        await passed(store, clock, 100)
        await store.close()
        again = await SqliteStore.open(path, clock=clock)
        assert await again.names() == []
        await again.close()

    async def test_queues_that_are_not_used_leave_memory(self, store, clock, monkeypatch):
        monkeypatch.setattr(sqlite_upkeep, "_QUEUES", 10)
        for n in range(50):
            await put_into(store, f"q{n}", n, expires=clock.now + 500)
        [held] = await claim(store, queue="q49")
        for n in range(40):
            await put_into(store, f"r{n}", n)
        assert len(store._rows._queues) <= 50
        for n in range(49):
            assert (await store.stats(f"q{n}")).ready == 1
            assert numbers(await claim(store, queue=f"q{n}")) == [n]
        assert await store.ack([held.receipt]) == [True]
        await passed(store, clock, 400)
        assert "q49" not in store._rows._queues
        assert (await store.stats("q49")).ready == 0

    async def test_queues_in_use_keep_no_others_in_memory(self, store, monkeypatch):
        """However many come in one transaction, and whatever was there first."""
        monkeypatch.setattr(sqlite_upkeep, "_QUEUES", 10)
        monkeypatch.setattr(sqlite_upkeep, "_SWEEP", 10)
        for n in range(15):
            await put_into(store, f"held {n}", n)
            await claim(store, queue=f"held {n}")
        for n in range(12):
            await store.put([message(i, f"q{n} {i}") for i in range(20)])
            assert len(store._rows._queues) <= 45
        assert {f"held {n}" for n in range(15)} <= {*store._rows._queues}
        for n in range(12):
            for i in range(20):
                assert numbers(await claim(store, queue=f"q{n} {i}")) == [i]

    async def test_a_failed_disk_ends_all_promises(self, store, path, clock):
        await put(store, 1)
        broken_once(store, sqlite3.OperationalError("disk I/O error"))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"does nothing more \(disk I/O error\): mend"):
                await put(store, 2)
        await store.close()
        again = await SqliteStore.open(path, clock=clock)
        assert numbers(await claim(again)) == [1]
        await again.close()

    @pytest.mark.needs("linux")
    @pytest.mark.parametrize(
        ("key", "calls", "length"),
        [("None", "range(2, 128)", 10_000), ("f'{n} {i}'", "[127]", 600_000)],
        ids=["in calls of many sizes", "with keys"],
    )
    def test_what_was_stored_does_not_stay_in_memory(self, path, key, calls, length):
        """Of 80 MB: sqlite3 keeps what it has bound to a statement as long as the statement."""
        script = textwrap.dedent(f"""
            import asyncio, os, sys
            from pathlib import Path
            from chatq.queues.sqlite_store import SqliteStore
            from chatq.queues.store import NewMessage

            def resident():
                pages = Path("/proc/self/statm").read_text().split()[1]
                return int(pages) * os.sysconf("SC_PAGE_SIZE")

            async def main():
                store = await SqliteStore.open(sys.argv[1])
                body, before = "x" * {length}, resident()
                for n in {calls}:
                    await store.put([NewMessage("e", body, ("q",), {key}) for i in range(n)])
                print(resident() - before)
                await store.close()

            asyncio.run(main())
        """)
        command = [sys.executable, "-c", script, path]
        grown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        assert int(grown.stdout) < 30e6


def owner(path: Path) -> subprocess.Popen[str]:
    """Start a process that puts a message into the file and keeps it open."""
    script = textwrap.dedent("""
        import asyncio, sys
        from chatq.queues.sqlite_store import SqliteStore
        from chatq.queues.store import NewMessage

        async def main():
            store = await SqliteStore.open(sys.argv[1])
            await store.put([NewMessage("e", "1", ("q",))])
            print("open", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

        asyncio.run(main())
    """)
    return subprocess.Popen(
        [sys.executable, "-c", script, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def copied(path: Path, copy: Path, *suffixes: str) -> None:
    """Copy the file, and those beside it: what a killed process leaves behind."""
    for suffix in suffixes:
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())


def bytes_of(path: Path) -> dict[str, bytes]:
    """Return the content of the file and of those that SQLite keeps beside it, empty ones left
    out."""
    return {
        file.name: content
        for file in path.parent.glob(f"{path.name}*")
        if (content := file.read_bytes()) and not file.name.endswith("-shm")
    }


def traced(store: SqliteStore) -> Counter[str]:
    """Count the statements of the store by their first word."""
    log: Counter[str] = Counter()
    store._db.set_trace_callback(lambda statement: log.update([statement.split(" ")[0]]))
    return log


async def at_most(store: SqliteStore, pragma: str) -> Any:
    """Ask SQLite for a pragma, on the store's own connection while it has nothing to do."""
    await store.stats(QUEUE)
    return store._db.execute(f"PRAGMA {pragma}").fetchone()[0]


def broken_once(store: SqliteStore, error: Exception | None = None) -> None:
    """Let the next COMMIT fail; the store's own roll back has to do the rest."""

    class Wrapped:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def execute(self, statement: str, *args: Any) -> Any:
            if statement == "COMMIT":
                store._db = real
                raise error or ValueError("planted")
            return real.execute(statement, *args)

    real: Any = store._db
    store._db = Wrapped()  # type: ignore[assignment]
