"""Clients of a stage that are connected to another server: what they see of it, and no more.

Most of the other servers here run in the event loop of the test, which so knows what they have
done. Those at the end are of the kinds that no stage can serve, each in a process of its own.
"""

import ast
import asyncio
import inspect
import random
import re
from collections import Counter
from contextlib import asynccontextmanager
from io import StringIO

import pytest
import socketio
from aiohttp import web
from sizes import size

from chatq import HandlerRaised, Journal, NotSettled, Reason, Stage
from chatq.journal.facts import (
    Acknowledged,
    Connected,
    Disconnected,
    Emitted,
    Rejected,
    Subscribed,
)
from chatq.panel.composer import Draft
from chatq.views.links import linked
from chatq.views.moments import moments
from chatq.views.view import View
from chatq.waiting import give_way

OTHER = "another server"


class Elsewhere:
    """A server that no stage serves; `heard`: the events that reached it."""

    def __init__(self):
        self.sio = socketio.AsyncServer(async_mode="aiohttp", namespaces="*")
        self.app, self.heard, self.url = web.Application(), [], ""
        self.sio.on("*", self._hear, namespace="*")
        self.sio.attach(self.app)
        self._runner = web.AppRunner(self.app, shutdown_timeout=0.1, access_log=None)

    async def _hear(self, event, namespace, sid, *data):
        self.heard.append((namespace, event, *data))
        return "heard"

    async def begin(self):
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def end(self):
        if self.url:
            self.url = ""
            await self.sio.shutdown()
            await self._runner.cleanup()


@pytest.fixture(params=["aiohttp"])
def sio(request):
    """What kind the stage's own server is of does not matter here."""
    return socketio.AsyncServer(async_mode=request.param)


@asynccontextmanager
async def serving():
    elsewhere = Elsewhere()
    await elsewhere.begin()
    try:
        yield elsewhere
    finally:
        await elsewhere.end()


@pytest.fixture
async def elsewhere(stage):
    async with serving() as elsewhere:
        yield elsewhere


def facts(stage, *kinds):
    return [fact for fact in stage.journal if isinstance(fact, kinds)]


def arrived(stage, event, times=1):
    """Wait until so many messages of that name have come from another server."""

    def have():
        return sum(f.event == event and f.clients != () for f in facts(stage, Emitted)) >= times

    return stage.until(have, f"{times} {event!r}")


def words(stage):
    """Return what happened, fact by fact, as a replay tells it."""
    return moments(stage.view(), 500).words


def row(stage, number):
    """Return a row of the table, as the mark in each column."""
    table = stage.deliveries().table()
    return dict(zip(table.headers, table.rows[number - 1], strict=True))


# -- what both ends say ---------------------------------------------------------------------------


async def test_what_a_client_sends_is_sent_and_what_comes_is_its_own(stage, elsewhere):
    ada, bob = await stage.clients("ada", "bob", url=elsewhere.url)
    bob.on("news", lambda text: None)
    await ada.emit("say", "hello")
    await stage.until(lambda: elsewhere.heard, "the other server")
    await elsewhere.sio.emit("news", "hi")
    await arrived(stage, "news", 2)
    await stage.settle()
    assert row(stage, 1) == {
        "no.": "1",
        "message": "say 'hello'",
        "from → to": "ada → another server",
        OTHER: "✓ sent",
        "ada": "↗",
        "bob": "·",
    }
    by_client = {m.emitted.recipients: m for m in stage.deliveries("news").messages}
    assert {*by_client} == {("ada",), ("bob",)}
    marks = {
        who: {name: found.reason for name, found in message.explanations.items()}
        for (who,), message in by_client.items()
    }
    no = Reason.TO_SERVER
    assert marks == {
        "ada": {"server": no, OTHER: Reason.SENDER, "ada": Reason.NO_HANDLER, "bob": no},
        "bob": {"server": no, OTHER: Reason.SENDER, "ada": no, "bob": Reason.RECEIVED},
    }


