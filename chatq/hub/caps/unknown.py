"""The words that a hub of the lab has met and that its table does not have.

Owns their list, the line that is logged for each, and the file of `--learn`. Must not know:
clients, queues, what an event does.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dialect_table import BadTable, Table, plain
from .guess import guess, looks
from .words import Said

__all__ = ["Unknown"]

_log = logging.getLogger("chatq.hub")

#: The most words that are remembered, and the most characters of one.
_MOST, _LONGEST = 200, 60
_FIRST = "# Written by `python -m chatq serve --dialect caps --learn`:"


@dataclass(slots=True)
class _Word:
    spelled: str
    kind: str | None
    looks: str


class Unknown:
    """The words that were met and that `table` does not have; `learned`: the file to write them to,
    if any.

    Raises `BadTable` if there is such a file that `--learn` has not written, and `OSError`.
    """

    def __init__(self, table: Table, learned: Path | None = None) -> None:
        self._known = table.events
        self._words: dict[str, _Word] = {}
        self._file = learned
        if learned is not None:
            if learned.exists():
                self._read(learned)
            self._write(learned)

    def __contains__(self, event: str) -> bool:
        return plain(event[: _LONGEST + 1]) in self._words

    def kind(self, event: str, said: Said, data: Any, *, driver: bool = False) -> str | None:
        """Return what `event` seems to be, or None; note it if it is new; `driver`: its sender."""
        kind = guess(event, said, data, self._known, driver=driver)
        word = plain(event[: _LONGEST + 1])
        known = self._words.get(word)
        new = known is None and len(self._words) < _MOST
        better = known is not None and known.kind is None and kind is not None
        if (new or better) and word and len(event) <= _LONGEST and event.isprintable():
            self._words[word] = _Word(event, kind, looks(kind, said, data))
            self._tell(self._words[word])
            self._keep()
        return kind

    def _tell(self, word: _Word) -> None:
        line = f"{word.kind or '…'} = [{json.dumps(word.spelled)}]"
        taken = f"taken as {word.kind}" if word.kind else "refused"
        kinds = ", ".join(sorted({*self._known.values()}))
        _log.warning(
            "met %s, which is in no table: %s; %s. A table with [events] %s would admit it",
            json.dumps(word.spelled),
            word.looks,
            taken,
            line if word.kind else f"{line}, where … is one of {kinds},",
        )

    def _keep(self) -> None:
        if self._file is not None:
            try:
                self._write(self._file)
            except OSError as problem:
                _log.warning("cannot write what was learned: %s", problem.strerror)

    def _read(self, file: Path) -> None:
        text = file.read_text("utf-8")
        if not text.startswith(_FIRST):
            raise BadTable(f"{file} was not written by --learn, and is left alone: name another")
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as problem:
            raise BadTable(f"{file} is no TOML any more ({problem}): name another") from None
        if more := sorted(found.keys() - {"events"}):
            raise BadTable(
                f"{file} says more than words by now ([{more[0]}]), which --learn would not keep: "
                "name another"
            )
        for kind, words in found.get("events", {}).items():
            for word in words:
                self._words[plain(word)] = _Word(word, kind, "met before")

    def _write(self, file: Path) -> None:
        """Write the file anew: whoever reads it has the one before, or this one, whole."""
        lines = [
            _FIRST,
            "# words that were met and that the lab's table does not have, by what they seem to",
            "# mean. Look at them, change what is wrong, and give the file to `--dialect`. Of what",
            "# you add, `--learn` keeps words only: name another file to go on learning.",
            "",
            "[events]",
        ]
        kinds = sorted({word.kind for word in self._words.values() if word.kind})
        for kind in kinds:
            of_kind = [word for word in self._words.values() if word.kind == kind]
            lines.append(f"{kind} = [")
            lines += [f"    {json.dumps(word.spelled)},  # {word.looks}" for word in of_kind]
            lines.append("]")
        unclear = [word for word in self._words.values() if word.kind is None]
        if unclear:
            lines.append("# What these mean, nobody can tell from outside:")
            lines += [f"# {json.dumps(word.spelled)}: {word.looks}" for word in unclear]
        new = file.with_name(f".{file.name}.new")
        new.write_text("\n".join(lines) + "\n", "utf-8")
        os.replace(new, file)
