"""The layout of a diagram: the columns, the rows, and who is connected at each row.

Owns the translation of the journal into rows, the sign and the words of each, and the legend. Must
not know: the stage, sockets, how it is drawn.

To read the diagram: one column for the server and one for each client, time runs down, and a row is
one fact; distances mean nothing. A client's line is drawn while it is connected, and that of
another server from when it is heard of. A message is one row: it leaves the sender (●), and ends at
each column in the mark of what became of it. A mark is always a sign, never a colour alone; the
legend is under the picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..journal.facts import (
    SERVER,
    Connected,
    Died,
    Disconnected,
    Emitted,
    Fact,
    Froze,
    HungUp,
    Joined,
    Killed,
    Left,
    NotUnderstood,
    Raised,
    Received,
    Redriven,
    Rejected,
    Returned,
    Settled,
    Subscribed,
    Thawed,
)
from .deliveries import cell, label, route
from .explain import Explanation, Message, Reason
from .looks import Mark, marks
from .story import told
from .table import one_line

__all__ = ["Layout", "Row", "Sign", "broken", "lay_out", "legend", "queue_key"]


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign while it stands, in a diagram that is told step by step: from the step `begin` on
    (None: as long as its row) until the step `end`, which it is not at (None: to the last)."""

    sign: str
    tip: str
    begin: int | None
    end: int | None


@dataclass(slots=True)
class Row:
    """One row of the diagram: its signs by column, and its text; a message also has a route."""

    text: str
    signs: dict[int, str]
    route: str = ""
    tips: dict[int, str] = field(default_factory=dict)
    #: The sequence number of its fact.
    number: int = 0
    #: The number of the message in the table that it is about; 0: it is about none.
    message: int = 0
    #: The signs by column, each as long as it stands; None: no other moment is told than this one.
    history: dict[int, list[Sign]] | None = None


@dataclass
class Layout:
    """The columns, the rows, and the columns that are connected at each row."""

    names: list[str]
    rows: list[Row]
    alive: list[set[int]]
    #: The names in full; a queue's begins with its sign.
    keys: list[str]
    #: The place of each name among all, the server's is 0; None: a queue.
    places: list[int | None]
    #: The mark of each client; None: it has none.
    marks: list[Mark | None]
    #: Whether one of the columns is another server's.
    outside: bool = False


def lay_out(
    facts: Sequence[Fact],
    messages: Sequence[Message],
    names: Sequence[str],
    forgotten: int,
    strangers: Collection[str],
    *,
    all_rows: bool = False,
) -> Layout:
    """Return the layout of these facts; `names`: the clients; `forgotten`: the number of facts
    before; `strangers`: those of `names`, or the server, that no message is about. What happens to
    them is shown with `all_rows`, as one needs who tells a scene in which they may be met later."""
    every = [SERVER, *names]
    names = [
        name for name in names if name not in strangers or (all_rows and _concern(facts, name))
    ]
    # Queues stand between the server and the clients; no client's name looks like these.
    queues = [*dict.fromkeys(m.life.queue for m in messages if m.life)]
    own = [SERVER] if SERVER not in strangers else []
    heads = [*own, *(queue_key(queue) for queue in queues), *names]
    columns = {name: i for i, name in enumerate(heads)}
    by_number = {m.emitted.message: m for m in messages}
    shown: list[Row] = []
    emits: dict[int, int] = {}  # by message, the place of its row
    thawed: dict[int, int] = {}  # by column, the place of the row where it thawed last
    alive: list[set[int]] = []
    inside: dict[int, set[tuple[str, str]]] = {}
    servers, outside = {*range(len(own) + len(queues))}, False  # these have a line, clients or not

    def row(fact: Fact, column: int, sign: str) -> None:
        shown.append(Row(one_line(told(fact, by_number)), {column: sign}))

    for number, fact in enumerate(facts, forgotten + 1):
        column = columns.get(getattr(fact, "client", SERVER), -1)
        match fact:
            case Emitted() if fact.message in by_number:
                emits[fact.message] = len(shown)
                shown.append(_message_row(by_number[fact.message], columns, strangers))
            case Connected(namespace=namespace) if column >= 0:
                inside.setdefault(column, set()).add((fact.server, namespace))
                row(fact, column, "┬")
            case Rejected() if column >= 0:
                row(fact, column, "✗")
            case Disconnected(namespace=namespace) if column >= 0:
                inside.setdefault(column, set()).discard((fact.server, namespace))
                row(fact, column, "┴")
            case Joined() if column >= 0:
                row(fact, column, "+")
            case Left(gone=False) if column >= 0:  # who is gone has a row already
                row(fact, column, "−")
            case HungUp() if column >= 0:
                row(fact, column, "↓")
            case Froze() if column >= 0:
                row(fact, column, "‖")
            case Received() | NotUnderstood() if emits.get(fact.message, len(shown)) <= thawed.get(
                column, -1
            ):
                shown.append(_arrival(by_number[fact.message], fact.client, column))
                sent = shown[emits[fact.message]]
                sent.signs[column] = Reason.FROZEN.value[0]
                sent.tips[column] = f"{fact.client}: waits until it thaws"
            case Thawed() if column >= 0:
                thawed[column] = len(shown)
                row(fact, column, "▸")
            case Killed() if column >= 0:
                row(fact, column, "†")
            case Subscribed() if column >= 0:
                row(fact, column, "⊕")
            case Settled() | Returned() | Died() | Redriven() if fact.message in emits:
                if by_number[fact.message].life:
                    shown.append(_life_row(by_number[fact.message], fact, columns))
            case Raised() if column >= 0:
                row(fact, column, "⚡")
        if isinstance(fact, Connected | Rejected | Emitted) and fact.server in columns:
            servers.add(columns[fact.server])  # from here on it is heard of
            outside = outside or fact.server != SERVER
        elif isinstance(fact, Killed):
            servers.discard(column)
        while len(alive) < len(shown):
            shown[len(alive)].number = number
            alive.append({*servers, *(c for c, spaces in inside.items() if spaces)})
    places = [every.index(name) if name in every else None for name in heads]
    marked = marks(every[1:])
    names, given = [one_line(name, 20) for name in heads], [marked.get(name) for name in heads]
    return Layout(names, shown, alive, heads, places, given, outside)