async def test_each_question_is_answered_in_true_words(sio, stage, elsewhere):
    _, cy = await stage.clients("ada", "cy")
    bob = await stage.client("bob", url=elsewhere.url)
    bob.on("news", lambda text: "thanks")
    await bob.emit("say", 1)
    assert await bob.call("ask", 2) == "heard"
    [(sid, _)] = elsewhere.sio.manager.get_participants("/", None)
    assert await elsewhere.sio.call("news", "hi", to=sid) == "thanks"
    await sio.emit("local", 3)
    await cy.emit("home", 4)
    await stage.settle()
    told = {
        ("bob", "say"): "bob sent 'say' itself.",
        (OTHER, "say"): "'say' was sent to another server; whether it arrived, only another server "
        "knows.",
        ("ada", "say"): "ada did not get 'say': bob sent it to another server, and only there.",
        ("server", "say"): "server did not get 'say': bob sent it to another server, and only "
        "there.",
        (OTHER, "ask"): "'ask' was sent to another server, which acknowledged it with 'heard'.",
        ("bob", "news"): "bob got 'news' and acknowledged it with 'thanks'.",
        (OTHER, "news"): "another server sent 'news' itself.",
        ("ada", "news"): "ada did not get 'news': this one came from another server to bob; each "
        "client's is a message of its own.",
        ("bob", "local"): "bob did not get 'local': it was connected to another server.",
        (
            OTHER,
            "local",
        ): "another server did not get 'local': it is a server itself, and no client of this one.",
        ("bob", "home"): "bob did not get 'home': cy sent it to the server, and only there.",
        (OTHER, "home"): "another server did not get 'home': it is a server itself, and no client "
        "of this one.",
        ("server", "home"): "'home' arrived at server, but no handler listens to that name.",
    }
    assert {asked: stage.why(*asked) for asked in told} == told
    assert stage.reason("bob", "local") is Reason.OTHER_SERVER
    assert stage.reason(OTHER, "local") is Reason.TO_SERVER
    assert stage.reason(OTHER, "say") is Reason.SENT
    assert row(stage, 3)["bob"] == "✓, answered 'thanks'"
    assert "bob acknowledges 'news', with 'thanks'" in words(stage)
    assert "ack: " not in repr(stage.deliveries("news"))
    assert row(stage, 2)[OTHER] == "✓ sent, ack 'heard'"
    assert repr(stage.deliveries()).splitlines()[-1] == (
        "✓ got it   ✓ sent: more is not known   ○ arrived, but no handler listens   ↗ sent it   "
        "· not addressed: it is between a client and its server   ✗ did not get it, and why   "
        "ack: its acknowledgement came back   answered: it sent its acknowledgement"
    )


async def test_the_diagram_and_the_roster_have_a_place_for_it(stage, elsewhere):
    ada = await stage.client("ada")
    assert OTHER not in repr(stage.diagram()) + repr(stage.roster()) + repr(stage.deliveries())
    bob = await stage.client("bob", url=elsewhere.url, namespaces=["/", "/caps"])
    await ada.emit("home")
    await bob.emit("say", 1)
    await bob.call("ask", 2)
    await elsewhere.sio.emit("news", "hi", namespace="/caps")
    await arrived(stage, "news")
    await bob.disconnect()
    await stage.settle()
    assert [re.sub(" +", " ", line) for line in repr(stage.diagram()).splitlines()] == [
        "server another server ada bob",
        "│ ┬ ada connects",
        "│ │ │ ┬ bob connects to another server",
        "│ │ │ ┬ bob connects to /caps of another server",
        "○────────────────│────────────────● │ home (ada → server)",
        "│ ?────────────────│────────────────● say 1 (bob → another server)",
        "│ ✓────────────────│────────────────● ask 2 (bob → another server)",
        "│ ●────────────────│────────────────○ news 'hi' (another server → bob in /caps)",
        "│ │ │ ↓ bob hangs up",
        "│ │ │ ┴ bob is no longer connected to another server: client disconnect",
        "│ │ │ ┴ bob is no longer connected to /caps of another server: client disconnect",
        "● sends ✓ got it ○ arrived, no handler ? sent, more is not known ┬ connects ↓ hangs up",
        "┴ is gone for the server, or off another",
    ]
    assert "another server's acknowledgement of 'ask' comes back, with 'heard'" in words(stage)
    assert "news 'hi' comes from another server to bob in /caps" in words(stage)


def columns(stage):
    """Return the columns that stand for somebody: of the table, and of the diagram."""
    heads = stage.diagram()._layout.names
    return stage.deliveries().table().headers[3:], heads


async def test_the_server_has_a_column_as_soon_as_anything_happens_there(sio, stage, elsewhere):
    assert columns(stage) == (("server",), ["server"])
    bob = await stage.client("bob", url=elsewhere.url)
    await bob.call("ask", 1)
    assert columns(stage) == ((OTHER, "bob"), [OTHER, "bob"])
    assert [row.signs for row in stage.diagram()._layout.rows] == [{1: "┬"}, {0: "✓", 1: "●"}]
    assert [cell[1] for cell in moments(stage.view(), 500).cells] == [OTHER, "bob"]
    assert linked(stage.deliveries()).hints.keys() == {(0, 3), (0, 4)}
    await sio.emit("local")  # to nobody
    assert columns(stage) == (("server", OTHER, "bob"), ["server", OTHER, "bob"])
    assert stage.view().at(2).deliveries().columns == (OTHER, "bob")


async def test_who_dials_the_server_gives_it_a_column(stage, elsewhere):
    await stage.client("bob", url=elsewhere.url)
    await stage.client("ada")
    assert columns(stage) == (("server", OTHER, "bob", "ada"), ["server", OTHER, "bob", "ada"])


