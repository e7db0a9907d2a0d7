"""The chat page of lesson 01 in a real browser: on a stage, without one, behind a proxy."""

import asyncio
import contextlib
import os
import re
import ssl
import subprocess
import sys

import aiohttp
import needs
import pytest
from aiohttp import web
from lesson_server import NOTEBOOKS, lesson, served
from socketio.exceptions import ConnectionRefusedError

from chatq import Reason
from chatq.journal.facts import Connected, Disconnected

LESSON = "01-the-phone-call"
CHAT = "chat message"
CLIENT = needs.JS / "node_modules/socket.io-client/dist/socket.io.min.js"
CDN = "https://cdn.socket.io/4.8.1/socket.io.min.js"


class Page:
    """One page, as somebody in front of it sees it."""

    def __init__(self, peer, name):
        self.peer = peer
        self.name = name

    async def do(self, what, **options):
        return await self.peer.do(what, page=self.name, **options)

    async def status(self, text):
        """Wait until the status line says `text`."""
        return await self.do("see", selector="#status", text=text)

    async def say(self, *texts):
        for text in texts:
            await self.do("fill", selector="#text", text=text)
            await self.do("press", key="Enter")

    async def sees(self, state, count=1):
        """Wait until `count` of one's own messages are in this state; return their texts."""
        selector = f'.mine[data-state="{state}"] p'
        return await self.do("see", selector=selector, count=count)

    async def heard(self, text):
        return await self.do("see", selector=".heard p", text=text)

    async def states(self):
        """One's own messages and their states, in the order shown."""
        mine = "[...document.querySelectorAll('.mine')]"
        script = f"{mine}.map((e) => [e.querySelector('p').textContent, e.dataset.state])"
        return [tuple(one) for one in await self.do("evaluate", script=script)]


@pytest.fixture
async def names():
    async with lesson(LESSON) as names:
        yield names


async def opened(browser, url, name="eve", **options):
    """Open the page; return it when it is connected."""
    page = Page(browser, name)
    await browser.open(name, f"{url}/?name={name}", **options)
    await page.status(f"Connected, asking to be called {name}")
    return page


def heard(server):
    """Return the lines in which the lesson's server says that it heard something."""
    return [line.partition("hears: ")[2] for line in server.lines if "the server hears" in line]


# -- on the stage of lesson 01 ------------------------------------------------------------------


@pytest.mark.needs("node", "chromium")
async def test_the_page_and_a_python_client_chat(names, browser):
    stage, ada = names["stage"], names["ada"]
    page = await opened(browser, stage.url)
    assert await page.do("websocket")
    await page.say("hello")
    assert await page.sees("sent") == ["hello"]
    await page.heard("hello")
    await stage.settle()
    assert stage.reason("ada", CHAT) is Reason.RECEIVED
    await ada.emit(CHAT, "hello yourself")
    await page.heard("hello yourself")
    await stage.settle()
    assert stage.why("eve", CHAT).endswith("whether it arrived, only eve knows.")
    row = repr(stage.deliveries(CHAT, last=1)).splitlines()[2]
    assert row.rstrip().endswith("✓ sent")
    await page.do("leave")
    await stage.until(lambda: not stage.connected("eve"), "eve to leave")
    about = [f for f in stage.journal if isinstance(f, (Connected, Disconnected))][-2:]
    assert about == [Connected("eve", "/"), Disconnected("eve", "/", "transport close")]
    assert await browser.do("complaints", page="eve") == []


@pytest.mark.needs("node", "chromium")
async def test_a_page_without_a_name_is_guest_1(names, browser):
    await browser.open("page", names["stage"].url)
    await Page(browser, "page").status("Connected")
    assert names["stage"].connected("guest 1")


@pytest.mark.needs("node", "chromium")
async def test_a_page_does_not_claim_a_name_that_is_taken(names, browser):
    stage = names["stage"]
    await opened(browser, stage.url, "ada")  # a client of the stage has it
    assert stage.connected("guest 1")


