"""The tape of a client shows what really went over its wire, and what it means."""

import asyncio
import re

import pytest
import socketio
from hypothesis import example, given
from hypothesis import strategies as st

from chatq import Stage
from chatq.internals.tape import TO_CLIENT, TO_SERVER, Tape
from chatq.views.wire import meaning, wire_table

pytestmark = pytest.mark.usefixtures("network")  # both


def rows(stage, who):
    return [tuple(row) for row in stage.wire(who).rows]


async def test_the_frames_of_a_websocket_from_hello_to_goodbye(sio, stage):
    sio.on("ask", lambda sid, n: n + 1)
    ada = await stage.client("ada")
    assert await ada.call("ask", 1) == 2
    ada.on("file", lambda data: None)
    await sio.emit("file", b"abc")
    await stage.settle()
    await sio.disconnect(ada.get_sid())
    await stage.settle()
    frames = rows(stage, "ada")
    assert [(way, said) for way, _, said in frames[:10]] == [
        ("→", "HTTP: may this connection become a websocket?"),
        ("←", "yes: from here on a websocket"),
        ("←", "Engine.IO open: your connection's id, and how often we ping"),
        ("→", "Socket.IO connect: may I enter the namespace /?"),
        ("←", "Socket.IO connect: welcome to /, this is your sid there"),
        ("→", "Socket.IO event: 'ask', please acknowledge as number 1"),
        ("←", "Socket.IO acknowledgement of number 1"),
        ("←", "Socket.IO event: 'file'"),
        ("←", "the bytes that belong to the message before"),
        ("←", "Socket.IO disconnect: goodbye to /"),
    ]
    assert frames[5][1] == '421["ask",1]'
    assert frames[6][1] == "431[2]"
    assert frames[8][1] == "<3 bytes>"
    assert frames[9][1] == "41"


async def test_a_namespace_is_named_in_what_its_frames_mean(sio, stage):
    sio.on("ask", lambda sid: None, namespace="/caps")
    ada = await stage.client("ada", namespaces=["/caps", "/nowhere"], wait=False)
    await stage.until(lambda: stage.connected("ada", "/caps"), "ada in /caps")
    await stage.settle()
    await ada.call("ask", namespace="/caps")
    said = [row[2] for row in rows(stage, "ada")]
    assert "Socket.IO connect: may I enter the namespace /caps?" in said
    assert "Socket.IO connect error: /nowhere refuses you" in said
    assert "Socket.IO event in /caps: 'ask', please acknowledge as number 1" in said
    assert "Socket.IO acknowledgement in /caps of number 1" in said


async def test_the_frames_of_a_polling_client(sio, stage):
    sio.on("ask", lambda sid: "answer")
    ada = await stage.client("ada", transports=["polling"])
    assert await ada.call("ask") == "answer"
    said = [(way, what) for way, _, what in rows(stage, "ada")]
    assert said[0] == ("→", "HTTP: is there anything for me?")
    assert ("→", "HTTP: here is something") in said
    assert ("←", "the HTTP answer") in said
    asked = said.index(("→", "Socket.IO event: 'ask', please acknowledge as number 1"))
    assert asked < said.index(("←", "Socket.IO acknowledgement of number 1"))


async def test_the_frames_of_an_upgrade(stage):
    await stage.client("ada", transports=["polling", "websocket"])
    said = [(way, what) for way, _, what in rows(stage, "ada")]
    probe = said.index(("→", "Engine.IO ping on the websocket: does this way work too?"))
    assert said[probe + 1 : probe + 3] == [
        ("←", "Engine.IO pong on the websocket: it does"),
        ("→", "Engine.IO upgrade: from now on over the websocket"),
    ]


