"""The dialect of the "CAPS" lab: the protocol of clients of lab 12 and lab 13.

Owns the routing of a package's messages to queues, their replay, and the effect of a `received`.
Must not know: spellings, who a client may be, tokens, packets, files.

These clients keep no receipts, so nothing is claimed here: a message stays in a queue until the
client of that queue acknowledges it (`received`), by the message's own id.

- A store has one queue: in-transit and delivered for it.
- The drivers share one queue. A driver who has sent a getAll under a name has a queue of its own
  besides, with a copy of what was in the shared queue then, and all pickups since: so it loses
  nothing that another driver acknowledges.
- Events of one connection take effect in the order in which they were emitted, as in a student's
  hub, whose handlers never wait: what was acknowledged before a getAll is not sent again.
- What a named driver has acknowledged leaves the shared queue, too, unless a client has ever sent a
  getAll as "the drivers": then that is a consumer like the others.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..queues.error_codes import code_of
from ..queues.message import decode, encode
from ..queues.order import Order
from ..queues.queues import Queues
from ..queues.rules import Rules
from ..queues.store import NewMessage, QueueFull, StoreError
from . import caps_words as words
from .caps_roles import DRIVERS, Role, Roles, owner, queue_name
from .caps_shelf import Copy, Shelf
from .gate import Gate

__all__ = ["Caps"]

_log = logging.getLogger("chatq.hub")

_NO_STORE = "it names no store: nobody can be told of it later"
_NAMES = "caps names"
#: The most drivers with a queue of their own, and the most stores.
NAMED, STORES = 200, 10_000
#: The messages read from the store at once, and those that may be unread by the client.
_PAGE, _UNREAD = 20, 20
#: The most messages of one `received`, and of those remembered as settled by one client.
_AT_ONCE = 1_000


@dataclass(slots=True)
class _Person(Role):
    """A connection: its role, the order of its events, and the replays that run for it."""

    order: Order = field(default_factory=Order)
    replays: dict[tuple[str, str | None], asyncio.Task[int]] = field(default_factory=dict)


_Gone = tuple[Shelf, dict[str, Copy]]


class _NamesNoStore(ValueError):
    """The message names no store whose queue it could be put into."""


class Caps:
    """Serves `queues` to clients of the lab behind `gate`; call `start` before clients connect."""

    #: Queues are shorter here, since the ids of each message are in memory, too.
    rules: Rules = Rules(length=100_000)

    def __init__(self, queues: Queues, gate: Gate) -> None:
        self._queues, self._rules = queues, queues.rules
        self._gate = gate
        self._people: dict[str, _Person] = {}
        self._shelves: dict[str, asyncio.Task[Shelf]] = {}
        self._roles = Roles()
        self._naming_over = asyncio.Event()  # not set while a driver is given his queue
        self._naming_over.set()
        self._handlers = {
            "join": self._join,
            "get-all": self._get_all,
            "received": self._received,
        }
        gate.on("*", self._handle)
        gate.on_leave(self._left)

    async def start(self) -> None:
        """Read the drivers that have queues, and index those."""
        for kept in await self._queues.peek(_NAMES, NAMED + 1):
            name = decode(kept.body)
            if name:
                self._roles.named[name] = queue_name("driver", name)
            else:
                self._roles.common = True
        for queue in (DRIVERS, *self._roles.named.values()):
            await self._open_shelf(queue)

    def consumers(self, queue: str) -> list[tuple[str, int]]:
        """Return who is there of those whose queue this is; nothing is ever out to them."""
        there: list[tuple[str, int]] = []
        for person in self._people.values():
            if person.driver and self._roles.named.get(person.name, DRIVERS) == queue:
                there.append((person.name or "a driver", 0))
            if person.store and queue_name("store", person.store) == queue:
                there.append((person.store, 0))
        return there

    def shown(self, queue: str) -> str | None:
        """Return what a queue is called where people look; None: it is no queue of a client."""
        return None if queue == _NAMES else queue.removeprefix("caps ")

    async def _handle(self, event: Any, sid: str, *arguments: Any) -> Any:
        kind = words.kind(event)
        data = arguments[0] if arguments else None
        try:
            if kind is None:
                raise ValueError(
                    "this hub knows join, pickup, in-transit, delivered, getAll and received"
                )
            async with self._person(sid).order.turn(alone=kind in self._handlers) as go_on:
                if kind in self._handlers:
                    return await self._handlers[kind](sid, data, go_on)
                return await self._put(kind, sid, event, data, go_on)
        except (TypeError, ValueError, QueueFull, StoreError) as problem:
            code = code_of(problem) or "malformed"
            logged = _NO_STORE if isinstance(problem, _NamesNoStore) else ""
            return self._gate.refuse(sid, event, code, str(problem)[:500], logged)

    async def _left(self, sid: str) -> None:
        person = self._people.pop(sid, None)
        for replay in [*person.replays.values()] if person else ():
            replay.cancel()

    def _person(self, sid: str) -> _Person:
        if sid in self._people or self._gate.connected(sid):
            return self._people.setdefault(sid, _Person())
        return _Person()

    # -- a package's messages ---------------------------------------------------------------------

    async def _put(
        self, kind: str, sid: str, event: str, data: Any, go_on: Callable[[], None]
    ) -> Any:
        """Store a message, then emit it to all clients but its sender."""
        said = words.read(data)
        if isinstance(data, dict) and not said.ids:
            data = {**data, "messageId": str(uuid.uuid4())}
            said = words.read(data)
        if not said.ids:
            raise TypeError(f"{event:.40} takes an object")
        person = self._person(sid)
        store = owner(said)
        if kind == "pickup":
            person.store, person.surely = store or person.store, bool(store)
        else:
            person.driver = True
        if store and store not in self._roles.stores:
            if len(self._roles.stores) >= STORES:
                raise ValueError(f"this hub serves {STORES} stores and takes no more")
            self._roles.stores.add(store)
        if kind != "pickup" and not store:
            encode(data, self._rules.payload)
            await self._emit_to_others(sid, event, data)
            raise _NamesNoStore(_NO_STORE)
        while kind == "pickup" and not self._naming_over.is_set():
            await self._naming_over.wait()
        queues = (
            [DRIVERS, *self._roles.named.values()]
            if kind == "pickup"
            else [queue_name("store", store)]
        )
        await self._keep(queues, kind, event, data, said.ids, go_on)
        await self._emit_to_others(sid, event, data)
        return {"id": said.ids[0]}

    async def _keep(
        self,
        queues: list[str],
        kind: str,
        event: str,
        data: Any,
        ids: tuple[str, ...],
        go_on: Callable[[], None],
    ) -> None:
        """Store a message in those of `queues` that have room: a client that never acknowledges
        must not keep it from the others."""
        shelves = [await self._open_shelf(queue) for queue in queues]
        room = [shelf for shelf in shelves if len(shelf.copies) < self._rules.length]
        names = [shelf.queue for shelf in room] or queues
        message = self._queues.message(event, data, to=names)
        go_on()  # whoever goes on now does so after this call: the store keeps the order
        try:
            stored = (await self._queues.emit_many((message,)))[0]
        except QueueFull:
            stored = []
        for shelf, id in zip(room, stored, strict=False):
            shelf.add(id, kind, ids)
        if len(stored) < len(queues):
            _log.warning("a queue is full: %.40s is delivered, but not kept for all", event)

    async def _emit_to_others(self, sid: str, event: str, data: Any) -> None:
        """Emit to all but the sender, and but slow readers, for whom it waits in the queue."""
        await self._gate.sio.emit(
            event,
            data,
            namespace=self._gate.namespace,
            skip_sid=[sid, *self._gate.slow()],
        )

    # -- join -------------------------------------------------------------------------------------

    async def _join(self, sid: str, data: Any, go_on: Callable[[], None]) -> Any:
        said = words.read(data, asks=True)
        names = (*said.stores, *said.clients)
        if not names:
            raise TypeError("join takes the name of a room, or an object that has one")
        person = self._person(sid)
        own = self._roles.driver(said)
        if own is not None or said.kind == "pickup":
            person.driver = True
            person.name = own or person.name
        elif not person.store:
            person.store = words.fold(names[0])
        return {"room": names[0]}

    # -- getAll -----------------------------------------------------------------------------------

    async def _get_all(self, sid: str, data: Any, go_on: Callable[[], None]) -> Any:
        said = words.read(data, asks=True)
        person = self._person(sid)
        queue = await self._queue_of(person, said)
        if queue is None:
            return {"count": 0}
        key = (queue, said.kind)
        replay = person.replays.get(key)
        if replay is None:  # else the same replay is running already
            shelf = await self._open_shelf(queue)
            replay = asyncio.create_task(self._replay(sid, shelf, next(shelf.numbers), said.kind))
            person.replays[key] = replay
            replay.add_done_callback(lambda _: person.replays.pop(key, None))
        go_on()
        await asyncio.wait([replay])
        return {"count": replay.result()} if not replay.cancelled() else None

    async def _queue_of(self, person: _Person, said: words.Said) -> str | None:
        """Return the queue that a getAll is about; None if there is none."""
        own = self._roles.asking_driver(person, said)
        if own is not None:
            if said.kind in ("in-transit", "delivered"):
                return None
            person.driver = True
            await self._add_driver(own)
            person.name = own if own in self._roles.named else ""
            return self._roles.named.get(own, DRIVERS)
        store = next((words.fold(name) for name in (*said.stores, *said.clients)), person.store)
        if not store:
            return None
        person.store = person.store or store
        queue = queue_name("store", store)
        return queue if await self._shelf(queue) is not None else None

    async def _add_driver(self, name: str) -> None:
        """Give the driver `name` ("": the drivers as a whole) a queue of its own from now on."""
        while not self._naming_over.is_set():
            await self._naming_over.wait()
        known = name in self._roles.named if name else self._roles.common
        if known or (name and len(self._roles.named) >= NAMED):
            return
        self._naming_over.clear()
        try:
            await self._copy_queue(name)
        finally:
            self._naming_over.set()

    async def _copy_queue(self, name: str) -> None:
        # New pickups wait meanwhile, so that older ones come first in the new queue, too.
        queue = queue_name("driver", name)
        after = ""
        while name:
            kept = await self._queues.peek(DRIVERS, _PAGE, after)
            copies = [NewMessage(k.event, k.body, (queue,), key=k.id) for k in kept]
            if copies:
                await self._queues.emit_many(copies)
                after = kept[-1].id
            if len(kept) < _PAGE:
                break
        await self._queues.emit_many((self._queues.message("driver", name, to=_NAMES),))
        if name:
            self._shelves.pop(queue, None)
            await self._open_shelf(queue)
            self._roles.named[name] = queue
        else:
            self._roles.common = True

    async def _replay(self, sid: str, shelf: Shelf, end: int, kind: str | None) -> int:
        """Send the messages with numbers up to `end`, at the pace at which the client reads; return
        how many."""
        sent, after = 0, ""
        while True:
            kept = await self._queues.peek(shelf.queue, _PAGE, after)
            for message in kept:
                copy = shelf.copies.get(message.id)
                if copy is None or copy.number > end or kind not in (None, copy.kind):
                    continue
                await self._gate.sio.emit(
                    message.event,
                    decode(message.body),
                    to=sid,
                    namespace=self._gate.namespace,
                )
                sent += 1
                if sent % _UNREAD == 0:
                    await self._gate.read(sid)
            if len(kept) < _PAGE:
                return sent
            after = kept[-1].id

    # -- received ---------------------------------------------------------------------------------

    async def _received(self, sid: str, data: Any, go_on: Callable[[], None]) -> Any:
        items = data if isinstance(data, list) else [data]
        if len(items) > _AT_ONCE:
            raise ValueError(f"received takes {_AT_ONCE} messages at once")
        person, gone = self._person(sid), []
        for item in items:
            said = words.read(item)
            if not said.ids:
                raise ValueError("received takes a message, or an object with its messageId")
            gone.append(await self._one_received(person, said))
        go_on()
        # In one transaction, so that no queue keeps a message that another has lost.
        taken = [*itertools.chain(*gone)]
        asked = [self._queues.remove(shelf.queue, [*copies]) for shelf, copies in taken]
        removed = await asyncio.gather(*asked, return_exceptions=True)
        for (shelf, copies), result in zip(taken, removed, strict=True):
            if isinstance(result, BaseException):
                for stored, copy in copies.items():
                    shelf.add(stored, copy.kind, copy.ids)
        for result in removed:
            if isinstance(result, BaseException):
                raise result
        if not items:
            raise ValueError("received takes a message, or an object with its messageId")
        return {"ok": all(gone)}

    async def _one_received(self, person: _Person, said: words.Said) -> list[_Gone]:
        """Remove an acknowledged message from the index; return what the store has to remove."""
        for queue in self._roles.candidates(person, said):
            shelf = await self._shelf(queue)
            found = shelf.find(said.ids, said.kind) if shelf is not None else []
            if shelf is None or not found:
                continue
            gone = [(shelf, shelf.take(found))]
            if queue.startswith("caps driver"):
                # The copies of a pickup in other queues of the same driver go with it.
                shelves = [await self._open_shelf(o) for o in self._roles.other_queues(queue)]
                gone += [(shelf, shelf.take(shelf.find(said.ids, "pickup"))) for shelf in shelves]
                person.settled[said.ids[0]] = None
                if len(person.settled) > _AT_ONCE:
                    del person.settled[next(iter(person.settled))]
            return gone
        return []

    # -- the index of the queues ------------------------------------------------------------------

    async def _shelf(self, queue: str) -> Shelf | None:
        """Return the index of a queue; None if there is no such queue."""
        if queue not in self._shelves and not await self._queues.used(queue):
            return None
        return await self._open_shelf(queue)

    async def _open_shelf(self, queue: str) -> Shelf:
        """Return the index of a queue, which need not exist; read the queue the first time."""
        task = self._shelves.get(queue)
        if task is None:
            task = self._shelves[queue] = asyncio.create_task(self._read(queue))
        try:
            return await asyncio.shield(task)
        except StoreError:
            self._shelves.pop(queue, None)
            raise

    async def _read(self, queue: str) -> Shelf:
        shelf, after = Shelf(queue), ""
        while True:
            kept = await self._queues.peek(queue, 10 * _PAGE, after)
            for message in kept:
                said = words.read(decode(message.body))
                shelf.add(message.id, words.kind(message.event) or "", said.ids)
                if store := owner(said):
                    self._roles.stores.add(store)
            if len(kept) < 10 * _PAGE:
                return shelf
            after = kept[-1].id
