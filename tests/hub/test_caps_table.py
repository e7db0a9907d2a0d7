"""The table of the lab's dialect: what a class may say otherwise, how a bad one is told, what the
hub guesses of words that no table has, and the table that it writes itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import hubs
import pytest
from hubs import Inbox

from chatq.__main__ import main
from chatq.hub.caps.dialect_table import BadTable, read_table
from chatq.hub.caps.guess import guess
from chatq.hub.caps.shapes import shaped
from chatq.hub.caps.unknown import Unknown
from chatq.hub.caps.words import Words

WORDS = Words(read_table())


# -- a class's own ------------------------------------------------------------------------------


def table(tmp_path: Path, text: str) -> Any:
    (tmp_path / "class.toml").write_text(text)
    return read_table(tmp_path / "class.toml")


def test_a_class_adds_words_and_moves_them(tmp_path: Path) -> None:
    theirs = table(
        tmp_path,
        '[events]\nget-all = ["what-is-new"]\nin-transit = ["PICKED_UP"]\n'
        '[fields]\nstore = ["warehouse"]\n[names]\ndrivers = ["couriers"]\nmost = 7\n'
        '[hears]\npickup = "all"\n[answers]\nnews = { shape = "mine", event = "post" }\n'
        '[shapes]\nmine = { parcel = "$message", kind = "parcel" }\n',
    )
    words = Words(theirs)
    assert (words.kind("whatIsNew"), words.kind("picked-up")) == ("get-all", "in-transit")
    assert (words.kind("getAll"), words.kind("news")) == ("get-all", "get-all")
    assert words.read({"warehouse": "w", "store": "s"}).stores == ("w", "s")
    assert (words.driver("Couriers"), words.driver("drivers")) == ("", "")
    assert (theirs["names.most"], theirs["hears.pickup"], theirs["hears.delivered"]) == (
        7,
        "all",
        "others",
    )
    assert theirs.answers["news"] == ("mine", "post")
    assert shaped({"a": 1}, theirs.shapes["mine"], {}) == {"parcel": {"a": 1}, "kind": "parcel"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[event]\n", "[event] is unknown; there are events, fields, names, hears, "),
        ('[events]\ngetall = ["x"]', "[events.getall] is unknown; there are join, get-all, "),
        ('[events]\njoin = "x"', "[events.join] has to be a list of words"),
        ('[events]\njoin = ["x", 5]', "not ['x', 5]"),
        ('[events]\njoin = ["--"]', "[events.join] has to be a list of words"),
        (
            '[events]\njoin = ["go"]\npickup = ["GO!"]',
            "[events] has 'GO!' in join and in pickup",
        ),
        ("events = 5", "[events] has to be a table, not 5"),
        ('[fields]\ncolour = ["x"]', "[fields.colour] is unknown; there are store, client, "),
        ('[hears]\npickup = "everybody"', '[hears.pickup] has to be "all" or "others", not '),
        ("[also]\npickup = 5", '[also.pickup] has to be the name of an event, or "", not 5'),
        ('[also]\npickup = "!"', '[also.pickup] has to be the name of an event, or "", not'),
        ('[receipts]\ndelivered = "no"', 'to be "settles" or "nothing", not \'no\''),
        ("[hears]\njoin = 1", "[hears.join] is unknown; there are pickup, in-transit, delivered"),
        ("[give-up]\nattempts = 0", "has to be a whole number from 1 to 1000, not 0"),
        ("[give-up]\nattempts = true", "has to be a whole number from 1 to 1000, not True"),
        ('[receipts]\nwithout-id = "new"', 'to be "oldest" or "all" or "none", not \'new\''),
        ('[wrapping]\nlive = "box"', '[wrapping.live] has to be "plain" or "order" or '),
        ('[answers]\nnews = { shape = "box" }', '[answers.news.shape] has to be "plain" or '),
        ("[answers]\nnews = { event = 5 }", "[answers.news.event] has to be the name of an event"),
        ("[answers]\nnews = { colour = 5 }", "[answers.news.colour] is unknown; there are shape, "),
        ('[answers]\nnews = "box"', "[answers.news] has to be a table, not 'box'"),
        ('[shapes]\nbox = { id = "$key" }', '[shapes.box.id] has to be "$message" or "$event" or '),
        ('[shapes]\nbox = { "..." = "all" }', '[shapes.box....] has to be "$message", or'),
        ('[shapes]\nplain = { id = "$id" }', "another name: plain is the message alone"),
        ("[shapes]\nbox = { id = 5 }", "[shapes.box.id] has to be"),
        ("[answers.news]\n", "[answers.news] has to be shape, event, or both: a word that only"),
        ("[shapes]\nbox = {}", "[shapes.box] has to be some fields, as in "),
        ("[shapes]\nbox = []", "[shapes.box] has to be a table, not []"),
        ("[answers]\nnews = []", "[answers.news] has to be a table, not []"),
        ("[events", "is no TOML: "),
    ],
)
def test_a_bad_table_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadTable) as raised:
        table(tmp_path, text)
    assert told in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "class.toml"))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[events]\n", "[events]\npickup = []\n"])
def test_what_is_empty_adds_nothing(tmp_path: Path, text: str) -> None:
    """`--learn` begins with it, and whoever looks through its words may leave none."""
    assert table(tmp_path, text) == read_table()


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "class.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadTable, match="is no TOML"):
        read_table(tmp_path / "class.toml")


def test_what_is_no_object_is_never_wrapped() -> None:
    shape = WORDS.table.shapes["order"]
    assert shaped("text", shape, {}) == "text"
    assert shaped({"orderId": 1}, WORDS.table.shapes["whole"], {"$id": "1"})["orderId"] == 1


async def test_a_class_hears_and_is_answered_as_its_table_says(tmp_path: Path) -> None:
    (tmp_path / "class.toml").write_text(
        '[hears]\npickup = "all"\nin-transit = "others"\n'
        '[wrapping]\nlive = "id-order"\nfrom-queue = "message"\n'
        '[answers]\nwhat-else = { shape = "order", event = "waiting" }\n'
        '[receipts]\nwithout-id = "all"\n'
    )
    hub = hubs.Here(tmp_path, str(tmp_path / "class.toml"))
    await hub.open()
    vendor, driver = await hub.client(), await hub.client()
    heard, got = Inbox(vendor, hub.namespace), Inbox(driver, hub.namespace)
    await hub.call(vendor, "pickup", PACKAGE)
    live = ("pickup", ({"id": "o", "order": PACKAGE},))
    await heard.until(1)
    await got.until(1)
    assert heard.events == got.events == [live]
    await hub.call(driver, "in-transit", PACKAGE)
    await heard.until(2)
    await hub.call(driver, "getAll", "drivers")
    await hub.call(driver, "what-else", "drivers")
    order = {"event": "pickup", "orderId": "o", "clientId": "s", "order": PACKAGE}
    assert got.events[1:] == [
        ("pickup", ({"messageID": "o", "payload": PACKAGE},)),
        ("waiting", (order,)),
    ]
    await hub.call(vendor, "pickup", {**PACKAGE, "orderId": "p"})
    await got.until(4)
    assert await hub.call(driver, "received", {"queueId": "drivers"}) == {"ok": True}
    assert await hub.call(driver, "getAll", "drivers") == {"count": 0}
    for client in (vendor, driver):
        await client.disconnect()
    await hub.close()


# -- guesses ------------------------------------------------------------------------------------

PACKAGE = {"store": "s", "orderId": "o", "customer": "c"}


@pytest.mark.parametrize(
    ("event", "data", "kind"),
    [
        ("fetchParcels", {"driverId": "d"}, "get-all"),
        ("VENDOR_GETALL", "s", "get-all"),
        ("getUndelivered", None, "get-all"),
        ("any-missed-ones", {"store": "s"}, "get-all"),
        ("CATCH-UP-STORE", {"queueId": "s"}, "get-all"),
        ("request-parcels", "drivers", "get-all"),
        ("new-order", PACKAGE, "pickup"),
        ("orderPlaced", {"order": PACKAGE}, "pickup"),
        ("request-pickup", PACKAGE, "pickup"),
        ("PACKAGE READY", PACKAGE, "pickup"),
        ("package-on-the-way", PACKAGE, "in-transit"),
        ("driver_shipped", PACKAGE, "in-transit"),
        ("PICKED-UP-BY-DRIVER", PACKAGE, "in-transit"),
        ("orderArrived", PACKAGE, "delivered"),
        ("dropped off", PACKAGE, "delivered"),
        ("vendor:MessageRecieved", {"queueId": "s", "messageId": 1}, "received"),
        ("delivery-receipt", PACKAGE, "received"),
        ("acknowledge-order", {"orderId": 1}, "received"),
        ("ack", "o1", "received"),
        ("driver-online", "driver-7", "join"),
        ("register", {"store": "s"}, "join"),
        ("delievered", PACKAGE, "delivered"),
        ("dilivered", PACKAGE, "delivered"),
        ("in-tranist", PACKAGE, "in-transit"),
        ("pikcup", PACKAGE, "pickup"),
        ("delivered-notice", {"store": "s", "orderId": 1}, "delivered"),
        ("droppedOff", {"orderId": 1}, "delivered"),
        ("pickups-please", {"store": "s"}, "get-all"),
        ("getAl", "s", "get-all"),
        ("jion", "s", None),
        ("reciv", {"orderId": 1}, "received"),
        ("dance", None, None),
        ("dance", PACKAGE, None),
        ("thank-you", {"orderId": "o", "text": "t"}, "received"),
        ("THANKS_FOR_DELIVERY", PACKAGE, "received"),
        ("thank-you", None, "received"),
        ("confirmation", {"name": "s", "payload": {"orderId": 1}}, "received"),
        ("confirm-delivery", PACKAGE, "received"),
        ("catchUp-delivery", PACKAGE, "get-all"),
        ("missed-deliveries", PACKAGE, "get-all"),
        ("notifyDelivered", {"clientId": "s"}, "get-all"),
        ("needPickup", {"clientId": "s"}, "get-all"),
        ("PARCEL AVAILABLE", PACKAGE, "pickup"),
        ("driver-is-ready", None, "ready"),
        ("waiting", {"driverId": "d"}, "ready"),
        ("order-is-ready", PACKAGE, "pickup"),
        ("target", {}, None),
        ("", None, None),
    ],
)
def test_what_a_word_seems_to_mean(event: str, data: Any, kind: str | None) -> None:
    assert guess(event, WORDS.read(data), data, WORDS.table.events) == kind


def test_a_driver_that_confirms_tells_of_a_delivery() -> None:
    said = WORDS.read(PACKAGE)
    for event in ("confirm-delivery", "DELIVERY_CONFIRMED"):
        assert guess(event, said, PACKAGE, WORDS.table.events, driver=True) == "delivered"
    assert guess("confirmed", said, PACKAGE, WORDS.table.events, driver=True) == "received"


async def test_the_hub_learns_what_it_meets(tmp_path: Path) -> None:
    learned = tmp_path / "learned.toml"
    with hubs.hub("--dialect", "caps", "--learn", str(learned), folder=tmp_path) as hub:
        vendor, driver = await hub.client(), await hub.client()
        for n in range(3):
            await hub.call(vendor, "new-order", {**PACKAGE, "orderId": n})
            assert "error" in await hub.call(vendor, "dance", {"colour": "secret"})
        inbox = Inbox(driver, hub.namespace)
        assert await hub.call(driver, "fetchThem", {"driverId": "drivers"}) == {"count": 3}
        await inbox.until(6)
        assert [event for event, _ in inbox.events] == ["new-order", "pickup"] * 3
        now = tomllib.loads(learned.read_text())  # while it runs, too
        assert now["events"] == {"get-all": ["fetchThem"], "pickup": ["new-order"]}
        assert '# "dance": unclear, with an object without an id' in learned.read_text()
        for client in (vendor, driver):
            await client.disconnect()
        await hub.stop()
        told = [line for line in hub.log.splitlines() if line.startswith("warning: met ")]
        assert len(told) == 3
        assert '"new-order"' in told[0]
        assert 'pickup = ["new-order"] would admit it' in told[0]
        assert "secret" not in hub.log + learned.read_text()
        assert "refused" not in hub.log.replace("; refused.", "")
    with hubs.hub("--dialect", str(learned), folder=tmp_path) as hub:
        before = hub.log
        driver = await hub.client()
        assert await hub.call(driver, "fetchThem", {"driverId": "drivers"}) == {"count": 3}
        await driver.disconnect()
        assert "warning: met" not in hub.log[len(before) :]
    # Another minute of traffic is added to it; a file of somebody else is left alone.
    with hubs.hub("--dialect", "caps", "--learn", str(learned), folder=tmp_path) as hub:
        vendor = await hub.client()
        await hub.call(vendor, "order-arrived", PACKAGE)
        await vendor.disconnect()
    assert set(tomllib.loads(learned.read_text())["events"]) == {"get-all", "pickup", "delivered"}


def test_a_file_that_is_not_its_own_is_left_alone(tmp_path: Path, capsys: Any) -> None:

    mine = tmp_path / "mine.toml"
    mine.write_text("[events]\n")
    assert main(["serve", "--dialect", "caps", "--learn", str(mine), "--store", "memory:"]) == 2
    assert "was not written by --learn, and is left alone" in capsys.readouterr().err
    assert mine.read_text() == "[events]\n"


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('[hears]\ndelivered = "all"\n', "--learn: {} says more than words by now"),
        ("[hears", "--learn: {} is no TOML any more"),
    ],
)
def test_what_somebody_has_added_to_a_learned_file_is_not_lost(
    tmp_path: Path, capsys, added: str, said: str
) -> None:
    learned = tmp_path / "learned.toml"
    Unknown(WORDS.table, learned)
    text = learned.read_text() + added
    learned.write_text(text)
    assert main(["serve", "--dialect", "caps", "--learn", str(learned), "--store", "memory:"]) == 2
    assert said.format(learned) in capsys.readouterr().err
    assert learned.read_text() == text


@pytest.mark.parametrize("place", ["no/learned.toml", "."])
def test_a_file_that_cannot_be_learned_into_is_told(tmp_path: Path, capsys, place: str) -> None:
    file = tmp_path / place
    assert main(["serve", "--dialect", "caps", "--learn", str(file), "--store", "memory:"]) == 2
    assert f"--learn: cannot write {file}: " in capsys.readouterr().err
