"""What lesson 00b says of Python beside JavaScript, and no cell of it shows."""

import asyncio


async def test_an_await_with_nothing_to_wait_for_is_no_change_of_turn() -> None:
    seen = []
    door = asyncio.Event()
    door.set()

    async def guest(name: str) -> None:
        seen.append(f"{name} 1")
        await door.wait()
        seen.append(f"{name} 2")

    await asyncio.gather(guest("ada"), guest("bob"))
    assert seen == ["ada 1", "ada 2", "bob 1", "bob 2"]
