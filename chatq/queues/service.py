"""Requests of clients to queues: `publish`, `subscribe` and so on of PROTOCOL.md; and the replies.

Owns the form of these requests, and the limits of one client. Must not know: servers, tokens,
packets, who else handles events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..shares import Shares
from .error_codes import Limit, code_of, error
from .message import TooLarge, check_queue, decode
from .order import Order
from .redriving import redriven
from .store import NewMessage

__all__ = ["Service"]

#: Limits of one client: subscriptions, queues of one message, new queues.
SUBSCRIPTIONS, FAN_OUT, NEW_QUEUES = 100, 1_000, 1_000
#: The most new queues of all clients while the program runs.
ALL_QUEUES = 100_000
#: The most messages of one publish, and the most copies of them, one for each queue.
BATCH, COPIES = 1_000, 2_000
#: The most publishes of one client that are under way. Of all clients there are so many copies
#: under way at once, beside those of a client that has only these few.
UNDER_WAY, _LIGHT = 1_000, 10
#: The most dead letters of one reply, and the most bytes of them.
DEAD, DEAD_BYTES = 100, 800_000

Handler = Callable[..., Awaitable[Any]]

_MESSAGE = ("queue", "event", "data", "key", "ttl", "delay")
_NOT_GIVEN = object()
#: What producers and consumers ask; all else is for who looks after queues.
_OF_USERS = ("publish", "subscribe", "unsubscribe")


def _refused(sid: str, event: str, code: str, message: str) -> dict[str, Any]:
    return error(code, message)


async def _at_once(sid: str) -> None:
    pass


@dataclass(slots=True)
class _Client:
    """The state of a client: the order of its events, and the number of queues it has made."""

    order: Order = field(default_factory=Order)
    made: int = 0


class Service:
    """Handlers for the requests of clients to `queues`; `handlers`: by event.

    `queues`: a `Queues`, to which the clients' server is attached in `namespace`.
    `connected(sid)`: whether a client is; `refuse(sid, event, code, message)`: returns the reply to
    what is refused; `may_publish(sid, queue)` and `may_manage(sid, queue)`: raise `PermissionError`
    for who may not publish to it, or look after it; `reads(sid)`: returns when the client has read
    most of its answers.
    """

    handlers: dict[str, Handler]

    # `Queues` makes one of these to be served itself, so that class cannot be imported here.
    def __init__(
        self,
        queues: Any,
        namespace: str,
        connected: Callable[[str], bool],
        refuse: Callable[[str, str, str, str], dict[str, Any]] = _refused,
        may_publish: Callable[[str, str], Awaitable[None]] | None = None,
        may_manage: Callable[[str, str], Awaitable[None]] | None = None,
        reads: Callable[[str], Awaitable[None]] = _at_once,
    ) -> None:
        self._queues, self._namespace = queues, namespace
        self._connected, self._refuse, self._may_publish = connected, refuse, may_publish
        self._may_manage, self._reads = may_manage, reads
        self._clients: dict[str, _Client] = {}
        self._sweep_at = 64
        self._known: set[str] = set()
        self._work = Shares(count=UNDER_WAY, size=COPIES, total=COPIES, free=_LIGHT)
        requests: dict[str, tuple[Handler, set[str]]] = {  # with their parameters
            "publish": (self._publish, {*_MESSAGE, "messages"}),
            "subscribe": (self._subscribe, {"queue", "window", "frame", "name"}),
            "unsubscribe": (self._unsubscribe, {"queue"}),
            "stats": (self._stats, {"queue"}),
            "dead": (self._dead, {"queue"}),
            "redrive": (self._redrive, {"queue", "ids"}),
        }
        self.handlers = {
            event: self._request(event, handler, parameters)
            for event, (handler, parameters) in requests.items()
        }

    async def left(self, sid: str) -> None:
        """Forget a client that has left, and end its subscriptions."""
        self._clients.pop(sid, None)
        for queue in self._queues.subscriptions(sid):
            await self._queues.unsubscribe(sid, queue)

    def _client(self, sid: str) -> _Client:
        """Return what is known of a client; nothing is kept of one that has left."""
        if len(self._clients) >= self._sweep_at:  # of those that nobody has said `left` of
            for known in [*self._clients]:
                if not self._connected(known):
                    del self._clients[known]
            self._sweep_at = max(64, 2 * len(self._clients))
        if self._connected(sid):
            return self._clients.setdefault(sid, _Client())
        return _Client()

    def _request(self, event: str, handler: Handler, parameters: set[str]) -> Handler:
        """Return `handler` with a check of the request's form, and with errors as replies."""

        async def checked(sid: str, *arguments: Any) -> Any:
            try:
                if len(arguments) != 1 or not isinstance(arguments[0], dict):
                    raise TypeError(f"{event} takes one object")
                for name in arguments[0]:
                    if name not in parameters:
                        known = ", ".join(sorted(parameters))
                        raise TypeError(f"{event} takes {known}, not {name!r:.60}")
                if event not in _OF_USERS and self._may_manage is not None:
                    queue = arguments[0].get("queue", "")  # "": about all of them
                    await self._may_manage(sid, queue if isinstance(queue, str) else "")
                async with self._client(sid).order.turn() as go_on:
                    if event == "publish":  # it may have to wait before it asks the store
                        return await handler(sid, go_on, **arguments[0])
                    if event == "dead":  # the answer may be large: one after the other
                        await self._reads(sid)
                        return await handler(sid, **arguments[0])
                    go_on()
                    return await handler(sid, **arguments[0])
            except Exception as problem:
                code = code_of(problem)
                if code is None:
                    raise
                return self._refuse(sid, event, code, str(problem)[:500])

        return checked

    async def _publish(self, sid: str, go_on: Callable[[], None], **asked: Any) -> dict[str, Any]:
        if "messages" not in asked:
            message = self._message(asked)
            [ids] = await self._put(sid, go_on, [message])
            return {"id": ids[0]} if isinstance(asked["queue"], str) else {"ids": ids}
        if len(asked) > 1:
            raise TypeError("publish takes messages, or one message, not both")
        messages = asked["messages"]
        if not isinstance(messages, list) or not 0 < len(messages) <= BATCH:
            raise TypeError(f"messages is a list of 1 to {BATCH} messages")
        copies = sum(map(_copies, messages))
        if copies > COPIES:
            raise Limit(f"a publish has {COPIES} copies at most, one for each queue, not {copies}")
        stored = await self._put(
            sid, go_on, [self._listed(n, message) for n, message in enumerate(messages)]
        )
        return {
            "ids": [
                ids[0] if isinstance(message["queue"], str) else ids
                for message, ids in zip(messages, stored, strict=True)
            ]
        }

    async def _put(
        self, sid: str, go_on: Callable[[], None], messages: list[NewMessage]
    ) -> list[list[str]]:
        names = {name for message in messages for name in message.queues}
        if self._may_publish is not None:
            await self._allowed(sid, names, self._may_publish)
        copies = sum(len(message.queues) for message in messages)
        if not self._work.begin_now(sid, copies):
            await self._work.begin(sid, copies)
        try:
            unknown = names - self._known
            new = await self._new(sid, unknown) if unknown else set()
            go_on()
            try:
                stored: list[list[str]] = await self._queues.emit_many(messages)
            except BaseException:
                self._forget(sid, new)
                raise
            return stored
        finally:
            self._work.end(sid, copies)

    def _listed(self, n: int, message: Any) -> NewMessage:
        try:
            if not isinstance(message, dict):
                raise TypeError("a message is an object")
            wrong = message.keys() - set(_MESSAGE)
            if wrong:
                raise TypeError(f"a message has no {sorted(wrong)[0]!r:.60}")
            return self._message(message)
        except (TypeError, ValueError) as problem:
            kind = TooLarge if isinstance(problem, TooLarge) else ValueError
            raise kind(f"messages[{n}], and so none was stored: {problem}") from None

    def _message(self, given: Mapping[str, Any]) -> NewMessage:
        fields: list[Any] = [given.get(name) for name in _MESSAGE]
        queue, event, data, key, ttl, delay = fields
        if isinstance(queue, list) and len(queue) > FAN_OUT:
            raise ValueError(f"a message goes to at most {FAN_OUT} queues")
        for name, value in (("queue", queue), ("event", event)):
            if value is None:
                raise TypeError(f"publish needs {'an' if name == 'event' else 'a'} {name}")
        message: NewMessage = self._queues.message(
            event, data, to=queue, key=key, ttl=ttl, delay=delay
        )
        return message

    async def _allowed(
        self, sid: str, names: Iterable[str], may: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Raise `PermissionError` if this client may not publish to these queues."""
        for name in names:
            await may(sid, name)

    async def _new(self, sid: str, unknown: set[str]) -> set[str]:
        """Count those of these queues that are new, and return them. Raises `Limit` if they are
        too many; then none is counted."""
        used = await asyncio.gather(*map(self._queues.used, unknown))
        # Whoever asked meanwhile has counted those that are known by now.
        new = {
            name
            for name, before in zip(unknown, used, strict=True)
            if not before and name not in self._known
        }
        client = self._client(sid)
        if client.made + len(new) > NEW_QUEUES:
            raise Limit(f"a client may make {NEW_QUEUES} queues")
        if len(self._known) + len(new) > ALL_QUEUES:
            raise Limit(f"clients may make {ALL_QUEUES} queues while this server runs")
        client.made += len(new)
        self._known.update(unknown)
        return new

    def _forget(self, sid: str, new: set[str]) -> None:
        """Count these no more: nothing was put into them."""
        self._client(sid).made -= len(new)
        self._known -= new

    async def _subscribe(
        self,
        sid: str,
        queue: Any = None,
        window: Any = 16,
        frame: Any = _NOT_GIVEN,
        name: Any = _NOT_GIVEN,
    ) -> dict[str, Any]:
        check_queue(queue)
        mine = self._queues.subscriptions(sid)
        if queue not in mine and len(mine) >= SUBSCRIPTIONS:
            raise Limit(f"a client may consume {SUBSCRIPTIONS} queues at once")
        framed = frame is not _NOT_GIVEN
        stats = await self._queues.subscribe(
            sid,
            queue,
            window,
            frame=frame if framed else 0,
            namespace=self._namespace,
            name=f"client {sid[:6]}" if name is _NOT_GIVEN else name,
        )
        answer = {"queue": queue, "ready": stats.ready, "leased": stats.leased, "dead": stats.dead}
        return {**answer, "lease": self._queues.rules.lease} if framed else answer

    async def _unsubscribe(self, sid: str, queue: Any = None) -> dict[str, Any]:
        check_queue(queue)
        return {"ok": await self._queues.unsubscribe(sid, queue)}

    async def _stats(self, sid: str, queue: Any = None) -> dict[str, Any]:
        check_queue(queue)
        stats = await self._queues.stats(queue)
        return {"queue": queue, **asdict(stats)}

    async def _dead(self, sid: str, queue: Any = None) -> dict[str, Any]:
        check_queue(queue)
        await self._queues.stats(queue)  # raises for an unknown queue
        shown: list[dict[str, Any]] = []
        size = 0
        async with self._work.turn(sid, COPIES):  # they may be large
            dead = await self._queues.store.dead(queue, DEAD)
        for letter in dead:
            size += len(letter.body)
            if shown and size > DEAD_BYTES:
                break
            shown.append(
                {
                    "id": letter.id,
                    "event": letter.event,
                    "data": decode(letter.body),
                    "attempts": letter.attempts,
                    "reason": letter.reason,
                    "died": letter.died,
                }
            )
        return {"queue": queue, "dead": shown}

    async def _redrive(self, sid: str, queue: Any = None, ids: Any = None) -> dict[str, Any]:
        check_queue(queue)
        await self._queues.stats(queue)
        async with self._work.turn(sid, COPIES):
            return await redriven(self._queues, queue, ids)


def _copies(message: Any) -> int:
    """Return how many copies are stored of a message that is given like this, if it is one."""
    queue = message.get("queue") if isinstance(message, dict) else None
    return len(queue) if isinstance(queue, list) else 1
