"""Lesson 09: misunderstandings of what several servers share, and of what an error may mean."""

from __future__ import annotations

import asyncio
import uuid

import socketio

from chatq import NatsManager, StoreError

from . import wrong

# -- 09.1 said at one server, heard at all --------------------------------------------------------


def chat(manager, emit):
    """A server on which `emit(sio, sid, text)` answers `say`."""
    sio = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)

    @sio.on("say")
    async def say(sid, text):
        await emit(sio, sid, text)

    return sio


async def to_all_others(sio, sid, text):
    await sio.emit("said", text, skip_sid=sid)


@wrong("09.1", client="cat", says="ada says 'hello', and cat is at the other server")
def no_manager(url):
    """Two servers with the same code are two servers: neither knows the other's clients."""
    return chat(None, to_all_others)


@wrong("09.1", client="cat", says="ada says 'hello', and cat is at the other server")
def a_channel_for_each(url):
    """Servers with different channels do not hear each other."""
    return chat(NatsManager(url, channel=f"chat-{uuid.uuid4().hex}"), to_all_others)


@wrong("09.1", client="cat", says="ada says 'hello', and cat is at the other server")
def write_only(url):
    """`write_only` is for a process without clients: it emits, and hears nothing."""
    return chat(NatsManager(url, write_only=True), to_all_others)


@wrong("09.1", client="ada", says="ada says 'hello', and need not be told")
def to_the_speaker_too(url):
    """To everyone is to everyone, the speaker too."""

    async def everyone(sio, sid, text):
        await sio.emit("said", text)

    return chat(NatsManager(url), everyone)


@wrong("09.1", client="cat", says="ada says 'hello', and cat is at the other server")
def one_by_one(url):
    """A server can list its own clients only: those at the other one are not in it."""

    async def each(sio, sid, text):
        for other, _ in [*sio.manager.get_participants("/", None)]:
            if other != sid:
                await sio.emit("said", text, to=other)

    return chat(NatsManager(url), each)


@wrong("09.1", client="bob", says="ada says 'hello', and bob is at the same server")
def only_to_the_speaker(url):
    """`to=sid` is the room of the one who spoke."""

    async def back(sio, sid, text):
        await sio.emit("said", text, to=sid)

    return chat(NatsManager(url), back)


@wrong("09.1", says="returned the same twice")
def one_server_for_both(url):
    """The same object again is no second server."""
    one = one_server_for_both.__dict__
    if one.get("url") != url:
        one.update(url=url, sio=chat(NatsManager(url), to_all_others))
    return one["sio"]


@wrong("09.1", says="returns None")
def no_return(url):
    """Without `return` nobody has the server."""
    chat(NatsManager(url), to_all_others)


# -- 09.2 a vendor who is told the truth ----------------------------------------------------------


def hub(sio, queues, pickup):
    """A hub with this `pickup(package)`."""

    @sio.on("pickup")
    async def _(sid, package):
        return await pickup(package)

    @sio.on("drive")
    async def _(sid):
        await queues.subscribe(sid, "drivers")


@wrong("09.2", client="vendor", says="O-2, while no node runs")
def pretends(sio, queues):
    """What raises was not confirmed: to say that it is stored is a lie."""

    async def pickup(package):
        try:
            await queues.emit("pickup", package, to="drivers", key=package)
        except StoreError:
            pass
        return True

    hub(sio, queues, pickup)


@wrong("09.2", client="vendor", says="O-2, while no node runs")
def answers_first(sio, queues):
    """Answered before anything was stored."""
    work = set()

    async def pickup(package):
        task = asyncio.ensure_future(queues.emit("pickup", package, to="drivers", key=package))
        work.add(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return True

    hub(sio, queues, pickup)


@wrong("09.2", client="vendor", says="O-2, while no node runs")
def lets_it_raise(sio, queues):
    """A handler that raises tells nobody anything: the vendor waits for an answer."""

    async def pickup(package):
        await queues.emit("pickup", package, to="drivers", key=package)
        return True

    hub(sio, queues, pickup)


def told(sio, queues, key):
    """The solution, with another `key(package)`."""

    async def pickup(package):
        try:
            await queues.emit("pickup", package, to="drivers", key=key(package))
        except StoreError:
            return False
        return True

    hub(sio, queues, pickup)


@wrong("09.2", client="ada", says="drives at the other server: 'O-1'")
def no_key(sio, queues):
    """Without a key, what is handed over twice is two messages."""
    told(sio, queues, lambda package: None)


@wrong("09.2", client="ada", says="drives at the other server: 'O-1'")
def a_new_key_each_time(sio, queues):
    """A key that is new each time knows nothing again."""
    told(sio, queues, lambda package: uuid.uuid4().hex)


@wrong("09.2", client="ada", says="drives at the other server: 'O-2'")
def one_key_for_all(sio, queues):
    """The key says which message it is: the same for all, and only the first is kept."""
    told(sio, queues, lambda package: "pickup")


@wrong("09.2", client="ada", says="drives at the other server: 'O-1'")
def known_in_memory(sio, queues):
    """What one server has seen, the other has not."""
    seen = set()

    async def pickup(package):
        try:
            if package not in seen:
                await queues.emit("pickup", package, to="drivers")
        except StoreError:
            return False
        seen.add(package)
        return True

    hub(sio, queues, pickup)


@wrong("09.2", client="vendor", says="O-2, while no node runs")
def a_plain_emit(sio, queues):
    """An emit reaches who is there: ada is off, and a room keeps nothing."""

    async def pickup(package):
        await sio.emit("pickup", package, to="drivers")
        return True

    hub(sio, queues, pickup)
