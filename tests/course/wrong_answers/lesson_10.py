"""Lesson 10: misunderstandings of the page of requirements, one part of a server at a time."""

from __future__ import annotations

import asyncio

import socketio

from . import wrong

Refused = socketio.exceptions.ConnectionRefusedError
ROAD = "/drivers"


# The parts of a right server: a wrong one has another part in the place of one of them.


def rooms(sio, queues=None):
    @sio.event
    async def join(sid, store):
        await sio.enter_room(sid, store)
        if queues:
            await queues.subscribe(sid, f"delivered {store}")


def door(sio, who_is, queues=None, queue="drivers"):
    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        name = await who_is(auth.get("key") if isinstance(auth, dict) else None)
        if name is None:
            raise Refused("no driver")
        await sio.save_session(sid, name, namespace=ROAD)
        if queues:
            await queues.subscribe(sid, queue)


def news(sio):
    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        name = await sio.get_session(sid, namespace=ROAD)
        await sio.emit("in-transit", (order, name), to=order["store"])


def orders(sio, queues):
    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['orderId']}"
        await queues.emit("pickup", order, to="drivers", key=key)
        return True


def service(sio, queues, who_is):
    """All but the handler of `delivered`."""
    queues.attach(sio, namespace=ROAD)
    queues.attach(sio)
    rooms(sio, queues)
    door(sio, who_is, queues)
    news(sio)
    orders(sio, queues)


# -- 10.1 ---------------------------------------------------------------------------------------


@wrong("10.1", client="eve", says="got       is let in")
def everybody_drives(sio, queues, who_is):
    """A namespace that only drivers know of is taken for a guarded one."""
    rooms(sio)

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        await sio.emit("in-transit", (order, "dan"), to=order["store"])


@wrong("10.1", client="eve", says="an `await` is missing before a call of who_is")
def does_not_wait_for_the_name(sio, queues, who_is):
    """A coroutine is never None."""
    rooms(sio)
    news(sio)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        name = who_is(auth and auth.get("key"))
        if name is None:
            raise Refused("no driver")
        name = {"red": "dan", "blue": "fay"}.get(auth and auth.get("key"))
        await sio.save_session(sid, name, namespace=ROAD)


@wrong("10.1", client="eve", says="her key is nobody's")
def any_key_will_do(sio, queues, who_is):
    """Whoever shows a key is let in, whosever it is."""
    rooms(sio)
    news(sio)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        if not isinstance(auth, dict) or not auth.get("key"):
            raise Refused("no key")
        await sio.save_session(sid, await who_is(auth["key"]), namespace=ROAD)


@wrong("10.1", says="raised TypeError")
def everybody_has_a_key(sio, queues, who_is):
    """Who shows no key has no `auth` at all."""
    rooms(sio)
    news(sio)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise Refused("no driver")
        await sio.save_session(sid, name, namespace=ROAD)


@wrong("10.1", client="eve", says="got       is let in")
def says_no_and_lets_in(sio, queues, who_is):
    """Only `False`, or the error, refuses: a text does not."""
    rooms(sio)
    news(sio)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        name = await who_is(auth.get("key") if auth else None)
        if name is None:
            return "you do not drive for us"
        return await sio.save_session(sid, name, namespace=ROAD)


@wrong("10.1", client="ada", says="expected  is let in to /")
def the_door_is_at_the_counter(sio, queues, who_is):
    """A connect handler that names no namespace guards that of the counters."""
    rooms(sio)
    news(sio)

    @sio.event
    async def connect(sid, environ, auth):
        if await who_is(auth.get("key") if isinstance(auth, dict) else None) is None:
            raise Refused("no driver")


@wrong("10.1", client="ada", says="never got it")
def the_room_is_on_the_road(sio, queues, who_is):
    """The room is looked for in the drivers' namespace, where the report came in."""
    rooms(sio)
    door(sio, who_is)

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        name = await sio.get_session(sid, namespace=ROAD)
        await sio.emit("in-transit", (order, name), to=order["store"], namespace=ROAD)


@wrong("10.1", client="bob", says="order 7 of flowers")
def all_counters_hear(sio, queues, who_is):
    """Without a room, every counter hears it."""
    rooms(sio)
    door(sio, who_is)

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        name = await sio.get_session(sid, namespace=ROAD)
        await sio.emit("in-transit", (order, name))


@wrong("10.1", client="ada", says="('in-transit', '7', 'dan')")
def the_order_only(sio, queues, who_is):
    """The driver's name is forgotten."""
    rooms(sio)
    door(sio, who_is)

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        await sio.emit("in-transit", order, to=order["store"])