async def test_the_roster_says_on_whose_line_a_client_is(stage, elsewhere):
    await stage.client("ada")
    bob = await stage.client("bob", url=elsewhere.url, namespaces=["/", "/caps"])
    assert [[*row] for row in stage.roster().table().rows] == [
        [OTHER, "server", "– another server: its side is not seen", ""],
        ["ada", "client", "● connected", "/"],
        ["bob", "client", "● connected", f"/ of {OTHER}; /caps of {OTHER}"],
    ]
    assert not stage.connected("bob")  # the stage's server knows nothing of it
    await stage.freeze("bob")
    assert "‖ frozen " in repr(stage.roster())
    await stage.thaw("bob")
    await bob.disconnect()
    assert [*stage.roster().table().rows[2][2:]] == ["○ off the line", "nowhere"]


# -- coming, going, and what goes wrong -----------------------------------------------------------


async def test_a_refusal_of_another_server_is_told(stage, elsewhere):
    @elsewhere.sio.on("connect", namespace="/vip")
    def guard(sid, environ):
        raise socketio.exceptions.ConnectionRefusedError("members only")

    with pytest.raises(socketio.exceptions.ConnectionError):
        await stage.client("ada", url=elsewhere.url, namespaces=["/vip"])
    await stage.settle()
    assert facts(stage, Rejected, Connected, Disconnected) == [
        Rejected("ada", "/vip", "members only", OTHER)
    ]
    assert "ada is refused by /vip of another server: members only" in repr(stage.diagram())
    assert [*stage.roster().table().rows[1]] == ["ada", "client", "○ off the line", "nowhere"]


@pytest.mark.parametrize("how", ["kick", "cut", "disconnect", "end"])
async def test_each_end_of_a_connection_is_told_by_the_client(stage, elsewhere, how):
    ada = await stage.client("ada", url=elsewhere.url)
    if how == "kick":
        [(sid, _)] = elsewhere.sio.manager.get_participants("/", None)
        await elsewhere.sio.disconnect(sid)
    elif how == "end":
        await elsewhere.end()
    else:
        await (stage.cut(ada) if how == "cut" else ada.disconnect())
        await stage.settle()  # the client's own end is not waited for in vain
        assert facts(stage, Disconnected)
    await stage.until(lambda: facts(stage, Disconnected), "the end")
    await stage.settle()
    [ended] = facts(stage, Disconnected)
    reasons = {"kick": "server disconnect", "disconnect": "client disconnect"}
    assert (ended.client, ended.namespace, ended.server) == ("ada", "/", OTHER)
    assert ended.reason in (reasons.get(how, "transport error"), "transport close")
    assert not ada.connected
    assert "○ off the line" in repr(stage.roster())


async def test_one_namespace_may_end_alone(stage, elsewhere):
    ada = await stage.client("ada", url=elsewhere.url, namespaces=["/", "/caps"])
    ada.on("news", lambda text: None, namespace="/caps")
    [(sid, _)] = elsewhere.sio.manager.get_participants("/caps", None)
    await elsewhere.sio.disconnect(sid, namespace="/caps")
    await stage.until(lambda: facts(stage, Disconnected), "the goodbye")
    assert stage.roster().table().rows[1][3] == f"/ of {OTHER}"
    await elsewhere.sio.emit("after", 1)
    await arrived(stage, "after")
    assert facts(stage, Disconnected) == [Disconnected("ada", "/caps", "server disconnect", OTHER)]


async def test_a_server_may_repeat_itself_and_speak_after_its_goodbye(stage, elsewhere):
    ada = await stage.client("ada", url=elsewhere.url, namespaces=["/", "/caps"])
    ada.on("*", lambda event, namespace, *data: None, namespace="*")
    [eio_sid] = elsewhere.sio.eio.sockets
    for frame in ('0/caps,{"sid":"x"}', "1/caps", "1/caps", '2/caps,["late",1]', '2["last",1]'):
        await elsewhere.sio.eio.send(eio_sid, frame)
    await arrived(stage, "last")
    await stage.settle()
    told = [(f.namespace, type(f).__name__) for f in facts(stage, Connected, Disconnected)]
    assert told == [("/", "Connected"), ("/caps", "Connected"), ("/caps", "Disconnected")]
    assert "late" not in stage.deliveries()  # nor has the client read it


async def test_a_handler_that_raises_is_shown_and_so_is_a_call_back(stage, elsewhere):
    ada = await stage.client("ada", url=elsewhere.url)

    @ada.on("news")
    def read(text):
        raise ValueError("no glasses")

    def answered(*data):
        raise KeyError("no ears")

    await elsewhere.sio.emit("news", "hi")
    await arrived(stage, "news")
    with pytest.raises(HandlerRaised, match="ada's handler of 'news' raised ValueError: no glass"):
        await stage.settle()
    assert (
        stage.why("ada", "news") == "ada got 'news', but its handler raised ValueError: no glasses."
    )
    await ada.emit("say", 1, callback=answered)
    await stage.until(lambda: facts(stage, Acknowledged), "the answer")
    with pytest.raises(HandlerRaised, match="ada's handler of 'acknowledgement' raised KeyError"):
        await stage.settle()
    assert Counter(m.emitted.event for m in stage.deliveries().messages) == {"news": 1, "say": 1}


