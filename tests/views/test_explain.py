"""For every message and every client there is exactly one reason, and it is the right one.

First against an independent model: `oracle.py` writes random scripts and follows them from the
script alone. A real stage plays them, and its answers must be those of the model, for every pair,
at every moment of quiet; and its journal must be the same on both networks. Then by example: each
reason's sentence, the pictures, and hostile input.
"""

import asyncio
import html
import logging
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from urllib.parse import quote, unquote

import oracle
import pytest
import socketio
from sizes import first
from socketio.msgpack_packet import MsgPackPacket
from socketio.packet import EVENT, Packet

from chatq import HandlerRaised, NotSettled, Reason, Stage
from chatq.waiting import give_way

# -- random scripts against the model -----------------------------------------------------------

#: Shown by example in `test_queue_tap.py`.
OF_QUEUES = {Reason.WAITING, Reason.OTHER_CONSUMER, Reason.EXPIRED, Reason.DEAD}
#: A guest's, a moment's, and that of who is elsewhere: shown by example below.
BY_EXAMPLE = {"SENT", "ON_THE_WAY", "OTHER_SERVER"}
SCRIPTS, BATCH, LENGTH = 520, 20, 25
#: Every fourth script is played with a journal that forgets: what is left must still be right.
SHORT_MEMORY = 45
SILENT = logging.getLogger("tests.silent")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def strict(packet_class, event):
    """Return a packet class that cannot take in this event."""

    class Strict(packet_class):
        def decode(self, encoded):
            decoded = super().decode(encoded)
            if self.packet_type == EVENT and self.data[0] == event:
                raise ValueError(f"no {event} here")
            return decoded

    return Strict


class Players:
    """Plays the steps of a script on a real stage."""

    def __init__(self, sio, stage, packets):
        self.packets = packets
        self.sio = sio
        self.stage = stage
        self.clients = {}
        self.sids = {}
        self.banned = set()
        self.background = set()
        self.greeted = 0

    async def play(self, step):
        await getattr(self, f"_{step.what}")(step)

    # -- the server and the clients of every script -----------------------------------------------

    def equip_server(self):
        def guard(sid, environ):
            if environ["HTTP_X_CHATQ_NAME"] in self.banned:
                raise socketio.exceptions.ConnectionRefusedError("members only")

        async def greet(sid, environ):
            self.greeted += 1
            text = f"{environ['HTTP_X_CHATQ_NAME']} {self.greeted}"
            await self.sio.emit("hello", text, to=sid, namespace="/a")

        self.sio.on("connect", guard, namespace="/vip")
        self.sio.on("connect", greet, namespace="/a")
        for space, events in oracle.SERVED.items():
            if space == "/vip":
                self.sio.on("*", self._anything, namespace=space)
                continue
            for event in events:
                self.sio.on(event, self._listener(event, space), namespace=space)

    def _listener(self, event, space):
        async def listen(sid, token):
            await self._answer(event, space, sid, token)

        return listen

    async def _anything(self, event, sid, token):
        await self._answer(event, "/vip", sid, token)

    async def _answer(self, event, space, sid, token):
        if event == "trip":
            raise KeyError(token)
        if event in ("chat", "whisper"):
            room = None if event == "chat" else oracle.WHISPER_ROOM

            def passes_on():
                return self.sio.emit("chatted", token, room=room, skip_sid=sid, namespace=space)

            match token % 4:
                case 0:
                    self.sio.start_background_task(passes_on)
                case 1:
                    self.background.add(asyncio.create_task(self._later(passes_on)))
                case _:
                    await passes_on()

    async def _later(self, passes_on):
        for _ in range(10):
            await give_way()
        await passes_on()

    def equip(self, client):
        for space, events in oracle.LISTENS[client.name].items():
            if client.name == "dee" and space == "/vip":
                client.register_namespace(Vip("/vip"))
            elif client.name == "dee" and space == "/a":
                client.on("*", self._catch_all, namespace=space)
            else:
                for event in events:
                    client.on(event, self._handler(client.name, event), namespace=space)

    def _handler(self, name, event):
        async def clumsy(data):
            raise ValueError(f"{name} cannot read {data}")

        return clumsy if event == "boom" and name in oracle.CLUMSY else lambda data: None

    def _catch_all(self, event, data):
        if event == "boom":
            raise ValueError(data)

    # -- the steps --------------------------------------------------------------------------------

    async def open(self):
        self.equip_server()
        for name in oracle.NAMES:
            await self._make(name)

    async def _make(self, name):
        own = (
            {"serializer": strict(self.packets, oracle.STRICT[name])}
            if name in oracle.STRICT
            else {}
        )
        self.clients[name] = await self.stage.client(name, connect=False, **own)
        self.equip(self.clients[name])

    async def _connect(self, step):
        if step.fresh:
            await self._make(step.name)
        refused = step.wait and step.name in self.banned and "/vip" in step.namespaces
        connecting = self.clients[step.name].connect(namespaces=[*step.namespaces], wait=step.wait)
        if refused:
            with pytest.raises(socketio.exceptions.ConnectionError):
                await connecting
        else:
            await connecting

    async def _disconnect(self, step):
        await self.clients[step.name].disconnect()

    async def _kick(self, step):
        await self.sio.disconnect(self._sid(step.name, step.namespace), step.namespace)

    async def _cut(self, step):
        await self.stage.cut(step.name)

    async def _drop(self, step):
        client = self.clients[step.name]
        client.reconnection, client.reconnection_delay, client.randomization_factor = True, 0.001, 0
        before = {client.get_sid(space) for space in client.connection_namespaces}
        await self._cut(step)
        await self.stage.until(
            lambda: all(
                client.get_sid(space) not in {None, *before}
                for space in client.connection_namespaces
            ),
            f"{step.name} to be back",
        )
        client.reconnection = False

    async def _gasp(self, step):
        await self._cut(step)
        await self._say(step)

    async def _miss(self, step):
        await self._cut(step)
        await self._emit(step)

    async def _freeze(self, step):
        await self.stage.freeze(step.name)

    async def _thaw(self, step):
        await self.stage.thaw(step.name)

    async def _ban(self, step):
        self.banned.add(step.name)

    async def _unban(self, step):
        self.banned.discard(step.name)

    async def _enter(self, step):
        sid = self._sid(step.name, step.namespace)
        await self.sio.enter_room(sid, step.room, namespace=step.namespace)

    async def _leave(self, step):
        sid = self._sid(step.name, step.namespace)
        await self.sio.leave_room(sid, step.room, namespace=step.namespace)

    async def _close(self, step):
        await self.sio.close_room(step.room, namespace=step.namespace)

    async def _say(self, step):
        client = self.clients[step.name]
        await client.emit(step.event, step.token, namespace=step.namespace)

    async def _emit(self, step):
        options = {"namespace": step.namespace}
        if step.to is not None:
            to = [self.sids.get(target, target) for target in step.to]
            options["to" if step.token % 2 else "room"] = to[0] if len(to) == 1 else to
        if step.skip:
            skip = [self.sids[sid] for sid in step.skip]
            options["skip_sid"] = skip[0] if len(skip) == 1 and step.token % 3 else skip
        await self.sio.emit(step.event, step.token, **options)

    async def _settle(self, step):
        await self.stage.settle()

    def learn(self, sids):
        """Write down the sids of those that have come in since the last time."""
        for sid in sids[len(self.sids) :]:
            name, space, _ = sid
            self.sids[sid] = self.clients[name].get_sid(space)

    def _sid(self, name, space):
        return [sid for key, sid in self.sids.items() if key[:2] == (name, space)][-1]


