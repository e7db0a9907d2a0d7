"""What a word that is in no table seems to mean, by how it is spelled and what comes with it.

Owns these guesses. Pure. Must not know: tables, sockets, queues, what an event does.

A guess may only be wrong in harmless ways: asking and joining lose nothing, a package is kept for
somebody; only what clearly says "received" takes anything away.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from .dialect_table import PACKAGES, plain
from .words import Said

__all__ = ["guess", "looks"]

_ASKS = {"get", "fetch", "missed", "missing", "catch", "catchup", "retrieve", "pull", "pending",
         "backlog", "undelivered", "unread", "replay", "resend", "history"}  # fmt: skip
#: These ask only if no package comes with them: "request-pickup" may be either.
_MAY_ASK = {"request", "all", "give", "check", "load", "sync", "collect", "need", "want", "queue"}
_JOINS = {"join", "joined", "subscribe", "register", "enter", "login", "signin", "online", "hello"}
_RECEIPT = re.compile(r"rec[ei]{1,3}v|receipt|acknowledg")
_ACKS = {"ack", "acked", "got", "confirm", "confirmed"}
_TRANSIT = re.compile(r"transit|ontheway|onway|enroute|outfor|shipped|shipping|dispatch|pickedupby")
_DELIVERED = re.compile(r"deliver|dropp?edo|dropoff|arriv|complet")
_PICKUP = re.compile(r"pick|ready|(new|create|place|make|add|send)d?(order|package|parcel|delivery)"
                     r"|(order|package|parcel)(new|created|placed|made|added)")  # fmt: skip
#: How much of a word with a slip of the pen is as it should be.
_CLOSE = 0.8
_WHAT = {
    "get-all": "asks",
    "join": "joins",
    "received": "answers",
    "pickup": "tells of a package",
    "in-transit": "tells of a package",
    "delivered": "tells of a package",
}


def guess(event: str, said: Said, data: Any, known: Mapping[str, str]) -> str | None:
    """Return the name of the event that `event` seems to be, or None.

    `said`: what `data` says; `known`: the events by the words of the table, for slips of the pen.
    """
    word, parts = plain(event[:200]), _parts(event)
    package = isinstance(data, dict) and bool(data) and not said.only_ids
    if "getall" in word or (parts & _ASKS and not (package and said.ids)):
        return "get-all"
    if _RECEIPT.search(word) or (parts & _ACKS and said.ids):
        return "received"
    tells = isinstance(data, dict) and bool(said.ids or (package and said.stores))
    slip = difflib.get_close_matches(word, known, 1, _CLOSE)
    if slip and tells is (known[slip[0]] in PACKAGES):
        return known[slip[0]]
    patterns = (("in-transit", _TRANSIT), ("delivered", _DELIVERED), ("pickup", _PICKUP))
    for kind, pattern in patterns if tells else ():
        if pattern.search(word):
            return kind
    if package and said.ids:
        return None
    if parts & _JOINS:
        return "join"
    return "get-all" if parts & _MAY_ASK else None


def looks(kind: str | None, said: Said, data: Any) -> str:
    """Return what an event looks like, without anything of what is in it."""
    with_it = type(data).__name__ if not isinstance(data, dict) else "an object"
    with_it = {"NoneType": "nothing", "str": "a text", "list": "a list"}.get(with_it, with_it)
    if isinstance(data, dict):
        with_it += " with an id" if said.ids else " without an id"
        with_it += " and a store" if said.stores else ""
    return f"{_WHAT.get(kind or '', 'unclear')}, with {with_it}"


def _parts(event: str) -> set[str]:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event[:200])
    return {part.casefold() for part in re.findall(r"[^\W\d_]+", split)}
