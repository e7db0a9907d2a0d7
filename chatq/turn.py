"""One turn of the event loop for everybody else who is ready.

Owns how one gives way. Must not know: who does, and to whom.
"""

from __future__ import annotations

import asyncio

__all__ = ["give_way"]


async def give_way() -> None:
    """Let everything else that is ready have its turn first."""
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(_set, turn)
    await turn


def _set(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # whoever waited may have been cancelled
        turn.set_result(None)
