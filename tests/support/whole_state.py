"""All of a replicated state, to be compared with another server's."""

from __future__ import annotations

from typing import Any

from chatq.queues.state import State

__all__ = ["whole"]


def whole(state: State) -> list[Any]:
    """Return what a snapshot of this state holds, and its keys."""
    frozen = state.freeze()
    state.thaw()
    return [*frozen.lines(), *state.keys.since(0, 0.0)]