@pytest.mark.needs("node", "chromium")
async def test_a_long_name_is_cut_as_the_stage_cuts_it_and_a_blank_one_is_none(names, browser):
    stage = names["stage"]
    await browser.open("long", f"{stage.url}/?name={'w' * 300}", width=390)
    page = Page(browser, "long")
    [status] = await page.status("asking to be called")
    assert status == f"Connected, asking to be called {'w' * 40}"
    assert stage.connected("w" * 40)
    await fits_and_is_accessible(page)
    for number, blank in enumerate(("%20%20", "%E2%80%8B"), start=2):
        await browser.open(blank, f"{stage.url}/?name={blank}")
        assert await Page(browser, blank).status("Connected") == ["Connected"]
        assert stage.connected(f"guest {number}")


@pytest.mark.needs("node", "chromium")
async def test_a_page_hangs_up_before_it_is_reloaded_so_that_it_keeps_its_name(names, browser):
    stage = names["stage"]
    page = await opened(browser, stage.url)
    await page.do("websocket")
    await page.do("reload")
    await page.status("Connected, asking to be called eve")
    assert stage.connected("eve")
    about = [f for f in stage.journal if isinstance(f, (Connected, Disconnected))][-3:]
    assert about == [
        Connected("eve", "/"),
        Disconnected("eve", "/", "client disconnect"),
        Connected("eve", "/"),
    ]


@pytest.mark.needs("node", "chromium")
async def test_a_page_that_was_to_go_and_stays_calls_again(names, browser):
    page = await opened(browser, names["stage"].url, clock=True)
    await page.do("evaluate", script="void dispatchEvent(new Event('beforeunload'))")
    await page.status("Leaving")
    await page.say("still here")
    assert await page.sees("waiting") == ["still here"]
    await page.do("pass", time=3000)
    await page.status("Connected, asking to be called eve")
    assert await page.sees("sent") == ["still here"]


@pytest.mark.needs("node", "chromium")
async def test_what_is_heard_is_text_whatever_it_is(names, browser):
    page = await opened(browser, names["stage"].url)
    nasty = "<img src=x onerror='document.title=1'><b>bold</b>"
    for said in (nasty, {"a": [1, None]}, "x" * 3000, ""):
        await names["sio"].emit(CHAT, said)
    await page.heard(nasty)
    await page.heard('{"a":[1,null]}')
    assert await page.do("evaluate", script="document.querySelectorAll('li img').length") == 0
    assert await page.do("complaints") == []


@pytest.mark.needs("node", "chromium")
async def test_a_message_of_nothing_is_not_sent(names, browser):
    page = await opened(browser, names["stage"].url)
    await page.say("", "   ", "\u200b\u2060 \ufeff", "\u3164", "something")
    assert await page.sees("sent") == ["something"]
    assert await page.states() == [("something", "sent")]


@pytest.mark.needs("node", "chromium")
async def test_a_text_that_is_too_long_is_refused_with_words_and_not_cut(names, browser):
    page = await opened(browser, names["stage"].url)
    await page.say("x" * 2001)
    await page.do("see", selector="#refusal", text="2000 characters, and these are 2001: nothing")
    assert await page.states() == []
    assert await page.do("evaluate", script="document.querySelector('#text').value.length") == 2001
    await fits_and_is_accessible(page)
    await page.say("\N{GRINNING FACE}" * 2000)  # characters as people count them
    [said] = await page.sees("sent")
    assert said == "\N{GRINNING FACE}" * 2000
    assert await page.do("texts", selector="#refusal") == [""]


@pytest.mark.needs("node", "chromium")
async def test_what_is_half_typed_survives_a_reload_and_is_not_sent(names, browser):
    page = await opened(browser, names["stage"].url)
    await page.do("fill", selector="#text", text="half a tho")
    await page.do("reload")
    await page.status("Connected, asking to be called eve")
    value = "document.querySelector('#text').value"
    assert await page.do("evaluate", script=value) == "half a tho"
    assert await page.states() == []
    await page.do("press", key="Enter")
    assert await page.sees("sent") == ["half a tho"]
    await page.do("reload")
    await page.status("Connected, asking to be called eve")
    assert await page.do("evaluate", script=value) == ""


