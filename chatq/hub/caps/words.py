"""Interpretation of the events and fields of "CAPS" lab clients, by a table.

Owns spellings: which event it is, whose package, which client, which message. Pure. Must not know:
sockets, queues, what an event does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from .dialect_table import PACKAGES, Table, plain

__all__ = ["Said", "Words", "fold"]

_LONGEST = 200  # characters of a name or an id
_DEEPEST, _MOST = 4, 200  # levels and fields of a message that are read
#: What else a field may be called, if there is none of the table: orderStore, newParcelNumber.
_LIKE = {
    "store": re.compile(r".*(store|vendor|shop|retailer|merchant|seller)(name|id|title|room)?"),
    "order": re.compile(
        r".*(order|package|parcel|pkg|delivery|shipment|tracking)(id|uuid|guid|number|no|num|code)"
    ),
}


@dataclass(frozen=True, slots=True)
class Said:
    """The names in a message: stores and clients as spelled, in order; the kind of event; its ids,
    the preferred one first; whether it has no other fields; who is called a driver; and whose it
    may be by what stands at its top."""

    stores: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    kind: str | None = None
    ids: tuple[str, ...] = ()
    only_ids: bool = False
    drivers: tuple[str, ...] = ()
    top: tuple[str, ...] = ()


def fold(name: str) -> str:
    """Return a name in the form in which names are compared."""
    return " ".join(name.split()).casefold()


class Words:
    """What clients mean, by `table`."""

    def __init__(self, table: Table) -> None:
        self.table = table
        fields = table.fields
        self._of_no_weight = {"time", "timestamp", "status"}.union(
            *(fields[name] for name in fields)
        )

    def kind(self, event: object) -> str | None:
        """Return the name of an event in the table: join, get-all, received, pickup, …"""
        return self.table.events.get(plain(event[:_LONGEST])) if isinstance(event, str) else None

    def asked_for(self, event: str) -> str | None:
        """Return "pickup" for a word that asks for pickups: whoever does is a driver."""
        return "pickup" if "pick" in plain(event[:_LONGEST]) else None

    def driver(self, name: str) -> str | None:
        """Return the name of a single driver, "" for the drivers as a whole, None for others."""
        if plain(name) in self.table.drivers:
            return ""
        words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
        return fold(name) if {word.casefold() for word in words} & {"driver", "drivers"} else None

    def nobody(self, name: str) -> bool:
        """Return whether `name` means the stores as a whole: then it names none."""
        return plain(name) in self.table.stores

    def read(self, data: Any, *, asks: bool = False) -> Said:
        """Return the names in `data`; `asks`: a join or a getAll, which may be a mere name."""
        if isinstance(data, str) and data[:1] in ("{", "["):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                pass
        if not isinstance(data, dict):
            text = _text(data)
            if asks and isinstance(data, list):
                return Said(clients=tuple(name for item in data[:20] if (name := _text(item))))
            if text is None:
                return Said()
            if not asks:
                return Said(ids=(text,), only_ids=True)
            return Said(kind=self.kind(text)) if self.kind(text) else Said(clients=(text,))
        found = [*_fields(data)]
        top = [*_fields({name: v for name, v in data.items() if not isinstance(v, dict)})]
        ids = self._of(found, "message") + self._of(found, "order")
        clients = self._of(found, "client")
        if not ids and not asks:
            ids = self._of(found, "id")[:1]
        elif not clients:
            clients = self._of(found[: len(data)], "nameless")
            clients = tuple(name for name in clients if self.kind(name) is None)
        told = self._of(found, "event") + self._of(found[: len(data)], "nameless") + clients
        kinds = [name for name in map(self.kind, told) if name in PACKAGES]
        # A queue called "pickup" is that of an event, as in many a class's hub, and nobody's.
        clients = tuple(name for name in clients if self.kind(name) not in PACKAGES)
        return Said(
            stores=self._of(found, "store"),
            clients=clients,
            kind=kinds[0] if kinds else None,
            ids=tuple(dict.fromkeys(ids)),
            only_ids=all(name in self._of_no_weight for name, _ in found)
            and not any(isinstance(value, (dict, list)) for value in data.values()),
            drivers=self._of(found, "driver"),
            top=self._of(top, "store")
            + tuple(name for name in self._of(top, "client") if name in clients),
        )

    def owner(self, said: Said, drivers: Container[str] = ()) -> str:
        """Return the store whose package it is; "" if none is named; `drivers`: who is none.

        What wraps an order knows better whose it is: there, `clientId` is the queue of a store.
        """
        for name in (*said.top, *said.stores, *said.clients):
            driver = self.driver(name)
            if name in said.stores and driver != "" and not self.nobody(name):
                return fold(name)
            if driver is None and fold(name) not in drivers and not self.nobody(name):
                return fold(name)
        return ""

    def _of(self, found: list[tuple[str, str]], what: str) -> tuple[str, ...]:
        """Return the values of the fields called `what`, in the order of its spellings."""
        names = self.table.fields[what]
        exact = tuple(value for name in names for field, value in found if field == name)
        if exact or what not in _LIKE:
            return exact
        return tuple(value for field, value in found if _LIKE[what].fullmatch(field))


def _fields(data: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a message that have a text or a number, breadth first."""
    waiting: deque[tuple[int, dict[Any, Any]]] = deque([(1, data)])
    seen = 0
    while waiting:
        depth, part = waiting.popleft()
        for name, value in part.items():
            seen += 1
            if seen > _MOST:
                return
            if isinstance(value, dict) and depth < _DEEPEST:
                waiting.append((depth + 1, value))
            elif isinstance(name, str) and (text := _text(value)) is not None:
                yield plain(name[:_LONGEST]), text


def _text(value: Any) -> str | None:
    """Return a name or an id as text; None for what can be neither."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    if isinstance(value, int):
        value = str(value) if abs(value) < 10**30 else ""
    text = str(value).strip()
    if len(text) > _LONGEST:
        return "long-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return text or None
