"""One namespace of a `socketio.AsyncClient`, for those who outlive its connections.

Owns every touch on the inside of a client that is somebody else's: when it is connected, calls that
end with the connection, frames of deliveries. Must not know: what is asked, what is delivered.

python-socketio has one handler for each event, and `connect` and `disconnect` are the user's, who
may set them at any time, or write a namespace class. So no handler is set for them: all events go
through one method of the client, and that is where we look on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..queues.frame import DELIVERIES, unpack
from ..turn import set_within

__all__ = ["NO_ANSWER", "Connection", "Refused"]

_WATCHED = {"connect", "disconnect", "__disconnect_final", DELIVERIES}
#: The code of what was answered by nothing, or not by what was asked for.
NO_ANSWER = "no_answer"
#: Asking again in the same words would bring the same answer.
_FOR_GOOD = {"malformed", "too_large", "forbidden", "unknown_queue"}


class Refused(RuntimeError):
    """The server answered that it will not do what was asked.

    `code`: the server's own word for the reason; `for_good`: whether asking again is of no use.
    """

    def __init__(self, what: str, code: str, message: str) -> None:
        super().__init__(f"the server refused to {what} ({code}): {message}")
        self.code = code
        self.for_good = code in _FOR_GOOD


class Connection:
    """`namespace` of `client`, from `open` to `close`; the client's own handlers stay as they are.

    `queue`, `takes`: the frames of that queue are given to `takes`, which returns what ends when
    they are dealt with. `lost`: is called when the connection ends. `ended`: is called when
    the client will not connect again by itself, though nobody told it to stop. Raises `TypeError`
    or `ValueError` for what is no such client or namespace.
    """

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
        self._left: str | None = None
        self._on_purpose = False
        self._news = asyncio.Event()
        self._calls: set[asyncio.Future[Any]] = set()

    def open(self) -> None:
        """Look on from now on; raises `ValueError` if the queue's frames are somebody else's."""
        others = _Watch.of(self.client).connections
        mine = (self.namespace, self.queue)
        if self.takes is not None and mine in [(o.namespace, o.queue) for o in others]:
            raise ValueError(
                f"this client has a consumer of queue {self.queue!r} already: close that, or use "
                "another client"
            )
        others.append(self)
        handlers = self.client.handlers
        if self.takes is not None and ("*" not in handlers or self.namespace in handlers):
            # We take frames before any handler. This one is seen by those who ask the client what
            # it listens to: `connect`, when no namespaces are given, and a stage. (A handler here
            # would put those of the namespace "*" out of work, so then there is none.)
            handlers.setdefault(self.namespace, {}).setdefault(DELIVERIES, _nobody_asked_for)

    def close(self) -> None:
        """Look on no more."""
        watch = _Watch.of(self.client)
        if self in watch.connections:
            watch.connections.remove(self)
        watch.end_if_idle()
        self._fail_calls()

    @property
    def sid(self) -> str | None:
        """The id of the connection; None while there is none."""
        sid: str | None = self.client.namespaces.get(self.namespace)
        return None if sid == self._left else sid

    def check(self) -> None:
        """Raise `RuntimeError` if the client is connected, but not to this namespace."""
        client, namespace = self.client, self.namespace
        if client.connected and namespace not in client.connection_namespaces:
            raise RuntimeError(
                f"the client is connected, but not to {namespace}: make the consumer or the outbox "
                f'first, or connect with namespaces=["{namespace}"]'
            )

    async def connected(self, other_than: str | None = None) -> str:
        """Wait for a connection (another one than that); return its id."""
        while (sid := self.sid) is None or sid == other_than:
            self._news.clear()
            await self._news.wait()
        return sid

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the client has connected anew."""
        self._news.clear()
        await set_within(self._news, seconds)

    async def emit(self, event: str, data: Any, answered: Callable[..., object]) -> None:
        """Emit, and have `answered` called with the answer, unless the connection ends before.

        Raises `ConnectionError` while there is no connection.
        """
        if self.sid is None:
            raise ConnectionError(f"the client is not connected to {self.namespace}")
        try:
            await self.client.emit(event, data, namespace=self.namespace, callback=answered)
        except socketio.exceptions.BadNamespaceError as error:
            raise ConnectionError(f"the client is not connected to {self.namespace}") from error

    async def call(self, event: str, data: Any, within: float) -> dict[str, Any]:
        """Emit and return the answer.

        `within`: a deadline in seconds. Raises `Refused` if the answer is an error or none,
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

    # -- told by the watch ------------------------------------------------------------------------

    def has_connected(self) -> None:
        """A connection has begun, and the client's own handler has ended."""
        self._on_purpose = False
        self._news.set()

    def has_disconnected(self, reason: str = "") -> None:
        """The connection has ended."""
        self._left = self.client.namespaces.get(self.namespace)
        self._on_purpose = reason == self.client.reason.CLIENT_DISCONNECT
        self._fail_calls()
        if self.lost is not None:
            self.lost()

    def has_ended(self) -> None:
        """The client will not connect again."""
        if self.ended is not None and not self._on_purpose:
            self.ended()

    def _fail_calls(self) -> None:
        for future in self._calls:
            if not future.done():
                future.set_exception(
                    ConnectionError(f"the connection to {self.namespace} ended before the answer")
                )


class _Watch:
    """Looks on at all events of one client, in the place of its `_trigger_event`."""

    def __init__(self, client: Any) -> None:
        self.connections: list[Connection] = []
        self._client, self._original = client, client._trigger_event
        client._trigger_event = self._trigger

    @classmethod
    def of(cls, client: Any) -> _Watch:
        """Return the watch of `client`; there is one at a time."""
        found = getattr(client._trigger_event, "__self__", None)
        return found if isinstance(found, _Watch) else cls(client)

    def end_if_idle(self) -> None:
        """Leave the client as it was."""
        if not self.connections and self._client._trigger_event == self._trigger:
            self._client._trigger_event = self._original

    def _of(self, namespace: str) -> list[Connection]:
        return [c for c in self.connections if c.namespace == namespace]

    async def _trigger(self, event: str, namespace: str, *args: Any) -> Any:
        if event not in _WATCHED:
            return await self._original(event, namespace, *args)
        if event == DELIVERIES:
            entries = unpack(args[0]) if len(args) == 1 else []
            queue = _queue_of(entries)
            for connection in self._of(namespace):
                if connection.takes is not None and connection.queue == queue:
                    await connection.takes(entries)  # the client is busy until that is done
                    return None
        for connection in self._of(namespace):
            if event == "disconnect":
                connection.has_disconnected(*args)
            elif event == "__disconnect_final":
                connection.has_ended()
        try:
            return await self._original(event, namespace, *args)
        finally:
            # Only now: the user's own `connect` may have to say first who this is.
            if event == "connect":
                for connection in self._of(namespace):
                    connection.has_connected()


def _checked(event: str, answer: Any) -> dict[str, Any]:
    """Return the server's answer if it is one; raise `Refused` if it is an error, or nothing."""
    if not isinstance(answer, dict):
        raise Refused(event, NO_ANSWER, "it does not seem to know this event")
    error = answer.get("error")
    if error is None:
        return answer
    told = error if isinstance(error, dict) else {"message": error}
    raise Refused(event, str(told.get("code", "unexplained")), str(told.get("message", "")))


def _queue_of(entries: list[Any]) -> Any:
    """Return the queue of a frame: all in it are of the same."""
    try:
        return entries[0][2]["queue"]
    except (ValueError, LookupError, TypeError):
        return None


def _nobody_asked_for(*_: Any) -> None:
    """A frame of a queue that nobody consumes any more: its messages will come again."""
