"""Waiting: for a turn of the event loop, again and again, after failures, for the end of tasks."""

from __future__ import annotations

import asyncio
import gc
from random import Random

from chatq.waiting import Tasks, every, give_way, pause_after, set_within


async def soon(work):
    """Wait for what needs no time at all."""
    async with asyncio.timeout(5):
        return await work


async def test_a_turn_is_given_to_all_that_is_ready():
    done = []
    loop = asyncio.get_running_loop()
    loop.call_soon(done.append, "called")
    task = asyncio.create_task(give_way())
    task.add_done_callback(lambda _: done.append("told"))
    await give_way()
    assert done == ["called"]
    while not task.done():
        await give_way()
    await give_way()
    assert done == ["called", "told"]


async def test_an_event_is_waited_for_no_longer_than_told():
    event = asyncio.Event()
    await set_within(event, 0.001)
    event.set()
    await set_within(event, 0)


async def test_a_call_is_made_again_and_again_until_that_is_ended():
    first, second, three = [], [], asyncio.Event()

    def count(calls):
        calls.append(len(calls))
        if len(second) == 3:
            three.set()

    end = every(0.001, lambda: count(first))
    end_second = every(0.001, lambda: (count(second), len(first) >= 2 and end()))
    await soon(three.wait())
    called = [*first]
    three.clear()
    second.clear()
    await soon(three.wait())
    end_second()
    assert first == called
    assert len(called) >= 2


def test_a_pause_doubles_with_each_failure_up_to_the_longest():
    assert [pause_after(n, 0.25, 3, None) for n in (1, 2, 3, 4, 5, 10**6)] == [
        0.25,
        0.5,
        1,
        2,
        3,
        3,
    ]
    jitter = [pause_after(n, 0.25, 3, Random(n)) for n in (1, 2, 3, 4, 5)]
    assert all(wait / 2 <= j < wait for j, wait in zip(jitter, (0.25, 0.5, 1, 2, 3), strict=True))


async def test_what_has_ended_is_let_go_and_told():
    """Also what had ended before it was added, as a task that begins at once may have."""
    tasks, told = Tasks(), []
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    done.set_result("at once")
    tasks.add(done, "done already", lambda future: told.append(future.result()))
    tasks.add(asyncio.create_task(give_way()), "later", lambda _: told.append("later"))
    assert sorted(tasks.values()) == ["done already", "later"]
    assert await soon(tasks.end(60)) == []
    assert told == ["at once", "later"]
    assert not tasks
    assert await tasks.end(0) == await tasks.cancel() == []


async def test_the_end_waits_for_what_begins_meanwhile():
    tasks, ended = Tasks(), []

    async def work(n):
        await give_way()
        if n:
            tasks.add(asyncio.create_task(work(n - 1)))
        ended.append(n)

    tasks.add(asyncio.create_task(work(3)))
    assert await soon(tasks.end(60)) == []
    assert ended == [3, 2, 1, 0]


async def test_what_does_not_end_is_named_and_cancelled():
    tasks, told = Tasks(), []
    never = asyncio.create_task(asyncio.Event().wait())
    tasks.add(never, "the moon", told.append)
    tasks.add(asyncio.get_running_loop().create_future())
    tasks.add(asyncio.create_task(give_way()), "a turn")
    assert await tasks.end(0.01) == ["a background task", "the moon"]
    assert never.cancelled()
    assert told == [never]
    assert not tasks


async def test_what_refuses_to_be_cancelled_is_named_and_holds_up_nobody():
    tasks, may_end = Tasks(), asyncio.Event()

    async def refuses():
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                pass

    refusing = asyncio.create_task(refuses())
    tasks.add(refusing, "a mule")
    tasks.add(asyncio.create_task(asyncio.Event().wait()), "the moon")
    await give_way()
    assert await tasks.cancel(0.01) == ["a mule"]
    assert [*tasks] == [refusing]
    may_end.set()
    assert await soon(tasks.end(60)) == []


async def test_who_cancels_the_others_goes_on():
    tasks, ended = Tasks(), []

    async def one():
        tasks.add(asyncio.current_task(), "this one")
        tasks.add(asyncio.create_task(asyncio.Event().wait()), "another")
        ended.append(await tasks.cancel(5))

    await asyncio.create_task(one())
    assert ended == [[]]


async def test_how_a_cancelled_task_ended_is_nobodys_news(caplog):
    """It was told to end: that it did so with an error is not shown as one that nobody saw."""
    tasks = Tasks()

    async def fails():
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("on the way out")

    tasks.add(asyncio.create_task(fails()), "it")
    await give_way()
    assert await tasks.cancel(5) == []
    gc.collect()
    assert caplog.records == []


async def test_a_call_back_that_raises_keeps_nothing():
    tasks, loop = Tasks(), asyncio.get_running_loop()
    problems = []
    loop.set_exception_handler(lambda _, context: problems.append(context["exception"]))

    def raises(_):
        raise LookupError("planted")

    tasks.add(asyncio.create_task(give_way()), "it", raises)
    assert await soon(tasks.end(60)) == []
    assert [type(problem) for problem in problems] == [LookupError]
