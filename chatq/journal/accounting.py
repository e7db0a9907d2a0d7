"""Accounting of one connection, shared by both taps: packets on the way, sends matched to arrivals.

Owns the matching of each send with its arrival, and the count of packets on the way over one
connection. Must not know: python-socketio, the stage, reasons, pictures.

The matching: a connection delivers in order, so each direction of it has one FIFO queue with an
entry for each packet: the number of the message that it carries a part of, or None. An entry is
appended when the library queues the packet, and removed when the other side reads it. So a packet
that the other side cannot take in keeps its place, and is not taken for the next one.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar

from .. import waiting
from .activity import Activity, Work
from .facts import OTHER_SERVER, SERVER, Emitted, NotUnderstood, Raised
from .journal import Journal, preview

__all__ = [
    "Failure",
    "Incoming",
    "Link",
    "Recorder",
    "Sending",
    "Tasks",
    "cause",
    "read",
    "sending",
]

#: The event of the handler that raised ("": it was none), what went wrong, and the exception.
Failure = tuple[str, str, Exception]


class Sending:
    """The number of a message that is being sent; None when it has been, for what was begun
    meanwhile and goes on."""

    __slots__ = ("message",)

    def __init__(self, message: int | None) -> None:
        self.message = message


#: The message that is being sent here, and the number of the one that is being read here.
sending: ContextVar[Sending] = ContextVar("chatq_sending", default=Sending(None))  # noqa: B039
read: ContextVar[int | None] = ContextVar("chatq_read", default=None)
#: The number of the message whose handler is running here.
cause: ContextVar[int | None] = ContextVar("chatq_cause", default=None)


class Recorder:
    """The sink of the taps of one stage: the journal, the activity, and the handlers' errors."""

    activity: Activity

    def __init__(self, journal: Journal, hidden: frozenset[str] = frozenset()) -> None:
        self.journal = journal
        #: The namespaces of which nothing is recorded.
        self.hidden = hidden
        self.activity = Activity()
        #: What went wrong since it was last asked.
        self.failures: list[Failure] = []
        #: The other servers of which there are facts; and the name of the one at an address.
        self.other_servers: dict[str, None] = {}
        self.server_at: Callable[[str], str] = lambda url: OTHER_SERVER
        self._recipients: tuple[str, ...] = (SERVER,)  # of the last emit

    def _is_new(self, error: Exception) -> bool:
        return not any(error is seen for *_, seen in self.failures)

    def raised(self, who: str, event: str, error: Exception) -> None:
        """Record, once, that a handler raised `error`; settling will show it."""
        if self._is_new(error):
            told = _told(error)
            self.failures.append((event, f"{who}'s handler of {event!r} raised {told}", error))
            self.journal.append(Raised, who, event, told, cause.get())

    def background_raised(self, task: str, error: Exception) -> None:
        """Note that a background task raised `error`; settling will show it."""
        if self._is_new(error):
            self.failures.append(("", f"a background task, {task}, raised {_told(error)}", error))

    def not_understood(self, who: str, message: int, error: Exception) -> None:
        """Record that the packet of this message could not be taken in; settling will show it."""
        told = _told(error)
        emit = self.emit(message)
        what = repr(emit.event) if emit is not None else "a message"
        self.failures.append(("", f"{who} could not take in {what}: {told}", error))
        self.journal.append(NotUnderstood, message, who, told)

    def emit(self, message: int | None) -> Emitted | None:
        """Return the emit of this message, unless the journal has dropped it."""
        emits = (fact for fact in self.journal if isinstance(fact, Emitted))
        return next((emit for emit in emits if emit.message == message), None)

    def emitted(
        self,
        sender: str,
        event: object,
        data: object,
        namespace: str,
        rooms: tuple[str | int, ...] = (),
        clients: tuple[str, ...] = (),
        skipped: tuple[str, ...] = (),
        recipients: tuple[str, ...] = (SERVER,),
        queue: str = "",
    ) -> int:
        """Record an emit; return the number of its message."""
        # A tuple is several arguments and None is no argument, as in python-socketio.
        args = data if isinstance(data, tuple) else () if data is None else (data,)
        number = self.journal.number()
        if recipients == self._recipients:  # most emits reach those that the one before has reached
            recipients = self._recipients
        else:
            self._recipients = recipients
        # What is as by default takes no room.
        why = cause.get()
        rest = (why, queue) if queue else () if why is None else (why,)
        self.journal.append(
            Emitted,
            number,
            sender,
            str(event),
            preview(args),
            namespace,
            rooms,
            clients,
            skipped,
            recipients,
            *rest,
        )
        return number


class Tasks(waiting.Tasks):
    """Background tasks of a server or a client, each with its event ("": no handler)."""

    def events(self) -> list[str]:
        """Return the events whose handlers have not returned."""
        return [event for task, event in self.items() if event and not task.done()]

    async def cancel(self, within: float = 0.5) -> list[str]:
        """Cancel those that still run; warns of those that refuse."""
        refusing = await super().cancel(within)
        if refusing:
            warnings.warn(f"refuses to be cancelled: {', '.join(refusing)}", stacklevel=2)
        return refusing


def _told(error: Exception) -> str:
    first, *more = str(error).split("\n")  # of an `assert` that pytest explains
    return f"{type(error).__name__}: {first}{' …' if more else ''}"[:200]


