"""The identity of a stream on NATS: whether it is still the one it was, and as it was configured.

Owns the stream's configuration, what of it may not change, and the words and ways out when a stream
is not the one it was. Must not know: requests, records, queues.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..store import StoreError
from .address import Address

__all__ = ["MARKS", "SECOND", "VERSION", "Stream", "StreamGone"]

VERSION = "4"  # of what is in the stream
#: How many records at the start of a stream say that nothing of it was removed. While one publish
#: that names a mark is on its way through a cluster, another that names it is refused.
MARKS = 8
SECOND = 1_000_000_000  # nanoseconds, JetStream's unit


class StreamGone(StoreError):
    """The stream is not the one it was: nothing was confirmed, and nothing more is done."""


class Stream(NamedTuple):
    """The stream of `address` that `holds` a kind of records, and `keeps` them for so many seconds
    (0: until removed); see `NatsLog.open`."""

    address: Address
    holds: str
    keeps: float

    @property
    def where(self) -> str:
        """Its name and address, for messages."""
        return f"the stream {self.address.stream!r} at {self.address.told}"

    def configuration(self, replicas: int) -> dict[str, Any]:
        """Return the configuration of a new stream with so many replicas, and a new name."""
        return {
            "name": self.address.stream,
            "description": f"{self.holds} of chatq: written and read by chatq only",
            "subjects": [f"{self.address.stream}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": int(self.keeps * SECOND),
            "num_replicas": replicas,
            "allow_direct": True,
            "duplicate_window": SECOND,
            "metadata": {
                "chatq": VERSION,
                "chatq-holds": self.holds,
                "chatq-name": os.urandom(4).hex(),
            },
        }

    def check(self, found: dict[str, Any]) -> str:
        """Return the random name in this configuration; raise `StoreError` if it is not usable."""
        metadata = found.get("metadata") or {}
        version = metadata.get("chatq")
        if version is None or "chatq-name" not in metadata:
            raise StoreError(
                f"{self.where} was made by somebody else, and was left as it was: give another "
                "name, as nats://HOST/NAME"
            )
        if (holds := metadata.get("chatq-holds")) != self.holds:
            raise StoreError(
                f"{self.where} holds {holds} of chatq, not {self.holds}: give another name, as "
                "nats://HOST/NAME"
            )
        if version in ("1", "2", "3"):
            raise StoreError(
                f"{self.where} was made by an older chatq (version {version}; this one reads "
                f"{VERSION}): receive what waits in it with that chatq, then delete it, or give "
                "another name; it was left as it was"
            )
        if version != VERSION:
            raise StoreError(
                f"{self.where} was made by a newer chatq (version {version}; this one reads "
                f"{VERSION}): install that, or give another name; it was left as it was"
            )
        if changed := self.changed(found):
            raise StoreError(
                f"the configuration of {self.where} was changed ({', '.join(changed)}), so that it "
                f"may lose messages: {_CHANGE_BACK}, or give another name"
            )
        return str(metadata["chatq-name"])

    def changed(self, found: dict[str, Any]) -> list[str]:
        """Return the names of what is configured so that records may be lost or refused."""
        wanted = self.configuration(1)
        same = ("subjects", "retention", "storage", "discard", "max_age")
        changed = [name for name in same if found.get(name, 0) != wanted[name]]
        limits = ("max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size")
        changed += [name for name in limits if found.get(name, -1) > 0]
        # With `no_ack` nothing is ever confirmed; the others fill it with foreign records.
        switches = ("sealed", "no_ack", "mirror", "sources", "subject_transform")
        changed += [name for name in switches if found.get(name)]
        return changed

    def gone(self, what: str, *ways: str) -> StreamGone:
        """Return the error for a stream that is not the one it was: `what` happened, and the ways
        out that it has beside a new start."""
        anew = (
            "start anew, without what waited: give another name, as nats://HOST/NAME, or delete "
            f"what is left (`nats stream rm {self.address.stream}`)"
        )
        return StreamGone(
            f"{self.where} is not the one it was: {what}. Nothing is confirmed or delivered any "
            f"more. Either {', or '.join([*(ways or (_RESTORE,)), anew])}; then start all its "
            "servers again"
        )

    def other(self, info: dict[str, Any], name: str, created: str) -> StreamGone | None:
        """Return what is wrong with a stream of which this is the `STREAM.INFO`, if it was called
        `name` and made at `created`."""
        config = info["config"]
        if (config.get("metadata") or {}).get("chatq-name") != name or info["created"] != created:
            return self.gone("it was deleted, and another one was made under its name")
        if changed := self.changed(config):
            what = f"its configuration was changed ({', '.join(changed)})"
            return self.gone(f"{what}, so that it may lose messages", _CHANGE_BACK)
        return None

    def shorter(self, info: dict[str, Any], last: int) -> StreamGone | None:
        """Return what is wrong if it had a record at `last`, and ends before that."""
        end = info["state"]["last_seq"]
        if end >= last:
            return None
        return self.gone(
            f"it ends at record {end}, and had {last}: an older backup was restored, or a disk was "
            "lost"
        )


_RESTORE = "restore it from a backup that has everything (`nats stream restore`)"
_CHANGE_BACK = "change that back (`nats stream edit`)"
