"""A consumer's answers, until the server has them.

Owns what was answered and is not confirmed, and when it is sent. Must not know: messages, handlers.

An answer is kept until the server has confirmed it: if the connection ends before, it goes out
again on the next one, with the same receipt. If it is too late then, the message comes again.

Answers wait for no timer and, up to a few, for no confirmation of those before: what has gathered
when nothing more can be done at once is sent together. There are never more than the server has
messages out.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from .connection import Connection

__all__ = ["Answers"]

_LONGEST_REASON = 500  # characters
_MOST = 1000  # receipts in one event
#: Unconfirmed events at once. (A server ends a polling connection that posts 16 packets in one.)
_EVENTS = 8


class Answers:
    """What a consumer says on `connection`; `report`: is told what went wrong, and the error."""

    def __init__(
        self, connection: Connection, report: Callable[[str, BaseException], object]
    ) -> None:
        #: The connection on which the server takes them: that of the subscription.
        self.sid: str | None = None
        self._connection, self._report = connection, report
        self._receipts: list[str] = []
        self._failures: list[dict[str, Any]] = []
        self._unconfirmed: dict[int, tuple[list[str], list[dict[str, Any]]]] = {}
        self._numbers = itertools.count()
        self._news = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    def received(self, receipt: str) -> None:
        """The message was dealt with."""
        if not self._receipts:
            self._send_soon()
        self._receipts.append(receipt)

    def failed(self, receipt: str, reason: str, delay: float | None = None) -> None:
        """The message goes back, to be tried again after `delay` seconds, or as the rules say."""
        self._send_soon()
        failure: dict[str, Any] = {"receipt": receipt, "reason": reason[:_LONGEST_REASON]}
        self._failures.append(failure if delay is None else {**failure, "delay": delay})

    def lost(self) -> None:
        """The connection has ended: what was not confirmed is sent again on the next one."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        self._receipts[:0] = [r for receipts, _ in unconfirmed.values() for r in receipts]
        self._failures[:0] = [f for _, failures in unconfirmed.values() for f in failures]
        self._news.set()

    async def send(self) -> None:
        """Send those that wait, if the server takes them now."""
        while self._more() and len(self._unconfirmed) < _EVENTS:
            receipts = self._receipts[:_MOST]
            failures = [] if receipts else self._failures[:1]
            del self._receipts[: len(receipts)], self._failures[: len(failures)]
            number = next(self._numbers)
            self._unconfirmed[number] = (receipts, failures)
            try:
                await self._connection.emit(
                    "received" if receipts else "failed",
                    {"receipts": receipts} if receipts else failures[0],
                    partial(self._confirm, number),
                )
            except Exception as error:
                if self._unconfirmed.pop(number, None):
                    self._receipts[:0], self._failures[:0] = receipts, failures
                if not isinstance(error, ConnectionError):
                    self._report("could not send its answers yet", error)
                return

    async def confirmed(self) -> None:
        """Wait until the server has all that was sent, or the connection ends."""
        while self._unconfirmed or self._more():
            self._news.clear()
            await self._news.wait()

    def _more(self) -> bool:
        """Whether there are answers to be sent, and a server that takes them."""
        waiting = bool(self._receipts or self._failures)
        return waiting and self.sid == self._connection.sid is not None

    def _send_soon(self) -> None:
        # When whoever handles messages waits for something: at the end of a burst it sends itself.
        asyncio.get_running_loop().call_soon(self._begin_to_send)

    def _begin_to_send(self) -> None:
        if self._more():
            task = asyncio.create_task(self.send(), context=contextvars.Context())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _confirm(self, number: int, *answer: Any) -> None:
        """The server has these. (Whether they came too late makes no difference here.)"""
        self._unconfirmed.pop(number, None)
        self._news.set()
        if self._receipts or self._failures:
            self._send_soon()
        if len(answer) == 1 and isinstance(answer[0], dict) and "error" in answer[0]:
            self._report("was not heard", RuntimeError(str(answer[0]["error"])))
