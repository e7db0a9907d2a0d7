"""A record of the log: a batch of verbs that one server applies to the queues.

Owns its fields. Must not know: who writes or reads it, its encoding, what a verb does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .store import Body

__all__ = ["Record"]


@dataclass(frozen=True, slots=True)
class Record:
    """A batch of verbs of `server`, whose `number`th record it is.

    `verbs`: lists of a verb's name and its arguments; `bodies`: those of all messages put, in
    order; `now` and `key_memory` in seconds, `length` in messages.
    """

    server: str
    number: int
    now: float
    length: int
    key_memory: float
    verbs: list[Any]
    bodies: list[Body]
