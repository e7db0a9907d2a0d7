"""Panels without a browser: which lines they word, what these do, what a panel says as text.

`test_lab.py` clicks on them in a real JupyterLab.
"""

from __future__ import annotations

import asyncio
import re

import pytest
import socketio

from chatq import Draft, HandlerRaised, Queues, Reason, Stage
from chatq.journal.facts import Emitted
from chatq.panel import composer
from chatq.panel.composer import TARGETS, Cast, named, payload
from chatq.panel.panel import Panel
from chatq.waiting import give_way

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
async def scene(sio, stage):
    """ada, bob and "second cy", who listen to `news`; the server passes on what `chat` says."""

    @sio.event
    async def chat(sid, text):
        print("heard", text)
        await sio.emit("news", text, skip_sid=sid)

    @sio.event
    async def broken(sid):
        raise KeyError("spanner")

    for client in await stage.clients("ada", "bob", "second cy"):
        client.on("news", lambda *_: None)
    return stage


async def drawn(panel: Panel) -> None:
    """Return when a panel has drawn all that there is."""
    async with asyncio.timeout(5):
        while panel._drawing is not None or panel._asking:
            await give_way()


async def shown(stage: Stage, **draft) -> Panel:
    """Return a panel of this stage that is on a page."""
    panel = stage.panel("?", **draft)
    panel._repr_mimebundle_()
    await drawn(panel)
    return panel


def card(panel: Panel, name: str):
    return panel._board._cards[name]


def enabled(panel: Panel, name: str) -> list[str]:
    """Return what the card of `name` offers."""
    buttons = card(panel, name)._buttons.values()
    return [button.description for button in buttons if not button.disabled]


async def press(panel: Panel, name: str, text: str, times: int = 1) -> None:
    """Click on a button of a card."""
    (button,) = [b for b in card(panel, name)._buttons.values() if b.description == text]
    for _ in range(times):
        button.click()
    await give_way()


async def click(panel: Panel, name: str, text: str, times: int = 1) -> None:
    """Click on a button of a card, and return when what it does is done."""
    stage, before = panel.stage, len(panel.stage.outcomes)
    await press(panel, name, text, times)
    await stage.until(lambda: len(stage.outcomes) > before, f"what {text} does")


# -- the lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("  ", None),
        ("hello", "hello"),
        ("3", 3),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("it's {here}", "it's {here}"),
        ("NaN", ValueError),
        ("-Infinity", ValueError),
        ("1e999", ValueError),
        ('{"a": [-1e999]}', ValueError),
        ("1e9", 1e9),
        ("1" * 5000, ValueError),
        ("{'a': 1}", ValueError),
        ("[1, 2", ValueError),
        ('"open', ValueError),
        ("[" * 100_000, ValueError),
    ],
)
def test_a_payload_is_json_or_text_or_told_why_it_is_neither(text, data):
    if data is ValueError:
        with pytest.raises(ValueError, match="payload"):
            payload(text)
    else:
        assert payload(text) == data


@pytest.mark.parametrize("name", ["second cy", "class", "sio", "stage", "queues", "é-1", "1st"])
def test_a_name_that_is_no_name_in_python_is_looked_up(name):
    assert named(name) == f"stage[{name!r}]"
    assert named("ada") == "ada"


@pytest.mark.parametrize(
    ("draft", "line", "got"),
    [
        (Draft("server", "news", "hi"), "await sio.emit('news', 'hi')", "ada bob cy"),
        (
            Draft("ada", "news", "hi", "all but me"),
            "await sio.emit('news', 'hi', skip_sid=ada.get_sid())",
            "bob cy",
        ),
        (
            Draft("second cy", "news", "[1]", "all but me"),
            "await sio.emit('news', [1], skip_sid=stage['second cy'].get_sid())",
            "ada bob",
        ),
        (
            Draft("server", "news", "", "one client", "bob"),
            "await sio.emit('news', to=bob.get_sid())",
            "bob",
        ),
        (
            Draft("server", "news", "x", "rooms", "red"),
            "await sio.emit('news', 'x', to='red')",
            "ada",
        ),
        (
            Draft("server", "news", "x", "rooms", " red, blue,"),
            "await sio.emit('news', 'x', to=['red', 'blue'])",
            "ada bob",
        ),
        (Draft("ada", "chat", "hi", "the server"), "await ada.emit('chat', 'hi')", "bob cy"),
    ],
)
async def test_a_line_does_what_was_chosen(sio, scene, draft, line, got):
    await sio.enter_room(scene["ada"].get_sid(), "red")
    await sio.enter_room(scene["bob"].get_sid(), "blue")
    assert draft.line(scene.cast()) == line
    outcome = await scene.run(line)
    assert (outcome.line, outcome.error) == (line, "")
    who = {"cy": "second cy"}
    assert scene.deliveries().who_got("news") == {who.get(name, name) for name in got.split()}


