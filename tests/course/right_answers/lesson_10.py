"""Right answers to lesson 10 in other styles."""

from __future__ import annotations

import json

import socketio

from . import right

Refused = socketio.exceptions.ConnectionRefusedError
ROAD = "/drivers"


def name_of(auth):
    """The key that `auth` holds, or None."""
    return auth.get("key") if isinstance(auth, dict) else None


class Counters(socketio.AsyncNamespace):
    """The counters, as a class; `told`: what is delivered."""

    def __init__(self, queues, *, told=False):
        super().__init__("/")
        self.queues, self.told = queues, told

    async def on_join(self, sid, store):
        if self.told:
            await self.queues.subscribe(sid, f"reports-{store}", window=1)
        await self.enter_room(sid, store)

    async def on_pickup(self, sid, order):
        key = json.dumps([order["store"], order["orderId"]])
        try:
            await self.queues.emit("pickup", order, to="drivers", key=key)
        except OSError:
            return False
        return True


class Drivers(socketio.AsyncNamespace):
    """The drivers, as a class."""

    def __init__(self, who_is, queues=None):
        super().__init__(ROAD)
        self.who_is, self.queues = who_is, queues

    async def on_connect(self, sid, environ, auth):
        name = await self.who_is(name_of(auth))
        if not name:
            return False
        async with self.session(sid) as session:
            session["name"] = name
        if self.queues:
            await self.queues.subscribe(sid, "drivers", window=1)
        return True

    async def on_delivered(self, sid, order):
        queue, key = f"reports-{order['store']}", json.dumps(order)
        await self.queues.emit("delivered", order, to=queue, key=key)
        return True


def two_classes_of(sio, who_is, queues, subscribes=None, *, told=False):
    """Both classes, and a handler for the event whose name is no Python name."""
    sio.register_namespace(Counters(queues, told=told))
    sio.register_namespace(Drivers(who_is, subscribes))

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        async with sio.session(sid, ROAD) as session:
            news = order, session["name"]
        await sio.emit("in-transit", news, room=order["store"])


def by_hand(sio, queues, who_is, *, subscribes=True, reports=False):
    """Names in a variable, for as long as their drivers are there; the door asks last."""
    names = {}

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        if subscribes:
            await queues.subscribe(sid, "drivers")  # nothing comes before he is let in
        names[sid] = await who_is(name_of(auth))
        if names[sid] is None:
            raise Refused("who are you?")

    @sio.on("disconnect", namespace=ROAD)
    def disconnect(sid, reason):
        names.pop(sid, None)

    @sio.on("*", namespace=ROAD)
    async def report(event, sid, order):
        store = order["store"]
        if event == "in-transit":
            await sio.emit(event, (order, names[sid]), to=[store])
        elif reports and event == "delivered":
            key = "/".join((store, order["orderId"]))
            await queues.emit(event, order, to=f"{store} is told", key=key)
        return True

    @sio.on("join")
    async def join(sid, store):
        await sio.enter_room(sid, store)
        if reports:
            await queues.subscribe(sid, f"{store} is told")


def in_one_call(sio, queues, who_is, *, reports=False):
    """Messages are made first, and stored in one call; receipts come by a handler of its own."""
    for place in ("/", ROAD) if reports else (ROAD,):
        queues.attach(sio, place, listen=False)
        for event in ("received", "failed", "released", "working"):
            sio.on(event, getattr(queues.answers, event), namespace=place)

    async def put(event, order, queue):
        key = f"{order['store']}-{order['orderId']}"
        await queues.emit_many([queues.message(event, order, to=queue, key=key)])
        return True

    @sio.event
    async def pickup(sid, order):
        return await put("pickup", order, "drivers")

    @sio.event
    async def join(sid, store):
        if reports:
            await queues.subscribe(sid, f"told {store}", 4, namespace="/")
        await sio.enter_room(sid, store)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth=None):
        name = await who_is(name_of(auth))
        if name is None:
            raise Refused
        await sio.enter_room(sid, name, namespace=ROAD)
        await queues.subscribe(sid, "drivers", 4, namespace=ROAD)

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        (name,) = {*sio.rooms(sid, namespace=ROAD)} - {sid, None}
        await sio.emit("in-transit", (order, name), to=order["store"])

    if reports:

        @sio.on("delivered", namespace=ROAD)
        async def delivered(sid, order):
            return await put("delivered", order, f"told {order['store']}")


# -- 10.1 ---------------------------------------------------------------------------------------


@right("10.1")
def two_classes(sio, queues, who_is):
    """A class for each namespace; `False` refuses."""
    two_classes_of(sio, who_is, queues)


@right("10.1")
def names_by_hand(sio, queues, who_is):
    """No session: a dictionary of names; a catch-all handler."""
    by_hand(sio, queues, who_is, subscribes=False)


@right("10.1")
def the_whole_evening(sio, queues, who_is):
    """The server that has everything passes the first step, too."""
    in_one_call(sio, queues, who_is, reports=True)


# -- 10.2 ---------------------------------------------------------------------------------------


@right("10.2")
def two_classes_with_a_queue(sio, queues, who_is):
    """Strictly one order after the other; the key is JSON."""
    queues.attach(sio, ROAD)
    two_classes_of(sio, who_is, queues, queues)


@right("10.2")
def asked_last(sio, queues, who_is):
    """Subscribed before the door has asked: nothing comes to who is refused."""
    queues.attach(sio, namespace=ROAD)
    by_hand(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        key = f"{order['orderId']}@{order['store']}"
        return bool(await queues.emit("pickup", order, to="drivers", key=key))


@right("10.2")
def many_at_once(sio, queues, who_is):
    """Handlers of its own for the receipts."""
    in_one_call(sio, queues, who_is)


# -- 10.3 ---------------------------------------------------------------------------------------


@right("10.3")
def two_classes_with_queues(sio, queues, who_is):
    """Classes; the whole order is the key."""
    queues.attach(sio)
    queues.attach(sio, ROAD)
    two_classes_of(sio, who_is, queues, queues, told=True)


@right("10.3")
def all_by_hand(sio, queues, who_is):
    """One catch-all handler for both reports."""
    queues.attach(sio, namespace=ROAD)
    queues.attach(sio, namespace="/")
    by_hand(sio, queues, who_is, reports=True)

    @sio.event
    async def pickup(sid, order):
        key = f"{order['orderId']}@{order['store']}"
        await queues.emit("pickup", order, to="drivers", key=key)
        return True


@right("10.3")
def every_message_made_first(sio, queues, who_is):
    """One function for both ways."""
    in_one_call(sio, queues, who_is, reports=True)
