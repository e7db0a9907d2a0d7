"""Lesson 09: right answers in other styles than the lesson's."""

from __future__ import annotations

import json

import socketio

from chatq import NatsManager, StoreError

from . import right

# -- 09.1 -----------------------------------------------------------------------------------------


@right("09.1")
def in_a_class(url):
    """A namespace, and another channel."""

    class Root(socketio.AsyncNamespace):
        async def on_say(self, sid, text):
            await self.emit("said", text, skip_sid=sid)

    sio = socketio.AsyncServer(
        async_mode="aiohttp", client_manager=NatsManager(url, channel="chat")
    )
    sio.register_namespace(Root("/"))
    return sio


@right("09.1")
async def in_a_room(url):
    """A coroutine, and a room that everybody enters."""
    sio = socketio.AsyncServer(async_mode="asgi", client_manager=NatsManager(url))

    @sio.event
    async def connect(sid, environ):
        await sio.enter_room(sid, "all")

    @sio.on("*")
    async def anything(event, sid, text):
        await sio.emit("said", text, room="all", skip_sid=[sid])

    return sio


@right("09.1")
def in_the_background(url):
    """The handler does not wait until the others have it."""
    manager = NatsManager(url, patience=5)
    sio = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)

    def say(sid, text):
        sio.start_background_task(sio.emit, "said", text, skip_sid=sid)

    sio.on("say", say)
    return sio


@right("09.1")
async def without_a_manager(url):
    """What is said goes through a subject of NATS, and each server emits it to its own clients."""
    import nats

    async def quiet(error):
        """A node that is gone is looked for again."""

    sio = socketio.AsyncServer(async_mode="aiohttp")
    host, _, chat = url.removeprefix("nats://").partition("/")
    subject = f"chat-{chat}"
    connection = await nats.connect(f"nats://{host}", error_cb=quiet)

    async def heard(message):
        sid, text = json.loads(message.data)
        await sio.emit("said", text, skip_sid=sid)

    await connection.subscribe(subject, cb=heard)
    await connection.flush()

    @sio.event
    async def say(sid, text):
        await connection.publish(subject, json.dumps([sid, text]).encode())
        await connection.flush()

    return sio


# -- 09.2 -----------------------------------------------------------------------------------------


@right("09.2")
def in_another_class(sio, queues):
    """A namespace, and a key of its own form."""

    class Root(socketio.AsyncNamespace):
        async def on_pickup(self, sid, package):
            try:
                await queues.emit("pickup", package, to="drivers", key=f"package {package}")
            except StoreError:
                return False
            else:
                return True

        async def on_drive(self, sid):
            await queues.subscribe(sid, "drivers", window=1)

    sio.register_namespace(Root("/"))


@right("09.2")
def many_at_once(sio, queues):
    """`emit_many`, with the message made before."""

    @sio.event
    async def pickup(sid, package):
        message = queues.message("pickup", package, to="drivers", key=package)
        return await stored(message)

    async def stored(message):
        try:
            return bool(await queues.emit_many([message]))
        except StoreError:
            return False

    @sio.on("drive")
    async def drives(sid, *nothing):
        await queues.subscribe(sid, "drivers")


@right("09.2")
def remembers_what_is_stored(sio, queues):
    """What is known to be stored need not be asked again; the key is for all other cases."""
    stored = set()

    @sio.on("*")
    async def anything(event, sid, *arguments):
        if event == "drive":
            await queues.subscribe(sid, "drivers", window=4)
            return None
        (package,) = arguments
        if package not in stored:
            try:
                await queues.emit("pickup", package, to="drivers", key=package)
            except Exception:
                return False
            stored.add(package)
        return True


@right("09.2")
def asks_again_by_itself(sio, queues):
    """It tries a second time by itself, with the same key, before it says that nobody knows."""

    @sio.event
    async def pickup(sid, package):
        for _ in range(2):
            try:
                await queues.emit("pickup", package, to="drivers", key=package)
            except StoreError:
                continue
            return True
        return False

    @sio.event
    async def drive(sid):
        await queues.subscribe(sid, "drivers")


@right("09.2")
def once_more_by_itself(sio, queues):
    """Tries again by itself, with the same key, before it says that nobody knows."""

    @sio.event
    async def pickup(sid, package):
        for _ in range(2):
            try:
                await queues.emit("pickup", package, to="drivers", key=package)
            except StoreError:
                continue
            return True
        return False

    @sio.event
    async def drive(sid):
        await queues.subscribe(sid, "drivers")
