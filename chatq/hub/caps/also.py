"""The other words under which the lab's hub hands packages on: "ready-for-pickup" as "pickup", too,
since the hubs of many classes rename what comes.

Owns when that is done. Pure. Must not know: sockets, queues, what an event does.
"""

from __future__ import annotations

from collections.abc import Callable

from .dialect_table import Table, plain

__all__ = ["Also"]

#: The most packages that are remembered to have gone out under another word.
_MOST = 10_000


class Also:
    """The other words of `table`, until a client says them itself; `there`: who is connected."""

    def __init__(self, table: Table, there: Callable[[str], bool]) -> None:
        self._table, self._there = table, there
        self._spoken: set[str] = set()
        self._senders: dict[tuple[str, str], str] = {}

    def spoke(self, kind: str, event: str) -> None:
        """Note the word that a client has for an event."""
        if plain(event) == plain(self._word(kind)):
            self._spoken.add(kind)

    def word(self, kind: str, event: str) -> str:
        """Return the word that an event goes out under, too, or ""."""
        word = self._word(kind)
        return word if kind not in self._spoken and plain(word) != plain(event) else ""

    def live(self, kind: str, event: str, package: str, sender: str, *, echo: bool) -> str:
        """Return the same for an event that `sender` has just emitted; `echo`: it hears it, too.

        Whoever hears that word may emit another one for the same package, and two such clients, or
        one that hears itself, would do so without end: so only the first one's is renamed.
        """
        word = self.word(kind, event)
        if not word:
            return ""
        first = self._senders.get((kind, package), "")
        if first and self._there(first) and (echo or first != sender):
            return ""
        self._senders.pop((kind, package), None)
        self._senders[kind, package] = sender
        if len(self._senders) > _MOST:
            del self._senders[next(iter(self._senders))]
        return word

    def _word(self, kind: str) -> str:
        return str(self._table.settings.get(f"also.{kind}", ""))
