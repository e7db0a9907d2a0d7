"""Accounting of one connection, shared by both taps: packets on the way, sends matched to arrivals.

Owns the matching of each send with its arrival, and the count of packets on the way over one
connection. Must not know: python-socketio, the stage, reasons, pictures.

The matching: a connection delivers in order, so each direction of a connection has one FIFO queue
of message numbers for each namespace: a number is appended when the library is about to queue the
packet, and removed when the other side receives it.
"""

from __future__ import annotations

import warnings
from collections import defaultdict, deque
from contextvars import ContextVar

from .. import waiting
from .activity import Activity, Work
from .facts import SERVER, Emitted, Raised
from .journal import Journal, preview

__all__ = ["Link", "Recorder", "Tasks", "cause"]

#: The number of the message whose handler is running here.
cause: ContextVar[int | None] = ContextVar("chatq_cause", default=None)


class Recorder:
    """The sink of the taps of one stage: the journal, the activity, and the handlers' errors."""

    activity: Activity

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.activity = Activity()
        self.failures: list[tuple[Raised, Exception]] = []
        self._recipients: tuple[str, ...] = (SERVER,)  # of the last emit

    def raised(self, who: str, event: str, error: Exception) -> None:
        """Record, once, that a handler raised `error`; settling will show it."""
        if not any(error is seen for _, seen in self.failures):
            values = (who, event, f"{type(error).__name__}: {error}"[:200], cause.get())
            self.failures.append((Raised(*values), error))
            self.journal.append(Raised, *values)

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


class Link:
    """One connection: the packets on the way over it, and which of its two ends are open."""

    server_open: bool
    client_open: bool
    frozen: bool

    def __init__(self, name: str, activity: Activity, *, watched: bool) -> None:
        self.name = name
        self.activity = activity
        #: False for a client that is not the stage's: only the server's end is observed.
        self.watched = watched
        #: Numbers of the messages on the way, by namespace.
        self.to_client: dict[str, deque[int]] = defaultdict(deque)
        self.to_server: dict[str, deque[int]] = defaultdict(deque)
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

    def sent_down(self) -> None:
        """Note that the server queued a packet for the client."""
        if self.client_open:
            self._down += 1
            if not self.frozen:
                self.activity.begin(self._down_work)

    def read_down(self) -> None:
        """Note that the client read a packet."""
        self._down_read += 1
        if not self.client_open:  # read while disconnecting: it was counted as lost already
            self._down += 1
            self.activity.begin(self._down_work)

    def arrived_down(self) -> None:
        """Note that the client has handled a packet that it had read."""
        self._down_read -= 1
        if self._down:
            self._down -= 1
            if not self.frozen:
                self.activity.end(self._down_work)

    def client_closed(self) -> None:
        """Note that the client's end is closed: unread packets are lost."""
        if self.client_open:
            self.freeze(False)
            self.client_open = False
            unread = max(0, self._down - self._down_read)
            self.activity.end(self._down_work, unread)
            self._down -= unread
            self.leaving()

    def sent_up(self) -> None:
        """Note that the client queued a packet for the server."""
        if self.server_open:
            self._up += 1
            self.activity.begin(self._up_work)

    def read_up(self) -> None:
        """Note that the server read a packet."""
        self._up_read += 1
        if not self.watched or not self.server_open:  # not counted yet, or counted as lost already
            self._up += 1
            self.activity.begin(self._up_work)

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