async def test_a_line_for_a_namespace(sio, stage):
    sio.on("connect", lambda *_: None, namespace="/vip")
    await stage.client("ada", namespaces=["/", "/vip"])
    draft = Draft("ada", "news", "hi", "one client", "ada", "/vip")
    line = draft.line(stage.cast())
    assert line == "await sio.emit('news', 'hi', to=ada.get_sid('/vip'), namespace='/vip')"
    assert not (await stage.run(line)).error
    assert stage.reason("ada", "news") is Reason.NO_HANDLER
    for line in (composer.enter("ada", "sofa", "/vip"), composer.leave("ada", "sofa", "/vip")):
        assert not (await stage.run(line)).error
        assert stage.roster().seats[0].rooms["/vip"] == (["sofa"] if "enter" in line else [])


CAST = Cast(
    {"ada": "client", "bob": "client", "guest 1": "guest", "worker": "process"},
    {"ada": ["/"], "bob": []},
)


@pytest.mark.parametrize(
    ("draft", "missing"),
    [
        (Draft("server", " ", "hi"), "event"),
        (Draft("server", "news", "{", "everyone"), "JSON"),
        (Draft("server", "news", "", "the server"), "choose a client"),
        (Draft("server", "news", "", "all but me"), "choose a client"),
        (Draft("ada", "news", "", "one client"), "a client first"),
        (Draft("ada", "news", "", "rooms", " , "), "room first"),
        (Draft("ada", "news", "", "a queue"), "no queues here"),
        (Draft("ada", "news", "", "the moon"), "everyone"),
        (Draft("guest 1", "news"), "somebody else"),
        (Draft("ada", "news", "", "one client", "zoe"), "no client is called 'zoe'.* ada, bob"),
        (Draft("ada", "news", "", "one client", "guest 1"), "no client is called 'guest 1'"),
        (Draft("ada", "news", "", "one client", "worker"), "no client is called 'worker'"),
        (Draft("zoe", "news", "", "everyone"), "nobody is called 'zoe'; there are ada, bob"),
        (Draft("ada", "news", "", "one client", "bob"), r"bob.get_sid\(\) is None.* everyone"),
        (Draft("bob", "news", "", "all but me"), r"bob.get_sid\(\) is None.*skips nobody"),
        (Draft("ada", "news", "", "one client", "ada", "/vip"), "ada is not connected to /vip"),
        (Draft("ada", "news", "", "a queue", "jobs"), r"no queues here: stage.watch"),
    ],
)
def test_what_is_missing_is_said(draft, missing):
    with pytest.raises(ValueError, match=missing):
        draft.line(CAST)


def test_a_room_without_a_name_is_none():
    with pytest.raises(ValueError, match="room first"):
        composer.enter("ada", " ")


# -- running them ---------------------------------------------------------------------------------


async def test_what_handlers_print_and_raise_is_told(scene, capsys):
    outcome = await scene.run("await ada.emit('chat', 'hi')")
    assert outcome.printed == "heard hi\n"
    assert capsys.readouterr().out == "heard hi\n"  # whoever has listened so far still does
    outcome = await scene.run("await ada.emit('broken')")
    assert "server's handler of 'broken' raised KeyError: 'spanner'" in outcome.error
    assert repr(outcome) == f">>> await ada.emit('broken')\n{outcome.error}"
    assert [one.line for one in scene.outcomes] == [
        "await ada.emit('chat', 'hi')",
        "await ada.emit('broken')",
    ]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("1 +", "SyntaxError"),
        ("nobody", "NameError"),
        ("await stage.cut('nobody')", "no client is called 'nobody'"),
        ("stage['nobody']", "LookupError"),
        ("await __import__('asyncio').Event().wait()", "not done within 0.05 s"),
    ],
)
async def test_a_line_that_fails_raises_nothing(scene, line, error):
    outcome = await scene.run(line, within=0.05 if "Event" in line else 5.0)
    assert error in outcome.error
    assert not (await scene.run("await sio.emit('news')")).error


