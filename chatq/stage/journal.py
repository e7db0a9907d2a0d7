"""What happened, in order.

Owns the facts (one frozen class for each kind of thing that can happen), and the bounded journal
that keeps them. Must not know: sockets, python-socketio, reasons, pictures.

Rules
- A fact is written once, when it happened, in the order in which it happened, and never changed.
- Facts carry names ("ada"), never sids, ports or times, so that two runs of one script agree.
- A message is numbered when it is emitted; every later fact about it carries that number.
- The journal keeps the newest `keep` facts. What it forgets it counts, and it keeps the last
  standing of every client (connected where, in which rooms), so that what is left can still be
  explained.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import reprlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO, get_args

__all__ = [
    "EARLIER",
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
    "Journal",
    "Killed",
    "Left",
    "Raised",
    "Received",
    "Redriven",
    "Refused",
    "Returned",
    "Settled",
    "Subscribed",
    "Thawed",
    "Tried",
    "Unsubscribed",
    "preview",
]

SERVER = "server"
#: Who emitted what was in a queue before anybody watched it.
EARLIER = "earlier"


@dataclass(frozen=True, slots=True)
class Connected:
    """The server let `client` into `namespace`."""

    client: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not let `client` into `namespace`."""

    client: str
    namespace: str
    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The server counts `client` as gone from `namespace`; `reason` is python-socketio's word."""

    client: str
    namespace: str
    reason: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The server put `client` into `room`; the rooms 17 and "17" are two."""

    client: str
    namespace: str
    room: str | int


@dataclass(frozen=True, slots=True)
class Left:
    """The server took `client` out of `room`; `gone`: because its connection had ended."""

    client: str
    namespace: str
    room: str | int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class HungUp:
    """`client` itself ended its connection; the server may give this another name."""

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

    `rooms` and `clients` say to whom it was addressed; both empty: to everyone (from a client: to
    the server). `recipients` are those the server had a connection for at that moment. `cause` is
    the number of the message whose handler emitted it. `queue`: stored in that queue, and sent to
    nobody yet; it is the `cause` of each attempt to deliver it.
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


@dataclass(frozen=True, slots=True)
class Received:
    """Message `message` arrived at `client` (or the server); `handled`: a handler listens to it."""

    message: int
    client: str
    handled: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler of `client` (or the server) for `event` ended with an exception."""

    client: str
    event: str
    error: str
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The packet acknowledgement of `client` for `message` came back to the sender."""

    message: int
    client: str
    data: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """`client` consumes `queue`."""

    client: str
    queue: str


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """`client` was told to consume `queue` no more."""

    client: str
    queue: str


@dataclass(frozen=True, slots=True)
class Tried:
    """A queue is about to send `message` to `client`, for the `attempt`th time."""

    message: int
    client: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Settled:
    """`client` answered with the receipt: the message is dealt with, and gone from its queue."""

    message: int
    client: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The message is back in its queue, and why."""

    message: int
    client: str
    reason: str


@dataclass(frozen=True, slots=True)
class Died:
    """The message is not delivered any more, and why."""

    message: int
    reason: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """The dead message is back in its queue."""

    message: int