class Vip(socketio.AsyncClientNamespace):
    """dee's handlers in /vip, as methods."""

    def on_news(self, data):
        pass

    def on_boom(self, data):
        raise ValueError(data)


class Mismatch(AssertionError):
    """chatq and the model disagree."""


def told(seed, steps, at, what):
    lines = [f"{i + 1:>3}{'*' if i == at - 1 else ' '} {step}" for i, step in enumerate(steps)]
    return "\n".join([f"seed {seed}, step {at}: {what}", *lines])


def compare(seed, steps, world, stage):
    """Every message there is, and for each of them the verdict of everybody."""
    got = {
        (m.emitted.event, m.emitted.data): {n: v.reason for n, v in m.explanations.items()}
        for m in stage.deliveries().messages
    }
    unknown = got.keys() - world.verdicts.keys()
    missing = world.verdicts.keys() - got.keys() if not stage.journal.forgotten else set()
    if unknown or missing:
        raise Mismatch(told(seed, steps, world.step, f"too many {unknown}, missing {missing}"))
    for key, reasons in got.items():
        expected = world.verdicts[key]
        if reasons == expected:
            continue
        wrong = "; ".join(
            f"{name}: expected {expected.get(name)}, got {reasons.get(name)}"
            for name in expected.keys() | reasons.keys()
            if expected.get(name) != reasons.get(name)
        )
        what = f"message {key}, seen at step {world.step}: {wrong}"
        raise Mismatch(told(seed, steps, world.born[key], what))


#: How the sentence of a reason begins, where it does not say that the message was not got.
BEGINNINGS = {
    Reason.RECEIVED: "{name} got {event}",
    Reason.RAISED: "{name} got {event}",
    Reason.SENDER: "{name} sent {event}",
    Reason.NO_HANDLER: "{event} arrived at {name}",
    Reason.NOT_UNDERSTOOD: "{event} arrived at {name}, which could not take it in",
    Reason.FROZEN: "{event} waits before {name}",
}


def compare_one_by_one(seed, steps, world, stage):
    """Return what `reason` and `why` answer for every pair; no cell of the table may be empty."""
    table = stage.deliveries()
    for message, row in zip(table.messages, table.table().rows, strict=True):
        number, event = message.emitted.message, message.emitted.event
        key = (event, message.emitted.data)

        def check(passed, what, key=key):
            if not passed:
                what = f"message {key}: {what}"
                raise Mismatch(told(seed, steps, world.born[key], what))

        marks = row[-1 - len(oracle.NAMES) :]
        expected = [
            reason.value + " late" * ((key, name) in world.late)
            for name, reason in world.verdicts[key].items()
        ]
        check([*marks] == expected, f"marks {marks}")
        for name, expected in world.verdicts[key].items():
            got = stage.reason(name, number)
            check(got is expected, f"{name}: expected {expected}, got {got}")
            why = stage.why(name, number)
            begins = BEGINNINGS.get(expected, "{name} did not get {event}")
            begins = begins.format(name=name, event=repr(event))
            check(why.startswith(begins) and why.endswith("."), f"{name}: {why!r}")
            nobody = "reached nobody" in why
            check(nobody is (key in world.unheard), f"{name}, reached somebody or not: {why!r}")


