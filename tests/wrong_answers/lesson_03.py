"""Lesson 03: misunderstandings of who gets an emit."""

from __future__ import annotations

from . import wrong


@wrong("03.1", client="dan", says="what dan says")
def to_everyone(sio):
    """`emit` goes to everyone: the sender hears itself."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text)


@wrong("03.1", client="ada", says="what dan says")
def to_the_sender(sio):
    """`to=sid` is taken for "from this client": only the sender hears it."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, to=sid)


@wrong("03.1", client="ada", says="no 'news' at all")
def not_awaited(sio):
    """Without `await` nothing is sent."""

    @sio.event
    async def say(sid, text):
        sio.emit("news", text, skip_sid=sid).close()


@wrong("03.1", client="ada", says="no 'news' at all")
def another_name(sio):
    """The event that goes out is called as the one that came in."""

    @sio.event
    async def say(sid, text):
        await sio.emit("say", text, skip_sid=sid)


@wrong("03.1", client="bob", says="what bob says")
def the_first_sender(sio):
    """The sender is remembered from the first time, not taken from each message."""
    first = []

    @sio.event
    async def say(sid, text):
        first.append(sid)
        await sio.emit("news", text, skip_sid=first[0])


@wrong("03.1", client="ada", says="what dan says")
def one_by_one(sio):
    """A loop over everybody, around an emit that goes to all the others already."""

    @sio.event
    async def say(sid, text):
        for _, _ in [*sio.manager.get_participants("/", None)][:2]:
            await sio.emit("news", text, skip_sid=sid)
