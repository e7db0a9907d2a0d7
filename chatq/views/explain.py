"""The reason why a client did, or did not, get a message.

Owns the reasons: for each message and each client exactly one, found from the journal alone.
Must not know: sockets, the stage, how a reason is drawn.

The journal is read once, in order, keeping the state of every client: the namespaces that it is in,
was refused by or has left, and its rooms. When a message is emitted, that state gives the reason
why a client will *not* get it; later facts (it arrived, the connection ended) replace that of those
that it was sent to.

The checks have an order, and the first that fails gives the reason: connected at all? to this
namespace? addressed? skipped? arrived?

A message between a client and another server concerns these two, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from ..journal.facts import (
    SERVER,
    Acknowledged,
    Connected,
    Died,
    Disconnected,
    Emitted,
    Ended,
    Fact,
    Froze,
    HungUp,
    Joined,
    Killed,
    Left,
    MessageRef,
    NotUnderstood,
    Raised,
    Received,
    Redriven,
    Rejected,
    Returned,
    Settled,
    Thawed,
    Tried,
)
from ..journal.journal import Journal

__all__ = [
    "Explanation",
    "Life",
    "Message",
    "Named",
    "Reason",
    "explain",
    "explanation_of",
    "name_of",
]


class Named(Protocol):
    """A client, a process or a guest: anything with a name in the scene."""

    name: str


class Reason(Enum):
    """The outcome of one message for one client; the value is its mark."""

    RECEIVED = "✓"
    SENT = "✓ sent"  # to whom nobody observes: a guest, a process, another server
    NO_HANDLER = "○"
    RAISED = "⚡"
    NOT_UNDERSTOOD = "✗ not understood"
    SENDER = "↗"
    TO_SERVER = "·"  # it is between another client and its server
    ON_THE_WAY = "…"
    FROZEN = "… frozen"
    NOT_YET = "✗ not yet"
    LEFT = "✗ gone"
    CUT_OFF = "✗ cut off"
    REFUSED = "✗ refused"
    OTHER_NAMESPACE = "✗ elsewhere"
    OTHER_SERVER = "✗ other server"
    NOT_ADDRESSED = "· not meant"
    NOT_IN_ROOM = "✗ not in room"
    LEFT_ROOM = "✗ left room"
    SKIPPED = "✗ skipped"
    LOST = "✗ lost"
    WAITING = "… in queue"
    OTHER_CONSUMER = "✗ to another"
    EXPIRED = "✗ expired"
    DEAD = "✗ dead"


#: Reasons with which the message reached the client's side of the connection.
ARRIVED = (Reason.RECEIVED, Reason.NO_HANDLER, Reason.RAISED)

_LEFT = "had left room {!r} before"
_AND_CAME_BACK = "was in room {!r} on an earlier connection, and has not joined again"
_GOODBYES = ("client disconnect", "server disconnect")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A reason, its detail, and the data of the packet acknowledgement if there was one.

    `early`: it went to all clients, before the `connect` handler had accepted this one; `given_up`:
    the client was frozen, and the server gave it up before it read this; `outside`: it is between a
    client and another server; `place`: the number of the fact that it had arrived.
    """

    reason: Reason
    detail: str = ""
    acknowledged: str | None = None
    early: bool = False
    given_up: bool = False
    outside: bool = False
    attempt: str = ""  # of a message of a queue: its number, and how it ended
    place: int = 0

    @property
    def late(self) -> bool:
        """Return whether the client read it when the server had given it up."""
        return self.given_up and self.reason in ARRIVED

    @property
    def answered(self) -> bool:
        """Return whether it is the client that has seen its own acknowledgement leave; else the
        sender has seen it come back."""
        return self.outside and self.acknowledged is not None and self.reason is not Reason.SENT


@dataclass(slots=True)
class Life:
    """The life of a message of a queue: its state, and its attempts."""

    queue: str
    state: str = "waits"  # or: out, settled, expired, dead
    detail: str = ""  # the client, or the reason
    #: By client: the number of its last attempt, how that ended, and the emit that carried it.
    attempts: dict[str, tuple[int, str, Message | None]] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """The state as a sign and a word."""
        signs = {"waits": "… waits", "out": "→ out", "settled": "✓ settled"}
        return signs.get(self.state, f"✗ {self.state}")


