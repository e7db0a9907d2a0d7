"""Mistakes that the tests of the queues have to notice, planted one at a time into a copy.

`python tests/mutants.py` plants each, runs the tests against it and prints who noticed;
`--sample N` takes N of them (`--seed` says which), `--only NAME` one, `--jobs N` several at once.
It fails if a mistake goes unnoticed. `test_mutants.py` looks that each still has its place.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MUTANTS", "Mutant", "planted"]

ROOT = Path(__file__).resolve().parent.parent
#: The model first: it has to find nearly all of them.
SUITES = [
    "test_model",
    "test_stores",
    "test_queues",
    "test_attempts",
    "test_rules",
    "test_leases",
    "test_frame",
    "test_trail",
]
SUITES += ["test_peek", "test_steady_clock"]
SUITES = [f"queues/{suite}.py" for suite in SUITES]
SUITES += ["queues/nats/test_nats_store.py", "queues/nats/test_snapshots.py"]
SUITES += ["queues/nats/test_stream_gone.py", "queues/nats/test_reader.py"]
SUITES += ["queues/test_location.py", "queues/test_crash.py"]
OPTIONS = ["--long", "--no-header", "-p", "no:cacheprovider", "-o", "addopts="]


@dataclass(frozen=True)
class Mutant:
    """One mistake: `old`, which occurs once in `chatq/queues/<module>.py`, becomes `new`."""

    name: str
    module: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "what was rolled back has left a trail",
        "sqlite_memory",
        "        self._notes.clear()\n",
        "",
    ),
    Mutant(
        "a trail that grows for ever",
        "sqlite_trail",
        "if before // _SLICE != self._end // _SLICE:",
        "if not self._end:",
    ),
    Mutant(
        "nobody knows what was acknowledged",
        "sqlite_puts",
        "self._notes.note(ACKNOWLEDGED, queue.name, numbers)",
        "pass",
    ),
    Mutant(
        "nobody knows what was acknowledged (memory, NATS)",
        "state",
        "self.trail.notes.note(ACKNOWLEDGED, item.queue.name, (item.number,))",
        "pass",
    ),
    Mutant(
        "a lease that ended is no failure",
        "sqlite_claims",
        "SET failures = failures + 1, suspect = 1 WHERE",
        "SET suspect = 1 WHERE",
    ),
    Mutant(
        "a lease that ended is no failure (memory, NATS)",
        "state",
        "            ended.failures += 1\n",
        "",
    ),
    Mutant(
        "who is suspect is forgotten with the process",
        "sqlite_upkeep",
        "            found.suspects = {",
        "            {",
    ),
    Mutant(
        "what the end of the server breaks off again and again comes with others",
        "sqlite_claims",
        "                    self._suspect(queue, [row[0]])\n",
        "                    pass\n",
    ),
    Mutant(
        "a suspect message comes with others",
        "sqlite_claims",
        "return len(again) < limit and (not lonely or (alone and not again))",
        "return len(again) < limit",
    ),
    Mutant(
        "a suspect message comes with others (memory, NATS)",
        "state",
        "            if item is None or (item.suspect and (n or not alone)):\n",
        "            if item is None:\n",
    ),
    Mutant(
        "others follow a suspect message (memory, NATS)",
        "state",
        "            yield item\n            if item.suspect:\n                return\n",
        "            yield item\n",
    ),
    Mutant(
        "who is gone is taken for one that lives, since it answered others",
        "in_flight",
        "there and self._answered > sent.number",
        "self._answered > sent.number",
    ),
    Mutant(
        "who answered others before it froze is taken for one that lives",
        "in_flight",
        "there and self._answered > sent.number",
        "there and self._answered > 0",
    ),
    Mutant(
        "what is put is claimed in a transaction of its own",
        "delivery",
        "                next(iter(consumers.by_sid.values())).expect()\n",
        "                pass\n",
    ),
    Mutant(
        "a claim of some of what was put leaves nobody to claim the rest",
        "sqlite_claims",
        "        if len(rows) < limit and due is None and not (in_order or suspect):\n",
        "        if due is None and not (in_order or suspect):\n",
    ),
    Mutant(
        "nobody hears of a delay beside what is claimed at once",
        "sqlite_claims",
        "        if len(rows) < limit and due is None and not (in_order or suspect):\n",
        "        if len(rows) < limit and not (in_order or suspect):\n",
    ),
    Mutant(
        "a claim of some of what was put leaves nobody to claim the rest (memory, NATS)",
        "state",
        "        if following is None and queue.first_waiting() is None and not in_order:\n",
        "        if queue.first_waiting() is None and not in_order:\n",
    ),
    Mutant(
        "nobody hears of a delay beside what is claimed at once (memory, NATS)",
        "state",
        "        if following is None and queue.first_waiting() is None and not in_order:\n",
        "        if following is None and not in_order:\n",
    ),
    Mutant(
        "queues in use keep all that come after them in memory",
        "sqlite_upkeep",
        "                if queue.name in self._queues:  # in use: after all others now\n",
        "                if False:\n",
    ),
    Mutant(
        "of many new queues only some leave memory",
        "sqlite_upkeep",
        "islice(self._queues.values(), self._taken_up + _SWEEP)",
        "islice(self._queues.values(), _SWEEP)",
    ),
    Mutant(
        "more is sent beside a suspect message",
        "turns",
        "            if any(sent.suspect for sent in self._alone.sent.values()):\n",
        "            if False:\n",
    ),
    Mutant(
        "a suspect message is sent beside what its client has of another queue",
        "turns",
        "any(each.sent for each in self._members)",
        "bool(member.sent)",
    ),
    Mutant(
        "a suspect message waits for ever for a client that is at work",
        "turns",
        "        late = self._waiting.get(member, now + 1) <= now\n",
        "        late = False\n",
    ),
    Mutant(
        "the oldest message is claimed with others though it is suspect",
        "sqlite_claims",
        "        if suspect and not alone:\n",
        "        if False:\n",
    ),
    Mutant(
        "a consumer that is at work gets more all the same",
        "subscription",
        "            self._paused.add(receipt)\n",
        "            pass\n",
    ),
    Mutant(
        "what a goodbye gives back is a failure",
        "in_flight",
        "(self.store.release(r, counted=False, sent=begun) for r in receipts)",
        "(self.store.release(r) for r in receipts)",
    ),
    Mutant(
        "what was not begun was an attempt",
        "in_flight",
        "(self.store.release(r, counted=False, sent=begun) for r in receipts)",
        "(self.store.release(r, counted=False) for r in receipts)",
    ),
    Mutant(
        "a goodbye keeps its leases",
        "delivery",
        "        if goodbye and (receipts",
        "        if False and (receipts",
    ),
    Mutant(
        "who is cut off keeps nothing",
        "delivery",
        "        if goodbye and (receipts",
        "        if (receipts",
    ),
    Mutant(
        "the number of a packet decides what an answer is for",
        "delivery",
        "        if holder is None:\n            return False\n",
        "        if True:\n            return False\n",
    ),
    Mutant(
        "a late answer settles nothing",
        "delivery",
        "            self.in_flight.acknowledged(receipt)\n",
        "            pass\n",
    ),
    Mutant(
        "an extended lease ends when it would have",
        "leases",
        "Lease(before.receipt, before.queue, until, before.item)",
        "Lease(before.receipt, before.queue, before.until, before.item)",
    ),
    Mutant(
        "an extended lease ends when it would have (memory, NATS)",
        "state",
        "                item.until = now + lease\n                self._receipts",
        "                self._receipts",
    ),
    Mutant(
        "a server lets go of a lease that was extended",
        "in_flight",
        "                holder.sent[receipt].until = until\n",
        "                pass\n",
    ),
    Mutant(
        "a clock that goes back stands still",
        "steady_clock",
        "            self._back += max(0.0, self._last - read)",
        "            self._back += 0.0",
    ),
    Mutant(
        "the clock on the wall is looked at again",
        "steady_clock",
        "        return self._start + _passed()",
        "        return time.time()",
    ),
    Mutant(
        "no step of the clock on the wall is left out",
        "steady_clock",
        "    return _Wall() if clock is time.time else",
        "    return",
    ),
    Mutant(
        "what a delay waits for is not moved back with the clock",
        "sqlite_schema",
        '        ("retry", "due"),\n',
        "",
    ),
    Mutant(
        "what expires is not moved back with the clock",
        "sqlite_schema",
        '        ("pending", "expires"),\n',
        "",
    ),
    Mutant(
        "how late it is, is not written with a delay",
        "sqlite_claims",
        'self._db.execute("UPDATE meta SET seen = ?", (self._clock(),))',
        "pass",
    ),
    Mutant(
        "a clock behind the log stays behind (NATS)",
        "nats.nats_store",
        "behind = self._clock.reach(self._replica.state.now)",
        "behind = 0.0",
    ),
    Mutant(
        "a snapshot forgets its time (NATS)",
        "state",
        'state._now = head["now"]',
        "state._now = 0.0",
    ),
    Mutant(
        "times that lie ahead are waited for",
        "sqlite_schema",
        "    if back <= 1:\n",
        "    if True:\n",
    ),
    Mutant(
        "nobody hears that the next in order is free",
        "sqlite_memory",
        "if n > 0 or queue.in_order:",
        "if n > 0:",
    ),
    Mutant(
        "nobody hears that the next in order is free (memory, NATS)",
        "stock",
        "        if name in self._in_order:\n",
        "        if False:\n",
    ),
    Mutant(
        "a lease is counted from sending",
        "in_flight",
        "until = claimed_at + self._in_flight.rules.lease",
        "until = self._in_flight.clock() + self._in_flight.rules.lease",
    ),
    Mutant(
        "a bare packet acknowledgement settles",
        "sender",
        "if len(answer) == 1 and answer[0] == receipt:",
        "if True:",
    ),
    Mutant(
        "deleted when it is sent",
        "sender",
        "        callback = self.sent[receipt].callback = partial(self._acknowledged, receipt)\n",
        "        callback = self.sent[receipt].callback = partial(self._acknowledged, receipt)\n"
        "        self._in_flight.acknowledged(receipt)\n",
    ),
    Mutant(
        "an offset instead of one by one: all that is older is deleted too",
        "sqlite_puts",
        '                self._delete_rows("pending", queue, numbers)\n',
        '                self._db.execute("DELETE FROM pending WHERE queue = ? AND seq <= ?", '
        "(queue.id, numbers[-1]))\n",
    ),
    Mutant(
        "a receipt is that of the message, the same for each attempt",
        "sqlite_claims",
        "        leases = self._leases.grant(queue.name, outs, until)\n",
        "        leases = self._leases.grant(queue.name, outs, until)\n"
        "        for lease in leases:\n"
        "            self._leases._by_receipt.pop(lease.receipt)\n"
        "            self._leases._by_queue[queue.name].pop(lease.receipt)\n"
        "            lease.receipt = f'{lease.item.seq:032x}'\n"
        "            self._leases.restore(lease)\n",
    ),
    Mutant(
        "a receipt settles again and again",
        "leases",
        "self._by_receipt.pop(receipt, None) if isinstance(receipt, str) else None",
        "self._by_receipt.get(receipt, None) if isinstance(receipt, str) else None",
    ),
    Mutant(
        "the lease ends with the connection",
        "delivery",
        "                del self._consumers[queue]\n"
        "            self.in_flight.let_go(subscription)\n",
        "                del self._consumers[queue]\n"
        "            for receipt in [*subscription.sent]:\n"
        "                subscription.settled(receipt)\n"
        "                self.in_flight.lapsed(receipt)\n"
        "                releasing = asyncio.ensure_future(self._store.release(receipt))\n"
        "                self.in_flight.tasks.add(releasing)\n"
        "            self.in_flight.let_go(subscription)\n",
    ),
    Mutant(
        "live messages go round the store",
        "queues",
        "        stored = await self.store.put(messages)\n",
        "        stored = await self.store.put(messages)\n"
        "        for message, ids in zip(messages, stored):\n"
        "            for name, id in zip(message.queues, ids):\n"
        "                all_of_them = self._delivery._subscriptions.values()\n"
        "                for one in [one for one in all_of_them if one.queue == name][:1]:\n"
        "                    delivery = {'id': id, 'queue': name, 'attempt': 1,\n"
        "                        'redelivered': False, 'receipt': ''}\n"
        "                    if not one.frame:\n"
        "                        await one._sio.emit(message.event, (decode(message.body),\n"
        "                            delivery), to=one.sid, namespace=one._namespace)\n",
    ),
    Mutant(
        "anybody may answer with anybody's receipt",
        "in_flight",
        "return holder.sid == sid or (not holder.connected and consumes(sid, holder.queue))",
        "return True",
    ),
    Mutant(
        "who was cut off cannot be stood in for",
        "in_flight",
        "return holder.sid == sid or (not holder.connected and consumes(sid, holder.queue))",
        "return holder.sid == sid",
    ),
    Mutant(
        "attempts are counted in memory, not in the file",
        "sqlite_claims",
        '"UPDATE pending SET attempts = attempts + 1, due = NULL WHERE queue = ? AND seq"',
        '"UPDATE pending SET attempts = attempts, due = NULL WHERE queue = ? AND seq"',
    ),
    Mutant(
        "the count of attempts is not synced before the message is sent",
        "sqlite_store",
        '_UNSYNCED = {"ack", "extend", ',
        '_UNSYNCED = {"ack", "claim", "extend", ',
    ),
    Mutant(
        "what is stored is not synced before it is answered",
        "sqlite_store",
        '_UNSYNCED = {"ack", "extend", ',
        '_UNSYNCED = {"ack", "put", "extend", ',
    ),
    Mutant(
        "acknowledgements are synced each on its own",
        "sqlite_store",
        '_UNSYNCED = {"ack", "extend", ',
        '_UNSYNCED = {"extend", ',
    ),
    Mutant(
        "what comes again does not say so",
        "frame",
        '"redelivered": attempt.number > 1,',
        '"redelivered": attempt.number > 2,',
    ),
    Mutant(
        "attempts are not bounded",
        "rules",
        '    if failures >= rules.attempts:\n        return f"not',
        '    if failures >= 9 * rules.attempts:\n        return f"not',
    ),
    Mutant(
        "one attempt too few",
        "rules",
        '    if failures >= rules.attempts:\n        return f"not',
        '    if failures + 1 >= rules.attempts:\n        return f"not',
    ),
    Mutant(
        "refusals are not bounded",
        "rules",
        "    if failures >= rules.attempts:\n        return None\n",
        "",
    ),
    Mutant(
        "the window is ignored",
        "subscription",
        "        return (1 if self.suspect else window) - len(self.sent)\n",
        "        return 1 if self.suspect else window\n",
    ),
    Mutant(
        "nobody looks again at what is out when its consumption was ended",
        "in_flight",
        "            alarm.set(next(iter(holder.sent.values())).until)\n",
        "",
    ),
    Mutant(
        "who lets leases end gets whole windows all the same",
        "subscription",
        "        return (1 if self.suspect else window) - len",
        "        return window - len",
    ),
    Mutant(
        "a whole window is claimed although half of it is out",
        "subscription",
        "room = min(room, (self.window + 1) // 2)",
        "pass",
    ),
    Mutant(
        "who lets leases end asks first all the same",
        "subscription",
        "        if not others:\n",
        "        if True:\n",
    ),
    Mutant(
        "a message that is never answered keeps all others away",
        "in_flight",
        "            self._in_flight.lapsed(receipt, suspect=not lives)\n",
        "            self._in_flight.lapsed(receipt, suspect=True)\n",
    ),
    Mutant(
        "whoever asks first is served first, always",
        "subscription",
        "consumers.by_sid[self.sid] = consumers.by_sid.pop(self.sid)",
        "pass",
    ),
    Mutant(
        "a window of 1 is not in order",
        "subscription",
        "self.window == 1",
        "False",
    ),
    Mutant(
        "a renewal that is too late keeps its place",
        "in_flight",
        "            if not is_current:",
        "            if False:",
    ),
    Mutant(
        "a full window does not wait for its own leases",
        "subscription",
        "                self._alarm.set(next(iter(self.sent.values())).until)\n",
        "                pass\n",
    ),
    Mutant(
        "the next claim begins too far on",
        "sqlite_claims",
        "rows[-1][0] + 1 if len(rows) == limit else self._next\n",
        "rows[-1][0] + 2 if len(rows) == limit else self._next\n",
    ),
    Mutant(
        "the next claim begins at the end in any case",
        "sqlite_claims",
        "rows[-1][0] + 1 if len(rows) == limit else self._next\n",
        "self._next\n",
    ),
    Mutant(
        "where the next claim begins is not put back with its transaction",
        "sqlite_memory",
        '        self._undo.append(lambda: setattr(queue, "next", before))\n',
        "",
    ),
    Mutant(
        "what waited over a restart is leased twice",
        "sqlite_claims",
        "        ahead = {seq for _, seq in entries if seq >= queue.next}\n",
        "        ahead: set[int] = set()\n",
    ),
    Mutant(
        "leases are not taken back with their transaction",
        "sqlite_memory",
        "            self._undo.append(lambda: self._leases.restore(lease))\n",
        "            pass\n",
    ),
    Mutant(
        "lengths are not put back with their transaction",
        "sqlite_memory",
        "            queue.count -= n\n",
        "            pass\n",
    ),
    Mutant(
        "what a failed transaction had gathered is written by the next",
        "sqlite_puts",
        "            batch.clear()\n",
        "            pass\n",
    ),
    Mutant(
        "a run takes one message too many",
        "sqlite_puts",
        "run.room < places",
        "run.room < places - 1",
    ),
    Mutant(
        "a heavy message has the place of a light one in a run",
        "sqlite_puts",
        "        run.room -= places\n",
        "        run.room -= 1\n",
    ),
    Mutant(
        "heavy messages are bound to one statement",
        "sqlite_puts",
        "            self._insert_bodies()\n",
        '            self._insert("body", _BODY, self._new_bodies)\n',
    ),
    Mutant(
        "a call of plain messages is not all or nothing",
        "sqlite_puts",
        "                return False  # there may be a run, too\n",
        "                pass\n",
    ),
    Mutant(
        "what is put plainly loses its key",
        "sqlite_puts",
        "message[3:] != _PLAIN:",
        "message[4:] != _PLAIN[1:]:",
    ),
    Mutant(
        "a run is not counted",
        "sqlite_puts",
        "        self._grow(run.queue, n)\n",
        "",
    ),
    Mutant(
        "acknowledgements of some take those between with them",
        "sqlite_upkeep",
        "if last - first + 1 == len({*numbers}):",
        "if numbers:",
    ),
    Mutant(
        "acknowledgements that were not written are forgotten",
        "sqlite_rows",
        "        self._undo.append(undo)\n",
        "        del undo\n",
    ),
    Mutant(
        "a key is forgotten when its message is acknowledged",
        "sqlite_rows",
        "        for out in outs:\n            self._release_body(",
        "        for out in outs:\n"
        '            self._db.execute("DELETE FROM key WHERE queue = ? AND seq = ?", '
        "(queue.id, out.seq))\n"
        "            self._release_body(",
    ),
    Mutant(
        "a key is never forgotten",
        "sqlite_puts",
        "        new_keys: set[tuple[str, str]] = set()\n        now = self._clock()\n",
        "        new_keys: set[tuple[str, str]] = set()\n        now = 0.0\n",
    ),
    Mutant(
        "the time to live is ignored",
        "rules",
        "    if expires is not None and expires <= now:\n",
        "    if expires is not None and expires <= 0:\n",
    ),
    Mutant(
        "the body of a fan-out goes with its first copy",
        "sqlite_rows",
        "copies = copies - 1 WHERE id",
        "copies = copies - 9 WHERE id",
    ),
    Mutant(
        "the body of a fan-out stays for ever",
        "sqlite_rows",
        'self._db.execute("DELETE FROM body WHERE id = ? AND copies < 1", (body,))',
        "pass",
    ),
    Mutant(
        "redriven as a new message",
        "sqlite_rows",
        '"INSERT INTO pending SELECT queue, seq, body, attempts, 0, NULL, ?, 0, attempts "',
        '"INSERT INTO pending SELECT queue, seq + 50000, body, attempts, 0, NULL, ?, 0, attempts "',
    ),
    Mutant(
        "old attempts weigh after a redrive",
        "sqlite_rows",
        '"INSERT INTO pending SELECT queue, seq, body, attempts, 0, NULL, ?, 0, attempts "',
        '"INSERT INTO pending SELECT queue, seq, body, attempts, attempts, NULL, ?, 0, attempts "',
    ),
    Mutant(
        "old deliveries weigh after a redrive",
        "sqlite_rows",
        '"INSERT INTO pending SELECT queue, seq, body, attempts, 0, NULL, ?, 0, attempts "',
        '"INSERT INTO pending SELECT queue, seq, body, attempts, 0, NULL, ?, 0, 0 "',
    ),
    Mutant(
        "old deliveries weigh after a redrive (memory, NATS)",
        "state",
        "item.redriven = item.attempts",
        "item.redriven = 0",
    ),
    Mutant(
        "the wait after a failure is ignored where order is strict",
        "sqlite_claims",
        "        if due is not None and due > now:\n            return [], due, False\n",
        "",
    ),
    Mutant(
        "the wait after a failure is forgotten",
        "in_flight",
        "        return await self.store.release(receipt, wait)\n",
        "        return await self.store.release(receipt)\n",
    ),
    Mutant(
        "what was never sent counts as an attempt",
        "in_flight",
        "self.store.release(a.receipt, sent=False) for a in attempts",
        "self.store.release(a.receipt) for a in attempts",
    ),
    Mutant(
        "what was never sent is forgotten",
        "in_flight",
        "        await asyncio.gather(*(self.store.release(a.receipt, sent=False) "
        "for a in attempts))\n",
        "        await self.store.ack([a.receipt for a in attempts])\n",
    ),
    Mutant(
        "numbers are given again after a crash",
        "sqlite_puts",
        '            self._db.execute("UPDATE meta SET next = ?", (self._last,))\n',
        "",
    ),
    Mutant(
        "numbers are given again after a goodbye",
        "sqlite_upkeep",
        '        self._db.execute("UPDATE meta SET next = ?", (self._next,))\n',
        '        self._db.execute("UPDATE meta SET next = (SELECT '
        'coalesce(max(seq), 0) + 1 FROM pending)")\n',
    ),
    Mutant(
        "what was counted at a goodbye is believed after a crash",
        "sqlite_upkeep",
        "SET pending = NULL, dead = NULL, emptied = NULL WHERE",
        "SET id = id WHERE",
    ),
    Mutant(
        "an error of the disk is kept from the producer",
        "sqlite_store",
        "            return [(future, None, failure) for _, _, future in requests]\n",
        "            return [(future, [['x']], None) for _, _, future in requests]\n",
    ),
    Mutant(
        "after an error of the disk it goes on as if nothing were",
        "sqlite_store",
        "            if self._broken:\n                raise StoreError(self._broken)\n"
        "            return self._execute",
        "            return self._execute",
    ),
    Mutant(
        "a file that is gone is written on",
        "sqlite_store",
        "if identity(self._absolute) != self._file:",
        "if False:",
    ),
    Mutant(
        "frames are cut by their number alone",
        "frame",
        " or size + len(attempt.body) > _LARGEST",
        "",
    ),
    Mutant(
        "the length limit is one too large",
        "sqlite_puts",
        "        if queue.count >= self._limits.length:\n",
        "        if queue.count > self._limits.length:\n",
    ),
    Mutant(
        "closing drops the last acknowledgements",
        "in_flight",
        "        self._closed = True  # an answer that comes from here on is too late\n"
        "        self.flush()\n",
        "        self._closed = True\n        self._acknowledged.clear()\n",
    ),
    Mutant(
        "leaving does not let the next in line go on",
        "delivery",
        "        self._notify(queue)  # somebody",
        "        # somebody",
    ),
    Mutant(
        "a polling client gets all at once",
        "sender",
        "POLLING = 12\n",
        "POLLING = 1000\n",
    ),
    Mutant(
        "a receipt of an attempt whose lease has ended still settles (NATS)",
        "state",
        "            self._take(ended.receipt)\n",
        "            queue.out.pop(ended.receipt)\n",
    ),
    Mutant(
        "a record that was written twice counts twice (NATS)",
        "state",
        "if record.number <= self._servers.get(record.server, 0):",
        "if False:",
    ),
    Mutant(
        "an attempt is not counted (NATS)",
        "state",
        "            item.attempts += 1\n",
        "            item.attempts = 1\n",
    ),
    Mutant(
        "a snapshot forgets the keys (NATS)",
        "nats.snapshots",
        "known = 0 if before is None else before.newest",
        "known = state.newest",
    ),
    Mutant(
        "a snapshot forgets whose receipt is whose (NATS)",
        "stock",
        "                    if item.state == OUT:\n                        self._receipts",
        "                    if item.state == DEAD:\n                        self._receipts",
    ),
    Mutant(
        "records are removed that the last snapshot needs (NATS)",
        "nats.snapshots",
        'await log.purge(min(needed, end), "log")',
        'await log.purge(state.applied, "log")',
    ),
    Mutant(
        "dead messages stay in old records (NATS)",
        "state",
        "(queue.items.get(number) or queue.dead.get(number)) if queue else None",
        "queue.items.get(number) if queue else None",
    ),
    Mutant(
        "a server that closes keeps what it holds (NATS)",
        "nats.nats_store",
        "if held and not self._broken:",
        "if False:",
    ),
    Mutant(
        "a put that nobody has confirmed is answered (NATS)",
        "nats.nats_store",
        "                _fail(each, error)\n",
        "                each.future.done() or each.future.set_result([['?']])\n",
    ),
    Mutant(
        "what was claimed for nobody stays out (NATS)",
        "nats.nats_store",
        "                    if not known:",
        "                    if False:",
    ),
    Mutant(
        "new messages before those given back (NATS)",
        "state",
        "        item = queue.first_back()\n",
        "        item = queue.first_fresh() or queue.first_back()\n",
    ),
    Mutant(
        "in order, but past one that is out (NATS)",
        "ordering",
        "return self.state in (FRESH, BACK) or",
        "return self.state in (FRESH, BACK, OUT) or",
    ),
    Mutant(
        "nobody looks when the lease of another server ends (NATS)",
        "nats.nats_store",
        "                    self._wake_at_end(verb[1])",
        "                    pass",
    ),
    Mutant(
        "a hole in the log is read over (NATS)",
        "nats.reader",
        "if place != self._last + 1:",
        "if False:",
    ),
    Mutant(
        "one message more than a queue may hold (NATS)",
        "state",
        "+ count - record.limits.length\n",
        "+ count - record.limits.length - 1\n",
    ),
    Mutant(
        "a key is forgotten early (memory, NATS)",
        "keys",
        "known[1] > now else None",
        "known[1] > now + 2 else None",
    ),
    Mutant(
        "what was never sent is an attempt (NATS)",
        "state",
        "        item.attempts -= not sent\n        item.failures",
        "        item.failures",
    ),
    Mutant(
        "given back with a delay, and delivered at once (NATS)",
        "state",
        "self._give_back(item, now + delay, delayed=delay > 0)",
        "self._give_back(item, now, delayed=False)",
    ),
    Mutant(
        "a redriven message expires again (NATS)",
        "state",
        "item.failures, item.suspect, item.expires = 0, False, None",
        "item.failures, item.suspect = 0, False",
    ),
    Mutant(
        "a lease that ends at once (NATS)",
        "state",
        "item.state, item.until = OUT, now + lease",
        "item.state, item.until = OUT, now",
    ),
    Mutant(
        "the body of another message (NATS)",
        "nats.bodies",
        "return [found[place][index] for place, index in wanted]",
        "return [found[place][0] for place, index in wanted]",
    ),
    Mutant(
        "what is frozen is changed by an answer (NATS)",
        "stock",
        "            self._will_change(item)\n            del item.queue.out[receipt]\n",
        "            del item.queue.out[receipt]\n",
    ),
    Mutant(
        "what is frozen is changed by an end (NATS)",
        "stock",
        "        self._will_change(item)\n        self._kept -= 1\n        item.queue",
        "        self._kept -= 1\n        item.queue",
    ),
    Mutant(
        "what is frozen is changed by a death (NATS)",
        "stock",
        "        self._will_change(item)\n        queue = item.queue\n",
        "        queue = item.queue\n",
    ),
    Mutant(
        "what is frozen is changed by the loss of a dead letter (NATS)",
        "stock",
        "        self._will_change(item)\n        del item.queue.dead",
        "        del item.queue.dead",
    ),
    Mutant(
        "what is frozen is changed by a claim (NATS)",
        "state",
        "            self._will_change(item)\n            item.attempts += 1\n",
        "            item.attempts += 1\n",
    ),
    Mutant(
        "what is frozen is changed by a redrive (NATS)",
        "state",
        "            self._will_change(item)\n            del queue.dead",
        "            del queue.dead",
    ),
    Mutant(
        "what is frozen is changed by a move of bodies (NATS)",
        "state",
        "                    self._will_change(item)\n",
        "",
    ),
    Mutant(
        "what is put while a snapshot is taken is in it (NATS)",
        "frozen",
        "if item.number <= self._newest)",
        "if item)",
    ),
    Mutant(
        "a snapshot forgets that a message was redriven (NATS)",
        "ordering",
        "            heapq.heappush(self.early, item.number)\n        else:\n",
        "            self.order.append(item.number)\n        else:\n",
    ),
    Mutant(
        "a snapshot has all messages in one line (NATS)",
        "frozen",
        "                left -= max(1, len(part))\n",
        "                left -= min(1, len(part))\n",
    ),
    Mutant(
        "a reader asks for any number of bytes at once (NATS)",
        "nats.reader",
        '            "max_bytes": max(_BATCH_BYTES, 2 * self._connection.client.max_payload),\n',
        "",
    ),
    Mutant(
        "a reader takes a full request for a lost consumer (NATS)",
        "nats.reader",
        ' or (status == "409" and told in _PULL_FULL)',
        "",
    ),
    Mutant(
        "the marks of another stream are as good (NATS)",
        "nats.log",
        'return f"mark.{self.name}.{number}"',
        'return f"mark.{number}"',
    ),
    Mutant(
        "a node that does not know all records yet is the end (NATS)",
        "nats.log",
        "_LOOKS, _LOOK_PAUSE = 3, 0.3",
        "_LOOKS, _LOOK_PAUSE = 1, 0.3",
    ),
    Mutant(
        "a stream may take the records of another one (NATS)",
        "nats.stream",
        '"mirror", "sources", "subject_transform")',
        '"mirror")',
    ),
    Mutant(
        "an outbox may be a file named :MEMORY:",
        "location",
        'if path.lower() == ":memory:"',
        'if path == ":memory:"',
    ),
    Mutant(
        "somebody else's stream is taken (NATS)",
        "nats.stream",
        'if version is None or "chatq-name" not in metadata:',
        "if False:",
    ),
    Mutant(
        "a stream that forgets is taken (NATS)",
        "nats.stream",
        "        if changed := self.changed(found):\n",
        "        if changed := []:\n",
    ),
    Mutant(
        "nobody hears of what another server puts (NATS)",
        "nats.nats_store",
        "        for queue in state.take_touched():\n",
        "        for queue in state.take_touched() if mine else ():\n",
    ),
    Mutant(
        "keys that are still needed are removed (NATS)",
        "nats.snapshots",
        'await log.purge(min([end, *keys]), "keys")',
        'await log.purge(end, "keys")',
    ),
    Mutant(
        "a run of messages in a snapshot loses its end (NATS)",
        "ordering",
        "for n in range(kept[6]):",
        "for n in range(min(kept[6], 2)):",
    ),
    Mutant(
        "nothing expires that nobody claims",
        "sqlite_upkeep",
        "        self._expire(over[:_SWEEP])\n",
        "",
    ),
    Mutant(
        "nothing expires that nobody claims (memory, NATS)",
        "stock",
        "        while left and self._ends and",
        "        while False and self._ends and",
    ),
    Mutant(
        "the timer of what expires is not set",
        "sqlite_store",
        "            self._alarm.set(news.due)\n",
        "            pass\n",
    ),
    Mutant(
        "the timer of what expires is not set (NATS)",
        "nats.nats_store",
        "        self.notify_expired(state.take_expired())\n"
        "        self._alarm.set(state.due(self._limits))\n",
        "        self.notify_expired(state.take_expired())\n",
    ),
    Mutant(
        "what is leased expires under its consumer",
        "sqlite_upkeep",
        "            if lease.until > now\n",
        "            if False\n",
    ),
    Mutant(
        "what is leased expires under its consumer (memory, NATS)",
        "ordering",
        "return self.state != OUT or self.until <= now",
        "return True",
    ),
    Mutant(
        "what was leased when its time was over is never looked at again",
        "sqlite_upkeep",
        "        self._note_due(min((lease.until for lease in held), default=_NEVER))\n",
        "",
    ),
    Mutant(
        "what was leased when its time was over is never looked at again (memory, NATS)",
        "stock",
        "                heapq.heappush(self._ends, (end, number, item))\n",
        "                pass\n",
    ),
    Mutant(
        "what has expired takes room",
        "sqlite_upkeep",
        "        self._expire(over[:n])\n        return True\n",
        "        return False\n",
    ),
    Mutant(
        "what has expired is counted twice",
        "sqlite_upkeep",
        "        self._grow(queue, -len(gone))\n",
        "",
    ),
    Mutant(
        "dead letters are kept for ever",
        "sqlite_upkeep",
        "            (now - self._limits.dead_memory, _SWEEP),\n",
        "            (0.0, _SWEEP),\n",
    ),
    Mutant(
        "dead letters are kept for ever (memory, NATS)",
        "stock",
        "            if item.died + limits.dead_memory > now:\n",
        "            if True:\n",
    ),
    Mutant(
        "of too many dead letters the last to die goes",
        "sqlite_upkeep",
        "ORDER BY died, seq LIMIT ?",
        "ORDER BY died DESC, seq DESC LIMIT ?",
    ),
    Mutant(
        "a snapshot forgets in which order they died (NATS)",
        "frozen",
        "self._queues, self._dead = [*queues], [*dead]",
        "self._queues, self._dead = [*queues], sorted(dead, key=lambda item: item.number)",
    ),
    Mutant(
        "of too many keys the newest goes",
        "sqlite_upkeep",
        '"ORDER BY until, seq"',
        '"ORDER BY until DESC, seq DESC"',
    ),
    Mutant(
        "empty queues are known for ever",
        "sqlite_upkeep",
        "        if old:\n            self._execute_many(",
        "        if False:\n            self._execute_many(",
    ),
    Mutant(
        "a queue is forgotten before its keys (memory, NATS)",
        "store",
        "return max(self.queue_memory, self.key_memory)",
        "return self.queue_memory",
    ),
    Mutant(
        "purged, and still answered",
        "sqlite_upkeep",
        "            self._take(lease.receipt)\n        self._leave_back",
        "            pass\n        self._leave_back",
    ),
    Mutant(
        "purge takes the newest (memory, NATS)",
        "state",
        "(item := queue.oldest()) is not None:",
        "(item := queue.items[max(queue.items)] if queue.items else None) is not None:",
    ),
    Mutant(
        "purge keeps the bodies",
        "sqlite_upkeep",
        "            self._release_bodies([body for _, body, _ in rows])\n",
        "",
    ),
    Mutant(
        "discard takes all of the dead",
        "state",
        "        chosen = [queue.dead[number] for number in dict.fromkeys(wanted) "
        "if number in queue.dead]\n",
        "        chosen = [*queue.dead.values()]\n",
    ),
    Mutant(
        "a deleted queue remembers its keys (memory, NATS)",
        "state",
        "number is None or number < queue.first else number",
        "number is None else number",
    ),
    Mutant(
        "a deleted queue remembers its keys",
        "sqlite_upkeep",
        "(SELECT queue, key FROM key WHERE queue = ?",
        "(SELECT queue, key FROM key WHERE queue = -?",
    ),
    Mutant(
        "a delay is forgotten",
        "sqlite_puts",
        "                self._delay(queue, [(due, seq)])\n",
        "                pass\n",
    ),
    Mutant(
        "a delay is forgotten (memory, NATS)",
        "state",
        "                item.state, item.back = DELAYED, due\n",
        "                pass\n",
    ),
    Mutant(
        "the wait for more room does not end with its timer",
        "subscription",
        "self._gathering, self._gathered = None, True\n",
        "self._gathering = None\n",
    ),
    Mutant(
        "deliveries go by all servers (NATS)",
        "sender",
        "ignore_queue=True,  # the client",
        "ignore_queue=False,  # the client",
    ),
]


def planted(mutant: Mutant, folder: Path) -> None:
    """Plant the mistake into the modules in `folder`. Raises `ValueError` if it has no place."""
    path = folder / f"{mutant.module.replace('.', '/')}.py"
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.name!r} has {text.count(mutant.old)} places in {path.name}, not one: "
            "say in tests/mutants.py where that line is now"
        )
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")


def tried(mutant: Mutant | None) -> tuple[str, str, float]:
    """Run the tests against the mistake, or against none.

    Return its name, that of the test that noticed, or "", and how many seconds it took.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chatq-mutant-") as scratch:
        for part in ("chatq", "tests", "benchmarks"):
            skipped = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / part, Path(scratch) / part, ignore=skipped)
        for file in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / file, scratch)
        if mutant is not None:
            planted(mutant, Path(scratch) / "chatq" / "queues")
        name = mutant.name if mutant is not None else "nothing"
        for suite in SUITES:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", *OPTIONS, f"tests/{suite}"],
                cwd=scratch,
                env=os.environ | {"PYTHONPATH": scratch, "CHATQ_MUTANT": "1"},
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            if done.returncode:
                found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
                return name, found[1] if found else suite, time.monotonic() - began
    return name, "", time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sample", type=int, default=len(MUTANTS), metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="NAME", help="those with this in their name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if (given.only or "") in mutant.name]
    if given.sample < len(chosen):
        chosen = random.Random(given.seed).sample(chosen, given.sample)
    if by := tried(None)[1]:
        print(f"{by} fails although nothing was planted")
        return 1
    unnoticed = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for name, by, seconds in pool.map(tried, chosen):
            unnoticed += not by
            print(f"{name:72}  {by or 'NOT NOTICED':64} {seconds:5.1f} s", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
