"""Clients take every option of python-socketio's, keep it, and speak as their server does."""

import base64
import json
import pickle

import aiohttp
import pytest
import socketio
from socketio import msgpack_packet, packet

from chatq import Reason, Stage

pytestmark = pytest.mark.usefixtures("network")  # both


class OwnJson:
    """Stands for the module json at a server, and writes sets, which that cannot."""

    @staticmethod
    def dumps(data, **options):
        return json.dumps(data, **options, default=sorted)

    loads = staticmethod(json.loads)


class OwnJsonPacket(packet.Packet):
    json = OwnJson


class PicklePacket(packet.Packet):
    """A serializer that nobody has heard of."""

    uses_binary_events = False

    def encode(self):
        return base64.b64encode(pickle.dumps(self._to_dict())).decode()

    def decode(self, encoded):
        decoded = pickle.loads(base64.b64decode(encoded))
        self.packet_type, self.namespace = decoded["type"], decoded["nsp"]
        self.data, self.id = decoded.get("data"), decoded.get("id")


SERIALIZERS = {
    "default": "default",
    "msgpack": "msgpack",
    "msgpack of one's own": msgpack_packet.MsgPackPacket.configure(),
    "a class of one's own": PicklePacket,
    "JSON of one's own": OwnJsonPacket,
}


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
@pytest.mark.parametrize("name", SERIALIZERS)
async def test_a_client_speaks_as_its_server_does(name, transports):
    sio = socketio.AsyncServer(async_mode="aiohttp", serializer=SERIALIZERS[name])
    heard = []

    @sio.event
    async def connect(sid, environ, auth):
        if auth == "no":
            raise socketio.exceptions.ConnectionRefusedError("no entry", {"why": 7})

    @sio.event
    async def order(sid, what, picture):
        heard.append((what, picture))
        await sio.emit("news", {"what": what}, skip_sid=sid)
        return "taken", picture

    async with Stage(sio) as stage:
        ada, bob = await stage.clients("ada", "bob", transports=transports)
        bob.on("news", lambda data: heard.append(data))
        assert await ada.call("order", ("tea", b"\x00\xff")) == ("taken", b"\x00\xff")
        await stage.settle()
        assert heard == [("tea", b"\x00\xff"), {"what": "tea"}]
        heard.clear()
        assert stage.reason("bob", "news") is Reason.RECEIVED
        assert stage.reason("ada", "news") is Reason.SKIPPED
        with pytest.raises(socketio.exceptions.ConnectionError):
            await stage.client("cy", auth="no", transports=transports)
        await sio.emit("news", {2} if name == "JSON of one's own" else [2])
        await stage.settle()
        assert heard == [[2]]
        assert stage.reason("cy", "news") is Reason.REFUSED
        assert "no entry" in str(stage.why("cy", "news"))
        said = [meaning for *_, meaning in stage.wire("bob").rows]
        if name != "a class of one's own":
            assert any("event: 'news'" in meaning for meaning in said), stage.wire("bob")


async def test_options_of_the_client_and_of_its_connect_are_told_apart(sio, stage):
    session = aiohttp.ClientSession()
    ada = await stage.client(
        "ada",
        reconnection=True,
        reconnection_attempts=3,
        reconnection_delay=0.01,
        reconnection_delay_max=0.02,
        randomization_factor=0,
        request_timeout=7,
        websocket_extra_options={"max_msg_size": 0},
        timestamp_requests=False,
        engineio_logger=False,
        auth={"token": 1},
        wait_timeout=5,
        namespaces="/",
    )
    assert (ada.reconnection_attempts, ada.reconnection_delay) == (3, 0.01)
    assert ada.eio.request_timeout == 7
    assert ada.dialled == {"auth": {"token": 1}, "wait_timeout": 5, "namespaces": "/"}
    await stage.cut(ada)
    await stage.until(lambda: ada.connected, "ada to be back")
    for wrong in ("retries", "kwargs"):
        with pytest.raises(TypeError, match=f"no option '{wrong}'"):
            await stage.client("bob", **{wrong: 3})
    with pytest.raises(TypeError, match="not connected yet: give auth to its `connect`"):
        await stage.client("bob", connect=False, auth=1)
    bob = await stage.client("bob", http_session=session)
    assert bob.eio.http is session
    with pytest.raises(RuntimeError, match="an http_session of its own"):
        await stage.freeze(bob)
    with pytest.raises(RuntimeError, match="an http_session of its own"):
        stage.wire(bob)
    await stage.cut(bob)
    await stage.settle()
    await session.close()


@pytest.mark.parametrize(
    "options",
    [
        {"wait": False},
        {"wait_timeout": 3, "namespaces": ["/", "/room"]},
        {"auth": lambda: {"n": 0}, "headers": lambda: {"X-Own": "1"}},
        {"auth": 0, "headers": {"X-Own": "1"}},
        {"auth": False, "socketio_path": "/socket.io/"},
        {"transports": "polling"},
        {"retry": False, "transports": ["polling"]},
    ],
    ids=["no wait", "namespaces", "functions", "zero", "false", "a text", "a list"],
)
async def test_reset_connects_again_with_the_same_options(options):
    sio = socketio.AsyncServer(async_mode="aiohttp", namespaces="*")
    seen = []

    @sio.on("connect", namespace="*")
    async def connect(namespace, sid, environ, auth):
        seen.append((namespace, auth, environ.get("HTTP_X_OWN"), sio.transport(sid, namespace)))

    async with Stage(sio) as stage:
        ada = await stage.client("ada", **options)
        await stage.settle()
        before = [*seen]
        dialled = dict(ada.dialled)
        await stage.reset()
        assert seen[len(before) :] == before != []
        assert ada.dialled == dialled == options
        assert stage.connected("ada")


async def test_headers_may_be_an_asynchronous_function(sio, stage):
    seen = []

    @sio.event
    async def connect(sid, environ):
        seen.append(environ["HTTP_X_OWN"])

    async def headers():
        return {"X-Own": str(len(seen))}

    await stage.client("ada", headers=headers)
    await stage.reset()
    assert seen == ["0", "1"]
    assert stage.connected("ada")