@wrong("10.1", client="ada", says="('in-transit', '7', 'red')")
def the_key_for_the_name(sio, queues, who_is):
    """What was shown at the door is told to the store: now it has the key."""
    rooms(sio)
    news(sio)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        key = auth.get("key") if isinstance(auth, dict) else None
        if await who_is(key) is None:
            raise Refused("no driver")
        await sio.save_session(sid, key, namespace=ROAD)


@wrong("10.1", client="cy", says="('in-transit', '8', 'fay')")
def one_driver_at_a_time(sio, queues, who_is):
    """The name of the one who came last is in one variable for all."""
    rooms(sio)
    name = None

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        nonlocal name
        new = await who_is(auth.get("key") if isinstance(auth, dict) else None)
        if new is None:
            raise Refused("no driver")
        name = new

    @sio.on("in-transit", namespace=ROAD)
    async def in_transit(sid, order):
        await sio.emit("in-transit", (order, name), to=order["store"])


@wrong("10.1", client="anybody", says="says at the counter that order '7'")
def whoever_reports(sio, queues, who_is):
    """What only drivers may report is taken from a counter, too."""
    rooms(sio)
    door(sio, who_is)

    for place in ("/", ROAD):

        @sio.on("in-transit", namespace=place)
        async def in_transit(sid, order, place=place):
            name = await sio.get_session(sid, namespace=place)
            await sio.emit("in-transit", (order, name), to=order["store"])


@wrong("10.1", client="ada", says="hears nothing")
def one_store_for_each_counter(sio, queues, who_is):
    """A counter that joins a second store is taken out of the first."""
    door(sio, who_is)
    news(sio)

    @sio.event
    async def join(sid, store):
        for other in sio.rooms(sid):
            if other != sid:
                await sio.leave_room(sid, other)
        await sio.enter_room(sid, store)


# -- 10.2 ---------------------------------------------------------------------------------------


def desk(sio, queues, who_is):
    """All of 10.2 but the handler of `pickup`."""
    queues.attach(sio, namespace=ROAD)
    rooms(sio)
    door(sio, who_is, queues)
    news(sio)


@wrong("10.2", client="dan", says="dan was off when it came")
def sent_to_who_is_there(sio, queues, who_is):
    """`emit` to a namespace keeps nothing for who comes later."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        await sio.emit("pickup", order, namespace=ROAD)
        return True


@wrong("10.2", client="dan", says="an `await` is missing before a call of emit")
def never_puts_it_there(sio, queues, who_is):
    """Without `await` the order is not stored at all."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        queues.emit("pickup", order, to="drivers", key=f"{order['store']} {order['orderId']}")
        return True


@wrong("10.2", client="dan", says="ada has sent order 7 once more")
def no_key(sio, queues, who_is):
    """What is sent again is taken for another order."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        await queues.emit("pickup", order, to="drivers")
        return True


@wrong("10.2", client="dan", says="and the server is killed as it answers")
def says_so_and_does_it_later(sio, queues, who_is):
    """True is said while the order is still on its way to the disk."""
    desk(sio, queues, who_is)
    tasks = set()

    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['orderId']}"
        tasks.add(asyncio.create_task(queues.emit("pickup", order, to="drivers", key=key)))
        return True


@wrong("10.2", client="dan", says="bob's store has an order 7, too")
def the_number_is_the_key(sio, queues, who_is):
    """Another store has its own number 7."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        await queues.emit("pickup", order, to="drivers", key=order["orderId"])
        return True


@wrong("10.2", client="dan", says="it does not come")
def written_together(sio, queues, who_is):
    """ "flowers" and "27" are written like "flowers2" and "7"."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        await queues.emit("pickup", order, to="drivers", key=order["store"] + order["orderId"])
        return True


@wrong("10.2", client="dan", says="ada's order 8")
def the_customer_is_the_key(sio, queues, who_is):
    """Jo may order the same again."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['customer']} {order['address']}"
        await queues.emit("pickup", order, to="drivers", key=key)
        return True


@wrong("10.2", client="anybody", says="it is in the queue twice")
def known_by_heart(sio, queues, who_is):
    """What has come already is known until the server is killed."""
    desk(sio, queues, who_is)
    known = set()

    @sio.event
    async def pickup(sid, order):
        key = order["store"], order["orderId"]
        if key not in known:
            known.add(key)
            await queues.emit("pickup", order, to="drivers")
        return True


