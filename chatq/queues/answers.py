"""The events `received` and `failed`: what a consumer says of a message that it was given.

Owns their form, and what they are answered. Must not know: what becomes of the message.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from .dispatch import Dispatch
from .store import StoreError

__all__ = ["Answers"]

_LONGEST_DELAY = 30 * 24 * 3600  # seconds


class Answers:
    """Handlers for a python-socketio server: `sio.on("received", answers.received)`."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    @property
    def closed(self) -> bool:
        """Whether nothing is listened to any more."""
        return self._dispatch.closing

    async def received(self, sid: str, *args: Any) -> dict[str, Any]:
        """Settle the messages with these receipts; `{"ok": …}` says whether that did anything."""
        data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
        receipts = data.get("receipts")
        if not isinstance(receipts, list):
            receipts = [data.get("receipt")]
            if not isinstance(receipts[0], str):
                return _malformed("received", '{"receipt": …} with the receipt of a delivery')
        known = [receipt for receipt in receipts if isinstance(receipt, str)]
        told = await _told(self._dispatch.received(sid, known))
        return told if len(known) == len(receipts) or "error" in told else {"ok": False}

    async def failed(self, sid: str, *args: Any) -> dict[str, Any]:
        """Give the message with this receipt back; `{"ok": …}` likewise."""
        data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
        receipt, reason, delay = data.get("receipt"), data.get("reason", ""), data.get("delay")
        number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
        if not isinstance(receipt, str) or not isinstance(reason, str):
            return _malformed("failed", '{"receipt": …, "reason": text, "delay": seconds}')
        if delay is not None and not (number and 0 <= delay <= _LONGEST_DELAY):
            return _malformed("failed", f'a "delay" of 0 to {_LONGEST_DELAY} seconds')
        return await _told(self._dispatch.failed(sid, receipt, reason, delay))


async def _told(work: Awaitable[bool]) -> dict[str, Any]:
    try:
        return {"ok": await work}
    except StoreError as error:
        return {"error": {"code": "unavailable", "message": str(error)}}


def _malformed(event: str, wanted: str) -> dict[str, Any]:
    return {"error": {"code": "malformed", "message": f"{event} takes {wanted}"}}
