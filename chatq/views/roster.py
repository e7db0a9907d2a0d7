"""The roster of a scene: each client with its state, its namespaces and its rooms.

Owns the roster and its table. Must not know: the stage, sockets, messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..journal.facts import (
    SERVER,
    Connected,
    Disconnected,
    Ended,
    Fact,
    Froze,
    Joined,
    Killed,
    Left,
    Rejected,
    Thawed,
)
from ..journal.journal import Journal
from .looks import Mark, marks
from .table import Table, one_line

__all__ = ["Roster", "Seat"]

_SIGNS = {
    "connected": "● connected",
    "frozen": "‖ frozen",
    "given up": "‖ frozen, given up by the server",
    "off": "○ off the line",
    "stranger": "– has not dialled this server",
    "server": "– another server: its side is not seen",
}


@dataclass(slots=True)
class Seat:
    """One client as the server knows it: the rooms it is in, by namespace.

    `kind`: "client", "process", "guest" (not started by the stage) or "server" (another one).
    `met`: it has connected, or tried to. `serves`: it is another server, to which a client has
    connected, or tried to. `outside`: the other server that a client is connected to, and the
    namespaces there.
    """

    name: str
    kind: str = "client"
    frozen: bool = False
    met: bool = False
    rooms: dict[str, list[str | int]] = field(default_factory=dict)
    serves: bool = False
    outside: tuple[str, tuple[str, ...]] = ("", ())

    @property
    def on_a_line(self) -> bool:
        """Return whether it is connected to this server, or to another."""
        return self.connected or bool(self.outside[1])

    @property
    def connected(self) -> bool:
        """Return whether the server regards it as connected to any namespace."""
        return bool(self.rooms)

    @property
    def only_serves(self) -> bool:
        """Return whether it is another server, and has never connected to this one."""
        return self.serves and not self.met

    @property
    def stranger(self) -> bool:
        """Return whether it is a process that has never connected to this server: it may be one
        itself, that no client has dialled, or connect to another."""
        return self.kind in ("process", "server") and not (self.met or self.serves)

    @property
    def state(self) -> str:
        """Its state, as a sign and words."""
        if self.frozen:
            return _SIGNS["given up" if self.met and not self.on_a_line else "frozen"]
        if self.kind == "server" or self.only_serves:
            return _SIGNS["server"]
        if self.stranger:
            return _SIGNS["stranger"]
        return _SIGNS["connected" if self.on_a_line else "off"]

    @property
    def places(self) -> str:
        """Its namespaces, each with the rooms it is in there; "nowhere", if it could be."""
        places = []
        for namespace, rooms in self.rooms.items():
            names = ", ".join(one_line(str(room), 20) for room in rooms)
            inside = f" (room{'s' * (len(rooms) > 1)} {names})" if rooms else ""
            places.append(one_line(namespace, 40) + inside)
        server, namespaces = self.outside
        places += [f"{one_line(namespace, 40)} of {server}" for namespace in namespaces]
        nowhere = "" if self.stranger or self.only_serves else "nowhere"
        return "; ".join(places) or nowhere


class Roster:
    """The roster, read from the facts of a scene; `over`: all connections have ended."""

    def __init__(
        self, journal: Journal, kinds: Iterable[tuple[str, str]], *, over: bool = False
    ) -> None:
        self._seats = {name: Seat(name, kind) for name, kind in kinds}
        for fact in (*journal.standing(), *journal):
            if serving := self._seats.get(getattr(fact, "server", "")):
                serving.serves = True
            if seat := self._seats.get(getattr(fact, "client", "")):
                _read(seat, fact)
        for seat in self.seats if over else ():
            seat.frozen, seat.rooms, seat.outside = False, {}, ("", ())

    @property
    def seats(self) -> Sequence[Seat]:
        """One seat for each client, in the order of their first connections."""
        return [*self._seats.values()]

    def namespaces(self) -> list[str]:
        """Return all namespaces with connected clients, the main one first."""
        found = {namespace for seat in self.seats for namespace in seat.rooms}
        return sorted(found, key=lambda namespace: (namespace != "/", namespace))

    @property
    def marks(self) -> dict[str, Mark]:
        """The mark of each client."""
        return marks(self._seats)

    def table(self) -> Table:
        """Return the table: a row for each client."""
        rows = [[seat.name, seat.kind, seat.state, seat.places] for seat in self.seats]
        return Table(("who", "what", "state", "namespaces and rooms"), rows, marks=self.marks)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _read(seat: Seat, fact: Fact) -> None:
    if isinstance(fact, Connected | Rejected | Disconnected) and fact.server != SERVER:
        before = seat.outside[1] if seat.outside[0] == fact.server else ()
        inside = dict.fromkeys(before)
        inside.pop(fact.namespace, None)
        if isinstance(fact, Connected):
            inside[fact.namespace] = None
        seat.outside = (fact.server, tuple(inside))
        return
    seat.met = seat.met or isinstance(fact, Connected | Rejected)
    match fact:
        case Connected(namespace=namespace):
            seat.rooms.setdefault(namespace, [])
        case Disconnected(namespace=namespace) | Rejected(namespace=namespace):
            seat.rooms.pop(namespace, None)
        case Joined(namespace=namespace, room=room):
            rooms = seat.rooms.setdefault(namespace, [])
            if room not in rooms:
                rooms.append(room)
        case Left(namespace=namespace, room=room):
            if room in (rooms := seat.rooms.get(namespace, [])):
                rooms.remove(room)
        case Froze():
            seat.frozen = True
        case Thawed() | Ended() | Killed():
            seat.frozen = False
