"""Who reaches the server of a stage: under which name, and with which secret."""

from __future__ import annotations

import base64

import aiohttp
import pytest
import socketio
from fastapi import FastAPI

from chatq import Stage

POLL = "/socket.io/?EIO=4&transport=polling"
SOCKET = "/socket.io/?EIO=4&transport=websocket"

pytestmark = pytest.mark.usefixtures("network")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """In no kernel of Jupyter, unless a test says so."""
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)


@pytest.fixture
def served(sio):
    """A server of either kind, and its application, which has a page of its own."""
    if sio.async_mode == "aiohttp":
        return sio, None
    app = FastAPI()
    app.add_api_route("/page", lambda: "a page")
    return sio, app


async def status(url, path="/", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as got:
        return got.status, await got.text()


async def dialled(url, **headers):
    """Return the status of a websocket's handshake."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(url + SOCKET, headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "2130706433", "a b"]
)
async def test_a_host_that_is_not_this_machine_is_refused(host, served):
    async with Stage(*served) as stage:
        for path in (POLL, "/", "/page"):
            code, text = await status(stage.url, path, Host=host, X_Forwarded_Host="localhost")
            assert code == 403
            assert "Stage(sio, hosts=[" in text
        assert await dialled(stage.url, Host=host, X_Forwarded_Host="localhost") == 403
        forged = {"X_Forwarded_Host": "evil.example", "Origin": "http://evil.example"}
        assert (await status(stage.url, POLL, **forged))[0] == 403
        assert await dialled(stage.url, **forged) == 403
        assert await dialled(stage.url, Host="localhost:1") == 101
        assert (await status(stage.url, POLL))[0] == 200


async def test_hosts_that_are_named(served, monkeypatch):
    monkeypatch.setenv("CHATQ_ALLOW_HOST", "hub.example, lab.example")
    async with Stage(*served, hosts=["Chat.Example"]) as stage:
        for host in ("chat.example:8000", "hub.example", "LAB.example."):
            assert (await status(stage.url, POLL, Host=host))[0] == 200
            assert await dialled(stage.url, Host=host) == 101
        assert (await status(stage.url, POLL, Host="other.example"))[0] == 403


async def test_jupyters_proxy_is_let_in_where_there_is_one(served, monkeypatch):
    for inside in (False, True):
        if inside:
            monkeypatch.setenv("JPY_PARENT_PID", "1")
        async with Stage(*served) as stage:
            port = stage.url.rpartition(":")[2]
            for path in (f"/user/ada/proxy/{port}", f"/proxy/absolute/localhost:{port}/"):
                for host in ("hub.example", "hub.example:8888"):
                    told = {"X_ProxyContextPath": path, "X_Forwarded_Host": host}
                    code, _ = await status(stage.url, POLL, Host=host, **told)
                    assert code == (200 if inside else 403)
                    assert await dialled(stage.url, Host=host) == (101 if inside else 403)
                # A page whose name leads here says whatever it likes, but cannot choose the port.
                code, _ = await status(
                    stage.url, POLL, Host=f"evil.example:{port}", X_ProxyContextPath=path
                )
                assert code == 403
            assert await dialled(stage.url, Host=f"evil.example:{port}") == 403
            for wrong in ({}, {"X_ProxyContextPath": "/proxy/1"}, {"X_ProxyContextPath": "/"}):
                assert (await status(stage.url, POLL, Host="hub.example", **wrong))[0] == 403


async def test_a_secret_is_wanted_of_all_and_clients_present_it(served):
    async with Stage(*served, secret="s3cret: %/") as stage:
        for transport in ("websocket", "polling"):
            ada = await stage.client(transport, transports=[transport])
            assert stage.connected(transport)
            assert (await stage.client("a " + transport, headers=lambda: {"X": "1"})).connected
        ada = stage["websocket"]
        await ada.disconnect()
        await ada.connect()  # as often as it likes
        right = base64.b64encode(b"me:s3cret: %/").decode()
        assert (await status(stage.url, POLL, X_Chatq_Secret="s3cret: %/"))[0] == 200
        assert (await status(stage.url, POLL, Authorization=f"Basic {right}"))[0] == 200
        assert (await status(stage.url, POLL, Authorization=f"basic {right}"))[0] == 200
        assert await dialled(stage.url, Authorization=f"Basic {right}") == 101
        wrong = [
            {},
            {"X_Chatq_Secret": "s3cret"},
            {"X_Chatq_Secret": ""},
            {"Authorization": "Basic !"},
            {"Authorization": "Basic " + base64.b64encode(b"s3cret: %/").decode()},
            {"Authorization": "Bearer " + right},
            {"Cookie": "X-Chatq-Secret=s3cret: %/"},
        ]
        for headers in wrong:
            for path in (POLL, "/", "/page"):
                code, text = await status(stage.url, path, **headers)
                assert (code, "s3cret" in text) == (401, False)
            assert await dialled(stage.url, **headers) in (401, 403)
        code, _ = await status(stage.url, POLL, Host="evil.example", X_Chatq_Secret="s3cret: %/")
        assert code == 403
        assert "s3cret" not in f"{stage!r} {stage.url} {stage.journal!r} {[*stage.journal]}"


async def test_another_server_is_not_given_the_secret(sio):
    heard = []

    @sio.event
    def connect(sid, environ):
        heard.append({name: value for name, value in environ.items() if "CHATQ" in name})

    other = Stage(sio)
    async with other, Stage(socketio.AsyncServer(async_mode="aiohttp"), secret="s3cret") as stage:
        await stage.client("ada", url=other.url)
    assert heard == [{"HTTP_X_CHATQ_NAME": "ada"}]


@pytest.mark.parametrize("secret", ["", " ", "a ", "ä", "a\n"])
def test_what_is_no_secret(secret, sio):
    with pytest.raises(ValueError, match="a secret has printable ASCII characters"):
        Stage(sio, secret=secret)
    with pytest.raises(ValueError, match="a host is a name or an address alone"):
        Stage(sio, hosts=["http://x"])
    with pytest.raises(TypeError, match="hosts are a list"):
        Stage(sio, hosts="x")