async def play(seed, network):
    """Return the facts of the journal."""
    steps = oracle.write_script(seed, LENGTH)
    world = oracle.World()
    packets = MsgPackPacket if seed % 7 == 3 else Packet
    sio = socketio.AsyncServer(
        async_mode="asgi" if seed % 3 == 1 else "aiohttp",
        serializer=strict(packets, oracle.STRICT[oracle.SERVER]),
        engineio_logger=SILENT,
    )
    keep = SHORT_MEMORY if seed % 4 == 0 else 10_000
    async with Stage(sio, keep=keep, network=network) as stage:
        players = Players(sio, stage, packets)
        await players.open()
        for step in steps:
            raised = 0
            try:
                await players.play(step)
            except HandlerRaised as error:
                raised = len(error.errors)
            if step.what == "settle":
                if raised != world.raised:
                    what = f"{world.raised} handlers raised, settle told of {raised}"
                    raise Mismatch(told(seed, steps, world.step, what))
                players.learn(world.sids)
                compare(seed, steps, world, stage)
            world.apply(step)
        if seed % 5 == 0:
            compare_one_by_one(seed, steps, world, stage)
        return [*map(repr, stage.journal)]


@pytest.mark.parametrize("start", first(2, range(0, SCRIPTS, BATCH)))
async def test_every_reason_of_a_random_script_is_that_of_the_model(start):
    for seed in range(start, start + BATCH):
        try:
            over_sockets = await play(seed, "sockets")
            in_memory = await play(seed, "memory")
        except Mismatch as found:
            pytest.fail(str(found), pytrace=False)
        except Exception as error:
            steps = oracle.write_script(seed, LENGTH)
            error.add_note(told(seed, steps, 0, "played this script"))
            raise
        assert in_memory == over_sockets, f"seed {seed}"


def test_the_scripts_are_worth_playing():
    """Each reason that a script can lead to comes up often enough to be compared."""
    seen = dict.fromkeys(Reason, 0)
    for seed in range(SCRIPTS):
        world = oracle.World()
        for step in oracle.write_script(seed, LENGTH):
            world.apply(step)
        for verdicts in world.verdicts.values():
            for reason in verdicts.values():
                seen[reason] += 1
    rare = {r.name for r, n in seen.items() if n < 60}
    queues = {reason.name for reason in OF_QUEUES}
    assert rare - queues == BY_EXAMPLE


# -- each reason by example ---------------------------------------------------------------------


@pytest.fixture
async def stage(network, stage):
    """What follows holds on both networks."""
    return stage


def hear(client, *events, namespace="/"):
    for event in events:
        client.on(event, lambda *data: None, namespace=namespace)


async def received(sio, stage):
    hear(await stage.client("ada"), "news")
    await sio.emit("news", 1)
    return "ada got 'news'."


async def sent(sio, stage):
    async with socketio.AsyncSimpleClient() as guest:
        await guest.connect(stage.url + "?name=zoe", transports=["websocket"])
        await sio.emit("news", 1)
        await guest.receive(timeout=5)
    return "'news' was sent to zoe; whether it arrived, only zoe knows."


async def no_handler(sio, stage):
    hear(await stage.client("ada"), "other")
    await sio.emit("news", 1)
    return "'news' arrived at ada, but no handler listens to that name."


async def raised(sio, stage):
    ada = await stage.client("ada")

    @ada.on("news")
    def read(data):
        raise ValueError("no glasses")

    await sio.emit("news", 1)
    with pytest.raises(HandlerRaised, match="no glasses"):
        await stage.settle()
    return "ada got 'news', but its handler raised ValueError: no glasses."


async def not_understood(sio, stage):
    ada = await stage.client("ada", serializer=strict(Packet, "news"))
    hear(ada, "news", "next")
    await sio.emit("news", 1)
    await sio.emit("next", 2)
    with pytest.raises(HandlerRaised, match=r"^ada could not take in 'news': ValueError: no news"):
        await stage.settle()
    assert stage.deliveries().who_got("next") == {"ada"}
    return "'news' arrived at ada, which could not take it in: ValueError: no news here."


async def sender(sio, stage):
    ada = await stage.client("ada")
    await ada.emit("news", 1)
    return "ada sent 'news' itself."


async def to_server(sio, stage):
    _, bob = await stage.clients("ada", "bob")
    await bob.emit("news", 1)
    return "ada did not get 'news': bob sent it to the server, and only there."


async def frozen(sio, stage):
    await stage.client("ada")
    await stage.freeze("ada")
    await sio.emit("news", 1)
    return "'news' waits before ada, which is frozen and reads nothing."


async def not_yet(sio, stage):
    await stage.client("ada", connect=False)
    await stage.client("bob")
    await sio.emit("news", 1)
    return "ada did not get 'news': it was not connected yet."


async def left(sio, stage):
    ada, _ = await stage.clients("ada", "bob")
    await sio.disconnect(ada.get_sid())
    await stage.settle()
    await sio.emit("news", 1)
    return "ada did not get 'news': it had already left (server disconnect)."


async def cut_off(sio, stage):
    await stage.clients("ada", "bob")
    await stage.cut("ada")
    await stage.settle()
    await sio.emit("news", 1)
    return "ada did not get 'news': its connection was already lost (transport close)."


def guard_vip(sio):
    @sio.on("connect", namespace="/vip")
    def guard(sid, environ):
        if environ["HTTP_X_CHATQ_NAME"] == "ada":
            raise socketio.exceptions.ConnectionRefusedError("members only")


async def refused(sio, stage):
    guard_vip(sio)
    await stage.client("bob", namespaces=["/vip"])
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stage.client("ada", namespaces=["/vip"])
    await stage.settle()
    await sio.emit("news", 1, namespace="/vip")
    return "ada did not get 'news': /vip had refused it (members only)."