@pytest.mark.needs("node", "chromium")
async def test_a_text_runs_in_its_own_direction(names, browser):
    page = await opened(browser, names["stage"].url)
    await page.say("\u05e9\u05dc\u05d5\u05dd!")
    await page.sees("sent")
    await page.heard("\u05e9\u05dc\u05d5\u05dd!")
    ways = "[...document.querySelectorAll('li p')].map((e) => getComputedStyle(e).direction)"
    assert await page.do("evaluate", script=ways) == ["rtl", "rtl"]


@pytest.mark.needs("node", "chromium")
async def test_the_end_of_the_log_stays_in_sight_unless_somebody_reads_further_up(names, browser):
    page = await opened(browser, names["stage"].url, width=390)
    for number in range(60):
        await names["sio"].emit(CHAT, f"line {number}")
    await page.heard("line 59")
    below = "(({scrollHeight: h, scrollTop: t, clientHeight: c}) => h - t - c)(log)"
    moved = "new Promise((done) => log.addEventListener('scroll', done, {once: true}))"
    assert await page.do("evaluate", script=below) < 2
    await page.do("evaluate", script=f"{{const m = {moved}; log.scrollTop = 0; m.then(() => 1)}}")
    await names["sio"].emit(CHAT, "the newest")
    await page.heard("the newest")
    assert await page.do("evaluate", script="log.scrollTop") == 0


# -- the client file ----------------------------------------------------------------------------


def certify(folder):
    """Make a key and a certificate of our own."""
    made = [needs.path("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=cdn.socket.io", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*made, *named], cwd=folder, check=True, capture_output=True)


@contextlib.asynccontextmanager
async def elsewhere(folder, content):
    """Serve `content` over TLS, as the CDN would; gives the rule by which a browser finds it."""
    certify(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    async def answer(request):
        allow = {"Access-Control-Allow-Origin": "*"}
        return web.Response(body=content, content_type="text/javascript", headers=allow)

    app = web.Application()
    app.router.add_get("/4.8.1/socket.io.min.js", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.3)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        rule = f"MAP cdn.socket.io 127.0.0.1:{runner.addresses[0][1]}, EXCLUDE 127.0.0.1"
        yield (f"--host-resolver-rules={rule}",)
    finally:
        await runner.cleanup()


@pytest.mark.needs("node")
async def test_the_server_sends_the_installed_client_or_says_where_it_is(names):
    needs.path("node")
    async with aiohttp.ClientSession() as session:
        address = names["stage"].url + "/socket.io.min.js"
        async with session.get(address) as answer:
            assert await answer.read() == CLIENT.read_bytes()
        names["INSTALLED"] = False
        async with session.get(address, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, CDN)


@pytest.mark.needs("node", "chromium", "openssl")
async def test_the_page_takes_the_client_from_the_cdn(names, browser, tmp_path):
    names["INSTALLED"] = False
    async with elsewhere(tmp_path, CLIENT.read_bytes()) as arguments:
        page = await opened(browser, names["stage"].url, arguments=arguments)
        await page.say("hello")
        await page.sees("sent")


async def without_client(browser, url, **options):
    await browser.open("page", url, **options)
    page = Page(browser, "page")
    [text] = await page.do("see", selector="#no-client", text="could not be loaded")
    assert "npm ci --prefix tests/js" in text
    await page.status("Not connected")
    assert (
        await page.do(
            "evaluate", script="getComputedStyle(form).display".replace("form", "document.forms[0]")
        )
        == "none"
    )
    await fits_and_is_accessible(page)
    return page


@pytest.mark.needs("node", "chromium", "openssl")
async def test_another_file_than_the_pinned_one_does_not_run(names, browser, tmp_path):
    names["INSTALLED"] = False
    changed = CLIENT.read_bytes() + b"\ndocument.title = 'taken over'"
    async with elsewhere(tmp_path, changed) as arguments:
        page = await without_client(browser, names["stage"].url, arguments=arguments)
    assert await page.do("evaluate", script="document.title") == "Chat"
    assert "integrity" in " ".join(await page.do("complaints"))


@pytest.mark.needs("node", "chromium")
async def test_a_page_that_cannot_load_the_client_says_so(names, browser):
    names["INSTALLED"] = False  # and the browser of these tests finds nothing but this computer
    await without_client(browser, names["stage"].url)


# -- behind jupyter-server-proxy ----------------------------------------------------------------


@contextlib.asynccontextmanager
async def jupyter(folder, *more):
    """A jupyter server of its own, with the proxy; gives its address and its token."""
    token = "a-token-for-this-test"
    places = {f"JUPYTER_{what}_DIR": str(folder) for what in ("CONFIG", "DATA", "RUNTIME")}
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        *more,
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jupyter_server", *options, f"--IdentityProvider.token={token}"),
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **places},
    )
    try:
        said = b""
        async with asyncio.timeout(30):
            while not (hit := re.search(rb"(http://127\.0\.0\.1:\d+)/", said)):
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
        rest = asyncio.create_task(process.stderr.read())
        yield hit[1].decode(), token
    finally:
        process.kill()
        await process.wait()
        await rest


