"""The client's end of a connection to another server than the stage's.

Owns what becomes a fact of such a connection, of which only this end is seen: where the client is
let in and where it is not, what arrives, what it answers, and the end. Must not know: whose server
that is, the stage, reasons, pictures.

Each tap wraps one method of one client for as long as that connection is open, so a client of the
stage's own server has none of them.

Touches python-socketio 5.18: the methods of a client that are named in `OtherServer.client_opened`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from socketio import packet as socketio_packet  # type: ignore[import-untyped]

from ..journal.accounting import Incoming, Link, Recorder, read
from ..journal.facts import Acknowledged, Connected, Disconnected, Fact, Rejected
from ..journal.journal import preview
from .wrapping import Wrapped

__all__ = ["OtherServer"]

#: The event of a packet that nobody can read.
_UNKNOWN = "?"
_ANSWERS = (socketio_packet.ACK, socketio_packet.BINARY_ACK)


class OtherServer(Link):
    """The link of a client that is connected to the server at `url`, which nobody observes."""

    def __init__(self, client: Any, recorder: Recorder, url: str) -> None:
        super().__init__(client.name, recorder, watched=True)
        self.server = recorder.server_at(url)
        self.recipients = (self.server,)
        self.server_open = False  # nothing of that end is counted: `settle` cannot wait for it
        self.to_client = _Arriving(client.name, recorder, self.not_understood)
        self._client, self._recorder = client, recorder
        #: The namespaces that have let the client in; False: and have ended since.
        self._inside: dict[str, bool] = {}
        #: The messages whose handlers have not returned.
        self._unanswered: set[int] = set()
        self._wrapped = Wrapped()

    # -- as a link ------------------------------------------------------------------------------

    def client_opened(self) -> None:
        """Note that the client's end is open: from here on it is tapped."""
        self.client_open = True
        client, wrapped = self._client, self._wrapped
        wrapped.method(client, "_handle_connect", self._on_connect)
        wrapped.method(client, "_handle_error", self._on_refusal)
        wrapped.method(client, "_handle_disconnect", self._on_disconnect)
        wrapped.method(client, "_handle_event", self._on_event)
        wrapped.method(client, "_handle_ack", self._on_ack)
        wrapped.method(client, "_send_packet", self._on_send)

    def read_down(self) -> int | None:
        """Note that the client read a packet, which is under way from now on."""
        self.sent_down(None)
        return super().read_down()

    def client_closed(self, reason: str = "") -> None:
        """Note that the client's end is closed, for `reason`."""
        for namespace in [name for name, inside in self._inside.items() if inside]:
            self._ended(namespace, reason)
        self._wrapped.undo()
        super().client_closed()

    # -- taps -----------------------------------------------------------------------------------

    async def _on_connect(self, original: Any, namespace: str | None, data: Any) -> None:
        where = namespace or "/"
        if not self._inside.get(where):
            self._inside[where] = True
            self._note(Connected, where)
        await original(namespace, data)

    async def _on_refusal(self, original: Any, namespace: str | None, data: Any) -> None:
        reason = data.get("message", data) if isinstance(data, dict) else data
        self._note(Rejected, namespace or "/", str(reason)[:200])
        await original(namespace, data)

    async def _on_disconnect(self, original: Any, namespace: str | None) -> None:
        where = namespace or "/"
        if self._inside.get(where):
            self._ended(where, self._client.reason.SERVER_DISCONNECT)
        await original(namespace)

    def _ended(self, namespace: str, reason: str) -> None:
        self._inside[namespace] = False
        self._note(Disconnected, namespace, reason)

    async def _on_event(self, original: Any, namespace: str | None, id: Any, data: Any) -> None:
        where = namespace or "/"
        # A client does not read what comes from a namespace that has ended.
        if where in self._recorder.hidden or self._inside.get(where) is False:
            await original(namespace, id, data)
            return
        message = self._arrived(data[0], tuple(data[1:]), where)
        read.set(message)
        self._unanswered.add(message)
        try:
            await original(namespace, id, data)
        finally:
            self._unanswered.discard(message)

    async def _on_send(self, original: Any, packet: Any) -> None:
        await original(packet)
        message = read.get()
        if packet.packet_type in _ANSWERS and message in self._unanswered:
            answer = preview(tuple(packet.data))
            self._recorder.journal.append(Acknowledged, message, self.name, answer)

    async def _on_ack(self, original: Any, *args: Any) -> None:
        try:
            await original(*args)
        except Exception as error:
            self._recorder.raised(self.name, "acknowledgement", error)

    # -- facts ----------------------------------------------------------------------------------

    def not_understood(self, error: Exception) -> None:
        """Record that a packet has arrived which the client could not take in."""
        self._recorder.not_understood(self.name, self._arrived(_UNKNOWN, (), "/"), error)

    def _arrived(self, event: object, data: tuple[Any, ...], namespace: str) -> int:
        """Record what has arrived as a message of its own; return its number."""
        self._recorder.other_servers[self.server] = None
        to = (self.name,)
        return self._recorder.emitted(
            self.server, event, data, namespace, clients=to, recipients=to
        )

    def _note(self, kind: type[Fact], namespace: str, *rest: Any) -> None:
        if namespace not in self._recorder.hidden:
            self._recorder.other_servers[self.server] = None
            self._recorder.journal.append(kind, self.name, namespace, *rest, self.server)


class _Arriving(Incoming):
    """The packets from another server: none is known before it is read."""

    def __init__(
        self, who: str, recorder: Recorder, not_understood: Callable[[Exception], None]
    ) -> None:
        super().__init__(who, recorder)
        self._not_understood = not_understood

    def taken(
        self, number: int | None, error: Exception | None, *, waited: bool, waits: bool
    ) -> None:
        """Note what became of a packet; of one that could not be taken in, a message is made."""
        if error is not None:
            self._not_understood(error)
