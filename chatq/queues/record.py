"""A record of the log: a batch of verbs that one server applies to the queues.

Owns its fields. Must not know: who writes or reads it, its encoding, what a verb does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .store import Body, Limits

__all__ = ["Record"]


@dataclass(frozen=True, slots=True)
class Record:
    """A batch of verbs of one server.

    `number`: its sequence number among the records of `server`; `verbs`: lists of a verb's name and
    its arguments; `bodies`: those of all messages put, in order; `now` in seconds since the epoch.
    """

    server: str
    number: int
    now: float
    limits: Limits
    verbs: list[Any]
    bodies: list[Body]
