"""Tokens of a hub: where they come from, what each permits, and how they change while it runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import hubs
import pytest
import socketio
from hubs import Hub

from chatq.__main__ import main
from chatq.hub.inside import NAMESPACE
from chatq.hub.tokens import Holder, Tokens
from chatq.hub.watched import Watched
from chatq.waiting import set_within

FILE = """
# who looks after all of it
[office]
token = "sesame-office"
publish = ["*"]
consume = ["*"]
manage = ["*"]

[kitchen]
token = ["sesame-kitchen", "sesame-kitchen-2"]
publish = ["drivers", "shop-?"]
consume = ["orders*"]

[porter]
token = "sesame-porter"
manage = ["drivers"]
"""
CODE = "forbidden"


async def refusal(hub: Hub, auth: Any) -> dict[str, Any]:
    """Return what a client hears that is not let in."""
    client = socketio.AsyncClient(reconnection=False)
    reasons: list[Any] = []
    client.on("connect_error", reasons.append, namespace=hub.namespace)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await hub.join(client, auth=auth)
    await client.eio.disconnect(abort=True)
    assert reasons, "it was not told"
    data: dict[str, Any] = reasons[0]
    return data


def comes_in(hub: Hub, token: str | None) -> Any:
    return hub.client(auth={"token": token} if token else None)


# -- the form -----------------------------------------------------------------------------------


def test_patterns_are_for_whole_names() -> None:
    holder = Holder("x", publish=("orders", "shop-*", "a?c", "[ab]"), consume=(), manage=("*",))
    for name in ["orders", "shop-", "shop-1/x\u00e9", "abc", "a*c", "[ab]"]:
        assert holder.may("publish", name)
    for name in ["Orders", "orders2", "xorders", "ashop-1", "ac", "abbc", "a", "b", "orders\n"]:
        assert not holder.may("publish", name)
    assert not holder.may("consume", "orders")
    assert holder.may("manage", "anything at all")
    assert holder.may("manage", "")
    assert not Holder("x", (), (), ("?", "?*")).may("manage", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        ("a\nb\n", "it has several lines"),
        (FILE, "it has several lines"),
        ("sec\0ret", "printable"),
        ("x" * 1001, "at most 1,000"),
    ],
)
def test_a_file_of_one_token(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tokens.read(text, toml=False)


@pytest.mark.parametrize(
    "text", ["söme töken", "söme töken\n", "\ufeffsöme töken\r\n", " söme töken \n\n"]
)
def test_the_ends_of_a_file_do_not_count(text: str) -> None:
    tokens = Tokens.read(text, toml=False)
    assert tokens.find("söme töken").may_all
    for other in [
        "söme töken\n",
        " söme töken",
        "söme tökeN",
        "",
        None,
        5,
        ["söme töken"],
        b"x",
        "\ud800",
    ]:
        assert tokens.find(other) is None


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        (f'token = "{SECRET}"', "^token is a text, and in no table: above each token"),
        (
            f'[a]\ntoken = "{SECRET}"\npublish = ["*"]\n["x\\n"]',
            "a name has 1 to 100 printable characters, not 'x",
        ),
        (f'[a]\ntoken = "{SECRET}', r"it is no TOML \(at end"),
        (f"[a]\n{SECRET}", r"it is no TOML \(at"),
        (f'[a]\ntoken = "{SECRET}"\n[a]\n', r"a name comes twice \(at line 3"),
        (f'[a]\ntoken = "{SECRET}"\ntoken = "{SECRET}"\n', "it is no TOML"),
        (f'[a]\ntoken = "{SECRET}"\n', r"\[a\] may do nothing: write publish, consume or manage"),
        (f'[a]\ntoken = "{SECRET}"\npublish = []', r"\[a\] may do nothing"),
        ("[a]\npublish = ['*']", r'\[a\] has no token: write token = "…", or a list'),
        ("[a]\ntoken = []\npublish = ['*']", r"\[a\] token is an empty list: write token ="),
        ("[a]\ntoken = 5\npublish = ['*']", r"\[a\] token is a number: write token ="),
        ("[a]\ntoken = true\npublish = ['*']", r"\[a\] token is a boolean: write"),
        ("[a]\ntoken = 2026-01-01\npublish = ['*']", r"\[a\] token is a date or a time: write"),
        ("[a]\ntoken = ['x', 5]\npublish = ['*']", r"\[a\] token: number 2 is a number: write"),
        (f"[a.token]\nx = '{SECRET}'", r"\[a\] token is a table: write token ="),
        ("[a]\ntoken = ''\npublish = ['*']", r"\[a\] token: a token that is empty keeps nobody"),
        (f"[a]\ntoken = '{SECRET} '\npublish = ['*']", r"\[a\] token: a token has"),
        (f'[a]\ntoken = "{SECRET}\\n"\npublish = ["*"]', r"\[a\] token: a token has"),
        (
            f"[a]\ntoken = '{SECRET}'\npublish = '*'",
            r"\[a\] publish is a text: write a list of queues.* publish = \[",
        ),
        (f"[a]\ntoken = '{SECRET}'\npublish = ''", r"\[a\] publish is an empty text: write"),
        (f"[a]\ntoken = '{SECRET}'\npublish = 1.5", r"\[a\] publish is a number: write"),
        (f"[a]\ntoken = '{SECRET}'\n[a.publish]\n", r"\[a\] publish is an empty table: write"),
        (f"[a]\ntoken = '{SECRET}'\nconsume = [5]", r"\[a\] consume: number 1 is a number: w"),
        (f"[a]\ntoken = '{SECRET}'\nmanage = ['x', '']", r"manage: number 2 is an empty text: w"),
        (f"[a]\ntoken = '{SECRET}'\nmanage = [\"a\\n\"]", r"\[a\] manage: number 1 is no name"),
        (f"[a]\ntoken = '{SECRET}'\nadmin = ['*']", r"\[a\] has 'admin', which nobody knows"),
        (f"[a.b]\ntoken = '{SECRET}'\npublish = ['*']", r"\[a\] has 'b', which nobody knows"),
        (
            f"[a]\ntoken = '{SECRET}'\npublish = ['x']\n[b]\ntoken = '{SECRET}'\npublish = ['y']",
            "a and b have the same token",
        ),
        (
            f"[a]\ntoken = ['{SECRET}', '{SECRET}']\npublish = ['x']",
            "a and a have the same token",
        ),
    ],
)
def test_a_file_of_several_tokens_that_cannot_be_used(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        Tokens.read(text, toml=True)
    assert SECRET not in str(raised.value)


def test_no_token_is_shown() -> None:
    tokens = Tokens.read(FILE, toml=True)
    found = tokens.find("sesame-kitchen-2")
    assert found is not None
    assert (found.name, found.publish) == ("kitchen", ("drivers", "shop-?"))
    held = f"{tokens!r} {found!r} {tokens.__dict__!r} {found.__dict__!r}"
    assert "sesame" not in held


# -- where it comes from ------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a hub that cannot be, here; return what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        try:
            status = main(["serve", "--port", "0", *arguments])
        except SystemExit as exit:
            status = exit.code
        out, error = capsys.readouterr()
        assert (status, out) == (2, "")
        return str(error)

    return run


def test_tokens_that_cannot_be_had_are_told(tmp_path: Path, refused, monkeypatch) -> None:
    assert f"cannot read {tmp_path / 'no'}: No such file" in refused(
        "--token-file", f"{tmp_path}/no"
    )
    assert "Is a directory" in refused("--token-file", str(tmp_path))
    bad = tmp_path / "bad"
    bad.write_bytes(b"\xff\xfe")
    assert "it is no text in UTF-8" in refused("--token-file", str(bad))
    bad.write_text("")
    assert f"{bad}: it is empty" in refused("--token-file", str(bad))
    (tmp_path / "bad.toml").write_text("[a]\ntoken")
    assert "bad.toml: it is no TOML" in refused("--token-file", "bad.toml")
    (tmp_path / "some.TOML").write_text(FILE)
    said = refused("--token-file", "some.TOML", "--dialect", "caps")
    assert "--dialect caps all clients hear of all orders" in said
    assert "not allowed with" in refused("--token-file", "x", "--token", "y")
    monkeypatch.setenv("CHATQ_STORE", "redis://me:hunter2@host")
    assert "not at 'redis://…@host'" in refused()
    monkeypatch.setenv("CHATQ_TOKEN", "")
    assert "CHATQ_TOKEN: a token that is empty keeps nobody out" in refused()
    monkeypatch.setenv("CHATQ_TOKEN", "hunter2\n")
    error = refused()
    assert error.startswith("chatq serve: CHATQ_TOKEN: a token has")
    assert "hunter2" not in error


@pytest.mark.needs("linux")
async def test_a_token_of_the_environment_is_in_no_list_of_processes(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("CHATQ_TOKEN", "hunter2")
    monkeypatch.setenv("CHATQ_STORE", f"sqlite:///{tmp_path / 'of-the-environment.db'}")
    store = ("--store", "sqlite:///other.db")  # what is on the command line comes first
    with hubs.hub("--host", "0.0.0.0", *store, folder=tmp_path) as hub:
        client = await comes_in(hub, "hunter2")
        await client.disconnect()
        assert (await refusal(hub, {"token": "hunter"}))["data"]["error"]["code"] == CODE
        assert (await refusal(hub, None))["message"].startswith("no token")
        shown = Path(f"/proc/{hub.process.pid}/cmdline").read_bytes()  # noqa: ASYNC240
        assert b"hunter2" not in shown
        assert "hunter2" not in hub.log
        assert "tokens and messages cross the network as they are" in hub.log


@pytest.mark.needs("posix")
async def test_a_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2\n")
    file.chmod(0o644)
    with hubs.hub("--token-file", str(file), folder=tmp_path) as hub:
        client = await comes_in(hub, "hunter2")
        await client.disconnect()
        await hub.stop()
        assert hub.log.count("others on this machine may use") == 1  # the queues are for us alone
        assert f"others on this machine may use {file} (mode 644): chmod 600 it" in hub.log


# -- what it permits ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    (folder / "tokens.toml").write_text(FILE)
    with hubs.hub("--token-file", "tokens.toml", folder=folder) as running:
        yield running


#: What the kitchen may ask, and what not.
ASKED: list[tuple[str, dict[str, Any], bool]] = [
    ("publish", {"queue": "drivers", "event": "e"}, True),
    ("publish", {"queue": "shop-1", "event": "e"}, True),
    ("publish", {"queue": "shop-12", "event": "e"}, False),
    ("publish", {"queue": "orders", "event": "e"}, False),
    ("publish", {"queue": ["drivers", "orders"], "event": "e"}, False),
    ("publish", {"messages": [{"queue": "drivers", "event": "e"}]}, True),
    (
        "publish",
        {"messages": [{"queue": "drivers", "event": "e"}, {"queue": "no", "event": "e"}]},
        False,
    ),
    ("subscribe", {"queue": "orders"}, True),
    ("subscribe", {"queue": "orders-north"}, True),
    ("subscribe", {"queue": "drivers"}, False),
    ("unsubscribe", {"queue": "drivers"}, True),  # it says that it was not subscribed
    ("stats", {"queue": "drivers"}, False),
    ("dead", {"queue": "drivers"}, False),
    ("redrive", {"queue": "drivers"}, False),
    ("redrive", {"queue": "orders", "ids": []}, False),
    ("stats", {}, False),
    ("stats", {"queue": ["orders"]}, False),
    ("dead", {"queue": "nobody knows it"}, False),
]


@pytest.mark.parametrize(("event", "data", "permitted"), ASKED)
async def test_what_each_may_do(
    event: str, data: dict[str, Any], permitted: bool, hub: Hub
) -> None:
    async def ask(token: str) -> Any:
        client = await comes_in(hub, token)
        answer = await hub.call(client, event, data)
        await client.disconnect()
        return answer

    answer = await ask("sesame-kitchen")
    if permitted:
        assert "error" not in answer, answer
    else:
        assert answer["error"]["code"] == CODE
        assert answer["error"]["message"].startswith("the token of kitchen does not permit ")
    answer = await ask("sesame-office")
    assert "error" not in answer or answer["error"]["code"] != CODE


@pytest.mark.parametrize(
    ("event", "data", "permitted"),
    [
        ("stats", {"queue": "drivers"}, True),
        ("peek", {"queue": "drivers"}, True),
        ("purge", {"queue": "drivers"}, True),
        ("stats", {"queue": "orders"}, False),
        ("purge", {"queue": "orders"}, False),
        ("redrive", {"queue": ["drivers"]}, False),
        ("list", {}, False),
        ("where", {"id": "1"}, False),
        ("look", {}, False),
    ],
)
async def test_what_each_may_see_inside(
    event: str, data: dict[str, Any], permitted: bool, hub: Hub
) -> None:
    kitchen = await comes_in(hub, "sesame-kitchen")
    await hub.call(kitchen, "publish", {"queue": "drivers", "event": "e"})
    await kitchen.disconnect()
    for name, may in [("office", True), ("porter", permitted), ("kitchen", False)]:
        client = socketio.AsyncClient(reconnection=False)
        auth = {"token": f"sesame-{name}"}
        await client.connect(hub.url, namespaces=[NAMESPACE], auth=auth, wait_timeout=5)
        answer = await client.call(event, data, namespace=NAMESPACE)
        await client.disconnect()
        assert (answer.get("error", {}).get("code") != CODE) == may, (name, answer)


async def test_nothing_of_a_batch_is_stored_if_one_queue_is_forbidden(hub: Hub) -> None:
    office, kitchen = await comes_in(hub, "sesame-office"), await comes_in(hub, "sesame-kitchen")
    fresh = {"queue": "shop-9", "event": "e"}
    answer = await hub.call(kitchen, "publish", {"messages": [fresh, {**fresh, "queue": "orders"}]})
    assert answer["error"]["code"] == CODE
    answer = await hub.call(office, "stats", {"queue": "shop-9"})
    assert answer["error"]["code"] == "unknown_queue"
    await office.disconnect()
    await kitchen.disconnect()
    assert "sesame" not in hub.log
    assert "refused publish of kitchen: forbidden" in hub.log


async def test_without_a_token_all_is_as_it_was(tmp_path: Path) -> None:
    with hubs.hub(folder=tmp_path) as hub:
        client = await comes_in(hub, None)
        for event, data, _ in ASKED:
            answer = await hub.call(client, event, data)
            assert "error" not in answer or answer["error"]["code"] != CODE
        await client.disconnect()


# -- while it runs ------------------------------------------------------------------------------


def replace(file: Path, text: str) -> None:
    """Put a new file in the place of another, as one should."""
    new = file.with_name("new")
    new.write_text(text)
    os.replace(new, file)


async def log_says(hub: Hub, text: str, times: int = 1) -> None:
    async with asyncio.timeout(hubs.DEADLINE):
        while hub.log.count(text) < times:
            await set_within(asyncio.Event(), 0.02)  # another process writes it


async def gone(client: socketio.AsyncClient, namespace: str) -> None:
    async with asyncio.timeout(hubs.DEADLINE):
        while namespace in client.namespaces:
            await set_within(asyncio.Event(), 0.02)


async def test_a_file_is_read_again_and_who_is_gone_from_it_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(FILE)
    with hubs.hub("--token-file", str(file), folder=tmp_path) as hub:
        old = [await comes_in(hub, "sesame-kitchen") for _ in range(2)]
        polling = await hub.client(auth={"token": "sesame-kitchen"}, transports=["polling"])
        stays = await comes_in(hub, "sesame-kitchen-2")
        office = await comes_in(hub, "sesame-office")
        replace(file, FILE.replace('"sesame-kitchen", ', ""))
        await log_says(hub, "read tokens.toml again")
        await log_says(hub, "cut off a client", 3)
        for client in [*old, polling]:
            await gone(client, hub.namespace)
        assert (await refusal(hub, {"token": "sesame-kitchen"}))["data"]["error"]["code"] == CODE
        for client in (stays, office):
            assert "id" in await hub.call(client, "publish", {"queue": "drivers", "event": "e"})

        # Who may do less is cut off, too, and does less when it comes again.
        replace(file, FILE.replace('"drivers", ', ""))
        await log_says(hub, "read tokens.toml again", 2)
        await gone(stays, hub.namespace)
        again = await comes_in(hub, "sesame-kitchen-2")
        answer = await hub.call(again, "publish", {"queue": "drivers", "event": "e"})
        assert answer["error"]["code"] == CODE
        assert "id" in await hub.call(office, "publish", {"queue": "drivers", "event": "e"})
        for client in (again, office):
            await client.disconnect()
        await hub.stop()
        assert "sesame" not in hub.log


async def test_who_is_cut_off_connects_again_by_itself_and_hears_why(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    with hubs.hub("--token-file", str(file), folder=tmp_path) as hub:
        client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.1)
        told: asyncio.Queue[Any] = asyncio.Queue()
        client.on("connect_error", told.put, namespace=hub.namespace)
        client.on("connect", lambda: told.put_nowait("in"), namespace=hub.namespace)
        await hub.join(client, auth=lambda: {"token": "one"})
        assert await told.get() == "in"
        file.write_text("two\n")
        async with asyncio.timeout(hubs.DEADLINE):
            assert (await told.get())["data"]["error"]["message"] == "wrong token"
            file.write_text("one\n")
            while await told.get() != "in":
                pass
        await client.disconnect()


async def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(FILE)
    with hubs.hub("--token-file", str(file), folder=tmp_path) as hub:
        client = await comes_in(hub, "sesame-office")
        for times, broken in enumerate(
            [b"", b"[a]\ntoken = ", b"[x]\ntoken='t'", b"\xff", None], 1
        ):
            if broken is None:
                file.unlink()
            else:
                file.write_bytes(broken)
            await log_says(hub, "the hub goes on with what it had", times)
        assert "id" in await hub.call(client, "publish", {"queue": "drivers", "event": "e"})
        other = await comes_in(hub, "sesame-kitchen")
        replace(file, FILE.replace("sesame-kitchen", "basil"))
        await gone(other, hub.namespace)
        assert "id" in await hub.call(client, "publish", {"queue": "drivers", "event": "e"})
        await client.disconnect()
        await hub.stop()
        assert hub.log.count("the hub goes on with what it had") == 5  # once for each


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("1")
    watched = Watched(file)
    assert not watched.changed()
    for text in ["12", "123", "1234"]:
        file.write_text(text)
        assert not watched.changed()
    assert watched.changed()
    assert not watched.changed()
    file.unlink()
    assert [watched.changed() for _ in range(3)] == [False, True, False]


@pytest.mark.needs("posix")
async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As a shell makes it of `--token-file <(print-the-token)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    watched = Watched(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("hunter2\n",), daemon=True)
    writer.start()
    with hubs.hub("--token-file", str(pipe), folder=tmp_path) as hub:
        client = await comes_in(hub, "hunter2")
        await client.disconnect()
        os.utime(pipe)
        assert [watched.changed() for _ in range(3)] == [False] * 3
        await hub.stop()
    writer.join()


async def test_a_process_says_why_it_does_not_start(tmp_path: Path) -> None:
    process = hubs.spawn("--token-file", "no", folder=tmp_path, stderr=subprocess.PIPE)
    with hubs.deadline(process):
        out, error = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert error == "chatq serve: cannot read no: No such file or directory\n"