async def test_lines_run_one_after_the_other(scene):
    """Each when all that the one before has caused is over."""
    lines = [f"await ada.emit('chat', {n})" for n in range(10)]
    await asyncio.gather(*(scene.run(line) for line in lines))
    data = [int(fact.data) for fact in scene.journal if isinstance(fact, Emitted)]
    assert data == [n // 2 for n in range(20)]


async def test_a_client_dials_as_it_did_before(sio, stage):
    sio.on("connect", lambda *_: None, namespace="/vip")
    ada = await stage.client("ada", namespaces=["/vip"], auth={"token": "t"})
    line = composer.dial("ada", ada.dialled)
    assert (
        line
        == ("await ada.connect(auth={'token': 't'}, transports=['websocket'], namespaces=['/vip'])")
        or line == "await ada.connect(auth={'token': 't'}, namespaces=['/vip'])"
    )
    assert not (await stage.run(composer.hang_up("ada"))).error
    assert not stage.connected("ada", "/vip")
    assert not (await stage.run(line)).error
    assert stage.connected("ada", "/vip")
    await stage.reset()
    assert stage.roster().seats[0].places == "/vip"


async def test_reset_begins_the_scene_again(sio, scene):
    await sio.enter_room(scene["ada"].get_sid(), "red")
    await scene.freeze("bob")
    await scene["second cy"].disconnect()
    await sio.emit("news", 1)
    await scene.reset()
    assert [(seat.state, seat.places) for seat in scene.roster().seats] == [
        ("● connected", "/")
    ] * 3
    assert "(nothing yet)" in repr(scene.deliveries())
    assert "cut:" not in repr(scene.deliveries())
    await sio.emit("news", 2)
    await scene.settle()
    assert scene.deliveries().who_got("news") == {"ada", "bob", "second cy"}


async def test_who_is_refused_at_a_reset_keeps_nobody_else_out(sio, stage):
    refused, doors = socketio.exceptions.ConnectionRefusedError("not you"), {"ada"}

    @sio.event
    def connect(sid, environ, auth):
        if auth and auth["name"] in doors:
            raise refused

    await stage.client("bob")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stage.client("ada", auth={"name": "ada"})
    await stage.client("cy", auth={"name": "cy"})
    outcome = await stage.run("await stage.reset()")
    assert outcome.error == ""
    assert [seat.connected for seat in stage.roster().seats] == [True, False, True]
    await sio.emit("news")
    await stage.settle()
    assert stage.reason("ada", "news") is Reason.REFUSED


async def test_a_reset_forgets_where_somebody_was(sio, scene):
    await sio.enter_room(scene["ada"].get_sid(), "red")
    await sio.leave_room(scene["ada"].get_sid(), "red")
    await sio.enter_room(scene["bob"].get_sid(), "red")
    await scene.settle()
    await scene.reset()
    await sio.emit("news", "x", to="red")
    await scene.settle()
    for name in ("ada", "bob"):
        assert scene.reason(name, "news") is Reason.NOT_IN_ROOM


async def test_a_scene_that_begins_again_is_told_from_its_first_step(sio, scene):
    panel = await shown(scene)
    for n in range(20):
        await sio.emit("news", n)
    await scene.settle()
    await scene.reset()
    await drawn(panel)
    time, facts = panel._board._time, len(scene.journal)
    assert (time._step.min, time._step.max, time._step.value) == (0, facts, facts)
    assert f"of {facts} facts" in time._of.value
    time._go_to_begin()
    panel.look()
    await drawn(panel)
    assert "(nothing yet)" in panel._board._table.value
    assert "connects" not in panel._board._diagram.value.partition("<desc>")[2]


DIALS = """
import asyncio, sys, socketio
client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.05)
client.on("connect", lambda: print("at work"))
client.on("news", lambda text: print("got", text))

async def main():
    await client.connect(sys.argv[1], transports=["websocket"])
    await client.wait()

asyncio.run(main())
"""
HUB = """
import asyncio, socketio
from aiohttp import web
sio = socketio.AsyncServer(async_mode="aiohttp")
app = web.Application()
sio.attach(app)

async def main():
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    # Not `run_app`: before aiohttp 3.14 it says port 0.
    print(f"Running on http://127.0.0.1:{runner.addresses[0][1]}")
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_reset_starts_the_processes_again(sio, stage):
    for name in ("first", "second"):
        await (await stage.process(name, DIALS)).line("at work")
    await stage.kill("first")
    await stage.freeze("second")
    await stage.reset()
    assert [stage[name].state for name in ("first", "second")] == ["running"] * 2
    await sio.emit("news", "hi")
    for name in ("first", "second"):
        assert await stage[name].line("got") == "got hi"
    assert [seat.state for seat in stage.roster().seats] == ["● connected"] * 2


async def test_who_dials_a_process_finds_it_after_it_was_started_again(stage):
    """The hub takes any free port, each time another one."""
    hub = await stage.process("hub", HUB)
    await hub.line("Running on")
    first = hub.address
    late = await stage.process("late", DIALS, url=first)
    await late.line("at work")
    hub = await stage.restart("hub")
    await late.line("at work")  # it dials again by itself
    assert hub.address not in ("", first)
    await stage.kill("hub")
    assert not (await stage.run("await stage.restart('hub')")).error
    assert not (await stage.run("await stage.restart('late')")).error
    await stage["late"].line("at work")
    assert not (await stage.run("await stage.reset()")).error
    await stage["late"].line("at work")


async def test_a_client_finds_a_process_that_was_started_again(stage):
    """By its name, whoever asks: the client again, one that reconnects by itself, a line, a reset;
    also with the process as it was before."""
    before = await stage.process("hub", HUB)
    ada = await stage.client("ada", url=before)
    bob = await stage.client("bob", url=before, reconnection=True, reconnection_delay=0.05)
    at_first = before.address
    late = await stage.process("late", DIALS, url=before)
    await late.line("at work")
    await stage.kill("hub")
    await stage.until(lambda: not ada.connected, "ada to notice")
    await stage.restart("hub")
    assert composer.dial("ada", ada.dialled) == "await ada.connect(url=hub)"
    assert not (await stage.run(composer.dial("ada", ada.dialled))).error
    await stage.until(lambda: bob.connected, "bob to reconnect", within=10)
    await late.line("at work")
    assert stage["hub"].address not in ("", at_first)
    assert composer.dial("bob", bob.dialled).startswith("await bob.connect(url=hub, ")
    assert [seat.outside[0] for seat in stage.roster().seats if seat.kind == "client"] == [
        "hub"
    ] * 2

    await stage.reset()
    assert [one.connected for one in (ada, bob)] == [True] * 2
    await ada.disconnect()
    await ada.connect(before)
    assert [seat.places for seat in stage.roster().seats if seat.name == "ada"] == ["/ of hub"]
    await stage.kill("hub")
    with pytest.raises(socketio.exceptions.ConnectionError) as off:
        await stage.client("cy", url=before)
    assert f"the server at /socket.io/ of {stage['hub'].address}" in off.value.__notes__[0]


async def test_the_card_of_a_server_has_no_line_to_cut(stage):
    hub = await stage.process("hub", HUB)
    await stage.client("ada", url=hub)
    panel = await shown(stage)
    assert sorted(enabled(panel, "hub")) == ["Freeze", "Kill", "Start again"]


async def test_a_process_that_serves_nowhere_is_no_address(stage):
    mute = await stage.process("mute", "print('hello')")
    with pytest.raises(ValueError, match="the process 'mute' has printed no address of a server"):
        await stage.client("ada", url=mute)
    with pytest.raises(ValueError, match="the process 'mute' has printed no address of a server"):
        await stage.process("late", DIALS, url=mute)
    await stage.reset()  # ada stays off


async def test_a_process_of_another_stage_is_not_taken_for_one_of_the_same_name(stage, sio):
    async with Stage(socketio.AsyncServer(async_mode="aiohttp")) as other:
        there = await other.process("hub", HUB)
        await stage.process("hub", "input()")
        ada = await stage.client("ada", url=there)
        assert ada.connection_url is there


async def test_a_process_starts_again_with_the_same_program(stage):
    program = "import sys; print('hello', sys.argv[2]); input()"
    first = await stage.process("worker", program, "x")
    await first.line("hello x")
    assert not (await stage.run("await stage.restart('worker')")).error
    again = stage["worker"]
    assert again is not first
    assert first.state == "killed"
    await again.line("hello x")
    assert stage.roster().seats[0].kind == "process"
    with pytest.raises(LookupError, match="no process is called 'x'"):
        await stage.restart("x")


# -- one moment -----------------------------------------------------------------------------------


async def test_a_view_is_the_scene_at_one_moment(sio, scene):
    moments = []
    for n in range(3):
        moments.append((scene.journal.written, repr(scene.deliveries()), repr(scene.diagram())))
        await sio.enter_room(scene["ada"].get_sid(), f"room {n}")
        await sio.emit("news", n, to=f"room {n}")
        await scene.settle()
    for written, deliveries, diagram in moments:
        view = scene.view(written)
        assert (repr(view.deliveries()), repr(view.diagram())) == (deliveries, diagram)
    assert scene.view(moments[1][0]).roster().seats[0].places == "/ (room room 0)"
    assert len(scene.roster().seats[0].rooms["/"]) == 3


async def test_a_view_of_few_facts_knows_who_is_where(sio, scene):
    await sio.enter_room(scene["ada"].get_sid(), "red")
    for n in range(50):
        await sio.emit("news", n, to="red")
    await scene.settle()
    view = scene.view(keep=60)
    assert view.roster().seats[0].places == "/ (room red)"
    assert view.why("bob", "news") == scene.why("bob", "news")
    assert "cut: only the newest 60 facts" in repr(view.deliveries())


async def test_each_step_of_a_story_can_be_seen(sio, scene):
    await scene["ada"].emit("chat", "hi")
    await scene.settle()
    pictures = [scene.view(n).diagram().svg(n - 1) for n in range(1, scene.journal.written + 1)]
    assert len({*pictures}) > 3
    assert all("prefers-reduced-motion" in picture for picture in pictures)
    assert "chatq-fresh" not in scene.diagram().svg()


# -- the panel ------------------------------------------------------------------------------------


async def test_who_listens_now_is_told_and_how_old_what_waits_is(sio, scene):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    queues = await Queues.open("memory:", clock=clock)
    queues.attach(sio)
    scene.watch(queues)

    def row():
        return scene.view().queues().rows[0]

    await queues.emit("pickup", "O-1", to="drivers")
    panel = await shown(scene)
    assert row() == ["drivers", "1", "0", "0", "0", "nobody"]
    assert "0 s" in panel._board._queue_table.value
    clock.now, again = 7.0, asyncio.Event()
    panel._board._queue_table.observe(lambda _: again.set(), "value")
    async with asyncio.timeout(5):
        await again.wait()  # by itself: nothing happens
    assert "7 s" in panel._board._queue_table.value
    assert composer.consume("bob", "drivers", on=False).endswith("(bob.get_sid(), 'drivers')")
    line = composer.consume("bob", "drivers")
    assert line == "await queues.subscribe(bob.get_sid(), 'drivers', window=1)"
    await scene.run(line)
    assert row()[-1] == "bob"
    await scene.run(composer.consume("ada", "drivers"))
    assert row()[-1] == "bob, ada"
    await scene.run(composer.consume("bob", "drivers", on=False))
    assert row()[-1] == "ada"
    written = scene.journal.written
    await scene["ada"].disconnect()
    await scene.settle()
    assert row()[-1] == "nobody"
    assert scene.view(written).queues().rows[0][-1] == "ada"
    await drawn(panel)
    assert "ada" not in panel._board._queues["drivers"]._client.options
    await scene["ada"].connect()
    for listens in ("nobody", "ada"):
        for n in range(10):
            await sio.emit("news", n)
        await scene.settle()
        assert row()[-1] == listens
        assert scene.view(keep=20).queues().rows[0][-1] == listens
        await scene.run(composer.consume("ada", "drivers"))
    await scene.reset()
    await drawn(panel)
    assert row() == ["drivers", "0", "0", "0", "0", "nobody"]
    shows = panel._board._queue_table.value
    assert "drivers" in shows  # and what waits there is known to the queue alone
    assert [known.leased + known.ready for known in (await scene.stats()).values()] == [1]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shows)
    assert cells[:6] == ["drivers", "1", "0", "0", "0", "nobody"]  # at once, by itself
    await queues.close()


async def test_a_process_that_this_server_has_not_met_has_no_column(sio, stage):
    await stage.client("ada")
    await stage.process("hub", "input()")
    await sio.emit("news")
    await stage.settle()
    panel = await shown(stage)
    assert "hub" not in repr(stage.deliveries())
    assert "hub" not in repr(stage.diagram())
    await stage.kill("hub")
    *_, news, _ = repr(stage.diagram()).splitlines()
    assert "✗" not in news  # it was not for the hub: that is a server itself
    await drawn(panel)
    assert [*panel._board._cards] == ["ada"]  # nobody takes it for the hub of this scene
    assert "hub" not in panel._board._composer._sender.options
    assert "hub  process  – has not dialled this server" in repr(panel)
    driver = await stage.process("driver", DIALS)
    await driver.line("at work")
    assert "driver" in repr(stage.deliveries())
    await drawn(panel)
    await stage.kill("driver")
    await stage.reset()
    await drawn(panel)
    assert [*panel._board._cards] == ["ada", "driver"]


class Node:
    """A node of a cluster, without the cluster."""

    def __init__(self, name):
        self.name, self.runs, self.hears = name, True, []

    def listen(self, listener):
        self.hears.append(listener)
        return lambda: None

    async def kill(self):
        self.runs = False

    async def start(self):
        self.runs = True


async def test_the_nodes_below_the_queues_have_buttons(scene):
    class Cluster:
        nodes = (Node("first"), Node("second"))

    panel = await shown(scene, nats=Cluster)
    first, second = panel._board._nodes
    assert "second: runs" in repr(panel)
    assert first._start.disabled
    second._kill.click()
    await scene.until(lambda: not Cluster.nodes[1].runs, "the kill")
    assert scene.outcomes[-1].line == "await nats.nodes[1].kill()"
    await drawn(panel)
    assert "is off" in second._status.value
    assert [second._kill.disabled, second._start.disabled] == [True, False]
    assert "is off" not in first._status.value
    assert all(node.hears for node in Cluster.nodes)  # what happens elsewhere is drawn, too
    second._start.click()
    await scene.until(lambda: Cluster.nodes[1].runs, "the start")
    assert "second: runs" in repr(panel)


async def test_a_panel_says_as_text_all_that_it_shows(sio, scene):
    queues = await Queues.open("memory:")
    queues.attach(sio)
    scene.watch(queues)
    await queues.emit("pickup", "O-1", to="drivers")
    await sio.emit("news", "hi", skip_sid=scene["ada"].get_sid())
    await scene.settle()
    draft = {"sender": "ada", "event": "chat", "data": "hi", "target": "the server"}
    panel = scene.panel("Who hears it?", **draft)
    text = repr(panel)
    assert text == repr(scene.panel("Who hears it?", **draft))
    for part in (
        "Who hears it?",
        "second cy",
        "drivers",
        "✗ skipped",
        "await ada.emit('chat', 'hi')",
    ):
        assert part in text
    shown = panel._repr_mimebundle_()
    assert shown["text/plain"] == text
    assert {"text/html", "text/plain", WIDGET} == {*shown}
    assert 'src="data:image/svg+xml' in shown["text/html"]  # an inline one would be stripped
    await drawn(panel)
    await scene.run("await queues.subscribe(ada.get_sid(), 'drivers')")
    await drawn(panel)
    assert "oldest" in panel._board._queue_table.value
    await queues.close(0)  # ada will not answer


async def test_two_panels_agree_and_say_when_it_is_over(scene):
    one, two = scene.panel("one"), scene.panel("two")
    for panel in (one, two):
        panel._repr_mimebundle_()
    one._act(lambda: "await ada.emit('chat', 'hi')")
    await scene.until(lambda: len(scene.outcomes) == 1, "the line")
    for panel in (one, two):
        await drawn(panel)
        assert "heard hi" in panel._board._log.value
    assert one._board._table.value == two._board._table.value
    told = [panel._board._diagram.value.partition("<desc>")[2] for panel in (one, two)]
    # What moves in differs: they may have been drawn at different moments.
    assert told[0].partition("</desc>")[0] == told[1].partition("</desc>")[0] != ""
    await scene.close()
    for panel in (one, two):
        await drawn(panel)
        assert "this stage is closed" in panel._board._complaint.value
        assert "● connected" not in repr(panel)
        for name in ("ada", "bob", "second cy"):
            assert "○ off the line" in card(panel, name)._status.value
            assert enabled(panel, name) == []
        board = panel._board
        assert all(button.disabled for button in board._whole.children)
        assert board._composer._send.disabled
        assert board._composer._data.disabled
        assert not board._time._step.disabled  # one may look back


async def test_a_second_click_while_a_line_of_the_card_runs_is_none(scene):
    panel = await shown(scene)
    await click(panel, "ada", "Hang up", times=3)
    await drawn(panel)
    assert [one.line for one in scene.outcomes] == ["await ada.disconnect()"]
    scene.waits = False
    running = asyncio.create_task(scene.run("await stage.until(lambda: stage.waits, 'it', 5)"))
    await press(panel, "ada", "Dial")
    panel.look()
    await drawn(panel)
    assert enabled(panel, "ada") == []
    dial = card(panel, "ada")._buttons["Hang up"]
    assert "chatq-busy" in dial._dom_classes  # it can be seen that it runs
    assert "Hang up" in enabled(panel, "bob")
    scene.waits = True
    scene._notify()
    await running
    await scene.until(lambda: len(scene.outcomes) == 3, "the dialling")
    await drawn(panel)
    assert "Hang up" in enabled(panel, "ada")
    assert "chatq-busy" not in dial._dom_classes


async def test_what_has_no_answer_keeps_nothing_else_from_being_shown(scene, monkeypatch):
    """Queues without a quorum: so it was with lesson 09's nodes, for minutes after one click."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def stats():
        asked.set()
        await answer.wait()
        return {}

    queues = await Queues.open("memory:")
    queues.attach(scene.sio)
    scene.watch(queues)
    await queues.emit("pickup", "O-1", to="drivers")
    monkeypatch.setattr(scene, "stats", stats)
    panel = scene.panel("?")
    panel._repr_mimebundle_()
    async with asyncio.timeout(5):
        await asked.wait()
        for line in range(2):
            await click(panel, "ada", "Hang up" if line == 0 else "Dial")
            while len(scene.outcomes) > panel._board._log.value.count("<pre"):
                await give_way()
    answer.set()
    await drawn(panel)
    assert "drivers" in panel._board._queue_table.value


async def test_a_drawing_that_took_long_is_not_the_last_for_long(scene, monkeypatch):
    loop, late = asyncio.get_running_loop(), 0.0
    now, view = loop.time, scene.view
    monkeypatch.setattr(loop, "time", lambda: now() + late)

    def slow(*given, **options):
        nonlocal late
        late += 0.4  # the machine is busy
        return view(*given, **options)

    monkeypatch.setattr(scene, "view", slow)
    panel = await shown(scene)
    monkeypatch.setattr(scene, "view", view)
    await click(panel, "ada", "Hang up")
    await drawn(panel)
    assert panel._board._log.value.count("<pre") == 1


async def test_a_line_shows_what_happens_now(sio, scene):
    panel = await shown(scene)
    time = panel._board._time
    time._go_to_begin()
    await give_way()
    await drawn(panel)
    assert time._step.value < time._step.max
    await click(panel, "ada", "Hang up")
    await drawn(panel)
    assert time._step.value == time._step.max == scene.journal.written
    assert "ada hangs up" in panel._board._diagram.value


async def test_a_room_is_asked_for_where_there_can_be_one(scene):
    panel = await shown(scene)
    assert card(panel, "ada")._rooms.layout.display is None
    await click(panel, "ada", "Hang up")
    await drawn(panel)
    assert card(panel, "ada")._rooms.layout.display == "none"


async def test_a_frozen_client_that_was_given_up_can_be_thawed_or_cut():
    """Its own end does not know yet; so both are still to be had."""
    sio = socketio.AsyncServer(async_mode="aiohttp", ping_interval=1, ping_timeout=0.2)
    async with Stage(sio) as stage:
        await stage.client("ada")
        panel = await shown(stage)
        await stage.freeze("ada")
        await stage.until(lambda: not stage.connected("ada"), "the server to give ada up")
        await drawn(panel)
        assert "‖ frozen, given up by the server" in card(panel, "ada")._status.value
        assert "frozen, given up by the server" in repr(panel)
        assert {"Thaw", "Cut"} <= {*enabled(panel, "ada")}
        assert not {"Hang up", "Join"} & {*enabled(panel, "ada")}
        await click(panel, "ada", "Thaw")
        await drawn(panel)
        assert "○ off the line" in card(panel, "ada")._status.value
        assert "Dial" in enabled(panel, "ada")


async def test_a_process_is_said_to_be_frozen_once(stage):
    await (await stage.process("driver", DIALS)).line("at work")
    panel = await shown(stage)
    assert "● connected, running <" in card(panel, "driver")._status.value
    await click(panel, "driver", "Freeze")
    await drawn(panel)
    assert "‖ frozen <" in card(panel, "driver")._status.value
    assert "Thaw" in enabled(panel, "driver")


async def test_what_cannot_be_done_is_said_in_the_panel(scene):
    panel = scene.panel("?", target="rooms")
    panel._repr_mimebundle_()
    panel._act(lambda: composer.enter("ada", " "))
    assert "type the name of a room first" in panel._board._complaint.value
    panel._act(lambda: "await sio.emit('news')")
    assert not panel._board._complaint.value
    await scene.until(lambda: scene.outcomes, "the line")


async def test_a_draft_that_is_wrong_is_told_once_and_as_long_as_it_is(scene):
    panel = await shown(scene, data="{")
    says = panel._board._composer
    assert "begins like JSON and is not" in says._line.value
    assert says._send.disabled
    says._data.value = "{}"
    await drawn(panel)
    panel.look()
    await drawn(panel)
    assert "await sio.emit(&#x27;news&#x27;, {})" in says._line.value
    assert not says._send.disabled
    assert panel._board._complaint.value == ""


async def test_a_composer_offers_those_who_are_there(sio, scene):
    panel = await shown(scene, target="one client", who="bob")
    says = panel._board._composer
    assert "a queue" not in says._target.options
    assert says._who.options == ("ada", "bob", "second cy")
    await scene["bob"].disconnect()
    await scene.settle()
    await drawn(panel)
    assert "to=None means everyone" in says._line.value
    assert says._send.disabled
    scene.watch(await Queues.open("memory:"))
    panel.look()
    await drawn(panel)
    assert "a queue" in says._target.options
    outcome = await scene.run("await sio.emit('news', to=bob.get_sid())")  # as it warns
    assert outcome.error == ""
    assert scene.deliveries().who_got("news") == {"ada", "second cy"}


async def test_a_session_of_any_length_is_drawn_in_bounded_pieces(sio, scene):
    panel = scene.panel("?")
    panel._repr_mimebundle_()
    sizes = []
    for _ in range(3):
        for _n in range(300):
            await sio.emit("news", "x" * 1000)
        await scene.settle()
        await drawn(panel)
        board = panel._board
        sizes.append(len(board._diagram.value) + len(board._table.value))
    assert max(sizes) < 100_000
    assert "older rows are not drawn" in board._diagram.value


@pytest.mark.parametrize("target", TARGETS)
def test_the_composer_can_begin_with_any_target(target):
    where = "ada" if target == "one client" else "x"
    cast = Cast({"ada": "client"}, {"ada": ["/"]}, queues=True)
    assert Draft("ada", "news", "", target, where).line(cast)
    assert target in cast.targets()


def test_a_panel_without_widgets_says_what_to_install():
    import subprocess
    import sys

    program = "import sys; sys.modules['ipywidgets'] = None\nimport chatq.panel.panel"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install ipywidgets" in done.stderr


async def test_a_failing_handler_is_raised_at_settle_and_told_by_a_panel(scene):
    await scene["ada"].emit("broken")
    with pytest.raises(HandlerRaised):
        await scene.settle()


def test_a_stage_that_is_not_open_has_no_lines():
    async def ask():
        stage = Stage(socketio.AsyncServer(async_mode="aiohttp"))
        with pytest.raises(RuntimeError, match="not open"):
            await stage.run("1")

    asyncio.run(ask())
