"""An independent answer to "why": random scripts, and a model that follows a script.

The model knows only what the script did, in order: who connected where, entered which room, was
frozen, cut off, and what was emitted to whom. It reads no journal and shares with chatq only the
names of the reasons.

Which of several true reasons is the one. A namespace that has dealt with the client before
answers first: it let it in, refused it, or saw it go (`LEFT` politely or kicked, else `CUT_OFF`).
Where it never dealt with it, the whole connection answers: `OTHER_NAMESPACE` while there is one,
`NOT_YET` if there never was one, else how the last one ended. Who is inside is asked: addressed?
then: skipped? then: what became of it on the way and in the handler?
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

from chatq import Reason

SERVER = "server"
NAMES = ("ada", "bob", "cy", "dee")
SPACES = ("/", "/a", "/vip")
#: One is called like a client; 7 and "7" are two rooms.
ROOMS = ("red", "blue", "ada", 7, "7")

ANYTHING = ("news", "rare", "boom", "void", "garble", "chatted", "hello")
_MANY = {"news", "boom", "chatted", "hello"}
#: Who listens to what, where; "dee" has a catch-all in /a and a class-based namespace in /vip.
LISTENS = {
    "ada": {"/": _MANY | {"rare"}, "/a": _MANY, "/vip": {"news", "chatted"}},
    "bob": {"/": _MANY | {"rare"}, "/a": _MANY, "/vip": {"boom", "chatted"}},
    "cy": {"/": {"news", "boom"}, "/a": {"news", "boom", "hello"}, "/vip": {"boom"}},
    "dee": {"/": _MANY, "/a": set(ANYTHING), "/vip": {"news", "boom"}},
}
#: Whose handlers of "boom" raise.
CLUMSY = ("bob", "dee")
#: Who cannot take in the packets of which events.
STRICT = {"cy": "garble", SERVER: "mumble"}
#: What the server listens to, where. "chat" and "whisper" are passed on; "trip" raises.
SERVED = {
    "/": {"chat", "whisper", "trip"},
    "/a": {"chat", "trip"},
    "/vip": {"chat", "whisper", "trip", "murmur"},
}
CLIENT_EVENTS = ("chat", "chat", "whisper", "trip", "murmur", "mumble")
WHISPER_ROOM = "red"

Sid = tuple[str, str, int]  # name, namespace, and the how-manieth it is there
Target = str | int | Sid


@dataclass(frozen=True)
class Step:
    """One thing that a script does; `what` is the name of the operation."""

    what: str
    name: str = ""
    namespace: str = "/"
    namespaces: tuple[str, ...] = ()
    room: str | int = ""
    event: str = ""
    token: int = 0
    to: tuple[Target, ...] | None = None  # one that stands alone is given as such, not in a list
    skip: tuple[Sid, ...] = ()
    wait: bool = True
    fresh: bool = False

    def __str__(self) -> str:
        given = [
            f"{f.name}={value!r}"
            for f in fields(self)
            if f.name != "what" and (value := getattr(self, f.name)) != f.default
        ]
        return f"{self.what:<10} {', '.join(given)}".rstrip()


@dataclass
class Person:
    """The state of one client in a script."""

    line: bool = False  # is there a connection at all, be it one without a namespace?
    ended: Reason | None = None  # how the last connection to the server ended; None: never was one
    spaces: dict[str, Reason | None] = field(default_factory=dict)  # None: is inside
    serials: dict[str, int] = field(default_factory=dict)
    rooms: set[tuple[str, str | int]] = field(default_factory=set)
    left_rooms: set[tuple[str, str | int]] = field(default_factory=set)
    frozen: bool = False
    pending: list[tuple[str, str]] = field(default_factory=list)
    dialled: tuple[str, ...] = ()  # the namespaces of its last `connect`

    def inside(self) -> list[str]:
        return [space for space, out in self.spaces.items() if out is None]

    def leave(self, space: str, how: Reason) -> None:
        self.spaces[space] = how
        gone = {(where, room) for where, room in self.rooms if where == space}
        self.rooms -= gone
        self.left_rooms |= gone
        if not self.inside():
            self.ended = how


class World:
    """Follows a script; `verdicts` says what became of each message for everybody."""

    def __init__(self) -> None:
        self.people = {name: Person() for name in NAMES}
        self.banned: set[str] = set()
        self.sids: list[Sid] = []
        self.greeted = 0
        #: By event and data (a number or name of its own for each message), then by name.
        self.verdicts: dict[tuple[str, str], dict[str, Reason]] = {}
        self.born: dict[tuple[str, str], int] = {}  # the step that emitted it
        self.where: dict[tuple[str, str], str] = {}  # its namespace
        self.unheard: set[tuple[str, str]] = set()  # emits that reached nobody
        self.late: set[tuple[tuple[str, str], str]] = set()  # and who read it, given up before
        self.raised = 0  # handlers that raised since the last settle
        self.step = 0

    def apply(self, step: Step) -> None:
        self.step += 1
        getattr(self, f"_{step.what}")(step)

    # -- coming and going -----------------------------------------------------------------------

    def _ban(self, step: Step) -> None:
        self.banned.add(step.name)

    def _unban(self, step: Step) -> None:
        self.banned.discard(step.name)

    def _connect(self, step: Step) -> None:
        person = self.people[step.name]
        if step.fresh:  # a new client of the same name: the one before says goodbye
            self._disconnect(step)
            person.frozen = False
        person.line, person.dialled = True, step.namespaces
        refused = False
        for space in step.namespaces:
            if space == "/vip" and step.name in self.banned:
                person.spaces[space] = Reason.REFUSED
                refused = True
                continue
            if space == "/a":
                self._hello(step.name)
            person.spaces[space] = None
            person.serials[space] = person.serials.get(space, 0) + 1
            if not (step.wait and step.name in self.banned and "/vip" in step.namespaces):
                self.sids.append((step.name, space, person.serials[space]))
        if refused and step.wait:  # python-socketio: all or nothing, by a goodbye of the client
            self._disconnect(step)

    def _hello(self, name: str) -> None:
        # The connect handler of /a greets the newcomer by its sid, before it is quite inside.
        self.greeted += 1
        key = ("hello", repr(f"{name} {self.greeted}"))
        space = "/a"
        verdicts = self._emitted(key)
        for other, person in self.people.items():
            out = self._outside(person, space)
            verdicts[other] = out or Reason.NOT_ADDRESSED
        verdicts[name] = self._handled(name, space, "hello")

    def _disconnect(self, step: Step) -> None:
        person = self.people[step.name]
        for space in person.inside():
            person.leave(space, Reason.LEFT)
        person.line = False

    def _kick(self, step: Step) -> None:
        person = self.people[step.name]
        person.leave(step.namespace, Reason.LEFT)
        if not person.inside() and not person.frozen:
            person.line = False

    def _cut(self, step: Step) -> None:
        person = self.people[step.name]
        for space in person.inside():
            person.leave(space, Reason.CUT_OFF)
        person.line = person.frozen = False
        for key in person.pending:
            self.verdicts[key][step.name] = Reason.LOST
        person.pending.clear()

    def _drop(self, step: Step) -> None:
        """Cut off, and it connects again by itself."""
        self._cut(step)
        self._connect(replace(step, namespaces=self.people[step.name].dialled))

    def _gasp(self, step: Step) -> None:
        """Cut off, and then it emits: neither end knows yet."""
        key = (step.event, repr(step.token))
        verdicts = self._emitted(key)
        verdicts |= dict.fromkeys(NAMES, Reason.TO_SERVER)
        verdicts |= {step.name: Reason.SENDER, SERVER: Reason.LOST}
        self._cut(step)

    def _miss(self, step: Step) -> None:
        """Cut off, and then the server emits: neither end knows yet."""
        self._freeze(step)  # whatever comes now, it will not read it
        self._emit(step)
        self._cut(step)

    def _freeze(self, step: Step) -> None:
        self.people[step.name].frozen = True

    def _thaw(self, step: Step) -> None:
        person = self.people[step.name]
        person.frozen = False
        for key in person.pending:
            space = self.where[key]
            self.verdicts[key][step.name] = self._handled(step.name, space, key[0])
            if space not in person.inside():
                self.late.add((key, step.name))
        person.pending.clear()
        if not person.inside():
            person.line = False

    # -- rooms ----------------------------------------------------------------------------------

    def _enter(self, step: Step) -> None:
        self.people[step.name].rooms.add((step.namespace, step.room))

    def _leave(self, step: Step) -> None:
        self._out_of_room(self.people[step.name], (step.namespace, step.room))

    def _close(self, step: Step) -> None:
        for person in self.people.values():
            self._out_of_room(person, (step.namespace, step.room))

    def _out_of_room(self, person: Person, room: tuple[str, str | int]) -> None:
        if room in person.rooms:
            person.rooms.remove(room)
            person.left_rooms.add(room)

    # -- messages -------------------------------------------------------------------------------

    def _settle(self, step: Step) -> None:
        self.raised = 0

    def _emitted(self, key: tuple[str, str]) -> dict[str, Reason]:
        self.born[key] = self.step
        verdicts = self.verdicts[key] = {SERVER: Reason.SENDER}
        return verdicts

    def _emit(self, step: Step) -> None:
        key = (step.event, repr(step.token))
        self.pass_on(key, step.namespace, step.to, step.skip)

    def pass_on(
        self,
        key: tuple[str, str],
        space: str,
        to: tuple[Target, ...] | None,
        skip: tuple[Sid, ...],
    ) -> None:
        verdicts = self._emitted(key)
        self.where[key] = space
        recipients = 0
        for name, person in self.people.items():
            reason = self._outside(person, space) or self._passed_over(name, space, to, skip)
            if reason is None:
                recipients += 1
                if person.frozen:
                    reason = Reason.FROZEN
                    person.pending.append(key)
                else:
                    reason = self._handled(name, space, key[0])
            verdicts[name] = reason
        if not recipients:
            self.unheard.add(key)

    def _outside(self, person: Person, space: str) -> Reason | None:
        if space in person.spaces:
            return person.spaces[space]
        if person.inside():
            return Reason.OTHER_NAMESPACE
        return person.ended or Reason.NOT_YET

    def _passed_over(
        self, name: str, space: str, to: tuple[Target, ...] | None, skip: tuple[Sid, ...]
    ) -> Reason | None:
        person = self.people[name]
        sid = (name, space, person.serials[space])
        if to is not None:
            rooms = [(space, target) for target in to if not isinstance(target, tuple)]
            if sid not in to and not person.rooms.intersection(rooms):
                if not rooms:  # also if a sid of its own is named that does not count here and now
                    return Reason.NOT_ADDRESSED
                was_there = person.left_rooms.intersection(rooms)
                return Reason.LEFT_ROOM if was_there else Reason.NOT_IN_ROOM
        return Reason.SKIPPED if sid in skip else None

    def _handled(self, name: str, space: str, event: str) -> Reason:
        if event == STRICT.get(name):
            self.raised += 1
            return Reason.NOT_UNDERSTOOD
        if event not in LISTENS[name].get(space, ()):
            return Reason.NO_HANDLER
        if event == "boom" and name in CLUMSY:
            self.raised += 1
            return Reason.RAISED
        return Reason.RECEIVED

    def _say(self, step: Step) -> None:
        key = (step.event, repr(step.token))
        verdicts = self._emitted(key)
        verdicts |= dict.fromkeys(NAMES, Reason.TO_SERVER)
        verdicts[step.name] = Reason.SENDER
        if step.event == STRICT[SERVER]:
            self.raised += 1
            verdicts[SERVER] = Reason.NOT_UNDERSTOOD
            return
        if step.event not in SERVED[step.namespace]:
            verdicts[SERVER] = Reason.NO_HANDLER
            return
        verdicts[SERVER] = Reason.RECEIVED
        if step.event == "trip":
            self.raised += 1
            verdicts[SERVER] = Reason.RAISED
        sid = (step.name, step.namespace, self.people[step.name].serials[step.namespace])
        if step.event in ("chat", "whisper"):
            to = None if step.event == "chat" else (WHISPER_ROOM,)
            self.pass_on(("chatted", repr(step.token)), step.namespace, to, (sid,))


# -- writing scripts ----------------------------------------------------------------------------

_WEIGHTS = {
    "emit": 30,
    "say": 7,
    "connect": 10,
    "enter": 12,
    "leave": 7,
    "close": 2,
    "kick": 3,
    "disconnect": 3,
    "cut": 3,
    "drop": 3,
    "gasp": 1,
    "miss": 1,
    "freeze": 6,
    "thaw": 4,
    "ban": 2,
    "unban": 2,
}
#: What the server does at once and in order; around all else a script waits until all is quiet.
_AT_ONCE = ("emit", "enter", "leave", "close", "kick", "ban", "unban")


def write_script(seed: int, length: int) -> list[Step]:
    """Return `length` steps with a settle now and then, and always where luck would else decide."""
    dice = random.Random(seed)
    world = World()
    world.banned = set(dice.sample(NAMES, dice.choice((0, 1, 1, 2))))
    steps = [Step("ban", name) for name in sorted(world.banned)]
    for name in NAMES:
        if dice.random() < 0.7:
            steps += [_connect(world, dice, name), Step("settle")]
            world.apply(steps[-2])
    calm = dice.random()
    while sum(step.what != "settle" for step in steps) < length:
        step = _draw(world, dice, len(steps))
        before = steps[-1].what if steps else "settle"
        together = step.what == before == "say" or (step.what in _AT_ONCE and before in _AT_ONCE)
        if before != "settle" and (not together or dice.random() < calm):
            steps.append(Step("settle"))
        world.apply(step)
        steps.append(step)
    return [*steps, Step("settle")]


def _draw(world: World, dice: random.Random, token: int) -> Step:
    while True:
        what = dice.choices([*_WEIGHTS], [*_WEIGHTS.values()])[0]
        step = next(_WRITERS[what](world, dice, token), None)
        if step is not None:
            return step


def _connect(world: World, dice: random.Random, name: str) -> Step:
    person = world.people[name]
    fresh = person.line or dice.random() < 0.4
    spaces = dice.sample(SPACES, dice.choice((1, 1, 2, 2, 3)))
    return Step("connect", name, namespaces=tuple(spaces), fresh=fresh, wait=dice.random() < 0.6)


def _write_connect(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    free = [n for n, p in world.people.items() if not p.frozen]
    away = [n for n in free if not world.people[n].line]
    if away or (free and dice.random() < 0.2):
        yield _connect(world, dice, dice.choice(away or free))


def _write_disconnect(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    who = [n for n, p in world.people.items() if p.line and not p.frozen]
    if who:
        yield Step("disconnect", dice.choice(who))


def _write_cut(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    who = [n for n, p in world.people.items() if p.line]
    if dice.random() < 0.7:
        who = [n for n in who if world.people[n].pending] or who
    if who:
        yield Step("cut", dice.choice(who))


def _write_drop(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    # One that is refused tries again for ever.
    who = [
        n
        for n, p in world.people.items()
        if p.inside() and not (n in world.banned and "/vip" in p.dialled)
    ]
    if who:
        yield Step("drop", dice.choice(who))


def _write_gasp(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    for step in _write_say(world, dice, token):
        yield replace(step, what="gasp")


def _write_miss(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    if here := _present(world):
        yield Step("miss", *dice.choice(here), event="news", token=token)


def _write_freeze(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    who = [n for n, p in world.people.items() if p.inside() and not p.frozen]
    if who:
        yield Step("freeze", dice.choice(who))


def _write_thaw(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    who = [n for n, p in world.people.items() if p.frozen]
    if who:
        yield Step("thaw", dice.choice(who))


def _write_ban(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    yield Step("ban", dice.choice(NAMES))


def _write_unban(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    if world.banned:
        yield Step("unban", dice.choice(sorted(world.banned)))


def _present(world: World) -> list[tuple[str, str]]:
    return [(n, space) for n, p in world.people.items() for space in p.inside()]


def _write_kick(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    if here := _present(world):
        yield Step("kick", *dice.choice(here))


def _write_enter(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    if here := _present(world):
        yield Step("enter", *dice.choice(here), room=dice.choice(ROOMS[:3] * 2 + ROOMS))


def _write_leave(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    where = [
        (n, space, room)
        for n, p in world.people.items()
        for space, room in sorted(p.rooms, key=repr)
    ]
    if where:
        name, space, room = dice.choice(where)
        yield Step("leave", name, space, room=room)


def _write_close(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    yield Step("close", namespace=dice.choice(SPACES), room=dice.choice(ROOMS))


def _write_say(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    here = [(n, space) for n, space in _present(world) if not world.people[n].frozen]
    if here:
        yield Step("say", *dice.choice(here), event=dice.choice(CLIENT_EVENTS), token=token)


def _write_emit(world: World, dice: random.Random, token: int) -> Iterator[Step]:
    crowd = [space for _, space in _present(world)]
    space = dice.choice(crowd if crowd and dice.random() < 0.7 else (*SPACES * 2, "/nix"))
    inside = [sid for sid in _current(world) if sid[1] == space]

    def sid() -> Sid:
        # Now and then one that does not count: of another namespace, or of an earlier connection.
        return dice.choice(inside if inside and dice.random() < 0.85 else world.sids)

    def target() -> Target:
        return dice.choice(ROOMS) if dice.random() < 0.6 or not world.sids else sid()

    to: tuple[Target, ...] | None = None
    match dice.choice(("everyone", "everyone", "room", "room", "sid", "list", "list", "nobody")):
        case "room":
            used = sorted({r for p in world.people.values() for _, r in p.left_rooms}, key=repr)
            to = (dice.choice(used if used and dice.random() < 0.5 else ROOMS),)
        case "sid" if world.sids:
            to = (sid(),)
        case "list":
            to = tuple(target() for _ in range(dice.choice((2, 2, 3))))
        case "nobody":
            to = ("empty",)
    skip: tuple[Sid, ...] = ()
    if world.sids and dice.random() < 0.3:
        skip = tuple(sid() for _ in range(dice.choice((1, 1, 2))))
    event = dice.choice(("news", "news", "news", "rare", "boom", "void", "garble"))
    yield Step("emit", namespace=space, event=event, token=token, to=to, skip=skip)


def _current(world: World) -> list[Sid]:
    return [(n, space, world.people[n].serials[space]) for n, space in _present(world)]


_WRITERS = {
    "emit": _write_emit,
    "say": _write_say,
    "connect": _write_connect,
    "enter": _write_enter,
    "leave": _write_leave,
    "close": _write_close,
    "kick": _write_kick,
    "disconnect": _write_disconnect,
    "cut": _write_cut,
    "drop": _write_drop,
    "gasp": _write_gasp,
    "miss": _write_miss,
    "freeze": _write_freeze,
    "thaw": _write_thaw,
    "ban": _write_ban,
    "unban": _write_unban,
}
