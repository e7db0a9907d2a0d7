"""What keeps a hub from strangers: its options, and what of them changes while it runs.

Owns the options for hosts, origins, tokens and TLS, where each value comes from, and when a file is
read again. Must not know: how a request is checked, what a token permits, clients, events.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import ssl
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..hosts import Hosts, host_named
from ..waiting import set_within
from .certificate import Certificate
from .gate import Gate, RateLimit
from .origins import Origins, origin_named
from .tokens import Tokens, check_token
from .watched import Watched

__all__ = ["Security", "add_arguments", "warn_of_mode"]

_log = logging.getLogger("chatq.hub")

#: The variable of the environment that has the token.
TOKEN = "CHATQ_TOKEN"
#: How long it takes at most until a changed file is noticed: twice this, in seconds.
_LOOK = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `Security.of` to the parser of a command line."""
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="what clients have to give when they connect, as auth: {token: …}: one token, or, in "
        "a file whose name ends with .toml, several, and what each may do; read again when it has "
        f"changed. If neither this nor --token is given, {TOKEN} in the environment is one",
    )
    tokens.add_argument(
        "--token",
        type=_checked(check_token),
        help="the same on the command line, where all users of this machine can see it",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        type=_checked(lambda text: text == "*" or host_named(text)),
        metavar="NAME",
        help="a name or address that clients use for this hub, besides --host and those of this "
        "machine (localhost, 127.0.0.1, ::1), without scheme and port; may be repeated; no "
        "patterns, but * for all",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        type=_checked(origin_named),
        metavar="ORIGIN",
        help="pages that may connect, besides the hub's own, as https://shop.example; may be "
        "repeated; * for all",
    )
    parser.add_argument(
        "--trust-proxy",
        action="store_true",
        help="believe X-Forwarded-Host and X-Forwarded-Proto, which a proxy before the hub has to "
        "set: they say what the hub's own pages are",
    )
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="for TLS: a certificate, as PEM"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="and its key, as PEM")


class Security:
    """What a hub asks of those who reach it.

    `tokens`: None: none is asked for; `origins`: checks each request; `context`: for TLS, or None.
    """

    tokens: Tokens | None
    origins: Origins
    context: ssl.SSLContext | None

    def __init__(
        self,
        tokens: Tokens | None = None,
        origins: Origins | None = None,
        *,
        token_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        dialect: str | None = None,
    ) -> None:
        """`token_file` takes the place of `tokens`, `certificate` is that and its key. Raises
        `ValueError` with words for what cannot be used."""
        self.tokens, self.origins = tokens, origins or Origins(Hosts())
        self._token_file, self._dialect = token_file, dialect
        self._certificate: Certificate | None = None
        self._watched: list[tuple[Watched, Callable[[], None]]] = []
        if token_file is not None:
            self._watched.append((Watched(token_file), self._read_tokens))
            self._read_tokens()
        if certificate is not None:
            files = Watched(*certificate)  # as they are before they are read
            self._certificate = Certificate(*certificate)
            self._watched.append((files, self._certificate.reload))
        self.context = self._certificate.context if self._certificate else None

    @classmethod
    def of(cls, options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Security:
        """Return what these options ask for. Raises `ValueError` with words for what cannot be."""
        tokens = None
        if options.token is not None:
            tokens = Tokens.of(options.token)
        elif options.token_file is None and TOKEN in environ:
            try:
                tokens = Tokens.of(environ[TOKEN])
            except ValueError as problem:
                raise ValueError(f"{TOKEN}: {problem}") from None
        if (options.certificate is None) != (options.key is None):
            raise ValueError(
                "--certificate and --key belong together: give both, or one file twice that has "
                "both"
            )
        names = [*options.allow_host]
        with contextlib.suppress(ValueError):  # "", for instance: all addresses
            names.append(host_named(options.host))
        origins = Origins(
            Hosts(names),
            [origin_named(text) for text in options.allow_origin],
            options.trust_proxy,
            RateLimit().may,
        )
        both = (options.certificate, options.key) if options.certificate else None
        return cls(
            tokens,
            origins,
            token_file=options.token_file,
            certificate=both,
            dialect=options.dialect,
        )

    async def watch(self, gates: Iterable[Gate], until: asyncio.Event) -> None:
        """Read files again when they have changed, `until` is set, and let `gates` cut off who is a
        stranger then."""
        while self._watched and not until.is_set():
            await set_within(until, _LOOK)
            for files, read in self._watched:
                if not await asyncio.to_thread(files.changed):
                    continue
                names = " and ".join(path.name for path in files.paths)
                try:
                    await asyncio.to_thread(read)
                    _log.info("read %s again", names)
                    for gate in gates:
                        await gate.cut_off_strangers()
                except ValueError as problem:
                    _log.error("%s; the hub goes on with what it had", problem)
                except Exception:  # and the next change is noticed all the same
                    _log.exception("reading %s again failed", names)

    def _read_tokens(self) -> None:
        assert self._token_file is not None
        tokens = _read(self._token_file)
        if self._dialect is not None and not tokens.may_all:
            raise ValueError(
                f"{self._token_file}: with --dialect {self._dialect} all clients hear of all "
                "orders, so each token has to permit everything: publish, consume and manage are "
                '["*"]'
            )
        self.tokens = tokens

    def warn(self, *, beyond_loopback: bool) -> None:
        """Log what is unwise, and not forbidden."""
        secret = [path for path in (self._token_file, self._key_file) if path is not None]
        for path in secret:
            warn_of_mode(path)
        if beyond_loopback and self.context is None:
            _log.warning(
                "tokens and messages cross the network as they are: give --certificate and --key, "
                "or put a proxy with TLS in front"
            )

    @property
    def _key_file(self) -> Path | None:
        return self._certificate.key if self._certificate else None


def warn_of_mode(path: Path) -> None:
    """Log if others on this machine can read a file that is to be a secret."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if os.name == "posix" and mode & 0o077:
        _log.warning("others on this machine may use %s (mode %o): chmod 600 it", path, mode)


def _read(path: Path) -> Tokens:
    try:
        text = path.read_text("utf-8")
    except OSError as problem:
        raise ValueError(f"cannot read {path}: {os.strerror(problem.errno or 0)}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: it is no text in UTF-8") from None
    try:
        return Tokens.read(text, path.suffix.lower() == ".toml")
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _checked(check: Callable[[str], object]) -> Callable[[str], str]:
    """Return a type for argparse: a text that passes `check`."""

    def text(given: str) -> str:
        try:
            check(given)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None
        return given

    return text
