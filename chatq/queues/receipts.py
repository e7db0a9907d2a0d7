"""The events of consumers about what they have: `received` (acknowledge), `failed` (negative
acknowledge), `released` (no failure) and `working` (extend the lease).

Owns their form, and the replies to them. Must not know: what becomes of the message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .delivery import Deliverer
from .store import StoreError

__all__ = ["EVENTS", "Receipts"]

#: The events that `Receipts` has handlers for, each by its name.
EVENTS = ("received", "failed", "released", "working")

_LONGEST_DELAY = 30 * 24 * 3600  # seconds


class Receipts:
    """Handlers for a python-socketio server: `sio.on("received", receipts.received)`."""

    def __init__(self, delivery: Deliverer) -> None:
        self._delivery = delivery

    async def received(self, sid: str, *args: Any) -> dict[str, Any]:
        """Acknowledge the messages with these receipts; `{"ok": …}`: whether all were current."""
        return await _each("received", args, lambda known: self._delivery.received(sid, known))

    async def released(self, sid: str, *args: Any) -> dict[str, Any]:
        """Put back the messages with these receipts, without a failure; `{"ok": …}` likewise.

        `begun`: whether their handlers have begun; else it is as if they had never been sent.
        """
        begun = _flag(args, "begun")
        return await _each(
            "released", args, lambda known: self._delivery.released(sid, known, begun=begun)
        )

    async def working(self, sid: str, *args: Any) -> dict[str, Any]:
        """Let the leases with these receipts run anew; `{"ok": …}` likewise.

        `pause`: whether to send nothing more while one of them is in flight.
        """
        pause = _flag(args, "pause")
        return await _each(
            "working", args, lambda known: self._delivery.extend(sid, known, pause=pause)
        )

    async def failed(self, sid: str, *args: Any) -> dict[str, Any]:
        """Negatively acknowledge the message with this receipt; `{"ok": …}` likewise."""
        data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
        receipt, reason, delay = data.get("receipt"), data.get("reason", ""), data.get("delay")
        number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
        if not isinstance(receipt, str) or not isinstance(reason, str):
            return _malformed("failed", '{"receipt": …, "reason": text, "delay": seconds}')
        if delay is not None and not (number and 0 <= delay <= _LONGEST_DELAY):
            return _malformed("failed", f'a "delay" of 0 to {_LONGEST_DELAY} seconds')
        return await _reply(self._delivery.failed(sid, receipt, reason, delay))


def _flag(args: tuple[Any, ...], name: str) -> bool:
    return len(args) == 1 and isinstance(args[0], dict) and args[0].get(name) is True


async def _each(
    event: str, args: tuple[Any, ...], work: Callable[[list[str]], Awaitable[bool]]
) -> dict[str, Any]:
    data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
    receipts = data.get("receipts")
    if not isinstance(receipts, list):
        receipts = [data.get("receipt")]
        if not isinstance(receipts[0], str):
            return _malformed(event, '{"receipt": …} with the receipt of a delivery')
    known = [receipt for receipt in receipts if isinstance(receipt, str)]
    reply = await _reply(work(known))
    return reply if len(known) == len(receipts) or "error" in reply else {"ok": False}


async def _reply(work: Awaitable[bool]) -> dict[str, Any]:
    try:
        return {"ok": await work}
    except StoreError as error:
        return {"error": {"code": "unavailable", "message": str(error)}}


def _malformed(event: str, wanted: str) -> dict[str, Any]:
    return {"error": {"code": "malformed", "message": f"{event} takes {wanted}"}}
