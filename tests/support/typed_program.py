"""A program that uses each call of the queues once, and a stage in a test, for `mypy` to check.

It is never run.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import assert_type

import socketio  # type: ignore[import-untyped]

from chatq import (
    Consumer,
    DeadMessage,
    Delivery,
    Died,
    Kept,
    NewMessage,
    Observer,
    Outbox,
    Queued,
    QueueFact,
    QueueFull,
    Queues,
    QueuesClosed,
    Redriven,
    Refused,
    Rejected,
    Returned,
    Rules,
    Settled,
    Stage,
    Stages,
    Stats,
    Stored,
    StoreError,
    Subscribed,
    TooLarge,
    Tried,
    Unsubscribed,
    emit_in_transaction,
    outbox_insert,
)


class Metrics(Observer):
    def __init__(self) -> None:
        self.settled: dict[str, int] = {}
        self.seen: list[str] = []

    def happened(self, fact: QueueFact) -> None:
        match fact:
            case Settled(Queued(queue), client):
                self.settled[queue] = self.settled.get(queue, 0) + len(client)
            case Tried(message=Queued(id=id), client=client, attempt=attempt):
                self.seen.append(f"{id} {client} {attempt + 1}")
            case Returned(Queued(event=event), reason=reason) | Died(Queued(event=event), reason):
                self.seen.append(event + reason)
            case Stored(Queued() as message) | Redriven(Queued() as message):
                self.seen.append(message.id)
            case Subscribed(client, queue) | Unsubscribed(client, queue):
                self.seen.append(client + queue)
            case _:
                pass


class Plain:
    """An observer by its form alone."""

    def happened(self, fact: QueueFact) -> None:
        print(fact)

    def began(self) -> None: ...

    def ended(self) -> None: ...


def authorize(sid: str, queue: str) -> bool:
    return queue == sid


async def authorize_later(sid: str, queue: str) -> bool:
    return await asyncio.to_thread(authorize, sid, queue)


async def main() -> None:
    sio = socketio.AsyncServer(async_mode="aiohttp")
    rules = Rules(lease=5.0, attempts=3)
    async with await Queues.open("memory:", rules) as queues:
        queues.attach(sio, "/caps", authorize, serve=True, authorize_publish=authorize_later)
        end: Callable[[], None] = queues.watch(Metrics())
        queues.watch(Plain())
        one: str = await queues.emit("pickup", {"order": 17}, to="drivers", key="k", ttl=5)
        several: list[str] = await queues.emit("pickup", [1], to=["drivers", "stores"])
        both: list[str] = await queues.emit("pickup", to=("drivers", "stores"))
        either: str | list[str] = "drivers" if one else ["drivers"]
        assert_type(await queues.emit("pickup", to="drivers"), str)
        assert_type(await queues.emit("pickup", to=["drivers"]), list[str])
        assert_type(await queues.emit("pickup", to=either), str | list[str])
        print(one.upper(), [id.upper() for id in several + both])
        try:
            new: NewMessage = queues.message("pickup", b"x", to="drivers")
            ids: list[list[str]] = await queues.emit_many([new])
            print(ids[0][0].upper())
        except QueueFull as full:
            print(full.args)
        except (StoreError, QueuesClosed, TooLarge) as problem:
            print(problem)
        stats: Stats = await queues.stats("drivers")
        print(stats.ready + stats.leased, (stats.oldest or 0.0) + 1.0)
        dead: list[DeadMessage] = await queues.dead("drivers")
        print([letter.reason.upper() for letter in dead], [letter.died + 1 for letter in dead])
        kept: list[Kept] = await queues.peek("drivers", 10)
        removed: list[bool] = await queues.remove("drivers", [each.id for each in kept])
        print(removed, (await queues.redrive("drivers")) + 1)
        subscribed: Stats = await queues.subscribe("sid", "drivers", window=4)
        print(subscribed, await queues.unsubscribe("sid", "drivers"))
        print(await queues.received("sid", "r") or await queues.failed("sid", "r", delay=1.0))
        end()

    client = socketio.AsyncClient()
    consumer = Consumer(client, "drivers", namespace="/caps")

    @consumer.on("pickup")
    async def pickup(order: dict[str, int], delivery: Delivery) -> None:
        print(order["order"] + delivery["attempt"], delivery["receipt"].upper())
        if delivery["redelivered"]:
            print(delivery["queue"].upper(), delivery["id"].upper())

    @consumer.on("*")
    def others(event: str, data: object, delivery: Delivery) -> None:
        print(event.upper(), data, delivery["id"])

    try:
        await consumer.start(within=1)
    except Refused as refused:
        print(refused.code.upper(), refused.for_good)
    async with await Outbox.open("outbox.db", client, "/caps") as outbox:
        id: str = await outbox.emit("pickup", {"order": 17}, to="drivers")
        rejected: list[Rejected] = await outbox.rejected()
        print(id, [letter.reason.upper() for letter in rejected])
    async with (
        await Queues.open("memory:") as here,
        await Outbox.inside("shop.db", here, look=0.5) as inside,
    ):
        db = sqlite3.connect("shop.db")
        put: str = emit_in_transaction(db, "pickup", [1], to=["drivers"], key="k", ttl=5, delay=1)
        statement, parameters = outbox_insert("pickup", to="drivers", schema="shop")
        db.execute(statement, parameters)
        await inside.flush()
        print(put.upper(), inside.pending + 1)
    await pickup({"order": 1}, {**_delivery(), "attempt": 2})


async def test_news(stage: Stages) -> None:
    room = await stage(socketio.AsyncServer(async_mode="aiohttp"))
    assert_type(room, Stage)
    ada, bob = await room.clients("ada", "bob")
    print(ada.name.upper(), stage["bob"].name.upper(), stage.url)
    await stage.settle()
    assert room.deliveries().got_in_order(bob, "news")


def _delivery() -> Delivery:
    return Delivery(id="a-1", queue="q", attempt=1, redelivered=False, receipt="r")
