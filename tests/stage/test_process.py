"""Real processes on a stage: started, heard, killed, suspended, cut off, and never left behind."""

import os
import signal
import subprocess
import sys

import pytest
from processes import gone

from chatq import NotSettled, Reason, Stage

LISTENER = """
import asyncio, sys, socketio
client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.05)

@client.event
def connect():
    print("connected")

@client.event
def news(text):
    print("got", text)
    return "thanks"

async def main():
    await client.connect(sys.argv[1], transports=["websocket"])
    await client.wait()

asyncio.run(main())
"""


async def test_a_process_connects_by_its_name_and_answers(sio, stage):
    listener = await stage.process("listener", LISTENER)
    await listener.line("connected")
    await stage.until(lambda: stage.connected("listener"), "the listener")
    sid = next(sid for sid, _ in sio.manager.get_participants("/", None))
    assert await sio.call("news", "hello", to=sid) == "thanks"
    assert await listener.line("got") == "got hello"
    assert repr(listener) == "<process listener: running>"
    assert stage.reason(listener, "news") is Reason.SENT
    assert "✓ sent, ack 'thanks'" in repr(stage.deliveries())


async def test_a_killed_process_is_gone_and_what_comes_after_is_not_for_it(sio, stage):
    listener = await stage.process("listener", LISTENER)
    await listener.line("connected")
    await stage.kill(listener)
    assert repr(listener) == "<process listener: killed>"
    assert listener.code == -signal.SIGKILL
    await stage.kill("listener")
    with pytest.raises(LookupError, match="no process is called 'ada'"):
        await stage.kill("ada")
    await sio.emit("news", "late")
    assert stage.reason("listener", "news") is Reason.CUT_OFF
    assert "listener is killed" in repr(stage.diagram())
    assert "† is killed" in repr(stage.diagram())


async def test_a_process_that_is_started_again_has_its_name_again(sio, stage):
    first = await stage.process("listener", LISTENER)
    await first.line("connected")
    second = await stage.process("listener", LISTENER)
    assert first.code == -signal.SIGKILL
    await second.line("connected")
    assert repr(stage) == "<Stage: open, clients: listener>"
    with pytest.raises(LookupError, match="not, or no longer, a process of this stage"):
        await stage.freeze(first)


async def test_a_frozen_process_reads_what_waited_when_it_thaws(sio, stage):
    listener = await stage.process("listener", LISTENER)
    await listener.line("connected")
    await stage.until(lambda: stage.connected("listener"), "the listener")
    await stage.freeze(listener)
    await sio.emit("news", "one")
    assert stage.reason("listener", "news") is Reason.FROZEN
    assert not any("one" in line for line in listener.lines)
    await stage.thaw(listener)
    assert await listener.line("got") == "got one"
    assert stage.reason("listener", "news") is Reason.SENT


@pytest.mark.parametrize("waitid", [True, False])
async def test_a_process_is_frozen_once_it_stands_still(stage, monkeypatch, waitid):
    if not waitid:  # as on macOS before Python 3.13
        monkeypatch.delattr(os, "waitid")
    process = await stage.process("p", "print('at work')\nwhile True: print(input())")
    await process.line("at work")
    await stage.freeze(process)
    process.write("one")
    assert (process.state, "one" in process.lines) == ("frozen", False)
    await stage.thaw(process)
    assert await process.line("one") == "one"


async def test_a_process_that_ends_before_it_could_be_frozen_is_not_waited_for(stage):
    process = await stage.process("p", "print('at work')")
    await process.line("at work")
    process._child.wait()
    await process.freeze()
    await process.ended()
    assert process.state == "ended with 0"


async def test_a_process_killed_while_frozen_never_reads_what_waited(sio, stage):
    listener = await stage.process("listener", LISTENER)
    await stage.until(lambda: stage.connected("listener"), "the listener")
    await listener.line("connected")
    await stage.freeze(listener)
    await sio.emit("news", "one")
    await stage.kill(listener)
    assert stage.reason("listener", "news") is Reason.LOST


async def test_a_cable_stays_cut_until_it_is_mended(sio, stage):
    listener = await stage.process("listener", LISTENER)
    await listener.line("connected")
    await stage.until(lambda: stage.connected("listener"), "the listener")
    await stage.cut(listener)
    await sio.emit("news", "lost")
    assert stage.reason("listener", "news") is Reason.CUT_OFF
    await stage.mend(listener)
    await listener.line("connected")  # by itself: it dials again and again
    await stage.until(lambda: stage.connected("listener"), "the listener")
    await sio.emit("news", "found")
    assert await listener.line("got") == "got found"
    with pytest.raises(LookupError, match="no process is called 'ada'"):
        await stage.mend("ada")


