"""What a hub tells whoever looks after it: a namespace of its own, beside that of the clients.

Owns which requests are answered there, and the picture of all queues that viewers get each second.
Must not know: what the requests mean (`queues/inspection.py`), tokens, tables, pages.

One picture is made for all who look, and none if nobody does. It takes no more than a twentieth of
the hub's time, however many queues there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..queues.error_codes import code_of
from ..queues.inspection import Consumers, Inspection
from ..queues.queues import Queues
from ..waiting import set_within
from .gate import Gate

__all__ = ["NAMESPACE", "Inside"]

_log = logging.getLogger("chatq.hub")

#: Where this is asked, whatever the namespace of the clients and their dialect.
NAMESPACE = "/chatq"
#: The time between two pictures in seconds, and how many times as long as one took it is at least.
_SECOND, _REST = 1.0, 20
#: Their room.
_VIEWERS = "viewers"
#: The most queues in a picture.
_SHOWN = 200


class Inside:
    """Serves those behind `gate` who look into `queues`, which `clients` use by `dialect`.

    `consumers(queue)`: see `Inspection`; `shows(queue)`: whether it is one for people to see.
    """

    def __init__(
        self,
        queues: Queues,
        gate: Gate,
        *,
        clients: str,
        dialect: str | None,
        consumers: Consumers,
        shows: Callable[[str], bool],
    ) -> None:
        self._gate, self._shows = gate, shows
        self._inspection = Inspection(queues, consumers)
        self._about = {"namespace": clients, "dialect": dialect}
        self._viewers: set[str] = set()
        self._alone = asyncio.Event()  # set while nobody looks
        self._showing: asyncio.Task[None] | None = None
        self._picture: dict[str, Any] | None = None
        for request in self._inspection.requests:
            gate.on(request, self._answering(request))
        gate.on("hub", self._hub)
        gate.on("look", self._look)
        gate.on("*", self._unknown)
        gate.on_leave(self._left)

    def _answering(self, request: str) -> Callable[..., Any]:
        async def answer(sid: str, *arguments: Any) -> dict[str, Any]:
            try:
                if len(arguments) != 1:
                    raise TypeError(f"{request} takes one object")
                self._check(sid, arguments[0])
                await self._gate.reads(sid)
                answer = await self._inspection.ask(request, arguments[0])
                return self._without_notes(answer) if request == "list" else answer
            except Exception as problem:
                code = code_of(problem)
                if code is None:
                    raise
                return self._gate.refuse(sid, request, code, str(problem)[:500])

        return answer

    def _check(self, sid: str, asked: Any = None) -> None:
        """Raise `PermissionError` if this client may not look after the queue that it asks about,
        or after all of them, if it names none."""
        queue = asked.get("queue") if isinstance(asked, dict) else None
        queue = queue if isinstance(queue, str) else ""
        if self._gate.asks:
            self._gate.check(sid, "manage", queue)
        if queue and not self._shows(queue):
            raise PermissionError(f"{queue!r} holds notes of the hub itself, and no messages")

    async def _unknown(self, event: str, sid: str, *_: Any) -> dict[str, Any]:
        known = ", ".join((*self._inspection.requests, "hub", "look"))
        return self._gate.refuse(sid, event, "malformed", f"{NAMESPACE} knows {known}")

    async def _hub(self, sid: str, *_: Any) -> dict[str, Any]:
        return self._about

    # -- the picture ------------------------------------------------------------------------------

    async def _look(self, sid: str, *_: Any) -> dict[str, Any]:
        """Send this client the picture from now on."""
        try:
            self._check(sid)
        except PermissionError as problem:
            return self._gate.refuse(sid, "look", "forbidden", str(problem))
        if self._gate.connected(sid):
            self._viewers.add(sid)
            self._alone.clear()
            await self._gate.sio.enter_room(sid, _VIEWERS, namespace=self._gate.namespace)
            if self._picture is not None:
                await self._send(sid)
            if self._showing is None:
                self._showing = asyncio.create_task(self._show())
        return self._about

    async def _left(self, sid: str, _reason: str) -> None:
        self._viewers.discard(sid)
        if not self._viewers:
            self._alone.set()

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._viewers:
                began = loop.time()
                self._picture = await self._draw()
                await self._send(_VIEWERS)
                took = loop.time() - began
                await set_within(self._alone, max(_SECOND - took, _REST * took))
        finally:
            self._showing = self._picture = None

    async def _send(self, to: str) -> None:
        await self._gate.sio.emit(
            "queues",
            self._picture,
            to=to,
            namespace=self._gate.namespace,
            skip_sid=self._gate.slow(),
        )

    async def _draw(self) -> dict[str, Any]:
        try:
            found = self._without_notes(await self._inspection.list(_SHOWN))
        except Exception as problem:  # the store is closed, or its disk is failing
            if code_of(problem) is None:
                _log.exception("the queues cannot be shown: %s", type(problem).__name__)
            return {**self._about, "queues": [], "more": 0, "problem": str(problem)[:300]}
        return {**self._about, **found}

    def _without_notes(self, listed: dict[str, Any]) -> dict[str, Any]:
        """Return a list of queues without those that are no matter of who looks."""
        return {**listed, "queues": [q for q in listed["queues"] if self._shows(q["queue"])]}
