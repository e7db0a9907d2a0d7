"""What the two taps share: one connection's books, and where to write what happened.

Owns the pairing of a send with its receipt, and the counting of what is on the way over one
connection. Must not know: python-socketio, the stage, reasons, pictures.

How a send finds its receipt. A connection delivers in order, so each direction of a connection
has one queue of message numbers for each namespace: a number goes in when the library is about to
queue the packet, and comes out when the other side takes the packet in.
"""

from __future__ import annotations

import asyncio
import warnings
from collections import defaultdict, deque
from contextvars import ContextVar
from typing import Any

from .journal import SERVER, Emitted, Journal, Raised, preview
from .settle import Activity, Work

__all__ = ["Link", "Recorder", "Tasks", "cause"]

#: The number of the message whose handler is running here.
cause: ContextVar[int | None] = ContextVar("chatq_cause", default=None)


class Recorder:
    """Where the taps of one stage write: the journal, the activity, and the handlers' errors."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.activity = Activity()
        self.failures: list[tuple[Raised, Exception]] = []

    def raised(self, who: str, event: str, error: Exception) -> None:
        """Note, once, that a handler ended with `error`; settling will show it."""
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
        """Note an emit; returns the number of its message."""
        # A tuple is several arguments and None is no argument, as in python-socketio.
        args = data if isinstance(data, tuple) else () if data is None else (data,)
        number = self.journal.number()
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
            cause.get(),
            queue,
        )
        return number


class Tasks(dict[Any, str]):
    """Tasks that nobody awaits and that have not ended, each with its event ("" if none)."""

    def add(self, task: Any, event: str = "") -> None:
        """Keep `task` until it is done."""
        if task not in self:  # the task of a whole connection is met at each goodbye of its client
            task.add_done_callback(lambda done: self.pop(done, None))
        self[task] = event

    def events(self) -> list[str]:
        """Return the events whose handlers have not returned."""
        return [event for task, event in self.items() if event and not task.done()]

    async def cancel(self) -> None:
        """Cancel those that still run, and return when they have ended.

        Warns of those that refuse: a handler that swallows its cancellation would go on for ever.
        """
        this = asyncio.current_task()
        running = {task for task in self if task is not this and not task.done()}
        for task in running:
            task.cancel()
        if not running:
            return
        ended, refusing = await asyncio.wait(running, timeout=0.5)
        for task in ended:
            if not task.cancelled():
                task.exception()  # taken note of: it has nowhere else to go
        if refusing:
            names = sorted({self.get(task) or "a background task" for task in refusing})
            warnings.warn(f"refuses to be cancelled: {', '.join(names)}", stacklevel=2)


class Link:
    """One connection: what is on the way over it, and which of its two ends are still there."""

    def __init__(self, name: str, activity: Activity, *, watched: bool) -> None:
        self.name = name
        self.activity = activity
        #: False for a client of somebody else: only the server's end of it can be seen.
        self.watched = watched
        #: Numbers of the messages on the way, by namespace.
        self.to_client: dict[str, deque[int]] = defaultdict(deque)
        self.to_server: dict[str, deque[int]] = defaultdict(deque)
        #: Number of the message, by the library's own key for the acknowledgement it waits for.
        self.acks: dict[tuple[str, int], int] = {}
        self.server_open = True
        self.client_open = False
        #: It was in a namespace, and has left the last one.
        self.departed = False
        self.frozen = False
        self._leaving = False
        self._down = self._down_read = self._up = self._up_read = 0
        self._down_work: Work = ("packet", name, "")
        self._up_work: Work = ("packet", f"{SERVER} from {name}", "")
        self._goodbye: Work = ("goodbye", name, "")

    def client_opened(self) -> None:
        """The client's end is there."""
        self.client_open = True
        if not self.server_open:
            self.leaving()

    # Each direction: a packet is on the way from when it is sent until it has arrived, that is,
    # until the handler it was for has ended. In between it is read: then it is sure to arrive,
    # even if the connection ends meanwhile.

    def sent_down(self) -> None:
        """The server queued a packet for the client."""
        if self.client_open:
            self._down += 1
            if not self.frozen:
                self.activity.begin(self._down_work)

    def read_down(self) -> None:
        """The client read a packet."""
        self._down_read += 1
        if not self.client_open:  # one more, while it says goodbye: it was written off already
            self._down += 1
            self.activity.begin(self._down_work)

    def arrived_down(self) -> None:
        """The client has done with a packet that it had read."""
        self._down_read -= 1
        if self._down:
            self._down -= 1
            if not self.frozen:
                self.activity.end(self._down_work)

    def client_closed(self) -> None:
        """The client's end is gone: it reads nothing any more."""
        if self.client_open:
            self.freeze(False)
            self.client_open = False
            unread = max(0, self._down - self._down_read)
            self.activity.end(self._down_work, unread)
            self._down -= unread
            self.leaving()

    def sent_up(self) -> None:
        """The client queued a packet for the server."""
        if self.server_open:
            self._up += 1
            self.activity.begin(self._up_work)

    def read_up(self) -> None:
        """The server read a packet."""
        self._up_read += 1
        if not self.watched or not self.server_open:  # not announced, or written off already
            self._up += 1
            self.activity.begin(self._up_work)

    def arrived_up(self) -> None:
        """The server has done with a packet that it had read."""
        self._up_read -= 1
        if self._up:
            self._up -= 1
            self.activity.end(self._up_work)

    def server_closed(self) -> None:
        """The server's end is gone: it reads nothing any more."""
        if self.server_open:
            self.server_open = False
            unread = max(0, self._up - self._up_read)
            self.activity.end(self._up_work, unread)
            self._up -= unread
            self.leaving()

    def leaving(self) -> None:
        """The connection is ending: under way from now until both ends know it."""
        begun, self._leaving = self._leaving, self.server_open or self.client_open
        if self._leaving == begun or self.frozen or not self.watched:
            return
        count = self.activity.begin if self._leaving else self.activity.end
        count(self._goodbye)

    def freeze(self, frozen: bool) -> None:
        """A frozen client takes nothing in: what waits for it is not under way until it thaws."""
        if frozen == self.frozen or not self.client_open:
            return
        self.frozen = frozen
        count = self.activity.end if frozen else self.activity.begin
        count(self._down_work, self._down)
        if self._leaving:
            count(self._goodbye)
