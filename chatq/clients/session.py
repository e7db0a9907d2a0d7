"""A session in one namespace of a `socketio.AsyncClient`, across its reconnections.

Owns when it is connected, what is said while it cannot be, calls that end with the connection,
frames of deliveries. Must not know: what is requested, what is delivered, how the client's events
are intercepted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..internals.client_events import (
    CONNECTED,
    DISCONNECTED,
    FAILED,
    GIVEN_UP,
    listen,
    listen_no_more,
    listeners,
)
from ..internals.connect_errors import NOBODY, address, met
from ..queues.frame import DELIVERIES, unpack
from ..waiting import set_within

__all__ = ["NO_ANSWER", "Refused", "Session"]

_log = logging.getLogger("chatq")

#: The code of `Refused` if the server gave no reply, or not the expected one.
NO_ANSWER = "no_answer"
#: Permanent errors: a retry of the same request would fail, too.
_FOR_GOOD = {"malformed", "too_large", "forbidden", "unknown_queue"}
#: For how many seconds nothing may listen before that is said: a server is started, or again.
_PATIENCE = 10.0
#: The most reasons that are said of one outage: they may quote a server.
_REASONS = 10


class Refused(RuntimeError):
    """The server refused a request.

    `code`: the server's error code; `for_good`: whether the error is permanent, a retry useless.
    """

    for_good: bool

    def __init__(self, what: str, code: str, message: str) -> None:
        super().__init__(f"the server refused to {what} ({code}): {message}")
        self.code = code
        self.for_good = code in _FOR_GOOD


class Session:
    """A session in `namespace` of `client`, from `open` to `close`; the client's own handlers stay
    as they are.

    `queue`, `takes`: `takes` is called with the frames of that queue, and returns an awaitable that
    ends when they are handled. `lost`: called when the connection ends. `ended`: called when the
    client will not reconnect by itself, without having been disconnected on purpose. Raises
    `TypeError` or `ValueError` for a wrong client or namespace.
    """

    client: Any
    namespace: str
    queue: str | None
    takes: Callable[[list[Any]], Awaitable[object]] | None
    lost: Callable[[], object] | None
    ended: Callable[[], object] | None
    #: Why there is no connection, as far as is known; "" if there is one.
    trouble: str

    def __init__(
        self,
        client: socketio.AsyncClient,
        namespace: str,
        *,
        queue: str | None = None,
        takes: Callable[[list[Any]], Awaitable[object]] | None = None,
        lost: Callable[[], object] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        if not isinstance(client, socketio.AsyncClient):
            raise TypeError(f"the client is a socketio.AsyncClient, not {type(client).__name__}")
        if not isinstance(namespace, str) or not namespace.startswith("/"):
            raise ValueError(f'a namespace is text that begins with "/", not {namespace!r:.80}')
        self.client, self.namespace = client, namespace
        self.queue, self.takes, self.lost, self.ended = queue, takes, lost, ended
        self.trouble = ""
        self._said: set[str] = set()  # since the last connection
        self._nobody_since: float | None = None
        self._left: str | None = None
        self._on_purpose = False
        self._reconnected = asyncio.Event()
        self._calls: set[asyncio.Future[Any]] = set()

    def open(self) -> None:
        """Start; raises `ValueError` if another session of this client has the queue's frames."""
        others = [each for each in listeners(self.client) if isinstance(each, Session)]
        mine = (self.namespace, self.queue)
        if self.takes is not None and mine in [(o.namespace, o.queue) for o in others]:
            raise ValueError(
                f"this client has a consumer of queue {self.queue!r} already: close that, or use "
                "another client"
            )
        listen(self.client, self)
        if self.client.connected and self.namespace not in self.client.connection_namespaces:
            self.left_out()
        handlers = self.client.handlers
        if self.takes is not None and ("*" not in handlers or self.namespace in handlers):
            # Frames are taken before any handler. This one is for those that look up the client's
            # handlers: `connect`, when no namespaces are given, and a stage. (A handler here would
            # disable those of the namespace "*", so then there is none.)
            handlers.setdefault(self.namespace, {}).setdefault(DELIVERIES, _ignore_frame)

    def close(self) -> None:
        """End; pending calls raise `ConnectionError`."""
        listen_no_more(self.client, self)
        self._fail_calls()

    @property
    def sid(self) -> str | None:
        """The sid of the connection; None while there is none."""
        sid: str | None = self.client.namespaces.get(self.namespace)
        return None if sid == self._left else sid

    def check(self) -> None:
        """Raise `RuntimeError` if the client is connected, but not to this namespace."""
        client, namespace = self.client, self.namespace
        if client.connected and namespace not in client.connection_namespaces:
            raise RuntimeError(f"the client is connected, but not to {namespace}: {self._how}")

    async def connected(self, other_than: str | None = None) -> str:
        """Wait for a connection (other than `other_than`); return its sid."""
        while (sid := self.sid) is None or sid == other_than:
            self._reconnected.clear()
            await self._reconnected.wait()
        return sid

    async def pause(self, seconds: float) -> None:
        """Wait for so many seconds, or until the client has reconnected."""
        self._reconnected.clear()
        await set_within(self._reconnected, seconds)

    async def emit(self, event: str, data: Any, answered: Callable[..., object]) -> None:
        """Emit, and call `answered` with the acknowledgement, unless the connection ends before.

        Raises `ConnectionError` while there is no connection.
        """
        if self.sid is None:
            raise ConnectionError(f"the client is not connected to {self.namespace}")
        try:
            await self.client.emit(event, data, namespace=self.namespace, callback=answered)
        except socketio.exceptions.BadNamespaceError as error:
            raise ConnectionError(f"the client is not connected to {self.namespace}") from error

    async def call(self, event: str, data: Any, within: float) -> dict[str, Any]:
        """Emit and return the server's reply.

        `within`: a deadline in seconds. Raises `Refused` if the reply is an error or empty,
        `ConnectionError` as soon as the connection has ended, `TimeoutError`.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(*answer: Any) -> None:
            if not future.done():
                future.set_result(answer[0] if len(answer) == 1 else None)

        self._calls.add(future)
        try:
            await self.emit(event, data, answered)
            async with asyncio.timeout(within):
                answer = await future
        except TimeoutError:
            raise TimeoutError(f"the server did not answer {event} within {within:g} s") from None
        finally:
            self._calls.discard(future)
        return _checked(event, answer)

    # -- events of the client ---------------------------------------------------------------------

    async def before(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """See `Listener.before`: takes the frames of its queue and waits until they are handled."""
        if event == DELIVERIES:
            entries = unpack(arguments[0]) if len(arguments) == 1 else []
            if self.takes is not None and self.queue == _queue_of(entries):
                await self.takes(entries)
                return True
        elif event == DISCONNECTED:
            self._left = self.client.namespaces.get(self.namespace)
            self._on_purpose = arguments[:1] == (self.client.reason.CLIENT_DISCONNECT,)
            self._fail_calls()
            if self.lost is not None:
                self.lost()
        elif event == FAILED:
            self._not_connected(met(self.client, arguments))
        elif event == GIVEN_UP and self.ended is not None and not self._on_purpose:
            self.ended()
        return False

    def after(self, event: str) -> None:
        """See `Listener.after`."""
        if event == CONNECTED:
            self._on_purpose = False
            self.trouble, self._nobody_since = "", None
            self._said.clear()
            self._reconnected.set()

    def left_out(self) -> None:
        """See `Listener.left_out`."""
        self._not_connected(f"the client was told to connect to other namespaces: {self._how}")

    @property
    def _how(self) -> str:
        return (
            "make the consumer or the outbox first, or connect with "
            f'namespaces=["{self.namespace}"]'
        )

    def _not_connected(self, why: str) -> None:
        """Note why there is no connection; log it, once until there is one, and for one only of the
        sessions that have it in common."""
        self.trouble = f"{address(self.client)}: {why}"
        if why == NOBODY:
            now = asyncio.get_running_loop().time()
            self._nobody_since = now if self._nobody_since is None else self._nobody_since
            if now - self._nobody_since < _PATIENCE:
                return
        if why in self._said or len(self._said) == _REASONS:
            return
        self._said.add(why)
        alike = (
            each
            for each in listeners(self.client)
            if isinstance(each, Session) and each.namespace == self.namespace
        )
        if next(alike, self) is self:
            _log.warning("no connection to %s: %s", self.namespace, self.trouble)

    def _fail_calls(self) -> None:
        for future in self._calls:
            if not future.done():
                future.set_exception(
                    ConnectionError(f"the connection to {self.namespace} ended before the answer")
                )


def _checked(event: str, answer: Any) -> dict[str, Any]:
    """Return a reply; raise `Refused` if it is an error, or no object."""
    if not isinstance(answer, dict):
        raise Refused(event, NO_ANSWER, "it does not seem to know this event")
    error = answer.get("error")
    if error is None:
        return answer
    error = error if isinstance(error, dict) else {"message": error}
    raise Refused(event, str(error.get("code", "unexplained")), str(error.get("message", "")))


def _queue_of(entries: list[Any]) -> Any:
    """Return the queue of a frame: all its entries have the same."""
    try:
        return entries[0][2]["queue"]
    except (ValueError, LookupError, TypeError):
        return None


def _ignore_frame(*_: Any) -> None:
    """Ignore a frame of a queue that is consumed no more: its messages are redelivered."""
