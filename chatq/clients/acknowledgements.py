"""A consumer's acknowledgements, positive and negative, until the server has confirmed them.

Owns the unconfirmed acknowledgements, and when they are sent. Must not know: messages, handlers.

An acknowledgement is kept until the server has confirmed it: if the connection ends before, it is
sent again on the next one, with the same receipt. If that is too late, the message is redelivered.

Acknowledgements wait for no timer and, up to a few, for no confirmation of earlier ones: those of
one burst of messages are sent together. There are never more than messages in flight.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from ..waiting import Tasks, detached
from .session import Session

__all__ = ["Answers"]

_LONGEST_REASON = 500  # characters
_MOST = 1000  # receipts in one event
#: The most unconfirmed events. (A server ends a polling connection that posts 16 packets in one.)
_EVENTS = 8


class Answers:
    """A consumer's acknowledgements on `connection`; `report(what, error)`: called with errors."""

    def __init__(self, connection: Session, report: Callable[[str, BaseException], object]) -> None:
        #: The sid of the connection that is subscribed: only that may acknowledge.
        self.sid: str | None = None
        self._connection, self._report = connection, report
        self._receipts: list[str] = []
        self._failures: list[dict[str, Any]] = []
        self._unconfirmed: dict[int, tuple[list[str], list[dict[str, Any]]]] = {}
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._sending = Tasks()

    def received(self, receipt: str) -> None:
        """Acknowledge the message with this receipt."""
        if not self._receipts:
            self._send_soon()
        self._receipts.append(receipt)

    def failed(self, receipt: str, reason: str, delay: float | None = None) -> None:
        """Negatively acknowledge the message with this receipt.

        `delay`: seconds until the redelivery; None: the back-off of the server.
        """
        self._send_soon()
        failure: dict[str, Any] = {"receipt": receipt, "reason": reason[:_LONGEST_REASON]}
        self._failures.append(failure if delay is None else {**failure, "delay": delay})

    def lost(self) -> None:
        """Queue all unconfirmed acknowledgements again: the connection has ended."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        self._receipts[:0] = [r for receipts, _ in unconfirmed.values() for r in receipts]
        self._failures[:0] = [f for _, failures in unconfirmed.values() for f in failures]
        self._changed.set()

    async def send(self) -> None:
        """Send the waiting acknowledgements, if the consumer is subscribed."""
        while self._sendable() and len(self._unconfirmed) < _EVENTS:
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
        """Wait until the server has confirmed everything, or the connection ends."""
        while self._unconfirmed or self._sendable():
            self._changed.clear()
            await self._changed.wait()

    def _sendable(self) -> bool:
        """Return whether there is something to send, and a subscribed connection for it."""
        waiting = bool(self._receipts or self._failures)
        return waiting and self.sid == self._connection.sid is not None

    def _send_soon(self) -> None:
        # For handlers that wait for something: at the end of a burst the consumer itself sends.
        asyncio.get_running_loop().call_soon(self._start_sending)

    def _start_sending(self) -> None:
        if self._sendable():
            self._sending.add(detached(self.send()))

    def _confirm(self, number: int, *answer: Any) -> None:
        """Forget these: the server has them, be it too late."""
        self._unconfirmed.pop(number, None)
        self._changed.set()
        if self._receipts or self._failures:
            self._send_soon()
        if len(answer) == 1 and isinstance(answer[0], dict) and "error" in answer[0]:
            self._report("was not heard", RuntimeError(str(answer[0]["error"])))
