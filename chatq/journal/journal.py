"""A bounded, append-only journal of facts, in order.

Owns the facts that are kept, and a summary of those dropped. Must not know: sockets,
python-socketio, reasons, pictures.

Rules
- A fact is written once, when it happens, in order, and never changed.
- Facts carry names ("ada"), never sids, ports or times, so that two runs of one script agree.
- A message is numbered when it is emitted; every later fact about it carries that number.
- The journal keeps the newest `keep` facts. It counts those that it drops, and keeps the last known
  state of every client (connected where, in which rooms), so that the others can still be
  explained.
- What is written to a file is enough to read the same journal from it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import reprlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TextIO

from .facts import (
    SERVER,
    Connected,
    Disconnected,
    Emitted,
    Ended,
    Fact,
    Froze,
    HungUp,
    Joined,
    Killed,
    Left,
    Rejected,
    Subscribed,
    Thawed,
    Unsubscribed,
)
from .kinds import kinds_of
from .lines import KINDS, Head, fact_line, head_line, read_line

__all__ = ["Journal", "preview"]

#: Facts about the state of a client, of which the newest is kept when they are dropped: the
#: question that each answers, and how many of its first fields are the key.
_STANDING: dict[type[Fact], tuple[str, int]] = {
    Connected: ("inside?", 2),
    Rejected: ("inside?", 2),
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

#: The names of the other kinds.
_PLAIN = {kind: name for name, kind in KINDS.items() if kind not in _STANDING}
#: Those about a present state, not an ended one.
_PRESENT = (Connected, Joined, Froze, Subscribed)


class Journal:
    """The newest `keep` facts, in order.

    Iterating yields the facts kept. `forgotten` counts those dropped, `standing()` yields the few
    of them that still matter.
    """

    messages: int
    begun: int

    def __init__(self, keep: int = 10_000) -> None:
        if keep < 1:
            raise ValueError(f"a journal keeps at least 1 fact, not {keep}")
        self.keep = keep
        self.messages = 0
        #: The number of facts dropped by `forget`.
        self.begun = 0
        self._written = 0
        # Flat tuples of the kind's name and the values, made into facts when they are read: writing
        # is on the hot path, and tuples of plain values cost the garbage collector nothing.
        self._facts: deque[tuple[Any, ...]] = deque(maxlen=keep)
        self._standing: deque[tuple[int, Fact]] = deque()
        self._older: dict[tuple[str, ...], Fact] = {}
        self._listeners: list[Callable[[], None]] = []
        #: The kinds of the names, from whoever knows them: the facts do not say it.
        self._told: Callable[[], Mapping[str, str]] = dict

    @property
    def forgotten(self) -> int:
        """The number of facts that were written and dropped."""
        return self._written - len(self._facts)

    def number(self) -> int:
        """Return the number for the next message: 1, 2, 3, ..."""
        self.messages += 1
        return self.messages

    def append(self, kind: type[Fact], *values: Any) -> None:
        """Append a fact of this kind; `values` are its fields, in order."""
        plain = _PLAIN.get(kind)
        self._facts.append((plain or kind.__name__, *values))
        if plain is None:
            self._standing.append((self._written, kind(*values)))
            self._tidy()
        self._written += 1
        if self._listeners:
            for listener in tuple(self._listeners):
                listener()

    def retract(self, message: int) -> None:
        """Remove the emit of `message`, if it is the newest fact: the emit failed."""
        if self._facts[-1][:2] == (Emitted.__name__, message):
            self._facts.pop()
            self._written -= 1
            self.messages -= 1

    def _tidy(self) -> None:
        # Of the dropped facts one is kept for each key.
        while self._standing and self._standing[0][0] < self.forgotten:
            fact = self._standing.popleft()[1]
            key = _key(fact)
            self._older.pop(key, None)
            self._older[key] = fact
            if len(self._older) > self.keep:
                del self._older[next(iter(self._older))]

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every fact; return the function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def written(self) -> int:
        """The number of facts written so far, dropped ones included."""
        return self._written

    def forget(self) -> None:
        """Drop all facts except the present state of connected clients: a new scene begins."""
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
        """Return a copy of this journal as it was after `upto` facts, or the newest `keep` facts of
        that."""
        self._tidy()
        part = Journal(keep or self.keep)
        part.messages = self.messages
        part._told = self._told
        part._older = dict(self._older)
        part.begun = self.begun
        facts = max(0, min(upto, self._written) - self.forgotten)
        older = max(0, facts - part.keep)  # of these, only the state of clients
        for number, (kind, *values) in enumerate(itertools.islice(self._facts, older)):
            if (found := KINDS[kind]) in _STANDING:
                part._standing.append((self.forgotten + number, found(*values)))
        part._written = self.forgotten + older
        for kind, *values in itertools.islice(self._facts, older, facts):
            part.append(KINDS[kind], *values)
        return part

    def standing(self) -> Iterator[Fact]:
        """Yield the last dropped fact about each client, its namespaces and its rooms."""
        self._tidy()
        yield from self._older.values()

    def __iter__(self) -> Iterator[Fact]:
        return iter([KINDS[kind](*values) for kind, *values in self._facts])

    def __len__(self) -> int:
        return len(self._facts)

    # -- who there is, and files ------------------------------------------------------------------

    def tell_kinds(self, told: Callable[[], Mapping[str, str]]) -> None:
        """Let `told` say who is in the scene: by name "client", "process", "guest" or "server"."""
        self._told = told

    def kinds(self) -> dict[str, str]:
        """Return who is in the scene: by name "client", "process", "guest" or "server", which is
        another one; of names that nobody has told, as the facts let one guess."""
        told, found = self._told(), kinds_of((*self.standing(), *self))
        return {**told, **{name: kind for name, kind in found.items() if name not in told}}

    def write(self, file: TextIO) -> None:
        """Write this journal to `file` as JSON lines, for `read`.

        The first line is about the journal, and after it come the facts, each with its kind under
        "fact": first the `standing` ones, marked so, then those that are kept.
        """
        counts = (self.keep, self.messages, self.begun, self.forgotten)
        file.write(head_line(Head(*counts, self.kinds())))
        for fact in self.standing():
            file.write(fact_line(fact, standing=True))
        for fact in self:
            file.write(fact_line(fact))

    @classmethod
    def read(cls, file: Iterable[str]) -> Self:
        """Return the journal that `write` has written to `file`, an open text file.

        Raises `ValueError` naming the line that is none of a journal, and what to do.
        """
        head: Head | None = None
        standing: list[Fact] = []
        facts: list[Fact] = []
        number = 0
        for number, line in enumerate(file, 1):
            try:
                match read_line(line):
                    case Head() as found if number == 1:
                        head = found
                    case Head():
                        raise ValueError("another journal begins here: one file holds one journal")
                    case (fact, True) if type(fact) not in _STANDING or facts:
                        raise ValueError("a fact that stands is about a client, and comes first")
                    case (fact, stands):
                        (standing if stands else facts).append(fact)
            except ValueError as error:
                raise ValueError(f"line {number} of this journal cannot be read: {error}") from None
        if not number:
            raise ValueError("this file is empty: write a journal into it with Journal.write(file)")
        head = head or Head(10_000, sum(isinstance(fact, Emitted) for fact in facts))
        kinds = head.kinds
        journal = cls(max(head.keep, len(facts)))
        journal.tell_kinds(lambda: kinds)
        journal.messages, journal.begun, journal._written = (
            head.messages, head.begun, head.forgotten
        )  # fmt: skip
        journal._older = {_key(fact): fact for fact in standing}
        for fact in facts:
            journal.append(type(fact), *(getattr(fact, name) for name in fact.__match_args__))
        return journal

    def __repr__(self) -> str:
        cut = f", {self.forgotten} older ones forgotten" if self.forgotten else ""
        return f"<Journal: {len(self)} facts{cut}>"


def _key(fact: Fact) -> tuple[str, ...]:
    """Return the question that a fact about a state answers."""
    question, fields = _STANDING[type(fact)]
    server = getattr(fact, "server", SERVER)  # inside? of one is not inside? of another
    return (question, *list(dataclasses.astuple(fact))[:fields], server)


class _Short(reprlib.Repr):
    def repr_bytes(self, value: bytes, level: int) -> str:
        return f"<{len(value)} bytes>"

    repr_bytearray = repr_bytes


_short = _Short()
_short.maxstring = _short.maxother = 60
_short.maxdict = _short.maxlist = _short.maxtuple = _short.maxset = 6
_short.maxlevel = 3
_LONGEST = 100


#: The fields of a delivery of a queue, and the form of its ids and receipts.
_DELIVERY = {"id", "queue", "attempt", "redelivered", "receipt"}
_RANDOM = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{8}-\d+)\b")


def preview(args: tuple[Any, ...]) -> str:
    """Return the arguments of a message as one short line.

    The same on every run: ids and receipts of queues are replaced by "…".
    """
    if len(args) == 1 and type(args[0]) is str and len(args[0]) <= 56:  # most messages: kept fast
        text = repr(args[0])
    else:
        text = ", ".join([_preview(arg) for arg in args[:10]])
    text = _RANDOM.sub("…", text) if len(text) > 9 else text
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _preview(value: object) -> str:
    if isinstance(value, dict) and value.keys() >= _DELIVERY:
        return f"attempt {value['attempt']}" + (", redelivered" if value["redelivered"] else "")
    return _short.repr(value)