@pytest.mark.parametrize("frame", ["9", "2", "2{", "2[]", '2{"a":1}', "51-[1"])
async def test_a_packet_that_nobody_understands_is_a_message_all_the_same(stage, elsewhere, frame):
    ada = await stage.client("ada", url=elsewhere.url)
    ada.on("news", lambda text: None)
    [eio_sid] = elsewhere.sio.eio.sockets
    await elsewhere.sio.eio.send(eio_sid, frame)
    await elsewhere.sio.emit("news", "hi")
    await arrived(stage, "news")
    with pytest.raises(HandlerRaised, match=r"^ada could not take in '\?': "):
        await stage.settle()
    assert stage.reason("ada", "?") is Reason.NOT_UNDERSTOOD
    assert stage.deliveries().who_got("news") == {"ada"}
    await ada.disconnect()
    await stage.settle()


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_bytes_go_both_ways_over_each_transport(stage, elsewhere, transports):
    ada = await stage.client("ada", url=elsewhere.url, transports=transports)
    ada.on("picture", lambda data, note: (data[::-1], "seen"))
    await ada.emit("picture", b"abc")
    [(sid, _)] = elsewhere.sio.manager.get_participants("/", None)
    answer = await elsewhere.sio.call("picture", (b"abc", {"of": b"d"}), to=sid)
    assert answer == (b"cba", "seen")
    await stage.until(lambda: elsewhere.heard == [("/", "picture", b"abc")], "the bytes")
    await ada.disconnect()
    await stage.settle()
    sent, came = stage.deliveries().messages
    assert (sent.emitted.data, came.emitted.data) == ("<3 bytes>", "<3 bytes>, {'of': <1 bytes>}")
    assert came.explanations["ada"].acknowledged == "<3 bytes>, 'seen'"


async def test_a_frozen_client_reads_it_when_it_thaws(stage, elsewhere):
    ada = await stage.client("ada", url=elsewhere.url)
    ada.on("news", lambda text: None)
    await stage.freeze(ada)
    with pytest.raises(RuntimeError, match="frozen"):
        await ada.emit("say")
    await elsewhere.sio.emit("news", "hi")
    await stage.settle()
    assert "news" not in stage.deliveries()  # nobody can know of it
    await stage.thaw(ada)
    await arrived(stage, "news")
    await stage.settle()
    assert stage.deliveries().who_got("news") == {"ada"}
    await stage.freeze(ada)
    await stage.cut(ada)
    await stage.settle()
    assert "○ off the line" in repr(stage.roster())


async def test_hidden_namespaces_stay_hidden(sio, elsewhere):
    async with Stage(sio, hide=["/admin"]) as stage:
        ada = await stage.client("ada", url=elsewhere.url, namespaces=["/admin"])
        seen = asyncio.Event()
        ada.on("news", lambda text: seen.set(), namespace="/admin")
        assert await ada.call("ask", namespace="/admin") == "heard"
        await elsewhere.sio.emit("news", 1, namespace="/admin")
        await seen.wait()
        await ada.disconnect()
        await stage.settle()
        assert not facts(stage, Connected, Disconnected, Emitted, Acknowledged)
        assert OTHER not in repr(stage.deliveries())


async def test_a_client_that_dials_again_by_itself_is_told_of_again(stage, elsewhere):
    await stage.client(
        "ada", url=elsewhere.url, reconnection=True, reconnection_delay=0.01, randomization_factor=0
    )
    await stage.cut("ada")
    await stage.until(lambda: len(facts(stage, Connected)) == 2, "the second connection")
    assert [type(f).__name__ for f in facts(stage, Connected, Disconnected)] == [
        "Connected",
        "Disconnected",
        "Connected",
    ]
    assert f"/ of {OTHER}" in repr(stage.roster())


# -- settle ---------------------------------------------------------------------------------------


async def test_settle_waits_for_the_clients_handlers_and_for_nothing_else(stage, elsewhere):
    asked, answer = asyncio.Event(), asyncio.Event()

    @elsewhere.sio.on("slow")
    async def slow(sid):
        asked.set()
        await answer.wait()
        await elsewhere.sio.emit("work")
        return "at last"

    ada = await stage.client("ada", url=elsewhere.url)
    goes_on, worked = asyncio.Event(), []

    @ada.on("work")
    async def work():
        await goes_on.wait()
        worked.append(True)

    await ada.emit("slow", callback=lambda *data: worked.append(data))
    await asked.wait()
    await stage.settle()  # not for the other server's handler
    answer.set()
    await arrived(stage, "work")
    with pytest.raises(NotSettled, match="ada: the handler of 'work' has not returned"):
        await stage.settle(within=0.1)
    asyncio.get_running_loop().call_later(0.1, goes_on.set)
    await stage.settle()
    assert True in worked


