"""A consumer's answers until the server has confirmed them: acknowledgements, positive and
negative, messages given back, and signs of work.

Owns the unconfirmed acknowledgements, and when they are sent. Must not know: messages, handlers.

An acknowledgement is kept until the server has confirmed it: if the connection ends before, it is
sent again on the next one, with the same receipt. If that is too late, the message is redelivered.

Acknowledgements wait for no timer and, up to a few, for no confirmation of earlier ones: those of
one burst of messages are sent together. There are never more than messages in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from ..waiting import Tasks, detached
from .session import Session

__all__ = ["Acknowledgements"]

_LONGEST_REASON = 500  # characters
_MOST = 1000  # receipts in one event
_SINGLE = "one message"
#: The most unconfirmed events. (A server ends a polling connection that posts 16 packets in one.)
_EVENTS = 8


class Acknowledgements:
    """A consumer's acknowledgements on `connection`; `report(what, error)`: called with errors."""

    def __init__(self, connection: Session, report: Callable[[str, BaseException], object]) -> None:
        #: The sid of the connection that is subscribed: only that may acknowledge.
        self.sid: str | None = None
        self._connection, self._report = connection, report
        #: The answers to be sent: receipts, by event, and events that are about one message each.
        self._waiting: dict[str, list[Any]] = {"received": [], "released": [], _SINGLE: []}
        self._unconfirmed: dict[int, tuple[str, list[Any]]] = {}
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._sending = Tasks()

    def received(self, receipt: str) -> None:
        """Acknowledge the message with this receipt."""
        if not self._waiting["received"]:
            self._send_soon()
        self._waiting["received"].append(receipt)

    def released(self, receipts: list[str]) -> None:
        """Give back the messages with these receipts, not begun."""
        self._send_soon()
        self._waiting["released"] += receipts

    def broken_off(self, receipt: str) -> None:
        """Give back the message with this receipt, begun, but no failure."""
        self._send_soon()
        self._waiting[_SINGLE].append(("released", {"receipt": receipt, "begun": True}))

    def working(self, receipt: str) -> None:
        """Let the lease with this receipt run anew, and get nothing more until that is answered.

        Not sent again on the next connection: the next sign of work comes soon.
        """
        if self.sid == self._connection.sid is not None:
            self._sending.add(detached(self._emit_working(receipt)))

    async def _emit_working(self, receipt: str) -> None:
        with contextlib.suppress(ConnectionError):
            request = {"receipt": receipt, "pause": True}
            await self._connection.emit("working", request, self._complain)

    def failed(self, receipt: str, reason: str) -> None:
        """Negatively acknowledge the message with this receipt."""
        self._send_soon()
        failure = {"receipt": receipt, "reason": reason[:_LONGEST_REASON]}
        self._waiting[_SINGLE].append(("failed", failure))

    def lost(self) -> None:
        """Queue all unconfirmed acknowledgements again: the connection has ended."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for kind, waiting in self._waiting.items():
            waiting[:0] = [each for of, some in unconfirmed.values() if of == kind for each in some]
        self._changed.set()

    async def send(self) -> None:
        """Send the waiting acknowledgements, if the consumer is subscribed."""
        while self._sendable() and len(self._unconfirmed) < _EVENTS:
            kind, waiting = next(each for each in self._waiting.items() if each[1])
            some = waiting[: 1 if kind == _SINGLE else _MOST]
            del waiting[: len(some)]
            number = next(self._numbers)
            self._unconfirmed[number] = (kind, some)
            try:
                event, data = some[0] if kind == _SINGLE else (kind, {"receipts": some})
                await self._connection.emit(event, data, partial(self._confirm, number))
            except Exception as error:
                if self._unconfirmed.pop(number, None):
                    waiting[:0] = some
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
        return any(self._waiting.values()) and self.sid == self._connection.sid is not None

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
        if any(self._waiting.values()):
            self._send_soon()
        self._complain(*answer)

    def _complain(self, *answer: Any) -> None:
        if len(answer) == 1 and isinstance(answer[0], dict) and "error" in answer[0]:
            self._report("was not heard", RuntimeError(str(answer[0]["error"])))
