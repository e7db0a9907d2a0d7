"""What a verdict says of mistakes with servers, variables and addresses: what to write instead.

Each kind of mistake in several forms, as in `test_messages`.
"""

# Mistakes are what this file is made of.
# ruff: noqa: F823, F841

from __future__ import annotations

from functools import partial

import pytest
import socketio
from mistaken import Mistakes, names

import chatq

mistakes = Mistakes()
says = mistakes.says
OTHER = socketio.AsyncServer(async_mode="aiohttp")


def outside(sio, text):
    sio.emit("news", text)


# -- another server ---------------------------------------------------------------------------

ELSEWHERE = "handlers were registered at another one than the one given"
says_elsewhere = says("03.1", ELSEWHERE, "is given", no=["never registered", "a handler is"])


@says_elsewhere
def a_server_of_its_own(sio):
    sio = socketio.AsyncServer(async_mode="aiohttp")

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, skip_sid=sid)


@says_elsewhere
def a_server_of_another_name(sio):
    server = socketio.AsyncServer(async_mode="aiohttp")
    server.on("say", partial(print, end=""))


@says_elsewhere
def a_server_from_outside(sio):
    @OTHER.on("say")
    async def say(sid, text): ...


@says_elsewhere
def a_server_that_is_not_async(sio):
    server = socketio.Server()

    @server.event
    def say(sid, text): ...


@says_elsewhere
def a_client(sio):
    client = socketio.AsyncClient()

    @client.event
    async def say(sid, text): ...


@says_elsewhere
def a_namespace_elsewhere(sio):
    class Hall(socketio.AsyncNamespace):
        async def on_say(self, sid, text): ...

    OTHER.register_namespace(Hall("/"))


@says("03.2", "a handler is registered at another server than the one given (line ")
def a_handler_elsewhere(sio):
    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @OTHER.event
    async def whisper(sid, room, text): ...


@says("03.1", "emits at another server than the one given, where nobody is (line ", "OTHER.emit")
def an_emit_elsewhere(sio):
    @sio.event
    async def say(sid, text):
        await OTHER.emit("news", text, skip_sid=sid)


# -- an emit in the body ----------------------------------------------------------------------

BODY = "this emit runs once, before anybody is there: it belongs into a handler (line "
in_the_body = says("03.1", BODY, no=["not done yet", "an `await` is missing"])


@in_the_body
def an_emit_in_the_body(sio):
    sio.emit("news", "hello")


@in_the_body
async def an_awaited_emit_in_the_body(sio):
    await sio.emit("news", "hello")


@in_the_body
def an_emit_in_the_body_beside_a_handler(sio):
    @sio.event
    async def say(sid, text): ...

    sio.emit("news", "hello")


@in_the_body
def an_emit_of_a_helper_in_the_body(sio):
    outside(sio, "hello")


@in_the_body
def an_emit_in_a_loop_in_the_body(sio):
    for name in ("ada", "bob"):
        sio.emit("news", name, skip_sid=name)


@says("07.6", "this emit runs once, before it has connected: it belongs into a handler")
def an_emit_of_a_client_in_the_body(driver, work):
    driver.emit("drive")


# -- `return` ---------------------------------------------------------------------------------


def made(url):
    return socketio.AsyncServer(client_manager=chatq.NatsManager(url))


RETURN = "`return {}` is missing as the last line of the answer"


def no_return(name):
    return says(
        "09.1", "returns None", RETURN.format(name), no=["never registered", "a handler is"]
    )


@no_return("sio")
def a_server_that_is_not_returned(url):
    sio = made(url)

    @sio.event
    async def say(sid, text):
        await sio.emit("said", text, skip_sid=sid)


@no_return("server")
def a_server_of_another_name_not_returned(url):
    server = made(url)

    @server.on("say")
    async def told(sid, text):
        await server.emit("said", text, skip_sid=sid)


@no_return("the server")
def a_server_without_handlers(url):
    made(url)


@says("09.1", "'say' is defined, and never registered: is a line as `@sio.event` missing")
def a_returned_server_without_its_handler(url):
    sio = made(url)

    async def say(sid, text):
        await sio.emit("said", text, skip_sid=sid)

    return sio


# -- `nonlocal` -------------------------------------------------------------------------------

