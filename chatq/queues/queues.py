"""Durable queues on any python-socketio server: the public interface.

Owns the checks of arguments, where queues are attached, and who may consume. Must not know: how
messages are kept, when a client gets which, the hub's protocol, the stage. What is asked by whoever
looks after queues is in `administration`.

A queue is the durable counterpart of a room, with the call shapes of python-socketio: `emit(...,
to=queue)`, `subscribe(sid, queue)` like `enter_room`. Delivery is at least once: a message is
redelivered until a consumer acknowledges the current attempt, or it is a dead letter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Self, overload

import socketio  # type: ignore[import-untyped]

from ..journal.facts import Queued, Stored
from .administration import Administration
from .attachment import Attachment, Authorize, Handler
from .dead_message import DeadMessage
from .delivery import Deliverer
from .location import engine_and_place
from .memory import MemoryStore
from .message import check_name, check_queue, new_message, plain_body
from .observers import Observer, observed
from .receipts import EVENTS, Receipts
from .rules import Rules
from .service import Service
from .sqlite_store import SqliteStore
from .steady_clock import steady
from .store import Limits, NewMessage, Stats, Store

__all__ = ["DeadMessage", "Queues"]


class Queues(Administration):
    """Durable queues; see `open`, then `attach` them to a server.

        queues = await Queues.open("sqlite:///packages.db")
        queues.attach(sio, namespace="/caps")
        await queues.emit("pickup", order, to="drivers")
        await queues.subscribe(sid, "drivers")

    `store`: keeps the messages; `rules`: the limits; `clock`: gives the time in seconds since the
    epoch: of `time.time` what it says at first, and then what has passed, so that nobody waits if
    it is set back; `random`: the source of the jitter of the back-off.
    """

    clock: Callable[[], float]
    answers: Receipts

    def __init__(
        self,
        store: Store,
        rules: Rules | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self.clock, rules = steady(clock), rules or Rules()
        super().__init__(store, rules, Deliverer(store, rules, self.clock, random or Random()))
        #: The handlers of `received` and `failed`, for servers that wrap them in their own.
        self.answers = Receipts(self._delivery)
        self._attached: dict[str, Attachment] = {}  # by namespace
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str = "sqlite:///chatq.db",
        rules: Rules | None = None,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> Self:
        """Open the queues whose messages are kept at `url`.

        `"sqlite:///packages.db"` is a file with a relative path, `"sqlite:////var/lib/packages.db"`
        one with an absolute path: all that follows the third slash is the path, as it is.
        `"memory:"` keeps nothing when the process ends.
        `"nats://host1,host2,host3"` is a cluster of NATS servers, which any number of programs may
        use at once; `"nats://user:password@host/packages"` a stream of another name than "chatq";
        with `"?patience=5"` a call raises if it is not confirmed within 5 seconds instead of 20.
        With `create=False` there has to be a file or a stream already.

        Raises `ValueError` for another `url` (`sqlite:///:memory:`, or one with options, is one),
        `StoreError` if the store cannot be opened.
        """
        rules, clock = rules or Rules(), steady(clock)
        limits: dict[str, Any] = {name: getattr(rules, name) for name in Limits._fields}
        store: Store
        match engine_and_place(url):
            case "memory", _:
                store = MemoryStore(clock=clock, **limits)
            case "sqlite", path:
                store = await SqliteStore.open(path, clock=clock, create=create, **limits)
            case _, place:
                from .nats.nats_store import NatsStore  # its client may be missing

                store = await NatsStore.open(place, clock=clock, create=create, **limits)
        return cls(store, rules, clock=clock, random=random)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def attach(
        self,
        sio: socketio.AsyncServer,
        namespace: str = "/",
        authorize: Authorize | None = None,
        *,
        listen: bool = True,
        serve: bool = False,
        authorize_publish: Authorize | None = None,
    ) -> None:
        """Deliver to clients of `namespace` of `sio`, and handle their acknowledgements there.

        `authorize(sid, queue)`, plain or async, returns whether that client may consume that queue.
        Adds handlers for the events `received`, `failed`, `released` and `working`. Of these events
        only those with a receipt are the queues'; others go on to who would get them without the
        queues: a catch-all, say. With `listen=False` it adds none, and handlers of your own call
        `received`, `failed`, `released` and `extend` of these queues.

        `serve=True` also answers what `chatq.Consumer` and `chatq.Outbox` ask, as the hub does:
        `subscribe`, `unsubscribe` and `publish` of chatq/PROTOCOL.md, errors included. Clients
        consume what `authorize` permits, and publish what `authorize_publish(sid, queue)` permits;
        without that, they publish to the queues that they may consume. If such a function raises,
        the client is answered `unavailable`, and the error is logged.

        Raises `TypeError` if `sio` is no `socketio.AsyncServer` or `namespace` no text,
        `ValueError` if these queues are attached to a namespace of that name already, or those
        events have handlers there that would be out of work.
        """
        if not isinstance(sio, socketio.AsyncServer):
            raise TypeError(f"attach takes a socketio.AsyncServer, not {type(sio).__name__}")
        if not isinstance(namespace, str):
            raise TypeError(f"a namespace is text, like /caps, not {type(namespace).__name__}")
        if namespace == "*":
            raise ValueError("queues are attached to one namespace, not to all of them by '*'")
        if serve and not listen:
            raise ValueError("serve=True adds handlers, listen=False adds none: take one of them")
        if authorize_publish is not None and not serve:
            raise ValueError("authorize_publish is asked for clients that are served: serve=True")
        if namespace in self._attached:
            raise ValueError(f"these queues are attached to {namespace} already: once is enough")
        attachment = Attachment(
            sio, namespace, authorize, lambda: self._delivery.closing, served=serve
        )
        if listen:
            handlers: dict[str, Handler] = {e: getattr(self.answers, e) for e in EVENTS}
            if serve:
                may_publish = partial(attachment.may_publish, authorize_publish)
                service = Service(self, namespace, attachment.has, may_publish=may_publish)
                for event in ("publish", "subscribe", "unsubscribe"):
                    handlers[event] = service.handlers[event]
            attachment.listen(handlers)
        self._attached[namespace] = attachment
        self._delivery.listen(sio, namespace)

    def watch(self, observer: Observer) -> Callable[[], None]:
        """Notify `observer` of what happens to messages; return the function that ends this.

        There may be any number of observers; what one of them raises is logged, and stops nothing.
        Messages already in flight are not reported. Raises `TypeError` for what is no `Observer`
        (one that is async, too), `RuntimeError` for one that watches already.
        """
        return self._delivery.watch(observer)

    def tick(self) -> None:
        """Look at the clock now, instead of when a timer is due.

        For a `clock` that is moved by hand: ends all leases, delays and times to live that are over
        by it.
        """
        if not self._delivery.closing:
            self.store.tick()
            self._delivery.tick()

    # -- producing ------------------------------------------------------------------------------

    @overload
    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: str,
        key: str | None = None,
        ttl: float | None = None,
        delay: float | None = None,
    ) -> str: ...
    @overload
    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: list[str] | tuple[str, ...],
        key: str | None = None,
        ttl: float | None = None,
        delay: float | None = None,
    ) -> list[str]: ...
    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: str | list[str] | tuple[str, ...],
        key: str | None = None,
        ttl: float | None = None,
        delay: float | None = None,
    ) -> str | list[str]:
        """Store a message in the queue `to` and return its id, once it is on stable storage.

        `data`: what JSON can say, or bytes, anywhere in it; it arrives equal to what it was, and of
        the same type in JSON. `to`: one queue, or several (fan-out): then each gets a copy, and a
        list of ids is returned. `key`: an idempotency key: a second `emit` with it, within
        `Rules.key_memory`, stores nothing and returns the first one's id. `ttl`: after so many
        seconds it is a dead letter, whether or not anybody consumes the queue. `delay`: it is not
        delivered before so many seconds; its turn is when they are over, also after a restart. Both
        are from now.

        Raises `TypeError` or `ValueError` for data that would not arrive as it is, with its place
        (`data["order"][3]`), `QueueFull` (nothing was stored) and `StoreError`.
        """
        if type(to) is str and type(event) is str and key is None and ttl is None and delay is None:
            # The usual case, kept fast.
            body = plain_body(event, data, to, self.rules.payload)
            self._check_open()
            self._delivery.expect((to,))
            id = await self.store.put_one(event, body, to)
            if self._delivery.observers.any:
                self._delivery.observers.notify(Stored(observed(to, id, event, body)))
            return id
        message = self.message(event, data, to=to, key=key, ttl=ttl, delay=delay)
        [ids] = await self.emit_many((message,))
        return ids[0] if isinstance(to, str) else ids

    def message(
        self,
        event: str,
        data: Any = None,
        *,
        to: str | list[str] | tuple[str, ...],
        key: str | None = None,
        ttl: float | None = None,
        delay: float | None = None,
    ) -> NewMessage:
        """Return the message that `emit` would store, for `emit_many`.

        Raises `TypeError` or `ValueError` for data that cannot be kept.
        """
        if type(to) is str and type(event) is str and key is None and ttl is None and delay is None:
            return NewMessage(event, plain_body(event, data, to, self.rules.payload), (to,))
        return new_message(event, data, to, key, ttl, self.rules.payload, self.clock(), delay)

    async def emit_many(self, messages: Sequence[NewMessage]) -> list[list[str]]:
        """Store all these messages (made by `message`) or none; return the ids of each, one for
        each of its queues, once they are on stable storage.

        Raises `QueueFull` (nothing was stored) and `StoreError`.
        """
        self._check_open()
        for message in messages:
            self._delivery.expect(message.queues)
        stored = await self.store.put(messages)
        observers = self._delivery.observers
        if observers.any:
            for message, ids in zip(messages, stored, strict=True):
                data = observed("", "", message.event, message.body).data
                for queue, id in zip(message.queues, ids, strict=True):
                    observers.notify(Stored(Queued(queue, id, message.event, data)))
        return stored

    # -- consuming ------------------------------------------------------------------------------

    async def subscribe(
        self,
        sid: str,
        queue: str,
        window: int = 16,
        *,
        namespace: str | None = None,
        frame: int = 0,
        name: str = "",
    ) -> Stats:
        """Deliver `queue` to the client `sid` from now on; like `enter_room`, but durable.

        `window`: the prefetch window: the most messages in flight to it. A lease runs from
        the claim, not from when a handler begins, so for a client that handles one after the other
        the window times what one message takes has to stay below the lease. 1 means strictly in
        order, for the whole queue: while one message is in flight, or waits for redelivery, no
        other consumer with window 1 gets the next. Parallel workers need at least 2; order holds
        only if all consumers of the queue have window 1.

        `frame`: the most messages in one event, for clients that ask for it. `namespace`: that of
        the client, if these queues are attached to several. `name`: who that is, for people:
        `where` says to whom each attempt went; its sid, if none is given. Subscribing again changes
        the window.

        In a `connect` handler it works as `enter_room` does: delivery begins when the client has
        been let in, and if the handler refuses it, nothing is left of the subscription.

        Returns the queue's `Stats`. Raises `PermissionError` if `authorize` says no, `LookupError`
        if no such client is connected, `RuntimeError` if the handlers that `attach` has added were
        replaced since, or others for the same events have come.
        """
        self._check_open()
        check_queue(queue)
        for what, value, least in (("window", window, 1), ("frame", frame, 0)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{what} is a whole number, not {value!r:.80}")
            if not least <= value <= self.rules.window:
                raise ValueError(f"{what} is {least} to {self.rules.window}, not {value}")
        if name != "":
            check_name(name)
        attachment = self._find(sid, namespace)
        await attachment.may_consume(sid, queue)
        self._check_open()
        return await self._delivery.subscribe(
            attachment.sio, attachment.namespace, sid, queue, window, frame, name or sid
        )

    def _find(self, sid: str, namespace: str | None) -> Attachment:
        for name, attachment in self._attached.items():
            if namespace in (None, name) and attachment.has(sid):
                attachment.check()
                return attachment
        where = " or ".join(self._attached) or "no namespace: attach the queues to a server first"
        raise LookupError(f"no client {sid!r:.40} is connected to {namespace or where}")

    async def unsubscribe(self, sid: str, queue: str) -> bool:
        """End the subscription of `sid` to `queue`; messages in flight may still be acknowledged.

        Returns whether it was subscribed.
        """
        return await self._delivery.unsubscribe(sid, queue)

    def subscriptions(self, sid: str) -> list[str]:
        """Return the queues that `sid` consumes."""
        return self._delivery.subscriptions(sid)

    async def received(self, sid: str, receipt: str) -> bool:
        """Acknowledge the message with this receipt: it was processed.

        Returns whether that changed anything: not if the receipt is not of the current attempt, or
        belongs to another client.
        """
        return await self._delivery.received(sid, [receipt])

    async def failed(
        self, sid: str, receipt: str, reason: str = "", delay: float | None = None
    ) -> bool:
        """Negatively acknowledge the message with this receipt: it could not be processed.

        `delay`: seconds until the redelivery; None: the back-off of the rules. After the last
        attempt it is a dead letter, with `reason`. Returns whether that changed anything, as
        `received`.
        """
        return await self._delivery.failed(sid, receipt, reason, delay)

    async def released(self, sid: str, receipt: str, *, begun: bool = False) -> bool:
        """Put back the message with this receipt: its consumer has not failed to handle it.

        That does not count against `Rules.attempts`. `begun`: the handler has begun, and was broken
        off; else it is as if the message had never been sent. Returns whether that changed
        anything, as `received`.
        """
        return await self._delivery.released(sid, [receipt], begun=begun)

    async def extend(self, sid: str, receipt: str) -> bool:
        """Let the lease of the message with this receipt run anew: its consumer is still at work.

        Returns whether that changed anything, as `received`.
        """
        return await self._delivery.extend(sid, [receipt], pause=False)

    async def close(self, within: float = 1.0) -> None:
        """Send nothing more, wait for acknowledgements of what is in flight, and close the store.

        `within`: for how many seconds to wait. What is not acknowledged by then is redelivered when
        the queues are opened next. A store that does not respond for 5 seconds is waited for no
        longer, and what it was asked is logged. Closing twice is harmless.
        """
        if self._closing is None:
            self._delivery.closing = True
            self._closing = asyncio.create_task(self._close(within))
        await asyncio.shield(self._closing)

    async def _close(self, within: float) -> None:
        await self._delivery.close(within)
        await self.store.close()
