"""How good the checks of the exercises are: a table with a row for each exercise.

    python tests/course/figures.py [EXERCISE ...] [--scenes N] [--jobs N] [--json FILE]

wrong      wrong answers that a check accepted, of those that were tried (`wrong_answers`)
right      right answers that it rejected, of those that were tried (`right_answers`, the solution)
mutations  mistakes planted in the solution that it noticed, of all; those it did not are listed
           below the table: each has to be explained as equivalent
seconds    that the check of the solution takes
scenes     that are generated in it

A mistake is a statement dropped, a condition turned, a constant changed, or an argument with a
name left out: one at a time, everywhere.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import copy
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import answers  # noqa: E402
from right_answers import RIGHT  # noqa: E402
from wrong_answers import WRONG  # noqa: E402

from chatq import check  # noqa: E402
from chatq.course import check as course_check  # noqa: E402
from chatq.course import generate  # noqa: E402

__all__ = ["mutations"]

for package in ("right_answers", "wrong_answers"):
    for path in sorted((HERE / package).glob("lesson_*.py")):
        import_module(f"{package}.{path.stem}")


def mutations(source: str) -> Iterator[tuple[str, str]]:
    """Yield what was done to a solution, and the source with that one mistake in it."""
    tree = ast.parse(source)
    for index, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            mutated = copy.deepcopy(tree)
            change(next(n for at, n in enumerate(ast.walk(mutated)) if at == index))
            line = getattr(node, "lineno", 0)
            yield f"line {line}: {what}", ast.unparse(ast.fix_missing_locations(mutated))


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Yield what can be done to this node, in words, and what does it."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for at, statement in enumerate(block):
            imported = isinstance(statement, ast.Import | ast.ImportFrom)
            docstring = isinstance(statement, ast.Expr) and isinstance(
                statement.value, ast.Constant
            )
            if not imported and not docstring and not isinstance(statement, ast.Pass):
                text = ast.unparse(statement).splitlines()[0]

                def drop(node: Any, name: str = name, at: int = at) -> None:
                    getattr(node, name)[at] = ast.Pass()

                yield f"without {text!r}", drop
    for name in ("test",):
        if hasattr(node, name):

            def turn(node: Any) -> None:
                node.test = ast.UnaryOp(ast.Not(), node.test)

            yield f"turned {ast.unparse(node.test)!r}", turn
    for at, condition in enumerate(getattr(node, "ifs", [])):

        def turn_filter(node: Any, at: int = at) -> None:
            node.ifs[at] = ast.UnaryOp(ast.Not(), node.ifs[at])

        yield f"turned {ast.unparse(condition)!r}", turn_filter
    for at, decorator in enumerate(getattr(node, "decorator_list", [])):

        def undecorate(node: Any, at: int = at) -> None:
            del node.decorator_list[at]

        yield f"without @{ast.unparse(decorator)}", undecorate
    for at, keyword in enumerate(getattr(node, "keywords", [])):

        def leave_out(node: Any, at: int = at) -> None:
            del node.keywords[at]

        yield f"without {ast.unparse(keyword)!r}", leave_out
    if isinstance(node, ast.Constant) and (other := _other(node.value)) is not None:

        def change(node: Any, other: Any = other[0]) -> None:
            node.value = other

        yield f"{node.value!r} became {other[0]!r}", change


def _other(value: Any) -> tuple[Any] | None:
    match value:
        case bool():
            return (not value,)
        case int() | float():
            return (value + 1,)
        case str():
            return (value + "x",)
        case None:
            return (0,)
        case _:
            return None


# -- one exercise ---------------------------------------------------------------------------------


def passes(name: str, answer: Callable[..., Any]) -> bool:
    return asyncio.run(check(name, answer)).passed


def figures(name: str, scenes: int) -> dict[str, Any]:
    """Return the row of one exercise, with what was judged wrongly by its name."""
    course_check.try_scenes = partial(generate.try_scenes, scenes=scenes)  # of this process
    wrong = [one.answer for one in WRONG if one.exercise == name]
    right = [answer for exercise, answer in RIGHT if exercise == name]
    began = time.perf_counter()
    solved = passes(name, answers.solution(name))
    seconds = time.perf_counter() - began
    missed, mutated = [], 0
    for what, source in mutations(answers.SOLUTIONS[name]):
        try:
            answer = answers.made(name, source)
        except Exception:  # it does not even define an answer
            continue
        mutated += 1
        if passes(name, answer):
            missed.append(what)
    return {
        "exercise": name,
        "wrong": len(wrong),
        "accepted": [one.__name__ for one in wrong if passes(name, one)],
        "right": len(right) + 1,
        "rejected": [one.__name__ for one in right if not passes(name, one)]
        + ([] if solved else ["the solution"]),
        "mutations": mutated,
        "unnoticed": missed,
        "seconds": seconds,
        "scenes": scenes,
    }


def row(found: dict[str, Any]) -> str:
    noticed = found["mutations"] - len(found["unnoticed"])
    share = 100 * noticed / max(1, found["mutations"])
    return (
        f"{found['exercise']:8} {len(found['accepted']):>3}/{found['wrong']:<4}"
        f"{len(found['rejected']):>3}/{found['right']:<4}"
        f"{noticed:>5}/{found['mutations']:<4}{share:4.0f} % {found['seconds']:7.1f} "
        f"{found['scenes']:7}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("exercise", nargs="*", help="which ones (all)")
    parser.add_argument("--jobs", type=int, default=1, help="exercises at once (%(default)s)")
    parser.add_argument(
        "--scenes", type=int, default=generate.SCENES, help="generated for a check (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    names = options.exercise or answers.EXERCISES
    print("exercise  wrong  right  mutations   noticed seconds  scenes", flush=True)
    found = []
    # Each in a process of its own: what an answer leaves behind is not there for the next.
    pool = ProcessPoolExecutor(
        options.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with pool:
        for one in pool.map(partial(figures, scenes=options.scenes), names):
            found.append(one)
            print(row(one), flush=True)
    for one in found:
        for kind in ("accepted", "rejected", "unnoticed"):
            for what in one[kind]:
                print(f"{one['exercise']} {kind}: {what}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if any(one["accepted"] or one["rejected"] for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
