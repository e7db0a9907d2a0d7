"""What the nodes of a NATS cluster believe of their elections: who leads, in which term.

Owns how each node is asked, by its own monitoring port, so that one that is cut off from the others
is heard, too. Must not know: how nodes are started or cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp

__all__ = ["Vote", "votes"]

_ACCOUNT = "$G"  # of those who do not log in


class Vote(NamedTuple):
    """What one node believes: whether it leads, in which `term`, and for whom it voted then."""

    leads: bool
    term: int
    voted_for: str


async def votes(monitors: Mapping[str, str], stream: str) -> dict[str, Vote]:
    """Ask each node about its replica of `stream`; those that do not run are left out.

    `monitors`: the address of the monitoring port of each, by name. Raises `LookupError` if none of
    them has such a stream.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        asked = [_ask(session, address, stream) for address in monitors.values()]
        answers = dict(zip(monitors, await asyncio.gather(*asked), strict=True))
    known = {name: answer for name, answer in answers.items() if answer}
    if not known:
        raise LookupError(f"no node has a stream {stream!r}")
    names = {answer["id"]: name for name, answer in known.items()}
    return {
        name: Vote(
            answer["state"] == "LEADER",
            answer["term"],
            names.get(answer.get("voted_for", ""), ""),
        )
        for name, answer in known.items()
    }


async def _ask(session: aiohttp.ClientSession, address: str, stream: str) -> dict[str, Any]:
    """Return what a node says of its replica of the stream; {}: it has none, or is gone."""
    try:
        async with session.get(f"{address}/jsz?streams=true&raft=true") as reply:
            accounts = (await reply.json()).get("account_details", ())
        async with session.get(f"{address}/raftz?acc={_ACCOUNT}") as reply:
            groups = (await reply.json()).get(_ACCOUNT, {}) if reply.ok else {}
    except OSError:
        return {}
    for account in accounts:
        for one in account.get("stream_detail", ()):
            if one["name"] == stream:
                return dict(groups.get(one["stream_raft_group"], {}))
    return {}
