"""Who is in a scene, as far as its facts tell: by name "client", "process", "guest" or "server".

Owns that guess, for a journal that nobody has told. Must not know: the stage, which knows it;
journals, reasons, pictures.

Only the stage's own clients are seen at their own end. So who was connected, and of whose end there
is no fact, is taken for a guest: then "sent" is said of what the server has sent to it, and not
that it is still on its way. What is told of another server ("server") a client of the stage has
told.
"""

from __future__ import annotations

from collections.abc import Iterable

from .facts import (
    EARLIER,
    SERVER,
    Connected,
    Disconnected,
    Emitted,
    Ended,
    Fact,
    HungUp,
    Killed,
    NotUnderstood,
    Raised,
    Received,
    Rejected,
)

__all__ = ["kinds_of"]

#: Facts that only the stage's own client can tell.
_OWN = (Received, NotUnderstood, Raised, HungUp, Ended)
#: Facts that say of which server they are.
_OF_SERVERS = (Connected, Rejected, Disconnected, Emitted)


def kinds_of(facts: Iterable[Fact]) -> dict[str, str]:
    """Return the kind of each name: other servers first, then as they appear."""
    names: dict[str, None] = {}
    servers: dict[str, None] = {}
    connected, own, killed = set[str](), set[str](), set[str]()
    for fact in facts:
        if isinstance(fact, Emitted):
            # A fact about several puts the one who caused it first.
            named = (fact.sender, *fact.clients, *fact.skipped, *fact.recipients)
        else:
            named = (getattr(fact, "client", SERVER),)
        names.update(dict.fromkeys(named))
        if isinstance(fact, _OF_SERVERS) and fact.server != SERVER:
            servers[fact.server] = None
        elif isinstance(fact, Connected):
            connected.add(fact.client)
        elif isinstance(fact, Killed):
            killed.add(fact.client)
        elif isinstance(fact, _OWN):
            own.add(fact.client)
    guests = connected - own

    def kind(name: str) -> str:
        if name in killed:
            return "process"
        return "server" if name in servers else "guest" if name in guests else "client"

    return {name: kind(name) for name in (*servers, *names) if name not in (SERVER, EARLIER)}
