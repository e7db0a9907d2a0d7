"""A record of the log: what one server asked for together, as bytes.

Owns the form of records on the wire. Must not know: who writes or reads them, what
asking does.

A record is one line of JSON, then the bodies that it brings, one after the other. The line holds
who asks (`server`), its how many-eth record it is, its clock, its limits, what is asked, and the
sizes of the bodies; a body of bytes has its size below zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .store import Body, StoreError

__all__ = ["Part", "Record", "encoded"]

_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is asked, and the bodies that it brings, also as they are written."""

    verb: list[Any]
    bodies: list[Body]
    text: str
    sizes: list[int]
    data: bytes

    @classmethod
    def of(cls, verb: list[Any], bodies: list[Body]) -> Part:
        """Return the part of this verb: a letter, or a word, and what belongs to it.

        Raises `TypeError` or `ValueError` for what cannot be written.
        """
        kept, sizes = [], []
        for body in bodies:
            data = body if isinstance(body, bytes) else body.encode("utf-8")
            kept.append(data)
            sizes.append(-1 - len(data) if isinstance(body, bytes) else len(data))
        return cls(verb, bodies, _json(verb), sizes, b"".join(kept))

    @property
    def size(self) -> int:
        """How many bytes it adds to a record, at most."""
        return len(self.text) + len(self.data) + 12 * len(self.sizes) + 2


def encoded(record: Record, parts: list[Part]) -> bytes:
    """Return the record of these parts as bytes."""
    head = _json([record.server, record.number, record.now, record.length, record.key_memory])
    verbs = ",".join(part.text for part in parts)
    sizes = _json([size for part in parts for size in part.sizes])
    line = f"{head[:-1]},[{verbs}],{sizes}]\n"
    return b"".join([line.encode("ascii"), *(part.data for part in parts)])


@dataclass(frozen=True, slots=True)
class Record:
    """What one server asks for: `verbs` are lists, of a word and what belongs to it.

    `now` and `key_memory` in seconds, `length` in messages.
    """

    server: str
    number: int
    now: float
    length: int
    key_memory: float
    verbs: list[Any]
    bodies: list[Body]

    @classmethod
    def decoded(cls, data: bytes) -> Record:
        """Read what `encoded` has returned.

        Raises `StoreError` if it is something else.
        """
        head, _, rest = data.partition(b"\n")
        try:
            server, number, now, length, key_memory, verbs, sizes = json.loads(head)
            bodies: list[Body] = []
            start = 0
            for size in sizes:
                end = start + (size if size >= 0 else -1 - size)
                body = rest[start:end]
                bodies.append(body if size < 0 else body.decode("utf-8"))
                start = end
        except ValueError:
            raise StoreError("what is in the stream was not written by chatq") from None
        return cls(server, number, now, length, key_memory, verbs, bodies)
