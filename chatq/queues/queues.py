"""Queues that keep messages until a consumer has dealt with them, on any python-socketio server.

Owns what may be asked of queues: what is accepted, where they are attached, who may consume. Must
not know: how messages are kept, when a client gets which, the hub's protocol, the stage.

The durable counterpart of a room keeps the call shapes of python-socketio: `emit(..., to=queue)`,
`subscribe(sid, queue)` like `enter_room`. Delivery is at least once: again and again until a
consumer answers with the receipt of the current attempt, or the message ends, visibly, as dead.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, NamedTuple, Self

import socketio  # type: ignore[import-untyped]

from .answers import Answers
from .dispatch import Dispatch
from .facts import Observer, Redriven, Stored
from .memory_store import MemoryStore
from .message import check_queue, decode, new_message
from .policy import Rules
from .sqlite_store import SqliteStore
from .store import Stats, Store

__all__ = ["DeadMessage", "Queues"]


class DeadMessage:
    """A message that is not delivered any more: `id`, `event`, `data`, `attempts`, `reason`, and
    `died` in seconds since the epoch."""

    __slots__ = ("attempts", "data", "died", "event", "id", "reason")

    def __init__(
        self, id: str, event: str, data: Any, attempts: int, reason: str, died: float
    ) -> None:
        self.id, self.event, self.data = id, event, data
        self.attempts, self.reason, self.died = attempts, reason, died

    def __repr__(self) -> str:
        return f"<dead message {self.id} {self.event!r}: {self.reason}, attempts: {self.attempts}>"


class _Place(NamedTuple):
    """Where queues are attached; `handlers`: those that were added there."""

    sio: Any
    authorize: Callable[[str, str], Any] | None
    handlers: dict[str, Callable[..., Any]]


class Queues:
    """Durable queues; see `open`, then `attach` them to a server.

        queues = await Queues.open("sqlite:///packages.db")
        queues.attach(sio, namespace="/caps")
        await queues.emit("pickup", order, to="drivers")
        await queues.subscribe(sid, "drivers")

    `store`: where messages are kept; `rules`: the limits; `clock`: gives the time in seconds since
    the epoch; `random`: where the jitter of the back-off comes from.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self.store, self.rules, self.clock = store, rules or Rules(), clock
        self._dispatch = Dispatch(store, self.rules, clock, random or Random())
        #: The handlers of `received` and `failed`, for servers that put others before them.
        self.answers = Answers(self._dispatch)
        self._places: dict[str, _Place] = {}  # by namespace
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str = "sqlite:///chatq.db",
        rules: Rules | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> Self:
        """Return queues whose messages are kept at `url`.

        `"sqlite:///packages.db"` is a file beside the program, `"sqlite:////var/lib/packages.db"`
        one with a full path, `"memory:"` keeps nothing when the process ends.
        `"nats://host1,host2,host3"` is a cluster of NATS servers, which any number of programs may
        use at once; `"nats://user:password@host/packages"` a stream of another name than "chatq",
        with `"?patience=5"` anything raises if it is not confirmed within 5 seconds instead of 20.

        Raises `ValueError` for another `url`, `StoreError` if the store cannot be opened.
        """
        rules = rules or Rules()
        limits: dict[str, Any] = {
            "length": rules.length,
            "key_memory": rules.key_memory,
            "clock": clock,
        }
        store: Store
        if url == "memory:":
            store = MemoryStore(**limits)
        elif url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
            store = await SqliteStore.open(url.removeprefix("sqlite:///"), **limits)
        elif url.startswith(("nats:", "tls:")):
            from .nats_store import NatsStore  # its client may be missing

            store = await NatsStore.open(url, **limits)
        else:
            meant = f': did you mean "sqlite:///{url}"?' if url and ":" not in url else ""
            raise ValueError(
                f'queues are kept at "sqlite:///FILE", "memory:" or "nats://HOST", not at {url!r}'
                f"{meant}"
            )
        return cls(store, rules, clock=clock, random=random)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def attach(
        self,
        sio: socketio.AsyncServer,
        namespace: str = "/",
        authorize: Callable[[str, str], Any] | None = None,
        *,
        listen: bool = True,
    ) -> None:
        """Deliver to clients of `namespace` of `sio`; a consumer's answers are listened to there.

        `authorize(sid, queue)`, plain or async, says whether that client may consume that queue.
        Adds handlers for the events `received` and `failed`; with `listen=False` it adds none, and
        handlers of your own call `received` and `failed` of these queues.

        Raises `TypeError` if `sio` is no `socketio.AsyncServer`, `ValueError` if these queues are
        attached to a namespace of that name already, or somebody else handles those events there.
        """
        if not isinstance(sio, socketio.AsyncServer):
            raise TypeError(f"attach takes a socketio.AsyncServer, not {type(sio).__name__}")
        if namespace in self._places:
            raise ValueError(f"these queues are attached to {namespace} already: once is enough")
        handlers: dict[str, Callable[..., Any]] = {}
        if listen:
            handlers = {"received": self.answers.received, "failed": self.answers.failed}
            for event in handlers:
                _check_free(sio, namespace, event)
            for event, handler in handlers.items():
                sio.on(event, handler, namespace=namespace)
        self._places[namespace] = _Place(sio, authorize, handlers)

    def watch(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` what happens to messages; returns the function that ends this.

        One may watch at a time. What is out already is not told of.
        """
        return self._dispatch.watch(observer)

    def tick(self) -> None:
        """Look at the clock now, instead of when a timer is due.

        For a `clock` that is moved by hand: leases that have ended end, delays that are over are.
        """
        self._dispatch.tick()

    # -- producing ------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: str | Sequence[str],
        key: str | None = None,
        ttl: float | None = None,
    ) -> Any:
        """Store a message in the queue `to` and return its id, once it is on stable storage.

        `to`: one queue, or several: then each gets a copy, and a list of ids comes back. `key`: a
        second `emit` with the same key, within `Rules.key_memory`, stores nothing and returns the
        first one's id. `ttl`: after so many seconds it is not delivered any more, but dead.

        Raises `TypeError` or `ValueError` for what cannot be kept, `QueueFull` (nothing was stored)
        and `StoreError`.
        """
        self._open()
        message = new_message(event, data, to, key, ttl, self.rules.payload, self.clock())
        ids = (await self.store.put((message,)))[0]
        if self._dispatch.telling.watched:
            for queue, id in zip(message.queues, ids, strict=True):
                self._dispatch.telling.tell(Stored(queue, id, event, data))
        return ids[0] if isinstance(to, str) else ids

    # -- consuming ------------------------------------------------------------------------------

    async def subscribe(
        self,
        sid: str,
        queue: str,
        window: int = 16,
        *,
        namespace: str | None = None,
        frame: int = 0,
    ) -> Stats:
        """Deliver `queue` to the client `sid` from now on; like `enter_room`, but it remembers.

        `window`: how many messages may be out to it unanswered. A lease runs from delivery, not
        from when a handler begins, so the window times what one message takes has to stay below the
        lease. 1 means strictly in order, and is about the whole queue: while one message is out, or
        waits to be tried again, no other consumer with window 1 gets the next. Several workers side
        by side need at least 2; order holds only if all consumers of the queue have window 1.

        `frame`: how many messages may come in one event, for clients that ask for it. `namespace`:
        where that client is, if these queues are attached to several. Asking again changes the
        window.

        Returns the queue's `Stats`. Raises `PermissionError` if `authorize` says no, `LookupError`
        if no such client is connected, `RuntimeError` if the handlers that `attach` has added were
        replaced since.
        """
        self._open()
        check_queue(queue)
        for name, value, least in (("window", window, 1), ("frame", frame, 0)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is a whole number, not {value!r:.80}")
            if not least <= value <= self.rules.window:
                raise ValueError(f"{name} is {least} to {self.rules.window}, not {value}")
        namespace, place = self._find(sid, namespace)
        if place.authorize is not None:
            allowed = place.authorize(sid, queue)
            if inspect.isawaitable(allowed):
                allowed = await allowed
            if not allowed:
                raise PermissionError(f"this client may not consume queue {queue!r}")
        return await self._dispatch.subscribe(place.sio, namespace, sid, queue, window, frame)

    def _find(self, sid: str, namespace: str | None) -> tuple[str, _Place]:
        for name, place in self._places.items():
            if namespace in (None, name) and place.sio.manager.is_connected(sid, name):
                for event, handler in place.handlers.items():
                    if place.sio.handlers[name].get(event) != handler:
                        raise RuntimeError(
                            f"the queues' handler of {event!r} in {name} was replaced by another: "
                            "rename that event, or attach with listen=False and call "
                            f"`queues.{event}` in it"
                        )
                return name, place
        where = " or ".join(self._places) or "no namespace: attach the queues to a server first"
        raise LookupError(f"no client {sid!r:.40} is connected to {namespace or where}")

    async def unsubscribe(self, sid: str, queue: str) -> bool:
        """Deliver `queue` to `sid` no more; what is out may still be answered.

        Returns whether it was subscribed.
        """
        return await self._dispatch.unsubscribe(sid, queue)

    def subscriptions(self, sid: str) -> list[str]:
        """Return the queues that `sid` consumes."""
        return self._dispatch.subscriptions(sid)

    async def received(self, sid: str, receipt: str) -> bool:
        """Settle the message with this receipt: it was dealt with.

        Returns whether that changed anything: not if the receipt is not of the current attempt, or
        was given to another client.
        """
        return await self._dispatch.received(sid, [receipt])

    async def failed(
        self, sid: str, receipt: str, reason: str = "", delay: float | None = None
    ) -> bool:
        """Give the message with this receipt back: its consumer could not deal with it.

        `delay`: seconds until it is tried again; else the rules' back-off decides. After the last
        attempt it is dead, with `reason`. Returns whether that changed anything, as `received`.
        """
        return await self._dispatch.failed(sid, receipt, reason, delay)

    # -- looking after --------------------------------------------------------------------------

    async def stats(self, queue: str) -> Stats:
        """Return how many messages of `queue` are ready, leased, delayed, dead.

        Raises `LookupError` for a queue that nobody has ever used.
        """
        self._dispatch.flush()
        stats = await self.store.stats(queue)
        if stats is None:
            if not self._dispatch.consumed(queue):
                raise LookupError(f"nobody has put anything into a queue {queue!r:.120}")
            stats = Stats()
        return stats

    async def dead(self, queue: str, limit: int = 100) -> list[DeadMessage]:
        """Return the oldest dead messages of `queue`, at most `limit`."""
        return [
            DeadMessage(d.id, d.event, decode(d.body), d.attempts, d.reason, d.died)
            for d in await self.store.dead(queue, limit)
        ]

    async def redrive(self, queue: str, ids: Iterable[str] | None = None) -> int:
        """Try dead messages of `queue` again: all, or those with these ids. Returns how many.

        They keep their ids, and come as `redelivered` if they were ever sent.
        """
        self._open()
        wanted = None if ids is None else tuple(ids)
        if wanted is None or wanted:
            self._dispatch.telling.tell(Redriven(queue, wanted))
        return await self.store.redrive(queue, wanted)

    async def close(self, within: float = 1.0) -> None:
        """Send nothing more, wait for the answers to what is out, and let go of the store.

        `within`: for how many seconds to wait. What is not answered by then is delivered again when
        the queues are opened next. Closing twice is harmless.
        """
        if self._closing is None:
            self._dispatch.closing = True
            self._closing = asyncio.create_task(self._close(within))
        await asyncio.shield(self._closing)

    async def _close(self, within: float) -> None:
        await self._dispatch.close(within)
        await self.store.close()

    def _open(self) -> None:
        if self._closing is not None:
            raise RuntimeError("these queues are closed: open them again")


def _check_free(sio: socketio.AsyncServer, namespace: str, event: str) -> None:
    """Raise `ValueError` if our handler would put another out of work."""
    known = sio.handlers.get(namespace, {}).get(event)
    owner = getattr(known, "__self__", None)
    if isinstance(owner, Answers):
        if owner.closed:
            return  # nobody misses it
        raise ValueError(f"other queues are attached to {namespace} already: close those first")
    known = known or getattr(sio.namespace_handlers.get(namespace), f"on_{event}", None)
    if known is not None:
        raise ValueError(
            f"this server has a handler of {event!r} in {namespace} already: rename that event, "
            "attach in another namespace, or attach with listen=False and call "
            f"`queues.{event}` in it"
        )
