"""A store in memory: the state machine, with the bodies beside it.

For messages that may be lost with the process: tests, lessons, experiments. Owns the bodies, that
a verb takes effect when it is called, and that its answer takes a turn of the event loop. Must not
know: what a verb does (`state`), files, sockets.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from .alarm import Alarm
from .record import Record
from .requests import WithBodies, request
from .state import State
from .steady_clock import steady
from .store import Body, Limits, QueueFull, Store, StoreError

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """Keeps messages in memory.

    `clock`: gives the time in seconds since the epoch; `limits`: as the fields of `Limits`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, **limits: Any) -> None:
        super().__init__()
        self._limits, self._clock = Limits(**limits), steady(clock)
        self._alarm = Alarm(self._clock, self.tick)
        self._state = State(os.urandom(4).hex())
        self._bodies: dict[int, list[Body]] = {}  # by the number of the record that brought them
        self._closed = False

    def ask(self, verb: str, *arguments: Any) -> asyncio.Future[Any]:
        """See `Store.ask`."""
        if self._closed:
            raise StoreError("the store is closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        asked, now = request(verb, *arguments), self._clock()
        due = self._state.due(self._limits) if asked.verb is None else None
        if due is not None and due <= now:
            self._apply(["sweep"], [], now)
        result = self._apply(asked.verb, asked.bodies, now) if asked.verb is not None else None
        if not isinstance(result, QueueFull):
            result = asked.finish(self._state, result, now)
        if isinstance(result, WithBodies):
            result = result.make([self._bodies[place][index] for place, index in result.places])
        for queue in self._state.take_touched():
            self.notify(queue)
        self.notify_expired(self._state.take_expired())
        self._alarm.set(self._state.due(self._limits))
        loop.call_soon(_answer, answer, result)
        return answer

    def _apply(self, verb: list[Any], bodies: list[Body], now: float) -> Any:
        state = self._state
        place = state.applied + 1
        record = Record("", place, now, self._limits, [verb], bodies)
        answers = state.apply(place, record)
        assert answers is not None  # only a record that is read from a log can come twice
        if place in state.bodies:
            self._bodies[place] = bodies
        for emptied in state.take_emptied():
            self._bodies.pop(emptied, None)
        return answers[0]

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        self._alarm.cancel()


def _answer(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():  # whoever asked was cancelled
        return
    if isinstance(result, QueueFull):
        answer.set_exception(result)
    else:
        answer.set_result(result)
