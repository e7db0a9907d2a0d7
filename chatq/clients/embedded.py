"""Queues in the same process as the other end of an outbox: what `Session` is for a hub.

Owns how they are asked, and their errors as a hub would answer them. Must not know: outboxes, how
messages are kept on either side.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..queues.error_codes import code_of
from ..queues.queues import Queues
from ..waiting import set_within
from .session import Refused

__all__ = ["Embedded"]


class Embedded:
    """`queues`, asked in the words of the hub's protocol, without a network; see `Session`."""

    #: Never None, as if connected: queues that are closed answer with an error.
    sid: str | None = ""
    namespace = "queues of this process"
    trouble = ""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._closed = asyncio.Event()

    def open(self) -> None:
        """Start."""

    def close(self) -> None:
        """End; whoever pauses goes on."""
        self._closed.set()

    async def connected(self) -> str:
        """Return at once."""
        return ""

    async def pause(self, seconds: float) -> None:
        """Wait for so many seconds, or until the end."""
        await set_within(self._closed, seconds)

    async def call(self, event: str, data: Any, within: float) -> dict[str, Any]:
        """Store the message or messages of a `publish`, and return their ids.

        `within` is the queues' own matter. Raises `Refused` as for a hub's answer.
        """
        try:
            messages = [
                self._queues.message(
                    each["event"],
                    each["data"],
                    to=each["queue"],
                    key=each["key"],
                    ttl=each.get("ttl"),
                    delay=each.get("delay"),
                )
                for each in data.get("messages", [data])
            ]
            return {"ids": await self._queues.emit_many(messages)}
        except Exception as problem:
            code = code_of(problem)
            if code is None:
                raise
            raise Refused(event, code, str(problem)) from problem
