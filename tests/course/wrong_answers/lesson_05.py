"""Lesson 05: misunderstandings of where a handler listens, and of who is inside."""

from __future__ import annotations

import socketio

from . import wrong

Refused = socketio.exceptions.ConnectionRefusedError

# -- 05.1 ---------------------------------------------------------------------------------------


@wrong("05.1", client="ada", says="it is connected, but not to /")
def emit_names_no_namespace(sio):
    """An emit in a handler of a namespace is taken to stay there."""
    for place in ("/bar", "/kitchen"):

        @sio.on("say", namespace=place)
        async def say(sid, text):
            await sio.emit("news", text)


@wrong("05.1", client="ada", says="got       is refused: Unable to connect")
def in_the_default_namespace(sio):
    """A handler that names no namespace is taken to serve all of them."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, namespace="/bar")
        await sio.emit("news", text, namespace="/kitchen")


@wrong("05.1", client="ada", says="expected  gets it in /kitchen")
def always_the_bar(sio):
    """The second handler was copied from the first."""
    for place in ("/bar", "/kitchen"):

        @sio.on("say", namespace=place)
        async def say(sid, text):
            await sio.emit("news", text, namespace="/bar")


@wrong("05.1", client="ada", says="got       gets it twice")
def in_both_places(sio):
    """What is said in one place is told in both."""
    for place in ("/bar", "/kitchen"):

        @sio.on("say", namespace=place)
        async def say(sid, text):
            await sio.emit("news", text, namespace="/bar")
            await sio.emit("news", text, namespace="/kitchen")


@wrong("05.1", client="ada", says="expected  is let in to /kitchen")
def one_place_only(sio):
    """The second handler takes the place of the first: both name the same namespace."""

    @sio.on("say", namespace="/bar")
    async def say_in_the_bar(sid, text):
        await sio.emit("news", text, namespace="/bar")

    @sio.on("say", namespace="/bar")
    async def say_in_the_kitchen(sid, text):
        await sio.emit("news", text, namespace="/kitchen")


@wrong("05.1", client="ada", says="room '/bar'")
def a_namespace_is_a_room(sio):
    """The name of a namespace is taken for the name of a room."""

    @sio.on("say", namespace="/bar")
    async def say_in_the_bar(sid, text):
        await sio.emit("news", text, to="/bar", namespace="/bar")

    @sio.on("say", namespace="/kitchen")
    async def say_in_the_kitchen(sid, text):
        await sio.emit("news", text, to="/kitchen", namespace="/kitchen")


@wrong("05.1", client="ada", says="it is connected, but not to /")
def a_class_that_goes_past_itself(sio):
    """In a class, `self.emit` knows its namespace; the server's own `emit` does not."""

    class Place(socketio.AsyncNamespace):
        async def on_say(self, sid, text):
            await sio.emit("news", text)

    for place in ("/bar", "/kitchen"):
        sio.register_namespace(Place(place))


# -- 05.2 ---------------------------------------------------------------------------------------


def staff(sio, connect, to="inside"):
    """Both handlers; `connect` is the answer's own, and notes the name of the speaker."""
    sio.on("connect", connect, namespace="/staff")

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        name = await sio.get_session(sid, namespace="/staff")
        await sio.emit("news", f"{name}: {text}", to=to, namespace="/staff")


async def inside(sio, sid, name):
    await sio.save_session(sid, name, namespace="/staff")
    await sio.enter_room(sid, "inside", namespace="/staff")


@wrong("05.2", client="dan", says="what cy says while dan waits at the door")
def to_the_namespace(sio, who_is):
    """Whoever waits is taken to be outside; but it is in the namespace already."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise Refused("you are not staff")
        await sio.save_session(sid, name, namespace="/staff")

    staff(sio, connect, to=None)


@wrong("05.2", client="dan", says="what cy says while dan waits at the door")
def inside_before_the_answer(sio, who_is):
    """The room is joined first, and the question is asked afterwards."""

    async def connect(sid, environ, auth):
        await sio.enter_room(sid, "inside", namespace="/staff")
        name = await who_is(auth["key"])
        if name is None:
            raise Refused("you are not staff")
        await sio.save_session(sid, name, namespace="/staff")

    staff(sio, connect)


@wrong("05.2", client="eve", says="got       'Connection rejected by server'")
def no_reason(sio, who_is):
    """`return False` refuses, and does not say why."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            return False
        return await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="eve", says="got       'Connection refused by server'")
def the_other_error_of_that_name(sio, who_is):
    """Python has a `ConnectionRefusedError` of its own; the reason is lost with it."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise ConnectionRefusedError("you are not staff")
        await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="eve", says="got       'come in'")
def not_refused(sio, who_is):
    """Who is not staff joins no room, and is not told that it is not let in either."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is not None:
            await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="eve", says="got       'come in'")
def the_reason_is_returned(sio, who_is):
    """What `connect` returns is taken for the reason; only `False` refuses."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            return "you are not staff"
        return await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", says="server's handler of 'connect' raised PermissionError: you are not staff")
def any_exception(sio, who_is):
    """Any exception is taken for a refusal."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise PermissionError("you are not staff")
        await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="dan", says="got       who_is is not asked")
def on_its_word(sio, who_is):
    """The name is taken from what the client says, and nobody is asked."""

    async def connect(sid, environ, auth):
        await inside(sio, sid, auth["key"].removeprefix("key of "))

    staff(sio, connect)


@wrong("05.2", client="cy", says="got       'dan: hello'")
def the_last_to_come(sio, who_is):
    """One variable for all: the name is that of whoever came last."""
    name = None

    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth):
        nonlocal name
        known = await who_is(auth["key"])
        if known is None:
            raise Refused("you are not staff")
        name = known
        await sio.enter_room(sid, "inside", namespace="/staff")

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        await sio.emit("news", f"{name}: {text}", to="inside", namespace="/staff")


@wrong("05.2", client="cy", says="expected  gets 'cy: good morning'")
def the_sid_for_a_name(sio, who_is):
    """The sid is the server's name for one connection; nobody inside knows who that is."""

    async def connect(sid, environ, auth):
        if await who_is(auth["key"]) is None:
            raise Refused("you are not staff")
        await inside(sio, sid, sid)

    staff(sio, connect)


@wrong("05.2", says="server's handler of 'connect' raised")
def a_room_of_another_namespace(sio, who_is):
    """`enter_room` without `namespace=` looks in `/`, where this sid is not."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise Refused("you are not staff")
        await sio.save_session(sid, name, namespace="/staff")
        await sio.enter_room(sid, "inside")

    staff(sio, connect)


@wrong("05.2", client="cy", says="got       is refused: Unable to connect")
def the_default_namespace(sio, who_is):
    """The handlers stand in `/`; at `/staff` nobody answers."""

    @sio.event
    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise Refused("you are not staff")
        await sio.save_session(sid, name)
        await sio.enter_room(sid, "inside")

    @sio.event
    async def say(sid, text):
        name = await sio.get_session(sid)
        await sio.emit("news", f"{name}: {text}", to="inside")
