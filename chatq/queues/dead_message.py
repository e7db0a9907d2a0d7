"""A dead letter as an application gets it.

Owns its fields. Must not know: how messages are kept, who asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DeadMessage"]


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter: a message that is not delivered any more.

    `attempts`: the number of its deliveries; `reason`: why it is dead; `died`: in seconds since the
    epoch; `size`: of its stored data, in characters or bytes.
    """

    id: str
    event: str
    data: Any
    attempts: int
    reason: str
    died: float
    size: int

    def __repr__(self) -> str:
        return f"<dead message {self.id} {self.event!r}: {self.reason}, attempts: {self.attempts}>"
