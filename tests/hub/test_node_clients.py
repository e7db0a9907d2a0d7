"""Other people's clients: the official socket.io-client under Node, in both protocols."""

from __future__ import annotations

import asyncio
from pathlib import Path

import hubs
import nodejs
import pytest

pytestmark = pytest.mark.needs("node")


async def test_the_protocol_with_the_official_client(tmp_path: Path) -> None:
    with hubs.hub("--token", "sesame", folder=tmp_path) as hub:
        said = await asyncio.to_thread(nodejs.run, "hub.js", hub.url + hub.namespace, "sesame")
        assert await hub.stop() < 2
    message, data = said["refused"]
    assert "wrong token" in message
    assert data["error"]["code"] == "forbidden"
    assert said["subscribed"] == {"queue": "drivers", "ready": 0, "leased": 0, "dead": 0}
    assert said["ids"] == 50
    assert sorted(said["numbers"]) == sorted([*range(50), 3])
    assert said["bytes"]
    assert said["redelivered"] == 1
    assert (said["stats"]["ready"], said["stats"]["leased"], said["stats"]["dead"]) == (0, 0, 0)
    assert said["malformed"] == "malformed"


@pytest.mark.parametrize("transports", [["polling", "websocket"], ["polling"], ["websocket"]])
async def test_the_lab_with_the_official_client(transports: list[str], tmp_path: Path) -> None:
    with hubs.hub("--dialect", "caps", folder=tmp_path) as hub:
        said = await asyncio.to_thread(nodejs.run, "caps.js", hub.url + hub.namespace, *transports)
        assert await hub.stop() < 2
        assert "refused" not in hub.log
    assert said == {
        "picked": [f"m{n}" for n in range(120)],
        "again": 0,
        "mine": True,
        "delivered": 60,
        "left": 0,
    }
