"""A hub with a certificate of its own: real TLS, with real clients."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import hubs
import needs
import pytest
import socketio

from chatq.__main__ import main
from chatq.hub.certificate import Certificate
from chatq.waiting import set_within

pytestmark = pytest.mark.needs("openssl")


def certificate(folder: Path, name: str = "localhost", key: str = "ec") -> tuple[Path, Path]:
    """Make a certificate that signs itself, for localhost and 127.0.0.1."""
    made, its_key = folder / f"{name}.pem", folder / f"{name}.key"
    kind = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[key]
    names = f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [
            *(needs.path("openssl"), "req", "-x509", "-nodes", "-days", "2", "-newkey", *kind),
            *("-subj", f"/CN={name}", "-addext", names, "-keyout", its_key, "-out", made),
        ],
        check=True,
        capture_output=True,
        timeout=hubs.DEADLINE,
    )
    return made, its_key


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def trusting(made: Path) -> aiohttp.ClientSession:
    """A session that trusts this certificate, and no other."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=made))
    return aiohttp.ClientSession(connector=connector)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_python_client_works_over_tls(transport: str, made, tmp_path: Path) -> None:
    cert, key = made
    with hubs.hub(
        *("--certificate", str(cert), "--key", str(key), "--token", "t"), folder=tmp_path
    ) as hub:
        assert hub.line == f"chatq hub listening on https://127.0.0.1:{hub.port}/caps\n"
        async with trusting(cert) as session:
            client = socketio.AsyncClient(reconnection=False, http_session=session)
            origin = {"Origin": hub.url}  # the hub's own, which is https now
            await hub.join(client, transports=[transport], auth={"token": "t"}, headers=origin)
            answer = await hub.call(client, "publish", {"queue": "q", "event": "e", "data": 1})
            assert "id" in answer
            await client.disconnect()
            poll = f"{hub.url}/socket.io/?EIO=4&transport=polling"
            for header in [{"Origin": f"http://127.0.0.1:{hub.port}"}, {"Host": "evil.example"}]:
                async with session.get(poll, headers=header) as refused:
                    assert refused.status == 403
        async with aiohttp.ClientSession() as stranger:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get(poll)
            with pytest.raises(aiohttp.ClientError):  # it does not speak in the clear
                await stranger.get(poll.replace("https", "http"))


