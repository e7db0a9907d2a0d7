"""A snapshot is of one state, whatever is applied while it is taken, and stops nobody for long."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import pytest
from clock import Clock
from nats_nodes import new_stream
from whole_state import whole

from chatq.queues import frozen as frozen_module
from chatq.queues.frozen import Frozen
from chatq.queues.nats import reading_progress, snapshots
from chatq.queues.nats.nats_store import NatsStore
from chatq.queues.record import Record
from chatq.queues.state import _VERBS, State
from chatq.queues.store import Limits, NewMessage
from chatq.waiting import give_way

QUEUES = ["a", "b", "c"]
VERBS = ["put", "move", *_VERBS]


class Traffic:
    """Random records that a state applies."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.state = State("x")
        self.limits = Limits(
            length=40, dead_length=4, dead_memory=60.0, key_memory=30.0, keys=20, queue_memory=20.0
        )
        self.now, self.place = 1000.0, 0
        self.receipts: list[str] = []

    def verb(self, name: str) -> list[Any]:
        """Return this verb with arguments that fit what there is."""
        dice, state = self.dice, self.state
        queue = dice.choice(QUEUES)
        receipt = dice.choice(self.receipts or [""])
        ids = [state.id(item) for item in state.peek(queue, 3, 0)]
        dead = [state.id(item) for item in state.dead(queue, 3)]
        match name:
            case "put":
                ends = dice.choice([None, self.now + 5.0])
                due = dice.choice([None, None, self.now + 3.0])
                key = dice.choice([None, str(self.place)])
                one = ["e", dice.sample(QUEUES, 2), key, ends, due]
                return ["put", [one] * dice.randint(1, 4)]
            case "claim":
                lease, order = dice.choice([1.0, 50.0]), dice.random() < 0.3
                return ["claim", queue, 3, lease, order, True, str(dice.random())]
            case "ack" | "return":
                return [name, self.receipts[-2:]]
            case "extend":
                return [name, self.receipts[-2:], dice.choice([2.0, 70.0])]
            case "release":
                return [name, receipt, dice.choice([0.0, 5.0]), dice.random() < 0.5, True]
            case "bury":
                return [name, receipt, "no", dice.random() < 0.9]
            case "remove":
                return [name, queue, ids[:1]]
            case "redrive" | "discard":
                return [name, queue, dice.choice([None, dead[:1]])]
            case "purge" | "delete":
                return [name, queue, dice.choice([2, 1_000])]
            case "move":
                return [name, [*state.up_to(self.place, 2).values()]]
            case "sweep":
                return [name]
        raise AssertionError(f"{name} is a new verb: let it be mixed in here")

    def step(self, name: str) -> None:
        verb = self.verb(name)
        self.now += self.dice.random()
        self.place += 1
        record = Record("s", self.place, self.now, self.limits, [verb], [])
        answers = self.state.apply(self.place, record)
        if name == "claim":
            assert answers is not None
            self.receipts += [granted.receipt for granted in answers[0][0]]
            self.receipts = self.receipts[-20:]

    def often(self, count: int) -> None:
        """Mostly put, so that there is something to change."""
        for name in self.dice.choices(VERBS, [12, *(1 for _ in VERBS[1:])], k=count):
            self.step(name)

    def look(self) -> list[Any]:
        return [*whole(self.state), self.state.size, sorted(self.state.bodies.items())]


def read(lines: list[Any], keys: list[Any]) -> State:
    state = State.begin("x", lines[0])
    for kind, part in lines[1:]:
        state.add(kind, part)
    for key in keys:
        state.keys.add(*key)
    return state


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_applied_between_the_slices_is_not_in_them(verb, monkeypatch):
    """Each verb alone, and among others, at any slice."""
    monkeypatch.setattr(frozen_module, "SLICE", 5)
    for seed in range(40):
        traffic = Traffic(seed)
        traffic.often(traffic.dice.randint(20, 150))
        state = traffic.state
        expected = traffic.look()
        frozen, keys = state.freeze(), state.keys.since(0, 0.0)
        lines: list[Any] = []
        for line in frozen.lines():
            lines.append(line)
            if traffic.dice.random() < 0.5:
                traffic.step(verb)
            if seed % 2:
                traffic.often(traffic.dice.randint(0, 3))
        state.thaw()
        traffic.state = read(lines, [*keys])
        assert traffic.look() == expected, f"seed {seed}"