@pytest.mark.needs("node", "chromium")
async def test_the_page_works_behind_jupyter_server_proxy(names, browser, tmp_path):
    stage = names["stage"]
    async with jupyter(tmp_path) as (address, token):
        port = stage.url.rpartition(":")[2]
        await browser.open("eve", f"{address}/proxy/{port}/?token={token}&name=eve")
        page = Page(browser, "eve")
        await page.status("Connected, asking to be called eve")
        assert f"/proxy/{port}/socket.io/" in await page.do("websocket")
        await page.say("hello")
        await page.sees("sent")
        await names["ada"].emit(CHAT, "hello yourself")
        await page.heard("hello yourself")
        assert stage.connected("eve")
        kept = await page.do("evaluate", script="Object.keys(sessionStorage)")
        assert kept == [f"chat: not sent from /proxy/{port}/"]  # other pages have the same origin
        assert await page.do("complaints") == []


@pytest.fixture
def in_a_kernel(monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "1")


@pytest.mark.long
@pytest.mark.needs("node", "chromium")
async def test_the_page_works_behind_a_jupyter_of_another_machine(
    in_a_kernel, names, browser, tmp_path
):
    """Where Jupyter has a name of its own, which its proxy hands on."""
    stage = names["stage"]
    hosts = "--host-resolver-rules=MAP hub.example 127.0.0.1, MAP * ~NOTFOUND"
    async with jupyter(tmp_path, "--ServerApp.allow_remote_access=True") as (address, token):
        port = stage.url.rpartition(":")[2]
        url = address.replace("127.0.0.1", "hub.example")
        where = f"{url}/proxy/{port}/?token={token}&name=eve"
        await browser.open("eve", where, arguments=(hosts,))
        page = Page(browser, "eve")
        await page.status("Connected, asking to be called eve")
        assert "hub.example" in await page.do("websocket")
        await page.say("hello")
        await page.sees("sent")
        await browser.open("evil", f"http://hub.example:{port}/?name=eve")
        assert "does not answer to" in await browser.do("text", page="evil", selector="body")


# -- without a connection -----------------------------------------------------------------------