@dataclass(frozen=True, slots=True)
class Message:
    """One emit and its explanations, by name of the client (and of the server)."""

    emitted: Emitted
    explanations: dict[str, Explanation]
    cause_sender: str | None
    life: Life | None = None
    #: The message of a queue that this emit is a delivery attempt of.
    attempt_of: Message | None = None

    @property
    def got_by(self) -> set[str]:
        """The names of the clients whose handlers took the message without raising."""
        return {name for name, v in self.explanations.items() if v.reason is Reason.RECEIVED}

    @property
    def from_other_server(self) -> bool:
        """Return whether it came from another server than the stage's."""
        return self.emitted.sender == self.emitted.server != SERVER

    @property
    def reached_nobody(self) -> bool:
        """Return whether the server had no client to send this to."""
        return self.emitted.sender == SERVER and not (self.emitted.recipients or self.life)


@dataclass
class _Standing:
    """The state of all clients after the facts read so far."""

    namespaces: dict[tuple[str, str], Fact] = field(default_factory=dict)
    polite: dict[tuple[str, str], bool] = field(default_factory=dict)
    #: How it left the room; empty while it is in.
    rooms: dict[tuple[str, str, str | int], str] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    hung_up: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    #: By client, the other server that it is connected to, and the namespaces there.
    outside: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    servers: set[str] = field(default_factory=set)

    def read(self, fact: Fact) -> None:
        match fact:
            case Connected() | Rejected() | Disconnected() if fact.server != SERVER:
                self._moved_outside(fact)
            case Connected() | Rejected() | Disconnected():
                self._moved(fact)
            case HungUp():
                self.hung_up.add(fact.client)
            case Joined():
                self.rooms[fact.client, fact.namespace, fact.room] = ""
            case Left():
                how = _AND_CAME_BACK if fact.gone else _LEFT
                self.rooms[fact.client, fact.namespace, fact.room] = how.format(fact.room)
            case Froze():
                self.frozen.add(fact.client)
            case Thawed():
                self.frozen.discard(fact.client)
            case Ended() | Killed():
                self.frozen.discard(fact.client)
                self.ended.add(fact.client)

    def _moved(self, fact: Connected | Rejected | Disconnected) -> None:
        key = (fact.client, fact.namespace)
        self.namespaces.pop(key, None)  # the newest stands last
        self.namespaces[key] = fact
        match fact:
            case Connected():
                self.hung_up.discard(fact.client)
                self.ended.discard(fact.client)
            case Disconnected():
                # A "transport close" for the server may have been a disconnect of the client.
                self.polite[key] = fact.reason in _GOODBYES or fact.client in self.hung_up

    def _moved_outside(self, fact: Connected | Rejected | Disconnected) -> None:
        self.servers.add(fact.server)
        server, inside = self.outside.pop(fact.client, ("", set[str]()))
        inside = inside if server == fact.server else set()
        change = inside.add if isinstance(fact, Connected) else inside.discard
        change(fact.namespace)
        if inside:
            self.outside[fact.client] = (fact.server, inside)

    def only_servers(self) -> set[str]:
        """Return the names of other servers that are no clients of the stage's."""
        return self.servers - {client for client, _ in self.namespaces}

    def absent(self, client: str, emitted: Emitted) -> Explanation:
        """Return why `client` is not among those the server sends `emitted` to."""
        namespace = emitted.namespace
        fact = self.namespaces.get((client, namespace))
        if not isinstance(fact, Connected):
            return self._outside(client, fact)
        if emitted.rooms or emitted.clients:
            inside = [self.rooms.get((client, namespace, room)) for room in emitted.rooms]
            if client not in emitted.clients and "" not in inside:
                if left := [how for how in inside if how]:
                    return Explanation(Reason.LEFT_ROOM, left[0])
                return Explanation(Reason.NOT_IN_ROOM if emitted.rooms else Reason.NOT_ADDRESSED)
        return Explanation(Reason.SKIPPED)

    def _outside(self, client: str, fact: Fact | None) -> Explanation:
        """Return why a client is not in the namespace; `fact`: its last one about that."""
        if client in self.outside:
            return Explanation(Reason.OTHER_SERVER, self.outside[client][0])
        if fact is None:  # never there: is it, or was it, anywhere else?
            elsewhere = [f for (name, _), f in self.namespaces.items() if name == client]
            if any(isinstance(f, Connected) for f in elsewhere):
                return Explanation(Reason.OTHER_NAMESPACE)
            left = [f for f in elsewhere if isinstance(f, Disconnected)]
            fact = left[-1] if left else None
        match fact:
            case Rejected(reason=reason):
                return Explanation(Reason.REFUSED, reason)
            case Disconnected(namespace=namespace, reason=reason):
                polite = self.polite[client, namespace]
                return Explanation(Reason.LEFT if polite else Reason.CUT_OFF, reason)
        return Explanation(Reason.NOT_YET)


