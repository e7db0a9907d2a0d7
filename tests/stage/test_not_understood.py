"""A packet that the other side cannot take in has a row of its own, and is not taken for the next
one: its reason is that it was not understood, and settling raises it."""

import asyncio
import json
import math

import pytest
import socketio
from socketio.packet import Packet

from chatq import HandlerRaised, Reason, Stage
from chatq.waiting import give_way

pytestmark = pytest.mark.usefixtures("network")  # both

EITHER = pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=lambda t: t[0])


class StrictJson:
    """Stands for the module json, and refuses what is no JSON, as a browser does."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text, **options):
        def refuse(constant):
            raise ValueError(f"{constant} is no JSON")

        return json.loads(text, parse_constant=refuse)


class StrictPacket(Packet):
    json = StrictJson


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


class DeepPacket(Packet):
    """Written and read with no more depth than 50."""

    def decode(self, encoded):
        if encoded.count("[") > 50:
            raise RecursionError("nested too deeply")
        return super().decode(encoded)


#: What cannot be taken in, by whom, and what is said of it.
CASES = {
    "NaN": (math.nan, StrictPacket, "ValueError: NaN is no JSON"),
    "infinite": ({"a": [1, -math.inf]}, StrictPacket, "ValueError: -Infinity is no JSON"),
    "deep": (nested(60), DeepPacket, "RecursionError: nested too deeply"),
    "NaN beside bytes": ({"a": b"1", "b": math.nan}, StrictPacket, "ValueError: NaN is no JSON"),
}


@EITHER
@pytest.mark.parametrize("side", ["server", "ada"])
@pytest.mark.parametrize("name", CASES)
async def test_it_has_a_row_of_its_own(name, side, transports):
    data, strict, told = CASES[name]
    sio = socketio.AsyncServer(
        async_mode="aiohttp", serializer=strict if side == "server" else "default"
    )
    heard = []
    async with Stage(sio) as stage:
        own = {"serializer": "default" if side == "server" else strict}
        ada = await stage.client("ada", transports=transports, **own)
        ada.on("*", lambda event, data: heard.append((event, data)))
        sio.on("*", lambda event, sid, data: heard.append((event, data)))
        sender = ada if side == "server" else sio
        for n in range(3):
            await sender.emit(f"good {n}", n)
            await sender.emit(f"bad {n}", data)
        await sender.emit("last", b"\x00\xff")
        with pytest.raises(HandlerRaised) as raised:
            await stage.settle()
        for n in range(3):
            assert f"{side} could not take in 'bad {n}'" in str(raised.value)
        assert told in str(raised.value)
        assert len(raised.value.errors) == 3
        assert heard == [("good 0", 0), ("good 1", 1), ("good 2", 2), ("last", b"\x00\xff")]
        reasons = [m.explanations[side].reason for m in stage.deliveries().messages]
        assert reasons == [*[Reason.RECEIVED, Reason.NOT_UNDERSTOOD] * 3, Reason.RECEIVED]
        assert told in stage.why(side, "bad 1")
        assert "✗ not understood" in str(stage.deliveries())
        await stage.settle()  # shown once


@pytest.mark.parametrize("sio", ["aiohttp"], indirect=True)
async def test_what_is_too_large_for_polling(sio, stage):
    """python-engineio reads a part of it, which is no JSON."""
    sio.on("up", lambda sid, data: None)
    ada = await stage.client("ada", transports=["polling"])
    await ada.emit("up", "x" * 900_000)
    with pytest.raises(HandlerRaised, match="server could not take in 'up': JSONDecodeError"):
        await stage.settle()
    await ada.emit("up", "small")
    await stage.settle()
    large, small = stage.deliveries("up").messages
    assert large.explanations["server"].reason is Reason.NOT_UNDERSTOOD
    assert small.explanations["server"].reason is Reason.RECEIVED


@pytest.mark.parametrize("side", ["server", "ada"])
async def test_data_that_look_like_an_attachment(sio, stage, side):
    """The library looks for an attachment that there is not, and takes what follows for one."""
    ada = await stage.client("ada")
    heard = []
    ada.on("*", lambda event, data: heard.append(event))
    sio.on("*", lambda event, sid, data: heard.append(event))
    sender = ada if side == "server" else sio
    await sender.emit("good", 1)
    await sender.emit("bad", {"_placeholder": True, "num": 7, "beside": b"bytes"})
    await sender.emit("lost", 2)
    await sender.emit("lost too", b"bytes")
    with pytest.raises(HandlerRaised, match=f"{side} could not take in 'bad': IndexError"):
        await stage.settle()
    assert heard == ["good"]
    reasons = [m.explanations[side].reason for m in stage.deliveries().messages]
    assert reasons == [Reason.RECEIVED, *[Reason.NOT_UNDERSTOOD] * 3]


@pytest.mark.parametrize("side", ["server", "ada"])
async def test_an_attachment_that_is_missing(sio, stage, side):
    """What comes next is taken for it: both are told, and what follows is right again."""

    class Missing(Packet):
        def encode(self):
            encoded = super().encode()
            missing = self.packet_type == 5 and self.data[0] == "bad"
            return encoded[:-1] if missing else encoded

    sio.packet_class = Missing
    ada = await stage.client("ada")
    heard = []
    ada.on("*", lambda event, *data: heard.append((event, *data)))
    sio.on("*", lambda event, sid, *data: heard.append((event, *data)))
    sender = ada if side == "server" else sio
    await sender.emit("bad", (b"one", b"two"))
    await sender.emit("swallowed", 1)
    await sender.emit("good", b"bytes")
    with pytest.raises(HandlerRaised, match=f"{side} could not take in 'swallowed': .*attachment"):
        await stage.settle()
    [(event, *data), last] = heard
    assert (event, data[0]) == ("bad", b"one")
    assert last == ("good", b"bytes")
    reasons = [m.explanations[side].reason for m in stage.deliveries().messages]
    assert reasons == [Reason.RECEIVED, Reason.NOT_UNDERSTOOD, Reason.RECEIVED]


async def test_bytes_from_a_client_that_is_not_inside_any_more_are_lost(sio, stage):
    ada = await stage.client("ada")
    sio.on("picture", lambda sid, data: None)
    await sio.disconnect(ada.get_sid())
    await ada.emit("picture", b"bytes")
    await stage.settle()
    assert stage.reason("server", "picture") is Reason.LOST


async def test_an_emit_that_goes_past_the_stage_is_seen_all_the_same(sio, stage):
    """As by a client manager of somebody's own, or by whoever has replaced the method."""
    ada, bob = await stage.clients("ada", "bob")
    ada.on("news", lambda *data: None)
    bob.on("news", lambda *data: None)

    async def emit(event, data, namespace, room=None, **options):
        for _, eio_sid in sio.manager.get_participants(namespace, room):
            packet = sio.packet_class(2, data=[event, data], namespace=namespace)
            await sio._send_packet(eio_sid, packet)

    sio.manager.emit = emit
    await sio.emit("news", b"bytes")
    await sio.emit("news", 2, to=ada.get_sid())
    await stage.settle()
    assert stage.reason("ada", 1) is Reason.RECEIVED
    assert stage.reason("bob", "news") is Reason.NOT_ADDRESSED
    assert len(stage.deliveries("news").messages) == 3


