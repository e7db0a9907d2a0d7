"""An index of the messages in one queue of the lab's hub: by the ids in their data, and by whom
they wait for.

Owns that index. Must not know: events, what is in a message, how anything is kept.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

__all__ = ["Copy", "Shelf"]


@dataclass(slots=True)
class Copy:
    """An indexed message: its sequence number, kind, ids and store, without its data.

    `waits`: a bit for each consumer with a name that it still waits for; `taken`: somebody has
    acknowledged it; `deaths`: how often its consumers were cut off after it; `harmless`: one was
    not; `notes`: the ids of what is remembered about it.
    """

    number: int
    kind: str
    ids: tuple[str, ...]
    store: str = ""
    waits: int = 0
    taken: bool = False
    deaths: int = 0
    harmless: bool = False
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Shelf:
    """The messages of one queue, by the store's id and by their own ids.

    `everyone`: the bits of all consumers with a name: a new message waits for these. `careful`: the
    consumers that were cut off, and get one message at a time; `deadly`: clients did not survive
    one until it had another shape; `arriving`, `leaving`: what the store and this index do not
    agree about for now; `watched`: the events to set when a message leaves; `unheard`: those that
    nobody was there for, with the id of the note of that.
    """

    queue: str
    copies: dict[str, Copy] = field(default_factory=dict)
    by_id: dict[str, dict[str, None]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    everyone: int = 0
    careful: set[str] = field(default_factory=set)
    deadly: bool = False
    arriving: int = 0
    leaving: set[str] = field(default_factory=set)
    watched: dict[str, asyncio.Event] = field(default_factory=dict)
    unheard: dict[str, str] = field(default_factory=dict)

    def add(self, stored: str, kind: str, ids: tuple[str, ...], store: str = "") -> Copy:
        """Add the message `stored` (its id there), unless it is known; `store`: whose it is."""
        copy = self.copies.get(stored)
        if copy is None:
            copy = Copy(next(self.numbers), kind, ids, store, waits=self.everyone)
            self.put_back(stored, copy)
        return copy

    def put_back(self, stored: str, copy: Copy) -> None:
        """Add a message as it was when it was taken out."""
        self.copies[stored] = copy
        for id in copy.ids:
            self.by_id.setdefault(id, {})[stored] = None

    def take_out(self, stored: Iterable[str]) -> dict[str, Copy]:
        """Remove and return these; they are leaving until the store has deleted them, too."""
        taken = {id: self.copies.pop(id) for id in stored}
        self.leaving |= taken.keys()
        for number, copy in taken.items():
            if note := self.unheard.pop(number, ""):
                copy.notes += (note,)
            if number in self.watched:
                self.watched[number].set()
            for id in copy.ids:
                del self.by_id[id][number]
                if not self.by_id[id]:
                    del self.by_id[id]
        return taken

    def find(
        self,
        ids: tuple[str, ...],
        kind: str | None,
        wanted: Callable[[Copy], bool] | None = None,
    ) -> list[str]:
        """Return the messages with the first of `ids` that are `wanted` (None: all); only those of
        `kind`, if there are such."""
        found = [*self.by_id.get(ids[0], ())] if ids else []
        found = [id for id in found if not wanted or wanted(self.copies[id])]
        exact = [stored for stored in found if self.copies[stored].kind == kind]
        return exact or found