@pytest.mark.needs("node", "chromium")
async def test_what_is_typed_while_the_server_is_away_is_sent_when_it_is_back(browser):
    async with served(LESSON) as server:
        page = await opened(browser, server.url)
        await page.say("before")
        await page.sees("sent")
        await server.kill()
        await page.status("No connection. Calling again")
        hidden = "document.querySelector('.note').hidden"
        assert await page.do("evaluate", script=hidden)  # the line is not back yet
        # More than the 16 packets that a server takes in one letter: the page dials by letters.
        typed = [f"line {number}" for number in range(30)]
        await page.say(*typed)
        assert await page.sees("waiting", 30) == typed
        await page.status("(30 waiting)")
        await server.start()
        await page.do(
            "see", selector="#status", text="Connected, asking to be called eve", within=15000
        )
        assert await page.sees("sent", 31) == ["before", *typed]
        assert await page.states() == [(text, "sent") for text in ["before", *typed]]
        # The break stands where it was: after what was said before, before what was typed in it.
        shown = await page.do("texts", selector=".mine p, .note p")
        gap = "The line was down here: what was said meanwhile is not shown."
        assert shown == ["before", gap, *typed]
        assert not await page.do("evaluate", script=hidden)
    assert heard(server) == ["before", *typed]


@pytest.mark.needs("node", "chromium")
async def test_what_was_under_way_when_the_server_died_is_for_a_person_to_decide(browser):
    async with served(LESSON) as server:
        page = await opened(browser, server.url)
        server.stop()
        await page.say("perhaps")
        await page.sees("on its way")
        await page.say("later")
        assert await page.sees("waiting") == ["later"]
        await server.kill()
        assert await page.sees("not confirmed") == ["perhaps"]
        await page.status("(1 waiting, 1 not confirmed)")
        await server.start()
        await page.do(
            "see", selector="#status", text="Connected, asking to be called eve", within=15000
        )
        assert await page.sees("sent") == ["later"]
        assert await page.states() == [("perhaps", "not confirmed"), ("later", "sent")]
        await page.do("click", selector="text=Send again >> visible=true")
        await page.sees("sent", 2)
        await page.status("Connected, asking to be called eve")
        focused = await page.do("evaluate", script="document.activeElement.id")
        assert focused == "text"
    assert heard(server) == ["later", "perhaps"]


@pytest.mark.needs("node", "chromium")
async def test_a_message_that_is_not_answered_is_not_confirmed_until_it_is(names, browser):
    stage, go_on = names["stage"], asyncio.Event()

    async def slow(sid, text):
        await go_on.wait()

    names["sio"].on(CHAT, slow)
    page = await opened(browser, stage.url, clock=True)
    await page.say("hm", "and")
    assert await page.sees("on its way") == ["hm"]
    await page.do("pass", time=6000)
    assert await page.sees("not confirmed") == ["hm"]
    assert await page.sees("on its way") == ["and"]
    go_on.set()
    assert await page.sees("sent", 2) == ["hm", "and"]
    await stage.settle()
    said = [m.emitted.data for m in stage.deliveries(CHAT).messages if m.emitted.sender == "eve"]
    assert said == ["'hm'", "'and'"]


@pytest.mark.needs("node", "chromium")
async def test_a_late_answer_to_a_message_that_was_removed_forgets_no_other(names, browser):
    answers = {text: asyncio.Event() for text in ("first", "second", "third")}

    async def slow(sid, text):
        await answers[text].wait()

    names["sio"].on(CHAT, slow)
    page = await opened(browser, names["stage"].url, clock=True)
    await page.say("first", "second")
    await page.sees("on its way")
    await page.do("pass", time=6000)
    await page.sees("not confirmed")
    await page.do("click", selector="text=Remove >> visible=true")
    await page.say("third")
    answers["first"].set()  # its answer is on the line before that to the second
    answers["second"].set()
    assert await page.sees("sent") == ["second"]
    assert await page.sees("on its way") == ["third"]
    answers["third"].set()
    assert await page.sees("sent", 2) == ["second", "third"]