Fact = (
    Connected
    | Refused
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


#: Facts that outlive their being forgotten: the question each answers, and how many of its first
#: fields say about whom. Of those with the same key the newest counts.
_STANDING: dict[type[Fact], tuple[str, int]] = {
    Connected: ("inside?", 2),
    Refused: ("inside?", 2),
    Disconnected: ("inside?", 2),
    Joined: ("in the room?", 3),
    Left: ("in the room?", 3),
    HungUp: ("hung up?", 1),
    Ended: ("frozen?", 1),
    Froze: ("frozen?", 1),
    Thawed: ("frozen?", 1),
    Killed: ("frozen?", 1),
    Subscribed: ("listens?", 2),
    Unsubscribed: ("listens?", 2),
}

#: Those that say where somebody is, not where somebody was.
_PRESENT = (Connected, Joined, Froze, Subscribed)

_KINDS: dict[str, type[Fact]] = {kind.__name__: kind for kind in get_args(Fact)}


class Journal:
    """The newest `keep` facts, in the order in which they happened.

    Iterating gives the facts kept. `forgotten` counts those that are not, `standing()` gives the
    few of them that still matter.
    """

    def __init__(self, keep: int = 10_000) -> None:
        if keep < 1:
            raise ValueError(f"a journal keeps at least 1 fact, not {keep}")
        self.keep = keep
        self.messages = 0
        #: How many facts were forgotten on purpose, see `forget`.
        self.begun = 0
        self._written = 0
        # Name of the kind and values, made into a fact when somebody reads it: writing is on the
        # hot path, and flat tuples of plain values cost the garbage collector nothing.
        self._facts: deque[tuple[Any, ...]] = deque(maxlen=keep)
        self._standing: deque[tuple[int, Fact]] = deque()
        self._older: dict[tuple[str, ...], Fact] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def forgotten(self) -> int:
        """How many facts were written that are not kept any more."""
        return self._written - len(self._facts)

    def number(self) -> int:
        """Return the number for the next message: 1, 2, 3, ..."""
        self.messages += 1
        return self.messages

    def append(self, kind: type[Fact], *values: Any) -> None:
        """Write down a fact of this kind; `values` are its fields, in order."""
        self._facts.append((kind.__name__, *values))
        if kind in _STANDING:
            self._standing.append((self._written, kind(*values)))
            self._tidy()
        self._written += 1
        if self._listeners:
            for listener in tuple(self._listeners):
                listener()

    def retract(self, message: int) -> None:
        """Take back the emit of `message`, if it is the newest fact: it failed, so it never was."""
        if self._facts[-1][:2] == (Emitted.__name__, message):
            self._facts.pop()
            self._written -= 1
            self.messages -= 1

    def _tidy(self) -> None:
        # What is known of the time before the oldest fact kept is one fact for each key.
        while self._standing and self._standing[0][0] < self.forgotten:
            fact = self._standing.popleft()[1]
            question, fields = _STANDING[type(fact)]
            key = (question, *list(dataclasses.astuple(fact))[:fields])
            self._older.pop(key, None)
            self._older[key] = fact
            if len(self._older) > self.keep:
                del self._older[next(iter(self._older))]

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every fact; returns the function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def written(self) -> int:
        """How many facts were written so far, those that are forgotten included."""
        return self._written

    def forget(self) -> None:
        """Forget all facts, but for what they tell of who is where: a new scene begins.

        Where somebody was, and is no more, is forgotten, too: it is no reason in the new scene.
        """
        self._facts.clear()
        self._tidy()
        inside = {old.client for old in self._older.values() if isinstance(old, Connected)}
        self._older = {
            key: old
            for key, old in self._older.items()
            if isinstance(old, _PRESENT) and old.client in inside
        }
        self.begun = self._written

    def part(self, upto: int, keep: int | None = None) -> Journal:
        """Return what this journal was when `upto` facts had been written, or the newest `keep`
        facts of that. It is a copy, and does not grow."""
        self._tidy()
        part = Journal(keep or self.keep)
        part.messages = self.messages
        part._older = dict(self._older)
        part.begun = self.begun
        facts = max(0, min(upto, self._written) - self.forgotten)
        older = max(0, facts - part.keep)  # of these, only who is where
        for number, (kind, *values) in enumerate(itertools.islice(self._facts, older)):
            if (found := _KINDS[kind]) in _STANDING:
                part._standing.append((self.forgotten + number, found(*values)))
        part._written = self.forgotten + older
        for kind, *values in itertools.islice(self._facts, older, facts):
            part.append(_KINDS[kind], *values)
        return part

    def standing(self) -> Iterator[Fact]:
        """The last forgotten fact about each client, its namespaces and its rooms."""
        self._tidy()
        yield from self._older.values()

    def __iter__(self) -> Iterator[Fact]:
        return iter([_KINDS[kind](*values) for kind, *values in self._facts])

    def __len__(self) -> int:
        return len(self._facts)

    def write(self, file: TextIO) -> None:
        """Write the facts kept to `file` as JSON lines, each with its kind under "fact"."""
        for fact in self:
            line = {"fact": type(fact).__name__, **dataclasses.asdict(fact)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def __repr__(self) -> str:
        cut = f", {self.forgotten} older ones forgotten" if self.forgotten else ""
        return f"<Journal: {len(self)} facts{cut}>"


class _Short(reprlib.Repr):
    def repr_bytes(self, value: bytes, level: int) -> str:
        return f"<{len(value)} bytes>"

    repr_bytearray = repr_bytes


_short = _Short()
_short.maxstring = _short.maxother = 60
_short.maxdict = _short.maxlist = _short.maxtuple = _short.maxset = 6
_short.maxlevel = 3
_LONGEST = 100


#: What a queue says about a delivery, beside the data; and how its ids and receipts look.
_DELIVERY = {"id", "queue", "attempt", "redelivered", "receipt"}
_RANDOM = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{8}-\d+)\b")


def preview(args: tuple[Any, ...]) -> str:
    """Return the arguments of a message in one short line: a picture of them, not a copy.

    The same on every run: ids and receipts of queues are struck out.
    """
    if len(args) == 1 and type(args[0]) is str and len(args[0]) <= 56:  # what most messages are
        text = repr(args[0])
    else:
        text = ", ".join([_preview(arg) for arg in args[:10]])
    text = _RANDOM.sub("…", text) if len(text) > 9 else text
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _preview(value: object) -> str:
    if isinstance(value, dict) and value.keys() >= _DELIVERY:
        return f"attempt {value['attempt']}" + (", redelivered" if value["redelivered"] else "")
    return _short.repr(value)
