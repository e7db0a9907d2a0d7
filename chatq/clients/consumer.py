"""A consumer of one queue for Python clients: each message is handled, then acknowledged, once.

Owns the subscription, the handlers, and the outcome of each message. Must not know: how ids are
remembered, what waits, when acknowledgements are sent, the inside of connections, the rules of
queues.

Correctness
- One task handles one message after the other, in the order of arrival.
- A message is acknowledged when its handler has returned and its id is remembered, never before.
- If the acknowledgement is too late, the message is redelivered, and the inbox skips it.
- A message whose lease has ended before its turn is not handled: it may be redelivered elsewhere.

Performance: messages come in frames, and a handler that returns at once costs no task and no turn
of the event loop.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sqlite3
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar

import socketio  # type: ignore[import-untyped]

from ..queues.message import check_event, check_name, check_queue
from ..waiting import detached, end_task, every, give_way, pause_after
from .acknowledgements import Acknowledgements
from .backlog import Backlog, Frame, read
from .inbox import open_inbox
from .session import Refused, Session

__all__ = ["Consumer"]

_log = logging.getLogger("chatq")

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
_REPLY = 10.0  # seconds for the server's reply to `subscribe`
_LONGEST_BURST = 0.01  # seconds without giving way to the event loop
_RETRY, _LONGEST_RETRY = 0.2, 10.0  # seconds until `subscribe` is tried again
_CATCH_ALL = "*"
#: What answers `subscribe`.
_SERVERS = (
    "a consumer talks to `python -m chatq serve`; a server with queues of its own has to attach "
    "them with serve=True"
)


class Consumer:
    """Handles the messages of `queue`, over a client that may lose its connection at any time.

        consumer = chatq.Consumer(client, "drivers", namespace="/caps", inbox=database)

        @consumer.on("pickup")
        def pickup(order, delivery):
            database.execute("INSERT INTO rides VALUES (?)", (order["id"],))

        async with consumer:
            ...

    `client`: a `socketio.AsyncClient`, connected or not; its own handlers stay as they are, and it
    has one consumer for each queue. With `connect(…, retry=True)` it also waits for a server that
    is not running yet. The server is `python -m chatq serve`, or another whose queues
    are attached with `serve=True`.

    `window`: the prefetch window: the most messages in flight to this consumer. A lease (30 s on
    the hub) runs from the claim, not from when a handler begins. While a handler waits for longer
    than a third of it, the consumer renews the lease of its message, gives back what it has not
    begun, and gets no more until that handler is done: long work is no failure. (A handler that
    blocks the event loop renews nothing; one that never ends holds its message for ever: use
    `asyncio.timeout`.) A window of 1 means strictly in order, for the whole queue: while one
    message is in flight, or waits for redelivery, no other consumer with window 1 gets the next.
    Parallel workers need at least 2; order holds only if all consumers of the queue have window 1.

    `frame`: the most messages in one event. `name`: who this is, for people who look into the hub.

    `inbox`: keeps the ids of handled messages, so that a redelivery is not handled again: None is
    the memory of this process, a path is an SQLite file of the consumer's own, an
    `sqlite3.Connection` is the database in which the handlers work. Then each message is one
    transaction: leave BEGIN, COMMIT and `with connection:` to the consumer, and use that connection
    nowhere else. `keep`: how many ids are kept; a redelivery after so many other messages is
    handled again.

    `on_error`: called with each error, which is also logged. `random`: the source of the jitter of
    the back-off.

    Raises `TypeError` or `ValueError` for wrong arguments.
    """

    queue: str
    window: int
    frame: int
    handled: int
    skipped: int
    failed: int
    late: int

    def __init__(
        self,
        client: socketio.AsyncClient,
        queue: str,
        *,
        namespace: str = "/",
        window: int = 16,
        frame: int = 50,
        name: str = "",
        inbox: str | Path | sqlite3.Connection | None = None,
        keep: int = 100_000,
        on_error: Callable[[Exception], object] | None = None,
        random: Random | None = None,
    ) -> None:
        check_queue(queue)
        if name != "":
            check_name(name)
        for what, value in (("window", window), ("frame", frame)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{what} is a whole number, not {value!r:.80}")
            if value < 1:
                raise ValueError(f"{what} is 1 or more, not {value}")
        if not isinstance(inbox, (str, os.PathLike, sqlite3.Connection, type(None))):
            raise TypeError(
                f"inbox is None, a path or an sqlite3.Connection, not {type(inbox).__name__}"
            )
        self.queue, self.window, self.frame = queue, window, min(frame, window)
        #: Counts of messages: handled, skipped as duplicates, failed, and not handled since their
        #: leases had ended.
        self.handled = self.skipped = self.failed = self.late = 0
        self._name, self._where, self._keep = name, inbox, keep
        self._on_error, self._random = on_error, random or Random()
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._inbox = open_inbox(None, keep)
        self._connection = Session(
            client,
            namespace,
            queue=queue,
            takes=lambda entries: self._backlog.add(entries),
            lost=lambda: self._answers.lost(),
            ended=self._ended,
        )
        self._connection.open()
        self._lease = inf  # seconds; the server's reply to `subscribe` has the number
        self._backlog = Backlog(window)
        self._answers = Acknowledgements(self._connection, self._report)
        self._subscribed: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None

    def on(
        self, event: str, handler: Callable[..., Any] | None = None
    ) -> Callable[[_Handler], _Handler]:
        """Register `handler(data, delivery)`, plain or async, for messages with this event.

        A decorator, as in python-socketio. "*" is for all other events: `handler(event, data,
        delivery)`. If the handler raises, the message is negatively acknowledged, with the error as
        the reason; so is one whose event has no handler.
        """
        if event != _CATCH_ALL:
            check_event(event)

        def add(handler: _Handler) -> _Handler:
            if not callable(handler):
                raise TypeError(f"a handler is a function, not {handler!r:.80}")
            self._handlers[event] = handler
            return handler

        if handler is not None:
            add(handler)
        return add

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, within: float | None = 10.0) -> None:
        """Subscribe, now and after every reconnection; return when subscribed.

        `within`: for how many seconds to wait for the connection of the client and for the reply;
        None: without a limit. Raises `chatq.Refused` if the server refuses, `TimeoutError`,
        `RuntimeError` if the client is connected elsewhere, `StoreError` if the inbox cannot be
        opened. Then the consumer is closed.
        """
        if self._subscribed is not None or self._closing is not None:
            raise RuntimeError("a consumer is started once: make another one")
        self._subscribed = asyncio.get_running_loop().create_future()
        try:
            self._connection.check()
            self._inbox = open_inbox(self._where, self._keep)
            self._tasks = [_start_task(self._keep_subscribed()), _start_task(self._work())]
            async with asyncio.timeout(within):
                await asyncio.shield(self._subscribed)
        except TimeoutError:
            await self.close(0)
            trouble = self._connection.trouble
            state = (
                "the client is not connected" + (f" ({trouble})" if trouble else "")
                if self._connection.sid is None
                else f"no answer to `subscribe`: {_SERVERS}"
            )
            raise TimeoutError(
                f"not subscribed to {self.queue!r} in {self._connection.namespace} within "
                f"{within:g} s: {state}"
            ) from None
        except BaseException:
            await self.close(0)
            raise

    async def close(self, within: float = 5.0) -> None:
        """Take nothing more, finish the message that is being handled, and release the rest.

        `within`: for how many seconds to wait for the handler, which is cancelled then, and for the
        server to confirm the acknowledgements. Closing twice is harmless. Raises `RuntimeError` in
        a handler of this consumer.
        """
        if asyncio.current_task() in self._tasks:
            raise RuntimeError("a handler cannot wait for its own end: close it elsewhere")
        if self._closing is None:
            self._closing = _start_task(self._close(within))
        await asyncio.shield(self._closing)

    # -- the subscription -------------------------------------------------------------------------

    async def _keep_subscribed(self) -> None:
        request = {"queue": self.queue, "window": self.window, "frame": self.frame}
        if self._name:  # a server of an older version knows none
            request["name"] = self._name
        failures = 0
        tried: str | None = None  # the connection on which it is subscribed, or refused for good
        while True:
            sid = await self._connection.connected(other_than=tried)
            try:
                reply = await self._connection.call("subscribe", request, _REPLY)
            except ConnectionError:
                continue  # try on the next connection
            except Exception as error:
                if self._subscribed is not None and not self._subscribed.done():
                    if isinstance(error, Refused):
                        self._subscribed.set_exception(error)
                        return
                    error = TimeoutError(f"{error}: {_SERVERS}")  # nothing else is met here
                self._report("is not subscribed", error)
                if isinstance(error, Refused) and error.for_good:
                    tried = sid  # not again on this connection
                    continue
                failures += 1
                await self._connection.pause(
                    pause_after(failures, _RETRY, _LONGEST_RETRY, self._random)
                )
                continue
            lease = reply.get("lease")
            self._lease = lease if isinstance(lease, (int, float)) else inf
            failures, self._answers.sid, tried = 0, sid, sid
            if self._subscribed is not None and not self._subscribed.done():
                self._subscribed.set_result(None)
            await self._answers.send()

    def _ended(self) -> None:
        if self._closing is None:
            error = ConnectionError("the client does not connect again by itself: connect it")
            self._report("gets nothing", error)

    # -- messages ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        backlog = self._backlog
        while await backlog.wait():
            with backlog.oldest() as frame:
                while frame.entries and not backlog.ended:
                    await self._handle_some(frame)
                    await self._answers.send()
                    # Handlers that return at once never give way to the event loop; heartbeats and
                    # acknowledgements need it.
                    await give_way()

    async def _handle_some(self, frame: Frame) -> None:
        """Handle messages until there are no more, or the burst has lasted long enough."""
        time = asyncio.get_running_loop().time
        begun = now = time()
        while frame.entries and not self._backlog.ended and now - begun < _LONGEST_BURST:
            event, data, delivery, receipt = read(frame.entries.popleft())
            if receipt is None:
                self._report("was sent what is no delivery", ValueError(f"{delivery!r:.200}"))
            elif now >= frame.arrived + self._lease:
                self._skip_late()
            else:
                await self._handle(event, data, delivery, delivery["id"], receipt)
            now = time()

    def _skip_late(self) -> None:
        """Skip a message whose lease has ended: it is, or will be, redelivered."""
        self.late += 1
        if self.late == 1:
            _log.warning(
                "the consumer of queue %r did not begin a message that had waited here for longer "
                "than its lease of %g s: it comes again; take a smaller window than %d",
                self.queue,
                self._lease,
                self.window,
            )

    async def _handle(self, event: str, data: Any, delivery: Any, id: str, receipt: str) -> None:
        handler = self._handlers.get(event)
        if handler is None:
            handler = self._handlers.get(_CATCH_ALL)
            if handler is None:
                self._refuse(receipt, LookupError(f"no handler listens to {event!r}"))
                return
            handler = partial(handler, event)
        try:
            if not self._inbox.begin(id):
                self.skipped += 1
                self._answers.received(receipt)
                return
            result = handler(data, delivery)
            if result is not None and inspect.isawaitable(result):
                end_renewing = self._renew_later(receipt)
                try:
                    await result
                finally:
                    end_renewing()
            problem = self._inbox.done(id)
        except asyncio.CancelledError as error:
            self._inbox.undo()
            task = asyncio.current_task()
            if task is None or task.cancelling():  # this consumer is being closed
                self._answers.broken_off(receipt)
                raise
            self._refuse(receipt, error)
        except Exception as error:
            self._inbox.undo()
            self._refuse(receipt, error)
        except BaseException:
            self._inbox.undo()
            raise
        else:
            self.handled += 1
            self._answers.received(receipt)
            if problem:
                self._report(f"has handled {event!r}, but", RuntimeError(problem))

    # -- acknowledgements -------------------------------------------------------------------------

    def _refuse(self, receipt: str, error: BaseException) -> None:
        self.failed += 1
        self._report("could not handle a message", error)
        self._answers.failed(receipt, f"{type(error).__name__}: {error}")

    def _renew_later(self, receipt: str) -> Callable[[], None]:
        """Renew the lease of this message every third of it; return the function that ends this."""
        if self._lease == inf:
            return lambda: None

        def renew() -> None:
            self._answers.working(receipt)
            self._give_back()

        return every(self._lease / 3, renew)

    def _give_back(self) -> None:
        """Give back all messages that no handler has begun."""
        if receipts := self._backlog.clear():
            self._answers.released(receipts)

    def _report(self, what: str, error: BaseException) -> None:
        _log.error("the consumer of queue %r %s: %s", self.queue, what, error, exc_info=error)
        if self._on_error is not None and isinstance(error, Exception):
            try:
                self._on_error(error)
            except Exception:
                _log.exception("on_error of the consumer of queue %r failed", self.queue)

    # -- closing ----------------------------------------------------------------------------------

    async def _close(self, within: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        subscriber, worker = self._tasks or (None, None)
        if subscriber is not None and worker is not None:
            self._backlog.end()
            ending = (
                end_task(subscriber, 0),
                self._unsubscribe(within),
                end_task(worker, within),
            )
            await asyncio.gather(*ending)
            if not worker.done():
                self._report("is closed", TimeoutError("but a handler of it does not end"))
        self._give_back()
        await self._answers.send()
        try:
            # Even if the handler took all the time, a moment is left for this.
            async with asyncio.timeout(max(deadline - loop.time(), min(within, 1.0))):
                await self._answers.confirmed()
        except TimeoutError:
            pass  # unconfirmed messages are redelivered
        self._connection.close()
        self._inbox.close()

    async def _unsubscribe(self, within: float) -> None:
        if self._connection.sid == self._answers.sid is not None:
            try:
                await self._connection.call("unsubscribe", {"queue": self.queue}, within)
            except (OSError, RuntimeError) as error:
                _log.info("queue %r was not unsubscribed: %s", self.queue, error)


def _start_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = detached(work)
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a task of a consumer failed", exc_info=error)
