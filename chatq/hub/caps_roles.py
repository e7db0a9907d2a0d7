"""Who a client of the lab is, and which queues its events are about: guesses from what it says.

Owns the names of stores and drivers that the hub knows, and these guesses. Pure. Must not know:
spellings, sockets, how queues are kept, what an event does.

These clients do not say who they are, and one connection may play both roles.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from . import caps_words as words

__all__ = ["DRIVERS", "Role", "Roles", "owner", "queue_name"]

#: The queue that all drivers share.
DRIVERS = "caps drivers"


@dataclass(slots=True)
class Role:
    """The role of a connection as far as its events show it: a hint, as it may play both roles."""

    driver: bool = False
    name: str = ""  # of a driver that has one
    store: str = ""
    surely: bool = False  # it is that store: it has sent a pickup
    settled: dict[str, None] = field(default_factory=dict)  # ids that it has acknowledged


class Roles:
    """The stores and drivers that are known.

    `named`: the queues of drivers with a name, by it; `common`: whether a client has sent a getAll
    as "the drivers"; `stores`: the names of stores.
    """

    named: dict[str, str]
    common: bool
    stores: set[str]

    def __init__(self) -> None:
        self.named, self.common, self.stores = {}, False, set()

    def driver(self, said: words.Said) -> str | None:
        """Return the name of the driver that is named, "" for the drivers as a whole, or None."""
        drivers: list[str] = []
        others: list[str] = []
        for name in said.clients:
            known = words.fold(name)
            own = None if known in self.stores else words.driver(name)
            own = known if known in self.named else own
            (others if own is None else drivers).append(own if own is not None else name)
        drivers += [""] * ("" in map(words.driver, said.stores))
        if not drivers:
            return None
        named = [words.fold(name) for name in others if words.fold(name) not in self.stores]
        return next((name for name in (*drivers, *named) if name), "")

    def asking_driver(self, role: Role, said: words.Said) -> str | None:
        """Return the driver that sends this getAll, "" for the drivers as a whole, or None: it is a
        store."""
        own = self.driver(said)
        names = [words.fold(name) for name in (*said.stores, *said.clients)]
        if own is None and said.kind == "pickup":
            others = [name for name in names if name not in self.stores]
            own = others[0] if others else role.name
        elif own is None and role.driver and not (names and names[0] in self.stores):
            own = names[0] if names else role.name
        elif own is None and not names and not role.store and said.kind is None:
            own = ""
        return own or role.name if own is not None else None

    def candidates(self, role: Role, said: words.Said) -> list[str]:
        """Return the queues that a `received` may be about; the first that has the message is it.

        A client that sends a whole message back names the message's store in it, driver or not. So,
        in this order: the driver it names; the role of the connection; the event; and else the
        drivers first: where a store has a message, a driver has had the pickup.
        """
        own = self.driver(said)
        names = [words.fold(n) for n in (*said.stores, *said.clients) if words.driver(n) != ""]
        stores = [queue_name("store", name) for name in (*names, role.store) if name]
        mine = [self.named.get((own if own in self.named else role.name) or "", DRIVERS)]
        drivers = mine if self.common else [*dict.fromkeys((*mine, DRIVERS))]
        if own is not None:
            return drivers
        if role.driver and not role.surely:
            # A client with both roles may name a store; so may a driver that acknowledges twice.
            both = said.only_ids and said.ids[0] not in role.settled
            return [*drivers, *stores] if both else drivers
        if role.surely and not role.driver:
            return stores
        if role.store and not role.surely:
            return [*stores, *drivers]
        if said.kind is not None:
            return drivers if said.kind == "pickup" else stores
        if said.ids[0] in role.settled and not said.only_ids:
            return drivers
        return [*stores, *drivers] if said.only_ids else [*drivers, *stores]

    def other_queues(self, queue: str) -> list[str]:
        """Return the queues of the same driver that have copies of the pickups in `queue`."""
        if queue != DRIVERS:
            return [] if self.common else [DRIVERS]
        return [*self.named.values()] if not self.common and len(self.named) == 1 else []


def owner(said: words.Said) -> str:
    """Return the store whose package it is; "" if none is named."""
    for name in said.stores:
        if words.driver(name) != "":
            return words.fold(name)
    for name in said.clients:
        if words.driver(name) is None:
            return words.fold(name)
    return ""


def queue_name(what: str, name: str) -> str:
    """Return the name of the queue of a store or a driver."""
    full = f"caps {what} {name}"
    if len(full) > 100 or not full.isprintable():
        full = f"caps {what} #{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}"
    return full