@pytest.mark.needs("node")
def test_a_node_client_works_over_tls(made, tmp_path: Path) -> None:
    cert, key = made
    with hubs.hub(
        *("--certificate", str(cert), "--key", str(key), "--token", "sesame"), folder=tmp_path
    ) as hub:
        done = subprocess.run(
            [needs.path("node"), str(needs.JS / "tls.js"), f"{hub.url}{hub.namespace}", "sesame"],
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(cert)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "websocket: e 1\npolling: e 1\n"


def test_the_command_says_why_it_reaches_no_hub(made, tmp_path: Path, monkeypatch, capsys) -> None:
    cert, key = made
    with hubs.hub("--certificate", str(cert), "--key", str(key), folder=tmp_path) as hub:
        plain = hub.url.replace("https", "http")
        for url, said in [
            (hub.url, "its certificate is not trusted (self-signed certificate): if it is right, "
                      "give it in the environment, SSL_CERT_FILE=cert.pem"),
            (plain, "it ended the connection without an answer: does it want TLS (https://)?"),
        ]:  # fmt: skip
            assert main(["queues", url]) == 1
            assert capsys.readouterr().err == f"chatq queues: no hub answers at {url}: {said}\n"
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        done = subprocess.run(
            [sys.executable, "-m", "chatq", "queues", hub.url], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


async def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)

    def served(port: int) -> bytes:
        text = ssl.get_server_certificate(("127.0.0.1", port), timeout=hubs.DEADLINE)
        return ssl.PEM_cert_to_DER_cert(text)

    with hubs.hub("--certificate", str(cert), "--key", str(key), folder=tmp_path) as hub:
        before = await asyncio.to_thread(served, hub.port)
        other = certificate(tmp_path, "other")
        os.replace(other[1], key)  # the key alone, for now
        async with asyncio.timeout(hubs.DEADLINE):
            while "the hub goes on with what it had" not in hub.log:
                await set_within(asyncio.Event(), 0.02)
        assert f"the key in {key} does not belong to the certificate" in hub.log
        assert await asyncio.to_thread(served, hub.port) == before
        os.replace(other[0], cert)
        async with asyncio.timeout(hubs.DEADLINE):
            while await asyncio.to_thread(served, hub.port) == before:
                await set_within(asyncio.Event(), 0.02)
        assert "read localhost.pem and localhost.key again" in hub.log


# -- what cannot be used ------------------------------------------------------------------------


def test_files_that_cannot_be_used_are_told(made, tmp_path: Path) -> None:
    cert, key = made
    other, other_key = certificate(tmp_path, "other")
    rsa, rsa_key = certificate(tmp_path, "rsa", "rsa")
    locked, empty, none = tmp_path / "locked.key", tmp_path / "empty", tmp_path / "none"
    empty.write_text("")
    subprocess.run(
        [needs.path("openssl"), "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked],
        check=True,
        capture_output=True,
    )
    chain, both, request = tmp_path / "chain.pem", tmp_path / "both.pem", tmp_path / "request.pem"
    chain.write_text(other.read_text() + cert.read_text())
    both.write_text(key.read_text() + cert.read_text())
    request.write_text(cert.read_text().replace("CERTIFICATE", "CERTIFICATE REQUEST"))
    cut, cut_key = tmp_path / "cut.pem", tmp_path / "cut.key"
    cut.write_text(cert.read_text()[:300])
    cut_key.write_text(key.read_text()[:80])
    der = tmp_path / "der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(cert.read_text()))
    for files, said in [
        ((none, key), f"cannot read {none}: No such file or directory"),
        ((cert, none), f"cannot read {none}: No such file or directory"),
        ((tmp_path, key), f"cannot read {tmp_path}: Is a directory"),
        ((cert, other_key), f"the key in {other_key} does not belong to the certificate in {cert}"),
        ((cert, rsa_key), f"the key in {rsa_key} does not belong to the certificate in {cert}"),
        ((rsa, other_key), f"the key in {other_key} does not belong to the certificate in {rsa}"),
        ((cert, locked), f"the key in {locked} is encrypted"),
        ((empty, key), f"there is no certificate in {empty}, as PEM has it"),
        ((key, key), f"there is no certificate in {key}: it holds a private key"),
        ((der, key), f"there is no certificate in {der}, as PEM has it, a text: `openssl x509`"),
        ((request, key), f"there is no certificate in {request}: it holds a request for a cert"),
        ((cert, empty), f"there is no private key in {empty}, as PEM has it"),
        ((cert, cert), f"there is no private key in {cert}: it holds a certificate"),
        ((key, cert), f"they look swapped: {key} holds a private key, and {cert} a certificate: "),
        ((locked, cert), f"they look swapped: {locked} holds a private key, and {cert} a cert"),
        ((key, both), f"they look swapped: {key} holds a private key, and {both} a certificate"),
        ((cut, key), f"the certificate in {cut} cannot be read: is the file whole?"),
        ((cert, cut_key), f"the private key in {cut_key} cannot be read: is the file whole?"),
        (
            (chain, key),
            f"the certificates in {chain} are in the wrong order: first that of the key",
        ),
        ((chain, rsa_key), f"the key in {rsa_key} does not belong to the certificate in {chain}"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
            Certificate(*files)
    for good in ((both, both), (both, key), (cert, both), (chain, other_key)):
        assert Certificate(*good)
    assert Certificate(other, other_key).context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("option", ["--certificate", "--key"])
def test_both_are_needed(option: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--port", "0", option, "x"]) == 2
    assert capsys.readouterr().err == (
        "chatq serve: --certificate and --key belong together: give both, or one file twice that "
        "has both\n"
    )