@wrong("10.2", client="dan", says="again before it is stored, and the server is killed")
def known_before_it_is_kept(sio, queues, who_is):
    """Who asks again while the first order is still on its way is told True too early."""
    desk(sio, queues, who_is)
    known = set()

    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['orderId']}"
        if key not in known:
            known.add(key)
            await queues.emit("pickup", order, to="drivers", key=key)
        return True


@wrong("10.2", client="dan", says="never got it")
def nobody_consumes(sio, queues, who_is):
    """Attached is not subscribed."""
    queues.attach(sio, namespace=ROAD)
    rooms(sio)
    door(sio, who_is)
    news(sio)
    orders(sio, queues)


@wrong("10.2", client="ada", says="got       None")
def says_nothing(sio, queues, who_is):
    """A handler without `return` answers, but not True."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['orderId']}"
        await queues.emit("pickup", order, to="drivers", key=key)


@wrong("10.2", client="fay", says="fay comes to work: '7'")
def a_queue_for_each_driver(sio, queues, who_is):
    """Each driver gets each order, and both bring it."""
    queues.attach(sio, namespace=ROAD)
    rooms(sio)
    news(sio)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        name = await who_is(auth.get("key") if isinstance(auth, dict) else None)
        if name is None:
            raise Refused("no driver")
        await sio.save_session(sid, name, namespace=ROAD)
        await queues.subscribe(sid, name)

    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['orderId']}"
        await queues.emit("pickup", order, to=["dan", "fay"], key=key)
        return True


@wrong("10.2", client="fay", says="a minute has passed, and no answer for order 8")
def a_list_in_memory(sio, queues, who_is):
    """What waits is in a list, and gone from it when it is sent."""
    rooms(sio)
    news(sio)
    waiting, known, there = [], set(), []

    async def sends():
        while waiting and there:
            await sio.emit("pickup", waiting.pop(0), to=there[0], namespace=ROAD)

    @sio.on("connect", namespace=ROAD)
    async def connect(sid, environ, auth):
        name = await who_is(auth.get("key") if isinstance(auth, dict) else None)
        if name is None:
            raise Refused("no driver")
        await sio.save_session(sid, name, namespace=ROAD)
        there.append(sid)
        sio.start_background_task(sends)

    @sio.on("disconnect", namespace=ROAD)
    def disconnect(sid, reason):
        there.remove(sid)

    @sio.event
    async def pickup(sid, order):
        key = order["store"], order["orderId"]
        if key not in known:
            known.add(key)
            waiting.append(order)
            await sends()
        return True


@wrong("10.2", client="fay", says="a minute has passed, and no answer for order 8")
def not_worth_waiting_for(sio, queues, who_is):
    """An order that is half a minute old is given up."""
    desk(sio, queues, who_is)

    @sio.event
    async def pickup(sid, order):
        key = f"{order['store']} {order['orderId']}"
        await queues.emit("pickup", order, to="drivers", key=key, ttl=30)
        return True


# -- 10.3 ---------------------------------------------------------------------------------------


@wrong("10.3", client="ada or cy", says="got it twice")
def delivered_is_news(sio, queues, who_is):
    """The room hears it: all counters, or nobody if all are closed."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        await sio.emit("delivered", order, to=order["store"])
        return True


@wrong("10.3", client="bob", says="both drivers have reported it")
def reported_twice(sio, queues, who_is):
    """Two reports of one order are two bills."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        await queues.emit("delivered", order, to=f"delivered {order['store']}")
        return True


@wrong("10.3", client="bob", says="both drivers have reported it")
def the_key_names_the_driver(sio, queues, who_is):
    """It is the same parcel, whoever brings it."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        key = f"{await sio.get_session(sid, namespace=ROAD)} {order['orderId']}"
        await queues.emit("delivered", order, to=f"delivered {order['store']}", key=key)
        return True


@wrong("10.3", client="bob", says="both drivers have reported it")
def reports_known_by_heart(sio, queues, who_is):
    """What was reported already is known until the server is stopped."""
    service(sio, queues, who_is)
    known = set()

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        key = order["store"], order["orderId"]
        if key not in known:
            await queues.emit("delivered", order, to=f"delivered {order['store']}")
            known.add(key)
        return True


