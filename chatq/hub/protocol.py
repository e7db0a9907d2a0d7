"""The hub's own protocol: its requests and answers, behind a gate.

Owns which events of PROTOCOL.md a hub serves to the clients that its gate has let in. Must not
know: what a request does (`queues/service.py`), tokens, packets, files.
"""

from __future__ import annotations

from typing import Any

from ..queues.queues import Queues
from ..queues.receipts import EVENTS
from ..queues.rules import Rules
from ..queues.service import Service
from .gate import Gate, Handler

__all__ = ["Native"]


class Native:
    """Serves `queues` to the clients behind `gate`."""

    rules: Rules = Rules()

    def __init__(self, queues: Queues, gate: Gate) -> None:
        self._gate = gate
        may = (self._may_consume, self._may_publish, self._may_manage)
        may_consume, may_publish, may_manage = may if gate.asks else (None, None, None)
        queues.attach(gate.sio, gate.namespace, may_consume, listen=False)
        service = Service(
            queues,
            gate.namespace,
            gate.connected,
            gate.refuse,
            may_publish,
            may_manage,
            gate.reads,
        )
        self._known = ", ".join((*service.handlers, *EVENTS))
        for event, handler in service.handlers.items():
            gate.on(event, handler)
        for event in EVENTS:
            gate.on(event, self._receipt(event, getattr(queues.answers, event)))
        gate.on("*", self._unknown)
        gate.on_leave(lambda sid, _reason: service.left(sid))

        self.consumers = queues.consumers

    def shows(self, queue: str) -> bool:
        """Return whether a queue is shown to who looks: all are."""
        return True

    async def start(self) -> None:
        """Do nothing: nothing has to be read before clients connect."""

    def _may_consume(self, sid: str, queue: str) -> bool:
        self._gate.check(sid, "consume", queue)
        return True

    async def _may_publish(self, sid: str, queue: str) -> None:
        self._gate.check(sid, "publish", queue)

    async def _may_manage(self, sid: str, queue: str) -> None:
        self._gate.check(sid, "manage", queue)

    def _receipt(self, event: str, handler: Handler) -> Handler:
        """Return `handler`, whose replies may be errors, with a line of the log for each."""

        async def noted(sid: str, *arguments: Any) -> Any:
            answer = await handler(sid, *arguments)
            if "error" in answer:
                self._gate.refuse(sid, event, answer["error"]["code"], "")
            return answer

        return noted

    async def _unknown(self, event: str, sid: str, *_: Any) -> dict[str, Any]:
        return self._gate.refuse(sid, event, "malformed", f"this hub knows {self._known}")
