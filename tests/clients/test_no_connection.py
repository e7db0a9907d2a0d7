"""Who waits for a connection that does not come is told why: each reason once, with what to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from pathlib import Path

import aiohttp
import needs
import pytest
import socketio
from watched_hub import NAMESPACE, Seen, hang_up, new_client

from chatq import Consumer, Outbox, Queues, Stage
from chatq.clients import session
from chatq.hub.security import Security
from chatq.hub.serve import serve
from chatq.hub.tokens import Tokens

TRANSPORTS = ["polling", "websocket"]
TOKEN = "NOT-THIS-ONE-x81Xq0"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=other", "-addext", "subjectAltName=DNS:other"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    subprocess.run(
        [
            *(needs.path("openssl"), "req", "-x509", "-nodes", *kind, *subject),
            *("-keyout", str(key), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return made, key


@contextlib.asynccontextmanager
async def a_hub(**options):
    """Serve a hub in this process; its address, without a scheme."""
    listener = socket.create_server(("127.0.0.1", 0))
    async with await Queues.open("memory:") as queues:
        security = Security(Tokens.of(TOKEN), **options)
        runner = await serve(queues, listener, namespace=NAMESPACE, security=security)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await runner.cleanup()


class Waiting:
    """A consumer and an outbox of one client, which dials in vain; `failures` of it."""

    def __init__(self, client: socketio.AsyncClient, folder: Path) -> None:
        self.client, self.folder, self.failures = client, folder, Seen()
        client.on("connect_error", lambda *_: self.failures.add(1), namespace=NAMESPACE)
        client.on("connect_error", lambda *_: self.failures.add(1), namespace="/")

    async def __aenter__(self):
        self.outbox = await Outbox.open(self.folder / "outbox.db", self.client, NAMESPACE)
        await self.outbox.emit("e", 1, to="q")
        self.consumer = Consumer(self.client, "q", namespace=NAMESPACE)
        self._starting = asyncio.create_task(self.consumer.start(within=None))
        return self

    async def dial(self, url: str, failures: int = 3, **options) -> None:
        options = {"namespaces": [NAMESPACE], "auth": {"token": TOKEN}, "retry": True, **options}
        dialling = asyncio.create_task(self.client.connect(url, **options))
        try:
            await self.failures.reach(failures)
        finally:
            dialling.cancel()
            with contextlib.suppress(asyncio.CancelledError, socketio.exceptions.ConnectionError):
                await dialling

    async def __aexit__(self, *_):
        self._starting.cancel()
        await self.outbox.close(0)
        await self.consumer.close(0)
        await hang_up(self.client)


def lines(caplog) -> list[str]:
    """What was said of the connection. (That a client has given up, once it is to, is another.)"""
    said = [record.getMessage() for record in caplog.records]
    return [line for line in said if line.startswith("no connection")]


class Nowhere(aiohttp.abc.AbstractResolver):
    async def resolve(self, host, port=0, family=socket.AF_INET):
        socket.getaddrinfo("127.0.0.1", "no such service")

    async def close(self):
        pass


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_each_reason_is_told_once(transport, certificate, tmp_path, caplog, monkeypatch):
    refused = socket.create_server(("127.0.0.1", 0))
    nobody = f"127.0.0.1:{refused.getsockname()[1]}"
    refused.close()
    resolving = {"connector": aiohttp.TCPConnector(resolver=Nowhere())}
    trusting = ssl.create_default_context(cafile=certificate[0])
    monkeypatch.setattr(socket, "getaddrinfo", _unknown_name)
    monkeypatch.setattr(session, "_PATIENCE", 0.0)
    async with a_hub() as plain, a_hub(certificate=certificate) as secure:
        for url, options, http, said in [
            (f"https://{secure}", {}, {}, "its certificate is not trusted (self-signed certi"),
            (
                f"https://{secure}",
                {},
                {"connector": aiohttp.TCPConnector(ssl=trusting)},
                "its certificate is for another name than was dialled",
            ),
            (f"https://{plain}", {}, {}, "it does not speak TLS: is it http:// there"),
            (f"http://{secure}", {}, {}, "does it want TLS (https://)?"),
            (f"http://{plain}", {"headers": {"Host": "evil.example"}}, {}, "(--allow-host)"),
            (f"http://{plain}", {"socketio_path": "other"}, {}, "under that path (HTTP 404)"),
            (f"http://{nobody}", {}, {}, "nothing listens there (yet?)"),
            ("http://hub.example:1", {}, resolving, "the name of its host leads to no address"),
        ]:
            async with aiohttp.ClientSession(**http) as session_:
                client = new_client(http_session=session_)
                async with Waiting(client, tmp_path) as waiting:
                    await waiting.dial(f"{url}/?secret=1", transports=[transport], **options)
                    [line] = lines(caplog)
                    assert line.startswith(f"no connection to {NAMESPACE}: {url}: ")
                    assert said in line
                    with pytest.raises(TimeoutError) as raised:
                        await waiting.outbox.flush(0)
                    assert said in str(raised.value)
            caplog.clear()


def _unknown_name(*_):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth": {"token": "wrong"}}, "it refused: wrong token: connect with auth: {token: …}"),
        ({"auth": None}, "it refused: no token: connect with auth: {token: …}"),
        ({"namespaces": ["/"]}, "to other namespaces: make the consumer or the outbox first, or"),
    ],
)
async def test_what_the_server_refuses_is_told(options, said, tmp_path, caplog):
    async with a_hub() as hub, Waiting(new_client(), tmp_path) as waiting:
        await waiting.dial(f"http://{hub}", failures=1, transports=["websocket"], **options)
        [line] = lines(caplog)
        assert said in line


async def test_an_outbox_of_a_client_that_is_connected_elsewhere_says_so(tmp_path, caplog):
    async with a_hub() as hub:
        client = new_client()
        await client.connect(f"http://{hub}", namespaces=["/chatq"], auth={"token": TOKEN})
        async with Waiting(client, tmp_path):
            [line] = lines(caplog)
            assert f'connect with namespaces=["{NAMESPACE}"]' in line


async def test_what_is_met_again_after_a_connection_is_told_again(tmp_path, caplog):
    async with Waiting(new_client(), tmp_path) as waiting:
        wrong = {"transports": ["websocket"], "socketio_path": "other"}
        async with a_hub() as hub:
            await waiting.dial(f"http://{hub}", **wrong)
            await waiting.client.connect(
                f"http://{hub}", namespaces=[NAMESPACE], auth={"token": TOKEN}
            )
            await waiting.outbox.flush()
            assert len(lines(caplog)) == 1
            await waiting.client.disconnect()
            await waiting.dial(f"http://{hub}", 6, **wrong)
    assert len(lines(caplog)) == 2


async def test_a_server_that_is_started_late_is_waited_for_without_a_word(tmp_path, caplog):
    async with Waiting(new_client(), tmp_path) as waiting:
        async with a_hub() as hub:
            pass
        await waiting.dial(f"http://{hub}")
        with pytest.raises(TimeoutError, match="nothing listens there"):
            await waiting.outbox.flush(0)
    assert lines(caplog) == []


async def test_an_outbox_says_that_its_client_has_given_up(tmp_path, caplog):
    async with a_hub() as hub:
        pass
    client = new_client(reconnection_attempts=1)
    async with Waiting(client, tmp_path) as waiting:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(f"http://{hub}", namespaces=[NAMESPACE], retry=True)
        assert "sends nothing: the client does not connect again by itself" in caplog.text
        assert "gets nothing: the client does not connect again by itself" in caplog.text
        assert waiting.outbox.pending == 1


async def test_a_server_that_does_not_know_the_request_is_told_of(tmp_path, caplog, monkeypatch):
    """Also to a consumer that waits without a limit."""
    monkeypatch.setattr("chatq.clients.consumer._REPLY", 0.02)
    errors = Seen()
    stage = await Stage.open(sio := socketio.AsyncServer(async_mode="aiohttp"))
    sio.on("x", lambda sid: None, namespace=NAMESPACE)
    client = new_client()
    consumer = Consumer(client, "q", namespace=NAMESPACE, on_error=errors.add)
    await client.connect(stage.url, namespaces=[NAMESPACE])
    starting = asyncio.create_task(consumer.start(within=None))
    [error] = (await errors.reach(1))[:1]
    assert "the server did not answer subscribe within 0.02 s: a consumer talks to" in str(error)
    starting.cancel()
    await consumer.close(0)
    await hang_up(client)
    await stage.close()
