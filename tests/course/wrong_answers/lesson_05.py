"""Lesson 05: misunderstandings of where a handler listens, and of who is inside."""

from __future__ import annotations

import functools

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


@wrong("05.1", client="ada", says="gets it in /kitchen")
def the_last_place_of_the_loop(sio):
    """Both handlers use the loop's variable, which is the last place when they run."""
    for place in ("/bar", "/kitchen"):

        @sio.on("say", namespace=place)
        async def say(sid, text):
            await sio.emit("news", text, namespace=place)  # noqa: B023


@wrong("05.1", client="ada", says="what bob says in /kitchen")
def no_text_twice(sio):
    """Nobody hears anything twice: so a text that was said before is not told again."""
    said = set()

    def serve(place):
        @sio.on("say", namespace=place)
        async def say(sid, text):
            if (place, text) not in said:
                said.add((place, text))
                await sio.emit("news", text, namespace=place)

    serve("/bar")
    serve("/kitchen")


@wrong("05.1", client="ada", says="hears news '' in /bar")
def an_empty_text_is_nothing(sio):
    """An empty text counts as false."""

    class Place(socketio.AsyncNamespace):
        async def on_say(self, sid, text):
            if text:
                await self.emit("news", text)

    for place in ("/bar", "/kitchen"):
        sio.register_namespace(Place(place))


@wrong("05.1", client="ada", says="what bob says in /kitchen")
def one_of_the_two_places(sio):
    """Who is in both is told in the bar only: else it would hear what is said twice."""
    lines = {}

    def serve(place, other):
        @sio.on("connect", namespace=place)
        def connect(sid, environ):
            lines[place, sid] = sio.manager.eio_sid_from_sid(sid, place)

        @sio.on("disconnect", namespace=place)
        def disconnect(sid, reason):
            del lines[place, sid]

        @sio.on("say", namespace=place)
        async def say(sid, text):
            in_bar = {line for (where, _), line in lines.items() if where == "/bar"}
            for (where, one), line in [*lines.items()]:
                if where == place and (place == "/bar" or line not in in_bar):
                    await sio.emit("news", text, to=one, namespace=place)

    serve("/bar", "/kitchen")
    serve("/kitchen", "/bar")


@wrong("05.1", client="ada", says="is shown out of")
def out_of_one_is_out_of_both(sio):
    """Whoever is out of one place is struck off the list of both."""
    lines = {}

    def serve(place):
        @sio.on("connect", namespace=place)
        def connect(sid, environ):
            lines[place, sid] = sio.manager.eio_sid_from_sid(sid, place)

        @sio.on("disconnect", namespace=place)
        def disconnect(sid, reason):
            gone = lines.get((place, sid))
            for key in [key for key, line in lines.items() if line == gone]:
                del lines[key]

        @sio.on("say", namespace=place)
        async def say(sid, text):
            for where, one in [*lines]:
                if where == place:
                    await sio.emit("news", text, to=one, namespace=place)

    serve("/bar")
    serve("/kitchen")


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


@wrong("05.2", client="eve", says="got       is let in")
def not_refused(sio, who_is):
    """Who is not staff joins no room, and is not told that it is not let in either."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is not None:
            await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="eve", says="got       is let in")
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


@wrong("05.2", says="'NoneType' object is not subscriptable")
def everybody_sends_a_key(sio, who_is):
    """Whoever dials is taken to send `auth`, and a key in it."""

    async def connect(sid, environ, auth):
        name = await who_is(auth["key"])
        if name is None:
            raise Refused("you are not staff")
        await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="ada", says="got       is let in")
def nearly_a_key(sio, who_is):
    """The key is made to fit before it is looked up."""

    async def connect(sid, environ, auth):
        key = auth.get("key") if isinstance(auth, dict) else auth
        name = await who_is(str(key).lower())
        if name is None:
            raise Refused("you are not staff")
        await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="bob", says="hears news 'ada: hi' in /staff")
def by_name(sio, who_is):
    """Those inside are kept by name: of two with the same key, one is."""
    sids = {}

    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth):
        name = await who_is(auth.get("key")) if isinstance(auth, dict) else None
        if name is None:
            raise Refused("you are not staff")
        await sio.save_session(sid, name, namespace="/staff")
        sids[name] = sid

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        name = await sio.get_session(sid, namespace="/staff")
        for one in [*sids.values()]:
            await sio.emit("news", f"{name}: {text}", to=one, namespace="/staff")


@wrong("05.2", client="bob", says="at the door")
def one_at_the_door(sio, who_is):
    """One variable for all: of two who wait at the door, the second is let in twice."""
    now = {}

    async def connect(sid, environ, auth):
        now["sid"] = sid
        name = await who_is(auth.get("key")) if isinstance(auth, dict) else None
        if name is None:
            raise Refused("you are not staff")
        await inside(sio, now["sid"], name)

    staff(sio, connect)


@wrong("05.2", says="cannot reuse already awaited coroutine")
def a_cache_of_coroutines(sio, who_is):
    """What is kept is the coroutine, which can be awaited once."""
    known = functools.cache(who_is)

    async def connect(sid, environ, auth):
        key = auth.get("key") if isinstance(auth, dict) else None
        name = await known(key if isinstance(key, str) else None)
        if name is None:
            raise Refused("you are not staff")
        await inside(sio, sid, name)

    staff(sio, connect)


@wrong("05.2", client="ada", says="ada dials with {'key': 7} as auth")
def keys_as_text(sio, who_is):
    """Any key is made a text first, so that 7 is the key of whoever has "7"."""

    async def connect(sid, environ, auth):
        key = auth.get("key") if isinstance(auth, dict) else None
        name = await who_is(str(key))
        if name is None:
            raise Refused("you are not staff")
        await inside(sio, sid, name)

    staff(sio, connect)