@pytest.mark.needs("node", "chromium")
async def test_the_clients_own_buffer_stays_empty(names, browser):
    """When a computer wakes up, its client knows only when it is asked that the line is dead."""
    stage = names["stage"]
    page = await opened(browser, stage.url)
    await page.do("websocket")
    await page.say("before")
    await page.sees("sent")
    note = "(all) => all.forEach((one) => seen.push(one.target.dataset.state))"
    what = "document.querySelector('#log'), {subtree: true, attributeFilter: ['data-state']}"
    watch = f"window.seen = []; new MutationObserver({note}).observe({what})"
    await page.do("evaluate", script=watch)
    await page.do("clock", ahead=3_600_000)
    await page.say("after an hour's sleep")
    await page.sees("sent", 2)
    # It was never in doubt, and nobody was asked to send again what would be sent anyway.
    assert "not confirmed" not in await page.do("evaluate", script="seen")
    assert "waiting" in await page.do("evaluate", script="seen")
    await stage.settle()
    said = [m.emitted for m in stage.deliveries(CHAT).messages if m.cause_sender is None]
    mine = [one.data for one in said if one.sender.startswith(("eve", "guest"))]
    assert mine == ["'before'", '"after an hour\'s sleep"']


@pytest.mark.needs("node", "chromium")
async def test_a_refusal_is_told_and_what_was_typed_survives_a_reload(names, browser):
    stage, sio = names["stage"], names["sio"]

    def refuse(sid, environ):
        raise ConnectionRefusedError("closed for lunch")

    sio.on("connect", refuse)
    await browser.open("eve", stage.url + "/?name=eve")
    page = Page(browser, "eve")
    await page.status("The server refused the call: closed for lunch")
    await page.say("one", "two")
    assert await page.sees("waiting", 2) == ["one", "two"]
    await page.do("reload")
    assert await page.sees("waiting", 2) == ["one", "two"]
    await page.status("closed for lunch (2 waiting)")
    sio.on("connect", lambda sid, environ: None)
    await page.do("click", selector="#dial")
    await page.status("Connected, asking to be called eve")
    assert await page.sees("sent", 2) == ["one", "two"]
    await page.do("reload")
    await page.status("Connected, asking to be called eve")
    assert await page.states() == []
    await stage.settle()
    said = [m.emitted.data for m in stage.deliveries(CHAT).messages if m.cause_sender is None]
    assert said[-2:] == ["'one'", "'two'"]


@pytest.mark.needs("node", "chromium")
async def test_what_was_on_its_way_is_not_confirmed_after_a_reload(names, browser):
    go_on = asyncio.Event()

    async def slow(sid, text):
        await go_on.wait()

    names["sio"].on(CHAT, slow)
    page = await opened(browser, names["stage"].url)
    await page.say("hm", "and")
    await page.sees("on its way")
    await page.do("reload")
    assert await page.sees("not confirmed") == ["hm"]
    assert await page.sees("on its way") == ["and"]
    go_on.set()
    await page.sees("sent")
    await page.do("click", selector="text=Remove >> visible=true")
    assert await page.states() == [("and", "sent")]


@pytest.mark.needs("node", "chromium")
async def test_a_duplicated_tab_says_nothing_by_itself(names, browser):
    def refuse(sid, environ):
        raise ConnectionRefusedError("closed for lunch")

    names["sio"].on("connect", refuse)
    await browser.open("eve", names["stage"].url + "/?name=eve")
    page, copy = Page(browser, "eve"), Page(browser, "copy")
    await page.status("closed for lunch")
    await page.say("once")
    await page.sees("waiting")
    names["sio"].on("connect", lambda sid, environ: None)
    await page.do("duplicate", **{"as": "copy"})
    await copy.status("Connected, asking to be called eve (1 not confirmed)")
    await page.do("click", selector="#dial")
    await page.sees("sent")
    assert await copy.states() == [("once", "not confirmed")]


@pytest.mark.needs("node", "chromium")
async def test_a_browser_that_keeps_nothing_can_still_chat(names, browser):
    forbid = "Object.defineProperty(window, 'sessionStorage', {get() { throw new Error('no') }})"
    page = await opened(browser, names["stage"].url, init=forbid)
    await page.say("hello")
    await page.sees("sent")
    assert await page.do("complaints") == []


