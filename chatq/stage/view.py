"""A scene as it was at one moment, and all that can be read off it.

Owns the moment: the facts up to it, and who the names are. Must not know: the stage, sockets, how a
reason is found, how anything is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from .deliveries import Deliveries
from .drawing import Diagram
from .explain import Message, Reason, explain, find, sentence, verdict_of
from .journal import Connected, Disconnected, Journal, Subscribed, Unsubscribed
from .roster import Roster
from .table import Table, one_line

__all__ = ["View"]


#: What a table of queues counts, and the states of a message that are counted there.
_STATES = {"wait": {"waits"}, "out": {"out"}, "settled": {"settled"}, "dead": {"dead", "expired"}}


class View:
    """What the facts of `journal` tell. `kinds`: by name, "client", "process" or "guest"; `over`:
    all connections have ended; `queues`: those that are known, also if nothing is told of them."""

    def __init__(
        self,
        journal: Journal,
        kinds: Mapping[str, str],
        over: bool = False,
        queues: Sequence[str] = (),
    ) -> None:
        self.journal, self.kinds = journal, dict(kinds)
        self._over, self._queues = over, queues
        self._cut = ""
        if journal.forgotten > journal.begun:
            self._cut = f"cut: only the newest {journal.keep} facts are kept"

    @cached_property
    def messages(self) -> list[Message]:
        """All messages, oldest first, with a verdict for each client."""
        unseen = [name for name, kind in self.kinds.items() if kind != "client"]
        return explain(self.journal, self.kinds, unseen, over=self._over)

    def _called(self, events: tuple[str, ...]) -> list[Message]:
        return [m for m in self.messages if not events or m.emitted.event in events]

    def deliveries(self, *events: str, last: int | None = None) -> Deliveries:
        """The table of messages by clients; see `Stage.deliveries`."""
        messages = [m for m in self._called(events) if not m.attempt_of]  # a cell says which
        if last is not None:
            messages = messages[-last:] if last > 0 else []
        strangers = self._strangers()
        columns = [name for name in self.kinds if name not in strangers]
        return Deliveries(messages, columns, self._cut)

    def _strangers(self) -> list[str]:
        """Whom no message is about."""
        return [seat.name for seat in self.roster().seats if seat.stranger]

    def diagram(self, *events: str, rows: int = 60) -> Diagram:
        """The sequence diagram; see `Stage.diagram`."""
        return Diagram(
            [*self.journal],
            self._called(events),
            [*self.kinds],
            rows,
            self._cut,
            self.journal.forgotten,
            self._strangers(),
        )

    def roster(self) -> Roster:
        """Who was where."""
        return self._roster

    @cached_property
    def _roster(self) -> Roster:
        return Roster(self.journal, self.kinds.items(), over=self._over)

    def queues(self) -> Table:
        """The table of queues: how many messages wait, are out, are dead, and who listens."""
        lives = [m.life for m in self.messages if m.life]
        listening = self._listening()
        known = [*self._queues, *(life.queue for life in lives), *(queue for _, queue in listening)]
        names = dict.fromkeys(known)
        rows = []
        for name in names:
            states = [life.state for life in lives if life.queue == name]
            counts = [str(sum(s in kind for s in states)) for kind in _STATES.values()]
            who = [client for client, queue in listening if queue == name]
            rows.append([name, *counts, ", ".join(who) or "nobody"])
        return Table(("queue", *_STATES, "who listens"), rows)

    def _listening(self) -> list[tuple[str, str]]:
        """Who consumes which queue: until told not to, or gone."""
        found: dict[tuple[str, str], None] = {}
        inside: set[tuple[str, str]] = set()
        for fact in () if self._over else (*self.journal.standing(), *self.journal):
            match fact:
                case Subscribed(client=client, queue=queue):
                    found[client, queue] = None
                case Unsubscribed(client=client, queue=queue):
                    found.pop((client, queue), None)
                case Connected(client=client, namespace=namespace):
                    if all(name != client for name, _ in inside):  # what was before is over
                        found = {key: None for key in found if key[0] != client}
                    inside.add((client, namespace))
                case Disconnected(client=client, namespace=namespace):
                    inside.discard((client, namespace))
                    if all(name != client for name, _ in inside):
                        found = {key: None for key in found if key[0] != client}
        return [*found]

    def why(self, client: str, message: str | int) -> str:
        """One sentence; see `Stage.why`."""
        return one_line(sentence(find(self.messages, message), client), 400)

    def reason(self, client: str, message: str | int) -> Reason:
        """The one reason behind it; see `Stage.reason`."""
        return verdict_of(find(self.messages, message), client).reason
