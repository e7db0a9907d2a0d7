"""Lines of Python for the reader's choices in a panel.

Owns the wording: the call of python-socketio, or of the stage, for each choice. Must not know: who
runs a line, widgets, the stage.

A line is one that a cell of a notebook could have, so that the reader sees what a click does, and
can write it next time. In it, `sio` is the server, `queues` the queues, `stage` the stage, `nats`
the cluster below the queues; a client or a process has its name, or is `stage["two words"]`.
"""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..journal.facts import SERVER

__all__ = ["RESERVED", "TARGETS", "Cast", "Draft", "named", "payload"]
__all__ += ["consume", "dial", "enter", "hang_up", "leave", "of_node", "of_stage", "redrive"]

#: Names with a meaning in a line: a client of such a name is written as `stage[…]`.
RESERVED = ("nats", "queues", "sio", "stage")
#: The choices of addressees of a message.
TARGETS = ("the server", "everyone", "all but me", "one client", "rooms", "a queue")


class _Code:
    """An expression in place of a value."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __repr__(self) -> str:
        return self._code


def named(name: str) -> str:
    """Return the expression for the client or process `name`."""
    plain = name.isidentifier() and not keyword.iskeyword(name) and name not in RESERVED
    return name if plain else f"stage[{name!r}]"


def _call(owner: str, method: str, *arguments: Any, **options: Any) -> str:
    given = [*map(repr, arguments)]
    given += [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"await {owner}.{method}({', '.join(given)})"


def _sid(client: str, namespace: str) -> _Code:
    return _Code(f"{named(client)}.get_sid({'' if namespace == '/' else repr(namespace)})")


def _elsewhere(namespace: str) -> str | None:
    return None if namespace == "/" else namespace


# -- clients and queues ---------------------------------------------------------------------------


def dial(name: str, options: Mapping[str, Any]) -> str:
    """Return the line that connects a client; `options`: the arguments of its last `connect`.

    A process in place of an address has its name, which stays when it is started again.
    """
    given = dict(options)
    if hasattr(given.get("url"), "address"):
        given["url"] = _Code(named(given["url"].name))
    return _call(named(name), "connect", **given)


def hang_up(name: str) -> str:
    """Return the line that disconnects a client."""
    return _call(named(name), "disconnect")


def of_stage(what: str, *names: str) -> str:
    """Return the line for a method of the stage: "cut", "freeze", "kill", "restart", "reset", …"""
    return _call("stage", what, *names)


def of_node(what: str, number: int) -> str:
    """Return the line for a method of a node of the cluster: "kill", "start"."""
    return _call(f"nats.nodes[{number}]", what)


def enter(name: str, room: str, namespace: str = "/") -> str:
    """Return the line with which the server puts a client into a room."""
    return _in_room("enter_room", name, room, namespace)


def leave(name: str, room: str, namespace: str = "/") -> str:
    """Return the line with which the server removes a client from a room."""
    return _in_room("leave_room", name, room, namespace)


def _in_room(method: str, name: str, room: str, namespace: str) -> str:
    if not room.strip():
        raise ValueError("type the name of a room first")
    sid = _sid(name, namespace)
    return _call("sio", method, sid, room.strip(), namespace=_elsewhere(namespace))


def consume(name: str, queue: str, namespace: str = "/", *, on: bool = True) -> str:
    """Return the line that subscribes a client to a queue, or (`on=False`) unsubscribes it."""
    sid = _sid(name, namespace)
    if not on:
        return _call("queues", "unsubscribe", sid, queue)
    return _call("queues", "subscribe", sid, queue, window=1)  # in order, one at a time


def redrive(queue: str) -> str:
    """Return the line that redrives the dead letters of a queue."""
    return _call("queues", "redrive", queue)


# -- a message ------------------------------------------------------------------------------------


def payload(text: str) -> Any:
    """Return typed text as data: parsed if it is JSON, else as text; None if it is empty.

    Raises `ValueError` for text that begins like JSON and is not.
    """
    text = text.strip()
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise ValueError("the payload is nested too deeply") from None
    except json.JSONDecodeError as error:
        if text[0] in '[{"':
            raise ValueError(
                f"the payload begins like JSON and is not: {error.msg} at character "
                f"{error.pos + 1}. Mend it, or begin with another character to send it as text"
            ) from None
    except ValueError as error:  # a number that is too long, or not finite
        raise ValueError(f"the payload cannot be read: {error}") from None
    return text


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f'{text} is no number in JSON: write "{text}" to send it as text')


@dataclass(frozen=True, slots=True)
class Cast:
    """The names that a line can use.

    `kinds`: by name, "client", "process", "guest" or "server" (another one); `inside`: the
    namespaces in which each client has a sid; `queues`: whether there are any; `outside`: by
    client, the other server that it is connected to.
    """

    kinds: Mapping[str, str]
    inside: Mapping[str, Collection[str]]
    queues: bool = False
    outside: Mapping[str, str] = field(default_factory=dict)

    def targets(self) -> tuple[str, ...]:
        """Return the possible addressees of a message."""
        return TARGETS if self.queues else TARGETS[:-1]

    def kind(self, name: str) -> str:
        """Return the kind of a name. Raises `ValueError` for an unknown name."""
        if name not in self.kinds:
            raise ValueError(f"nobody is called {name!r}; there are {_listed(self.kinds)}")
        return self.kinds[name]

    def sid(self, client: str, namespace: str, danger: str) -> _Code:
        """Return the expression for the sid of a client; `danger`: the effect of None in its place.

        Raises `ValueError` if there is no such client, or it has no sid now.
        """
        if client not in self.inside:
            known = _listed(self.inside)
            raise ValueError(f"no client is called {client!r}; there are {known}")
        code = _sid(client, namespace)
        if client in self.outside:
            raise ValueError(
                f"{client} is connected to {self.outside[client]}, and this server does not know "
                f"{code!r}: choose another"
            )
        if namespace not in self.inside[client]:
            raise ValueError(
                f"{client} is not connected to {namespace}, so {code!r} is None, and {danger}: let "
                "it dial first, or choose another"
            )
        return code


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"


@dataclass(frozen=True, slots=True)
class Draft:
    """A message in the composer.

    `sender`: the server, a client, or a process, which gets `data` as a line of input; `target`:
    one of `TARGETS`; `who`: the client, the rooms (with commas between them) or the queue of that;
    `data`: as typed, see `payload`.
    """

    sender: str
    event: str
    data: str = ""
    target: str = "everyone"
    who: str = ""
    namespace: str = "/"

    def line(self, cast: Cast) -> str:
        """Return the line that sends it, with these names.

        Raises `ValueError` saying what is missing.
        """
        kind = "client" if self.sender == SERVER else cast.kind(self.sender)
        if kind == "process":
            return f"{named(self.sender)}.write({self.data!r})"
        if kind == "guest":
            raise ValueError(f"{self.sender} is a client of somebody else: it sends by itself")
        if kind == "server":
            raise ValueError(f"{self.sender} is not the stage's: it sends by itself")
        event = self.event.strip()
        if not event:
            raise ValueError("type the name of an event first")
        data = payload(self.data)
        given = (event,) if data is None else (event, data)
        elsewhere = _elsewhere(self.namespace)
        match self.target:
            case "the server" | "all but me" if self.sender == SERVER:
                raise ValueError("the sender is the server itself: choose a client as the sender")
            case "the server":
                return _call(named(self.sender), "emit", *given, namespace=elsewhere)
            case "everyone":
                return _call("sio", "emit", *given, namespace=elsewhere)
            case "all but me":
                skipped = cast.sid(self.sender, self.namespace, "skip_sid=None skips nobody")
                return _call("sio", "emit", *given, skip_sid=skipped, namespace=elsewhere)
            case "one client":
                who = self._who("choose a client first")
                to = cast.sid(who, self.namespace, "to=None means everyone")
                return _call("sio", "emit", *given, to=to, namespace=elsewhere)
            case "rooms":
                names = self._who("type the name of a room first").split(",")
                rooms = [room.strip() for room in names if room.strip()]
                to_rooms = rooms[0] if len(rooms) == 1 else rooms
                return _call("sio", "emit", *given, to=to_rooms, namespace=elsewhere)
            case "a queue":
                if not cast.queues:
                    raise ValueError("there are no queues here: stage.watch(queues) shows them")
                queue = self._who("type the name of a queue first")
                return _call("queues", "emit", *given, to=queue)
        raise ValueError(f"a message goes to {', '.join(TARGETS)}, not to {self.target!r}")

    def _who(self, missing: str) -> str:
        if not self.who.strip(" ,"):
            raise ValueError(missing)
        return self.who.strip(" ,")
