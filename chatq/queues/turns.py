"""One client's turns: a suspect message comes alone, whatever queues the client consumes.

Owns which of a client's subscriptions may claim now. Must not know: stores, events, why a message
is suspect.

A message that ends its consumer takes along all that is in flight to that client, of all its
queues. So a subscription that has a suspect message next waits until nothing else is in flight to
its client, and until that message is answered nothing else is claimed for the client. It waits for
no longer than its patience: or else a client that is always at work for one queue would get
nothing of another, in which such a message is next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Protocol

__all__ = ["Permit", "Turns"]


class Permit(Enum):
    """What a subscription may claim now: nothing, all but suspect messages, or those, too."""

    NOTHING = 0
    OTHERS = 1
    ANY = 2


class Suspicious(Protocol):
    """An attempt in flight, as far as it matters here."""

    suspect: bool


class Claimant(Protocol):
    """A subscription of the client: `sent`: what is in flight to it."""

    @property
    def sent(self) -> Mapping[str, Suspicious]: ...

    def wake(self) -> None: ...


class Turns:
    """The turns of the subscriptions of one client.

    `patience`: for how many seconds a suspect message waits to be alone; longer than a lease, so
    that only work whose lease is renewed is still in flight then.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        #: Held by a subscription that claims messages of which nobody knows how large they are.
        self.sizing = asyncio.Lock()
        self._members: dict[Claimant, None] = {}
        self._claiming: dict[Claimant, None] = {}
        #: Who has a suspect message next, and until when that waits to be alone.
        self._waiting: dict[Claimant, float] = {}
        self._held_up: dict[Claimant, None] = {}
        self._alone: Claimant | None = None  # who may have a suspect message in flight

    def join(self, member: Claimant) -> None:
        """Add a subscription."""
        self._members[member] = None

    def leave(self, member: Claimant) -> None:
        """Remove one that claims no more; what is in flight to it counts until it is answered."""
        self._waiting.pop(member, None)
        if not member.sent:
            self._members.pop(member, None)
        self.changed()

    def permit(self, member: Claimant, now: float) -> Permit:
        """Return what this one may claim; it is woken when that may have changed (see `until`)."""
        if self._alone is not None:
            if any(sent.suspect for sent in self._alone.sent.values()):
                return self._hold_up(member)
            self._alone = None
        first = next((each for each, until in self._waiting.items() if until > now), None)
        late = self._waiting.get(member, now + 1) <= now
        if first is None and not late:
            return Permit.OTHERS
        busy = self._claiming or any(each.sent for each in self._members)
        if not late and (first is not member or busy):
            return self._hold_up(member)
        self._alone = member
        return Permit.ANY

    def until(self, now: float) -> float | None:
        """Return when a suspect message has waited for long enough; None if none waits."""
        return min((until for until in self._waiting.values() if until > now), default=None)

    def begin(self, member: Claimant) -> None:
        """Note that this one is claiming."""
        self._claiming[member] = None

    def end(self, member: Claimant) -> None:
        """Note that this one has claimed, and that all it got is in `sent`."""
        self._claiming.pop(member, None)
        self.changed()

    def wants(self, member: Claimant, now: float) -> None:
        """Note that this one has a suspect message next."""
        self._waiting.setdefault(member, now + self._patience)

    def had(self, member: Claimant) -> None:
        """Note that this one has a suspect message next no more."""
        if self._waiting.pop(member, None) is not None:
            self.changed()

    def changed(self) -> None:
        """Wake those that were held up: something is in flight no more, or not suspect."""
        held_up, self._held_up = self._held_up, {}
        for member in held_up:
            member.wake()

    def _hold_up(self, member: Claimant) -> Permit:
        self._held_up[member] = None
        return Permit.NOTHING
