"""The drivers with a name, and what each of them has still to get: one queue for all, with notes.

Owns these names, and the notes that are kept of them: who is known, who has acknowledged what that
others wait for, what has cut off its clients, what nobody was there for. Must not know: events,
clients, spellings.

A message lies in the queue of the drivers once. It leaves it when somebody has acknowledged it and
it waits for nobody else. It waits for each driver with a name who was known when it came; for a new
one also what nobody has acknowledged by then, or, if a client has ever asked as "the drivers" (the
name ""), what waits for that one. Many classes draw a name anew at each start: so whoever leaves
with nothing waiting is forgotten, but for those who have come back once under their name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from ...queues.message import decode
from ...queues.queues import Queues
from .shelf import Copy, Shelf

__all__ = ["NOTES", "Names"]

NOTES = "caps names"
_PAGE = 200
#: For how long the messages before a dead letter are claimed, in seconds, if the hub dies then.
_LEASE = 5.0


class Names:
    """The known drivers, and `shelf`, the queue that they share; at most `most` of them."""

    def __init__(self, queues: Queues, shelf: Shelf, most: int) -> None:
        self.shelf = shelf
        self._queues, self._most = queues, most
        self._bits: dict[str, int] = {}
        self._notes: dict[str, list[str]] = {}
        self._regular: set[str] = set()
        #: Those who are not there, whoever has been gone for longest first.
        self._gone: dict[str, None] = {}
        self._of_queue: dict[str, list[tuple[str, str, str]]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._bits

    async def read(self) -> list[str]:
        """Read the notes, once the shelf is filled; return the names."""
        after, idle = "", []
        while True:
            kept = await self._queues.peek(NOTES, _PAGE, after)
            for note in kept:
                after, data = note.id, decode(note.body)
                if note.event == "driver":
                    self._enter(data, [note.id])
                elif note.event == "back" and data in self._bits:
                    self._regular.add(data)
                    self._notes[data].append(note.id)
                elif note.event in ("cut off", "unheard"):
                    self._of_queue.setdefault(data[0], []).append((note.event, data[1], note.id))
                elif note.event == "acked" and data[1] in self.shelf.copies:
                    copy = self.shelf.copies[data[1]]
                    copy.taken, copy.waits = True, copy.waits & ~self._bits.get(data[0], 0)
                    copy.notes += (note.id,)
                else:
                    idle.append(note.id)
            if len(kept) < _PAGE:
                break
        self._gone = dict.fromkeys(name for name in self._bits if name)
        self._regular &= self._bits.keys()
        await self.forget_notes(idle)
        await self.recall(self.shelf)
        await self.let_go(self._idle())
        return [*self._bits]

    async def recall(self, shelf: Shelf) -> None:
        """Tell a shelf that was just filled what was noted of its messages."""
        idle = []
        for event, id, note in self._of_queue.pop(shelf.queue, ()):
            if id not in shelf.copies:
                idle.append(note)
            elif event == "unheard":
                shelf.unheard[id] = note
            else:
                shelf.copies[id].deaths += 1
                shelf.copies[id].notes += (note,)
        await self.forget_notes(idle)

    # -- who is known -----------------------------------------------------------------------------

    async def add(self, name: str) -> bool:
        """Let a driver be known from now on; return False if too many are, who are all there."""
        back = name in self._gone and name not in self._regular
        self._gone.pop(name, None)
        if back:
            self._regular.add(name)
            self._notes[name].append(await self._note("back", name))
        if name in self._bits:
            return True
        if len(self._bits) - ("" in self._bits) >= self._most and name:
            if not self._gone:
                return False
            await self._forget(next(iter(self._gone)))
        self._enter(name, [])
        try:
            self._notes[name].append(await self._note("driver", name))
        except BaseException:
            self._leave(name)
            raise
        return True

    async def left(self, name: str) -> None:
        """Note that no client is there any more that has this name."""
        if not name or name not in self._bits:
            return
        self._gone[name] = None
        bit = self._bits[name]
        waits = any(copy.waits & bit for copy in self.shelf.copies.values())
        if not waits and name not in self._regular:
            await self._forget(name)

    def _enter(self, name: str, notes: list[str]) -> None:
        bit = 1
        while bit & self.shelf.everyone:
            bit <<= 1
        for copy in self.shelf.copies.values():
            if copy.waits & self._bits[""] if "" in self._bits else not copy.taken:
                copy.waits |= bit
        self._bits[name], self._notes[name] = bit, notes
        self.shelf.everyone |= bit

    def _leave(self, name: str) -> None:
        bit = self._bits.pop(name)
        self.shelf.everyone &= ~bit
        self.shelf.careful.discard(name)
        for copy in self.shelf.copies.values():
            copy.waits &= ~bit

    async def _forget(self, name: str) -> None:
        """Forget a driver who is gone, and what waits for nobody else."""
        del self._gone[name]
        self._regular.discard(name)
        self._leave(name)
        await self.forget_notes(self._notes.pop(name))
        await self.let_go(self._idle())

    def _idle(self) -> list[str]:
        return [id for id, copy in self.shelf.copies.items() if copy.taken and not copy.waits]

    # -- what waits for whom ----------------------------------------------------------------------

    def wanted(self, name: str) -> Callable[[Copy], bool]:
        """Return whether a message waits for the driver `name` ("": the drivers as a whole)."""
        bit = self._bits.get(name, 0) or self._only()
        return lambda copy: bool(copy.waits & bit) or (not bit and not copy.taken)

    def _only(self) -> int:
        """Return the bit of the only driver that is known: whoever gives no name is that one."""
        return next(iter(self._bits.values())) if len(self._bits) == 1 else 0

    def take(self, name: str, ids: Iterable[str]) -> tuple[dict[str, Copy], list[str], int]:
        """Acknowledge these for a driver; return those that leave the shelf, those that stay for
        others, and the bit that these have lost."""
        bit = self._bits.get(name, 0) or self._only()
        stay: list[str] = []
        leave: list[str] = []
        for id in ids:
            copy = self.shelf.copies[id]
            copy.waits, copy.taken = copy.waits & ~bit, True
            (stay if copy.waits else leave).append(id)
        return self.shelf.take_out(leave), stay, bit

    async def note_taken(self, name: str, ids: list[str], bit: int) -> None:
        """Note that a driver has acknowledged these, which stay for others."""
        who = name if name in self._bits or not bit else next(iter(self._bits))
        notes = [self._queues.message("acked", [who, id], to=NOTES) for id in ids]
        try:
            stored = await self._queues.emit_many(notes)
        except BaseException:
            for id in ids:
                if id in self.shelf.copies:
                    self.shelf.copies[id].waits |= bit
            raise
        await self._attach(self.shelf, zip(ids, (one[0] for one in stored), strict=True))

    async def note_death(self, shelf: Shelf, id: str) -> None:
        """Note that a client was cut off by this message."""
        note = await self._note("cut off", [shelf.queue, id])
        await self._attach(shelf, [(id, note)])

    async def note_unheard(self, shelf: Shelf, id: str) -> None:
        """Note that nobody was there when this message came."""
        shelf.unheard[id] = ""
        note = await self._note("unheard", [shelf.queue, id])
        if id in shelf.unheard:
            shelf.unheard[id] = note
        else:  # somebody has come meanwhile
            await self.forget_notes([note])

    async def let_go(self, ids: Iterable[str]) -> None:
        """Delete messages of the drivers' queue, with what is noted of them."""
        await self.remove(self.shelf, self.shelf.take_out([*ids]))

    async def remove(self, shelf: Shelf, copies: dict[str, Copy]) -> None:
        """Delete messages that were taken out of a shelf; they are back there if that fails."""
        if not copies:
            return
        notes = [note for copy in copies.values() for note in copy.notes]
        try:
            # Both are asked for at once, and so are in one transaction.
            asked = [self._queues.remove(shelf.queue, [*copies])]
            asked += [self._queues.remove(NOTES, notes)] if notes else []
            await asyncio.gather(*asked)
        except BaseException:
            for id, copy in copies.items():
                shelf.put_back(id, copy)
            raise
        finally:
            shelf.leaving -= copies.keys()

    async def bury(self, shelf: Shelf, id: str, reason: str) -> None:
        """Make a message a dead letter of its queue, for all that it waits for."""
        before = sum(copy.number <= shelf.copies[id].number for copy in shelf.copies.values())
        copies = shelf.take_out([id])
        store, notes = self._queues.store, [*copies[id].notes]
        try:
            # Nobody else claims here, so the oldest can be had, and given back untouched.
            claimed = await store.claim(shelf.queue, before, _LEASE, in_order=False)
            await asyncio.gather(
                *(
                    store.bury(one.receipt, reason)
                    if one.id == id
                    else store.release(one.receipt, counted=False, sent=False)
                    for one in claimed.attempts
                )
            )
            await self.forget_notes(notes)
        finally:
            shelf.leaving.discard(id)

    async def forget_notes(self, ids: list[str]) -> None:
        """Delete notes."""
        ids = [*filter(None, ids)]
        if ids:
            await self._queues.remove(NOTES, ids)

    async def _note(self, event: str, data: Any) -> str:
        stored = await self._queues.emit_many((self._queues.message(event, data, to=NOTES),))
        return stored[0][0]

    async def _attach(self, shelf: Shelf, notes: Iterable[tuple[str, str]]) -> None:
        idle = []
        for id, note in notes:
            if id in shelf.copies:
                shelf.copies[id].notes += (note,)
            else:
                idle.append(note)
        await self.forget_notes(idle)
