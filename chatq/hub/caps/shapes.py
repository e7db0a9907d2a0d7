"""The shapes in which a message of the lab is handed on: alone, or wrapped as a class's hub does.

Owns how a shape of the table is filled in. Pure. Must not know: clients, queues.
"""

from __future__ import annotations

from typing import Any

__all__ = ["shaped"]


def shaped(message: Any, shape: dict[str, Any], texts: dict[str, str]) -> Any:
    """Return `message` in a shape of the table; `texts`: what "$event", "$id", … stand for.

    What is no object is handed on as it is: it has no fields that anybody could look for.
    """
    if not shape or not isinstance(message, dict):
        return message
    filled = {
        name: message if text == "$message" else texts.get(text, text)
        for name, text in shape.items()
        if name != "..."
    }
    return {**filled, **message} if "..." in shape else filled
