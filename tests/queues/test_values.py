"""What a message holds arrives as it was, or is refused with its place in the data."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import itertools
import math
import uuid
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sizes import size
from socketio.packet import BINARY_EVENT, EVENT, Packet
from test_queues import consumer

from chatq import Queues
from chatq.queues.frame import pack, unpack
from chatq.queues.message import decode, encode
from chatq.queues.store import Attempt

LONGEST = 900_000


class Colour(enum.IntEnum):
    RED = 1


class Flag(enum.IntFlag):
    UP = 4


class Shade(str, enum.Enum):  # noqa: UP042 (it is about the two)
    DARK = "dark"


class Name(enum.StrEnum):
    ADA = "ada"


class Ratio(float, enum.Enum):
    HALF = 0.5


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Order:
    number: int = 1


class Loud(str):
    """Text that is equal to nothing but itself."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return self is other


class Odd(int):
    __hash__ = int.__hash__

    def __eq__(self, other):
        return self is other


class Hidden(dict):
    """A dict that shows less than it has."""

    def items(self):
        return {}.items()


class Doubled(list):
    """A list that shows more than it has."""

    def __iter__(self):
        return itertools.chain(list.__iter__(self), list.__iter__(self))


def nested(depth: int, inmost: Any = 1) -> Any:
    for n in range(depth):
        inmost = {"a": inmost} if n % 2 else [inmost]
    return inmost


def circle() -> list[Any]:
    data: list[Any] = [1]
    data.append({"again": data})
    return data


def counter() -> Any:
    return collections.Counter("aab")


def defaults() -> Any:
    return collections.defaultdict(list, {"a": [1]})


UNCHANGED: dict[str, Any] = {
    "nothing": None,
    "yes": True,
    "zero and no": [0, False, 0.0, "", [], {}, None],
    "minus zero": -0.0,
    "floats": [0.1 + 0.2, 1e308, 5e-324, -1e-7, 1.0, 2.0**53 + 2],
    "integers": [2**53 + 1, -(2**63), 2**64, 10**99, 10**100 - 1, 1 - 10**99],
    "enumerations": [Colour.RED, Flag.UP, Shade.DARK, Name.ADA, Ratio.HALF, {Name.ADA: Shade.DARK}],
    "a surrogate": ["\ud83d", {"\udc00": "\ud83d\ud83d"}],
    "text": ["\0", "\x7f", "\u2028\u2029", "👩‍👩‍👧", "\\\"'</script>", "é e\u0301", "\ufeff"],
    "odd keys": {"": 1, " ": 2, "__proto__": {"a": 1}, "constructor": 3, "1": 4, "data": 5},
    "marks that are none": [{"_placeholder": False, "num": 0}, {"num": 0}, "_placeholder", b"x"],
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    "counter": counter(),
    "defaults": defaults(),
    "bytes": {"a": b"\0\xff", "l": [b"", bytearray(b"x"), memoryview(b"yz")]},
    "every second byte": [memoryview(b"abcd")[::2]],
    "bytes at the top": bytearray(b"top"),
    "deep": nested(100),
    "deep with bytes": nested(99, b"x"),
    "much text": 'ü\\"' * 50_000,
    "as a frame": [["pickup", 1, {"receipt": "x"}]],
    "as a body": {"sizes": [1], "place": "bytes 0", "data": {"bytes 0": 0}, "b": b"x"},
}


def same(mine: Any, theirs: Any) -> bool:
    """Return whether two values are equal, and of the same type in JSON, all the way down."""
    if isinstance(mine, (bytes, bytearray, memoryview)):
        return type(theirs) is bytes and bytes(mine) == theirs and mine == theirs
    if isinstance(mine, dict):
        return (
            type(theirs) is dict
            and [*mine] == [*theirs]
            and all(same(mine[key], theirs[key]) for key in mine)
        )
    if isinstance(mine, list):
        return type(theirs) is list and len(mine) == len(theirs) and all(map(same, mine, theirs))
    if isinstance(mine, bool) or mine is None:
        return mine is theirs
    if isinstance(mine, float):
        return type(theirs) is float and (mine, math.copysign(1, mine)) == (
            theirs,
            math.copysign(1, theirs),
        )
    kind = str if isinstance(mine, str) else int
    return isinstance(mine, kind) and type(theirs) is kind and mine == theirs


