"""The names in a scene: of clients, of processes, and of guests, who come without an invitation.

Owns which names there are, which are free, and the name of a guest that gives none, or one that is
taken. Must not know: what clients and processes do.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from urllib.parse import parse_qs

from ..journal.accounting import Link, Recorder
from ..journal.facts import OTHER_SERVER, SERVER

__all__ = ["Names"]

#: Names that say who is meant, and so are nobody's own.
_RESERVED = (SERVER, OTHER_SERVER, "everyone")


class Names:
    """The names in a scene, in the order in which they came; those of `guests`, processes among
    them, each with its newest connection (None: a process that has not connected yet)."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self.guests: dict[str, Link | None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    @staticmethod
    def check(name: object) -> None:
        """Raise `TypeError` or `ValueError` if this is no name."""
        if not isinstance(name, str):
            raise TypeError(f"a client cannot be called {name!r}: a name is a string")
        if not 0 < len(name) <= 40 or not name.isprintable():
            raise ValueError(
                f"a client cannot be called {name!r}: a name has 1 to 40 printable characters"
            )

    def check_client(self, name: str) -> None:
        """Raise `TypeError` or `ValueError` if no client can have this name."""
        self.check(name)
        if name in _RESERVED or name in self.guests:
            raise ValueError(f"a client cannot be called {name!r}: that name is not free")

    def add_client(self, name: str) -> None:
        """Note that there is, or was, a client of this name."""
        if name not in self._names:
            self._names.append(name)

    def add_process(self, name: str) -> None:
        """Note that there is a new process of this name; raises `ValueError` if it is not free."""
        if name in _RESERVED or name in self._names:
            raise ValueError(f"a process cannot be called {name!r}: that name is not free")
        self._names.append(name)
        self.guests[name] = None

    def greet(self, query: str, processes: Container[str], recorder: Recorder) -> Link:
        """Return the link of a guest that connects with this query, in which `name` is its wish;
        those of `processes` have their names."""
        given = parse_qs(query).get("name", [""])[0][:40].strip()
        if not given.isprintable() or given in ("everyone", OTHER_SERVER):
            given = ""
        before = self.guests.get(given)
        # A process reconnects under its name; so may a guest that has left, as after a reload.
        back = before is not None and (not before.server_open or before.departed)
        if given not in processes and not back:
            number = len(self.guests) + 1
            while not given or given == SERVER or given in self._names:
                given, number = f"guest {number}", number + 1
            self._names.append(given)
        link = self.guests[given] = Link(given, recorder, watched=False)
        return link
