"""Credentials: which source counts, where a token may go, how it is renewed, and that it appears nowhere."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.stores.platform import credentials as credentials_module
from ddb_mcp.stores.platform.credentials import check_url
from tests.platform.conftest import Client
from tests.platform.documented import PREFIX, TOKEN, DocumentedPlatform
from tests.support.faults import Answer, Cut, Fault, FaultProxy

KEY = {"pk": PREFIX + "#user", "sk": "1"}
Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and a path without the platform's command."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def auth_file(home: Path, url: str, token: str = TOKEN) -> Path:
    path = home / ".rebyte.ai" / "auth.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"sandbox": {"token": token, "relay_url": url}}))
    return path


def works(connect: Connect, environment: dict[str, str]) -> bool:
    return connect(environment=environment).call("get", **KEY) == {"found": False}


def test_a_token_with_the_word_bearer_is_told_to_be_without(platform: DocumentedPlatform, connect: Connect) -> None:
    client = connect(environment={"DDB_MCP_API_URL": platform.url, "DDB_MCP_AUTH_TOKEN": f"Bearer {TOKEN}"})
    error = client.fails("misconfigured", "get", **KEY)
    assert "begins with the word Bearer" in error.message
    assert TOKEN not in error.message + error.next


def test_either_pair_of_variables(platform: DocumentedPlatform, connect: Connect) -> None:
    assert works(connect, {"DDB_MCP_API_URL": platform.url + "/", "DDB_MCP_AUTH_TOKEN": TOKEN})
    assert works(connect, {"API_URL": platform.url, "AUTH_TOKEN": TOKEN})


def test_nothing_to_configure_where_the_file_is(platform: DocumentedPlatform, connect: Connect, home: Path) -> None:
    auth_file(home, platform.url)
    assert works(connect, {})


@pytest.mark.parametrize(
    "document",
    [
        {"sandbox": {"token": TOKEN, "relay_url": "URL"}},
        {"token": TOKEN, "url": "URL"},
        {"access_token": TOKEN, "api_url": "URL"},
        {"AUTH_TOKEN": TOKEN, "API_URL": "URL"},
    ],
)
def test_a_command_that_prints_json(
    platform: DocumentedPlatform, connect: Connect, home: Path, document: dict[str, Any]
) -> None:
    text = (
        json.dumps(document).replace("URL", platform.url, 1)
        if "API_URL" not in document
        else json.dumps({**document, "API_URL": platform.url})
    )
    command = script(home / "login", f"echo '{text}'")
    assert works(connect, {"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_COMMAND": f"{command} --now 'two words'"})


def test_a_command_that_prints_a_token(platform: DocumentedPlatform, connect: Connect, home: Path) -> None:
    command = script(home / "login", f"echo; echo '{TOKEN}  '; echo noise >&2")
    assert works(connect, {"DDB_MCP_API_URL": platform.url, "DDB_MCP_AUTH_COMMAND": str(command)})
    error = connect(environment={"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_COMMAND": str(command)}).fails(
        "misconfigured", "get", **KEY
    )
    assert "DDB_MCP_API_URL" in error.next


@pytest.mark.parametrize(
    "body", ["printf '\"%s\"' TOKEN", "sleep 600 & echo TOKEN", "exec 3>&1; (sleep 600; echo x >&3) & echo TOKEN"]
)
def test_a_command_may_print_a_json_string_and_leave_children_behind(
    platform: DocumentedPlatform, connect: Connect, home: Path, body: str
) -> None:
    command = script(home / "login", f"echo $$ > {home}/group; {body.replace('TOKEN', TOKEN)}")
    started = time.monotonic()
    try:
        assert works(connect, {"DDB_MCP_API_URL": platform.url, "DDB_MCP_AUTH_COMMAND": str(command)})
        assert time.monotonic() - started < 500
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((home / "group").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("body", "seconds", "code", "said"),
    [(f"yes {TOKEN}", 1, "unauthenticated", "1 s"), (f"echo {TOKEN}; wait", 1, "unauthenticated", "1 s")],
)
def test_a_command_that_prints_for_ever_or_hangs_is_ended_with_its_children(
    connect: Connect, home: Path, monkeypatch: pytest.MonkeyPatch, body: str, seconds: int, code: str, said: str
) -> None:
    monkeypatch.setattr(credentials_module, "AUTH_COMMAND_SECONDS", seconds)
    os.mkfifo(home / "alive")
    alive = os.open(home / "alive", os.O_RDONLY | os.O_NONBLOCK)
    command = script(home / "login", f"exec 4> {home}/alive; echo started >&4; sleep 600 & {body}")
    client = connect(environment={"DDB_MCP_API_URL": "https://x.example", "DDB_MCP_AUTH_COMMAND": str(command)})
    assert said in client.fails(code, "info").message
    assert os.read(alive, 100) in (b"started\n", b"")  # nothing, where its time was over before it began
    assert select.select([alive], [], [], 300)[0], "its children still have it open"
    assert os.read(alive, 100) == b""
    os.close(alive)


def test_the_platforms_own_command_goes_with_its_own_file(
    platform: DocumentedPlatform, connect: Connect, home: Path
) -> None:
    auth_file(home, platform.url, token="stale")
    script(home / ".local" / "bin" / "rebyte-auth", f"echo {TOKEN}")
    assert works(connect, {})
    with DocumentedPlatform() as elsewhere:
        client = connect(environment={"DDB_MCP_API_URL": elsewhere.url})
        assert "its own address" in client.fails("misconfigured", "get", **KEY).next
        assert elsewhere.requests == []


@pytest.mark.parametrize("kind", ["file", "command"])
def test_a_token_never_goes_to_another_address_than_its_own(
    platform: DocumentedPlatform, connect: Connect, home: Path, kind: str
) -> None:
    document = json.dumps({"sandbox": {"token": TOKEN, "relay_url": "https://its-own.example"}})
    (home / "auth.json").write_text(document)
    command = script(home / "login", f"echo '{document}'")
    source = {"file": {"DDB_MCP_AUTH_FILE": str(home / "auth.json")}, "command": {"DDB_MCP_AUTH_COMMAND": str(command)}}
    client = connect(environment={"DDB_MCP_API_URL": platform.url, **source[kind]})
    assert "its-own.example" in client.fails("misconfigured", "get", **KEY).message
    assert platform.requests == []


@pytest.mark.parametrize("kind", ["file", "command"])
def test_a_refused_token_is_renewed_once(platform: DocumentedPlatform, connect: Connect, home: Path, kind: str) -> None:
    file = auth_file(home, platform.url)
    runs = home / "runs"
    command = script(home / "login", f"echo run >> {runs}; cat {file}")
    settings = {"file": {}, "command": {"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_COMMAND": str(command)}}[kind]
    client = connect(environment=settings)
    client.call("put", item={**KEY, "n": 1})
    platform.token = "the-next-one"
    auth_file(home, platform.url, token="the-next-one")
    before = len(platform.requests)
    client.call("put", item={**KEY, "n": 2})
    assert len(platform.requests) == before + 2
    platform.token = "unknown-to-us"
    error = client.fails("unauthenticated", "get", **KEY)
    assert len(platform.requests) == before + 4
    assert ("login" in error.message + error.next) is False
    assert ("DDB_MCP_AUTH_COMMAND" if kind == "command" else str(file)) in error.next
    if kind == "command":
        assert len(runs.read_text().split()) == 3


def test_a_token_of_the_environment_is_named(platform: DocumentedPlatform, connect: Connect) -> None:
    platform.token = "another"
    for url, token in (("DDB_MCP_API_URL", "DDB_MCP_AUTH_TOKEN"), ("API_URL", "AUTH_TOKEN")):
        client = connect(environment={url: platform.url, token: TOKEN})
        assert f" {token}" in client.fails("unauthenticated", "get", **KEY).next


def test_many_calls_that_meet_one_expired_token_renew_it_once(
    platform: DocumentedPlatform, connect: Connect, home: Path
) -> None:
    file = auth_file(home, platform.url)
    runs = home / "runs"
    command = script(home / "login", f"echo run >> {runs}; cat {file}")
    client = connect(environment={"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_COMMAND": str(command)})
    client.call("info")
    platform.token = "the-next-one"
    auth_file(home, platform.url, token="the-next-one")
    items = [{**KEY, "sk": str(at)} for at in range(16)]
    assert client.call("put", items=items) == {"written": 16, "failed": []}
    assert len(runs.read_text().split()) == 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("exit 3", "unauthenticated"),
        ("sleep 600", "unauthenticated"),
        ("echo two words", "misconfigured"),
        ("printf 'tok\\303\\251n'", "misconfigured"),
        ("true", "misconfigured"),
        ("echo '{\"token\"'", "misconfigured"),
        ('echo \'{"url": "https://x.example"}\'', "misconfigured"),
    ],
)
def test_commands_that_give_no_token(
    connect: Connect, home: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: str
) -> None:
    if body.startswith("sleep"):
        monkeypatch.setattr(credentials_module, "AUTH_COMMAND_SECONDS", 0.5)
    command = script(home / "login", body)
    client = connect(
        environment={"DDB_MCP_API_URL": "https://x.example", "DDB_MCP_AUTH_COMMAND": f"{command} --secret s3cret"}
    )
    error = client.fails(code, "info")
    assert "DDB_MCP_AUTH_COMMAND" in error.message + error.next
    assert "s3cret" not in error.message + error.next


def test_a_command_that_is_not_there(connect: Connect) -> None:
    client = connect(environment={"DDB_MCP_API_URL": "https://x.example", "DDB_MCP_AUTH_COMMAND": "/no/such/thing"})
    client.fails("misconfigured", "info")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sandbox": {}}', '{"sandbox": {"token": "t"}}', '{"token": 5}'])
def test_files_of_no_use(connect: Connect, home: Path, content: str) -> None:
    path = home / "auth.json"
    path.write_text(content)
    client = connect(environment={"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_FILE": str(path)})
    error = client.fails("misconfigured", "info")
    assert str(path) in error.message or "DDB_MCP_API_URL" in error.next


@pytest.mark.parametrize(
    "url",
    [
        "http://platform.example",
        "http://10.0.0.1",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "ftp://platform.example",
        "platform.example",
        "https://",
        "https://user:secret@platform.example",
        "https://platform.example/?token=secret",
        "https://platform.example/#secret",
        "https://platform.example:port",
        "https://platform.example/ x",
        "http://[::1",
        "http://[::1]x",
        "http://[zz]:80",
        "http://:80",
        "https://platform.example/api/data/dynamodb",
        "https://platform.example/base/api/data/dynamodb/query/",
        "",
    ],
)
def test_addresses_that_no_token_goes_to(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        check_url(url, allow_http=False)
    assert "secret" not in caught.value.message + caught.value.next


def test_addresses_that_a_token_may_go_to() -> None:
    for url in (
        "https://platform.example",
        "http://127.0.0.1:8787",
        "http://localhost:1",
        "http://[::1]:1",
        "http://127.9.9.9",
    ):
        assert check_url(url + "/", allow_http=False) == url
    assert check_url("http://10.0.0.1/base/", allow_http=True) == "http://10.0.0.1/base"


def test_plain_http_needs_a_word(connect: Connect) -> None:
    for address, said in (
        ("http://platform.example", "DDB_MCP_ALLOW_HTTP"),
        ("platform.example", "DDB_MCP_API_URL"),
        ("ftp://platform.example", "DDB_MCP_API_URL"),
        ("https://user:password@platform.example", "DDB_MCP_API_URL"),
    ):
        with pytest.raises(Misconfigured) as refused:
            connect(environment={"DDB_MCP_API_URL": address, "DDB_MCP_AUTH_TOKEN": TOKEN})
        assert said in refused.value.next
        assert "password" not in str(refused.value)


def test_no_proxy_sees_a_token_in_the_clear(
    platform: DocumentedPlatform, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocumentedPlatform() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert works(connect, {"DDB_MCP_API_URL": platform.url, "DDB_MCP_AUTH_TOKEN": TOKEN})
        assert proxy.requests == []


LEAKS = """
import asyncio, json, logging, sys
from ddb_mcp.config.resolve import resolve_settings
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.platform import api
from ddb_mcp.stores.platform.store import PlatformStore

logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
api.PLATFORM_BACKOFF_SECONDS = 0.001
url, token, prefix = sys.argv[1:4]


async def run(environment):
    settings = resolve_settings(environment)
    print(settings)
    store = PlatformStore(settings)
    service = DataService(store, None)
    for operation in json.loads(sys.argv[4]):
        try:
            key = {"pk": prefix + "#u", "sk": "1"} if operation == "get" else {}
            print(await service.run_operation(operation, key))
        except DdbMcpError:
            logging.exception("failed")
        except Exception:
            logging.exception("a bug")
            raise
    await store.close()


asyncio.run(run({"DDB_MCP_API_URL": url, "DDB_MCP_AUTH_TOKEN": token}), debug=True)
asyncio.run(run({"DDB_MCP_API_URL": url, "DDB_MCP_AUTH_COMMAND": "cat " + sys.argv[5]}), debug=True)
"""


def test_the_token_appears_nowhere(platform: DocumentedPlatform, home: Path) -> None:
    """Every byte that a process writes at DEBUG over failures, where the platform repeats the token in all it says."""
    echo = {"Content-Type": "application/json", "X-Token": TOKEN, "Set-Cookie": f"t={TOKEN}"}
    said = {"error": f"bad_{TOKEN}", "message": f"Bearer {TOKEN} is bad", "next": TOKEN, "detail": TOKEN}
    faults: list[Fault] = [
        *(Answer(status, said, echo) for status in (400, 401, 401, 403, 404, 409, 429, 500, 502, 503, 504)),
        Answer(200, {"success": False, **said}, echo),
        Answer(200, f"<html>{TOKEN}".encode(), {**echo, "Content-Type": f"text/{TOKEN}"}),
        Answer(200, f'{{"{TOKEN}"'.encode(), echo),
        Answer(200, {"item": {"pk": TOKEN, "sk": "x"}}, echo),
        Answer(200, f'{{"item": {{"n": {{"{TOKEN}": 1e999}}}}}}'.encode(), echo),
        Answer(307, b"", {**echo, "Location": f"http://other.example/{TOKEN}"}),
        Answer(302, b"", {**echo, "Location": f"/{TOKEN}"}),
        Cut(20, "reset"),
        Cut(0, "close"),
    ]
    (home / "token").write_text(TOKEN)
    operations = ["info", "get", "get", *["get", "scan"] * len(faults)]
    with FaultProxy(platform.url) as proxy:
        for on in ("get", "scan"):
            for fault in faults:
                proxy.plan(fault, on=f"/api/data/dynamodb/{on}")
        done = subprocess.run(
            [
                sys.executable,
                "-X",
                "dev",
                "-c",
                LEAKS,
                proxy.endpoint,
                TOKEN,
                PREFIX,
                json.dumps(operations),
                home / "token",
            ],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": "src"},
            check=False,
            timeout=300,
        )
    written = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, written[-3000:]
    assert written.count("Traceback") > 10
    assert "unauthenticated" in written or "refused the token" in written
    assert TOKEN not in written