async def test_nothing_is_counted_for_ever(stage, elsewhere):
    """However a connection ends, and whatever was on its way then."""
    dice = random.Random(7)
    counts = stage._recorder.activity.counts

    async def read(text):
        await give_way()

    for _ in range(30):
        ada = await stage.client("ada", url=elsewhere.url)
        ada.on("news", read)
        for _ in range(dice.randrange(5)):
            await elsewhere.sio.emit("news", 1, callback=lambda *data: None)
            await ada.emit("say", b"2", callback=lambda *data: None)
        if dice.random() < 0.3:
            await stage.freeze(ada)
        match dice.choice(["cut", "kick", "leave", "again"]):
            case "cut":
                await stage.cut(ada)
            case "kick":
                for sid, _ in [*elsewhere.sio.manager.get_participants("/", None)]:
                    await elsewhere.sio.disconnect(sid)
            case "leave":
                await stage.thaw(ada)
                await ada.disconnect()
        await stage.settle()
        assert counts == {}


# -- there and back -------------------------------------------------------------------------------


async def test_a_client_goes_there_and_back_and_its_history_stays_right(sio, stage, elsewhere):
    ada, _ = await stage.clients("ada", "bob")
    for event in ("one", "two", "three", "four", "five"):
        ada.on(event, lambda: None)
    await sio.emit("one")
    await stage.settle()
    await ada.disconnect()
    await stage.settle()
    await sio.emit("between")
    await ada.connect(elsewhere.url)
    await sio.emit("two")
    await elsewhere.sio.emit("three")
    await arrived(stage, "three")
    await ada.disconnect()
    await stage.settle()
    await sio.emit("four")
    await ada.connect()
    await sio.emit("five")
    await ada.emit("home")
    await stage.settle()
    events = ("one", "between", "two", "three", "four", "five")
    assert {event: stage.reason("ada", event) for event in events} == {
        "one": Reason.RECEIVED,
        "between": Reason.LEFT,
        "two": Reason.OTHER_SERVER,
        "three": Reason.RECEIVED,
        "four": Reason.LEFT,
        "five": Reason.RECEIVED,
    }
    assert stage.reason("server", "home") is Reason.NO_HANDLER
    assert stage.connected("ada")
    assert [*stage.roster().table().rows[1]] == ["ada", "client", "● connected", "/"]


async def test_the_stages_server_under_another_address_is_the_stages(sio, stage):
    """Who greets the client decides, not the text of a url."""
    sio.on("say", lambda sid: None)
    url = stage.url.replace("127.0.0.1", "localhost") + "/?token=1"
    ada = await stage.client("ada", url=url)
    await ada.emit("say")
    await stage.settle()
    assert stage.reason("server", "say") is Reason.RECEIVED
    assert OTHER not in repr(stage.deliveries())


async def test_clients_of_two_stages_may_have_one_name(sio, stage):
    async with Stage(socketio.AsyncServer(async_mode="aiohttp")) as other:
        here, there = await stage.client("ada"), await other.client("ada")
        there.on("news", lambda text: None)
        await here.disconnect()
        await here.connect(other.url + "?name=visitor")
        await other.sio.emit("news", 1)
        await arrived(stage, "news")
        await other.settle()
        assert other.reason("ada", "news") is Reason.RECEIVED
        assert other.reason("visitor", "news") is Reason.SENT
        await here.emit("say", 1)
        await other.until(lambda: "say" in other.deliveries(), "the visitor")
        assert other.deliveries("say").messages[0].emitted.sender == "visitor"


async def test_a_name_that_means_another_server_is_nobodys(stage):
    with pytest.raises(ValueError, match="a client cannot be called 'another server'"):
        await stage.client(OTHER)
    with pytest.raises(ValueError, match="a process cannot be called 'another server'"):
        await stage.process(OTHER, "")
    async with socketio.AsyncSimpleClient() as guest:
        await guest.connect(f"{stage.url}?name=another server", transports=["websocket"])
        await stage.until(lambda: stage.connected("guest 1"), "the guest")


async def test_an_empty_url_is_no_address(stage):
    with pytest.raises(ValueError, match="ada cannot connect to an empty url: has its server"):
        await stage.client("ada", url="")


# -- questions about several clients --------------------------------------------------------------


async def test_who_got_takes_together_what_is_alike(stage, elsewhere):
    ada, bob, _ = await stage.clients("ada", "bob", "cy", url=elsewhere.url)
    for client in (ada, bob):
        client.on("news", lambda text: None)
    await elsewhere.sio.emit("news", "old")
    await arrived(stage, "news", 3)
    sids = {n: client.get_sid() for n, client in (("ada", ada), ("bob", bob))}
    await elsewhere.sio.emit("news", "new", to=sids["ada"])
    await arrived(stage, "news", 4)
    await stage.settle()
    deliveries = stage.deliveries()
    assert deliveries.who_got("news") == {"ada"}  # the old ones are not like it
    await elsewhere.sio.emit("news", "new", to=sids["bob"])
    await arrived(stage, "news", 5)
    await stage.settle()
    got = stage.deliveries().who_got("news")
    assert got == {"ada", "bob"}
    assert got.why("ada") == "ada got 'news'."
    assert got.why("cy").startswith("cy did not get 'news': this one came from another server to ")
    assert stage.why("ada", "news") == "ada got 'news'."
    assert stage.why("cy", "news") == got.why("cy")
    assert stage.deliveries().got_in_order("ada", "news", "news")
    assert not stage.deliveries().got_once("bob", "news")
    assert not stage.deliveries().nobody_got("news")