async def other_namespace(sio, stage):
    guard_vip(sio)
    await stage.client("ada")
    await stage.client("bob", namespaces=["/vip"])
    await sio.emit("news", 1, namespace="/vip")
    return "ada did not get 'news': it is connected, but not to /vip."


async def other_server(sio, stage):
    async with Stage(socketio.AsyncServer(async_mode="aiohttp")) as other:
        ada, _ = await stage.clients("ada", "bob")
        await ada.disconnect()
        await ada.connect(other.url)
        await sio.emit("news", 1)
        return "ada did not get 'news': it was connected to another server."


async def not_addressed(sio, stage):
    _, bob = await stage.clients("ada", "bob")
    await sio.emit("news", 1, to=bob.get_sid())
    return "ada did not get 'news': it was sent to bob alone."


async def not_in_room(sio, stage):
    _, bob = await stage.clients("ada", "bob")
    await sio.enter_room(bob.get_sid(), "red")
    await sio.emit("news", 1, to=["red", "blue"])
    return "ada did not get 'news': it was not in room 'red' or 'blue'."


async def left_room(sio, stage):
    ada, bob = await stage.clients("ada", "bob")
    await sio.enter_room(bob.get_sid(), "red")
    await sio.enter_room(ada.get_sid(), "blue")
    await sio.leave_room(ada.get_sid(), "blue")
    await sio.emit("news", 1, to=["red", "blue"])
    return "ada did not get 'news': it had left room 'blue' before."


async def skipped(sio, stage):
    ada, _ = await stage.clients("ada", "bob")
    await sio.emit("news", 1, skip_sid=ada.get_sid())
    return "ada did not get 'news': it was left out by skip_sid."


async def lost(sio, stage):
    await stage.client("ada")
    await stage.freeze("ada")
    await sio.emit("news", 1)
    await stage.cut("ada")
    return "ada did not get 'news': the connection ended before it arrived."