async def test_heartbeats_are_one_row():
    """Frames have no place in the journal, so the server's own ping is waited for by call-back."""
    sio = socketio.AsyncServer(async_mode="aiohttp", ping_interval=0.1)
    async with Stage(sio) as stage:
        ada = await stage.client("ada")
        pongs, twice = [], asyncio.get_running_loop().create_future()
        engine_socket = next(iter(sio.eio.sockets.values()))
        schedule = engine_socket.schedule_ping

        def pong():
            pongs.append("pong")
            schedule()
            if len(pongs) == 2:
                twice.set_result([data for _, data in ada.tape.frames])

        engine_socket.schedule_ping = pong
        kept = await twice
        assert (kept.count("2"), kept.count("3")) == (2, 2)
        beats = [row for row in rows(stage, "ada") if "heartbeat" in row[2]]
        assert [row[:2] for row in beats] == [("⇄", "2 … 3")]


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_no_sid_port_or_time_is_shown(sio, stage, transports):
    ada = await stage.client("ada", transports=transports)
    sids = [ada.sid, ada.get_sid(), ada.eio.sid]
    shown = repr(stage.wire(ada)) + stage.wire(ada)._repr_html_()
    assert not [sid for sid in sids if sid in shown]
    assert stage.url.rpartition(":")[2] not in shown
    assert not re.search(r"[?&]t=", shown)
    sent = [data for _, data in ada.tape.frames if isinstance(data, str)]
    assert any(ada.get_sid() in data for data in sent)  # struck out when shown, not when kept


async def test_a_long_frame_is_cut_and_still_explained(sio, stage):
    await stage.client("ada")
    await sio.emit("news", "x" * 10_000)
    await stage.settle()
    _, frame, said = rows(stage, "ada")[-1]
    assert len(frame) == 160
    assert said == "Socket.IO message (cut short here, so not read)"


async def test_asking_for_the_wire_does_not_change_it(sio, stage):
    ada = await stage.client("ada")
    before = [*ada.tape.frames]
    assert rows(stage, "ada") == rows(stage, ada)
    assert [*ada.tape.frames] == before


async def test_a_tape_keeps_the_newest_frames():
    tape = Tape(keep=2)
    tape.frames.extend([(TO_SERVER, "40"), (TO_CLIENT, "6"), (TO_CLIENT, "41")])
    assert [row[1] for row in wire_table(tape.frames, "ada").rows] == ["6", "41"]


@pytest.mark.parametrize(
    ("frame", "direction", "said"),
    [
        ("1", TO_CLIENT, "Engine.IO close: the sender ends the connection"),
        ("6", TO_CLIENT, "Engine.IO noop: nothing, it only ends a waiting poll"),
        ("41/caps,", TO_SERVER, "Socket.IO disconnect: goodbye to /caps"),
        ("42[]", TO_SERVER, "Socket.IO event: '?'"),
        ("461-1[0]", TO_SERVER, "Socket.IO acknowledgement of number 1"),
        ("42[broken", TO_SERVER, "Socket.IO message (broken)"),
        ("bAAAA", TO_SERVER, "the bytes that belong to the message before"),
        ("x", TO_SERVER, "not a frame of Engine.IO version 4"),
        ("", TO_SERVER, "not a frame of Engine.IO version 4"),
    ],
)
def test_what_single_frames_mean(frame, direction, said):
    assert meaning(frame, direction) == said


FRAMES = st.text() | st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["4", "40", "41", "42", "43", "44", "451-", "461-", "49", "4²"]),
    st.sampled_from(["", "/caps,", "/", "7", "/caps,12"]),
    st.sampled_from(["", "[]", "{}", '{"a":1}', '["a"]', "1", '"', "true", "null", "[" * 100_000]),
    st.text(max_size=3),
)


@given(FRAMES, st.sampled_from([TO_SERVER, TO_CLIENT]))
@example('42{"a":1}', TO_SERVER)
@example("42true", TO_SERVER)
@example("42[" + "[" * 100_000, TO_SERVER)
def test_any_text_has_a_meaning(frame, direction):
    said = meaning(frame, direction)
    assert isinstance(said, str)
    assert said
