"""What becomes of those who come with a wrong token again and again.

Owns the pace at which one address is told that its token is wrong. Must not know: tokens, who is
let in, connections.

Whoever has the right token is let in at once, also from an address from which others guess: a class
may share one. A wrong one is answered late, so a connection and an address can guess slowly only.
"""

from __future__ import annotations

from ..pace import Pace

__all__ = ["Door"]

#: How many wrong tokens of one address are answered at once, and in how many seconds one more.
AT_ONCE, INTERVAL = 20, 0.5
#: The longest that an answer waits, in seconds.
LONGEST = 10.0
#: The most addresses that are remembered.
_ADDRESSES = 10_000


class Door:
    """Keeps the pace of the refusals of each address."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    async def refused(self, address: str) -> None:
        """Return when somebody at this address may be told that the token is wrong."""
        pace = self._paces.get(address)
        if pace is None:
            if len(self._paces) >= _ADDRESSES:
                self._paces = {a: p for a, p in self._paces.items() if not p.fresh}
            pace = self._paces[address] = Pace(AT_ONCE, INTERVAL, LONGEST)
        await pace.turn()
