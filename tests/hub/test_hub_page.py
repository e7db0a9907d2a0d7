"""What a hub sends for its page: to whom, with which policy, and which client with it."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import hubs
import pytest

from chatq.hub import page

CLIENT = Path("node_modules/socket.io-client/dist/socket.io.min.js")
OFFICIAL = b"/*!\n * Socket.IO v4.8.1\n */\nlet io;"


def install(folder: Path, content: bytes) -> None:
    (folder / CLIENT).parent.mkdir(parents=True)
    (folder / CLIENT).write_bytes(content)


@pytest.mark.parametrize("dialect", [None, "caps"])
async def test_the_page_is_the_hubs_own_and_nothing_else_runs_on_it(
    dialect, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub = hubs.Here(tmp_path, dialect)
    await hub.open()
    found: dict[str, str] = {}
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/page.css", "/page.js", "/socket.io.min.js"):
            async with session.get(hub.url + path) as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'; script-src 'self'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                found[path] = await answer.text()
        for path in ("/page.html", "/../serve.py", "/%2e%2e/gate.py", "/.env", "/index.html"):
            async with session.get(hub.url + path) as answer:
                assert answer.status == 404
        async with session.get(hub.url + "/caps") as answer:  # what the hub has printed
            assert (answer.status, answer.url.path) == (200, "/")
        async with session.post(hub.url, data=b"x") as answer:
            assert answer.status == 405
    await hub.close()
    assert not re.search(r"https?://", "".join(found.values()))
    assert not re.search(r"<script(?! defer src=)|<style|\son\w+=", found["/"])
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", found["/page.js"]
    )


@pytest.mark.parametrize("namespace", ["/", "/{x}", "/page.js", "/socket.io", "/a.b", "/a/b", "//"])
async def test_a_namespace_hides_nothing_of_the_page(namespace, tmp_path) -> None:
    hub = hubs.Here(tmp_path, namespace=namespace)
    await hub.open()
    client = await hub.client()
    async with aiohttp.ClientSession() as session, session.get(f"{hub.url}/page.js") as answer:
        assert "picture" in await answer.text()
    await client.disconnect()
    await hub.close()


def test_the_official_client_is_that_of_the_folder_or_of_one_above(tmp_path: Path) -> None:
    below = tmp_path / "class" / "hub"
    below.mkdir(parents=True)
    assert page._installed(below) is None
    install(tmp_path, OFFICIAL)
    assert page._installed(below) == OFFICIAL
    install(below, OFFICIAL + b"nearer")
    assert page._installed(below) == OFFICIAL + b"nearer"


@pytest.mark.parametrize(
    "content",
    [b"", b"alert(1)", b"/*!\n * Socket.IO v2.5.0\n */", OFFICIAL + b" " * 1_000_000],
)
def test_what_is_no_client_of_this_protocol_is_not_sent(tmp_path: Path, content: bytes) -> None:
    install(tmp_path, content)
    assert page._installed(tmp_path) is None


def test_a_client_that_is_somebody_elses_is_not_sent(tmp_path: Path, monkeypatch) -> None:
    install(tmp_path, OFFICIAL)
    owner = (tmp_path / CLIENT).stat().st_uid
    monkeypatch.setattr(page.os, "getuid", lambda: owner + 1)
    assert page._installed(tmp_path) is None
