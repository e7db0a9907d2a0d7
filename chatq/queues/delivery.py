"""Delivery of messages: one subscription for each consumer of each queue.

Owns the subscriptions, from when a client subscribes until it has left. Must not know: servers and
their events, how messages are kept, when a client gets more, what an acknowledgement does.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from ..journal.facts import Subscribed, Unsubscribed
from .in_flight import InFlight
from .observers import Observer
from .rules import Rules
from .store import Stats, Store
from .subscription import Consumers, Subscription

__all__ = ["Delivery"]


class Delivery:
    """Delivers messages from `store` to the consumers of their queues.

    `rules`: the limits; `clock`: gives the time in seconds since the epoch; `random`: the source of
    the jitter of the back-off.
    """

    def __init__(
        self, store: Store, rules: Rules, clock: Callable[[], float], random: Random
    ) -> None:
        self.in_flight = InFlight(store, rules, clock, random, self._notify)
        self.observers = self.in_flight.observers
        #: Whether the queues are closed, or being closed: nothing new begins.
        self.closing = False
        self._store = store
        self._subscriptions: dict[tuple[str, str], Subscription] = {}  # by sid and queue
        self._consumers: dict[str, Consumers] = {}  # by queue
        self._sweep_at = 64
        store.listen(self._notify)

    async def subscribe(
        self, sio: Any, namespace: str, sid: str, queue: str, window: int, frame: int
    ) -> Stats:
        """Start a subscription of a client to `queue`, or change its window and frame.

        Returns the counts of the queue. Raises `StoreError`.
        """
        self._sweep()
        subscription = self._subscriptions.get((sid, queue))
        if subscription is None:
            consumers = self._consumers.setdefault(queue, Consumers(self._drop))
            subscription = Subscription(
                self.in_flight, consumers, sio, namespace, sid, queue, window, frame
            )
            self._subscriptions[sid, queue] = consumers.by_sid[sid] = subscription
            self.observers.tell(Subscribed(sid, queue))
            try:
                stats = await self._store.stats(queue)
            except BaseException:
                self._drop(subscription)
                raise
            if not subscription.stopped:
                running = subscription.start()
                self.in_flight.tasks.add(running, f"the messages for {sid} of queue {queue!r}")
        else:
            subscription.window, subscription.frame = window, frame
            subscription.wake()
            stats = await self._store.stats(queue)
        return stats or Stats()

    async def unsubscribe(self, sid: str, queue: str) -> bool:
        """End this client's subscription to `queue`; return whether there was one."""
        subscription = self._subscriptions.get((sid, queue))
        if subscription is None:
            return False
        self.observers.tell(Unsubscribed(sid, queue))
        self._drop(subscription)
        await subscription.stop()
        return True

    def subscriptions(self, sid: str) -> list[str]:
        """Return the queues that `sid` consumes."""
        return [queue for name, queue in self._subscriptions if name == sid]

    def consumed(self, queue: str) -> bool:
        """Return whether `queue` has a consumer."""
        return queue in self._consumers

    async def received(self, sid: str, receipts: list[str]) -> bool:
        """Acknowledge the messages with these receipts; return whether all of them were this
        client's, and current."""
        mine = [receipt for receipt in receipts if self._may_answer(sid, receipt)]
        if not mine:
            return not receipts
        return all(await self.in_flight.received(mine)) and len(mine) == len(receipts)

    async def failed(self, sid: str, receipt: str, reason: str, delay: float | None) -> bool:
        """Negatively acknowledge a message; return whether the receipt was this client's, and
        current. `delay`: seconds until the redelivery; None: the back-off."""
        if not self._may_answer(sid, receipt):
            return False
        return await self.in_flight.failed(receipt, reason or "refused by its consumer", delay)

    def _may_answer(self, sid: str, receipt: str) -> bool:
        return self.in_flight.may_answer(sid, receipt, lambda *name: name in self._subscriptions)

    def watch(self, observer: Observer) -> Callable[[], None]:
        """See `Queues.watch`."""
        return self.observers.add(observer, [Subscribed(*name) for name in self._subscriptions])

    def tick(self) -> None:
        """See `Queues.tick`."""
        for subscription in self._subscriptions.values():
            subscription.wake()

    async def close(self, within: float) -> None:
        """End all subscriptions; see `Queues.close`."""
        for subscription in self._subscriptions.values():
            subscription.end()
        await self.in_flight.close(within)

    def _drop(self, subscription: Subscription) -> None:
        """Remove a subscription whose client has left, or has unsubscribed."""
        subscription.end()
        name, queue = (subscription.sid, subscription.queue), subscription.queue
        if self._subscriptions.get(name) is subscription:
            del self._subscriptions[name]
            consumers = self._consumers[queue]
            del consumers.by_sid[subscription.sid]
            if not consumers.by_sid:
                del self._consumers[queue]
            self.in_flight.let_go(subscription)
        self._notify(queue)  # somebody else may claim what this consumer would have claimed next

    def _notify(self, queue: str) -> None:
        if consumers := self._consumers.get(queue):
            consumers.wake()

    def _sweep(self) -> None:
        """Remove subscriptions whose clients have left, each time their number has doubled.

        (A subscription that has something to send notices by itself.)
        """
        if len(self._subscriptions) >= self._sweep_at:
            for subscription in [*self._subscriptions.values()]:
                if not subscription.connected:
                    self._drop(subscription)
            self._sweep_at = max(64, 2 * len(self._subscriptions))
