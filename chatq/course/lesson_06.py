"""The exercises of lesson 06: a hub that counts recipients, and one that keeps a few messages.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from typing import Any

from ..internals.client_tap import Client
from .check import Exercise
from .generated.scenes_06 import Drivers, Latest
from .trial import Trial

__all__ = ["EXERCISES"]


async def _honest(trial: Trial) -> None:
    await trial.serve()
    vendor, shop, ada, bob = await trial.clients("vendor", "shop", "ada", "bob", hears=["pickup"])

    async def hands_over(package: str, to: set[str], what: str) -> None:
        before = trial.stage.journal.messages
        count = await trial.asks(vendor, "pickup", package)
        trial.equal(f"the answer to {package}, {what}", "vendor", count, len(to))
        trial.got("pickup", to, package, since=before)

    await hands_over("O-1", set(), "before anybody drives")
    await trial.says(ada, "drive")
    await hands_over("O-2", {"ada"}, "when ada drives")
    await trial.says(bob, "drive")
    await trial.says(bob, "drive")
    await hands_over("O-3", {"ada", "bob"}, "when ada and bob drive, and bob has said it twice")
    await trial.stage.cut("ada")
    await trial.settle()
    await hands_over("O-4", {"bob"}, "when ada is cut off")
    await bob.disconnect()
    await trial.settle()
    await hands_over("O-5", set(), "when bob has hung up, too")
    before = trial.stage.journal.messages
    count = await trial.asks(shop, "pickup", "O-6")
    trial.equal("the answer to O-6, of another vendor", "shop", count, 0)
    trial.got("pickup", set(), "O-6", since=before)


async def _remembers(trial: Trial) -> None:
    await trial.serve()
    got: dict[str, list[Any]] = {name: [] for name in ("vendor", "ada", "bob")}

    async def comes(name: str) -> Client:
        client = await trial.stage.client(name, connect=False)
        client.on("pickup", lambda *given: got[name].append(given))
        await client.connect()
        return client

    async def hands_over(*numbers: int) -> None:
        for number in numbers:
            await trial.says(vendor, "pickup", f"O-{number}")

    async def drives(client: Client, last: int, missed: list[int], lost: int, what: str) -> None:
        got[client.name].clear()
        answer = await trial.asks(client, "drive", last)
        trial.in_order(what, client.name, got[client.name], [(n, f"O-{n}") for n in missed])
        trial.equal(f"how many are lost for good: {what}", client.name, answer, lost)

    vendor = await comes("vendor")
    await hands_over(1, 2)
    ada = await comes("ada")
    await drives(ada, 0, [1, 2], 0, "ada comes late, and has had none")
    await hands_over(3)
    trial.in_order(
        "ada is there when one more comes", "ada", got["ada"], [(1, "O-1"), (2, "O-2"), (3, "O-3")]
    )
    await trial.stage.cut("ada")
    await trial.settle()
    await hands_over(4)
    bob = await comes("bob")
    await drives(bob, 0, [2, 3, 4], 1, "bob has had none, and only three are kept")
    ada = await comes("ada")
    await drives(ada, 3, [4], 0, "ada was cut off after number 3, and is back")
    trial.in_order(
        "what ada has missed is for ada only", "bob", got["bob"], [(n, f"O-{n}") for n in (2, 3, 4)]
    )
    await ada.disconnect()
    await trial.settle()
    await hands_over(5, 6, 7, 8)
    ada = await comes("ada")
    await drives(ada, 4, [6, 7, 8], 1, "ada has missed four, and only three are kept")
    trial.nothing("the vendor does not drive", "vendor", got["vendor"])


EXERCISES = [
    Exercise(
        "06.1",
        "a hub that says how many were there",
        _honest,
        "the handler's return value is what the vendor is told: who was there at that moment, and "
        "who tells the hub when a driver has gone?",
        Drivers,
    ),
    Exercise(
        "06.2",
        "a hub that remembers the last three",
        _remembers,
        "each package has a number of its own, that never changes: which numbers has this driver "
        "not had, and which of them does the hub still have?",
        Latest,
    ),
]
