"""The certificate of a hub, for TLS.

Owns how it is loaded, and what is said of one that cannot be used. Must not know: who connects,
when it is loaded again.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from pathlib import Path

__all__ = ["Certificate"]


#: What OpenSSL says of a key of another certificate; the last, if it is of another kind, too.
_OF_ANOTHER = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
#: What is in a file of PEM, by how the line above it ends.
_CERTIFICATE, _KEY = "a certificate", "a private key"
_LABELS = {
    "PRIVATE KEY": _KEY,
    "CERTIFICATE": _CERTIFICATE,
    "CERTIFICATE REQUEST": "a request for a certificate, which an authority answers with one",
    "PUBLIC KEY": "a public key",
}
_BEGIN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]{1,40})-----", re.MULTILINE)
_ONE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
#: More of a file is not looked at, in bytes.
_LARGEST = 1_000_000


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
                f"the key in {self.key} is encrypted: the hub cannot ask for its password; one "
                f"without is written by `openssl pkey -in {self.key} -out FILE` (chmod 600 it)"
            ) from None
        except (ssl.SSLError, ValueError) as problem:
            raise ValueError(self._why(problem)) from None
        return context

    def _why(self, problem: Exception) -> str:
        certificate, key = _held(self.certificate), _held(self.key)
        if _CERTIFICATE not in certificate and _KEY in certificate and _CERTIFICATE in key:
            return (
                f"they look swapped: {self.certificate} holds {_KEY}, and {self.key} "
                f"{_CERTIFICATE}: give --certificate {self.key} --key {self.certificate}"
            )
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.certificate)
        except ssl.SSLError:
            return _lacks(self.certificate, _CERTIFICATE, certificate)
        if getattr(problem, "reason", "") not in _OF_ANOTHER:
            return _lacks(self.key, _KEY, key)
        if self._comes_later():
            return (
                f"the certificates in {self.certificate} are in the wrong order: first that of the "
                f"key in {self.key}, then that of its authority, and so on"
            )
        return f"the key in {self.key} does not belong to the certificate in {self.certificate}"

    def _comes_later(self) -> bool:
        """Return whether a certificate that is not the first in its file belongs to the key."""
        for one in _ONE.findall(_start(self.certificate))[1:]:
            with tempfile.TemporaryDirectory() as folder:
                alone = Path(folder) / "certificate.pem"
                alone.write_bytes(one)
                try:
                    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                        alone, self.key, _no_password
                    )
                except ssl.SSLError:
                    continue
                return True
        return False


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_LARGEST)


def _held(path: Path) -> list[str]:
    """Return what a file of PEM holds, each kind once."""
    found = [label.decode() for label in _BEGIN.findall(_start(path))]
    kinds = [next((k for end, k in _LABELS.items() if each.endswith(end)), each) for each in found]
    return [*dict.fromkeys(kinds)]


def _lacks(path: Path, wanted: str, held: list[str]) -> str:
    """Return what to say of a file in which there is no certificate, or no private key."""
    what = wanted.removeprefix("a ")
    if wanted in held:
        return f"the {what} in {path} cannot be read: is the file whole?"
    if held:
        return f"there is no {what} in {path}: it holds {' and '.join(held)}"
    if b"\0" in _start(path):
        return (
            f"there is no {what} in {path}, as PEM has it, a text: `openssl x509`, `openssl pkey` "
            "or `openssl pkcs12` makes that of other forms"
        )
    return f"there is no {what} in {path}, as PEM has it"


class _Encrypted(Exception):
    """The key can be read with a password only."""


def _no_password() -> str:
    raise _Encrypted  # or else OpenSSL would ask at the terminal
