"""Who is in a scene, as far as its facts tell: by name "client", "process" or "guest".

Owns that guess, for a journal that nobody has told. Must not know: the stage, which knows it;
journals, reasons, pictures.

Only the stage's own clients are seen at their own end. So who was connected, and of whose end there
is no fact, is taken for a guest: then "sent" is said of what the server has sent to it, and not
that it is still on its way.
"""

from __future__ import annotations

from collections.abc import Iterable

from .facts import (
    EARLIER,
    SERVER,
    Connected,
    Emitted,
    Ended,
    Fact,
    HungUp,
    Killed,
    NotUnderstood,
    Raised,
    Received,
)

__all__ = ["kinds_of"]

#: Facts that only the stage's own client can tell.
_OWN = (Received, NotUnderstood, Raised, HungUp, Ended)


def kinds_of(facts: Iterable[Fact]) -> dict[str, str]:
    """Return the kind of each name, in the order in which they appear."""
    names: dict[str, None] = {}
    connected, own, killed = set(), set(), set()
    for fact in facts:
        if isinstance(fact, Emitted):
            # A fact about several puts the one who caused it first.
            named = (fact.sender, *fact.clients, *fact.skipped, *fact.recipients)
        else:
            named = (getattr(fact, "client", SERVER),)
        names.update(dict.fromkeys(named))
        if isinstance(fact, Connected):
            connected.add(fact.client)
        elif isinstance(fact, Killed):
            killed.add(fact.client)
        elif isinstance(fact, _OWN):
            own.add(fact.client)
    return {
        name: "process" if name in killed else "guest" if name in connected - own else "client"
        for name in names
        if name not in (SERVER, EARLIER)
    }
