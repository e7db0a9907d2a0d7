"""The table of deliveries: messages by clients, a mark and a reason in each cell.

Owns the words for one message, its route and its explanations, and the table made of them. Must not
know: the stage, sockets, how a reason is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..journal.facts import SERVER
from .explain import ARRIVED, Explanation, Message, Reason
from .sentence import target
from .table import Table

__all__ = ["Deliveries", "cell", "label", "route"]

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
_NOT = "✗ did not get it"


class Deliveries:
    """The table of messages by clients: who got what, who did not, and why."""

    messages: tuple[Message, ...]
    names: tuple[str, ...]

    def __init__(self, messages: Sequence[Message], names: Sequence[str], cut: str = "") -> None:
        self.messages = tuple(messages)
        self.names = tuple(names)
        self._cut = cut

    def who_got(self, event: str) -> set[str]:
        """Return the names of the clients whose handlers took the last message `event`.

        Raises `LookupError` if there is no such message in the table.
        """
        for message in reversed(self.messages):
            if message.emitted.event == event:
                return message.got_by
        raise LookupError(f"no message {event!r} in this table")

    def table(self) -> Table:
        """Return the table: a row for each message, a column for the server and each client."""
        rows = []
        queues = [*dict.fromkeys(m.life.queue for m in self.messages if m.life)]
        for message in self.messages:
            emitted = message.emitted
            cells = [cell(message.explanations.get(name)) for name in (SERVER, *self.names)]
            kept = [_kept(message, queue) for queue in queues]
            rows.append([str(emitted.message), label(message), route(message), *kept, *cells])
        notes = [self._cut] if self._cut else []
        return Table(
            ("no.", "message", "from → to", *(f"queue {q}" for q in queues), SERVER, *self.names),
            rows,
            notes=[*notes, *self._legend()],
        )

    def _legend(self) -> list[str]:
        used = {v.reason for m in self.messages for v in m.explanations.values()}
        texts = [text for reason, text in _MEANING.items() if reason in used]
        if used - set(_MEANING):
            texts.append(f"{_NOT}, and why")
        if any(v.late for m in self.messages for v in m.explanations.values()):
            texts.append("late: the server had given it up")
        if any(v.acknowledged is not None for m in self.messages for v in m.explanations.values()):
            texts.append("ack: its acknowledgement came back")
        return ["   ".join(texts)] if texts else []

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def cell(explanation: Explanation | None) -> str:
    """Return the mark of one message for one client, and its acknowledgement."""
    if explanation is None:
        return ""
    attempt = f" {explanation.attempt}" if explanation.attempt else ""
    acknowledged = "" if explanation.acknowledged is None else ", ack"
    if acknowledged and explanation.acknowledged:
        acknowledged += f" {explanation.acknowledged}"
    early = " before it was let in" if explanation.early else ""
    late = " late" if explanation.late else ""
    return explanation.reason.value + early + late + attempt + acknowledged


def _kept(message: Message, queue: str) -> str:
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
