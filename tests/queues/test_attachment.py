"""Attaching puts no handler out of work: it is refused, or both work, whoever comes first."""

from __future__ import annotations

from typing import Any

import pytest
import socketio

from chatq import Queues

ANSWERS = ("received", "failed")
#: What is no answer of a consumer: events of the application's own with the same names.
THEIRS: list[tuple[Any, ...]] = [
    (),
    (1,),
    ("receipt",),
    ({"goods": 1},),
    (["receipt"],),
    ({"receipt": "x"}, 2),
    (None,),
]


class Shop(socketio.AsyncNamespace):
    """A class with handlers of its own."""

    async def on_received(self, *arguments):
        return ["class", *map(str, arguments[-1:])]

    on_failed = on_received


class Router(socketio.AsyncNamespace):
    """A class that sees every event."""

    async def trigger_event(self, event, *arguments):
        if event in ("connect", "disconnect"):
            return None
        return ["router", event]


class Idle(socketio.AsyncNamespace):
    """A class that has nothing to do with these events."""

    async def on_other(self, sid):
        return "other"


def catch_all(sio, namespace="/"):
    async def anything(event, *rest):
        return ["any", event]

    sio.on("*", anything, namespace=namespace)


def catch_all_plain(sio):
    sio.on("*", lambda event, sid, *data: ["any", event], namespace="/")


def catch_all_of_all(sio):
    catch_all(sio, "*")


#: Who would get the events without the queues, and what it answers.
BOTH_WORK = pytest.mark.parametrize(
    "register", [catch_all, catch_all_plain, catch_all_of_all], ids=lambda f: f.__name__
)


def of_all(sio):
    async def handler(namespace, sid, *data):
        return "mine"

    for event in ANSWERS:
        sio.on(event, handler, namespace="*")


def by_name(sio):
    for event in ANSWERS:
        sio.on(event, lambda sid, *data: "mine")


def by_method(sio):
    sio.on("received", Shop("/elsewhere").on_received)


def inherited(sio):
    class Sub(Shop):
        pass

    sio.register_namespace(Sub("/"))


def router_by_instance(sio):
    idle = Idle("/")

    async def trigger_event(event, *arguments):
        return "mine"

    idle.trigger_event = trigger_event
    sio.register_namespace(idle)


REFUSED = pytest.mark.parametrize(
    ("register", "words"),
    [
        (by_name, "a handler of 'received' in /"),
        (by_method, "a handler of 'received' in /"),
        (of_all, "a handler of 'received' in all namespaces"),
        (lambda sio: sio.register_namespace(Shop("/")), "a handler of 'received' in /"),
        (lambda sio: sio.register_namespace(Shop("*")), "of 'received' in all namespaces"),
        (inherited, "a handler of 'received' in /"),
        (lambda sio: sio.register_namespace(Router("/")), "its own trigger_event of 'received'"),
        (lambda sio: sio.register_namespace(Router("*")), "trigger_event of 'received' in all"),
        (router_by_instance, "its own trigger_event"),
    ],
    ids=[
        "function",
        "method",
        "of all",
        "class",
        "class of all",
        "inherited",
        "router",
        "router of all",
        "router by instance",
    ],
)


@pytest.fixture
async def queues():
    async with await Queues.open("memory:") as queues:
        yield queues
        await queues.close(0)


@BOTH_WORK
@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_catch_all_still_gets_what_is_not_meant_for_the_queues(
    sio, stage, queues, register, order
):
    if order == "before":
        register(sio)
    queues.attach(sio)
    if order == "after":
        register(sio)
    ada = await stage.client("ada")
    for event in ANSWERS:
        for arguments in THEIRS:
            assert await ada.call(event, arguments) == ["any", event], arguments
        assert await ada.call(event, {"receipt": "x"}) == {"ok": False}
    assert await ada.call("received", {"receipts": []}) == {"ok": True}
    assert await ada.call("else", 1) == ["any", "else"]
    await queues.subscribe(ada.get_sid(), "drivers")


@REFUSED
async def test_a_handler_for_the_same_event_is_refused(sio, queues, register, words):
    register(sio)
    with pytest.raises(ValueError, match=f"this server has .*{words}.* already: rename that event"):
        queues.attach(sio)
    ours = [handler for handler in sio.handlers.get("/", {}).values() if "chatq" in str(handler)]
    assert ours == []
    queues.attach(sio, listen=False)


@REFUSED
async def test_one_that_comes_later_is_refused_when_somebody_subscribes(
    sio, stage, queues, register, words
):
    queues.attach(sio)
    register(sio)
    ada = await stage.client("ada")
    with pytest.raises(RuntimeError, match=r"'received' in .*(replaced|come since).*rename that"):
        await queues.subscribe(ada.get_sid(), "drivers")


async def test_a_class_that_comes_later_gets_what_is_its_own(sio, stage, queues):
    """Until somebody subscribes, and it is refused."""
    queues.attach(sio)
    sio.register_namespace(Shop("/"))
    ada = await stage.client("ada")
    assert await ada.call("received", {"goods": 1}) == ["class", "{'goods': 1}"]
    sio.register_namespace(Router("/"))
    assert await ada.call("failed", "x") == ["router", "failed"]


@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_class_with_nothing_for_these_events_changes_nothing(sio, stage, queues, order):
    if order == "before":
        sio.register_namespace(Idle("/"))
    queues.attach(sio)
    sio.register_namespace(Idle("/"))
    ada = await stage.client("ada")
    assert await ada.call("other") == "other"
    assert (await ada.call("received", {"goods": 1}))["error"]["code"] == "malformed"
    await queues.subscribe(ada.get_sid(), "drivers")


async def test_what_a_handler_that_gets_it_raises_is_its_own(sio, stage, queues):
    def anything(event, sid, *data):
        raise ZeroDivisionError("planted")

    sio.on("*", anything)
    queues.attach(sio)
    ada = await stage.client("ada")
    await ada.emit("received", 1)
    with pytest.raises(Exception, match="planted"):
        await stage.settle()


async def test_elsewhere_nobody_minds(sio, queues):
    by_name(sio)
    sio.register_namespace(Shop("/shop"))
    queues.attach(sio, "/caps")


async def test_handlers_of_closed_queues_are_in_nobodys_way(sio, stage):
    for n in range(3):
        async with await Queues.open("memory:") as queues:
            queues.attach(sio)
            ada = await stage.client(f"ada {n}")
            await queues.subscribe(ada.get_sid(), "drivers")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"namespace": "*"}, ValueError, "one namespace"),
        ({"namespace": None}, TypeError, "a namespace is text"),
        ({"namespace": 1}, TypeError, "a namespace is text"),
        ({"serve": True, "listen": False}, ValueError, "take one of them"),
        ({"authorize_publish": lambda *_: True}, ValueError, "serve=True"),
    ],
)
async def test_what_cannot_be_attached_is_said(sio, queues, arguments, error, words):
    with pytest.raises(error, match=words):
        queues.attach(sio, **arguments)
    queues.attach(sio)
