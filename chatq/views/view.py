"""A snapshot of a scene at one moment, with its look-ups.

Owns the snapshot: the facts up to a moment, and the kinds of the names; and the look-ups that a
snapshot and a running scene have in common (`Lookups`). Must not know: the stage, sockets, how a
reason is found, how anything is drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ..journal.facts import SERVER, Connected, Disconnected, Subscribed, Unsubscribed
from ..journal.journal import Journal
from .deliveries import Deliveries
from .diagram import Diagram
from .explain import Message, Named, Reason, explain, explanation_of, name_of
from .finding import find
from .moments import moments
from .replay import page, write
from .roster import Roster
from .sentence import sentence
from .table import Table, one_line

__all__ = ["Lookups", "View"]


#: The columns of counts in a table of queues, and the states that each of them counts.
_STATES = {"wait": {"waits"}, "out": {"out"}, "settled": {"settled"}, "dead": {"dead", "expired"}}


class Lookups(ABC):
    """Look-ups in a scene: in a running one (`Stage`) as it is now, in a `View` as it was.

    A client is given by its name, or as the object that `Stage` returned.
    """

    @abstractmethod
    def view(self) -> View:
        """Return a snapshot of the scene."""

    def deliveries(self, *events: str, last: int | None = None) -> Deliveries:
        """Return the table of messages by clients: a mark and a reason in each cell.

        `events`: only messages with these names; `last`: only the newest so many.
        """
        view = self.view()
        # Attempts are shown in the cells of their message.
        called = view.called(events)
        messages = [m for m in called if not m.attempt_of]
        if last is not None:
            messages = messages[-last:] if last > 0 else []
        strangers = view.strangers()
        columns = [name for name in (SERVER, *view.kinds) if name not in strangers]
        attempts = [m for m in called if m.attempt_of]
        return Deliveries(messages, columns, view.cut, attempts, view.under_way, [*view.kinds])

    def diagram(self, *events: str, rows: int = 60) -> Diagram:
        """Return the sequence diagram: SVG on a screen, text everywhere else.

        `events`: only messages with these names; `rows`: the newest so many rows.
        """
        view = self.view()
        facts, forgotten = [*view.journal], view.journal.forgotten
        called, kinds = view.called(events), [*view.kinds]
        return Diagram(facts, called, kinds, rows, view.cut, forgotten, view.strangers())

    def roster(self) -> Roster:
        """Return the table of all clients: state, namespaces and rooms."""
        return self.view().seats

    def why(self, client: str | Named, message: str | int) -> str:
        """Return one sentence that says why `client` did, or did not, get `message`.

        `message`: the name of an event (the last such message) or a message's number in the table.
        Of a message from another server the one is meant that came to `client`, if one did. Raises
        `LookupError` for an unknown client or message.
        """
        name = name_of(client)
        return one_line(sentence(find(self.view().messages, message, name), name), 400)

    def reason(self, client: str | Named, message: str | int) -> Reason:
        """Return the `Reason` behind `why`, for programs. Raises `LookupError` as `why` does."""
        name = name_of(client)
        return explanation_of(find(self.view().messages, message, name), name).reason

    def replay(self, path: str | Path, title: str = "", *, facts: int = 500) -> Path:
        """Write the scene as one HTML file that needs no network and no kernel, and return its
        path.

            stage.replay("scene.html", "Who hears it?")

        In any browser it shows the diagram, the table and each reason, fact by fact, forth and
        back, by keys or with a slider. `title`: its heading, by default the name of the file;
        `facts`: the newest so many. A file that is there is replaced, by the whole new one.

        Raises `OSError` if it cannot be written, `ValueError` for less than 1 fact.
        """
        path = Path(path)
        return write(path, page(moments(self.view(), facts), title or path.stem))


class View(Lookups):
    """A snapshot of the facts of `journal`. `kinds`: by name, "client", "process", "guest" or
    "server" (another one); `over`: all connections have ended; `queues`: known queues, also those
    without facts; `under_way`: what has not ended yet, in words."""

    journal: Journal
    kinds: dict[str, str]
    cut: str

    def __init__(
        self,
        journal: Journal,
        kinds: Mapping[str, str],
        over: bool = False,
        queues: Sequence[str] = (),
        under_way: str = "",
    ) -> None:
        self.journal, self.kinds, self.under_way = journal, dict(kinds), under_way
        self._over, self._queues = over, queues
        #: The note in tables and diagrams if facts were dropped.
        self.cut = ""
        if journal.forgotten > journal.begun:
            self.cut = f"cut: only the newest {journal.keep} facts are kept"

    @cached_property
    def messages(self) -> list[Message]:
        """All messages, oldest first, with an explanation for each client."""
        unseen = [name for name, kind in self.kinds.items() if kind != "client"]
        return explain(self.journal, self.kinds, unseen, over=self._over)

    @cached_property
    def seats(self) -> Roster:
        """The roster."""
        return Roster(self.journal, self.kinds.items(), over=self._over)

    def view(self) -> View:
        """See `Lookups.view`."""
        return self

    def at(self, step: int, keep: int | None = None) -> View:
        """Return the scene as it was after `step` facts, with the newest `keep` facts of that."""
        journal = self.journal
        over = self._over and step >= journal.written
        return View(journal.part(step, keep), self.kinds, over, self._queues if over else ())

    def called(self, events: tuple[str, ...]) -> list[Message]:
        """Return the messages with these names; all of them if there are none."""
        return [m for m in self.messages if not events or m.emitted.event in events]

    def strangers(self) -> list[str]:
        """Return the names of processes that have never connected to this server, and of other
        servers that no client has dialled; and this server's own, if all happens at others."""
        found = [seat.name for seat in self.seats.seats if seat.stranger]
        return [SERVER, *found] if self._happens_elsewhere() else found

    def _happens_elsewhere(self) -> bool:
        seats = self.seats.seats
        if not any(seat.serves for seat in seats) or any(seat.met for seat in seats):
            return False
        return all(message.emitted.server != SERVER for message in self.messages)

    def queues(self) -> Table:
        """Return the table of queues: counts of messages by state, and the consumers."""
        lives = [m.life for m in self.messages if m.life]
        listening = self._consumers()
        known = [*self._queues, *(life.queue for life in lives), *(queue for _, queue in listening)]
        names = dict.fromkeys(known)
        rows = []
        for name in names:
            states = [life.state for life in lives if life.queue == name]
            counts = [str(sum(s in kind for s in states)) for kind in _STATES.values()]
            who = [client for client, queue in listening if queue == name]
            rows.append([name, *counts, ", ".join(who) or "nobody"])
        return Table(("queue", *_STATES, "who listens"), rows)

    def _consumers(self) -> list[tuple[str, str]]:
        """Return (client, queue) for each consumer: until it unsubscribes or has disconnected."""
        found: dict[tuple[str, str], None] = {}
        inside: set[tuple[str, str]] = set()
        for fact in () if self._over else (*self.journal.standing(), *self.journal):
            match fact:
                case Subscribed(client=client, queue=queue):
                    found[client, queue] = None
                case Unsubscribed(client=client, queue=queue):
                    found.pop((client, queue), None)
                case Connected(client, namespace, server) if server == SERVER:
                    if all(name != client for name, _ in inside):  # earlier subscriptions are over
                        found = {key: None for key in found if key[0] != client}
                    inside.add((client, namespace))
                case Disconnected(client=client, namespace=namespace, server=server) if (
                    server == SERVER
                ):
                    inside.discard((client, namespace))
                    if all(name != client for name, _ in inside):
                        found = {key: None for key in found if key[0] != client}
        return [*found]