# -- what is kept ---------------------------------------------------------------------------------


async def test_a_written_journal_tells_the_same(sio, stage, elsewhere, tmp_path):
    ada, bob = await stage.clients("ada", "bob", url=elsewhere.url)
    bob.on("news", lambda text: None)
    await stage.client("cy")
    await ada.call("say", "hello")
    await elsewhere.sio.emit("news", "hi")
    await arrived(stage, "news", 2)
    await sio.emit("local")
    await bob.disconnect()
    await stage.settle()
    file = StringIO()
    stage.journal.write(file)
    lines = file.getvalue().splitlines(keepends=True)
    page = stage.replay(tmp_path / "one.html", "one").read_text("utf-8")
    for read in (Journal.read(lines), Journal.read(lines[1:])):  # and as one without a head
        view = View(read, read.kinds())
        assert {**view.kinds, "cy": "client"} == {
            OTHER: "server", "ada": "client", "bob": "client", "cy": "client"
        }  # fmt: skip
        assert repr(view.roster()).split("cy ")[0] == repr(stage.roster()).split("cy ")[0]
        assert view.deliveries().table().rows[:3] == stage.deliveries().table().rows[:3]
        assert repr(view.diagram()) == repr(stage.diagram())
    again = Journal.read(lines)
    assert View(again, again.kinds()).replay(tmp_path / "2.html", "one").read_text("utf-8") == page


async def test_what_is_forgotten_still_stands(sio, elsewhere):
    async with Stage(sio, keep=6) as stage:
        ada, _ = await stage.clients("ada", "bob", url=elsewhere.url)
        cy = await stage.client("cy")
        for number in range(6):
            await cy.emit("say", number)
            await stage.settle()
        assert [*stage.roster().table().rows[1]] == [
            "ada",
            "client",
            "● connected",
            f"/ of {OTHER}",
        ]
        assert stage.why("bob", "say").startswith("bob did not get 'say': cy sent it to the server")
        await sio.emit("news")
        await stage.settle()
        assert stage.reason("bob", "news") is Reason.OTHER_SERVER
        assert row(stage, len(stage.deliveries().messages))[OTHER] == "·"
        await ada.disconnect()
        await stage.settle()
        assert stage.roster().table().rows[1][2] == "○ off the line"


async def test_what_is_forgotten_of_two_servers_is_kept_apart(sio, elsewhere):
    async with Stage(sio, keep=3) as stage:
        ada, bob = await stage.clients("ada", "bob")
        await sio.disconnect(ada.get_sid())
        await stage.settle()
        await ada.connect(elsewhere.url)
        await stage.cut(ada)
        for number in range(4):
            await bob.emit("say", number)
            await stage.settle()
        await sio.emit("news")
        await stage.settle()
        assert stage.why("ada", "news") == (
            "ada did not get 'news': it had already left (server disconnect)."
        )


def test_who_consumes_a_queue_is_no_matter_of_another_server():
    journal = Journal()
    for kind, *values in (
        (Connected, "ada", "/"),
        (Subscribed, "ada", "orders"),
        (Connected, "ada", "/caps", OTHER),  # before this server has noticed that it is gone
        (Disconnected, "ada", "/", "transport close"),
    ):
        journal.append(kind, *values)
    assert not View(journal, journal.kinds()).queues().rows


async def test_before_it_was_dialled_it_has_no_column_in_the_past(stage, elsewhere):
    await stage.client("ada")
    bob = await stage.client("bob", url=elsewhere.url)
    await bob.emit("say")
    assert OTHER not in repr(stage.view(upto=1).deliveries())
    assert OTHER in repr(stage.view(upto=2).deliveries())
    told = moments(stage.view(), 500)
    assert [cell.mark for cell in told.cells[1, OTHER]] == ["✓ sent"]


async def test_a_panel_drives_a_client_that_is_elsewhere(stage, elsewhere):
    pytest.importorskip("ipywidgets")
    await stage.client("ada", url=elsewhere.url)
    await stage.client("bob")
    cast = stage.cast()
    assert Draft("ada", "say", "1", "the server").line(cast) == "await ada.emit('say', 1)"
    with pytest.raises(
        ValueError, match="ada is connected to another server, and this server does"
    ):
        Draft("server", "news", "1", "one client", "ada").line(cast)
    with pytest.raises(ValueError, match="another server is not the stage's: it sends by itself"):
        Draft(OTHER, "news").line(cast)
    panel = stage.panel()
    panel._repr_mimebundle_()
    await stage.run("await ada.emit('say', 1)")
    shown = panel._board._cards
    assert [*shown] == [OTHER, "ada", "bob"]
    assert shown["ada"]._rooms.layout.display == "none"  # its rooms are none of this server's
    assert shown["bob"]._rooms.layout.display is None
    assert shown["ada"]._buttons["Hang up"].description == "Hang up"
    assert not shown[OTHER]._buttons
    assert OTHER not in panel._board._composer._sender.options
    assert f"/ of {OTHER}" in repr(panel)