async def test_a_process_may_dial_another_one(stage):
    server = await stage.process(
        "hub",
        "import asyncio\n"
        "async def main():\n"
        "    server = await asyncio.start_server(talk, '127.0.0.1', 0)\n"
        "    print('port', server.sockets[0].getsockname()[1])\n"
        "    await server.serve_forever()\n"
        "async def talk(reader, writer):\n"
        "    writer.write(await reader.readline())\n"
        "    await writer.drain()\n"
        "    writer.close()\n"
        "asyncio.run(main())\n",
    )
    port = (await server.line("port")).split()[-1]
    other = await stage.process(
        "other",
        "import socket, sys, urllib.parse\n"
        "where = urllib.parse.urlsplit(sys.argv[1])\n"
        "link = socket.create_connection((where.hostname, where.port))\n"
        "link.sendall(sys.argv[2].encode() + b'\\n')\n"
        "print('heard', link.makefile().read())\n",
        "echo",
        url=f"http://127.0.0.1:{port}",
    )
    assert await other.line("heard") == "heard echo"
    assert await other.ended() == 0
    assert repr(other) == "<process other: ended with 0>"


async def test_what_a_process_prints_is_found_once_in_order(stage):
    process = await stage.process("p", "print('a 1')\nprint('b')\nprint('a 2')\n1 / 0")
    assert await process.line("a") == "a 1"
    assert await process.line("a") == "a 2"
    with pytest.raises(
        ChildProcessError, match=r"p ended with exit code 1 and never printed 'zebra'"
    ):
        await process.line("zebra")
    assert process.lines[-1] == "ZeroDivisionError: division by zero"
    assert any("1 / 0" in line for line in process.lines[3:])  # the traceback shows the program


async def test_a_process_reads_what_it_is_given(stage):
    process = await stage.process("p", "while line := input():\n    print('read', line)")
    process.write("one")
    process.write("zwei ü")
    assert await process.line("read") == "read one"
    assert await process.line("read") == "read zwei ü"
    process.write("")
    assert await process.ended() == 0
    with pytest.raises(ChildProcessError, match="p has ended and does not read 'three'"):
        process.write("three")


async def test_waiting_for_a_line_has_a_deadline_that_names_it(stage):
    process = await stage.process("p", "import threading\nthreading.Event().wait()")
    with pytest.raises(NotSettled, match="in vain for 'ready' of p"):
        await process.line("ready", within=0.05)
    with pytest.raises(NotSettled, match="in vain for its end of p"):
        await process.ended(within=0.05)


async def test_a_program_that_is_none_is_refused_and_its_name_stays_free(stage):
    with pytest.raises(SyntaxError):
        await stage.process("p", "this is no program")
    await (await stage.process("p", "print('fine')")).line("fine")


@pytest.mark.parametrize("name", ["server", "ada"])
async def test_a_name_that_is_taken_is_refused(stage, name):
    await stage.client("ada")
    with pytest.raises(ValueError, match="that name is not free"):
        await stage.process(name, "")
    await stage.process("driver", "")
    with pytest.raises(ValueError, match="that name is not free"):
        await stage.client("driver")


async def test_closing_leaves_no_process_and_no_file(sio):
    async with Stage(sio) as stage:
        folder = stage.folder
        process = await stage.process(
            "p",
            "open('here', 'w').write('x')\nprint('ok')\nimport threading; threading.Event().wait()",
        )
        await process.line("ok")
        assert (folder / "here").read_text() == "x"
        frozen = await stage.process("f", "print('ok')\nimport threading; threading.Event().wait()")
        await frozen.line("ok")
        await stage.freeze("f")
    assert process.code is not None
    assert frozen.code == -signal.SIGKILL
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="not open"):
        _ = stage.folder


OWNER = """
import asyncio, sys, socketio
from chatq import Stage

async def main():
    stage = await Stage.open(socketio.AsyncServer(async_mode="aiohttp"))
    program = "print('ok')\\nimport threading; threading.Event().wait()"
    one, two = [await stage.process(name, program) for name in ("one", "two")]
    for process in (one, two):
        await process.line("ok")
    (stage.folder / "file").write_text("x")
    await stage.freeze(two)
    guard = stage._programs._folder._watchdog
    print(one._child.pid, two._child.pid, guard.pid, stage.folder, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.needs("linux")  # pidfd_open
def test_nothing_is_left_behind_by_an_owner_that_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as owner:
        *pids, folder = owner.stdout.readline().split()
        assert os.path.exists(os.path.join(folder, "file"))
        os.killpg(owner.pid, signal.SIGKILL)  # as Jupyter does: the kernel with all of its group
    assert [gone(int(pid)) for pid in pids] == [True, True, True]
    assert not os.path.exists(folder)


DIALS = """
import asyncio, sys, socketio
async def main():
    client = socketio.AsyncClient()
    await client.connect(sys.argv[1], transports=[sys.argv[2]])
    print("in", flush=True)
    await client.wait()
asyncio.run(main())
"""


@pytest.mark.needs("linux")
async def test_a_process_presents_the_secret_and_no_list_of_processes_shows_it(sio):
    async with Stage(sio, network="sockets", secret="s3cret/:@ %") as stage:
        for transport in ("polling", "websocket"):
            process = await stage.process(transport, DIALS, transport)
            await process.line("in")
            assert stage.connected(transport)
        await stage.restart(process)
        await stage["websocket"].line("in")
        with open(f"/proc/{stage['websocket']._child.pid}/cmdline", "rb") as shown:  # noqa: ASYNC230
            assert b"cret" not in shown.read()
        other = await stage.process(
            "other", "import sys; print(sys.argv)", url="http://127.0.0.1:9"
        )
        assert "cret" not in await other.line("[")
