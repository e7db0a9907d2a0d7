"""The rules of delivery as pure functions: lease, back-off, and the limit of attempts.

Owns the numbers and what follows from them; the order of messages is that of `ordering` and the
stores. Must not know: stores, sockets, clocks. Time and randomness are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..waiting import pause_after

__all__ = ["EXPIRED", "Rules", "back_off", "undeliverable"]

#: Why a message whose time to live is over is a dead letter.
EXPIRED = "expired"
_DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits of all queues of one `Queues`; times in seconds, sizes in bytes.

    `lease`: the visibility time-out: how long a message is kept from other consumers, since its
    claim. It is sent at once; only a polling client may get it later, with at least half left.
    `attempts`: the most failures of a message before it is a dead letter: negative acknowledgements
    and leases that ended.
    `back_off`, `longest_back_off`: the wait after the first failure, doubled after each, and its
    limit. `length`: the most messages in a queue. `payload`: the largest message as JSON.
    `window`: the largest prefetch window.

    What ends, though nobody reads it: `key_memory`: how long an idempotency key is remembered;
    `keys`: the most keys of all queues together, the oldest are forgotten first. `dead_memory`: how
    long a dead letter is kept; `dead_length`: the most of them in a queue, the one that died first
    goes first; 0: none is kept. `queue_memory`: how long a queue with nothing in it is still known
    (at least for `key_memory`).
    """

    lease: float = 30.0
    attempts: int = 5
    back_off: float = 1.0
    longest_back_off: float = 60.0
    length: int = 1_000_000
    payload: int = 900_000
    window: int = 1_000
    key_memory: float = _DAY
    keys: int = 1_000_000
    dead_memory: float = 14 * _DAY
    dead_length: int = 10_000
    queue_memory: float = 7 * _DAY

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} is a number, not {value!r:.80}")
        for name in ("lease", "attempts", "length", "payload", "window", "key_memory", "keys"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} has to be more than 0, not {getattr(self, name)!r}")
        for name in ("dead_memory", "dead_length", "queue_memory"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} has to be 0 or more, not {getattr(self, name)!r}")
        if not 0 <= self.back_off <= self.longest_back_off:
            raise ValueError(
                "back_off has to be between 0 and longest_back_off, not "
                f"{self.back_off!r} with {self.longest_back_off!r}"
            )


#: So many deliveries for each failure that is allowed: what ends the server's process each time is
#: no failure, but must not go on for ever either.
_DELIVERIES = 10


def undeliverable(
    failures: int, number: int, expires: float | None, rules: Rules, now: float
) -> str | None:
    """Return why a message must not be delivered any more; None if it may.

    `failures`: those of its attempts so far; `number`: that of the attempt which would be made.
    Both are counted since it was last redriven.
    """
    if expires is not None and expires <= now:
        return EXPIRED
    if failures >= rules.attempts:
        return f"not acknowledged in {_attempts(rules.attempts)}"
    if number > _DELIVERIES * rules.attempts:
        return f"broken off {number - 1} times, and never answered"
    return None


def back_off(failures: int, rules: Rules, random: Random) -> float | None:
    """Return the seconds to wait after so many failures; None: that was the last.

    With jitter, so that messages that failed together are not delivered again together.
    """
    if failures >= rules.attempts:
        return None
    return pause_after(failures, rules.back_off, rules.longest_back_off, random)


def _attempts(n: int) -> str:
    return "1 attempt" if n == 1 else f"{n} attempts"