# -- against the other server's own journal -------------------------------------------------------


STEPS = [*("dial", "emit", "call", "tell") * 3, "kick", "hang up", "cut"]


@pytest.mark.parametrize("seed", range(size(12, 60)))
async def test_what_a_client_sees_is_what_a_stage_over_there_has_seen(sio, stage, seed):
    """The other server is another stage's, so its journal has the truth about each message."""
    dice = random.Random(seed)
    async with Stage(socketio.AsyncServer(async_mode="aiohttp", namespaces="*")) as there:
        there.sio.on("*", lambda event, namespace, sid, *data: len(data), namespace="*")
        names, spaces, n = ("ada", "bob", "cy"), ("/", "/a"), 0
        clients = {}
        for name in names:
            clients[name] = client = await stage.client(name, connect=False)
            client.on("*", lambda event, namespace, *data: data, namespace="*")
            await client.connect(f"{there.url}?name={name}", namespaces=spaces)
        for _ in range(40):
            name, n = dice.choice(names), n + 1
            client, space = clients[name], dice.choice(spaces)
            match dice.choice(STEPS):
                case "dial" if not client.connected:
                    some = dice.sample(spaces, dice.randint(1, 2))
                    await client.connect(client.dialled["url"], namespaces=some)
                case "emit" if space in client.namespaces:
                    await client.emit("say", n, namespace=space)
                case "call" if space in client.namespaces:
                    await client.call("ask", (n, b"1"), namespace=space, timeout=5)
                case "tell":
                    await there.sio.emit("news", n, namespace=space)
                case "kick" if space in client.namespaces:
                    await there.sio.disconnect(client.get_sid(space), namespace=space)
                case "hang up" if client.connected:
                    await client.disconnect()
                case "cut" if client.connected:
                    await stage.cut(name)
            await there.settle()
            await stage.until(lambda: seen(stage, names) == done(there, names), "both to agree")
            await there.settle()
            await stage.settle()
            assert seen(stage, names) == done(there, names)
        assert any(seen(stage, names)[0].values())  # it was worth it


def seen(stage, names):
    """What the stage of the clients has recorded: what came to each, what each sent, and where it
    is."""
    inside = {seat.name: {*seat.outside[1]} for seat in stage.roster().seats}
    return (
        {name: received(stage, name) for name in names},
        {name: sent_by(stage, name) for name in names},
        {name: inside[name] for name in names},
    )


def done(there, names):
    """The same, as the stage of the server has recorded it."""
    inside = {seat.name: {*seat.rooms} for seat in there.roster().seats}
    return (
        {name: sent_to(there, name) for name in names},
        {name: sent_by(there, name) for name in names},
        {name: inside.get(name, set()) for name in names},
    )


def received(stage, name):
    return [
        (m.emitted.event, m.emitted.data, m.emitted.namespace, m.explanations[name].reason)
        for m in stage.deliveries().messages
        if m.from_other_server and name in m.emitted.recipients
    ]


def sent_to(there, name):
    return [
        (m.emitted.event, m.emitted.data, m.emitted.namespace, Reason.RECEIVED)
        for m in there.deliveries().messages
        if m.emitted.sender == "server" and name in m.emitted.recipients
    ]


def sent_by(stage, name):
    return [
        (m.emitted.event, m.emitted.data, m.emitted.namespace)
        for m in stage.deliveries().messages
        if m.emitted.sender == name
    ]


# -- servers in processes -------------------------------------------------------------------------

THREADED = """
import socketserver, wsgiref.simple_server, socketio

sio = socketio.Server(async_mode="threading")

@sio.event
def say(sid, text):
    sio.emit("news", text, skip_sid=sid)
    return "said"

class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True

class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), "werkzeug.socket": self.connection}  # for websockets

    def log_message(self, *args):
        pass

server = wsgiref.simple_server.make_server(
    "127.0.0.1", 0, socketio.WSGIApp(sio), server_class=Server, handler_class=Handler
)
print(f"serves at http://127.0.0.1:{server.server_port}")
server.serve_forever()
"""
TORNADO = """
import asyncio, socketio, tornado.httpserver, tornado.netutil, tornado.web

sio = socketio.AsyncServer(async_mode="tornado")

@sio.event
async def say(sid, text):
    await sio.emit("news", text, skip_sid=sid)
    return "said"

async def main():
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    app = tornado.web.Application([(r"/socket.io/", socketio.get_tornado_handler(sio))])
    tornado.httpserver.HTTPServer(app).add_sockets(sockets)
    print(f"serves at http://127.0.0.1:{sockets[0].getsockname()[1]}")
    await asyncio.Event().wait()

asyncio.run(main())
"""
PROGRAMS = {"threaded": THREADED, "tornado": TORNADO}


