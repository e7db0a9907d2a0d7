"""How messages of the lab are handed on: live to whoever hears of them, and from a queue to whoever
asks; and what becomes of a message that its clients do not survive.

Owns the connections, what each was given, and the replays that run. Must not know: what a client
says, who acknowledges what, files.

A client that is cut off within a moment of being given a message may have died of it. From then on
its queue is handed on carefully: one message at a time, until it is acknowledged or the moment is
over. So the one after which it is cut off again is to blame, and it alone; after so many times it
is a dead letter. A client that says goodbye has not died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...queues.message import decode
from ...queues.order import Order
from ...queues.queues import Queues
from ..gate import Gate
from .also import Also
from .dialect_table import plain
from .given import Given, Live
from .named_drivers import Names
from .roles import Consumer, Role
from .shapes import shaped
from .shelf import Copy, Shelf
from .words import Words

__all__ = ["Person", "Replays"]

_log = logging.getLogger("chatq.hub")

#: The messages read from the store at once; as many may be unread by the client.
_PAGE = 20
#: What a connection ends with if the process at its other end does.
_CUT_OFF = ("transport close", "transport error")
#: From so many deaths on, a message is handed on in the other shape.
_OTHER_SHAPE = 2

_Replay = asyncio.Task[int]


@dataclass(slots=True)
class Person(Role):
    """A connection: its role, what it was given, the order of its events, its replays.

    `names`: the drivers that it has asked as; `asked`: the getAll of a store that may not have said
    yet which; `answered`: those it was told; `served`: it was given what waits for the drivers;
    `came`: the number that a message for the drivers had had when it connected.
    """

    given: Given = field(kw_only=True)
    came: int = field(kw_only=True)
    order: Order = field(default_factory=Order)
    replays: dict[Any, _Replay] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    asked: tuple[str | None, str] | None = None
    answered: set[str] = field(default_factory=set)
    served: bool = False


class Replays:
    """Hands on the messages of `queues` to the clients behind `gate`."""

    def __init__(self, queues: Queues, gate: Gate, words: Words, names: Names) -> None:
        self._queues, self._gate, self._words, self._names = queues, gate, words, names
        self._table = words.table
        self._people: dict[str, Person] = {}
        self._live = Live()
        self.also = Also(self._table, self._people.__contains__)
        self._turn = asyncio.Lock()  # fair: all replays read their pages in turns
        self._clock: Callable[[], float] = asyncio.get_running_loop().time

    # -- connections ------------------------------------------------------------------------------

    @property
    def people(self) -> Iterable[Person]:
        """Those who are there."""
        return self._people.values()

    def came(self, sid: str) -> Person:
        """Return a client that has connected: it is given what is passed on from now on."""
        return self._people.setdefault(sid, self._somebody(sid))

    def _somebody(self, sid: str) -> Person:
        return Person(given=Given(self._live, sid), came=next(self._names.shelf.numbers))

    def offer(self, person: Person, shelf: Shelf, consumer: Consumer) -> None:
        """Hand on to a client that may never ask: to a store what nobody was there for; to a driver
        all that was there when it came, as nobody can tell who of those who heard it then was a
        driver. What came later it has heard."""
        if consumer.store and shelf.unheard:
            self.begin(person.given.sid, shelf, consumer, None, "", {*shelf.unheard})
        elif not consumer.store:
            person.served = True
            if any(copy.number < person.came for copy in shelf.copies.values()):
                self.begin(person.given.sid, shelf, consumer, None, "", before=person.came)

    def person(self, sid: str) -> Person:
        """Return who is behind a connection; somebody new if it is gone, or was never met."""
        if sid in self._people:
            return self._people[sid]
        return self.came(sid) if self._gate.connected(sid) else self._somebody(sid)

    async def gone(self, sid: str) -> Person | None:
        """Forget a connection, and end its replays."""
        person = self._people.pop(sid, None)
        for replay in [*person.replays.values()] if person else ():
            replay.cancel()
        for name in person.names if person else ():
            if not any(name in other.names for other in self._people.values()):
                await self._names.left(name)
        return person

    async def blame(self, person: Person, reason: str, consumers: list[tuple[Shelf, str]]) -> None:
        """Find the message that may have cut off a client, a consumer of these shelves."""
        if reason not in _CUT_OFF:
            return
        since = self._clock() - self._table["give-up.within"]
        for shelf, name in consumers:
            of_name = self._names.wanted(name) if shelf is self._names.shelf else None
            given = person.given.waiting(shelf, of_name, since)
            suspects = [id for id in given if not shelf.copies[id].harmless]
            if not suspects:
                for id in given:  # one of them was not: next time, it is to blame
                    shelf.copies[id].harmless = False
                continue
            alone = name in shelf.careful or len(suspects) == 1
            shelf.careful.add(name)
            if alone:
                await self._died(shelf, suspects[0])

    async def _died(self, shelf: Shelf, id: str) -> None:
        copy = shelf.copies[id]
        copy.deaths += 1
        times = self._table["give-up.attempts"]
        if copy.deaths < times:
            await self._names.note_death(shelf, id)
            return
        reason = f"{times} clients were cut off within {self._table['give-up.within']} s of it"
        _log.warning("gave up a message: %s; it is a dead letter of its queue: %s", reason, id)
        await self._names.bury(shelf, id, reason)

    # -- live -------------------------------------------------------------------------------------

    async def pass_on(
        self,
        sender: str,
        kind: str,
        event: str,
        data: Any,
        shelf: Shelf | None = None,
        id: str = "",
        store: str = "",
        package: str = "",
    ) -> None:
        """Emit a message live to those who hear of it, but to slow readers, for whom it waits.

        `package`: the preferred id in `data`.
        If none of them is the store that it is for, that is noted.
        """
        self.also.spoke(kind, event)
        echo = self._table[f"hears.{kind}"] == "all"
        if shelf is not None and id:
            self._live.add(self._clock(), shelf, id, "" if echo else sender)
        left_out = [*self._gate.slow(), *([] if echo else [sender])]
        name = self._table["wrapping.after-deaths" if shelf and shelf.deadly else "wrapping.live"]
        shown = self._shaped(name, event, data)
        await self._gate.sio.emit(event, shown, namespace=self._gate.namespace, skip_sid=left_out)
        if word := self.also.live(kind, event, package, sender, echo=echo):
            # A store may hear "pickup" as something else.
            stores = [s for s, one in self._people.items() if one.surely and kind == "pickup"]
            await self._gate.sio.emit(
                word, shown, namespace=self._gate.namespace, skip_sid=[*left_out, *stores]
            )
        if kind == "pickup" or shelf is None or id not in shelf.copies:
            return
        heard = any(
            store in (one.store, *one.stores)
            for sid, one in self._people.items()
            if sid not in left_out and not (one.driver and not one.surely)
        )
        if not heard:
            await self._names.note_unheard(shelf, id)

    def _shaped(self, name: str, event: str, data: Any, client: str = "") -> Any:
        if name == "plain":
            return data
        said = self._words.read(data)
        texts = {
            "$event": event,
            "$id": next(iter(said.ids), ""),
            "$store": self._words.owner(said),
            "$client": client,
        }
        return shaped(data, self._table.shapes[name], texts)

    # -- from a queue -----------------------------------------------------------------------------

    def begin(
        self,
        sid: str,
        shelf: Shelf,
        consumer: Consumer,
        kind: str | None,
        asked: str,
        only: set[str] | None = None,
        without: Collection[str] = (),
        before: int | None = None,
    ) -> _Replay:
        """Hand on what waits for a consumer (`only`: of these; `without`: but not these; `before`:
        with smaller numbers); the same, if that is under way already."""
        person, key = self.person(sid), (consumer, kind, asked)
        replay = person.replays.get(key)
        if replay is None:
            wanted = self._names.wanted(consumer.name) if not consumer.store else None
            end = next(shelf.numbers) if before is None else before

            def due(copy: Copy) -> bool:
                return (
                    copy.number < end and kind in (None, copy.kind) and (not wanted or wanted(copy))
                )

            replay = asyncio.create_task(
                self._replay(sid, person, shelf, consumer, due, asked, only, without)
            )
            person.replays[key] = replay

            def ended(replay: _Replay) -> None:
                person.replays.pop(key, None)
                if not replay.cancelled():
                    replay.exception()  # whoever waits for it hears of it; maybe nobody does

            replay.add_done_callback(ended)
        return replay

    async def _replay(
        self,
        sid: str,
        person: Person,
        shelf: Shelf,
        consumer: Consumer,
        due: Callable[[Copy], bool],
        asked: str,
        only: set[str] | None,
        without: Collection[str],
    ) -> int:
        """Hand on at the pace at which the client reads; return how many."""
        sent, after, more = 0, "", True
        notes: list[str] = []
        while more:
            alone, here = None, sent
            async with self._turn:
                kept = await self._queues.peek(shelf.queue, _PAGE, after)
                more = len(kept) == _PAGE
                for message in kept:
                    after = message.id
                    copy = self._indexed(shelf, message)
                    if copy is None or not due(copy) or (only and message.id not in only):
                        continue
                    if message.id in without:
                        continue
                    notes.append(shelf.unheard.pop(message.id, ""))
                    person.given.add(self._clock(), shelf, message.id)
                    await self._hand_on(sid, shelf, copy, consumer, message, asked)
                    sent += 1
                    if consumer.name in shelf.careful and not copy.harmless:
                        alone, more = message.id, True
                        break
            if alone is not None:
                await self._survived(shelf, alone)
            elif sent > here:
                await self._gate.read(sid)
            await self._names.forget_notes(notes)
            notes.clear()
        if only is None:
            shelf.careful.discard(consumer.name)
        return sent

    def _indexed(self, shelf: Shelf, message: Any) -> Copy | None:
        """Return what is known of a message; one that was a dead letter is indexed anew."""
        copy = shelf.copies.get(message.id)
        if copy is None and message.id not in shelf.leaving and not shelf.arriving:
            said = self._words.read(decode(message.body))
            copy = shelf.add(message.id, self._words.kind(message.event) or "", said.ids)
            copy.number = -1  # it was here before whoever asks
        return copy

    async def _hand_on(
        self, sid: str, shelf: Shelf, copy: Copy, consumer: Consumer, message: Any, asked: str
    ) -> None:
        shape, event = self._table.answers.get(plain(asked), ("", ""))
        if shelf.deadly or copy.deaths >= _OTHER_SHAPE:
            shape = self._table["wrapping.after-deaths"]
        shape, event = shape or self._table["wrapping.from-queue"], event or message.event
        shown = self._shaped(shape, message.event, decode(message.body), consumer.name or "drivers")
        for word in filter(None, (event, self.also.word(copy.kind, event))):
            await self._gate.sio.emit(word, shown, to=sid, namespace=self._gate.namespace)

    async def _survived(self, shelf: Shelf, id: str) -> None:
        """Return when a client is done with a message, or has outlived it for long enough."""
        copy = shelf.copies.get(id)
        if copy is None:
            return
        done = shelf.watched.setdefault(id, asyncio.Event())
        try:
            async with asyncio.timeout(self._table["give-up.within"]):
                await done.wait()
        except TimeoutError:
            pass
        finally:
            shelf.watched.pop(id, None)
        self._acquit(shelf, copy)

    def outlived(self, shelf: Shelf, ids: tuple[str, ...], kind: str) -> None:
        """Note that a client is done with these, although it has not acknowledged them yet."""
        for id in shelf.find(ids, kind):
            self._acquit(shelf, shelf.copies[id])
            if id in shelf.watched:
                shelf.watched[id].set()

    def _acquit(self, shelf: Shelf, copy: Copy) -> None:
        shelf.deadly = shelf.deadly or copy.deaths >= _OTHER_SHAPE
        copy.harmless, copy.deaths = True, 0
