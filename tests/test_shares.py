"""Who may begin something scarce: each at once, and then in turns."""

from __future__ import annotations

import asyncio

from chatq.pace import Pace
from chatq.shares import Shares
from chatq.waiting import give_way


async def begin(shares: Shares, who: str, size: int, done: list[str]) -> None:
    await shares.begin(who, size)
    done.append(who)


async def turns() -> None:
    for _ in range(5):
        await give_way()


async def test_each_waits_for_itself() -> None:
    shares, done = Shares(count=2, size=100, total=1000, free=10), []
    tasks = [asyncio.create_task(begin(shares, "greedy", 1, done)) for _ in range(5)]
    tasks.append(asyncio.create_task(begin(shares, "other", 1, done)))
    await turns()
    assert done == ["greedy", "greedy", "other"]
    for left in (3, 4, 5):
        shares.end("greedy", 1)
        await turns()
        assert done.count("greedy") == left
    assert all(task.done() for task in tasks)


async def test_they_take_turns_when_all_is_taken() -> None:
    shares, done = Shares(count=9, size=100, total=100, free=10), []
    tasks = [asyncio.create_task(begin(shares, "a", 100, done)) for _ in range(3)]
    await turns()
    tasks += [asyncio.create_task(begin(shares, who, 60, done)) for who in "bc"]
    await turns()
    for who in ("a", "b", "c"):
        shares.end(who, 100 if who == "a" else 60)
        await turns()
    assert done == ["a", "b", "c", "a"]
    shares.end("a", 100)
    await asyncio.gather(*tasks)


async def test_a_little_never_waits_for_others() -> None:
    shares, done = Shares(count=9, size=100, total=100, free=10), []
    await shares.begin("greedy", 100)
    await asyncio.wait_for(begin(shares, "other", 10, done), 5)
    waiting = asyncio.create_task(begin(shares, "other", 1, done))
    await turns()
    assert done == ["other"]
    shares.end("greedy", 100)
    await waiting


async def test_what_is_larger_than_all_begins_when_it_is_alone() -> None:
    shares, done = Shares(count=9, size=100, total=100, free=10), []
    async with shares.turn("a", 5):
        waiting = asyncio.create_task(begin(shares, "b", 500, done))
        await turns()
        assert not done
    await asyncio.wait_for(waiting, 5)


async def test_who_gives_up_leaves_nothing_behind() -> None:
    shares, done = Shares(count=1, size=100, total=100, free=10), []
    await shares.begin("a", 100)
    waiting = [asyncio.create_task(begin(shares, who, 50, done)) for who in "aabb"]
    await turns()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    shares.end("a", 100)
    assert not shares._shares
    assert not shares._line
    await asyncio.wait_for(begin(shares, "b", 100, done), 5)


def test_a_pace() -> None:
    now = 100.0
    pace = Pace(2, 0.5, 1.0, lambda: now)
    assert [pace.next() for _ in range(6)] == [0, 0, 0.5, 1.0, 1.0, 1.0]
    assert not pace.fresh
    now += 1.0
    assert pace.next() == 0.5
    now += 9
    assert pace.fresh
    assert [pace.next() for _ in range(3)] == [0, 0, 0.5]


async def test_a_turn_of_a_pace_comes_when_it_is_due() -> None:
    begun = asyncio.get_running_loop().time()
    pace = Pace(1, 0.02, 1.0)
    await asyncio.gather(*(pace.turn() for _ in range(4)))
    assert asyncio.get_running_loop().time() - begun >= 3 * 0.02 - 0.01
    done = []
    asyncio.get_running_loop().call_soon(done.append, 1)
    await Pace(1, 9.0, 9.0).turn()
    assert not done  # nothing was waited for
