"""`ddb-mcp purge` and `gateway deployments remove`: whom they ask, what they say, what stays when they end early."""

from __future__ import annotations

import gc
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import anyio
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.service.transfer.purge import PurgeResult, delete_all
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.process import Operator
from tests.local.data import Data
from tests.platform.documented import PREFIX, TOKEN, DocumentedPlatform, Raw
from tests.support.commands import run_command
from tests.support.forking import DDB_MCP, Process

OWN = {"DYNAMODB_PREFIX": "deploy#alpha", "DDB_MCP_MODE": "local"}
COMMANDS = [["purge"], ["gateway", "deployments", "remove", "alpha"]]


@pytest.fixture(params=COMMANDS, ids=["purge", "remove"])
def command(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    return words


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Storage with a deployment and two items of its own."""
    operator = Operator(tmp_path)
    operator.deployments("add", "alpha")
    put(operator, 2)
    return operator


def put(operator: Operator, items: int) -> None:
    """So many items. In this process, as `left`: a command takes half a second."""
    with opened(operator) as data:
        data.put_all([{"pk": "deploy#alpha#a", "sk": str(at)} for at in range(items)])


def left(operator: Operator) -> int:
    with opened(operator) as data:
        count: int = data.call("scan", view="count")["count"]
    return count


@contextmanager
def opened(operator: Operator) -> Iterator[Data]:
    data = Data(operator.folder / "items.sqlite3", OWN["DYNAMODB_PREFIX"])
    try:
        yield data
    finally:
        data.close()


@contextmanager
def asked(operator: Operator, command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command at a terminal, where it has just asked; and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = Process(
        [DDB_MCP, *command],
        env={**operator.environment, **OWN},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert read_until(process.stderr, "[y/N]").startswith("Delete ")
        yield process, ours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def read_until(stream: IO[str], end: str) -> str:
    text = ""
    while not text.endswith(end):
        letter = stream.read(1)
        assert letter, text
        text += letter
    return text


@pytest.mark.parametrize("given", ["", "n\n", "y\n"])
def test_without_a_terminal_nothing_is_deleted_and_the_count_is_said(
    operator: Operator, command: list[str], given: str
) -> None:
    done = run_command(*command, environment={**operator.environment, **OWN}, stdin=given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "2 items" in done.stderr
    assert "--yes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert left(operator) == 2


def test_a_count_past_a_thousand_is_at_least_that(operator: Operator) -> None:
    put(operator, 1100)
    assert "at least 1,000 items" in operator.run("purge", **OWN).stderr


def test_yes_at_the_terminal_deletes(operator: Operator) -> None:
    with asked(operator, ["purge"]) as (process, terminal):
        os.write(terminal, b"y\n")
        assert process.communicate(timeout=300)[0] == "2 items deleted\n"
    assert process.returncode == 0
    assert left(operator) == 0


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"deploy\n", b"\x04"])
def test_anything_but_yes_deletes_nothing_and_says_so(operator: Operator, command: list[str], answer: bytes) -> None:
    with asked(operator, command) as (process, terminal):
        os.write(terminal, answer)
        out, said = process.communicate(timeout=300)
    assert (process.returncode, out, said.strip()) == (1, "", "Nothing was deleted.")
    assert left(operator) == 2


def test_ctrl_c_at_the_prompt_ends_at_once_and_deletes_nothing(operator: Operator, command: list[str]) -> None:
    with asked(operator, command) as (process, _):
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=300)
    assert (process.returncode, out, said.strip()) == (130, "", "Nothing was deleted.")
    assert left(operator) == 2


def test_purge_holds_no_more_keys_than_two_pages(operator: Operator) -> None:
    put(operator, 3500)
    held = done = 0

    def count_keys(items: int) -> None:
        nonlocal held, done
        done += items
        if done % 500 == 0:
            held = max(held, sum(type(each) is Key for each in gc.get_objects()))

    async def purge_all() -> PurgeResult:
        store = LocalStore(operator.folder / "items.sqlite3", "ddb-mcp-local")
        try:
            return await delete_all(store, Prefix(OWN["DYNAMODB_PREFIX"]), count_keys)
        finally:
            await store.close()

    assert anyio.run(purge_all) == PurgeResult(3500, complete=True)
    assert 0 < held <= 3 * limits.LIMIT_MAX


@pytest.fixture
def platform() -> Iterator[DocumentedPlatform]:
    """A platform with ten own items."""
    with DocumentedPlatform() as platform:
        for at in range(10):
            platform.items[PREFIX + "#user", str(at)] = {"pk": PREFIX + "#user", "sk": str(at)}
        yield platform


@pytest.fixture
def environment(platform: DocumentedPlatform, operator: Operator) -> dict[str, str]:
    """That of a command over the platform."""
    settings = {"DDB_MCP_API_URL": platform.url, "DDB_MCP_AUTH_TOKEN": TOKEN, "DDB_MCP_LOCAL_PATH": ""}
    return {**operator.environment, **settings}


def test_ctrl_c_while_it_deletes_says_once_what_is_done_and_what_is_left(
    platform: DocumentedPlatform, environment: dict[str, str]
) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def answer(operation: str, result: Any) -> Any:
        if operation == "delete" and len(platform.items) < 7:
            hanging.set()
            go_on.wait(300)
        return result

    platform.answer = answer
    command = [DDB_MCP, "purge", "--yes"]
    pipe = subprocess.PIPE
    with Process(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert hanging.wait(300)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=300)
        go_on.set()
    assert (process.returncode, out) == (130, "")
    assert said.startswith("Interrupted: ")
    assert "deleted; the rest is unchanged. Run it again to continue." in said
    assert said.count("\n") == 1


def test_a_failure_while_it_deletes_says_once_what_is_done_and_what_is_left(
    platform: DocumentedPlatform, environment: dict[str, str]
) -> None:
    def answer(operation: str, result: Any) -> Any:
        if operation == "delete" and len(platform.items) < 7:
            return Raw(403, b'{"error": "forbidden", "message": "no"}')
        return result

    platform.answer = answer
    ended = run_command("purge", "--yes", environment=environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    done, why = ended.stderr.splitlines()
    assert done.startswith("Failed: ")
    assert "the rest is unchanged" in done
    assert why.startswith("ddb-mcp: ")
