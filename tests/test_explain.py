"""For every message and every client there is exactly one reason, and it is the right one.

First against an independent model: `oracle.py` writes random scripts and follows them from the
script alone. A real stage plays them, and its answers must be those of the model, for every pair,
at every moment of quiet. Then by example: each reason's sentence, the pictures, and hostile input.
"""

import asyncio
import html
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import socketio

import oracle
from chatq import HandlerRaised, Reason, Stage
from chatq.table import width

# -- random scripts against the model -----------------------------------------------------------

SCRIPTS, BATCH, LENGTH = 520, 20, 25
#: Every fourth script is played with a journal that forgets: what is left must still be right.
SHORT_MEMORY = 45


class Players:
    """Plays the steps of a script on a real stage."""

    def __init__(self, sio, stage):
        self.sio = sio
        self.stage = stage
        self.clients = {}
        self.sids = {}
        self.banned = set()
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
            await self.sio.emit("chatted", token, room=room, skip_sid=sid, namespace=space)

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
            self.clients[name] = await self.stage.client(name, connect=False)
            self.equip(self.clients[name])

    async def _connect(self, step):
        if step.fresh:
            self.clients[step.name] = await self.stage.client(step.name, connect=False)
            self.equip(self.clients[step.name])
        refused = step.wait and step.name in self.banned and "/vip" in step.namespaces
        connecting = self.clients[step.name].connect(
            namespaces=[*step.namespaces], wait=step.wait
        )
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
        (m.emitted.event, m.emitted.data): {n: v.reason for n, v in m.verdicts.items()}
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
    Reason.FROZEN: "{event} waits before {name}",
}


def compare_one_by_one(seed, steps, world, stage):
    """What `reason` and `why` say of every pair, and that no cell of the table is empty."""
    table = stage.deliveries()
    for message, row in zip(table.messages, table.table().rows, strict=True):
        number, event = message.emitted.message, message.emitted.event
        key = (event, message.emitted.data)

        def check(passed, what, key=key):
            if not passed:
                what = f"message {key}: {what}"
                raise Mismatch(told(seed, steps, world.born[key], what))

        marks = row[-1 - len(oracle.NAMES) :]
        check([*marks] == [r.value for r in world.verdicts[key].values()], f"marks {marks}")
        for name, expected in world.verdicts[key].items():
            got = stage.reason(name, number)
            check(got is expected, f"{name}: expected {expected}, got {got}")
            why = stage.why(name, number)
            begins = BEGINNINGS.get(expected, "{name} did not get {event}")
            begins = begins.format(name=name, event=repr(event))
            check(why.startswith(begins) and why.endswith("."), f"{name}: {why!r}")
            nobody = "reached nobody" in why
            check(nobody is (key in world.unheard), f"{name}, reached somebody or not: {why!r}")


async def play(seed):
    steps = oracle.write_script(seed, LENGTH)
    world = oracle.World()
    sio = socketio.AsyncServer(async_mode="aiohttp")
    keep = SHORT_MEMORY if seed % 4 == 0 else 10_000
    async with Stage(sio, keep=keep) as stage:
        players = Players(sio, stage)
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
    return world


@pytest.mark.parametrize("first", range(0, SCRIPTS, BATCH))
async def test_every_reason_of_a_random_script_is_that_of_the_model(first):
    for seed in range(first, first + BATCH):
        try:
            await play(seed)
        except Mismatch as found:
            pytest.fail(str(found), pytrace=False)
        except Exception as error:
            steps = oracle.write_script(seed, LENGTH)
            error.add_note(told(seed, steps, 0, "played this script"))
            raise


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
    assert rare == {"SENT", "ON_THE_WAY"}  # a guest's, and a moment's: by example below
