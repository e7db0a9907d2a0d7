"""The dialect of the "CAPS" lab: the protocol of clients of lab 12 and lab 13.

Owns the routing of a package's messages to queues, and the effect of a `received`. Must not know:
spellings, who a client may be, how what waits is handed on, tokens, packets, files.

These clients keep no receipts, so nothing is claimed here: a message stays in a queue until the
client of that queue acknowledges it (`received`), by the message's own id.

- A store has one queue: in-transit and delivered for it.
- The drivers share one queue. What waits in it for a driver who has sent a getAll under a name is
  noted (`named_drivers`): so it loses nothing that another driver acknowledges.
- Events of one connection take effect in the order in which they were emitted, as in a student's
  hub, whose handlers never wait: what was acknowledged before a getAll is not sent again.
- What a named driver has acknowledged is gone for those without a name, too, unless a client has
  ever sent a getAll as "the drivers": then that is a consumer like the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...queues.error_codes import code_of, error
from ...queues.message import decode, encode
from ...queues.queues import Queues
from ...queues.rules import Rules
from ...queues.store import QueueFull, QueuesClosed, StoreError
from ..gate import Gate
from .dialect_table import BadTable, Table, read_table
from .guess import guess
from .named_drivers import NOTES, Names
from .replays import Person, Replays
from .roles import Consumer, Roles
from .shelf import Copy, Shelf
from .unknown import Unknown
from .words import Said, Words, fold

__all__ = ["Caps", "Dialect"]

_log = logging.getLogger("chatq.hub")

_NO_STORE = "it names no store: nobody can be told of it later"
_KNOWN = "this hub knows join, pickup, in-transit, delivered, getAll and received"
_NO_ID = "received takes a message, or an object with its messageId"
#: The queue that all drivers share.
_DRIVERS = "caps drivers"
_STORE = "caps store "
#: The store whose packages no client of the class ever says a store of.
_NAMELESS = "without a name"
#: The most stores, and the most packages whose store is remembered.
_STORES, _OWNERS = 10_000, 10_000
#: The messages read from the store at once, while it is indexed.
_PAGE = 200
#: The most messages of one `received`, and of those remembered as settled by one client.
_AT_ONCE = 1_000


class _NamesNoStore(ValueError):
    """The message names no store whose queue it could be put into."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a class speaks: its table, and the words met that this one does not have."""

    table: Table
    unknown: Unknown

    @classmethod
    def read(cls, name: str = "caps", learn: Path | None = None) -> Dialect:
        """Return the dialect "caps", or that of a file; `learn`: the file for unknown words.

        Raises `BadTable`.
        """
        try:
            table = read_table(None if name == "caps" else name)
        except OSError as problem:
            raise BadTable(
                f"--dialect: {problem.filename}: {problem.strerror}; there is also: caps"
            ) from None
        except BadTable as problem:
            raise BadTable(f"--dialect: {problem}") from None
        try:
            return cls(table, Unknown(table, learn))
        except OSError as problem:
            raise BadTable(f"--learn: cannot write {learn}: {problem.strerror}") from None
        except BadTable as problem:
            raise BadTable(f"--learn: {problem}") from None


