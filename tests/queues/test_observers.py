"""Any number of observers, whatever they do: the queues go on, and each is told all, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from test_queues import consumer, silent, until

from chatq import Queues, Rules
from chatq.journal.facts import (
    Died,
    Redriven,
    Returned,
    Settled,
    Stored,
    Subscribed,
    Tried,
    Unsubscribed,
)
from chatq.queues.observers import Observer
from chatq.queues.store import NewMessage, Stats


@pytest.fixture(params=["memory", "sqlite"])
async def queues(request, sio, tmp_path):
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/q.db"
    async with await Queues.open(url, Rules(back_off=0.001)) as queues:
        queues.attach(sio)
        yield queues
        await queues.close(0)


@dataclass
class Notes:
    """An observer that notes all; two are equal as soon as they have noted the same."""

    facts: list[Any] = field(default_factory=list)
    working: int = 0
    least: int = 0

    def happened(self, fact):
        self.facts.append(fact)

    def began(self):
        self.working += 1

    def ended(self):
        self.working -= 1
        self.least = min(self.least, self.working)

    @property
    def kinds(self):
        return Counter(type(fact) for fact in self.facts)


class Stop(BaseException):
    """An error that is no `Exception`, as those of test frameworks are."""


class Raises(Observer):
    """An observer that raises wherever it is called."""

    def __init__(self, error):
        self.error = error
        self.called = Counter()

    def _raise(self, where):
        self.called[where] += 1
        raise self.error

    def happened(self, fact):
        self._raise("happened")

    def began(self):
        self._raise("began")

    def ended(self):
        self._raise("ended")


async def run(stage, queues, name="ada", messages=5):
    """Have so many messages emitted, delivered and answered; return what was delivered."""
    ada = await consumer(stage, queues, name)
    for n in range(messages):
        assert await queues.emit("pickup", n, to="drivers")
    await ada.until(messages)
    await until(queues, ready=0, leased=0, delayed=0)
    return ada.data


async def idle(notes, within=5.0):
    async with asyncio.timeout(within):
        while any(each.working for each in notes):
            await asyncio.to_thread(lambda: None)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("planted"), asyncio.CancelledError("planted"), Stop("planted"), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
async def test_what_one_raises_stops_neither_delivery_nor_emit_nor_another(
    stage, queues, error, caplog
):
    caplog.set_level(logging.CRITICAL)
    raises, before, after = Raises(error), Notes(), Notes()
    queues.watch(before)
    end = queues.watch(raises)
    queues.watch(after)
    assert await run(stage, queues) == [0, 1, 2, 3, 4]
    await idle([before, after])
    for notes in (before, after):
        assert notes.kinds == {Subscribed: 1, Stored: 5, Tried: 5, Settled: 5}
        assert notes.least == 0
    assert before.facts == after.facts
    assert {*raises.called} == {"happened", "began", "ended"}
    end()
    assert await queues.stats("drivers") == Stats()


async def test_all_are_told_of_what_is_refused_dead_and_redriven(stage, queues, caplog):
    caplog.set_level(logging.CRITICAL)
    notes = Notes()
    queues.watch(Raises(asyncio.CancelledError()))
    queues.watch(notes)
    ada = await consumer(stage, queues, "ada", answer=silent)
    await queues.emit("pickup", 1, to="drivers")
    for n in range(1, queues.rules.attempts + 1):
        await ada.until(n)
        await ada.client.call("failed", {"receipt": ada.receipts[-1], "reason": "no"})
    await until(queues, dead=1)
    assert await queues.redrive("drivers") == 1
    await ada.until(6)
    assert notes.kinds == {Subscribed: 1, Stored: 1, Tried: 6, Returned: 5, Died: 1, Redriven: 1}


async def test_what_one_raises_is_logged(queues, caplog):
    queues.watch(Raises(asyncio.CancelledError("planted")))
    await queues.emit("pickup", 1, to="drivers")
    assert "an observer of queues failed; the queues go on" in caplog.text
    assert "planted" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_ends_it(queues, error):
    class Ends(Observer):
        def happened(self, fact):
            raise error

    end = queues.watch(Ends())
    with pytest.raises(error):
        queues._delivery.observers.notify(Subscribed("sid", "queue"))
    end()
    assert await queues.emit("pickup", 1, to="drivers")


class Leaves(Notes):
    """An observer that ends observations while it is told: after so many facts, or pieces of
    work."""

    def __init__(self, facts=None, work=None, done=None):
        super().__init__()
        self.ends: list[Any] = []
        self._facts, self._work, self._done = facts, work, done

    def happened(self, fact):
        super().happened(fact)
        if len(self.facts) == self._facts:
            self._end()

    def began(self):
        super().began()
        if self._work is not None:
            self._work -= 1
            if self._work == 0:
                self._end()

    def ended(self):
        super().ended()
        if self._done is not None:
            self._done -= 1
            if self._done == 0:
                self._end()

    def _end(self):
        for end in self.ends:
            end()
            end()  # twice is harmless


@pytest.mark.parametrize(
    "when", [{"facts": 1}, {"facts": 4}, {"work": 1}, {"work": 2}, {"done": 1}], ids=str
)
@pytest.mark.parametrize("whom", ["itself", "the next", "the one before", "all"])
async def test_one_may_end_observations_while_it_is_told(stage, queues, when, whom):
    first, leaves, following, last = Notes(), Leaves(**when), Notes(), Notes()
    ends = [queues.watch(each) for each in (first, leaves, following, last)]
    leaves.ends = {
        "itself": ends[1:2],
        "the next": ends[2:3],
        "the one before": ends[:1],
        "all": ends[:3],
    }[whom]
    assert await run(stage, queues) == [0, 1, 2, 3, 4]
    await idle([first, leaves, following, last])
    assert last.kinds == {Subscribed: 1, Stored: 5, Tried: 5, Settled: 5}
    assert all(each.least == 0 for each in (first, leaves, following, last))
    for each in (first, leaves, following):
        assert each.facts == last.facts[: len(each.facts)]


async def test_whose_observation_has_ended_is_told_nothing_more(queues):
    """Not even what the others are being told just now."""
    leaves, following = Leaves(facts=1), Notes()
    queues.watch(leaves)
    leaves.ends = [queues.watch(following)]
    await queues.emit("pickup", 1, to="drivers")
    assert (len(leaves.facts), following.facts) == (1, [])


async def test_an_end_of_earlier_ends_nothing_of_now(queues):
    notes = Notes()
    end = queues.watch(notes)
    end()
    queues.watch(notes)
    end()
    await queues.emit("pickup", 1, to="drivers")
    assert len(notes.facts) == 1


async def test_equal_ones_are_two(queues):
    one, other = Notes(), Notes()
    end_one = queues.watch(one)
    queues.watch(other)
    with pytest.raises(RuntimeError, match="watches these queues already"):
        queues.watch(one)
    end_one()
    await queues.emit("pickup", 1, to="drivers")
    assert (len(one.facts), len(other.facts)) == (0, 1)


async def test_one_may_watch_for_another_while_it_is_told(stage, queues):
    later = Notes()

    class Brings(Observer):
        done = False

        def began(self):
            if not self.done:
                self.done = True
                queues.watch(later)

    queues.watch(Brings())
    assert await run(stage, queues) == [0, 1, 2, 3, 4]
    await idle([later])
    assert later.kinds[Settled] == 5
    assert later.least == 0


async def test_one_may_use_the_queues(stage, queues):
    """From a task, and at once what is no coroutine."""
    tasks = []

    class Uses(Observer):
        def happened(self, fact):
            match fact:
                case Subscribed(sid):
                    assert queues.subscriptions(sid) == ["drivers"]
                case Settled(message) if message.event == "pickup":
                    queues.tick()
                    follow = queues.emit("done", message.data, to="drivers")
                    tasks.append(asyncio.ensure_future(follow))

        def began(self):
            queues.tick()

    queues.watch(Uses())
    ada = await consumer(stage, queues, "ada")
    for n in range(3):
        await queues.emit("pickup", n, to="drivers")
    await ada.until(6)
    assert sorted(ada.events[n][0] for n in range(6)) == ["done"] * 3 + ["pickup"] * 3
    await asyncio.gather(*tasks)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in Python 3.12")
async def test_all_are_told_one_fact_before_any_is_told_the_next(stage, queues):
    """Also if one causes the next while it is told."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    try:
        tasks, notes = [], Notes()

        class Leaver(Observer):
            def happened(self, fact):
                if isinstance(fact, Subscribed):
                    leaving = queues.unsubscribe(fact.client, fact.queue)
                    tasks.append(asyncio.ensure_future(leaving))

        queues.watch(Leaver())
        queues.watch(notes)
        ada = await stage.client("ada")
        await queues.subscribe(ada.get_sid(), "drivers")
        await asyncio.gather(*tasks)
        assert [type(fact) for fact in notes.facts] == [Subscribed, Unsubscribed]
    finally:
        asyncio.get_running_loop().set_task_factory(None)


