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

_ASKS = {"get", "fetch", "retrieve", "pull"}
#: These ask even if they come with a whole package: it says no more than which store it is.
_CATCHES_UP = {"missed", "missing", "catch", "catchup", "pending", "backlog", "undelivered",
               "unread", "replay", "resend", "history"}  # fmt: skip
#: These ask only if no package comes with them: "request-pickup" may be either.
_MAY_ASK = {"request", "all", "give", "check", "load", "sync", "collect", "need", "want", "queue",
            "notify", "please", "list", "show", "notifs", "notifications", "pickups", "deliveries",
            "messages", "orders", "packages", "parcels", "jobs"}  # fmt: skip
#: Drivers that want work say so again after each package.
_READY = {"ready", "available", "next", "idle", "free", "waiting"}
_JOINS = {"join", "joined", "subscribe", "register", "enter", "login", "signin", "online", "hello"}
_RECEIPT = re.compile(r"rec[ei]{1,3}v|receipt|acknowledg|thank")
_ACKS = {"ack", "acked", "got", "thx"}
#: A store confirms what it has got; a driver that confirms a delivery tells of it.
_CONFIRMS = {"confirm", "confirms", "confirmed", "confirmation"}
_TRANSIT = re.compile(r"transit|ontheway|onway|enroute|outfor|shipped|shipping|dispatch|pickedupby")
_DELIVERED = re.compile(r"deliver|dropp?edo|dropoff|arriv|complet")
_PICKUP = re.compile(r"pick|ready|avail"
                     r"|(new|create|place|make|add|send)d?(order|package|parcel|delivery)"
                     r"|(order|package|parcel)(new|created|placed|made|added)")  # fmt: skip
#: How much of a word with a slip of the pen is as it should be.
_CLOSE = 0.8
_WHAT = {
    "get-all": "asks",
    "ready": "asks for work",
    "join": "joins",
    "received": "answers",
    "pickup": "tells of a package",
    "in-transit": "tells of a package",
    "delivered": "tells of a package",
}


def guess(
    event: str, said: Said, data: Any, known: Mapping[str, str], *, driver: bool = False
) -> str | None:
    """Return the name of the event that `event` seems to be, or None.

    `said`: what `data` says; `known`: the events by the words of the table, for slips of the pen;
    `driver`: whether its sender has shown to be one.
    """
    word, parts = plain(event[:200]), _parts(event)
    package = isinstance(data, dict) and bool(data) and not said.only_ids
    whole = package and bool(said.ids)
    if "getall" in word or parts & _CATCHES_UP or (parts & _ASKS and not whole):
        return "get-all"
    acks = parts & _ACKS or (parts & _CONFIRMS and not (driver and _DELIVERED.search(word)))
    if _RECEIPT.search(word) or (acks and said.ids):
        return "received"
    tells = isinstance(data, dict) and bool(said.ids or (package and said.stores))
    longer = (w for w, kind in known.items() if kind != "ready")  # those are too near to others
    slip = difflib.get_close_matches(word, longer, 1, _CLOSE)
    if slip and tells is (known[slip[0]] in PACKAGES):
        return known[slip[0]]
    patterns = (("in-transit", _TRANSIT), ("delivered", _DELIVERED), ("pickup", _PICKUP))
    for kind, pattern in patterns if tells else ():
        if pattern.search(word):
            return kind
    if whole:
        return None
    if parts & _JOINS:
        return "join"
    if parts & _READY and not package:
        return "ready"
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
