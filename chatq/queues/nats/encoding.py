"""The encoding of a record of the log as bytes.

Owns the form of records on the wire. Must not know: who writes or reads them, what a verb does.

A record is one line of JSON, then the bodies of its messages, one after the other. The line holds
the `server`, the record's sequence number at that server, its clock, its limits, the verbs, and
the sizes of the bodies; a body of bytes has a size below zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..record import Record
from ..store import Body, Limits, StoreError

__all__ = ["Part", "decoded", "encoded"]

_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Part:
    """One verb of a record with its bodies, and both as they are written."""

    verb: list[Any]
    bodies: list[Body]
    text: str
    sizes: list[int]
    data: bytes

    @classmethod
    def of(cls, verb: list[Any], bodies: list[Body]) -> Part:
        """Return the part of this verb: a list of its name and its arguments.

        Raises `TypeError` or `ValueError` for arguments that cannot be encoded.
        """
        encoded_bodies, sizes = [], []
        for body in bodies:
            data = body if isinstance(body, bytes) else body.encode("utf-8")
            encoded_bodies.append(data)
            sizes.append(-1 - len(data) if isinstance(body, bytes) else len(data))
        return cls(verb, bodies, _json(verb), sizes, b"".join(encoded_bodies))

    @property
    def size(self) -> int:
        """The most bytes that it adds to a record."""
        return len(self.text) + len(self.data) + 12 * len(self.sizes) + 2


def encoded(record: Record, parts: list[Part]) -> bytes:
    """Return the record of these parts as bytes."""
    head = _json([record.server, record.number, record.now, record.limits])
    verbs = ",".join(part.text for part in parts)
    sizes = _json([size for part in parts for size in part.sizes])
    line = f"{head[:-1]},[{verbs}],{sizes}]\n"
    return b"".join([line.encode("ascii"), *(part.data for part in parts)])


def decoded(data: bytes) -> Record:
    """Return the record that `encoded` has encoded.

    Raises `StoreError` for other data.
    """
    head, _, rest = data.partition(b"\n")
    try:
        server, number, now, limits, verbs, sizes = json.loads(head)
        bodies: list[Body] = []
        start = 0
        for size in sizes:
            end = start + (size if size >= 0 else -1 - size)
            body = rest[start:end]
            bodies.append(body if size < 0 else body.decode("utf-8"))
            start = end
        return Record(server, number, now, Limits(*limits), verbs, bodies)
    except (TypeError, ValueError):
        raise StoreError("what is in the stream was not written by chatq") from None
