"""Facts: one frozen class for each kind of thing that can happen.

Owns the facts that a journal records and those that queues report to their observers. Must not
know: sources and observers of facts, sockets, python-socketio.

Queues name clients by sid and messages by their own ids (`Queued`); a stage records facts with
names ("ada") and numbers, never sids, ports or times, so that two runs of one script agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "EARLIER",
    "LEASE_ENDED",
    "OTHER_SERVER",
    "SERVER",
    "Acknowledged",
    "Connected",
    "Died",
    "Disconnected",
    "Emitted",
    "Ended",
    "Fact",
    "Froze",
    "HungUp",
    "Joined",
    "Killed",
    "Left",
    "MessageRef",
    "NotUnderstood",
    "QueueFact",
    "Queued",
    "Raised",
    "Received",
    "Redriven",
    "Rejected",
    "Returned",
    "Settled",
    "Stored",
    "Subscribed",
    "Thawed",
    "Tried",
    "Unsubscribed",
]

SERVER = "server"
#: Each server that a client of the stage has dialled instead, unless it has a name.
OTHER_SERVER = "another server"
#: The sender of messages that were in a queue before it had an observer.
EARLIER = "earlier"
#: The reason of `Returned` if the lease ended without an acknowledgement.
LEASE_ENDED = "its lease ended"


@dataclass(frozen=True, slots=True)
class Connected:
    """The server let `client` into `namespace`; `server`: which one."""

    client: str
    namespace: str
    server: str = SERVER


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server refused `client` in `namespace`; `server`: which one."""

    client: str
    namespace: str
    reason: str
    server: str = SERVER


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The server regards `client` as gone from `namespace`; `reason` is python-socketio's.

    `server`: which one. What another server regards as gone is not known: then it is the client for
    which its connection to `namespace` has ended.
    """

    client: str
    namespace: str
    reason: str
    server: str = SERVER


@dataclass(frozen=True, slots=True)
class Joined:
    """The server put `client` into `room`; the rooms 17 and "17" are two."""

    client: str
    namespace: str
    room: str | int


@dataclass(frozen=True, slots=True)
class Left:
    """The server removed `client` from `room`; `gone`: because its connection had ended."""

    client: str
    namespace: str
    room: str | int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class HungUp:
    """`client` itself ended its connection; the server may report another reason."""

    client: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The client's end of a connection is closed: what it has not read is lost."""

    client: str


@dataclass(frozen=True, slots=True)
class Froze:
    """`client` stopped reading its connection without closing it."""

    client: str


@dataclass(frozen=True, slots=True)
class Thawed:
    """`client` reads its connection again."""

    client: str


@dataclass(frozen=True, slots=True)
class Killed:
    """The process of `client` was killed: what it has not read is lost."""

    client: str


@dataclass(frozen=True, slots=True)
class Emitted:
    """`sender` emitted `event`.

    `rooms` and `clients`: the addressees; both empty: all clients (from a client: the server).
    `recipients`: those of them that were connected at that moment. `cause`: the number of the
    message whose handler emitted it. `queue`: it was stored in that queue, not sent; it is the
    `cause` of each attempt to deliver it.

    Of another server only that is seen which reaches a client, or is sent by it. So what comes from
    there is one message for each client, which alone is in `clients`, and what goes there has that
    server alone in `recipients`.
    """

    message: int
    sender: str
    event: str
    data: str
    namespace: str
    rooms: tuple[str | int, ...] = ()
    clients: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    cause: int | None = None
    queue: str = ""

    @property
    def server(self) -> str:
        """The server that sent it, or that it was sent to."""
        if self.sender == SERVER or self.queue:
            return SERVER
        if self.clients:
            return self.sender
        return self.recipients[0] if self.recipients else SERVER


@dataclass(frozen=True, slots=True)
class Received:
    """Message `message` arrived at `client` (or the server); `handled`: there is a handler."""

    message: int
    client: str
    handled: bool


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """The packet of message `message` arrived at `client` (or the server), which could not take it
    in: no handler was called."""

    message: int
    client: str
    error: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler of `client` (or the server) for `event` raised an exception."""

    client: str
    event: str
    error: str
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The packet acknowledgement of `client` for `message` came back to the sender; if that is
    another server: the client has sent it."""

    message: int
    client: str
    data: str


# -- facts of queues ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Queued:
    """A message of a queue as observers get it, with the queue's own id.

    Two are equal if queue and id are. A journal has the message's number in its place.
    """

    queue: str
    id: str
    event: str = field(default="", compare=False)
    data: Any = field(default=None, compare=False)


#: The message that a fact is about: as queues report it, or its number in a journal.
MessageRef = Queued | int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """`client` consumes `queue`."""

    client: str
    queue: str


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """`client` was unsubscribed from `queue`, or refused by its connect handler; not reported for a
    client that has left."""

    client: str
    queue: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The message is on stable storage; reported again if its key was known."""

    message: Queued


@dataclass(frozen=True, slots=True)
class Tried:
    """The delivery number `attempt` of the message is about to be sent to `client`."""

    message: MessageRef
    client: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Settled:
    """`client` acknowledged the current attempt: the message is deleted from its queue."""

    message: MessageRef
    client: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The attempt with `client` has ended for `reason`: the message is back in its queue (or about
    to be a dead letter)."""

    message: MessageRef
    client: str
    reason: str


@dataclass(frozen=True, slots=True)
class Died:
    """The message became a dead letter for `reason`."""

    message: MessageRef
    reason: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """The dead letter was put back into its queue."""

    message: MessageRef


#: The facts that queues report to their observers; clients are named by their sids.
QueueFact = Subscribed | Unsubscribed | Stored | Tried | Settled | Returned | Died | Redriven

Fact = (
    Connected
    | Rejected
    | Disconnected
    | Joined
    | Left
    | HungUp
    | Ended
    | Froze
    | Thawed
    | Killed
    | Emitted
    | Received
    | NotUnderstood
    | Raised
    | Acknowledged
    | Subscribed
    | Unsubscribed
    | Tried
    | Settled
    | Returned
    | Died
    | Redriven
)