@wrong("10.3", client="dan", says="expected  is answered True")
def takes_it_without_a_word(sio, queues, who_is):
    """The driver is not told that his report is safe."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        queue, key = f"delivered {order['store']}", order["orderId"]
        await queues.emit("delivered", order, to=queue, key=key)


@wrong("10.3", client="dan", says="no handler listens to 'delivered' in /drivers")
def delivered_at_the_counter(sio, queues, who_is):
    """The handler is in `/`, where no driver is."""
    service(sio, queues, who_is)

    @sio.event
    async def delivered(sid, order):
        queue, key = f"delivered {order['store']}", order["orderId"]
        await queues.emit("delivered", order, to=queue, key=key)
        return True


@wrong("10.3", client="ada or cy", says="('delivered', '7')")
def one_queue_for_both_ways(sio, queues, who_is):
    """The queue of the orders knows this key already, and stores nothing."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        key = f"{order['store']} {order['orderId']}"
        await queues.emit("delivered", order, to="drivers", key=key)
        return True


@wrong("10.3", client="bob", says="order 8 of flowers2")
def reports_grow_old(sio, queues, who_is):
    """After a minute nobody wants to hear of it any more."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        queue, key = f"delivered {order['store']}", order["orderId"]
        await queues.emit("delivered", order, to=queue, key=key, ttl=60)
        return True


@wrong("10.3", client="ada or cy", says="got it 3 times")
def to_be_sure(sio, queues, who_is):
    """By the queue, and by the room as well."""
    service(sio, queues, who_is)

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        queue, key = f"delivered {order['store']}", order["orderId"]
        await queues.emit("delivered", order, to=queue, key=key)
        await sio.emit("delivered", order, to=order["store"])
        return True


@wrong("10.3", client="bob", says="order 7 of flowers")
def one_queue_for_all_stores(sio, queues, who_is):
    """Any counter takes what is meant for another store."""
    queues.attach(sio, namespace=ROAD)
    queues.attach(sio)
    door(sio, who_is, queues)
    news(sio)
    orders(sio, queues)

    @sio.event
    async def join(sid, store):
        await sio.enter_room(sid, store)
        await queues.subscribe(sid, "delivered")

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        key = f"{order['store']} {order['orderId']}"
        await queues.emit("delivered", order, to="delivered", key=key)
        return True


@wrong("10.3", client="ada", says="never got it")
def news_by_the_queue(sio, queues, who_is):
    """Who is on the way is kept, and one counter hears it, where all of them should."""
    queues.attach(sio, namespace=ROAD)
    queues.attach(sio)
    rooms(sio, queues)
    door(sio, who_is, queues)
    orders(sio, queues)

    for event in ("in-transit", "delivered"):

        @sio.on(event, namespace=ROAD)
        async def report(sid, order, event=event):
            queue, key = f"delivered {order['store']}", f"{event} {order['orderId']}"
            await queues.emit(event, order, to=queue, key=key)
            return True


def reports(sio, queues):
    """The handler of `delivered`, as it should be."""

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        queue, key = f"delivered {order['store']}", order["orderId"]
        await queues.emit("delivered", order, to=queue, key=key)
        return True


def counterless(sio, queues, who_is):
    """All but the handler of `join`."""
    queues.attach(sio, namespace=ROAD)
    queues.attach(sio)
    door(sio, who_is, queues)
    news(sio)
    orders(sio, queues)
    reports(sio, queues)


@wrong("10.3", client="anybody", says="it does not come")
def the_first_counter_keeps_the_books(sio, queues, who_is):
    """One counter of each store gets the reports: and when that one has gone, nobody does."""
    counterless(sio, queues, who_is)
    books = set()

    @sio.event
    async def join(sid, store):
        await sio.enter_room(sid, store)
        if store not in books:
            books.add(store)
            await queues.subscribe(sid, f"delivered {store}")


@wrong("10.3", client="anybody", says="it does not come")
def the_books_of_one_store(sio, queues, who_is):
    """Who joins a second store gets no reports for the first any more."""
    counterless(sio, queues, who_is)

    @sio.event
    async def join(sid, store):
        await sio.enter_room(sid, store)
        for queue in queues.subscriptions(sid):
            await queues.unsubscribe(sid, queue)
        await queues.subscribe(sid, f"delivered {store}")


@wrong("10.3", client="anybody", says="is answered True for 'delivered'")
def only_news_are_accepted(sio, queues, who_is):
    """Who reports what is known already is answered False, and so never answers for the order."""
    service(sio, queues, who_is)
    known = set()

    @sio.on("delivered", namespace=ROAD)
    async def delivered(sid, order):
        key = f"{order['store']} {order['orderId']}"
        queue, new = f"delivered {order['store']}", key not in known
        await queues.emit("delivered", order, to=queue, key=key)
        known.add(key)
        return new
