"""The table of deliveries: messages by clients, a mark and a reason in each cell.

Owns the words for one message, its route and its explanations, and the table made of them. Must not
know: the stage, sockets, how a reason is found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..journal.activity import NotSettled
from ..journal.facts import SERVER
from .explain import ARRIVED, Explanation, Message, Named, Reason, name_of
from .finding import alike
from .got import Got, comparison
from .looks import marks
from .matchers import Verdict, got_in_order, got_once, nobody_got
from .sentence import target
from .table import Table, one_line

__all__ = ["Deliveries", "cell", "compared", "kept", "label", "legend", "route"]

#: For pytest: an error of this module is one of the question, so show the line that asks.
__tracebackhide__ = True

_MEANING = {
    Reason.RECEIVED: "✓ got it",
    Reason.SENT: "✓ sent: the server sent it, more is not known",
    Reason.NO_HANDLER: "○ arrived, but no handler listens",
    Reason.RAISED: "⚡ its handler raised",
    Reason.SENDER: "↗ sent it",
    Reason.TO_SERVER: "· not addressed: a client's emit goes to the server",
    Reason.NOT_ADDRESSED: "· not meant: it was sent to others alone",
    Reason.ON_THE_WAY: "… on the way",
    Reason.FROZEN: "… frozen: waits unread",
    Reason.WAITING: "… waits in the queue",
}
#: Where one of them is between a client and another server.
_OUTSIDE = {
    Reason.SENT: "✓ sent: more is not known",
    Reason.TO_SERVER: "· not addressed: it is between a client and its server",
}
_NOT = "✗ did not get it"


class Deliveries:
    """The table of messages by clients: who got what, who did not, and why.

    Each question about an event raises `LookupError` if there is no such message in the table, and
    one about a client if there is none of that name; `event in …` asks whether there is one. What
    `who_got` and the others answer says why, and the plug-in for pytest shows it when an `assert`
    fails. What cannot be answered yet, since something is under way, raises `NotSettled`.
    """

    messages: tuple[Message, ...]
    names: tuple[str, ...]

    def __init__(
        self,
        messages: Sequence[Message],
        names: Sequence[str],
        cut: str = "",
        attempts: Sequence[Message] = (),
        under_way: str = "",
        everyone: Sequence[str] = (),
    ) -> None:
        """`names`: those that have a column; `everyone`: all who are known, also those without one:
        whose marks are taken."""
        #: The columns: the server, unless it has none, and the clients.
        self.columns = tuple(names)
        self.names = tuple(name for name in names if name != SERVER)
        self.marks = marks((*everyone, *self.names))
        self.messages = tuple(messages)
        self._cut = cut
        #: What was under way when this was asked for, in words.
        self._under_way = under_way
        #: The emits that carry attempts to deliver messages of queues.
        shown = {id(message) for message in self.messages}
        self._attempts = tuple(m for m in attempts if id(m.attempt_of) in shown)

    def who_got(self, event: str) -> set[str]:
        """Return the names of the clients whose handlers took the last message `event`; if that is
        from another server: it, or one like it, since there each client's is a message of its own.

        Those that have no handler for it are not among them; see `reached`.
        """
        return self._names_of(event, (Reason.RECEIVED,))

    def reached(self, event: str) -> set[str]:
        """Return the names of those at whom the last message `event` has arrived, whether or not a
        handler took it: so nobody else has seen it.

            assert stage.deliveries().reached("secret") == {"ann"}
        """
        return self._names_of(event, (*ARRIVED, Reason.NOT_UNDERSTOOD))

    def _names_of(self, event: str, reasons: Collection[Reason]) -> Got:
        called = [m for m in self._called(event) if not m.attempt_of]
        which = f", the last of {len(called)} called {event!r}" if len(called) > 1 else ""
        asked = alike(called, called[-1])
        explained = [(name, e.reason) for m in asked for name, e in m.explanations.items()]
        if waits := [name for name, reason in explained if reason is Reason.ON_THE_WAY]:
            raise NotSettled(
                f"{event!r} is still on its way to {', '.join(waits)}: await stage.settle() first"
            )
        names = {name for name, reason in explained if reason in reasons}
        return Got(asked, _about(called[-1], which), names)

    def got_in_order(self, client: str | Named, *events: str) -> Verdict:
        """Return whether the handlers of `client` took exactly these events, in this order; other
        events may be between them.

            assert stage.deliveries().got_in_order("bob", "joined", "news", "news")
        """
        return got_in_order(self._called(*events), self._known(client), events, self._cut)

    def got_once(self, client: str | Named, event: str) -> Verdict:
        """Return whether the handlers of `client` took `event` exactly once, whatever number of
        messages have that name; each attempt to deliver a message of a queue counts."""
        return got_once(self._called(event), self._known(client), event, self._cut)

    def nobody_got(self, event: str) -> Verdict:
        """Return whether no message `event` has arrived anywhere, nor is on its way: also not where
        no handler listens, or where it raised."""
        return nobody_got(self._called(event), event, self._cut)

    def __contains__(self, event: object) -> bool:
        there = self._has(event)
        self._check_settled(event, there)
        return there

    def _has(self, event: object) -> bool:
        return any(message.emitted.event == event for message in self.messages)

    def _check_settled(self, event: object, there: bool) -> None:
        if self._under_way and not there:
            raise NotSettled(
                f"nobody has emitted {event!r} yet, but {self._under_way}: await stage.settle() "
                "first"
            )

    def _called(self, *events: str) -> list[Message]:
        """Return the messages with these names, with the attempts to deliver them."""
        for event in events:
            self._check_settled(event, there := self._has(event))
            if not there:
                raise LookupError(
                    f"no message {event!r} in this table; there are: {self._events()}. If that is "
                    f"what you mean: assert {event!r} not in stage.deliveries()"
                )
        if not events:
            raise TypeError("name at least one event")
        return [m for m in (*self.messages, *self._attempts) if m.emitted.event in events]

    def _events(self) -> str:
        return ", ".join(sorted({repr(m.emitted.event) for m in self.messages})) or "none"

    def _known(self, client: str | Named) -> str:
        name = name_of(client)
        if name not in (SERVER, *self.names):
            raise LookupError(f"no client is called {name!r}; there are {[*self.names]}")
        return name

    def table(self) -> Table:
        """Return the table: a row for each message, a column for the server and each client; for
        the server only if something happens there."""
        rows = []
        queues = [*dict.fromkeys(m.life.queue for m in self.messages if m.life)]
        for message in self.messages:
            emitted = message.emitted
            cells = [cell(message.explanations.get(name)) for name in self.columns]
            states = [kept(message, queue) for queue in queues]
            rows.append([str(emitted.message), label(message), route(message), *states, *cells])
        every = [each for message in self.messages for each in message.explanations.values()]
        notes = [self._cut] if self._cut else []
        return Table(
            ("no.", "message", "from → to", *(f"queue {q}" for q in queues), *self.columns),
            rows,
            notes=[*notes, *legend(every)],
            marks=self.marks,
            stacked=3,
        )

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def compared(operator: str, left: object, right: object) -> list[str]:
    """Return what is to be said when a comparison with deliveries, or with what `who_got` has
    returned, does not hold, as lines; nothing if this knows no more than its reader."""
    if not isinstance(right, Deliveries):
        return comparison(operator, left, right)
    if operator == "in":
        return [f"{left!r} in deliveries", "", f"there are: {right._events()}"]
    found = [_about(m) for m in right.messages if m.emitted.event == left]
    return [f"{left!r} {operator} deliveries", "", *found]


def _about(message: Message, which: str = "") -> str:
    """Return a message in words, for a line of its own."""
    number = message.emitted.message
    return one_line(f"message {number}{which}: {label(message)}, {route(message)}", 200)


def legend(explanations: Collection[Explanation]) -> list[str]:
    """Return the legend of a table with these explanations, as one line or none."""
    used = {each.reason for each in explanations}
    outside = {each.reason for each in explanations if each.outside}
    told = {**_MEANING, **{reason: _OUTSIDE[reason] for reason in outside & _OUTSIDE.keys()}}
    texts = [text for reason, text in told.items() if reason in used]
    if used - set(_MEANING):
        texts.append(f"{_NOT}, and why")
    if any(each.late for each in explanations):
        texts.append("late: the server had given it up")
    if any(each.acknowledged is not None and not each.answered for each in explanations):
        texts.append("ack: its acknowledgement came back")
    if any(each.answered for each in explanations):
        texts.append("answered: it sent its acknowledgement")
    return ["   ".join(texts)] if texts else []


def cell(explanation: Explanation | None) -> str:
    """Return the mark of one message for one client, and its acknowledgement."""
    if explanation is None:
        return ""
    attempt = f" {explanation.attempt}" if explanation.attempt else ""
    how = ", answered" if explanation.answered else ", ack"
    acknowledged = "" if explanation.acknowledged is None else how
    if acknowledged and explanation.acknowledged:
        acknowledged += f" {explanation.acknowledged}"
    early = " before it was let in" if explanation.early else ""
    late = " late" if explanation.late else ""
    return explanation.reason.value + early + late + attempt + acknowledged


def kept(message: Message, queue: str) -> str:
    """Return the state of a message of this queue; "" if it is of another."""
    life = message.life
    if life is None or life.queue != queue:
        return ""
    detail = {"out": f" to {life.detail}", "dead": f": {life.detail}"}.get(life.state, "")
    return life.mark + detail


def label(message: Message) -> str:
    """Return the event and the data of a message."""
    emitted = message.emitted
    return f"{emitted.event} {emitted.data}".rstrip()


def route(message: Message) -> str:
    """Return sender, addressees and namespace of a message, in words."""
    emitted = message.emitted
    where = "" if emitted.namespace == "/" or emitted.queue else f" in {emitted.namespace}"
    nobody = " (nobody there)" if message.reached_nobody else ""
    return f"{emitted.sender} → {target(emitted)}{where}{nobody}"


assert set(_MEANING) >= set(ARRIVED), "each way of arriving has its sign explained"