@pytest.mark.needs("node", "chromium")
async def test_a_server_that_hangs_up_is_called_again_on_request(names, browser):
    stage, sio = names["stage"], names["sio"]
    page = await opened(browser, stage.url)
    [sid] = [sid for sid, _ in sio.manager.get_participants("/", None)][-1:]
    await sio.disconnect(sid)
    await page.status("The server hung up.")
    await page.say("still here")
    assert await page.sees("waiting") == ["still here"]
    await page.do("click", selector="#dial")
    await page.sees("sent")
    await page.status("Connected, asking to be called eve")


# -- for everybody ------------------------------------------------------------------------------


async def fits_and_is_accessible(page):
    """In every width and scheme: nothing that axe finds, nothing that sticks out."""
    for width in (1300, 390, 320):
        await page.do("resize", width=width, height=800)
        wide = "[document.documentElement, ...document.querySelectorAll('*')]"
        over = f"{wide}.filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)"
        over = await page.do("evaluate", script=f"{over}.map((e) => e.tagName)")
        assert [tag for tag in over if tag != "INPUT"] == []
        for scheme in ("light", "dark"):
            await page.do("scheme", value=scheme)
            assert await page.do("axe") == []


@pytest.mark.needs("node", "chromium")
async def test_the_page_is_accessible_and_fits_in_all_its_states(browser):
    async with served(LESSON) as server:
        page = await opened(browser, server.url)
        await page.say("x" * 500)
        await page.sees("sent")
        await fits_and_is_accessible(page)
        server.stop()
        await page.say("perhaps")
        await page.sees("on its way")
        await server.kill()
        await page.say("y" * 500)
        await page.sees("waiting")
        await page.sees("not confirmed")
        await fits_and_is_accessible(page)


@pytest.mark.needs("node", "chromium")
async def test_the_keyboard_is_enough(names, browser):
    go_on = asyncio.Event()

    async def slow(sid, text):
        await go_on.wait()

    page = await opened(browser, names["stage"].url, clock=True)
    names["sio"].on(CHAT, slow)
    for key in ("h", "i", "Enter"):
        await page.do("press", key=key)  # the field had the focus from the start
    assert await page.sees("on its way") == ["hi"]
    await page.do("pass", time=6000)
    await page.sees("not confirmed")
    where = "document.activeElement.ariaLabel ?? document.activeElement.id"
    outline = "getComputedStyle(document.activeElement).outlineWidth"
    reached = []
    for _ in range(3):
        await page.do("press", key="Shift+Tab")
        reached.append(await page.do("evaluate", script=where))
        assert await page.do("evaluate", script=outline) == "3px"
    assert reached == ["Remove: hi", "Send again: hi", "Messages"]
    await page.do("press", key="Tab")
    await page.do("press", key="Enter")
    await page.sees("on its way")
    assert await page.do("evaluate", script=where) == "text"
    await page.do("pass", time=6000)
    await page.sees("not confirmed")
    await page.do("press", key="Shift+Tab")
    go_on.set()  # the late answer takes the button away under one's fingers
    await page.sees("sent")
    assert await page.do("evaluate", script=where) == "text"


@pytest.mark.needs("node", "chromium")
async def test_what_changes_is_said_aloud(names, browser):
    page = await opened(browser, names["stage"].url)
    roles = "['#status', '#log'].map((at) => document.querySelector(at).role)"
    assert await page.do("evaluate", script=roles) == ["status", "log"]
    assert await page.do("evaluate", script="document.querySelector('label').control.id") == "text"


def test_the_page_names_nothing_outside_but_by_hash():
    html = (NOTEBOOKS / "page/index.html").read_text("utf-8")
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == [
        "data:,",
        "chat.css",
        "socket.io.min.js",
        "chat.js",
    ]
