"""The certificate of a hub, for TLS.

Owns how it is loaded, and what is said of one that cannot be used. Must not know: who connects,
when it is loaded again.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

__all__ = ["Certificate"]


#: What OpenSSL says of a key of another certificate; the last, if it is of another kind, too.
_OF_ANOTHER = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


class Certificate:
    """A certificate (with those between it and its root) and its key, in two files of PEM.

    `context`: what new connections use. Raises `ValueError` if they cannot be used.
    """

    context: ssl.SSLContext

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate, self.key = certificate, key
        self.context = self._load()

    def reload(self) -> None:
        """Use the files as they are now, for new connections. Raises `ValueError` if they cannot be
        used; then the hub goes on with what it had."""
        self._load()
        self.context.load_cert_chain(self.certificate, self.key, _no_password)

    def _load(self) -> ssl.SSLContext:
        for path in (self.certificate, self.key):
            try:
                with open(path, "rb"):
                    pass
            except OSError as problem:
                code = problem.errno or 0
                raise ValueError(f"cannot read {path}: {os.strerror(code)}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, _no_password)
        except _Encrypted:
            raise ValueError(
                f"the key in {self.key} is encrypted: the hub cannot ask for its password"
            ) from None
        except (ssl.SSLError, ValueError) as problem:
            raise ValueError(self._why(problem)) from None
        return context

    def _why(self, problem: Exception) -> str:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.certificate)
        except ssl.SSLError:
            return f"there is no certificate in {self.certificate}, as PEM has it"
        if getattr(problem, "reason", "") in _OF_ANOTHER:
            return f"the key in {self.key} does not belong to the certificate in {self.certificate}"
        return f"there is no key in {self.key} that can be used, as PEM has it"


class _Encrypted(Exception):
    """The key can be read with a password only."""


def _no_password() -> str:
    raise _Encrypted  # or else OpenSSL would ask at the terminal
