"""The events `received` (acknowledge) and `failed` (negative acknowledge) from consumers.

Owns their form, and the replies to them. Must not know: what becomes of the message.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from .delivery import Delivery
from .store import StoreError

__all__ = ["Receipts"]

_LONGEST_DELAY = 30 * 24 * 3600  # seconds


class Receipts:
    """Handlers for a python-socketio server: `sio.on("received", receipts.received)`."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    @property
    def closed(self) -> bool:
        """Return whether these events are handled no more."""
        return self._delivery.closing

    async def received(self, sid: str, *args: Any) -> dict[str, Any]:
        """Acknowledge the messages with these receipts; `{"ok": …}`: whether all were current."""
        data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
        receipts = data.get("receipts")
        if not isinstance(receipts, list):
            receipts = [data.get("receipt")]
            if not isinstance(receipts[0], str):
                return _malformed("received", '{"receipt": …} with the receipt of a delivery')
        known = [receipt for receipt in receipts if isinstance(receipt, str)]
        reply = await _reply(self._delivery.received(sid, known))
        return reply if len(known) == len(receipts) or "error" in reply else {"ok": False}

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


async def _reply(work: Awaitable[bool]) -> dict[str, Any]:
    try:
        return {"ok": await work}
    except StoreError as error:
        return {"error": {"code": "unavailable", "message": str(error)}}


def _malformed(event: str, wanted: str) -> dict[str, Any]:
    return {"error": {"code": "malformed", "message": f"{event} takes {wanted}"}}
