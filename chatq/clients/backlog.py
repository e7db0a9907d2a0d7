"""The backlog of a consumer: deliveries that have arrived and wait for its handler.

Owns the frames that have arrived, in order, and when one of them is done with. Must not know:
handlers, answers, connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Backlog", "Frame", "read"]


@dataclass(slots=True, eq=False)
class Frame:
    """The entries of a frame that no handler has begun; the time of its arrival (the event loop's);
    `done` is set when all are handled."""

    entries: deque[Any]
    arrived: float
    done: asyncio.Future[None]

    def finish(self) -> None:
        """Set `done`."""
        if not self.done.done():
            self.done.set_result(None)


class Backlog:
    """The frames that have arrived at a consumer with a prefetch window of `window` messages."""

    #: Whether the consumer takes nothing more.
    ended: bool

    def __init__(self, window: int) -> None:
        self.ended = False
        self._window = window
        self._frames: deque[Frame] = deque()
        self._waiting = 0  # messages in these
        self._at_hand: Frame | None = None
        self._changed = asyncio.Event()

    def add(self, entries: list[Any]) -> asyncio.Future[None]:
        """Add a frame; the future is done when it is handled, or not wanted any more."""
        loop = asyncio.get_running_loop()
        frame = Frame(deque(entries), loop.time(), loop.create_future())
        self._frames.append(frame)
        self._waiting += len(entries)
        while self._waiting > 2 * self._window and len(self._frames) > 1:
            # More than a server sends: the oldest came on a connection that has ended, and are
            # redelivered.
            self._remove_oldest().finish()
        self._changed.set()
        return frame.done

    async def wait(self) -> bool:
        """Return True when there is a frame; False after `end`."""
        while not self._frames and not self.ended:
            self._changed.clear()
            await self._changed.wait()
        return not self.ended

    def end(self) -> None:
        """Take nothing more."""
        self.ended = True
        self._changed.set()

    @contextmanager
    def oldest(self) -> Iterator[Frame]:
        """Yield the oldest frame; what is left of it afterwards is the oldest again."""
        frame = self._at_hand = self._remove_oldest()
        try:
            yield frame
        finally:
            self._at_hand = None
            if frame.entries:
                self._frames.appendleft(frame)
                self._waiting += len(frame.entries)
            else:
                frame.finish()

    def clear(self) -> list[str]:
        """Remove all that no handler has begun; return the receipts."""
        at_hand = [self._at_hand] if self._at_hand else []
        removed = [entry for frame in (*at_hand, *self._frames) for entry in frame.entries]
        for frame in at_hand:
            frame.entries.clear()
        while self._frames:
            self._remove_oldest().finish()
        return [receipt for entry in removed if (receipt := read(entry)[3]) is not None]

    def _remove_oldest(self) -> Frame:
        frame = self._frames.popleft()
        self._waiting -= len(frame.entries)
        return frame


def read(entry: Any) -> tuple[Any, Any, Any, str | None]:
    """Return event, data, delivery and receipt of an entry; no receipt: it is no delivery."""
    try:
        event, data, delivery = entry
        id, receipt = delivery["id"], delivery["receipt"]
    except (ValueError, LookupError, TypeError):
        return None, None, entry, None
    valid = type(event) is type(id) is type(receipt) is str
    return event, data, delivery, receipt if valid else None
