"""Translation of the verbs of a store into those of `State`, and of its results back.

Owns the form of a request, and the values made of the results of `State`. Must not know: where
bodies are kept, when a request takes effect, what a verb does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from .ids import number_in
from .ordering import Item
from .state import Granted, State
from .store import Attempt, Body, Claimed, Dead, Kept, NewMessage

__all__ = ["Request", "WithBodies", "request"]


class WithBodies(NamedTuple):
    """A result that lacks the bodies at these places; `make` takes them and returns it."""

    places: list[tuple[int, int]]
    make: Callable[[list[Body]], Any]


class Request(NamedTuple):
    """A request: `verb` as a record holds it (None: a look-up that changes nothing), the bodies
    that it brings, and `finish`, which makes the value for the caller (or a `WithBodies`) of the
    state, the result of the verb and the time."""

    verb: list[Any] | None
    finish: Callable[[State, Any, float], Any]
    bodies: list[Body] = []  # noqa: RUF012 (never changed)


def request(verb: str, *arguments: Any) -> Request:
    """Return the request for a verb of `Store` with these arguments, in the order of `Store`."""
    return _REQUESTS[verb](*arguments)


def _put(messages: Sequence[NewMessage]) -> Request:
    heads = [[m.event, m.queues, m.key, m.expires, m.due] for m in messages]
    return Request(["put", heads], _result, [message.body for message in messages])


def _put_one(event: str, body: Body, queue: str) -> Request:
    heads = [[event, [queue], None, None, None]]
    return Request(["put", heads], lambda state, ids, now: ids[0][0], [body])


def _claim(
    queue: str, limit: int, lease: float, in_order: bool, alone: bool, to: str = ""
) -> Request:
    def finish(
        state: State, result: tuple[list[Granted], float | None, bool], now: float
    ) -> WithBodies:
        granted, due, suspect = result
        facts = [(state.id(g.item), g.item.event, g.item.expires, *g[1:]) for g in granted]

        def make(bodies: list[Body]) -> Claimed:
            attempts = [
                Attempt(
                    id, queue, event, body, number, failures, expires, receipt, suspect, redriven
                )
                for (id, event, expires, number, failures, receipt, suspect, redriven), body in zip(
                    facts, bodies, strict=True
                )
            ]
            return Claimed(attempts, due, suspect)

        return WithBodies(_places(g.item for g in granted), make)

    # Receipts are made of the whole of it, also by servers that know nothing of names.
    seed = f"{os.urandom(16).hex()} {quote(to)}"
    return Request(["claim", queue, limit, lease, in_order, alone, seed], finish)


def _ack(receipts: Iterable[str]) -> Request:
    return Request(["ack", _texts(receipts)], _result)


def _extend(receipts: Iterable[str], lease: float) -> Request:
    return Request(["extend", _texts(receipts), lease], _result)


def _release(receipt: str, delay: float, counted: bool, sent: bool) -> Request:
    return Request(["release", *_texts([receipt]), delay, counted, sent], _result)


def _bury(receipt: str, reason: str, sent: bool) -> Request:
    return Request(["bury", *_texts([receipt]), reason, sent], _result)


def _remove(queue: str, ids: Iterable[str]) -> Request:
    return Request(["remove", queue, _texts(ids)], _result)


def _redrive(queue: str, ids: Iterable[str] | None) -> Request:
    return Request(["redrive", queue, None if ids is None else _texts(ids)], _result)


def _purge(queue: str, limit: int) -> Request:
    return Request(["purge", queue, limit], _result)


def _discard(queue: str, ids: Iterable[str] | None) -> Request:
    return Request(["discard", queue, None if ids is None else _texts(ids)], _result)


def _delete(queue: str, limit: int) -> Request:
    return Request(["delete", queue, limit], _result)


def _sweep() -> Request:
    return Request(["sweep"], _result)


def _names() -> Request:
    return Request(None, lambda state, _, now: state.names())


def _peek(queue: str, limit: int, after: str) -> Request:
    def finish(state: State, _: None, now: float) -> WithBodies:
        items = state.peek(queue, limit, number_in(after, state.name))
        facts = [(state.id(item), item.event) for item in items]
        return WithBodies(
            _places(items),
            lambda bodies: [Kept(*fact, body) for fact, body in zip(facts, bodies, strict=True)],
        )

    return Request(None, finish)


def _dead(queue: str, limit: int) -> Request:
    def finish(state: State, _: None, now: float) -> WithBodies:
        items = state.dead(queue, limit)
        facts = [(state.id(i), i.event, i.attempts, i.reason, i.died) for i in items]
        return WithBodies(
            _places(items),
            lambda bodies: [
                Dead(id, event, body, attempts, reason, died)
                for (id, event, attempts, reason, died), body in zip(facts, bodies, strict=True)
            ],
        )

    return Request(None, finish)


def _are_dead(queue: str, ids: Iterable[str]) -> Request:
    wanted = _texts(ids)
    return Request(None, lambda state, _, now: state.are_dead(queue, wanted))


def _where(id: str) -> Request:
    return Request(None, lambda state, _, now: state.where(id, now))


def _stats(queue: str) -> Request:
    return Request(None, lambda state, _, now: state.stats(queue, now))


def _result(state: State, result: Any, now: float) -> Any:
    return result


def _places(items: Iterable[Item]) -> list[tuple[int, int]]:
    return [(item.place, item.index) for item in items]


def _texts(values: Iterable[object]) -> list[str]:
    """Return texts as they are; an empty text, which is no receipt or id, for anything else."""
    return [value if isinstance(value, str) else "" for value in values]


_REQUESTS: dict[str, Callable[..., Request]] = {
    "put": _put,
    "put_one": _put_one,
    "claim": _claim,
    "ack": _ack,
    "extend": _extend,
    "release": _release,
    "bury": _bury,
    "peek": _peek,
    "remove": _remove,
    "dead": _dead,
    "redrive": _redrive,
    "purge": _purge,
    "discard": _discard,
    "delete": _delete,
    "sweep": _sweep,
    "names": _names,
    "stats": _stats,
    "are_dead": _are_dead,
    "where": _where,
}
