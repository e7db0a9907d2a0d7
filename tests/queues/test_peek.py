"""The verbs that need no receipt: `peek` and `remove`, in every store."""

from __future__ import annotations

from pathlib import Path

import pytest
from clock import Clock
from nats_nodes import new_stream

from chatq.queues.memory import MemoryStore
from chatq.queues.nats.nats_store import NatsStore
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage, Store


@pytest.fixture(params=["memory", "sqlite", pytest.param("nats", marks=pytest.mark.needs("nats"))])
async def store(request, tmp_path: Path):
    clock = Clock()
    if request.param == "memory":
        made: Store = MemoryStore(clock=clock)
    elif request.param == "nats":
        made = await NatsStore.open(new_stream(), clock=clock)
    else:
        made = await SqliteStore.open(tmp_path / "q.db", clock=clock)
    made.clock = clock
    yield made
    await made.close()


async def put(store: Store, n: int, *queues: str) -> list[str]:
    messages = [NewMessage("e", str(i), queues or ("q",)) for i in range(n)]
    return [ids[0] for ids in await store.put(messages)]


async def test_peek_shows_what_lies_there_in_the_order_of_put_page_by_page(store) -> None:
    ids = await put(store, 7)
    await put(store, 1, "other")
    seen, after = [], ""
    while page := await store.peek("q", 3, after):
        seen += page
        after = page[-1].id
    assert [kept.id for kept in seen] == ids
    assert [(kept.event, kept.body) for kept in seen] == [("e", str(n)) for n in range(7)]
    assert await store.peek("nothing", 3) == []


async def test_peek_changes_nothing_and_sees_what_is_claimed_waiting_or_given_back(store) -> None:
    ids = await put(store, 4)
    claimed = (await store.claim("q", 3, 30, in_order=False)).attempts
    await store.release(claimed[0].receipt)
    await store.release(claimed[1].receipt, 60)
    assert [kept.id for kept in await store.peek("q", 10)] == ids
    stats = await store.stats("q")
    assert (stats.ready, stats.leased, stats.delayed) == (2, 1, 1)
    again = (await store.claim("q", 10, 30, in_order=False)).attempts
    assert [attempt.number for attempt in again] == [2, 1]
    await store.bury(claimed[2].receipt, "so")
    assert [kept.id for kept in await store.peek("q", 10)] == [ids[0], ids[1], ids[3]]


async def test_remove_deletes_whatever_state_a_message_is_in(store) -> None:
    ids = await put(store, 6)
    claimed = (await store.claim("q", 4, 30, in_order=False)).attempts
    await store.release(claimed[0].receipt)
    await store.release(claimed[1].receipt, 60)
    await store.bury(claimed[2].receipt, "so")
    wanted = [ids[0], ids[1], ids[2], ids[3], ids[4], ids[4], "nonsense"]
    assert await store.remove("q", wanted) == [True, True, False, True, True, False, False]
    assert await store.remove("nothing", ids) == [False] * 6
    assert await store.ack([claimed[3].receipt]) == [False]
    assert not await store.release(claimed[3].receipt)
    stats = await store.stats("q")
    assert (stats.ready, stats.leased, stats.delayed, stats.dead) == (1, 0, 0, 1)
    store.clock.now += 100
    left = (await store.claim("q", 10, 30, in_order=False)).attempts
    assert [attempt.id for attempt in left] == [ids[5]]


async def test_remove_leaves_the_copies_of_other_queues(store) -> None:
    message = NewMessage("e", "body", ("a", "b"))
    one, two = (await store.put([message]))[0]
    assert await store.remove("b", [one]) == [False]
    assert await store.remove("a", [one]) == [True]
    assert [kept.body for kept in await store.peek("b", 5)] == ["body"]
    assert [a.body for a in (await store.claim("b", 5, 30, in_order=True)).attempts] == ["body"]
    assert await store.remove("b", [two]) == [True]


async def test_a_file_keeps_what_was_removed_out_and_the_rest_in(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "q.db")
    ids = await put(store, 5, "a", "b")
    await store.remove("a", ids[:2])
    await store.close()
    store = await SqliteStore.open(tmp_path / "q.db")
    assert [kept.body for kept in await store.peek("a", 9)] == ["2", "3", "4"]
    assert (await store.stats("b")).ready == 5
    await store.close()
