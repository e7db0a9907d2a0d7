"""An index of the messages in one queue of the lab's hub, by the ids in their data.

Owns that index. Must not know: clients, events, what is in a message.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

__all__ = ["Copy", "Shelf"]


@dataclass(slots=True)
class Copy:
    """An indexed message of one queue: its sequence number, kind and ids, without its data."""

    number: int
    kind: str
    ids: tuple[str, ...]


@dataclass(slots=True)
class Shelf:
    """The messages of one queue, by the store's id and by their own ids."""

    queue: str
    copies: dict[str, Copy] = field(default_factory=dict)
    by_id: dict[str, dict[str, None]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, stored: str, kind: str, ids: tuple[str, ...]) -> None:
        """Add the message with the store's id `stored`."""
        if stored not in self.copies:
            self.copies[stored] = Copy(next(self.numbers), kind, ids)
            for id in ids:
                self.by_id.setdefault(id, {})[stored] = None

    def take(self, stored: list[str]) -> dict[str, Copy]:
        """Remove and return these."""
        taken = {id: self.copies.pop(id) for id in stored}
        for number, copy in taken.items():
            for id in copy.ids:
                del self.by_id[id][number]
                if not self.by_id[id]:
                    del self.by_id[id]
        return taken

    def find(self, ids: tuple[str, ...], kind: str | None) -> list[str]:
        """Return the messages with the first of `ids`; only those of `kind`, if there are such."""
        found = [*self.by_id.get(ids[0], ())] if ids else []
        exact = [stored for stored in found if self.copies[stored].kind == kind]
        return exact or found
