"""Who reaches a hub at all: by which name (DNS rebinding), and from which page (origins)."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import aiohttp
import hubs
import pytest
from hubs import Hub

from chatq.hosts import Hosts, host_in, host_named
from chatq.hub.origins import Origins, origin_named
from chatq.internals.front import Asked

POLL = "/socket.io/?EIO=4&transport=polling"

#: What a `Host` header may say, and which host that is; None: it is refused as none.
HEADERS = {
    "localhost": "localhost",
    "localhost:3001": "localhost",
    "localhost:": "localhost",
    "LocalHost:3001": "localhost",
    "localhost.:3001": "localhost",
    "127.0.0.1": "127.0.0.1",
    "127.9.9.9:1": "127.9.9.9",
    "[::1]:3001": "::1",
    "[0:0:0:0:0:0:0:1]": "::1",
    "[::ffff:127.0.0.1]": "127.0.0.1",
    "[::FFFF:7f00:1]": "127.0.0.1",
    "Chat.Example.": "chat.example",
    "": None,
    "localhost..": None,
    ".": None,
    "::1": None,
    "[::1": None,
    "[::1%25lo]": None,
    "[localhost]": None,
    "127.0.0.1.": None,
    "a@localhost": None,
    "localhost:80:80": None,
    "localhost:x": None,
    "localhost ": None,
    "localhost\n": None,
    "localhost, localhost": None,
    "localhost/x": None,
    "loc\u00e4lhost": None,
    "\u0661\u0662\u0667.0.0.1": None,
}

#: Names that may lead here, and other spellings of addresses, which no browser sends.
STRANGERS = [
    "evil.example",
    "evil.example:3001",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.localhost",
    "xlocalhost",
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "127.1",
    "127.0.0.01",
    "0.0.0.0",
    "[::]",
    "[::2]",
    "[::ffff:10.0.0.1]",
    "10.0.0.1",
    "128.0.0.1",
]


@pytest.mark.parametrize(("header", "host"), HEADERS.items())
def test_a_host_header_is_read_in_one_way(header: str, host: str | None) -> None:
    assert host_in(header) == host
    assert Hosts().know(header) is (host not in (None, "chat.example"))


@pytest.mark.parametrize("header", STRANGERS)
def test_a_host_that_nobody_has_named_is_a_stranger(header: str) -> None:
    assert not Hosts(["chat.example", "192.168.1.5"]).know(header)


def test_hosts_that_are_configured() -> None:
    hosts = Hosts(["Chat.Example", "192.168.1.5", "fe80::1", "[::2]"])
    for known in ["chat.example", "CHAT.example.:80", "192.168.1.5:3001", "[FE80::1]", "[::2]:1"]:
        assert hosts.know(known)
    for other in ["a.chat.example", "chat.example.evil", "192.168.1.50", "[fe80::2]"]:
        assert not hosts.know(other)
    assert Hosts(["*"]).know("evil.example")
    assert not Hosts(["*"]).know("evil example")
    for wrong in ["https://x", "x:80", "", "a b", "x/y", "ä", "*.x", "127.0.0.1:80", "[::1]:80"]:
        with pytest.raises(ValueError, match="a host is a name or an address alone"):
            host_named(wrong)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("*.example.org", "there are no patterns; name each host, or give * alone"),
        (".example.org", "there are no patterns"),
        ("https://*.example.org", "there are no patterns"),
        ("hub.example:3001", "did you mean hub.example?"),
        ("https://Hub.Example:3001/caps?x#y", "did you mean hub.example?"),
        ("hub.example/caps", "did you mean hub.example?"),
        (" hub.example\n", "did you mean hub.example?"),
        ("https://[::2]:1", "did you mean ::2?"),
        ("192.168.1.5:80", "did you mean 192.168.1.5?"),
        ("bücher.example", "did you mean xn--bcher-kva.example?"),
        ("a.example,b.example", "each is given by itself"),
        ("a.example b.example", "each is given by itself"),
        ("a..b", "not 'a..b'"),
        ("300.1.1.1", "not '300.1.1.1'"),
        ("2130706433", "not '2130706433'"),
        ("0x7f.1", "not '0x7f.1'"),
        ("x" * 300 + "ä" * 300, "not 'xxx"),
        ("", "not ''"),
        ("https://", "not 'https://'"),
    ],
)
def test_what_is_no_host_is_told_what_may_be_meant(given: str, said: str) -> None:
    with pytest.raises(ValueError, match="a host is a name or an address alone") as raised:
        host_named(given)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 400
    assert str(raised.value).isprintable()


def test_the_address_that_a_connection_came_to_is_no_name() -> None:
    assert Hosts().know("192.168.1.5:3001", local="192.168.1.5")
    assert Hosts().know("192.168.1.5", local="::ffff:192.168.1.5")
    assert Hosts().know("[fe80::1]", local="fe80::1%eth0")
    assert not Hosts().know("192.168.1.6", local="192.168.1.5")
    assert not Hosts().know("evil.example", local="evil.example")


def test_one_host_and_no_other_in_the_target() -> None:
    refused = Hosts().refused
    assert refused(["localhost"], "/", "") is None
    assert refused(["localhost"], "http://127.0.0.1:3001/x", "") is None
    assert refused([], "/", "") == ""
    assert refused(["localhost", "localhost"], "/", "") == ""
    assert refused(["localhost"], "http://evil.example/", "") == "evil.example"
    assert refused(["localhost"], "HTTP://evil.example", "") == "evil.example"
    assert refused(["localhost"], "http://localhost@evil.example/", "") == "localhost@evil.example"


# -- origins ------------------------------------------------------------------------------------


def asked(origin: str | None = None, host: str = "localhost:3001", **more: str) -> Asked:
    headers = {"host": [host], **{name.replace("_", "-"): [value] for name, value in more.items()}}
    if origin is not None:
        headers["origin"] = [origin]
    return Asked(headers, "/", "127.0.0.1")


@pytest.mark.parametrize(
    "origin",
    [None, "http://localhost:3001", "HTTP://LOCALHOST:3001"],
)
def test_what_is_no_page_and_pages_of_its_own_origin_come_in(origin: str | None) -> None:
    assert Origins(Hosts()).check(asked(origin)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3002",
        "https://localhost:3001",
        "http://127.0.0.1:3001",
        "http://evil.example",
        "http://localhost:3001.evil.example",
        "http://localhost:3001@evil.example",
        "http://localhost:3001/",
        "null",
        "",
        "file://",
        "*",
        "http://",
        "localhost:3001",
        "http://localhost:3001 http://localhost:3001",
    ],
)
def test_pages_of_another_origin_do_not(origin: str) -> None:
    refusal = Origins(Hosts()).check(asked(origin))
    assert refusal is not None
    assert refusal.status == 403
    assert "--allow-origin" in refusal.text
    assert refusal.headers["Access-Control-Allow-Origin"] == origin


def test_origins_that_are_configured() -> None:
    named = [origin_named(text) for text in ("https://Shop.example:443", "http://a:8000", "null")]
    assert named == ["https://shop.example", "http://a:8000", "null"]
    door = Origins(Hosts(), named)
    for origin in ["https://shop.example", "https://shop.example:443", "http://a:8000", "null"]:
        assert door.check(asked(origin)) is None
    for origin in ["http://shop.example", "https://a.shop.example", "http://a", "http://a:80001"]:
        assert door.check(asked(origin)) is not None
    assert Origins(Hosts(), ["*"]).check(asked("http://evil.example")) is None
    assert Origins(Hosts(), ["*"]).check(asked(host="evil.example")) is not None
    for wrong in [
        "shop.example",
        "https://",
        "https://x/",
        "https://x/path",
        "",
        "a b",
        "http://ä",
    ]:
        with pytest.raises(ValueError, match="an origin is like https://shop"):
            origin_named(wrong)


def test_a_proxy_is_believed_only_if_told() -> None:
    forwarded = {"x_forwarded_host": "chat.example", "x_forwarded_proto": "https"}
    page = asked("https://chat.example", **forwarded)
    assert Origins(Hosts(["chat.example"])).check(page) is not None
    told = Origins(Hosts(["chat.example"]), behind_proxy=True)
    assert told.check(page) is None
    # Through the proxy, and directly: each host is checked, whatever the other says.
    assert told.check(asked(x_forwarded_host="evil.example")) is not None
    assert told.check(asked(host="evil.example", x_forwarded_host="localhost")) is not None
    assert told.check(asked(x_forwarded_host="chat.example, evil.example")) is not None
    assert Origins(Hosts()).check(asked(x_forwarded_host="evil.example")) is None


# -- a hub --------------------------------------------------------------------------------------


def said(hub: Hub, request: str) -> str:
    """Send a request as it is; return the answer: of one that is not ended, the first part."""
    with socket.create_connection(("127.0.0.1", hub.port), hubs.DEADLINE) as line:
        line.sendall(request.encode("latin-1"))
        answer = line.recv(65536)
        while "101 Switching" not in answer.decode("latin-1") and (more := line.recv(65536)):
            answer += more
    return answer.decode("latin-1")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    options = ["--allow-host", "chat.example", "--allow-origin", "https://shop.example"]
    with hubs.hub(*options, folder=tmp_path_factory.mktemp("hub")) as running:
        yield running


CLOSE = "Connection: close\r\n\r\n"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("first", "headers"),
    [
        (f"GET {POLL} HTTP/1.1", "Host: evil.example\r\n"),
        (f"GET {POLL} HTTP/1.1", "Host: evil.example\r\nX-Forwarded-Host: localhost\r\n"),
        (f"GET {POLL} HTTP/1.1", "Host: 2130706433\r\n"),
        (f"GET {POLL} HTTP/1.1", "Host: 127.0.0.1.evil.example\r\n"),
        (f"GET {POLL} HTTP/1.1", "Host:\r\n"),
        (f"GET {POLL} HTTP/1.0", ""),
        (f"GET http://evil.example{POLL} HTTP/1.1", "Host: localhost\r\n"),
        (f"GET {POLL} HTTP/1.1", "Host: localhost\r\nOrigin: https://evil.example\r\n"),
        (f"GET {POLL} HTTP/1.1", "Host: localhost\r\nOrigin: null\r\n"),
        (f"OPTIONS {POLL} HTTP/1.1", "Host: localhost\r\nOrigin: https://evil.example\r\n"),
        ("GET / HTTP/1.1", "Host: evil.example\r\n"),
        ("GET /elsewhere HTTP/1.1", "Host: evil.example\r\n"),
    ],
)
def test_a_stranger_gets_nothing_of_a_hub(first: str, headers: str, hub: Hub) -> None:
    answer = said(hub, f"{first}\r\n{headers}{CLOSE}")
    assert answer.split()[1] == "403"
    assert '"sid"' not in answer
    assert "--allow-" in answer
    if first.startswith("GET"):
        assert (said(hub, f"{first}\r\n{headers}{UPGRADE}")).split()[1] == "403"


def test_two_hosts_are_refused(hub: Hub) -> None:
    for one, two in [("localhost", "localhost"), ("localhost", "evil.example")]:
        request = f"GET {POLL} HTTP/1.1\r\nHost: {one}\r\nHost: {two}\r\n{CLOSE}"
        assert (said(hub, request)).split()[1] in ("400", "403")


@pytest.mark.parametrize("host", ["chat.example", "LOCALHOST.", "127.0.0.1:80", "[::1]"])
@pytest.mark.parametrize("origin", ["", "Origin: https://shop.example\r\n"])
def test_who_is_known_comes_in(host: str, origin: str, hub: Hub) -> None:
    answer = said(hub, f"GET {POLL} HTTP/1.1\r\nHost: {host}\r\n{origin}{CLOSE}")
    assert '"sid"' in answer
    assert ("Access-Control-Allow-Origin: https://shop.example" in answer) == bool(origin)
    socket_ = POLL.replace("polling", "websocket")
    answer = said(hub, f"GET {socket_} HTTP/1.1\r\nHost: {host}\r\n{origin}{UPGRADE}")
    assert answer.startswith("HTTP/1.1 101")


async def test_what_to_set_is_on_stderr_and_not_for_each(tmp_path: Path) -> None:
    with hubs.hub(folder=tmp_path) as hub:
        async with aiohttp.ClientSession() as session:
            for header in [{"Host": "evil.example"}, {"Origin": "https://shop.example"}] * 30:
                async with session.get(hub.url + POLL, headers=header) as answer:
                    assert answer.status == 403
                    assert answer.headers.get("Access-Control-Allow-Origin") == header.get("Origin")
        await hub.stop()
        lines = [line for line in hub.log.splitlines() if "refused" in line]
    assert len(lines) == 20
    assert "warning: refused a request for the host evil.example: if that is this hub, " in lines[0]
    assert lines[0].endswith("--allow-host evil.example")
    assert lines[1].endswith("if it is yours, --allow-origin https://shop.example")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_page_that_is_named_can_work(transport: str, hub: Hub) -> None:
    """As a browser does, on each transport: with the header that it sets."""
    client = await hub.client(
        transports=[transport], headers={"Origin": "https://shop.example", "Host": "chat.example"}
    )
    answer = await hub.call(client, "publish", {"queue": transport, "event": "e", "data": 1})
    assert "id" in answer, json.dumps(answer)
    await client.disconnect()
