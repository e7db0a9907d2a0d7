"""Lesson 07: right answers to 07.6, the reader, in other styles than the lesson's."""

from __future__ import annotations

import asyncio
from functools import partial

import socketio

from chatq.waiting import give_way

from . import right


@right("07.6")
def a_dict_and_a_plain_function(reader, work):
    """A handler that is no coroutine, and a dict of what was done."""
    done = {}

    def pickup(package, delivery):
        if delivery["id"] not in done:
            done[delivery["id"]] = work(package)
        return delivery["receipt"]

    reader.on("pickup", pickup)


@right("07.6")
def in_a_class(reader, work):
    """A namespace of the client, with the inbox as its attribute."""

    class Root(socketio.AsyncClientNamespace):
        inbox = frozenset()

        async def on_pickup(self, package, delivery):
            if delivery["id"] not in self.inbox:
                work(package)
                self.inbox |= {delivery["id"]}
            return delivery["receipt"]

    reader.register_namespace(Root("/"))


@right("07.6")
def answers_by_an_event(reader, work):
    """The answer is an event of its own; on a line that is cut nobody can say anything."""
    inbox = set()

    @reader.on("*")
    async def anything(event, package, delivery):
        if delivery["id"] not in inbox:
            work(package)
            inbox.add(delivery["id"])
        await reader.emit("received", {"receipt": delivery["receipt"]})


@right("07.6")
def gives_back_what_failed(reader, work):
    """It says that the work has failed, instead of raising: so it comes again sooner."""
    inbox = []

    async def pickup(inbox, package, delivery):
        try:
            if delivery["id"] not in inbox:
                work(package)
                inbox.append(delivery["id"])
        except Exception as error:
            await reader.emit("failed", {"receipt": delivery["receipt"], "reason": str(error)})
            return None
        return delivery["receipt"]

    reader.on("pickup", partial(pickup, inbox))


@right("07.6")
def one_after_the_other(reader, work):
    """A lock, and a turn of the event loop between the work and the note."""
    lock, inbox = asyncio.Lock(), set()

    @reader.event
    async def pickup(package, delivery):
        async with lock:
            if delivery["id"] not in inbox:
                work(package)
                inbox.add(delivery["id"])
                await give_way()
        return delivery["receipt"]
