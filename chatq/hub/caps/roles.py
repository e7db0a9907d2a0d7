"""Who a client of the lab is, and whom its events are about: guesses from what it says.

Owns these guesses. Pure. Must not know: spellings, sockets, how queues are kept, what an event
does.

These clients do not say who they are, and one connection may play both roles.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from .words import Said, Words, fold

__all__ = ["Consumer", "Role", "Roles"]

#: The most stores that one connection speaks for.
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Consumer:
    """Somebody that messages wait for: the store `name`, a driver, or ("") the drivers."""

    name: str
    store: bool = False


@dataclass(slots=True)
class Role:
    """The role of a connection as far as its events show it: a hint, as it may play both roles."""

    driver: bool = False
    name: str = ""  # of a driver that has one
    store: str = ""
    surely: bool = False  # it is that store: it has sent a pickup
    stores: dict[str, None] = field(default_factory=dict)  # all that it has spoken for
    settled: dict[str, None] = field(default_factory=dict)  # ids that it has acknowledged

    def speaks_for(self, store: str) -> None:
        """Note a store that this connection is; the latest of many."""
        self.stores[store] = None
        if len(self.stores) > _MOST:
            del self.stores[next(iter(self.stores))]


class Roles:
    """The guesses by `words`, given the names of drivers that are known; `stores`: those of stores.

    `drivers` has "" if a client has ever sent a getAll as "the drivers".
    """

    stores: set[str]

    def __init__(self, words: Words, drivers: Container[str]) -> None:
        self._words, self._drivers = words, drivers
        self.stores = set()

    def driver(self, said: Said) -> str | None:
        """Return the name of the driver that is named, "" for the drivers as a whole, or None."""
        drivers: list[str] = []
        others: list[str] = []
        for name in said.clients:
            known = fold(name)
            own = known if known and known in self._drivers else self._words.driver(name)
            # Drivers of some classes have asked by the name of the store whose packages they want.
            own = None if known in self.stores else own
            (others if own is None else drivers).append(own if own is not None else name)
        drivers += [""] * ("" in map(self._words.driver, said.stores))
        if not drivers:
            return None
        named = [fold(name) for name in others if fold(name) not in self.stores]
        return next((name for name in (*drivers, *named) if name), "")

    def calls_driver(self, said: Said) -> str | None:
        """Return the driver that sends this join or getAll by what it calls itself; as `driver`."""
        own = self.driver(said)
        called = next((fold(name) for name in said.drivers), "")
        return called if own is None and called and called not in self.stores else own

    def asking_driver(self, role: Role, said: Said) -> str | None:
        """Return the driver that sends this getAll, "" for the drivers as a whole, or None: it is a
        store."""
        own = self.calls_driver(said)
        names = [fold(n) for n in (*said.stores, *said.clients) if not self._words.nobody(n)]
        if own is None and said.kind == "pickup":
            others = [name for name in names if name not in self.stores]
            own = others[0] if others else role.name
        elif own is None and role.driver and not (names and names[0] in self.stores):
            own = names[0] if names else role.name
        elif (
            own is None
            and not (*said.stores, *said.clients)
            and not role.store
            and said.kind is None
        ):
            own = ""
        return own or role.name if own is not None else None

    def store_names(self, said: Said) -> list[str]:
        """Return the names in a message that may be a store's."""
        words = self._words
        names = (*said.stores, *said.clients)
        return [fold(n) for n in names if words.driver(n) != "" and not words.nobody(n)]

    def only_store(self) -> str:
        """Return the store, if there is only one: whoever is a store is that one."""
        return next(iter(self.stores)) if len(self.stores) == 1 else ""

    def drivers(self, role: Role, named: str | None = None) -> list[Consumer]:
        """Return which drivers a connection may be: one with a name, or the drivers as a whole."""
        mine = next((n for n in (named, role.name) if n and n in self._drivers), "")
        all_of_them = [Consumer("")] if mine and "" not in self._drivers else []
        return [Consumer(mine), *all_of_them]

    def candidates(self, role: Role, said: Said) -> list[Consumer]:
        """Return whom a `received` may be of; the first that has the message is it.

        A client that sends a whole message back names the message's store in it, driver or not. So,
        in this order: the driver it names; the role of the connection; the event; and else the
        drivers first: where a store has a message, a driver has had the pickup.
        """
        own = self.driver(said)
        names = self.store_names(said)
        if role.stores:  # others get to hear what is delivered for a store, and acknowledge it
            names = [name for name in names if name in role.stores or name not in self.stores]
        stores = [Consumer(name, store=True) for name in (*names, role.store) if name]
        drivers = self.drivers(role, own)
        if own is not None:
            return drivers
        settled = bool(said.ids) and said.ids[0] in role.settled
        if role.driver and not role.surely:
            # A client with both roles may name a store; so may a driver that acknowledges twice.
            return [*drivers, *stores] if said.only_ids and not settled else drivers
        if role.surely and not role.driver:
            return stores
        if role.store and not role.surely:
            return [*stores, *drivers]
        if said.kind is not None:
            return drivers if said.kind == "pickup" else stores
        if settled and not said.only_ids:
            return drivers
        return [*stores, *drivers] if said.only_ids else [*drivers, *stores]
