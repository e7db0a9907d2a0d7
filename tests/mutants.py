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
SUITES = ["test_model.py", "test_stores.py", "test_queues.py", "test_policy.py", "test_leases.py"]
SUITES += ["test_frame.py", "test_nats.py", "test_crash.py"]
OPTIONS = ["--no-header", "-p", "no:cacheprovider", "-o", "addopts="]


@dataclass(frozen=True)
class Mutant:
    """One mistake: `old`, which occurs once in `chatq/queues/<module>.py`, becomes `new`."""

    name: str
    module: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "a bare packet acknowledgement settles",
        "pump",
        "if len(answer) == 1 and answer[0] == receipt:",
        "if True:",
    ),
    Mutant(
        "deleted when it is sent",
        "pump",
        "            callback = partial(self._answered, attempt.receipt)\n",
        "            callback = partial(self._answered, attempt.receipt)\n"
        "            self._source.answered(attempt.receipt)\n",
    ),
    Mutant(
        "an offset instead of one by one: all that is older is deleted too",
        "sqlite_rows",
        '"DELETE FROM pending WHERE queue = ? AND seq IN", numbers, queue.id)',
        '"DELETE FROM pending WHERE queue = ? AND seq <=", numbers[-1:], queue.id)',
    ),
    Mutant(
        "a receipt is that of the message, the same for each attempt",
        "sqlite_rows",
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
        "dispatch",
        "                del self._lines[pump.queue]\n            self._let_go(pump)\n",
        "                del self._lines[pump.queue]\n"
        "            for receipt in [*pump.out]:\n"
        "                pump.settled(receipt)\n"
        "                self.forget(receipt)\n"
        "                self._tasks.add(asyncio.ensure_future(self._store.release(receipt)))\n"
        "            self._let_go(pump)\n",
    ),
    Mutant(
        "live messages go round the store",
        "queues",
        "        ids = (await self.store.put((message,)))[0]\n",
        "        ids = (await self.store.put((message,)))[0]\n"
        "        for name in message.queues:\n"
        "            pumps = self._dispatch._pumps.values()\n"
        "            for pump in [pump for pump in pumps if pump.queue == name][:1]:\n"
        "                if not pump.frame and not pump._packets():\n"
        "                    await pump._sio.emit(event, (data, {'id': ids[0], 'queue': name,\n"
        "                        'attempt': 1, 'redelivered': False, 'receipt': ''}),\n"
        "                        to=pump.sid, namespace=pump._namespace)\n",
    ),
    Mutant(
        "anybody may answer with anybody's receipt",
        "dispatch",
        "return pump.sid == sid or (not pump.connected and (sid, pump.queue) in self._pumps)",
        "return True",
    ),
    Mutant(
        "who was cut off cannot be stood in for",
        "dispatch",
        "return pump.sid == sid or (not pump.connected and (sid, pump.queue) in self._pumps)",
        "return pump.sid == sid",
    ),
    Mutant(
        "attempts are counted in memory, not in the file",
        "sqlite_rows",
        '"UPDATE pending SET attempts = attempts + 1, due = NULL WHERE queue = ? AND seq IN"',
        '"UPDATE pending SET attempts = attempts, due = NULL WHERE queue = ? AND seq IN"',
    ),
    Mutant(
        "the count of attempts is not synced before the message is sent",
        "sqlite_store",
        "    Rows.ack,\n    Rows.release,\n",
        "    Rows.ack,\n    Rows.claim,\n    Rows.release,\n",
    ),
    Mutant(
        "what is stored is not synced before it is answered",
        "sqlite_store",
        "    Rows.ack,\n    Rows.release,\n",
        "    Rows.ack,\n    Rows.put,\n    Rows.release,\n",
    ),
    Mutant(
        "acknowledgements are synced each on its own",
        "sqlite_store",
        "    Rows.ack,\n    Rows.release,\n",
        "    Rows.release,\n",
    ),
    Mutant(
        "what comes again does not say so",
        "frame",
        '"redelivered": attempt.number > 1,',
        '"redelivered": attempt.number > 2,',
    ),
    Mutant(
        "attempts are not bounded",
        "policy",
        "    if counted > rules.attempts:\n",
        "    if counted > 10 * rules.attempts:\n",
    ),
    Mutant(
        "one attempt too few",
        "policy",
        "    if counted > rules.attempts:\n",
        "    if counted >= rules.attempts:\n",
    ),
    Mutant(
        "refusals are not bounded",
        "policy",
        "    if counted >= rules.attempts:\n        return None\n",
        "",
    ),
    Mutant(
        "the window is ignored",
        "pump",
        "        return window - len(self.out)\n",
        "        return window\n",
    ),
    Mutant(
        "nobody looks again at what is out when its consumption was ended",
        "dispatch",
        "            self._leaving[pump] = loop.call_later(max(0.0, until), self._let_go, pump)\n",
        "",
    ),
    Mutant(
        "who lets leases end gets whole windows all the same",
        "pump",
        "        self.doubtful = self.lapse() or self.doubtful\n",
        "        self.lapse()\n",
    ),
    Mutant(
        "a whole window is claimed although half of it is out",
        "pump",
        "room = min(room, (self.window + 1) // 2)",
        "pass",
    ),
    Mutant(
        "who lets leases end asks first all the same",
        "dispatch",
        "        if pump.doubtful:\n",
        "        if False:\n",
    ),
    Mutant(
        "a message that is never answered keeps all others away",
        "pump",
        "_DOUBTFUL = 2\n",
        "_DOUBTFUL = 1\n",
    ),
    Mutant(
        "whoever asks first is served first, always",
        "dispatch",
        "line.pumps[pump.sid] = line.pumps.pop(pump.sid)",
        "pass",
    ),
    Mutant(
        "a window of 1 is not in order",
        "dispatch",
        "pump.window == 1",
        "False",
    ),
    Mutant(
        "a full window does not wait for its own leases",
        "pump",
        "                self._wake_at(next(iter(self.out.values())).until)\n",
        "                pass\n",
    ),
    Mutant(
        "the next claim begins too far on",
        "sqlite_rows",
        "fresh[-1][0] + 1 if len(rows) == limit else self._next)",
        "fresh[-1][0] + 2 if len(rows) == limit else self._next)",
    ),
    Mutant(
        "the next claim begins at the end in any case",
        "sqlite_rows",
        "fresh[-1][0] + 1 if len(rows) == limit else self._next)",
        "self._next)",
    ),
    Mutant(
        "where the next claim begins is not put back with its transaction",
        "sqlite_rows",
        '        self._undo.append(lambda: setattr(queue, "next", before))\n',
        "",
    ),
    Mutant(
        "what waited over a restart is leased twice",
        "sqlite_rows",
        "        ahead = {seq for _, seq in entries if seq >= queue.next}\n",
        "        ahead: set[int] = set()\n",
    ),
    Mutant(
        "leases are not taken back with their transaction",
        "sqlite_rows",
        "            self._undo.append(lambda: self._leases.restore(lease))\n",
        "            pass\n",
    ),
    Mutant(
        "lengths are not put back with their transaction",
        "sqlite_rows",
        "            queue.count -= n\n",
        "            pass\n",
    ),
    Mutant(
        "what a failed transaction had gathered is written by the next",
        "sqlite_rows",
        "        for gathered in (self._new_bodies, self._new_rows, self._settled, self._bodies):\n"
        "            gathered.clear()\n",
        "",
    ),
    Mutant(
        "a key is forgotten when its message is acknowledged",
        "sqlite_rows",
        "        self._settled.setdefault(queue, []).append(out.seq)\n",
        "        self._settled.setdefault(queue, []).append(out.seq)\n"
        '        self._db.execute("DELETE FROM key WHERE queue = ? AND seq = ?", '
        "(queue.id, out.seq))\n",
    ),
    Mutant(
        "a key is never forgotten",
        "sqlite_rows",
        "        coming: set[tuple[str, str]] = set()\n        now = self._clock()\n",
        "        coming: set[tuple[str, str]] = set()\n        now = 0.0\n",
    ),
    Mutant(
        "the time to live is ignored",
        "policy",
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
        '"INSERT INTO pending SELECT queue, seq, body, attempts, attempts, NULL, ? "',
        '"INSERT INTO pending SELECT queue, seq + 50000, body, attempts, attempts, NULL, ? "',
    ),
    Mutant(
        "old attempts weigh after a redrive",
        "sqlite_rows",
        '"INSERT INTO pending SELECT queue, seq, body, attempts, attempts, NULL, ? "',
        '"INSERT INTO pending SELECT queue, seq, body, attempts, 0, NULL, ? "',
    ),
    Mutant(
        "the wait after a failure is ignored where order is strict",
        "sqlite_rows",
        "        if due is not None and due > now:\n            return [], due\n",
        "",
    ),
    Mutant(
        "the wait after a failure is forgotten",
        "dispatch",
        "        return await self._store.release(receipt, wait)\n",
        "        return await self._store.release(receipt)\n",
    ),
    Mutant(
        "what was never sent counts as an attempt",
        "dispatch",
        "self._store.release(a.receipt, counted=False) for a in attempts",
        "self._store.release(a.receipt) for a in attempts",
    ),
    Mutant(
        "what was never sent is forgotten",
        "dispatch",
        "        await asyncio.gather(*(self._store.release(a.receipt, counted=False) "
        "for a in attempts))\n",
        "        await self._store.ack([a.receipt for a in attempts])\n",
    ),
    Mutant(
        "numbers are given again after a crash",
        "sqlite_rows",
        '            self._db.execute("UPDATE meta SET next = ?", (self._last,))\n',
        "",
    ),
    Mutant(
        "numbers are given again after a goodbye",
        "sqlite_rows",
        '        self._db.execute("UPDATE meta SET next = ?", (self._next,))\n',
        '        self._db.execute("UPDATE meta SET next = (SELECT '
        'coalesce(max(seq), 0) + 1 FROM pending)")\n',
    ),
    Mutant(
        "what was counted at a goodbye is believed after a crash",
        "sqlite_rows",
        "SET pending = NULL, dead = NULL WHERE",
        "SET id = id WHERE",
    ),
    Mutant(
        "an error of the disk is kept from the producer",
        "sqlite_store",
        "            return [(future, None, told) for _, _, future in requests]\n",
        "            return [(future, [['x']], None) for _, _, future in requests]\n",
    ),
    Mutant(
        "after an error of the disk it goes on as if nothing were",
        "sqlite_store",
        "            if self._broken:\n                raise StoreError(self._broken)\n",
        "",
    ),
    Mutant(
        "a file that is gone is written on",
        "sqlite_store",
        "if _identity(self._place) != self._file:",
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
        "sqlite_rows",
        "        if queue.count >= self._length:\n",
        "        if queue.count > self._length:\n",
    ),
    Mutant(
        "closing drops the last acknowledgements",
        "dispatch",
        "            await set_within(self._quiet, within)\n        self.flush()\n",
        "            await set_within(self._quiet, within)\n        self._answers.clear()\n",
    ),
    Mutant(
        "leaving does not let the next in line go on",
        "dispatch",
        "        self._notify(pump.queue)  # somebody",
        "        # somebody",
    ),
    Mutant(
        "a polling client gets all at once",
        "pump",
        "_POLLING = 12\n",
        "_POLLING = 1000\n",
    ),
    Mutant(
        "a receipt of an attempt whose lease has ended still settles (NATS)",
        "nats_state",
        "            self._take(ended.receipt)\n",
        "            queue.out.pop(ended.receipt)\n",
    ),
    Mutant(
        "a record that was written twice counts twice (NATS)",
        "nats_state",
        "if record.number <= self._servers.get(record.server, 0):",
        "if False:",
    ),
    Mutant(
        "an attempt is not counted (NATS)",
        "nats_state",
        "            item.attempts += 1\n",
        "            item.attempts = 1\n",
    ),
    Mutant(
        "a snapshot forgets the keys (NATS)",
        "nats_snapshots",
        "known = 0 if before is None else before.newest",
        "known = state.newest",
    ),
    Mutant(
        "a snapshot forgets whose receipt is whose (NATS)",
        "nats_state",
        "                if item.state == OUT:\n                    state._receipts",
        "                if item.state == DEAD:\n                    state._receipts",
    ),
    Mutant(
        "records are removed that the last snapshot needs (NATS)",
        "nats_snapshots",
        'await log.purge(min(needed, end), "log")',
        'await log.purge(state.applied, "log")',
    ),
    Mutant(
        "dead messages stay in old records (NATS)",
        "nats_state",
        "(queue.items.get(number) or queue.dead.get(number)) if queue else None",
        "queue.items.get(number) if queue else None",
    ),
    Mutant(
        "a server that closes keeps what it holds (NATS)",
        "nats_store",
        "if held and not self._broken:",
        "if False:",
    ),
    Mutant(
        "a put that nobody has confirmed is answered (NATS)",
        "nats_store",
        "            self._fail(each, error or StoreError())\n",
        "            each.future.done() or each.future.set_result([['?']])\n",
    ),
    Mutant(
        "what was claimed for nobody stays out (NATS)",
        "nats_store",
        "                    if not known:",
        "                    if False:",
    ),
    Mutant(
        "new messages before those given back (NATS)",
        "nats_state",
        "            item = queue.first_back()\n",
        "            item = queue.first_fresh() or queue.first_back()\n",
    ),
    Mutant(
        "in order, but past one that is out (NATS)",
        "nats_queue",
        "return self.state in (FRESH, BACK) or",
        "return self.state in (FRESH, BACK, OUT) or",
    ),
    Mutant(
        "nobody looks when the lease of another server ends (NATS)",
        "nats_store",
        "                    self._watch(verb[1])",
        "                    pass",
    ),
    Mutant(
        "a hole in the log is read over (NATS)",
        "nats_reader",
        "if place != self._last + 1:",
        "if False:",
    ),
    Mutant(
        "one message more than a queue may hold (NATS)",
        "nats_state",
        "+ count > record.length:",
        "+ count > record.length + 1:",
    ),
    Mutant(
        "a key is forgotten early (NATS)",
        "nats_state",
        "known[1] > now else None",
        "known[1] > now + 2 else None",
    ),
    Mutant(
        "what was never sent is an attempt (NATS)",
        "nats_state",
        "        item.attempts -= not counted\n        item.queue.give_back",
        "        item.queue.give_back",
    ),
    Mutant(
        "given back with a delay, and delivered at once (NATS)",
        "nats_state",
        "item.queue.give_back(item, now + delay, delayed=delay > 0)",
        "item.queue.give_back(item, now, delayed=False)",
    ),
    Mutant(
        "a redriven message expires again (NATS)",
        "nats_state",
        "item.spent, item.expires = item.attempts, None",
        "item.spent = item.attempts",
    ),
    Mutant(
        "a lease that ends at once (NATS)",
        "nats_state",
        "item.state, item.until = OUT, now + lease",
        "item.state, item.until = OUT, now",
    ),
    Mutant(
        "the body of another message (NATS)",
        "nats_bodies",
        "return [found[place][index] for place, index in wanted]",
        "return [found[place][0] for place, index in wanted]",
    ),
    Mutant(
        "somebody else's stream is taken (NATS)",
        "nats_log",
        'if version is None or "chatq-name" not in metadata:',
        "if False:",
    ),
    Mutant(
        "a stream that forgets is taken (NATS)",
        "nats_log",
        "        if changed:\n",
        "        if False:\n",
    ),
    Mutant(
        "nobody hears of what another server puts (NATS)",
        "nats_store",
        "        for queue in touched:\n",
        "        for queue in touched if mine else ():\n",
    ),
    Mutant(
        "keys that are still needed are removed (NATS)",
        "nats_snapshots",
        'await log.purge(min([end, *keys]), "keys")',
        'await log.purge(end, "keys")',
    ),
    Mutant(
        "a run of messages in a snapshot loses its end (NATS)",
        "nats_queue",
        "for n in range(kept[6]):",
        "for n in range(min(kept[6], 2)):",
    ),
    Mutant(
        "deliveries go by all servers (NATS)",
        "pump",
        "ignore_queue=True,  # this client",
        "ignore_queue=False,  # this client",
    ),
]


def planted(mutant: Mutant, folder: Path) -> None:
    """Plant the mistake into the modules in `folder`. Raises `ValueError` if it has no place."""
    path = folder / f"{mutant.module}.py"
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
        shutil.copy(ROOT / "pyproject.toml", scratch)
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