def _concern(facts: Sequence[Fact], name: str) -> bool:
    return any(getattr(fact, "client", None) == name for fact in facts)


def _message_row(message: Message, columns: dict[str, int], strangers: Collection[str]) -> Row:
    signs, tips = {}, {}
    stored, number = message.attempt_of, message.emitted.message
    if message.life:
        signs = {columns[queue_key(message.life.queue)]: "▣"}
        if message.emitted.sender == SERVER:
            signs[0] = "●"
        return Row(one_line(label(message)), signs, one_line(route(message)), message=number)
    if stored and stored.life:
        source = columns[queue_key(stored.life.queue)]
        ends = [name for name in message.emitted.recipients if name in columns]
        signs = {source: "●", **{columns[n]: message.explanations[n].reason.value[0] for n in ends}}
        text = f"to {', '.join(ends)}"
        number = stored.emitted.message
        return Row(one_line(label(message)), signs, one_line(text), message=number)
    for name, explanation in message.explanations.items():
        if name not in columns or name in strangers or explanation.reason is Reason.TO_SERVER:
            continue
        signs[columns[name]] = _sign(explanation)
        tips[columns[name]] = one_line(f"{name}: {cell(explanation)}")
    text, way = one_line(label(message)), one_line(route(message))
    return Row(text, signs, way, tips, message=number)


#: It was not addressed to these: no failure.
_NOT_ADDRESSED = (
    Reason.NOT_ADDRESSED,
    Reason.NOT_IN_ROOM,
    Reason.LEFT_ROOM,
    Reason.SKIPPED,
    Reason.OTHER_NAMESPACE,
)


def _sign(explanation: Explanation) -> str:
    reason = explanation.reason
    if reason is Reason.SENDER:
        return "●"
    if reason is Reason.SENT and explanation.outside and explanation.acknowledged is None:
        return "?"
    return "·" if reason in _NOT_ADDRESSED else reason.value[0]


def _arrival(message: Message, client: str, column: int) -> Row:
    """Return the row of a message that a client reads only now, since it was frozen."""
    explanation = message.explanations[client]
    late = ", late" if explanation.given_up else ""
    text = one_line(f"{label(message)} arrives at {client}{late}")
    tip = one_line(f"{client}: {cell(explanation)}")
    signs = {column: explanation.reason.value[0]}
    return Row(
        text, signs, tips={column: tip}, message=(message.attempt_of or message).emitted.message
    )


def queue_key(name: str) -> str:
    """Return the name of a queue's column, which no client has."""
    return f"▤ {name}"


def _life_row(
    message: Message, fact: Settled | Returned | Died | Redriven, columns: dict[str, int]
) -> Row:
    assert message.life is not None
    column = columns[queue_key(message.life.queue)]
    what, number = label(message), message.emitted.message
    signs, route = {column: "↺"}, ""
    match fact:
        case Settled(client=client) if client in columns:
            text, signs = f"{what}: settled", {column: "■", columns[client]: "●"}
            route = f"{client} answers with its receipt"
        case Returned(client=client, reason=reason):
            text = f"{what} of {client} is back: {reason}"
        case Died(reason=reason):
            text, signs = f"{what} is dead: {reason}", {column: "✗"}
        case _:
            text = f"{what} is back: redriven"
    return Row(one_line(text), signs, route, message=number)


_SIGNS = (
    "● sends   ✓ got it   ○ arrived, no handler   ✗ did not get it   · not addressed"
    "   … on the way, or unread   ? sent, more is not known"
    "   ⚡ raised   ┬ connects   ↓ hangs up   ┴ is gone for the server   + joins   ⊕ consumes"
    "   − leaves   ‖ freezes   ▸ thaws   † is killed   ▣ is stored   ■ is settled, and gone"
    "   ↺ is back in the queue"
)


def legend(layout: Layout) -> str:
    """Return the legend of the signs that are used."""
    used = {sign for row in layout.rows for sign in row.signs.values()}
    histories = [row.history for row in layout.rows if row.history]
    used |= {one.sign for history in histories for each in history.values() for one in each}
    texts = _SIGNS.split("   ")
    if layout.outside:
        texts = [f"{text}, or off another" if text[0] == "┴" else text for text in texts]
    return "   ".join(text for text in texts if text[0] in used)


def broken(text: str, longest: int) -> list[str]:
    """Return a legend as lines of at most `longest` characters, broken between its signs."""
    lines: list[str] = []
    for part in filter(None, text.split("   ")):
        if lines and len(lines[-1]) + 3 + len(part) <= longest:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return lines