def explain(
    journal: Journal,
    clients: Iterable[str],
    guests: Iterable[str] = (),
    *,
    over: bool = False,
) -> list[Message]:
    """Return the messages that the journal keeps, oldest first, explained for each client.

    `clients`: the names of all clients, and of other servers; `guests`: those among them whose side
    is not observed;
    `over`: all connections have ended, so messages that have not arrived are lost.
    """
    names, unseen = [*clients], {*guests}
    standing = _Standing()
    for fact in journal.standing():
        standing.read(fact)
    messages: dict[MessageRef, Message] = {}
    for place, fact in enumerate(journal, journal.forgotten + 1):
        standing.read(fact)
        match fact:
            case Emitted():
                cause = messages.get(fact.cause) if fact.cause is not None else None
                found = _at_emit if fact.server == SERVER else _between
                messages[fact.message] = message = Message(
                    fact,
                    {name: found(name, fact, standing, unseen) for name in [SERVER, *names]},
                    cause.emitted.sender if cause else None,
                    Life(fact.queue) if fact.queue else None,
                    cause if cause and cause.life else None,
                )
                _note_carrier(message)
            case Tried() | Settled() | Returned() | Died() | Redriven():
                if (lived := messages.get(fact.message)) and lived.life:
                    _update(lived.life, fact)
            case Disconnected(server=server) if server == SERVER:
                _server_ended(messages.values(), fact)
            case Ended() | Killed():
                _client_ended(messages.values(), fact.client)
            case Froze() | Thawed():
                _froze(messages.values(), fact, unseen)
            case Received() | NotUnderstood() | Raised() | Acknowledged() if (
                fact.message in messages
            ):
                _arrived(messages[fact.message], fact, place)
    if over:
        for name in (SERVER, *names):
            _client_ended(messages.values(), name)
    for message in messages.values():
        if message.life:
            for name in names:
                message.explanations[name] = _of_queue(message.life, name)
        if message.emitted.server == SERVER:
            for name in standing.only_servers() & message.explanations.keys():
                message.explanations[name] = Explanation(Reason.TO_SERVER, outside=True)
    return [*messages.values()]


def _note_carrier(message: Message) -> None:
    """Note that this emit carries an attempt of a message of a queue."""
    stored = message.attempt_of
    for name in message.emitted.recipients if stored else ():
        if stored and stored.life and name in stored.life.attempts:
            number, end, _ = stored.life.attempts[name]
            stored.life.attempts[name] = (number, end, message)


def _update(life: Life, fact: Tried | Settled | Returned | Died | Redriven) -> None:
    match fact:
        case Tried(client=client, attempt=attempt):
            life.attempts[client] = (attempt, "", None)
            life.state, life.detail = "out", client
        case Settled(client=client) | Returned(client=client) if client in life.attempts:
            number, _, carrier = life.attempts[client]
            end = fact.reason if isinstance(fact, Returned) else "settled"
            life.attempts[client] = (number, end, carrier)
            life.state, life.detail = ("settled", client) if end == "settled" else ("waits", "")
        case Died(reason=reason):
            life.state, life.detail = ("expired", "") if reason == "expired" else ("dead", reason)
        case Redriven():
            life.state, life.detail = "waits", ""


_STATES = {"waits": Reason.WAITING, "expired": Reason.EXPIRED, "dead": Reason.DEAD}


def _of_queue(life: Life, name: str) -> Explanation:
    """Explain a message of a queue for a client: by its last attempt, or by its state."""
    if name in life.attempts:
        number, end, carrier = life.attempts[name]
        explanation = carrier.explanations[name] if carrier else Explanation(Reason.ON_THE_WAY)
        answer = None if end == "settled" else explanation.acknowledged
        return replace(
            explanation,
            acknowledged=answer,
            attempt=f"attempt {number}" + (f", {end}" if end else ""),
        )
    return Explanation(_STATES.get(life.state, Reason.OTHER_CONSUMER), life.detail)


