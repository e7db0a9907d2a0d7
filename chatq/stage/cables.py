"""The cables between the nodes of a cluster: a relay for each node and each node that it dials.

Owns which cables are a node's, and cutting them. Must not know: what the nodes are, what they say
to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from .relay import Relay

__all__ = ["Cables"]


class Cables:
    """The cables of a cluster, by who dials and who is dialled, counted from 0; see `open`."""

    def __init__(self) -> None:
        self._relays: dict[tuple[int, int], Relay] = {}

    @classmethod
    async def open(cls, ports: Sequence[int]) -> Self:
        """Lay a cable from each node to each other one; the nodes listen on these ports."""
        cables = cls()
        for dials in range(len(ports)):
            for number, port in enumerate(ports):
                if number != dials:
                    where = f"http://127.0.0.1:{port}"
                    cables._relays[dials, number] = await Relay.open(partial(str, where))
        return cables

    def ends(self, dials: int) -> list[str]:
        """Return the addresses that a node dials instead of the others': "127.0.0.1:4711"."""
        relays = (relay for (who, _), relay in self._relays.items() if who == dials)
        return [relay.url.removeprefix("http://") for relay in relays]

    def cut(self, node: int) -> None:
        """Cut all cables from and to this node, until `mend`."""
        for relay in self._of(node):
            relay.cut()

    def mend(self, node: int) -> None:
        """Mend the cables of this node, also those that were cut for another's sake."""
        for relay in self._of(node):
            relay.mend()

    def _of(self, node: int) -> list[Relay]:
        return [relay for ends, relay in self._relays.items() if node in ends]

    async def close(self) -> None:
        """Cut all cables for good; closing twice is harmless."""
        async with AsyncExitStack() as ending:
            for relay in self._relays.values():
                ending.push_async_callback(relay.close)