def sent(arguments: list[Any]) -> list[Any]:
    """Return the arguments of an event after their way through python-socketio's packets."""
    packet = Packet(EVENT, data=["event", *arguments]).encode()
    first, *attachments = packet if isinstance(packet, list) else [packet]
    read = Packet(encoded_packet=first)
    for attachment in attachments:
        read.add_attachment(attachment)
    assert read.packet_type == (BINARY_EVENT if attachments else EVENT)
    return read.data[1:]


def travels(data: Any, *others: Any) -> None:
    """Assert that data arrives as it was: stored, alone, and in a frame with others."""
    bodies = [encode(each, LONGEST) for each in (data, *others)]
    assert same(data, decode(bodies[0]))
    assert same(data, sent([decode(bodies[0]), {"receipt": "x"}])[0])
    attempts = [Attempt(f"i-{n}", "q", "e", body, 1, 0, None, "r") for n, body in enumerate(bodies)]
    [frame] = sent([pack(attempts)])
    for (_, arrived, _), each in zip(unpack(frame), (data, *others), strict=True):
        assert same(each, arrived)


@pytest.mark.parametrize("name", UNCHANGED)
def test_it_is_kept_and_packed_as_it_was(name):
    travels(UNCHANGED[name])
    travels(UNCHANGED[name], b"bytes of another message", {"num": 0})
    travels({"in": [UNCHANGED[name]]}) if not name.startswith("deep") else None


@pytest.mark.parametrize("frame", [0, 5])
async def test_it_arrives_as_it_was(sio, stage, frame, tmp_path):
    """Over a real socket, from a real file."""
    async with await Queues.open(f"sqlite:///{tmp_path}/q.db") as queues:
        queues.attach(sio)
        for data in UNCHANGED.values():
            await queues.emit("pickup", data, to="drivers")
        ada = await consumer(stage, queues, "ada", frame=frame)
        await ada.until(len(UNCHANGED))
        for (name, data), arrived in zip(UNCHANGED.items(), ada.data, strict=True):
            assert same(data, arrived), name
        assert stage.connected("ada")


