"""Waiting without asking again and again: for one turn of the event loop, or for news.

Owns how one waits. Must not know: who waits, and what for.
"""

from __future__ import annotations

import asyncio

__all__ = ["give_way", "set_within"]


async def give_way() -> None:
    """Let everything else that is ready have its turn first."""
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(_set, turn)
    await turn


def _set(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # whoever waited may have been cancelled
        turn.set_result(None)


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set, but no longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
