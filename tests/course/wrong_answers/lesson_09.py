"""Lesson 09: misunderstandings of what several servers share, and of what an error may mean."""

from __future__ import annotations

import asyncio
import uuid

import socketio
from socketio.async_pubsub_manager import AsyncPubSubManager

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


@wrong("09.1", says="both were given the same object")
def one_manager_for_both(url):
    """A client manager is the server's own, as its clients are."""
    kept = one_manager_for_both.__dict__
    if kept.get("url") != url:
        kept.update(url=url, manager=NatsManager(url))
    return chat(kept["manager"], to_all_others)


class _Deaf(AsyncPubSubManager):
    """Publishes where nobody reads."""

    async def _publish(self, data):
        pass

    async def _listen(self):
        await asyncio.Event().wait()
        yield


@wrong("09.1", client="ada", says="has not come in 8 s: its manager is a _Deaf")
def another_broker(url):
    """A manager for another broker, which nobody runs."""
    return chat(_Deaf(), to_all_others)


@wrong("09.1", says="no NATS was found in 5 s")
def another_address(url):
    """The address of another day is in the code, instead of the one that is given."""
    return chat(NatsManager("nats://127.0.0.1:9"), to_all_others)


@wrong("09.1", client="cat", says="ada says 'hello', and cat is at the other server")
def not_over_the_queue(url):
    """`ignore_queue=True` leaves out the client manager's way to the others."""

    async def here(sio, sid, text):
        await sio.emit("said", text, skip_sid=sid, ignore_queue=True)

    return chat(NatsManager(url), here)


@wrong("09.1", client="ada", says="hears said ''")
def what_is_empty_is_nothing(url):
    """A text may be empty: that was said, too."""

    async def spoken(sio, sid, text):
        if text:
            await sio.emit("said", text, skip_sid=sid)

    return chat(NatsManager(url), spoken)


@wrong("09.1", client="ada", says="hears said 'hi', then said 'hi'")
def said_before(url):
    """Who says the same again is taken for an echo."""
    last = [None]

    async def new(sio, sid, text):
        if text != last[0]:
            last[0] = text
            await sio.emit("said", text, skip_sid=sid)

    return chat(NatsManager(url), new)


@wrong("09.1", client="ada", says="bob says 'at your service', and ada is at the same server")
def whoever_spoke_first(url):
    """The one who is left out is the one who has spoken first, for ever."""
    first = []

    async def others(sio, sid, text):
        first.append(sid)
        await sio.emit("said", text, skip_sid=[sid, *first])

    return chat(NatsManager(url), others)


def _one_program():
    servers = []

    def all_in_one_list(url):
        """The servers find each other in a list, which another program has not."""
        if len(servers) == 2:  # those of another chat
            servers.clear()

        async def each(sio, sid, text):
            for server in servers:
                await server.emit("said", text, skip_sid=sid)

        servers.append(chat(None, each))
        return servers[-1]

    return all_in_one_list


wrong("09.1", client="cat", says="ada says 'hello', and cat is at the other server")(_one_program())


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


@wrong("09.2", client="ada", says="drives at the other server: 'O-1'")
def a_key_for_each_vendor(sio, queues):
    """The number says which package it is, whoever hands it over."""

    @sio.event
    async def pickup(sid, package):
        try:
            await queues.emit("pickup", package, to="drivers", key=f"{sid} {package}")
        except StoreError:
            return False
        return True

    @sio.event
    async def drive(sid):
        await queues.subscribe(sid, "drivers")


@wrong("09.2", client="ada", says="one of the drivers gets 'o-1' once")
def in_capital_letters(sio, queues):
    """Numbers that differ are different packages."""
    told(sio, queues, lambda package: package.upper())


@wrong("09.2", client="anybody", says="and the queue does not answer")
def known_before_it_is_stored(sio, queues):
    """What was handed over once is taken to be stored, though nobody knows."""
    seen = set()

    async def pickup(package):
        if package in seen:
            return True
        seen.add(package)
        try:
            await queues.emit("pickup", package, to="drivers", key=package)
        except StoreError:
            return False
        return True

    hub(sio, queues, pickup)


@wrong("09.2", client="vendor", says="again, at the other server: the answer was lost")
def a_new_one_or_not(sio, queues):
    """`False` means that nobody knows, and not that it was known already."""
    ids = sio.ids = getattr(queues.store, "ids", set())
    queues.store.ids = a_new_one_or_not.__dict__.setdefault("ids", ids)

    async def pickup(package):
        try:
            id = await queues.emit("pickup", package, to="drivers", key=package)
        except StoreError:
            return False
        new = id not in queues.store.ids
        queues.store.ids.add(id)
        return new

    hub(sio, queues, pickup)


@wrong("09.2", client="vendor", says="O-2, while no node runs")
def another_error(sio, queues):
    """What a store raises is a `StoreError`, not a `TimeoutError`."""

    async def pickup(package):
        try:
            await queues.emit("pickup", package, to="drivers", key=package)
        except TimeoutError:
            return False
        return True

    hub(sio, queues, pickup)


def hub_with(sio, queues, drive):
    """The solution, with another `drive(sid)`."""
    told(sio, queues, lambda package: package)
    sio.on("drive", drive)


@wrong("09.2", client="ada", says="drives at the other server: 'O-1'")
def in_a_room(sio, queues):
    """A room is no queue: nothing that is kept is sent to it."""

    async def drive(sid):
        await sio.enter_room(sid, "drivers")

    hub_with(sio, queues, drive)


@wrong("09.2", client="ada", says="one of the drivers gets")
def one_driver_only(sio, queues):
    """Who has driven first keeps the seat, also when he is gone."""
    driving = []

    async def drive(sid):
        driving.append(sid)
        if len(driving) == 1:
            await queues.subscribe(sid, "drivers")

    hub_with(sio, queues, drive)


@wrong("09.2", client="vendor", says="O-2, while no node runs")
def tries_again_and_forgets(sio, queues):
    """It tries once more by itself, and takes the second silence for a yes."""

    async def pickup(package):
        for _ in range(2):
            try:
                await queues.emit("pickup", package, to="drivers", key=package)
                break
            except StoreError:
                pass
        return True

    hub(sio, queues, pickup)
