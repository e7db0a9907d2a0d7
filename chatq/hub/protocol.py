"""The hub's own protocol: its requests to the queues, and the replies.

Owns the events `publish` to `redrive` of PROTOCOL.md. Must not know: tokens, packets, files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ..queues.message import TooLarge, check_queue
from ..queues.queues import Queues
from ..queues.receipts import EVENTS
from ..queues.rules import Rules
from ..queues.store import NewMessage
from .error_codes import Limit, code_of
from .gate import Guard, Handler
from .order import Order

__all__ = ["Native"]

#: Limits of one client: subscriptions, queues of one message, new queues.
SUBSCRIPTIONS, FAN_OUT, NEW_QUEUES = 100, 1_000, 1_000
#: The most new queues of all clients while the hub runs.
ALL_QUEUES = 100_000
#: The most messages of one publish.
BATCH = 1_000
#: The most dead letters of one reply, and the most bytes of them.
DEAD, DEAD_BYTES = 100, 800_000

_MESSAGE = ("queue", "event", "data", "key", "ttl", "delay")
_NOT_GIVEN = object()


class Native:
    """Serves `queues` to the clients behind `guard`."""

    rules = Rules()

    def __init__(self, queues: Queues, guard: Guard) -> None:
        self._queues, self._guard = queues, guard
        self._made: dict[str, int] = {}
        self._orders: dict[str, Order] = {}
        self._known: set[str] = set()
        queues.attach(guard.sio, guard.namespace, listen=False)
        #: What clients may ask, and by which parameters.
        self._requests: dict[str, tuple[Handler, set[str]]] = {
            "publish": (self._publish, {*_MESSAGE, "messages"}),
            "subscribe": (self._subscribe, {"queue", "window", "frame"}),
            "unsubscribe": (self._unsubscribe, {"queue"}),
            "stats": (self._stats, {"queue"}),
            "dead": (self._dead, {"queue"}),
            "redrive": (self._redrive, {"queue", "ids"}),
        }
        for event, (handler, parameters) in self._requests.items():
            guard.on(event, self._request(event, handler, parameters))
        for event in EVENTS:
            guard.on(event, self._receipt(event, getattr(queues.answers, event)))
        guard.on("*", self._unknown)
        guard.on_leave(self._left)

    async def start(self) -> None:
        """Do nothing: nothing has to be read before clients connect."""

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
                async with self._order(sid).turn() as go_on:
                    if event == "publish":  # it may have to wait before it asks the store
                        return await handler(sid, go_on, **arguments[0])
                    go_on()
                    return await handler(sid, **arguments[0])
            except Exception as problem:
                code = code_of(problem)
                if code is None:
                    raise
                return self._guard.refuse(sid, event, code, str(problem)[:500])

        return checked

    def _receipt(self, event: str, handler: Handler) -> Handler:
        """Return `handler`, whose replies may be errors, with a line of the log for each."""

        async def noted(sid: str, *arguments: Any) -> Any:
            answer = await handler(sid, *arguments)
            if "error" in answer:
                self._guard.refuse(sid, event, answer["error"]["code"], "")
            return answer

        return noted

    def _order(self, sid: str) -> Order:
        if self._guard.connected(sid):
            return self._orders.setdefault(sid, Order())
        return Order()

    async def _publish(self, sid: str, go_on: Callable[[], None], **asked: Any) -> dict[str, Any]:
        if "messages" not in asked:
            message = self._message(asked)
            await self._may_make(sid, message.queues)
            go_on()
            ids = (await self._queues.emit_many((message,)))[0]
            return {"id": ids[0]} if isinstance(asked["queue"], str) else {"ids": ids}
        if len(asked) > 1:
            raise TypeError("publish takes messages, or one message, not both")
        messages = asked["messages"]
        if not isinstance(messages, list) or not 0 < len(messages) <= BATCH:
            raise TypeError(f"messages is a list of 1 to {BATCH} messages")
        read = [self._listed(n, message) for n, message in enumerate(messages)]
        await self._may_make(sid, {name for message in read for name in message.queues})
        go_on()
        stored = await self._queues.emit_many(read)
        return {
            "ids": [
                ids[0] if isinstance(message["queue"], str) else ids
                for message, ids in zip(messages, stored, strict=True)
            ]
        }

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
        return self._queues.message(event, data, to=queue, key=key, ttl=ttl, delay=delay)

    async def _may_make(self, sid: str, names: Any) -> None:
        """Raise `Limit` if these are too many new queues; else count them."""
        for name in names:
            if name in self._known:
                continue
            if not await self._queues.used(name):
                made = self._made.get(sid, 0)
                if made >= NEW_QUEUES:
                    raise Limit(f"a client may make {NEW_QUEUES} queues")
                if len(self._known) >= ALL_QUEUES:
                    raise Limit(f"this hub may make {ALL_QUEUES} queues while it runs")
                if self._guard.connected(sid):
                    self._made[sid] = made + 1
            self._known.add(name)

    async def _subscribe(
        self, sid: str, queue: Any = None, window: Any = 16, frame: Any = _NOT_GIVEN
    ) -> dict[str, Any]:
        check_queue(queue)
        mine = self._queues.subscriptions(sid)
        if queue not in mine and len(mine) >= SUBSCRIPTIONS:
            raise Limit(f"a client may consume {SUBSCRIPTIONS} queues at once")
        framed = frame is not _NOT_GIVEN
        stats = await self._queues.subscribe(
            sid, queue, window, frame=frame if framed else 0, namespace=self._guard.namespace
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
        for dead in await self._queues.dead(queue, DEAD):
            size += dead.size
            if shown and size > DEAD_BYTES:
                break
            shown.append(
                {
                    "id": dead.id,
                    "event": dead.event,
                    "data": dead.data,
                    "attempts": dead.attempts,
                    "reason": dead.reason,
                    "died": dead.died,
                }
            )
        return {"queue": queue, "dead": shown}

    async def _redrive(self, sid: str, queue: Any = None, ids: Any = None) -> dict[str, Any]:
        check_queue(queue)
        if ids is not None and not (
            isinstance(ids, list) and all(isinstance(id, str) for id in ids)
        ):
            raise TypeError("ids is a list of the ids of dead messages")
        await self._queues.stats(queue)
        return {"queue": queue, "redriven": await self._queues.redrive(queue, ids)}

    async def _unknown(self, event: str, sid: str, *_: Any) -> dict[str, Any]:
        known = ", ".join((*self._requests, *EVENTS))
        return self._guard.refuse(sid, event, "malformed", f"this hub knows {known}")

    async def _left(self, sid: str) -> None:
        self._made.pop(sid, None)
        self._orders.pop(sid, None)
        for queue in self._queues.subscriptions(sid):
            await self._queues.unsubscribe(sid, queue)
