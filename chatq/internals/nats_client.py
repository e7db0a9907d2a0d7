"""The size of a NATS cluster as its servers advertise it.

Owns that touch. Must not know: streams, records.

Touches nats-py 2.16: `Client._server_info`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["advertised"]


def advertised(client: Any) -> int:
    """Return the number of servers that the connected server advertises, itself included.

    The public list of servers may hold one server under two names.
    """
    return len(client._server_info.get("connect_urls") or [])