SCENES = (
    *(received, sent, no_handler, raised, sender, to_server, frozen, not_yet, left, cut_off),
    *(
        not_understood,
        refused,
        other_namespace,
        other_server,
        not_addressed,
        not_in_room,
        left_room,
        skipped,
        lost,
    ),
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_each_reason_has_its_sentence(sio, stage, scene):
    sentence = await scene(sio, stage)
    await stage.settle()
    reason = Reason[scene.__name__.upper()]
    who = "zoe" if reason is Reason.SENT else "ada"
    assert stage.reason(who, "news") is reason
    assert stage.why(who, "news") == sentence


def test_there_is_a_scene_for_each_reason():
    by_itself = {Reason.ON_THE_WAY}  # the test below: it ends at settle
    scenes = {Reason[scene.__name__.upper()] for scene in SCENES}
    assert scenes == {*Reason} - by_itself - OF_QUEUES


async def test_before_settle_a_message_is_on_the_way(sio, stage):
    ada = await stage.client("ada")
    hear(ada, "news")
    await sio.emit("news", 1)
    assert stage.reason("ada", "news") is Reason.ON_THE_WAY
    assert stage.why("ada", "news") == "'news' is still on its way to ada: settle first."
    for ask in (stage.deliveries().who_got, stage.deliveries().reached):
        with pytest.raises(NotSettled, match=r"'news' is still on its way to ada: await .*settle"):
            ask("news")
    assert "news" in stage.deliveries()
    for ask in (lambda: "hello" in stage.deliveries(), lambda: stage.deliveries().nobody_got("x")):
        with pytest.raises(NotSettled, match=r"has emitted .* yet, but 1 packet is on "):
            ask()
    await ada.emit("hello")
    assert stage.why("server", "hello") == "'hello' is still on its way to server: settle first."
    await stage.settle()
    assert stage.reason("ada", "news") is Reason.RECEIVED
    assert stage.reason("server", "hello") is Reason.NO_HANDLER
    assert "x" not in stage.deliveries()


async def test_a_leak_is_seen_where_nobody_listens(sio, stage):
    ada, bob, _, dee = await stage.clients("ada", "bob", "cy", "dee")
    hear(ada, "secret")
    bob.on("secret", lambda: 1 / 0)
    await sio.enter_room(dee.get_sid(), "out")
    await sio.emit("secret", skip_sid=dee.get_sid())
    await ada.emit("tell")
    with pytest.raises(HandlerRaised):
        await stage.settle()
    assert stage.deliveries().who_got("secret") == {"ada"}
    assert stage.deliveries().reached("secret") == {"ada", "bob", "cy"}
    assert stage.deliveries().reached("tell") == {"server"}


async def test_a_client_that_froze_and_was_cut_is_not_frozen_when_it_comes_again(sio, stage):
    ada = await stage.client("ada")
    await stage.freeze("ada")
    await stage.cut("ada")
    await stage.settle()
    await ada.connect()
    await sio.emit("news", 1)
    assert stage.reason("ada", "news") is Reason.ON_THE_WAY
    await stage.settle()
    assert stage.reason("ada", "news") is Reason.NO_HANDLER


async def test_the_sender_that_skip_sid_leaves_out_is_called_the_sender(sio, stage):
    @sio.on("chat")
    async def chat(sid, text):
        await sio.emit("chat", text, skip_sid=sid)

    ada, bob = await stage.clients("ada", "bob")
    hear(bob, "chat")
    await ada.emit("chat", "hi")
    await stage.settle()
    assert stage.why("ada", 2) == (
        "ada did not get 'chat': it was the sender that skip_sid left out."
    )
    assert stage.why("ada", 1) == "ada sent 'chat' itself."
    assert stage.why("server", 1) == "server got 'chat'."


async def test_who_was_refused_left_by_itself_and_was_not_cut_off(sio, stage):
    """python-socketio's client says goodbye to all namespaces when one refuses it."""
    guard_vip(sio)
    await stage.client("bob")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stage.client("ada", namespaces=["/", "/vip"])
    await stage.settle()
    await sio.emit("news", 1)
    assert stage.reason("ada", "news") is Reason.LEFT


async def test_a_polite_goodbye_stays_polite_when_the_client_comes_back_elsewhere(sio, stage):
    sio.on("connect", lambda sid, environ: None, namespace="/a")
    ada = await stage.client("ada", namespaces=["/", "/a"])
    await ada.disconnect()
    await stage.settle()
    await ada.connect(namespaces=["/"])
    await sio.emit("news", 1, namespace="/a")
    assert stage.reason("ada", "news") is Reason.LEFT


async def test_who_was_here_before_is_not_said_to_be_not_here_yet(sio, stage):
    await stage.clients("ada", "bob")
    await stage.cut("ada")
    await stage.settle()
    await sio.emit("news", 1, namespace="/a")
    assert stage.reason("ada", "news") is Reason.CUT_OFF
    assert stage.reason("bob", "news") is Reason.OTHER_NAMESPACE


async def test_rooms_of_one_name_in_two_namespaces_are_two_rooms(sio, stage):
    sio.on("connect", lambda sid, environ: None, namespace="/a")
    ada = await stage.client("ada", namespaces=["/", "/a"])
    for space in ("/", "/a"):
        await sio.enter_room(ada.get_sid(space), "red", namespace=space)
    await sio.leave_room(ada.get_sid("/a"), "red", namespace="/a")
    await sio.emit("here", 1, to="red", skip_sid=ada.get_sid())
    await sio.emit("there", 1, to="red", namespace="/a", skip_sid=ada.get_sid("/a"))
    assert stage.reason("ada", "here") is Reason.SKIPPED
    assert stage.reason("ada", "there") is Reason.LEFT_ROOM


async def test_a_number_and_its_digits_are_two_rooms(sio, stage):
    ada, bob = await stage.clients("ada", "bob")
    await sio.enter_room(ada.get_sid(), 17)
    await sio.enter_room(bob.get_sid(), "17")
    await sio.emit("news", 1, to="17")
    await stage.settle()
    assert stage.why("ada", "news") == "ada did not get 'news': it was not in room '17'."
    await sio.leave_room(bob.get_sid(), "17")
    await sio.enter_room(bob.get_sid(), 17)
    await sio.leave_room(bob.get_sid(), 17)
    await sio.emit("news", 2, to=17)
    assert stage.why("bob", "news") == "bob did not get 'news': it had left room 17 before."


async def test_a_client_that_came_back_is_told_that_its_rooms_did_not(sio, stage):
    ada, bob = await stage.clients("ada", "bob")
    for client in (ada, bob):
        await sio.enter_room(client.get_sid(), "red")
    await sio.leave_room(bob.get_sid(), "red")
    for client in (ada, bob):
        await client.disconnect()
        await client.connect()
    await stage.settle()
    await sio.emit("news", 1, to="red")
    assert stage.reason("ada", "news") is stage.reason("bob", "news") is Reason.LEFT_ROOM
    again = "was in room 'red' on an earlier connection, and has not joined again"
    assert again in stage.why("ada", "news")
    assert "it had left room 'red' before" in stage.why("bob", "news")


@pytest.mark.parametrize("which", ["of another namespace", "of an earlier connection"])
async def test_a_sid_that_does_not_count_here_addresses_nobody_and_skips_nobody(sio, stage, which):
    sio.on("connect", lambda sid, environ: None, namespace="/a")
    ada = await stage.client("ada", namespaces=["/", "/a"])
    sid = ada.get_sid("/")
    if which == "of an earlier connection":
        sid = ada.get_sid("/a")
        await ada.disconnect()
        await stage.settle()
        await ada.connect(namespaces=["/a"])
    await sio.emit("addressed", 1, to=sid, namespace="/a")
    await sio.emit("skipped", 1, skip_sid=sid, namespace="/a")
    await stage.settle()
    assert stage.reason("ada", "addressed") is Reason.NOT_ADDRESSED
    why = stage.why("ada", "addressed")
    assert "skip_sid" not in why
    assert "sent to ada alone" not in why  # to one of its sids, and that is the point
    assert stage.reason("ada", "skipped") is Reason.NO_HANDLER
    assert not re.search(r"but ada\b(?!')", repr(stage.deliveries("skipped")))  # one of its sids


async def test_a_cut_is_known_once_settled_even_of_a_frozen_client(sio, stage):
    await stage.client("ada")  # alone: nobody else's messages give it time to read
    await stage.freeze("ada")
    for number in (1, 2, 3):
        await sio.emit("news", number)
    await stage.settle()
    await stage.cut("ada")
    await stage.settle()
    await sio.emit("more", 1)
    await stage.settle()
    assert [stage.reason("ada", number) for number in (1, 2, 3)] == [Reason.LOST] * 3
    assert stage.reason("ada", "more") is Reason.CUT_OFF


async def test_an_emit_that_reached_nobody_is_flagged(sio, stage):
    hear(await stage.client("ada"), "news", "gossip")
    await sio.emit("gossip", 1, to="nowhere")
    await sio.emit("news", 1)
    await stage.settle()
    assert stage.why("ada", "gossip") == (
        "ada did not get 'gossip': it was not in room 'nowhere'; the emit reached nobody at all."
    )
    assert "room 'nowhere' (nobody there)" in repr(stage.deliveries("gossip"))
    assert "nobody" not in stage.why("ada", "news") + repr(stage.deliveries("news"))


async def test_who_got_names_those_whose_handler_got_the_last_message_of_that_name(sio, stage):
    ada, bob, cy = await stage.clients("ada", "bob", "cy")
    hear(ada, "news")
    hear(bob, "news")
    hear(cy, "other")
    await sio.emit("news", 1)
    await sio.emit("news", 2, skip_sid=bob.get_sid())
    await ada.emit("hello")
    await stage.settle()
    table = stage.deliveries()
    assert table.who_got("news") == {"ada"}
    assert table.who_got("hello") == set()
    with pytest.raises(LookupError, match="'nwes'"):
        table.who_got("nwes")
    assert [m.got_by for m in table.messages] == [{"ada", "bob"}, {"ada"}, set()]


async def test_acknowledgements_are_shown(sio, stage):
    sio.on("ask", lambda sid, data: "yes")
    ada, bob = await stage.clients("ada", "bob")
    ada.on("news", lambda data: 42)
    hear(bob, "news")
    answers = []
    await sio.emit("news", 1, to=ada.get_sid(), callback=answers.append)
    await sio.emit("news", 2, to=bob.get_sid(), callback=lambda *a: answers.append(a))
    await ada.emit("ask", 3, callback=answers.append)
    await stage.settle()
    assert sorted(map(str, answers)) == ["()", "42", "yes"]
    assert stage.why("ada", 1) == "ada got 'news' and acknowledged it with 42."
    assert stage.why("bob", 2) == "bob got 'news' and acknowledged it with nothing."
    assert stage.why("server", 3) == "server got 'ask' and acknowledged it with 'yes'."
    assert stage.why("bob", 1) == "bob did not get 'news': it was sent to ada alone."
    cells = [row[-3:] for row in stage.deliveries().table().rows]
    assert [[*c] for c in cells] == [
        ["↗", "✓, ack 42", "· not meant"],
        ["↗", "· not meant", "✓, ack"],
        ["✓, ack 'yes'", "↗", "·"],
    ]


async def test_a_wrong_name_is_answered_with_those_that_there_are(sio, stage):
    await stage.clients("ada", "bob")
    with pytest.raises(LookupError, match=r"'news'.*nothing"):
        stage.why("ada", "news")
    await sio.emit("news", 1)
    await sio.emit("gossip", 1)
    await stage.settle()
    for ask in (stage.why, stage.reason):
        with pytest.raises(LookupError, match=r"'nwes'.*\['gossip', 'news'\]"):
            ask("ada", "nwes")
        with pytest.raises(LookupError, match=r"no message 3 .*\['gossip', 'news'\]"):
            ask("ada", 3)
        with pytest.raises(LookupError, match=r"'eve'.*\['ada', 'bob'\]"):
            ask("eve", "news")


async def test_the_name_of_an_event_means_its_last_message(sio, stage):
    ada = await stage.client("ada")
    hear(ada, "news")
    await sio.emit("news", 1, to="nowhere")
    await sio.emit("news", 2)
    await stage.settle()
    assert stage.reason(ada, "news") is Reason.RECEIVED
    assert stage.reason(ada, 1) is Reason.NOT_IN_ROOM


# -- the pictures -------------------------------------------------------------------------------


async def small_scene(sio, stage):
    @sio.on("chat")
    async def chat(sid, text):
        await sio.emit("chat", text, to="red", skip_sid=sid)

    ada, bob = await stage.clients("ada", "bob")
    hear(bob, "chat")
    await sio.enter_room(bob.get_sid(), "red")
    await ada.emit("chat", "hi")
    await stage.settle()
    await sio.emit("bye", to="blue")
    await stage.settle()
    await stage.cut("bob")
    await stage.settle()
    return stage


TABLE = """\
no.  message    from → to                            server  ada            bob
───  ─────────  ───────────────────────────────────  ──────  ─────────────  ─────────────
1    chat 'hi'  ada → server                         ✓       ↗              ·
2    chat 'hi'  server → room 'red' but ada          ↗       ✗ not in room  ✓
3    bye        server → room 'blue' (nobody there)  ↗       ✗ not in room  ✗ not in room
✓ got it   ↗ sent it   · not addressed: a client's emit goes to the server   ✗ did not get it, and why
"""  # noqa: E501 (its legend is one line)

DIAGRAM = """\
server   ada      bob
│        ┬                 ada connects
│        │        ┬        bob connects
│        │        +        bob joins room 'red'
✓────────●        │        chat 'hi'   (ada → server)
●────────·────────✓        chat 'hi'   (server → room 'red' but ada)
●────────·────────·        bye   (server → room 'blue' (nobody there))
│        │        ┴        bob is gone: transport close
● sends   ✓ got it   · not addressed   ┬ connects   ┴ is gone for the server   + joins
"""


async def test_the_table_as_text(sio, stage):
    await small_scene(sio, stage)
    assert repr(stage.deliveries()) == TABLE.rstrip("\n")


async def test_the_diagram_as_text(sio, stage):
    await small_scene(sio, stage)
    assert repr(stage.diagram()) == DIAGRAM.rstrip("\n")


SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg):
    """The texts that an SVG shows (not its titles and its description), and the root."""
    root = ElementTree.fromstring(svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")], root


async def test_the_svg_says_all_that_the_text_says_and_nothing_of_the_wire(sio, stage):
    await small_scene(sio, stage)
    sids = [*sio.manager.rooms["/"][None], *sio.eio.sockets]
    svg = stage.diagram().svg()
    texts, root = drawn(svg)
    assert root.find(f"{SVG}title").text
    assert root.find(f"{SVG}desc").text == repr(stage.diagram())
    bundle = stage.diagram()._repr_mimebundle_()
    assert bundle["text/plain"] == repr(stage.diagram())
    [image] = re.findall(
        r'<img class="chatq-picture" src="([^"]*)" alt="([^"]*)">', bundle["text/html"]
    )
    assert unquote(image[0].partition(",")[2]) == svg
    assert html.unescape(image[1]) == repr(stage.diagram())
    assert sids
    for secret in [*sids, stage.url.rsplit(":", 1)[1]]:
        assert secret not in svg
    for message in stage.deliveries().messages:
        label = f"{message.emitted.event} {message.emitted.data}".strip()
        assert any(label in text and "→" in text for text in texts), label
    assert {"ada", "bob", "server"} <= {*texts}
    assert any("bob is gone" in text for text in texts)


async def test_a_picture_fits_beside_a_file_browser_and_each_name_in_its_box(sio, stage):
    names = ["ada", "late vendor", "cy", "dan"]
    for client in await stage.clients(*names):
        client.on("announcement", lambda text: None)
    for guest in (stage["ada"], stage["cy"]):
        await sio.enter_room(guest.get_sid(), "the book club")
    text = "we have read page 135 of a book that is long"
    await sio.emit("announcement", text, to=["the book club", "the cooks"])
    await stage.settle()
    texts, root = drawn(stage.diagram().svg())
    assert int(root.get("width")) <= 470
    assert any(text.endswith("is long'") for text in texts)  # broken, not cut
    assert any(text.endswith("'the cooks'") for text in texts)
    boxes = [box for box in root.iter(f"{SVG}rect") if box.get("height") == "26"]
    for name, box in zip(["server", *names], boxes, strict=True):
        assert float(box.get("width")) >= 8 * len(name), name
    begins = [float(box.get("x")) for box in boxes]
    ends = [float(box.get("x")) + float(box.get("width")) for box in boxes]
    assert all(end < begin for end, begin in zip(ends, begins[1:], strict=False))


async def test_messages_alone_are_bold_wherever_a_row_is_written(sio, stage):
    namespace = "/a-namespace-with-a-name-that-is-so-long-that-it-stands-above-its-sign"
    sio.on("say", lambda sid, text: None, namespace=namespace)
    ada = await stage.client("ada", namespaces=[namespace])
    await ada.emit("say", "a text that is long enough for two lines " * 2, namespace=namespace)
    await stage.settle()
    _, root = drawn(stage.diagram().svg())
    spans = [(span.text, span.get("font-weight")) for span in root.iter(f"{SVG}tspan")]
    assert any(text.startswith("ada connects") for text, _ in spans)
    bold = "".join(text for text, weight in spans if weight)
    assert bold.startswith("say 'a text")
    assert "connects" not in bold
    assert "→" not in bold


async def test_the_picture_tells_a_failure_from_what_was_not_addressed(sio, stage):
    ada, bob, cy = await stage.clients("ada", "bob", "cy")
    for client in (ada, bob, cy):
        client.on("news", lambda text: None)
    await stage.freeze("cy")
    await sio.emit("news", "for all", skip_sid=ada.get_sid())
    await stage.settle()
    await stage.cut("cy")
    await stage.settle()
    _, root = drawn(stage.diagram("news").svg())
    marks = [(one.text, one.get("fill")) for one in root.iter(f"{SVG}text")]
    assert stage.reason("ada", "news") is Reason.SKIPPED
    assert stage.reason("cy", "news") is Reason.LOST
    assert [mark for mark in marks if mark[0] in ("✗", "·")] == [("·", "#444"), ("✗", "#fff")]
    filled = [one.get("fill") for one in root.iter(f"{SVG}circle") if one.get("r") == "9"]
    assert filled.count("#a01c1c") == 1  # the one that missed it; no other sign is filled
    assert {*filled} == {"#fff", "#a01c1c"}
    assert "· not addressed" in str(stage.diagram("news"))
    bars = [box for box in root.iter(f"{SVG}rect") if box.get("width") == "4"]
    stems = [float(bar.get("y")) for bar in bars]
    assert len(stems) == 4  # three connect, one is gone: its stem is above its bar
    assert [float(bar.get("y")) % 30 for bar in bars[:3]] != [stems[3] % 30] * 3


async def test_what_a_frozen_client_reads_is_drawn_where_it_arrives(sio, stage):
    """Ada reads one message in time, and one when the server has given her up."""
    ada, bob = await stage.clients("ada", "bob")
    for client in (ada, bob):
        hear(client, "news")
    for text in ("in time", "late"):
        await stage.freeze("ada")
        await sio.emit("news", text)
        if text == "late":
            await sio.disconnect(ada.get_sid())
        await stage.settle()
        await stage.thaw("ada")
        await stage.settle()
    assert [m.got_by for m in stage.deliveries("news").messages] == [{"ada", "bob"}] * 2
    cells = [row[-2] for row in stage.deliveries("news").table().rows]
    assert cells == ["✓", "✓ late"]
    assert stage.why("ada", 1) == "ada got 'news'."
    assert stage.why("ada", 2) == "ada got 'news', late: the server had given it up."
    said = [line.strip() for line in str(stage.diagram("news")).splitlines()]
    order = [next(i for i, line in enumerate(said) if what in line) for what in (
        "news 'in time'", "ada thaws", "news 'in time' arrives at ada",
        "news 'late'", "ada is gone", "news 'late' arrives at ada, late",
    )]  # fmt: skip
    assert order == sorted(order), stage.diagram("news")
    assert said[order[0]].count("…") == said[order[3]].count("…") == 1
    assert "✓" in said[order[5]]


HOSTILE = (
    "<script>alert(1)</script>",
    "\"double\" 'single' `back`",
    "&amp; ]]> --> </text></svg></table>",
    "漢字かな交じり文",
    "e\u0301tude mañana",
    "x" * 500,
    "two\nlines\r\nand\ttabs",
    "\u2028line separator\x85next line\x0bfeed\x0c",
    "nul \x00 bell \x07 escape \x1b[31m",
    "right to left \u202e gnp.exe",
)


class Tags(HTMLParser):
    """The tags of an HTML text and the words between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = set(), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data):
        self.words += data


@pytest.mark.parametrize("nasty", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("where", ["event", "data", "room", "error"])
async def test_hostile_text_is_shown_as_text(sio, stage, nasty, where):
    event = nasty if where == "event" else "news"
    ada, bob = await stage.clients("ada", "bob")
    hear(bob, event)

    @ada.on(event)
    def read(*data):
        if where == "error":
            raise ValueError(nasty)

    await sio.emit(event, nasty if where == "data" else 1)
    if where == "room":
        await sio.enter_room(ada.get_sid(), nasty)
        await sio.emit(event, 2, to=nasty)
    await sio.emit("last", 3)
    if where == "error":
        with pytest.raises(HandlerRaised):
            await stage.settle()
    await stage.settle()
    check_pictures(stage, ["ada", "bob"])
    sentence = stage.why("ada", 1)
    assert sentence.isprintable(), sentence


@pytest.mark.parametrize(
    "nasty", ["漢字<b>", "<script>'\"", "n" * 60, "two\nlines\x00"], ids=range(4)
)
async def test_hostile_names_are_shown_as_names(sio, stage, nasty):
    """The name of a guest comes out of its own request."""
    async with socketio.AsyncSimpleClient() as guest:
        await guest.connect(f"{stage.url}?name={quote(nasty)}", transports=["websocket"])
        await sio.emit("news", 1)
        await guest.receive(timeout=5)
    await stage.settle()
    name = nasty[:40] if nasty.isprintable() else "guest 1"
    check_pictures(stage, [name])
    assert stage.reason(name, "news") is Reason.SENT


def check_pictures(stage, names):
    """The table and the diagram keep their form, whatever is written in them."""
    table, diagram = stage.deliveries(), stage.diagram()
    lines = repr(table).split("\n")
    rows = len(table.messages)
    header, rule, *body = lines
    assert repr(table).splitlines() == lines  # nothing that any program takes for a line's end
    assert len(body) == rows + 1  # one line for each message, and the legend
    assert re.fullmatch("[─ ]+", rule)
    starts = [match.start() for match in re.finditer("─+", rule)]
    for line in [header, *body[:rows]]:
        at = 0
        begins = set()
        for i, letter in enumerate(line):
            if letter != " " and (i == 0 or line[i - 1] == " "):
                begins.add(at)
            at += columns(letter)
        assert {*starts} <= begins, line
    assert repr(diagram).splitlines() == repr(diagram).split("\n")
    page = Tags(table._repr_html_())
    allowed = {"div", "table", "thead", "tbody", "tr", "th", "td", "caption", "code"}
    allowed |= {"style", "span", "small", "wbr", "br"}
    assert page.tags <= allowed
    svg, root = drawn(diagram.svg())
    allowed = {"svg", "title", "desc", "rect", "text", "tspan", "path", "g", "circle", "style"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    for word in [w for m in table.messages for w in words(m.emitted.event)]:
        assert any(word in text for text in svg)
        assert word in page.words
    for word in [w for name in names for w in words(name)]:
        assert word in page.words


def columns(letter):
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def words(text):
    """The first words of a text, of long ones the beginning: they come through as they are."""
    return [word[:9] for word in re.findall(r"[^\W_]{2,}", text)[:3]]


async def test_who_got_it_before_it_was_let_in_is_told_apart(sio, stage):
    asked, answered = asyncio.Event(), asyncio.Event()

    async def gate(sid, environ, auth):
        await sio.emit("greeting", to=sid, namespace="/staff")
        asked.set()
        await answered.wait()

    sio.on("connect", gate, namespace="/staff")
    eve = await stage.client("eve", connect=False)
    for event in ("news", "greeting"):
        eve.on(event, lambda *data: None, namespace="/staff")
    knocking = asyncio.create_task(eve.connect(namespaces=["/staff"], auth="me"))
    await asked.wait()
    await sio.emit("news", 1, namespace="/staff")
    answered.set()
    await knocking
    await sio.emit("news", 2, namespace="/staff")
    await stage.settle()
    assert stage.why("eve", 1) == "eve got 'greeting'."  # it was for eve alone, and so meant
    assert stage.why("eve", 2) == "eve got 'news', though /staff had not let it in."
    assert stage.why("eve", 3) == "eve got 'news'."
    assert "✓ before it was let in" in repr(stage.deliveries())
