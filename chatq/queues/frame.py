"""Deliveries on the wire: one message with its receipt, or a frame of many in one event.

Owns the fields of a delivery, and how a frame is packed and unpacked. Must not know: sockets,
stores, when anything is sent.

A frame is packed as one JSON text that contains the stored bodies as they are: python-socketio
searches every value that it sends for bytes, and would encode again what was encoded when it was
stored. Where there are bytes in a message, the frame is a plain list, and python-socketio's binary
attachments carry them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypedDict

from .message import decode
from .store import Attempt

__all__ = ["DELIVERIES", "Delivery", "cut", "delivery", "entry", "pack", "unpack"]

#: The event that carries a frame.
DELIVERIES = "deliveries"
#: How much data goes into one frame, in characters and bytes: packed it may take twice as much, and
#: Python's client reads 4 MiB at once.
_LARGEST = 1_000_000

#: Names as JSON, of which there are few beside the messages.
_text = lru_cache(maxsize=10_000)(json.JSONEncoder().encode)


class Delivery(TypedDict):
    """The second argument of a handler, beside the data of a message: `handler(data, delivery)`.

    `id`, `queue`: the message, by which a redelivery can be known, and its queue. `attempt`: the
    number of this delivery, from 1 on; `redelivered`: whether it is a later one. `receipt`: what
    settles this attempt.
    """

    id: str
    queue: str
    attempt: int
    redelivered: bool
    receipt: str


def delivery(attempt: Attempt) -> Delivery:
    """Return the fields that a client gets beside the data of a message."""
    return {
        "id": attempt.id,
        "queue": attempt.queue,
        "attempt": attempt.number,
        "redelivered": attempt.number > 1,
        "receipt": attempt.receipt,
    }


def cut(attempts: list[Attempt], most: int) -> Iterator[list[Attempt]]:
    """Yield frames of at most `most` messages and about a megabyte of data, in order."""
    frame: list[Attempt] = []
    size = 0
    for attempt in attempts:
        if frame and (len(frame) == most or size + len(attempt.body) > _LARGEST):
            yield frame
            frame, size = [], 0
        frame.append(attempt)
        size += len(attempt.body)
    if frame:
        yield frame


def pack(attempts: list[Attempt]) -> Any:
    """Return the argument of the event: a list of [event, data, delivery], or that as JSON."""
    if any(isinstance(attempt.body, bytes) for attempt in attempts):
        return [[a.event, decode(a.body), delivery(a)] for a in attempts]
    return f"[{','.join(map(entry, attempts))}]"


def entry(attempt: Attempt) -> str:
    """Return [event, data, delivery] as JSON, for a message without bytes."""
    # Ids and receipts are our own, and need no escapes.
    return (
        f"[{_text(attempt.event)},{attempt.body!s},{{"
        f'"id":"{attempt.id}","queue":{_text(attempt.queue)},"attempt":{attempt.number},'
        f'"redelivered":{"true" if attempt.number > 1 else "false"},'
        f'"receipt":"{attempt.receipt}"}}]'
    )


def unpack(frame: Any) -> list[Any]:
    """Return the entries of a frame; an empty list for anything that is no frame."""
    if isinstance(frame, str):
        try:
            frame = json.loads(frame)
        except (ValueError, RecursionError):
            return []
    return frame if isinstance(frame, list) else []
