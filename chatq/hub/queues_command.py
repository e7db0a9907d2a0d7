"""`python -m chatq queues`: looks into queues, wherever they are, and after them.

Owns the command from its arguments to its exit status, and what it prints. Must not know: what an
answer means (`queues/inspection.py`), how a hub is asked (`asking.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from ..queues.error_codes import code_of
from ..queues.location import engine_and_place
from .asking import Refused, check_url, hub, store
from .text_table import shown, text_table

__all__ = ["add_arguments", "run"]

#: The exit status: done; it could not be asked, or not done; wrong arguments; there is no such
#: queue, or message.
DONE, CANNOT, WRONG, UNKNOWN = 0, 1, 2, 3
_STATUS = {"malformed": WRONG, "unknown_queue": UNKNOWN}  # of errors; else `CANNOT`

_DESCRIPTION = """\
Look into queues, and after them: what waits, what is dead, what became of a message.

  python -m chatq queues http://127.0.0.1:3001            ask a hub that is running
  python -m chatq queues sqlite:///chatq.db where ID      read the file of one that is not
  python -m chatq queues nats://HOST/NAME dead drivers    read a stream, hub or no hub
"""
_EPILOG = """\
A hub that asks for a token gets the one in the environment variable CHATQ_TOKEN. Bodies of messages
are shown with --bodies only. The forms of --json are in chatq/PROTOCOL.md, "Looking inside".
Exit status: 0 done, 1 it could not be asked or done, 2 wrong arguments, 3 no such queue or message.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run` to the parser of a command line."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("place", metavar="STORE|URL", help="sqlite:///FILE, nats://…, or http://…")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, not a table"
    )
    _option(parser, "--json", "print JSON, not a table")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs (list, if none)")

    def verb(name: str, help: str, *, queue: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help, description=help, parents=[common])
        if queue:
            made.add_argument("queue", metavar="QUEUE")
        return made

    verb("list", "all queues, with how much is in each and who consumes it", queue=False)
    verb("stats", "one queue")
    peek = verb("peek", "the oldest messages of a queue, delivered or not; changes nothing")
    peek.add_argument("--after", default="", metavar="ID", help="begin after this message of it")
    dead = verb("dead", "the oldest dead letters of a queue, with why they are dead")
    for each in (peek, dead):
        each.add_argument("--limit", type=int, default=100, metavar="N", help="default: 100")
        _option(each, "--bodies", "show the data of the messages, too")
    redrive = verb("redrive", "put dead letters back into their queue: all, or some")
    redrive.add_argument("ids", nargs="*", metavar="ID")
    purge = verb("purge", "delete all messages that wait in a queue, also those that are out")
    _option(purge, "--yes", "do not ask first")
    where = verb("where", "where a message is, or how it ended, and who had it", queue=False)
    where.add_argument("id", metavar="ID")


def _option(parser: argparse.ArgumentParser, name: str, help: str) -> None:
    parser.add_argument(name, action="store_true", help=help)


def run(options: argparse.Namespace) -> int:
    """Ask once, print the answer, and return the exit status."""
    verb = options.verb or "list"
    try:
        asked = _asked(verb, options)
        place = _place(options.place)
    except ValueError as problem:
        return _cannot(str(problem), WRONG)
    try:
        return asyncio.run(_run(verb, asked, place, options))
    except KeyboardInterrupt:
        return _cannot("interrupted", CANNOT)
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        return DONE
    except Exception as problem:
        code = problem.code if isinstance(problem, Refused) else code_of(problem)
        if code is None and not isinstance(problem, OSError):
            raise
        return _cannot(str(problem), _STATUS.get(code or "", CANNOT))


def _asked(verb: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the request that these arguments mean."""
    match verb:
        case "peek":
            asked = {"queue": options.queue, "limit": options.limit, "after": options.after}
            return {**asked, "bodies": options.bodies}
        case "dead":
            return {"queue": options.queue, "limit": options.limit, "bodies": options.bodies}
        case "redrive":
            return {"queue": options.queue, **({"ids": options.ids} if options.ids else {})}
        case "stats" | "purge":
            return {"queue": options.queue}
        case "where":
            return {"id": options.id}
    return {}


def _place(place: str) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """Return what opens the place that is meant. Raises `ValueError` for one that cannot be."""
    if place.lower().startswith(("http://", "https://")):
        check_url(place)
        return lambda: hub(place)
    if place.startswith(("ws://", "wss://")):
        raise ValueError(f"a hub is asked at http{place[2:]}")
    try:
        engine, path = engine_and_place(place)
    except ValueError as problem:
        raise ValueError(f"{problem}; and a hub is asked at http://HOST:PORT") from None
    if engine == "memory":
        raise ValueError(
            "what is in memory: is in its program alone: ask that, if it is a hub, by its URL, "
            "http://HOST:PORT"
        )
    return lambda: store(place, path if engine == "sqlite" else None)


async def _run(
    verb: str,
    asked: dict[str, Any],
    place: Callable[[], AbstractAsyncContextManager[Any]],
    options: argparse.Namespace,
) -> int:
    async with place() as ask:
        if verb == "purge" and not options.yes:
            about = await ask("stats", asked)
            if not _agreed(about):
                return _cannot(
                    "nothing was deleted: say --yes to delete without being asked", WRONG
                )
        answer = await ask(verb, asked)
    if options.json:
        print(json.dumps(answer, indent=2))
    else:
        width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 10_000
        print(_PRINTED[verb](answer, width))
    return UNKNOWN if answer.get("missing") else DONE


def _agreed(about: dict[str, Any]) -> bool:
    """Ask whoever sits at the terminal; nobody else agrees."""
    if not sys.stdin.isatty():
        return False
    many = about["ready"] + about["leased"] + about["delayed"]
    print(
        f"Delete all {many} messages of queue {shown(about['queue'])}? [y/N] ", end="", flush=True
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _cannot(why: str, status: int) -> int:
    print(f"chatq queues: {shown(why)}", file=sys.stderr)
    return status


# -- tables ---------------------------------------------------------------------------------------


def _list(answer: dict[str, Any], width: int) -> str:
    if not answer["queues"]:
        return "no queues: nobody has put anything into one"
    headers = ["queue", "ready", "out", "delayed", "dead", "oldest", "consumers"]
    rows = [
        [
            about["queue"],
            *(about[name] for name in ("ready", "leased", "delayed", "dead")),
            "-" if about["oldest"] is None else _age(about["oldest"]),
            _consumers(about["consumers"]),
        ]
        for about in answer["queues"]
    ]
    if all(about["consumers"] is None for about in answer["queues"]):  # nobody knows here
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    table = text_table(headers, rows, width, right=(1, 2, 3, 4, 5))
    return f"{table}\n… and {answer['more']} more" if answer.get("more") else table


def _stats(answer: dict[str, Any], width: int) -> str:
    return _list({"queues": [answer]}, width)


def _peek(answer: dict[str, Any], width: int) -> str:
    if not answer["messages"]:
        return "nothing waits"
    return _messages(answer["messages"], ["id", "event", "size"], width)


def _dead(answer: dict[str, Any], width: int) -> str:
    if not answer["dead"]:
        return "nothing is dead"
    rows = [{**about, "died": _when(about["died"])} for about in answer["dead"]]
    return _messages(rows, ["id", "event", "attempts", "died", "size", "reason"], width)


def _messages(messages: list[dict[str, Any]], columns: list[str], width: int) -> str:
    if "data" in messages[0]:
        columns = [*columns, "data"]
        for about in messages:
            about["data"] = json.dumps(about["data"], ensure_ascii=False, default=_bytes)
    right = [n for n, name in enumerate(columns) if name in ("size", "attempts")]
    return text_table(columns, [[m[name] for name in columns] for m in messages], width, right)


def _bytes(data: Any) -> str:
    return f"<{len(data)} bytes>"


def _redriven(answer: dict[str, Any], width: int) -> str:
    done = f"{answer['redriven']} put back into {shown(answer['queue'])}"
    # A hub of an older version does not say.
    missing = [shown(f"not dead there, so left alone: {id}") for id in answer.get("missing", ())]
    return "\n".join([done, *missing])


def _purged(answer: dict[str, Any], width: int) -> str:
    return f"{answer['purged']} deleted from {shown(answer['queue'])}"


def _where(answer: dict[str, Any], width: int) -> str:
    event = f" ({answer['event']})" if answer["event"] else ""
    queue = f" of queue {answer['queue']}" if answer["queue"] else ""
    state = (
        "ended, and how is not known any more"
        if answer["state"] == "forgotten"
        else (answer["state"])
    )
    lines = [shown(f"message {answer['id']}{event}{queue}: {state}")]
    if answer["reason"]:
        lines.append(shown(f"  because: {answer['reason']}"))
    for name in ("put", "until", "expires"):
        if answer[name] is not None:
            lines.append(f"  {name}: {_when(answer[name])}")
    if answer["attempts"] is not None:
        lines.append(f"  attempts: {_attempts(answer)}")
    if answer["steps"]:
        rows = [[_when(s["at"]), s["what"], s["queue"], s["detail"]] for s in answer["steps"]]
        lines += ["", text_table(["when", "what", "queue", "to, or why"], rows, width)]
    return "\n".join(lines)


def _attempts(answer: dict[str, Any]) -> str:
    attempts, failures = answer["attempts"], answer["failures"]
    before = answer.get("redriven")  # a hub of an older version does not say
    if failures is None:
        return f"{attempts}"
    if not before:
        return f"{attempts}, of which {failures} failed"
    since = attempts - before
    if not since:
        return f"{attempts}, none of them since it was redriven"
    return f"{attempts}, of which {since} since it was redriven; of these, {failures} failed"


def _consumers(consumers: list[dict[str, Any]] | None) -> str:
    each = (c["name"] + (f" ({c['out']} out)" if c["out"] else "") for c in consumers or ())
    return ", ".join(each) or "nobody"


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "milliseconds")


_PRINTED: dict[str, Callable[[dict[str, Any], int], str]] = {
    "list": _list,
    "stats": _stats,
    "peek": _peek,
    "dead": _dead,
    "redrive": _redriven,
    "purge": _purged,
    "where": _where,
}