count = 0
NONLOCAL = "say assigns to {0!r}, so it has a variable of its own of that name", "`{1} {0}`"


def no_nonlocal(name, word="nonlocal", exercise="01.2"):
    return says(exercise, *(text.format(name, word) for text in NONLOCAL))


@no_nonlocal("last")
def a_variable_read_and_assigned(sio):
    last = ""

    @sio.event
    async def say(sid, text):
        if text != last:
            last = text


@no_nonlocal("number")
def a_variable_counted(sio):
    number = 0

    @sio.event
    def say(sid, text):
        number += 1


@no_nonlocal("count", "global")
def a_variable_of_the_module(sio):
    @sio.event
    async def say(sid, text):
        count += 1


@no_nonlocal("seen")
def a_list_added_to(sio):
    seen = []

    @sio.event
    async def say(sid, text):
        seen += [text]


@says("01.2", "UnboundLocalError", no=["nonlocal", "global"])
def a_variable_of_its_own(sio):
    @sio.event
    async def say(sid, text):
        if text == "never":
            word = text
        await sio.emit("news", word)


@says("01.2", "`last = …` in say makes a variable of its own: write `nonlocal last` as its first")
def a_variable_that_is_never_read(sio):
    last = None

    @sio.event
    async def say(sid, text):
        last = text
        await sio.emit("news", text)

    @sio.event
    async def connect(sid, environ):
        if last is not None:
            await sio.emit("news", last, to=sid)


@says("01.2", "expected", no=["nonlocal"])
def a_nonlocal_variable(sio):
    last = None

    @sio.event
    async def say(sid, text):
        nonlocal last
        last = text

    @sio.event
    async def connect(sid, environ):
        if last is not None:
            await sio.emit("news", last)


@says("01.2", "expected", no=["nonlocal"])
def a_variable_of_the_same_name_that_is_read(sio):
    last = None

    @sio.event
    async def say(sid, text):
        last = text
        await sio.emit("news", last)

    @sio.event
    async def connect(sid, environ):
        if last is not None:
            await sio.emit("news", last, to=sid)


# -- an address that is empty -----------------------------------------------------------------


def whispers(**to):
    def answer(sio):
        @sio.event
        async def here(sid, room):
            await sio.enter_room(sid, room)

        @sio.event
        async def whisper(sid, room, text):
            await sio.emit("news", text, skip_sid=sid, **to)

    return answer


for given, text in (
    ({"to": []}, "`to=[]` names no room, so python-socketio emits to everyone"),
    ({"to": ()}, "`to=()` names no room, so python-socketio emits to everyone"),
    ({"to": ""}, "`to=''` names no room, so python-socketio emits to everyone"),
    ({"to": None}, "`to=None` names no room, so python-socketio emits to everyone"),
    ({"room": None}, "`room=None` names no room, so python-socketio emits to everyone"),
    ({"to": [], "room": None}, "`to=[]` names no room, so python-socketio emits to everyone"),
    ({"room": []}, "`room=[]` names no room, which python-socketio cannot take"),
    ({"to": "", "room": []}, "`room=[]` names no room, which python-socketio cannot take"),
):
    says("03.2", text, id=f"whispers {given}")(whispers(**given))

for given in ({}, {"to": "kitchen"}, {"room": "kitchen"}, {"room": ""}):
    says("03.2", "client ", no=["names no room"], id=f"whispers {given}")(whispers(**given))


@says("03.1", "gets 'dan was here'", no=["names no room"])
def everyone_is_meant(sio):
    @sio.event
    async def say(sid, text):
        await sio.emit("news", text.upper(), to=None, skip_sid=sid)


# -- lists and tuples -------------------------------------------------------------------------


@says("03.1", "what is wanted is the value, without a list (line ")
def a_list_of_one(sio):
    @sio.event
    async def say(sid, text):
        await sio.emit("news", [text], skip_sid=sid)


@says("03.1", "gets 'dan was here'", no=["a list is", "a tuple is", "without a"])
def a_list_of_another(sio):
    @sio.event
    async def say(sid, text):
        await sio.emit("news", [sid, text], skip_sid=sid)


@pytest.mark.parametrize(("exercise", "answer", "texts", "no"), mistakes.parameters)
async def test_a_mistake_is_named_with_what_to_write(exercise, answer, texts, no):
    await names(exercise, answer, texts, no)
