"""Two servers on one NATS node, as on two machines, and the end of what is under way between them.

Owns the node, and how one knows that all that was emitted has come. Must not know: which exercise
it is, who must have got what.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from typing import Any

from ..internals.client_tap import Client
from ..journal.activity import NotSettled
from ..queues.queues import Queues
from ..queues.store import StoreError
from ..stage.nats_server import MISSING, NatsNode, NatsServers, available
from ..stage.stage import Stage
from ..waiting import give_way
from .invariants import Wrong
from .trial import Trial

__all__ = ["TwoServers", "back", "elsewhere", "one_node"]

#: Emitted as an end mark: a client that has it has all that this server emitted before.
_MARK = "mark"
#: Seconds: until a manager has connected to NATS; until a mark has come, and anything else.
_CONNECTS, _MARKED, _COMES = 5.0, 8.0, 2.0

#: For how many seconds queues may look for a node that runs again.
_BACK = 10.0


@contextlib.asynccontextmanager
async def one_node() -> AsyncIterator[NatsNode]:
    """Start one NATS node; when it is killed there is no quorum. Raises `Wrong` without NATS."""
    if not available():
        raise Wrong(needs=MISSING)
    with _quiet():
        async with await NatsServers.open() as servers:
            yield servers.nodes[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # It would log every reconnection; here they are intended.
    log = logging.getLogger("chatq")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


#: Each answer as it was before it was called.
_unused: weakref.WeakKeyDictionary[Callable[..., Any], bytes] = weakref.WeakKeyDictionary()


def elsewhere(answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of an answer that shares no variable with it, as in another program, and is as
    it was when this was first asked.

    Where it holds what cannot be copied, return the answer itself.
    """
    import cloudpickle  # type: ignore[import-untyped]

    try:
        if answer not in _unused:
            _unused[answer] = cloudpickle.dumps(answer)
        copied: Callable[..., Any] = cloudpickle.loads(_unused[answer])
    except Exception:
        return answer
    return copied


async def back(queues: Queues) -> None:
    """Wait until these queues have reconnected; each try has the time-out of an emit."""
    time = asyncio.get_running_loop().time
    end = time() + _BACK
    while True:
        try:
            await queues.emit("probe", None, to="probe")
            return
        except StoreError as error:
            if time() > end:
                what = f"queues that find the node again within {_BACK:g} s"
                raise NotSettled(f"waited in vain for {what}: {error}") from None
        await give_way()  # a store that does nothing more says so at once


class TwoServers:
    """Two servers that an answer makes, and clients at them; see `open`."""

    stages: list[Stage]

    def __init__(self, stages: list[Stage]) -> None:
        self.stages = stages
        self._marks = count(1)
        self._marked: dict[str, set[Any]] = {}
        self._came = asyncio.Event()

    @classmethod
    async def open(cls, trial: Trial, url: str, until: AsyncExitStack) -> TwoServers:
        """Open a stage on each of two servers, which share nothing."""
        answer, stages = trial.answer, list[Stage]()
        copies = [elsewhere(answer) for _ in range(2)]
        try:
            for trial.answer in copies:
                stages.append(await trial.made(url))
                manager = trial.sio.manager
                if hasattr(manager, "close"):
                    until.push_async_callback(manager.close)
                if len(stages) > 1 and manager is stages[0].sio.manager:
                    raise Wrong(
                        expected="each of the two servers has a manager of its own",
                        got="both were given the same object, as if they were one program",
                    )
        finally:
            trial.answer = answer
        return cls(stages)

    async def listen(self) -> None:
        """Wait until each server hears of the other, if its client manager says when."""
        for stage in self.stages:
            manager = stage.sio.manager
            if _hears(manager) and hasattr(manager, "listening"):
                try:
                    async with asyncio.timeout(_CONNECTS):
                        await manager.listening()
                except TimeoutError:
                    raise Wrong(
                        expected="the servers hear of each other through NATS at the url that is "
                        "given",
                        got=f"no NATS was found in {_CONNECTS:g} s where the manager looks for it",
                    ) from None

    def marks(self, client: Client) -> None:
        """Let a client note the marks that it gets."""
        marked = self._marked.setdefault(client.name, set())

        def note(mark: list[int]) -> None:
            marked.add(tuple(mark))
            self._came.set()

        client.on(_MARK, note)

    def heard(self, *_: object) -> None:
        """Note that something has come: see `all_has_come`."""
        self._came.set()

    async def all_has_come(
        self, places: Mapping[str, Stage], came: Callable[[], bool], patience: float
    ) -> None:
        """Wait until all that was emitted has come to the clients at these servers.

        `came`: whether they have what they have to get: enough if the servers are linked in a way
        of their own. `patience`: for each server to be quiet, in seconds. Raises `Wrong` if nothing
        goes from one server to the other.
        """
        for stage in self.stages:
            await stage.settle(patience)
        number, apart = next(self._marks), False
        for index, stage in enumerate(self.stages):
            await stage.sio.emit(_MARK, [index, number])
        for name, there in places.items():
            for index, here in enumerate(self.stages):
                if not _linked(here.sio.manager, there.sio.manager):
                    apart = True
                elif not await self._until(partial(self._has, name, (index, number)), _MARKED):
                    raise Wrong(
                        client=name,
                        expected="the servers hear of each other through NATS at the url that is "
                        "given",
                        got=f"what the other server emits has not come in {_MARKED:g} s: its "
                        f"manager is a {type(here.sio.manager).__name__}",
                    )
        if apart:
            await self._until(came, _COMES)
            for stage in self.stages:
                await stage.settle(patience)

    def _has(self, name: str, mark: tuple[int, int]) -> bool:
        return mark in self._marked[name]

    async def _until(self, true: Callable[[], bool], within: float) -> bool:
        """Wait until this is true; return whether it became true, within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not true():
                    self._came.clear()
                    await self._came.wait()
        return true()


def _hears(manager: Any) -> bool:
    """Return whether this manager gets emits of other servers; one without peers has no channel."""
    return getattr(manager, "channel", None) is not None and not manager.write_only


def _linked(here: Any, there: Any) -> bool:
    same = _hears(there) and there.channel == getattr(here, "channel", None)
    return there is here or same