def advice(server):
    """Return the lines of Python with which a stage refuses this server."""
    with pytest.raises(TypeError) as refused:
        Stage(server)
    return re.findall(r"`([^`]*)`", str(refused.value))


async def follow(lines, **names):
    """Run these lines as a cell would; return what they have named."""
    for line in lines:
        code = compile(line, "<advice>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result
    return names


@pytest.mark.parametrize(
    ("refused", "program"),
    [
        (lambda: socketio.Server(async_mode="threading"), "threaded"),
        (lambda: socketio.WSGIApp(socketio.Server(async_mode="threading")), "threaded"),
        (lambda: socketio.AsyncServer(async_mode="tornado"), "tornado"),
    ],
)
async def test_what_a_refusal_advises_works_word_for_word(refused, program):
    if program == "tornado":
        pytest.importorskip("tornado")
    lines = advice(refused())
    assert len(lines) == 4
    found = await follow(lines, socketio=socketio, Stage=Stage, program=PROGRAMS[program])
    async with found["stage"] as stage:
        ada, url = found["ada"], found["web"].address
        bob, _ = await stage.clients("bob", "cy", url=url)
        bob.on("news", lambda text: "thanks")
        assert await ada.call("say", "hello") == "said"
        await arrived(stage, "news", 2)
        await stage.settle()
        shown = stage.deliveries().table()
        assert [*shown.headers] == ["no.", "message", "from → to", "web", "ada", "bob", "cy"]
        assert sorted([*row][1:] for row in shown.rows) == [
            ["news 'hello'", "web → bob", "↗", "·", "✓", "·"],
            ["news 'hello'", "web → cy", "↗", "·", "·", "○"],
            ["say 'hello'", "ada → web", "✓ sent, ack 'said'", "↗", "·", "·"],
        ]
        assert stage.deliveries().who_got("news") == {"bob"}
        assert stage.why("bob", "news") == "bob got 'news'."
        assert (
            stage.why("cy", "news") == "'news' arrived at cy, but no handler listens to that name."
        )
        assert (
            stage.why("web", "say") == "'say' was sent to web, which acknowledged it with 'said'."
        )
        await bob.disconnect()
        await stage.kill("web")
        await stage.until(lambda: len(facts(stage, Disconnected)) == 3, "all to notice")
        assert [[*seat] for seat in stage.roster().table().rows] == [
            ["web", "process", "– another server: its side is not seen", ""],
            *([name, "client", "○ off the line", "nowhere"] for name in ("ada", "bob", "cy")),
        ]
        picture = repr(stage.diagram()).splitlines()
        [killed] = [n for n, line in enumerate(picture) if "web is killed" in line]
        assert picture[killed].startswith("† ")
        column = picture[killed].index("†")
        assert {line[column : column + 1] for line in picture[killed + 1 : -2]} <= {" "}


async def test_two_processes_that_serve_are_two(stage):
    clients = {}
    for name in ("north", "south"):
        process = await stage.process(name, THREADED)
        await process.line("http://")
        url = process.address.replace("127.0.0.1", "localhost")
        clients[name] = await stage.client(f"{name}ern", url=url, transports=["polling"])
        await clients[name].call("say", name)
    assert [message.emitted.recipients for message in stage.deliveries("say").messages] == [
        ("north",),
        ("south",),
    ]
    assert row(stage, 1)["south"] == row(stage, 2)["north"] == "·"
    assert stage.roster().table().rows[2][3] == "/ of north"
    await stage.freeze("north")
    assert stage.roster().table().rows[0][2] == "‖ frozen"
    await stage.thaw("north")


async def test_a_server_in_a_process_may_be_a_client_of_the_stage(sio, stage):
    program = THREADED.replace(
        "server.serve_forever()",
        "import sys\\nclient = socketio.Client()\\n"
        "client.connect(sys.argv[1], transports=['websocket'])\\nserver.serve_forever()",
    ).replace("\\n", "\n")
    web = await stage.process("web", program)
    await web.line("http://")
    await stage.until(lambda: stage.connected("web"), "the process")
    ada = await stage.client("ada", url=web.address)
    await ada.emit("say", 1)
    await sio.emit("local")
    await stage.settle()
    assert stage.reason("web", "say") is Reason.SENT
    assert stage.reason("web", "local") is Reason.SENT
    assert stage.reason("ada", "local") is Reason.OTHER_SERVER
    assert [*stage.roster().table().rows[0]] == ["web", "process", "● connected", "/"]


async def test_a_stage_that_is_reset_has_forgotten_other_servers(sio, stage, elsewhere):
    ada, bob = await stage.clients("ada", "bob")
    await bob.disconnect()
    await bob.connect(elsewhere.url)
    assert OTHER in repr(stage.roster())
    await bob.disconnect()
    await bob.connect()
    await stage.reset()
    assert [seat.name for seat in stage.roster().seats] == ["ada", "bob"]
    assert OTHER not in repr(stage.deliveries())
    await ada.disconnect()