async def test_settling_says_which_handler_raised_beside_it(sio, stage):
    ada = await stage.client("ada", serializer=StrictPacket)

    @ada.on("good")
    def good(data):
        raise ValueError("broken")

    await sio.emit("bad", math.nan)
    await sio.emit("good", 1)
    with pytest.raises(HandlerRaised, match=r"could not take in 'bad'.*handler of 'good' raised"):
        await stage.settle()


@pytest.mark.parametrize("until", ["it is leaving", "it has left"])
async def test_an_attachment_of_a_client_whom_the_server_has_sent_away_meanwhile(
    sio, stage, until, monkeypatch
):
    """The server forgets the event when it sends a client away: the attachment comes before the
    handler of `disconnect` has returned, or after it. It is lost, as is all else from there."""
    leaving, left, taken_in = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sio.on("bytes", lambda sid, data: None, namespace="/room")

    @sio.on("disconnect", namespace="/room")
    async def disconnect(sid, reason):
        leaving.set()
        if until == "it is leaving":
            await taken_in.wait()

    ada = await stage.client("ada", namespaces=["/", "/room"])
    send, take_in = ada.eio.send, sio.eio.handlers["message"]

    async def send_later(data):
        if isinstance(data, bytes):
            await (leaving if until == "it is leaving" else left).wait()
        await send(data)

    async def message(eio_sid, data):
        try:
            await take_in(eio_sid, data)
        finally:
            if isinstance(data, bytes):
                taken_in.set()

    monkeypatch.setattr(ada.eio, "send", send_later)
    monkeypatch.setitem(sio.eio.handlers, "message", message)
    emitting = asyncio.create_task(ada.emit("bytes", b"x", namespace="/room"))
    while not sio._binary_packet:
        await give_way()
    await sio.disconnect(ada.get_sid("/room"), namespace="/room")
    left.set()
    await emitting
    await taken_in.wait()
    await stage.settle()