def test_whoever_begins_with_a_snapshot_does_what_all_others_do():
    for seed in range(40):
        traffic = Traffic(seed)
        traffic.often(100)
        other = Traffic(seed)
        frozen = traffic.state.freeze()
        traffic.state.thaw()
        other.state = read([*frozen.lines()], [*traffic.state.keys.since(0, 0.0)])
        other.now, other.place = traffic.now, traffic.place
        other.receipts = [*traffic.receipts]
        other.dice.setstate(traffic.dice.getstate())
        for _ in range(60):
            [name] = traffic.dice.choices(VERBS)
            other.dice.choices(VERBS)
            traffic.step(name)
            other.step(name)
            assert traffic.look() == other.look(), f"seed {seed}: after {name}"


def message(n: object, queue: str = "q") -> NewMessage:
    return NewMessage("pickup", f'"{n}"', (queue,), key=str(n))


@pytest.mark.needs("nats")
async def test_a_server_that_opens_the_snapshot_has_what_came_during_it(monkeypatch):
    monkeypatch.setattr(frozen_module, "SLICE", 2)
    monkeypatch.setattr(snapshots, "SLICE", 2)
    monkeypatch.setattr(snapshots, "_PART", 700)
    monkeypatch.setattr(snapshots, "_BITE", 100)
    url = new_stream()
    store = await NatsStore.open(url)
    for some in range(5):
        await store.put([message((some, n)) for n in range(100)])
    running = asyncio.ensure_future(store._compaction.run())
    during = 0
    while not running.done():
        attempts = (await store.claim("q", 2, 30.0, in_order=False, alone=True)).attempts
        await store.ack([attempts[0].receipt])
        await store.put([message(f"new {during}"), message(f"new {during}", "other")])
        during += 1
    assert during
    other = await NatsStore.open(url)
    assert len(store._replica.manifest.parts) > 2
    assert other._replica.manifest == store._replica.manifest
    assert whole(other._replica.state) == whole(store._replica.state)
    await other.close()
    await store.close()


@pytest.mark.needs("nats")
async def test_others_have_their_turns_while_a_snapshot_is_taken_and_read(monkeypatch, caplog):
    url = new_stream()
    store = await NatsStore.open(url)
    for some in range(10):
        await store.put([message((some, n)) for n in range(2_000)])
    turn = 0
    at: list[int] = []  # the turn of each slice
    lines, add = Frozen.lines, State.add

    def noted_lines(frozen: Frozen) -> Any:
        for line in lines(frozen):
            at.append(turn)
            yield line

    def noted_add(state: State, kind: str, part: list[Any]) -> None:
        at.append(turn)
        add(state, kind, part)

    async def turns(work: Any) -> Any:
        nonlocal turn
        doing = asyncio.ensure_future(work)
        while not doing.done():
            await give_way()
            turn += 1
        assert len({*at}) == len(at) >= 20_000 // frozen_module.SLICE
        at.clear()
        return doing.result()

    monkeypatch.setattr(Frozen, "lines", noted_lines)
    monkeypatch.setattr(State, "add", noted_add)
    before = store._replica.manifest
    await turns(snapshots.take(store._log, store._replica.state, before, store._clock()))
    with caplog.at_level(logging.INFO, "chatq"):
        await (await turns(NatsStore.open(url))).close()
        monkeypatch.setattr(reading_progress, "_EVERY", 0.0)
        other = await turns(NatsStore.open(url))
    assert "of 20000 messages" in caplog.text
    assert other._replica.state.size == 20_000
    await other.close()
    await store.close()


def test_what_is_quickly_read_is_not_told(caplog):
    clock = Clock()
    start = clock.now
    progress = reading_progress.Progress("messages", 9, clock)
    with caplog.at_level(logging.INFO, "chatq"):
        for passed, count in ((0.9, 1), (1.1, 2), (1.9, 3), (2.2, 4)):
            clock.now = start + passed
            progress.reached(count)
    assert caplog.messages == [f"reading the stream: {n} of 9 messages" for n in (2, 4)]
