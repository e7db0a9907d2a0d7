"""Malformed and hostile input, a thousand times in each protocol (with `--long`: ten thousand), on
a bare websocket: the hub lives, answers with an error that says something, takes nothing from
anybody else, and does not grow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import aiohttp
import hubs
from bystander import Bystander
from hubs import Inbox
from sizes import size

from chatq.queues.error_codes import CODES

EVENTS = size(1_000, 10_000)
TOGETHER = 250  # sent before the answers are waited for
#: By how much the process may have grown afterwards; what Python keeps for itself is in it.
GROWN = 60e6

TEXTS = ["", "q", "drivers", "ü⚘", "\ud800", "a\nb", "\0", "__proto__", "x" * 99, "x" * 5_000,
         "NaN", "-1", "{", '{"a":', "[[", "caps names", "deliveries", "disconnect"]  # fmt: skip
NUMBERS = [0, -1, 1, 1.5, 10**30, -(10**400), 2**63, float("nan"), float("inf"), 1e308, True, False]

#: After one of these, the connection is over.
LAST = ["", "x", "9", "b!!!", "1", "é", "4", b""]

#: Answered when all that came before it has been; in both protocols.
STOP = '["received",{"messageId":"-","receipts":[]}]'


class Hostile:
    """Makes up events. `good`: some that nothing is wrong with; `known`: texts that mean something
    to somebody else."""

    def __init__(
        self, seed: int, good: list[list[Any]], fields: list[str], known: list[str]
    ) -> None:
        self.random = Random(seed)
        self.good, self.fields, self.known = good, fields, known
        self.events = [name for name, _ in good]

    def event(self) -> list[Any]:
        if self.random.random() < 0.5:
            name, data = self.random.choice(self.good)
            if isinstance(data, dict) and self.random.random() < 0.6:  # one thing is wrong with it
                data = {**data, self.random.choice([*data, *self.fields]): self.value(1)}
            return [name, data]
        name = self.random.choice([*self.events * 5, *TEXTS, 5, None, {}, [], "connect", "*"])
        return [name, *(self.value() for _ in range(self.random.choice([0, 1, 1, 1, 1, 2, 3])))]

    def value(self, depth: int = 0) -> Any:
        choose = self.random.random()
        if choose < (0.75 if depth == 0 else 0.1 if depth < 4 else 0):
            most = len(self.fields) if depth == 0 else 3
            names = self.random.sample(self.fields, self.random.randint(0, most))
            return {name: self.value(depth + 1) for name in names}
        if depth < 4 and choose < 0.15:
            return [self.value(depth + 1) for _ in range(self.random.randint(0, 4))]
        if choose < 0.16:
            return self._deep()
        if choose < 0.6 and self.known:
            return self.random.choice(self.known)
        if choose < 0.8:
            return self.random.choice(TEXTS)
        if choose < 0.8005:
            return "x" * self.random.choice([100_000, 899_000, 901_000])
        return self.random.choice([*NUMBERS, None])

    def _deep(self) -> Any:
        depth = self.random.choice([50, 99, 101, 300, 900])
        return json.loads("[" * depth + "]" * depth)

    def frames(self, namespace: str, number: int) -> Iterator[str | bytes]:
        """The frames of an event that asks for an answer; of some, no answer can come."""
        body = json.dumps(self.event())
        broken = self.random.random()
        if broken > 0.15:
            yield f"42{namespace},{number}{body}"
        elif broken > 0.10:
            count = self.random.choice([1, 1, 1, 2, 0, 99, 10**9])
            place = {"_placeholder": True, "num": self.random.choice([0, 0, 0, 1, -1, "x", None])}
            yield f"45{count}-{namespace},{number}{json.dumps([*self.event(), place])}"
            if count in (1, 2):
                yield from [self.random.randbytes(50) for _ in range(count)]
        elif broken > 0.05:
            cut = self.random.randrange(len(body))
            yield f"42{namespace},{number}{body[:cut]}"
        elif broken > 0.005:
            yield self.random.choice(
                [f"42{namespace}", f"42{namespace},", f"42{namespace},{{}}", "42/other,[1]",
                 f"43{namespace},1[]", f"43{namespace},1", f"40{namespace},", "5", "6", "2", "4[",
                 "42[" + "[" * 5_000, f"42{namespace},{'9' * 200}[]", b"\xff\x00"]
            )  # fmt: skip
        else:
            yield self.random.choice(LAST)


async def attack(hub: hubs.Hub, hostile: Hostile, events: int = EVENTS) -> dict[str, int]:
    """Send it all; count the answers by code."""
    counts: dict[str, int] = {}
    url = f"{hub.url}/socket.io/?EIO=4&transport=websocket"
    sent = 0
    async with aiohttp.ClientSession() as session:
        while sent < events:
            async with session.ws_connect(url, max_msg_size=0) as ws:
                await ws.send_str(f"40{hub.namespace},")
                going = True
                while sent < events and going:
                    end, over = min(sent + TOGETHER, events), None
                    while sent < end and over is None:
                        sent += 1
                        for frame in hostile.frames(hub.namespace, sent):
                            if frame in LAST:
                                over = frame
                            else:
                                await _send(ws, frame)
                    # An answer to the last one, and so to all before it that get one.
                    going = await _answers(ws, hub.namespace, counts, f"9{sent}")
                    if over is not None:
                        await _send(ws, over)
                        going = False
    return counts


async def beside_a_bystander(
    hub: hubs.Hub, hostile: Hostile, *, caps: bool = False
) -> dict[str, int]:
    """The same, while somebody else works, who loses nothing and waits for no more than a piece."""
    bystander = Bystander(hub, caps=caps)
    await bystander.start()
    await bystander.work(20, bystander.idle)
    attacking = asyncio.create_task(attack(hub, hostile))
    while not attacking.done():
        await bystander.work(5, bystander.attacked)
        bystander.operations += 5
    print(bystander.check())
    await bystander.stop()
    return await attacking


async def _send(ws: aiohttp.ClientWebSocketResponse, frame: str | bytes) -> None:
    if isinstance(frame, bytes):
        await ws.send_bytes(frame)
    else:
        await ws.send_str(frame)


async def _answers(
    ws: aiohttp.ClientWebSocketResponse, namespace: str, counts: dict[str, int], last: str
) -> bool:
    """Read until the answer `last`; False if the connection has ended."""
    try:
        # The first may be taken for an attachment that the last event did not bring.
        for _ in range(2):
            await ws.send_str(f"42{namespace},{last}{STOP}")
        async with asyncio.timeout(hubs.DEADLINE):
            while True:
                message = await ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        continue
                    return False
                if message.data == "2":
                    await ws.send_str("3")
                if not message.data.startswith(f"43{namespace},"):
                    continue
                number, _, rest = message.data.removeprefix(f"43{namespace},").partition("[")
                answer = json.loads("[" + rest)
                code = "ok"
                if answer and isinstance(answer[0], dict) and "error" in answer[0]:
                    error = answer[0]["error"]
                    code = error["code"]
                    assert code in CODES
                    assert error["message"]
                    assert len(error["message"]) <= 500
                if number == last:
                    return True
                counts[code] = counts.get(code, 0) + 1
    except ConnectionError:
        return False


def check(hub: hubs.Hub, counts: dict[str, int], before: int) -> None:
    print(counts, f"grown by {(hub.memory - before) / 1e6:.1f} MB")
    assert hub.process.poll() is None
    assert hub.memory - before < GROWN
    assert counts["ok"] > EVENTS / 100
    assert counts["malformed"] > EVENTS / 10
    assert "Traceback" not in hub.log
    assert "unavailable" not in counts
    assert "xxxxx" not in hub.log.replace("x" * 40, "")
    for line in hub.log.splitlines():
        assert line.startswith(
            ("warning: refused ", "warning: met ", "warning: …", "warning: cut off", "info: faster")
        )


async def test_hostile_events_of_the_protocol(tmp_path) -> None:
    with hubs.hub(folder=tmp_path) as hub:
        victim = await hub.client()
        inbox = Inbox(victim, hub.namespace)
        await hub.call(victim, "subscribe", {"queue": "victim", "window": 5})
        messages = [{"queue": "victim", "event": "e", "data": n} for n in range(10)]
        ids = (await hub.call(victim, "publish", {"messages": messages}))["ids"]
        await inbox.until(5)
        known = [*inbox.receipts, *ids, "q1", "q2"]
        fields = ["queue", "event", "data", "key", "ttl", "messages", "window", "frame", "name",
                  "receipt", "receipts", "reason", "delay", "ids"]  # fmt: skip
        good: list[list[Any]] = [
            ["publish", {"queue": "q1", "event": "e", "data": {"n": 1}}],
            ["publish", {"queue": ["q1", "q2"], "event": "e", "key": "k", "ttl": 60, "delay": 1}],
            ["publish", {"messages": [{"queue": "q2", "event": "e", "data": "x"}]}],
            ["subscribe", {"queue": "q1", "window": 3}],
            ["subscribe", {"queue": "q2", "frame": 2}],
            ["unsubscribe", {"queue": "q1"}],
            ["received", {"receipt": inbox.receipts[0]}],
            ["received", {"receipts": inbox.receipts[1:3]}],
            ["failed", {"receipt": inbox.receipts[4], "reason": "no", "delay": 0}],
            ["stats", {"queue": "victim"}],
            ["dead", {"queue": "victim"}],
            ["redrive", {"queue": "victim", "ids": ids}],
        ]
        hostile = Hostile(1, good, fields, known)
        warm = Hostile(2, good, fields, known)
        await attack(hub, warm, EVENTS // 10)
        before = hub.memory
        counts = await beside_a_bystander(hub, hostile)
        check(hub, counts, before)
        stats = await hub.call(victim, "stats", {"queue": "victim"})
        assert (stats["ready"], stats["leased"], stats["dead"]) == (5, 5, 0)
        for receipt in inbox.receipts[:5]:
            assert await hub.call(victim, "received", {"receipt": receipt}) == {"ok": True}
        await inbox.until(10)
        assert inbox.data == [*range(10)]
        await victim.disconnect()
        assert await hub.stop() < 2


async def test_hostile_events_of_the_dialect(tmp_path) -> None:
    with hubs.hub("--dialect", "caps", folder=tmp_path) as hub:
        driver = await hub.client()
        for n in range(5):
            order = {"store": "victim", "orderId": f"victim-{n}"}
            assert "id" in await hub.call(driver, "delivered", order)
        await driver.disconnect()
        fields = ["store", "clientId", "queueId", "room", "order", "payload", "event", "messageId",
                  "orderId", "id", "time"]  # fmt: skip
        known = [*(f"victim-{n}" for n in range(5)), "pickup", "delivered", "acme", "driver-1"]
        order = {"store": "acme", "orderId": "o1", "customer": "c"}
        good: list[list[Any]] = [
            ["join", "acme"],
            ["join", {"clientId": "driver-1"}],
            ["pickup", order],
            ["PICKUP", {"event": "pickup", "messageId": "m", "queueId": "acme", "order": order}],
            ["in-transit", order],
            ["delivered", order],
            ["getAll", {"queueId": "acme"}],
            ["GET-ALL", {"clientId": "driver-1", "event": "pickup"}],
            ["received", order],
            ["received", {"clientId": "driver-1", "messageId": "victim-1"}],
            ["received", {"messageId": "victim-2"}],
            ["received", {"clientId": "acme", "messageId": "victim-3", "event": "delivered"}],
        ]
        hostile = Hostile(3, good, fields, known)
        warm = Hostile(4, good, fields, known)
        await attack(hub, warm, EVENTS // 10)
        before = hub.memory
        counts = await beside_a_bystander(hub, hostile, caps=True)
        check(hub, counts, before)
        vendor = await hub.client()
        inbox = Inbox(vendor, hub.namespace)
        await hub.call(vendor, "getAll", {"store": "victim"})
        assert [one["orderId"] for one in inbox.data] == [f"victim-{n}" for n in range(5)]
        await vendor.disconnect()
        assert await hub.stop() < 2
