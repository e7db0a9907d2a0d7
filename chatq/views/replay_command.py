"""`python -m chatq replay`: a journal in a file becomes a page.

Owns the command's options, and what it says. Must not know: what is in the page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..journal.journal import Journal
from .view import View

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m chatq replay`."""
    parser.description = (
        "Write the scene of a journal (Journal.write) as one HTML file, which needs no network and "
        "no kernel: diagram, table and reasons, fact by fact. A file that is there is replaced."
    )
    parser.add_argument("journal", type=Path, help="the journal, as Journal.write wrote it")
    parser.add_argument(
        "-o", "--output", type=Path, help="the page (default: beside the journal, as .html)"
    )
    parser.add_argument("--title", default="", help="its heading (default: the name of the page)")
    parser.add_argument(
        "--facts", type=int, default=500, help="only the newest so many facts (%(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page and print its path; return the exit status: 0, or 2 if there is none."""
    output = options.output or options.journal.with_suffix(".html")
    try:
        if output.resolve() == options.journal.resolve():
            raise ValueError(f"{output} is the journal itself: name another page with -o")
        with options.journal.open(encoding="utf-8-sig") as file:
            journal = Journal.read(file)
        view = View(journal, journal.kinds())
        print(view.replay(output, options.title, facts=options.facts))
    except UnicodeDecodeError as error:
        return _complain(f"{options.journal} is not UTF-8, as journals are: {error.reason}")
    except ValueError as error:
        return _complain(f"{options.journal}: {error}")
    except OSError as error:
        return _complain(str(error))
    return 0


def _complain(what: str) -> int:
    print(f"chatq replay: {what}", file=sys.stderr)
    return 2
