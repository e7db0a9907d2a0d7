"""A client that only wants to work, beside others that take more of the hub than is theirs.

It publishes and consumes, and measures each answer: idle, and under an attack, in turns.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from attackers import Attack
from hubs import Hub, Inbox

__all__ = ["Answer", "Bystander"]

#: The most processor time of the hub, in seconds, while one answer is waited for, that is a piece
#: of somebody else's work, and not all of it: on a busy machine the clock on the wall says nothing.
PIECE = 0.25
TIMES = 10


class Answer(NamedTuple):
    """How long an answer took, and how much of it the hub was at work, for whomever; in seconds."""

    took: float
    busy: float


class Bystander:
    """Two clients: one publishes, the other consumes; `caps`: in the words of the dialect.

    `idle`, `attacked`: the answers; `operations`: how many the attacker had done by then.
    """

    def __init__(self, hub: Hub, *, caps: bool = False, **options: Any) -> None:
        self.hub, self.caps, self._options = hub, caps, options
        self.idle: list[Answer] = []
        self.attacked: list[Answer] = []
        self.operations = 0
        #: What the consumer has got that the publisher has sent.
        self.received: list[int] = []
        self._sent = 0

    async def start(self) -> None:
        """Connect."""
        self.publisher = await self.hub.client(**self._options)
        self.consumer = await self.hub.client(**self._options)
        self.inbox = Inbox(self.consumer, self.hub.namespace, answer=self._take)
        if not self.caps:
            await self.hub.call(self.consumer, "subscribe", {"queue": "bystander"})

    def _take(self, data: Any, delivery: Any = None) -> Any:
        if not self.caps:
            self.received.append(data)
            return delivery["receipt"]
        if isinstance(data, dict) and data.get("store") == "bystander":
            self.received.append(int(data["orderId"]))
        return None

    async def work(self, times: int, answers: list[Answer]) -> None:
        """Publish so often; each message is delivered before the next is published."""
        for _ in range(times):
            n = self._sent
            self._sent += 1
            began, busy = time.perf_counter(), self.hub.busy
            if self.caps:
                order = {"store": "bystander", "orderId": str(n)}
                answer = await self.hub.call(self.publisher, "pickup", order)
            else:
                message = {"queue": "bystander", "event": "e", "data": n}
                answer = await self.hub.call(self.publisher, "publish", message)
            assert "id" in answer
            await self.inbox.until(lambda n=n: n in self.received[-5:], f"message {n}")
            answers.append(Answer(time.perf_counter() - began, self.hub.busy - busy))

    async def watch(self, attack: Attack, rounds: int, times: int) -> None:
        """Work, idle and under attack, in turns."""
        await self.work(10, [])
        for _ in range(rounds):
            await self.hub.quiet()
            await self.work(times, self.idle)
            await attack.toggle()
            await self.work(times, self.attacked)
            self.operations = await attack.toggle()

    def check(self) -> str:
        """Nothing was lost, stolen or late; return how it was, in words."""
        assert self.received == [*range(self._sent)]
        usual = sorted(self.idle)[int(len(self.idle) * 0.99) - 1].took
        said = (
            f"p99 when idle {usual * 1e3:.1f} ms; slowest under attack "
            f"{max(self.attacked).took * 1e3:.1f} ms, with at most "
            f"{max(answer.busy for answer in self.attacked) * 1e3:.0f} ms of the hub's processor "
            f"time; {self.operations} operations of the attacker"
        )
        for answer in self.attacked:
            assert answer.took <= TIMES * usual or answer.busy <= PIECE, said
        return said

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.gather(self.publisher.disconnect(), self.consumer.disconnect())