def _at_emit(name: str, emitted: Emitted, standing: _Standing, unseen: set[str]) -> Explanation:
    if emitted.queue:  # the other explanations follow when all facts are read
        return Explanation(Reason.SENDER if emitted.sender == SERVER else Reason.TO_SERVER)
    if name == emitted.sender:
        return Explanation(Reason.SENDER)
    if name in emitted.recipients:
        client = emitted.sender if name == SERVER else name
        gone = standing.namespaces.get((client, emitted.namespace))
        if isinstance(gone, Disconnected):  # for the server the connection has ended
            return Explanation(Reason.LOST) if name == SERVER else standing.absent(name, emitted)
        # An emit to it alone is meant to be early; one to all clients is a leak.
        meant = name == SERVER or name in emitted.clients
        early = not meant and not isinstance(gone, Connected)
        if name in standing.ended:  # the server has not noticed yet
            return Explanation(Reason.LOST)
        if name in standing.frozen:
            return Explanation(Reason.FROZEN, early=early)
        return Explanation(Reason.SENT if name in unseen else Reason.ON_THE_WAY, early=early)
    if emitted.sender != SERVER:
        return Explanation(Reason.TO_SERVER)
    return standing.absent(name, emitted)


def _between(name: str, emitted: Emitted, standing: _Standing, unseen: set[str]) -> Explanation:
    """Explain a message between a client and another server."""
    if name == emitted.sender:
        return Explanation(Reason.SENDER, outside=True)
    if name in emitted.recipients:
        reason = Reason.SENT if name == emitted.server else Reason.ON_THE_WAY
        return Explanation(reason, outside=True)
    return Explanation(Reason.TO_SERVER, outside=True)


_PENDING = (Reason.ON_THE_WAY, Reason.FROZEN)


def _server_ended(messages: Iterable[Message], ended: Disconnected) -> None:
    for message in messages:
        emitted, explanation = message.emitted, message.explanations[SERVER]
        if emitted.namespace != ended.namespace:
            continue
        if emitted.sender == ended.client and explanation.reason in _PENDING:
            message.explanations[SERVER] = Explanation(Reason.LOST)
        unread = message.explanations.get(ended.client)
        if unread and unread.reason is Reason.FROZEN:
            message.explanations[ended.client] = replace(unread, given_up=True)


def _client_ended(messages: Iterable[Message], name: str) -> None:
    for message in messages:
        explanation = message.explanations.get(name)
        if explanation and explanation.reason in _PENDING:
            message.explanations[name] = Explanation(Reason.LOST)


def _froze(messages: Iterable[Message], fact: Froze | Thawed, unseen: set[str]) -> None:
    before, after = Reason.ON_THE_WAY, Reason.FROZEN
    if isinstance(fact, Thawed):
        before, after = after, Reason.SENT if fact.client in unseen else before
    for message in messages:
        explanation = message.explanations.get(fact.client)
        if explanation and explanation.reason is before:
            message.explanations[fact.client] = replace(explanation, reason=after)


def _arrived(
    message: Message, fact: Received | NotUnderstood | Raised | Acknowledged, place: int
) -> None:
    explanation = message.explanations.get(fact.client)
    if explanation is None:
        return
    match fact:
        case Received(handled=handled):
            reason = Reason.RECEIVED if handled else Reason.NO_HANDLER
            explanation = replace(explanation, reason=reason, place=place)
        case NotUnderstood(error=error):
            explanation = replace(explanation, reason=Reason.NOT_UNDERSTOOD, detail=error)
        case Raised(error=error):
            explanation = replace(explanation, reason=Reason.RAISED, detail=error)
        case Acknowledged(data=data):
            explanation = replace(explanation, acknowledged=data)
    message.explanations[fact.client] = explanation


def explanation_of(message: Message, client: str) -> Explanation:
    """Return the explanation on `message` for `client`.

    Raises `LookupError` if there is no client of that name.
    """
    explanation = message.explanations.get(client)
    if explanation is None:
        known = [name for name in message.explanations if name != SERVER]
        raise LookupError(f"no client is called {client!r}; there are {known}")
    return explanation


def name_of(client: str | Named) -> str:
    """Return the name of a client that is given by it, or as the object that `Stage` returned."""
    return client if isinstance(client, str) else client.name