class Waits(Notes):
    async def happened(self, fact):
        """Nobody would ever await this."""


class Lacks:
    def happened(self, fact):
        """And nothing else."""


@pytest.mark.parametrize(
    ("observer", "words"),
    [
        (Waits(), "'happened' of an observer is called, and not awaited"),
        (Lacks(), "a method 'began'"),
        (print, "a method 'happened'"),
        (None, "a method 'happened'"),
        (Notes, None),
    ],
    ids=["async", "lacks one", "a function", "nothing", "a class"],
)
async def test_what_is_no_observer_is_refused_at_once(queues, observer, words, caplog):
    if words is None:  # a class has the methods: what it raises is logged
        queues.watch(observer)
        await queues.emit("pickup", 1, to="drivers")
        assert "an observer of queues failed" in caplog.text
        return
    with pytest.raises(TypeError, match=words):
        queues.watch(observer)
    assert await queues.emit("pickup", 1, to="drivers")


async def test_what_one_returns_that_would_have_to_be_awaited_is_logged(queues, caplog):
    class Partly(Observer):
        def __init__(self):
            async def wait():
                """It never runs."""

            self.happened = lambda fact: wait()

    queues.watch(Partly())
    await queues.emit("pickup", 1, to="drivers")
    assert "what it returned never runs" in caplog.text


async def test_a_message_that_cannot_be_read_harms_nobody_who_watches(stage, queues, caplog):
    caplog.set_level(logging.CRITICAL)
    notes = Notes()
    queues.watch(notes)
    deep = "[" * 100_000 + "]" * 100_000
    for body in (deep, "no JSON"):
        await queues.emit_many([NewMessage("pickup", body, ("drivers",))])
    ada = await consumer(stage, queues, "ada", answer=silent)
    await queues.emit("pickup", "after", to="drivers")
    await ada.until(1)
    assert ada.data == ["after"]
    assert notes.kinds[Stored] == 3


async def test_who_comes_late_is_told_who_consumes_and_of_work_under_way(stage, queues):
    ada = await consumer(stage, queues, "ada")
    notes = Notes()
    queues.watch(notes)
    assert notes.facts == [Subscribed(ada.client.get_sid(), "drivers")]
    await queues.emit("pickup", 1, to="drivers")
    await ada.until(1)
    await until(queues, leased=0)
    await idle([notes])
    assert notes.least == 0