class Caps:
    """Serves `queues` to clients of the lab behind `gate`; call `start` before clients connect."""

    #: Queues are shorter here, since the ids of each message are in memory, too.
    rules: Rules = Rules(length=100_000)

    def __init__(
        self,
        queues: Queues,
        gate: Gate,
        dialect: Dialect | None = None,
    ) -> None:
        self._queues, self._rules = queues, queues.rules
        self._gate = gate
        dialect = dialect or Dialect.read()
        self._table, self._unknown = dialect.table, dialect.unknown
        self._words = Words(self._table)
        self._shelves: dict[str, asyncio.Task[Shelf]] = {}
        self._names = Names(queues, Shelf(_DRIVERS), self._table["names.most"])
        self._roles = Roles(self._words, self._names)
        self._replays = Replays(queues, gate, self._words, self._names)
        self._owners: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            "join": self._join,
            "get-all": self._get_all,
            "ready": self._ready,
            "received": self._received,
        }
        gate.on("*", self._handle)
        gate.on_join(self._came)
        gate.on_leave(self._left)

    async def start(self) -> None:
        """Index the drivers' queue, and read which of them are known."""
        for queue in await self._queues.names():
            if queue.startswith(_STORE) and not queue.startswith(f"{_STORE}#"):
                self._roles.stores.add(queue.removeprefix(_STORE))
        await self._fill(self._names.shelf)
        for name in await self._names.read():
            await self._merge(_queue_name("driver", name))

    async def _merge(self, old: str) -> None:
        """Put what only a queue of an older version holds, one for each driver, into the shared."""
        shelf = self._names.shelf
        while kept := await self._queues.peek(old, _PAGE):
            for message in kept:
                ids = self._words.read(decode(message.body)).ids
                if not shelf.find(ids, None):
                    new = self._queues.message(message.event, decode(message.body), to=_DRIVERS)
                    stored = await self._queues.emit_many((new,))
                    shelf.add(stored[0][0], self._words.kind(message.event) or "", ids)
            await self._queues.remove(old, [message.id for message in kept])

    def consumers(self, queue: str) -> list[tuple[str, int]]:
        """Return who is there of those whose queue this is; nothing is ever out to them."""
        there: list[tuple[str, int]] = []
        for person in self._replays.people:
            if person.driver and queue == _DRIVERS:
                there.append((person.name or "a driver", 0))
            for store in dict.fromkeys((*person.stores, person.store)):
                if store and queue == _queue_name("store", store):
                    there.append((store, 0))
        return there

    def shows(self, queue: str) -> bool:
        """Return whether a queue is shown to who looks: it is one of clients."""
        return queue != NOTES

    async def _handle(self, event: Any, sid: str, *arguments: Any) -> Any:
        data = arguments[0] if arguments else None
        kind = self._words.kind(event)
        if kind is None and isinstance(event, str):
            driver = self._replays.person(sid).driver
            kind = self._unknown.kind(event, self._words.read(data), data, driver=driver)
            if kind is None and event in self._unknown:
                return error("malformed", _KNOWN)  # it was logged, once
        try:
            if kind is None:
                raise ValueError(_KNOWN)
            person = self._replays.person(sid)
            async with person.order.turn(alone=kind in self._handlers) as go_on:
                if kind in self._handlers:
                    return await self._handlers[kind](person, event, data, go_on)
                return await self._put(kind, person, event, data, go_on)
        except (TypeError, ValueError, QueueFull, StoreError) as problem:
            code = code_of(problem) or "malformed"
            logged = _NO_STORE if isinstance(problem, _NamesNoStore) else ""
            return self._gate.refuse(sid, event, code, str(problem)[:500], logged)

    async def _came(self, sid: str) -> None:
        person = self._replays.came(sid)
        if wait := self._table["unasked.after"]:
            loop = asyncio.get_running_loop()
            loop.call_later(wait, lambda: self._tasks.add(loop.create_task(self._unasked(person))))

    async def _unasked(self, person: Person) -> None:
        """Give a client that seems to ask for nothing what was there before it."""
        self._tasks = {task for task in self._tasks if not task.done()}
        if not self._gate.connected(person.given.sid):
            return
        with contextlib.suppress(StoreError, QueuesClosed):
            if person.store and not person.driver and person.asked is None:
                shelf = await self._shelf(_queue_name("store", person.store))
                if shelf is not None:
                    self._replays.offer(person, shelf, Consumer(person.store, store=True))
            # Drivers of some classes ask by the name of a store: so may this one have done.
            if not person.surely and not person.served:
                self._replays.offer(person, self._names.shelf, Consumer(person.name))

    async def _left(self, sid: str, reason: str) -> None:
        with contextlib.suppress(StoreError, QueuesClosed):  # the hub ends, or has other worries
            person = await self._replays.gone(sid)
            if person is None:
                return
            asked = person.asked is not None and not person.store
            consumers = [(self._names.shelf, person.name)] if person.driver or asked else []
            queue = _queue_name("store", person.store)
            if person.store and queue in self._shelves:
                consumers.append((await self._open_shelf(queue), person.store))
            await self._replays.blame(person, reason, consumers)

    # -- a package's messages ---------------------------------------------------------------------

    async def _put(
        self, kind: str, person: Person, event: str, data: Any, go_on: Callable[[], None]
    ) -> Any:
        """Store a message, then emit it to those who hear of it."""
        said = self._words.read(data)
        if isinstance(data, dict) and not said.ids:
            data = {**data, "messageId": str(uuid.uuid4())}
            said = self._words.read(data)
        if not said.ids:
            raise TypeError(f"{event:.40} takes an object")
        store = self._owner(kind, said)
        if store == _NAMELESS and person.store not in ("", _NAMELESS) and isinstance(data, dict):
            # It says nowhere whose it is: of the store that has joined, and so its deliveries are.
            data = {**data, "store": person.store}
            said = self._words.read(data)
            store = self._owner(kind, said)
        if kind == "pickup":
            person.surely = bool(self._words.owner(said, self._names))
            if person.surely or not (person.driver or person.store):
                person.store = store
                person.speaks_for(store)
        else:
            person.driver = True
            if kind == "delivered":
                self._replays.outlived(self._names.shelf, said.ids, "pickup")
        if store and store not in self._roles.stores:
            if len(self._roles.stores) >= _STORES:
                raise ValueError(f"this hub serves {_STORES} stores and takes no more")
            self._roles.stores.add(store)
        if kind != "pickup" and not store:
            encode(data, self._rules.payload)
            await self._replays.pass_on(person.given.sid, kind, event, data, package=said.ids[0])
            raise _NamesNoStore(_NO_STORE)
        shelf = self._names.shelf
        if kind == "pickup" and store and store not in person.answered:
            await self._answer_late(person, store)
        elif kind != "pickup":
            if not person.served:
                self._replays.offer(person, shelf, Consumer(person.name))
            shelf = await self._open_shelf(_queue_name("store", store))
        stored = await self._keep(shelf, kind, event, data, said.ids, store, go_on)
        await self._replays.pass_on(
            person.given.sid, kind, event, data, shelf, stored, store, said.ids[0]
        )
        if kind == "delivered" and self._table["receipts.delivered"] == "settles":
            await self._settle(person, store, said)
        return {"id": said.ids[0]}

    async def _settle(self, person: Person, store: str, said: Said) -> None:
        """Take the pickup of what a driver has delivered, which it may never acknowledge."""
        shelf = self._names.shelf
        for consumer, id in itertools.product(self._roles.drivers(person), said.ids):
            found = shelf.find((id,), None, self._wanted(consumer))
            # Orders of several stores may have one number.
            found = [one for one in found if shelf.copies[one].store in (store, "")]
            if found:
                await asyncio.gather(*self._take(person, shelf, consumer, found))
                return

    async def _answer_late(self, person: Person, store: str) -> None:
        """Give a client whose pickup says which store it is what waits for that, if it has asked
        already, or else what nobody was there for."""
        person.answered.add(store)
        shelf, consumer = await self._shelf(_queue_name("store", store)), Consumer(store, True)
        if shelf is not None and person.asked:
            self._replays.begin(person.given.sid, shelf, consumer, *person.asked)
        elif shelf is not None:
            self._replays.offer(person, shelf, consumer)

    def _owner(self, kind: str, said: Said) -> str:
        """Return the store of a package; drivers may leave out what the pickup has said."""
        named = {fold(name) for name in (*said.stores, *said.clients)}
        if kind != "pickup":  # whatever a driver has wrapped around it
            known = (self._owners[id] for id in said.ids if id in self._owners)
            if store := next((store for store in known if store in named), ""):
                return store
        store = self._words.owner(said, self._names)
        if kind == "pickup" and not store and said.ids:  # some drivers say "picked-up"
            store = next((self._owners[id] for id in said.ids if id in self._owners), _NAMELESS)
        if kind == "pickup" and store:
            self._owners |= dict.fromkeys(said.ids, store)
            while len(self._owners) > _OWNERS:
                del self._owners[next(iter(self._owners))]
        if store or kind == "pickup":
            return store
        return next((self._owners[id] for id in said.ids if id in self._owners), "")

    async def _keep(
        self,
        shelf: Shelf,
        kind: str,
        event: str,
        data: Any,
        ids: tuple[str, ...],
        store: str,
        go_on: Callable[[], None],
    ) -> str:
        """Store a message; return its id, or "" if the queue is full: it is passed on all the same,
        for clients that never acknowledge must not stop the others."""
        message = self._queues.message(event, data, to=shelf.queue)
        go_on()  # whoever goes on now does so after this call: the store keeps the order
        shelf.arriving += 1
        try:
            id = (await self._queues.emit_many((message,)))[0][0]
            shelf.add(id, kind, ids, store)
        except QueueFull:
            _log.warning("a queue is full: %.40s is passed on, but not kept", event)
            return ""
        finally:
            shelf.arriving -= 1
        return id

    # -- join -------------------------------------------------------------------------------------

    async def _join(self, person: Person, _: str, data: Any, go_on: Callable[[], None]) -> Any:
        said = self._words.read(data, asks=True)
        names = (*said.stores, *said.clients)
        if not names and said.kind is None:
            raise TypeError("join takes the name of a room, or an object that has one")
        own = self._roles.calls_driver(said)
        if own is not None or said.kind == "pickup":
            person.driver = True
            person.name = own or person.name
        else:
            for store in self._roles.store_names(said)[:1]:
                person.store = person.store or store
                person.speaks_for(store)
        return {"room": names[0] if names else said.kind}

    # -- getAll -----------------------------------------------------------------------------------

    async def _ready(self, person: Person, event: str, data: Any, go_on: Callable[[], None]) -> Any:
        """Give a driver that asks again and again what this connection has not been given yet."""
        return await self._get_all(person, event, data, go_on, again=False)

    async def _get_all(
        self,
        person: Person,
        event: str,
        data: Any,
        go_on: Callable[[], None],
        *,
        again: bool = True,
    ) -> Any:
        said = self._words.read(data, asks=True)
        said = said if said.kind else replace(said, kind=self._words.asked_for(event))
        consumer = self._asking(person, said)
        if consumer is None or consumer.store or not consumer.name:
            person.asked = (said.kind, event)  # its pickups may show that it is another store
        if consumer is None:
            return {"count": 0}
        if consumer.store:
            person.answered.add(consumer.name)
            shelf = await self._shelf(_queue_name("store", consumer.name))
            if shelf is None:
                return {"count": 0}
        else:
            shelf, person.served = self._names.shelf, True
            anonymous = not (said.stores or said.clients or said.kind)
            person.driver = person.driver or not anonymous  # it may yet show to be a store
            person.names.add(consumer.name)  # at once: whoever leaves meanwhile has left
            if not await self._names.add(consumer.name):
                consumer = Consumer("")
                await self._names.add("")
            person.name = consumer.name
        had = () if again else person.given.waiting(shelf, None)
        replay = self._replays.begin(
            person.given.sid, shelf, consumer, said.kind, event, without={*had}
        )
        go_on()
        await asyncio.wait([replay])
        return {"count": replay.result()} if not replay.cancelled() else None

    def _asking(self, person: Person, said: Said) -> Consumer | None:
        """Return whose messages a getAll is about; None if nobody's."""
        own = self._roles.asking_driver(person, said)
        if own is not None:
            return None if said.kind in ("in-transit", "delivered") else Consumer(own)
        store = next(iter(self._roles.store_names(said)), person.store or self._roles.only_store())
        person.store = person.store or store
        if not store:
            return None
        person.speaks_for(store)
        return Consumer(store, store=True)

    # -- received ---------------------------------------------------------------------------------

    async def _received(self, person: Person, _: str, data: Any, go_on: Callable[[], None]) -> Any:
        items = data if isinstance(data, list) else [data]
        if len(items) > _AT_ONCE:
            raise ValueError(f"received takes {_AT_ONCE} messages at once")
        if not items or (not isinstance(data, (dict, type(None))) and not self._said(items)):
            raise ValueError(_NO_ID)
        found = [await self._found(person, self._words.read(item)) for item in items]
        changes = [self._take(person, *one) for one in found if one is not None]
        go_on()
        # All are asked for at once, and so are in one transaction.
        results = await asyncio.gather(*itertools.chain(*changes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return {"ok": None not in found}

    def _said(self, items: list[Any]) -> bool:
        return all(self._words.read(item).ids for item in items)

    async def _found(self, person: Person, said: Said) -> tuple[Shelf, Consumer, list[str]] | None:
        """Return the messages that a `received` acknowledges, and whose they are."""
        how = self._table["receipts.without-id"]
        if not said.ids and how == "none":
            raise ValueError(_NO_ID)
        for consumer in self._roles.candidates(person, said):
            shelf: Shelf | None = self._names.shelf
            if consumer.store:
                shelf = await self._shelf(_queue_name("store", consumer.name))
            if shelf is None:
                continue
            wanted = self._wanted(consumer)
            if said.ids:
                found = shelf.find(said.ids, said.kind, wanted)
            else:
                found = person.given.waiting(shelf, wanted)
                if found and how == "oldest":
                    # An in-transit goes with the delivered of its package, or after all of these.
                    first = min(found, key=lambda id: shelf.copies[id].kind == "in-transit")
                    found = shelf.find(shelf.copies[first].ids, None, wanted)
            if found:
                return shelf, consumer, found
        return None

    def _wanted(self, consumer: Consumer) -> Callable[[Copy], bool] | None:
        return self._names.wanted(consumer.name) if not consumer.store else None

    def _take(self, person: Person, shelf: Shelf, consumer: Consumer, ids: list[str]) -> list[Any]:
        """Take what was acknowledged from the index; return what the store has to do."""
        ids = [id for id in ids if id in shelf.copies]  # two items may be about the same
        if consumer.store:
            return [self._names.remove(shelf, shelf.take_out(ids))]
        for id in ids:
            person.settled[shelf.copies[id].ids[0]] = None
        while len(person.settled) > _AT_ONCE:
            del person.settled[next(iter(person.settled))]
        gone, stay, bit = self._names.take(consumer.name, ids)
        changes: list[Any] = [self._names.remove(shelf, gone)]
        return changes + ([self._names.note_taken(consumer.name, stay, bit)] if stay else [])

    # -- the index of the queues ------------------------------------------------------------------

    async def _shelf(self, queue: str) -> Shelf | None:
        """Return the index of a store's queue; None if there is no such queue."""
        if queue not in self._shelves and not await self._queues.used(queue):
            return None
        return await self._open_shelf(queue)

    async def _open_shelf(self, queue: str) -> Shelf:
        """Return the index of a store's queue, which need not exist; read it the first time."""
        task = self._shelves.get(queue)
        if task is None:
            task = self._shelves[queue] = asyncio.create_task(self._fill(Shelf(queue)))
        try:
            return await asyncio.shield(task)
        except StoreError:
            self._shelves.pop(queue, None)
            raise

    async def _fill(self, shelf: Shelf) -> Shelf:
        after, events = "", self._table.events
        while True:
            kept = await self._queues.peek(shelf.queue, _PAGE, after)
            for message in kept:
                data = decode(message.body)
                said = self._words.read(data)
                kind = (
                    self._words.kind(message.event)
                    or guess(message.event, said, data, events, driver=True)
                    or ""
                )
                store = self._owner(kind, said)
                shelf.add(message.id, kind, said.ids, store)
                self._replays.also.spoke(kind, message.event)
                if store:
                    self._roles.stores.add(store)
            if len(kept) < _PAGE:
                break
            after = kept[-1].id
        if shelf is not self._names.shelf:
            await self._names.recall(shelf)
        return shelf


def _queue_name(what: str, name: str) -> str:
    """Return the name of the queue of a store (or of a driver, in files of an older version)."""
    full = f"caps {what} {name}"
    if len(full) > 100 or not full.isprintable():
        full = f"caps {what} #{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}"
    return full
