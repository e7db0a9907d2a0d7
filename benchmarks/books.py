"""The books of the crash run and the fault run: what each client writes down, and the verdict.

Owns the form of a line, the faults that a client brings upon itself, and what is compared in the
end. Must not know: who kills whom.

- lost: answered to its producer, and delivered to no consumer, nor among the dead;
- good ones dead: among the dead, and no poison;
- wrong queue: delivered out of a queue that it was not put into;
- made up: delivered, and never published; twins: a key that was given two ids;
- duplicates: handled more than once; unmarked, if more than one delivery was not `redelivered`;
  unexplained, if nothing can have come between work and answer: its connection did not break soon
  afterwards, nor was a server or its store out of order then.
"""

from __future__ import annotations

import collections
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import socketio

#: What poison does to who handles it: its process dies, or its connection.
POISON = ("kills", "cuts")
BAD = (
    "lost",
    "good_ones_dead",
    "wrong_queue",
    "made_up",
    "twins",
    "unmarked",
    "unexplained",
    "attempts_repeated",
)
#: How long before and after a server is out of order an answer may be lost, in seconds.
_BEFORE, _AFTER = 1.0, 5.0


class Book:
    """A file in which every line is handed to the kernel before the next step."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def connected(self) -> None:
        """Note that another connection begins."""
        self.write("connected")

    def handled(self, key: str, delivery: dict[str, Any]) -> None:
        """Note that a delivery is handled; its answer comes later, if it comes."""
        queue, attempt = delivery["queue"], delivery["attempt"]
        self.write(key, delivery["id"], queue, attempt, delivery["redelivered"], time.time())


def suffer(key: str, sio: socketio.AsyncClient) -> None:
    """Bear what this message does to who handles it."""
    if key.endswith(POISON[0]):
        os.kill(os.getpid(), signal.SIGKILL)
    if key.endswith(POISON[1]):
        cut(sio)


def cut(sio: socketio.AsyncClient) -> None:
    """Cut the connection of a client: neither side has said goodbye."""
    line = sio.eio.ws.get_extra_info("socket") if sio.eio.ws else None
    if line is not None:
        try:
            # The transport's socket cannot be shut down, but the kernel's can.
            with socket.socket(fileno=os.dup(line.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is broken already


class Delivery(NamedTuple):
    """One line of a consumer: `at`: when, in seconds since the epoch; `connection` and `place` say
    which delivery of which connection of that book it was."""

    id: str
    queue: str
    attempt: int
    redelivered: bool
    at: float
    book: str
    connection: int
    place: int


@dataclass
class _Reading:
    role: str
    path: Path
    read: int = 0


class Books:
    """What the clients have written down so far.

    `window`: the most unanswered messages of a consumer, of all its queues together; `troubles`:
    when, from and to, a server, its store or a client was out of order.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.ids: dict[str, set[str]] = collections.defaultdict(set)
        self.deliveries: dict[str, list[Delivery]] = collections.defaultdict(list)
        self.troubles: list[tuple[float, float]] = []
        self.done, self.counts = 0, collections.Counter[str]()
        self._files: dict[str, _Reading] = {}
        self._connections: dict[str, list[int]] = collections.defaultdict(lambda: [0])

    def add(self, name: str, role: str, path: Path) -> None:
        """Read this book, too; `role`: "produce" or "consume"."""
        self._files[name] = _Reading(role, path)

    def read(self) -> None:
        """Read what has been added to them."""
        for name, file in self._files.items():
            if not file.path.exists():
                continue
            with file.path.open("rb") as content:
                content.seek(file.read)
                lines = content.read()
            lines = lines[: lines.rfind(b"\n") + 1]
            file.read += len(lines)
            for line in lines.decode().splitlines():
                self._note(name, file.role, line.split())

    def _note(self, name: str, role: str, words: list[str]) -> None:
        if words == ["done"]:
            self.done += 1
        elif words == ["connected"]:
            self._connections[name].append(0)
        elif words[0] in ("refused", "cut"):
            self.counts[words[0]] += 1
        elif role == "produce":
            self.ids[words[0]].add(words[1])
        else:
            key, id, queue, attempt, redelivered, at = words
            connections = self._connections[name]
            place = (name, len(connections) - 1, connections[-1])
            connections[-1] += 1
            delivery = Delivery(id, queue, int(attempt), redelivered == "True", float(at), *place)
            self.deliveries[key].append(delivery)

    def missing(self, dead: set[str]) -> set[str]:
        """Return the keys that were answered, and are neither delivered nor dead; poison has to be
        dead."""
        good = {key for key in self.deliveries if not key.endswith(POISON)}
        return {*self.ids} - good - dead

    def _broke(self, handled: Delivery) -> bool:
        """Return whether its connection ended before it was certainly answered.

        A consumer has a window of unanswered messages; as many again may be answered, and not yet
        written by a server that is killed.
        """
        connections = self._connections[handled.book]
        left = connections[handled.connection] - handled.place
        return handled.connection < len(connections) - 1 and left <= 2 * self.window

    def _explained(self, handled: Delivery) -> bool:
        return self._broke(handled) or any(
            start - _BEFORE <= handled.at <= end + _AFTER for start, end in self.troubles
        )

    def verdict(self, dead: set[str]) -> dict[str, int]:
        """Compare them; `dead`: the keys of the dead letters."""
        good = {key: found for key, found in self.deliveries.items() if not key.endswith(POISON)}
        twice = {key: found for key, found in good.items() if len(found) > 1}
        again = [
            handled
            for found in twice.values()
            for handled in sorted(found, key=lambda delivery: delivery.attempt)[:-1]
        ]
        unanswered = sum(
            min(handled, 2 * self.window)
            for connections in self._connections.values()
            for handled in connections[:-1]
        )
        return {
            "answered": len(self.ids),
            "refused_for_now": self.counts["refused"],
            "cuts_by_handlers": self.counts["cut"],
            "delivered": len(self.deliveries),
            "poison": sum(key.endswith(POISON) for key in self.ids),
            "dead": len(dead),
            "good_ones_dead": sum(not key.endswith(POISON) for key in dead),
            "lost": len(self.missing(dead)),
            "wrong_queue": sum(
                delivery.queue != key.partition("/")[0]
                for key, found in self.deliveries.items()
                for delivery in found
            ),
            "made_up": sum(key not in self.ids for key in self.deliveries),
            "twins": sum(
                len(self.ids[key] | {found.id for found in self.deliveries.get(key, ())}) > 1
                for key in self.ids
            ),
            "duplicates": len(twice),
            "unmarked": sum(
                sum(not delivery.redelivered for delivery in found) > 1 for found in twice.values()
            ),
            "handled_again": len(again),
            "after_a_cut_connection": sum(map(self._broke, again)),
            "unanswered_at_a_cut_at_most": unanswered,
            "unexplained": sum(not self._explained(handled) for handled in again),
            "attempts_repeated": sum(
                len({delivery.attempt for delivery in found}) < len(found)
                for found in twice.values()
            ),
            "most_deliveries": max(map(len, good.values()), default=0),
        }


def good(result: dict[str, Any]) -> bool:
    """Return whether something was done, and nothing went wrong."""
    return result["answered"] > 0 and not any(result[name] for name in BAD)