REFUSED: list[tuple[Any, type[Exception], str]] = [
    ({1: "a", "1": "b"}, TypeError, "data has the key 1 of type int"),
    ({"a": {1: "a"}}, TypeError, 'data["a"] has the key 1 of type int'),
    ([{None: 1}], TypeError, "data[0] has the key None of type NoneType"),
    ({True: 1}, TypeError, "data has the key True of type bool"),
    ({1.5: 1}, TypeError, "data has the key 1.5 of type float"),
    ({b"k": 1}, TypeError, "data has the key b'k' of type bytes"),
    ({(1, 2): 1}, TypeError, "data has the key (1, 2) of type tuple"),
    ({Colour.RED: 1}, TypeError, "of type Colour"),
    ({Loud("a"): 1, "a": 2}, TypeError, "data has the key 'a' of type Loud"),
    ({"order": [0, 1, 2, Point(1, 2)]}, TypeError, 'data["order"][3] is a tuple (Point)'),
    ({"order": [(1, 2)]}, TypeError, 'data["order"][0] is a tuple (tuple)'),
    ((1, 2), TypeError, "data is a tuple"),
    ([b"x", ()], TypeError, "data[1] is a tuple"),
    ([math.nan], ValueError, "data[0] is nan"),
    ({"a": [1.0, -math.inf]}, ValueError, 'data["a"][1] is -inf'),
    ([b"x", 1e400], ValueError, "data[1] is inf"),
    (10**100, ValueError, "data has more than 100 digits"),
    ({"n": -(10**99)}, ValueError, 'data["n"] has more than 100 digits'),
    ([10**5000], ValueError, "data[0] has more than 100 digits"),
    ([b"x", 10**5000], ValueError, "data[1] has more than 100 digits"),
    ([{"_placeholder": True, "num": 0}, b"x"], ValueError, 'data[0] has a true "_placeholder"'),
    ({"a": {"_placeholder": 1}}, ValueError, 'data["a"] has a true "_placeholder"'),
    (nested(101), ValueError, "is nested more than 100 levels deep"),
    (nested(100_000), ValueError, "is nested more than 100 levels deep"),
    (nested(101, b"x"), ValueError, "is nested more than 100 levels deep"),
    (circle(), ValueError, "contains itself"),
    ({"when": datetime.datetime(2026, 1, 1)}, TypeError, 'data["when"] is of type datetime'),
    ([decimal.Decimal("1.1")], TypeError, "data[0] is of type Decimal"),
    ({"id": uuid.UUID(int=1)}, TypeError, 'data["id"] is of type UUID'),
    ([[1], {1}], TypeError, "data[1] is of type set"),
    ({"order": Order()}, TypeError, 'data["order"] is of type Order'),
    ([0, 1, 2, (n for n in [1])], TypeError, "data[3] is of type generator"),
    ({"x": collections.deque()}, TypeError, 'data["x"] is of type deque'),
    ([1j], TypeError, "data[0] is of type complex"),
    ([Loud("a")], TypeError, "data[0] is of type Loud, and not equal to the text"),
    ({"n": Odd(1)}, TypeError, 'data["n"] is of type Odd, and not equal to the number'),
    ([Hidden(a=1)], TypeError, "data[0] is of type Hidden"),
    ({"a": Doubled([1])}, TypeError, 'data["a"] is of type Doubled'),
    ([memoryview(array.array("i", [1]))], TypeError, "data[0] is of type memoryview"),
    ({"a" * 100: {1}}, TypeError, f'data["{"a" * 40}"] is of type set'),
    ({"ü\n": {1}}, TypeError, 'data["ü\\n"] is of type set'),
]  # fmt: skip


@pytest.mark.parametrize(("data", "error", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_it_is_refused_by_its_place(data, error, words):
    with pytest.raises(error) as raised:
        encode(data, LONGEST)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


async def test_it_is_refused_when_it_is_emitted_and_nothing_is_stored(sio):
    async with await Queues.open("memory:") as queues:
        for data, error, _ in REFUSED:
            with pytest.raises(error):
                await queues.emit("pickup", data, to="drivers")
        with pytest.raises(LookupError):
            await queues.stats("drivers")


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**101), 10**101)
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.sampled_from([Colour.RED, Shade.DARK, Name.ADA, Loud("a"), Odd(1), Order(), b"", 1j])
)
KEYS = (
    st.text(max_size=3)
    | st.sampled_from(["_placeholder", "num", "1", "place", Name.ADA])
    | st.sampled_from([1, None, True, 1.0, b"k", (), Loud("a")])
)
ANYTHING = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.tuples(inner, inner).map(lambda pair: Point(*pair))
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=12,
)


@settings(max_examples=size(200, 2_000))
@given(ANYTHING, ANYTHING)
@example([{"_placeholder": True, "num": 0}], b"x")
@example({1: "a", "1": "b"}, 1)
@example({"_placeholder": b"", "num": 0}, b"x")
@example([{"num": None, "_placeholder": memoryview(b"")}], {"_placeholder": bytearray()})
def test_whatever_it_is_it_arrives_as_it_was_or_is_refused(data, other):
    kept = []
    for each in (data, other):
        try:
            encode(each, LONGEST)
            kept.append(each)
        except (TypeError, ValueError) as error:
            refusal = str(error)
            assert " data" in refusal
    if kept:
        travels(*kept)