class Incoming:
    """One direction of a connection: the packets on the way to `who`, and what becomes of them."""

    def __init__(self, who: str, recorder: Recorder) -> None:
        self._who, self._recorder = who, recorder
        #: For each packet on the way the number of its message, or None.
        self.packets: deque[int | None] = deque()
        self._partial: int | None = None  # the message whose attachments are waited for
        self._failed: int | None = None  # the last one that could not be taken in

    def message(self) -> int | None:
        """Return the message whose attachment the packet is taken for that is read now."""
        return self._partial

    def taken(
        self, number: int | None, error: Exception | None, *, waited: bool, waits: bool
    ) -> None:
        """Note what became of the packet with this number; of one that is taken in at once, and
        whole, nothing needs to be noted.

        `error`: what taking it in has raised; `waited`, `waits`: whether the reader was waiting for
        attachments before, and is waiting for some now.
        """
        partial = self._partial if waited else None
        if error is None and waited and number not in (None, partial):
            error, partial = ValueError("it was taken for an attachment of another message"), None
        if error is not None:
            for each in (partial, number):
                if each not in (None, self._failed):  # one message may be several packets
                    self._failed = each
                    self._recorder.not_understood(self._who, each, error)
            self._partial = None
        elif not waited:
            self._partial = number if waits else None


class Link:
    """One connection: the packets on the way over it, and which of its two ends are open."""

    #: The name of the server at its other end, and the recipients of what is sent there.
    server = SERVER
    recipients: tuple[str, ...] = (SERVER,)
    server_open: bool
    client_open: bool
    frozen: bool

    def __init__(self, name: str, recorder: Recorder, *, watched: bool) -> None:
        self.name = name
        self.activity = recorder.activity
        #: False for a client that is not the stage's: only the server's end is observed.
        self.watched = watched
        self.to_client = Incoming(name, recorder)
        self.to_server = Incoming(SERVER, recorder)
        #: Message numbers by (sid, the library's acknowledgement id).
        self.acks: dict[tuple[str, int], int] = {}
        self.server_open = True
        self.client_open = False
        #: Whether it was in a namespace, and has left the last one.
        self.departed = False
        self.frozen = False
        self._closing = False
        self._down = self._down_read = self._up = self._up_read = 0
        self._down_work: Work = ("packet", name, "")
        self._up_work: Work = ("packet", f"{SERVER} from {name}", "")
        self._goodbye: Work = ("goodbye", name, "")

    def client_opened(self) -> None:
        """Note that the client's end is open."""
        self.client_open = True
        if not self.server_open:
            self.leaving()

    # For each direction: a packet is on the way from when it is sent until it has arrived, that is,
    # until its handler has ended. In between it is read: from then on it will arrive, even if the
    # connection ends meanwhile.

    def sent_down(self, message: int | None) -> None:
        """Note that the server queued a packet for the client: of this message, if of any."""
        if self.client_open:
            self.to_client.packets.append(message)
            self._down += 1
            if not self.frozen:
                self.activity.begin(self._down_work)

    def read_down(self) -> int | None:
        """Note that the client read a packet; return the number of its message."""
        self._down_read += 1
        if not self.client_open:  # read while disconnecting: it was counted as lost already
            self._down += 1
            self.activity.begin(self._down_work)
        packets = self.to_client.packets
        return packets.popleft() if packets else None

    def arrived_down(self) -> None:
        """Note that the client has handled a packet that it had read."""
        self._down_read -= 1
        if self._down:
            self._down -= 1
            if not self.frozen:
                self.activity.end(self._down_work)

    def client_closed(self, reason: str = "") -> None:
        """Note that the client's end is closed: unread packets are lost. `reason`: the client's,
        where the server does not tell its own."""
        if self.client_open:
            self.freeze(False)
            self.client_open = False
            unread = max(0, self._down - self._down_read)
            self.activity.end(self._down_work, unread)
            self._down -= unread
            self.leaving()

    def sent_up(self, message: int | None) -> None:
        """Note that the client queued a packet for the server: of this message, if of any."""
        if self.server_open:
            self.to_server.packets.append(message)
            self._up += 1
            self.activity.begin(self._up_work)

    def read_up(self) -> int | None:
        """Note that the server read a packet; return the number of its message."""
        self._up_read += 1
        if not self.watched or not self.server_open:  # not counted yet, or counted as lost already
            self._up += 1
            self.activity.begin(self._up_work)
        packets = self.to_server.packets
        return packets.popleft() if packets else None

    def arrived_up(self) -> None:
        """Note that the server has handled a packet that it had read."""
        self._up_read -= 1
        if self._up:
            self._up -= 1
            self.activity.end(self._up_work)

    def server_closed(self) -> None:
        """Note that the server's end is closed: unread packets are lost."""
        if self.server_open:
            self.server_open = False
            unread = max(0, self._up - self._up_read)
            self.activity.end(self._up_work, unread)
            self._up -= unread
            self.leaving()

    def leaving(self) -> None:
        """Note that the connection is closing: that is under way until both ends are closed."""
        before, self._closing = self._closing, self.server_open or self.client_open
        if self._closing == before or self.frozen or not self.watched:
            return
        count = self.activity.begin if self._closing else self.activity.end
        count(self._goodbye)

    def freeze(self, frozen: bool) -> None:
        """Note that the client is frozen (or not): what waits for it is not under way meanwhile."""
        if frozen == self.frozen or not self.client_open:
            return
        self.frozen = frozen
        count = self.activity.end if frozen else self.activity.begin
        count(self._down_work, self._down)
        if self._closing:
            count(self._goodbye)
