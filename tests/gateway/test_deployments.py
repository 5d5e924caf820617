"""What `ddb-mcp gateway …` and `ddb-mcp purge` do with deployments and their data."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from ddb_mcp.stores.base import NO_CONDITION
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.conftest import post
from tests.gateway.process import Operator
from tests.support.forking import Process


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def items_of(operator: Operator) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(operator.folder / "items.sqlite3")) as connection:
        return {(bytes(pk).decode(), bytes(sk).decode()) for pk, sk in connection.execute("SELECT pk, sk FROM items")}


async def fill(store: LocalStore, prefix: str, count: int) -> None:
    for at in range(count):
        await store.put({"pk": {"S": f"{prefix}#{at % 7}"}, "sk": {"S": str(at)}}, NO_CONDITION)


@pytest.mark.parametrize("name", ["items-gateway.sqlite3", "renamed.sqlite3"])
def test_a_registry_is_never_served_as_data_nor_data_as_a_registry(operator: Operator, name: str) -> None:
    operator.deployments("add", "alpha")
    (operator.folder / "items-gateway.sqlite3").rename(operator.folder / name)
    here = {"DDB_MCP_LOCAL_PATH": str(operator.folder / name), "DYNAMODB_PREFIX": "deployment#alpha"}
    before = (operator.folder / name).read_bytes()
    for call in ("info", "provision", "scan", 'put {"item": {"pk": "deployment#alpha#x", "sk": "1"}}'):
        done = operator.run("call", *call.split(" ", 1), **here)
        assert done.returncode == 1
        error = json.loads(done.stderr.splitlines()[-1])["error"]
        assert (error["code"], "registry" in error["message"]) == ("misconfigured", True)
    assert (operator.folder / name).read_bytes() == before
    (operator.folder / "items-gateway.sqlite3").unlink(missing_ok=True)
    here["DDB_MCP_LOCAL_PATH"] = str(operator.folder / "items-gateway.sqlite3")
    assert operator.run("call", "provision", **here).returncode == 0
    done = operator.run("gateway", "deployments", "list")
    assert (done.returncode, "registry" in done.stderr) == (2, True)


def test_a_token_is_shown_once_and_kept_as_a_hash(operator: Operator) -> None:
    token = operator.deployments("add", "alpha")
    assert len(token.split()) == 1
    assert operator.deployments("list").startswith("alpha\tdeploy#alpha\t")
    shown = json.loads(operator.deployments("show", "alpha"))
    assert (shown["prefix"], shown["state"], len(shown["tokens"])) == ("deploy#alpha", "active", 1)
    files = list(operator.folder.glob("items-gateway.sqlite3*"))
    assert files
    secret = token.split("_", 3)[3].rpartition("_")[0]  # which may have a `_` itself
    assert len(secret) >= 32
    for file in files:
        assert secret.encode() not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_token_goes_into_a_file_of_its_owner_alone(operator: Operator) -> None:
    file = operator.folder / "token"
    assert operator.deployments("add", "alpha", "--out", str(file)) == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_text().strip()
    other = operator.folder / "other"
    assert operator.gateway("tokens", "add", "alpha", "--read-only", "--out", str(other)) == ""
    second = other.read_text().strip()
    with operator.serve() as gateway:
        item = {"item": {"pk": "deploy#alpha#a", "sk": "1"}}
        assert post(gateway.url, "put", item, authorization=f"Bearer {first}").status == 200
        refused = post(gateway.url, "put", item, authorization=f"Bearer {second}")
        assert (refused.status, refused.document["error"]) == (403, "read_only")
        assert "token" in refused.document["next"]
        assert post(gateway.url, "get", item["item"], authorization=f"Bearer {second}").document["found"] is True
        rows = [line.split("\t") for line in operator.gateway("tokens", "list", "alpha").splitlines()]
        assert sorted(row[1] for row in rows) == ["read and write", "read-only"]
        (writing,) = (row[0] for row in rows if row[1] == "read and write")
        assert writing in operator.gateway("tokens", "revoke", "alpha", writing)
        assert post(gateway.url, "info", {}, authorization=f"Bearer {first}").status == 401
        assert post(gateway.url, "info", {}, authorization=f"Bearer {second}").document["readOnly"] is True


def test_a_token_replaces_none_of_another_and_none_is_made(operator: Operator) -> None:
    file = operator.folder / "token"
    operator.deployments("add", "alpha", "--out", str(file))
    first = file.read_text()
    for words in (("deployments", "add", "beta"), ("tokens", "add", "alpha")):
        done = operator.run("gateway", *words, "--out", str(file))
        assert (done.returncode, file.read_text()) == (2, first)
        assert f"{file} already exists." in done.stderr
    assert len(operator.deployments("list").splitlines()) == 1
    assert len(operator.gateway("tokens", "list", "alpha").splitlines()) == 1


def test_a_rotated_token_replaces_the_old_one_in_its_file(operator: Operator) -> None:
    file = operator.folder / "token"
    operator.deployments("add", "alpha")
    file.write_text("an old one")
    file.chmod(0o666)
    operator.deployments("rotate", "alpha", "--out", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() != "an old one"


def test_where_a_token_cannot_be_kept_none_is_made(operator: Operator) -> None:
    operator.deployments("add", "alpha")
    before = operator.deployments("show", "alpha")
    done = operator.run("gateway", "deployments", "rotate", "alpha", "--out", str(operator.folder / "no" / "token"))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert operator.deployments("show", "alpha") == before


def test_removing_deletes_the_deployments_data_and_nothing_else(operator: Operator) -> None:
    store = LocalStore(operator.folder / "items.sqlite3", "t")

    async def prepare() -> None:
        await fill(store, "deploy#alpha", 250)
        for neighbour in ("deploy#alpha2", "deploy#alph", "deploy"):
            await fill(store, neighbour, 10)
        await store.close()

    token = operator.deployments("add", "alpha")
    operator.deployments("add", "beta", "--prefix", "deploy#alpha2")
    anyio.run(prepare)
    others = {key for key in items_of(operator) if not key[0].startswith("deploy#alpha#")}
    with operator.serve() as gateway:
        assert post(gateway.url, "scan", {"view": "count"}, authorization=f"Bearer {token}").document["count"] == 250
        assert operator.remove("alpha") == "250 items deleted"
        assert post(gateway.url, "info", {}, authorization=f"Bearer {token}").status == 401
    assert items_of(operator) == others
    assert operator.deployments("list").startswith("beta\t")
    assert operator.deployments("add", "alpha")


def test_nobody_is_asked_where_nobody_can_answer(operator: Operator) -> None:
    store = LocalStore(operator.folder / "items.sqlite3", "t")

    async def prepare() -> None:
        await fill(store, "deploy#alpha", 12)
        await store.close()

    operator.deployments("add", "alpha")
    anyio.run(prepare)
    done = operator.run("gateway", "deployments", "remove", "alpha")
    assert (done.returncode, done.stdout) == (2, "")
    assert "12 items" in done.stderr
    assert "--yes" in done.stderr
    assert len(items_of(operator)) == 12
    assert json.loads(operator.deployments("show", "alpha"))["state"] == "active"


def test_an_interrupted_removal_goes_on(operator: Operator) -> None:
    store = LocalStore(operator.folder / "items.sqlite3", "t")

    async def prepare() -> None:
        await fill(store, "deploy#alpha", 12)
        await store.close()

    anyio.run(prepare)
    operator.deployments("add", "alpha")
    operator.limits = {
        "ddb_mcp.gateway.removal.REMOVAL_SECONDS": 0,
        "ddb_mcp.stores.local.deadline.LOCK_SECONDS": 300,
        "ddb_mcp.core.limits.READ_SECONDS": 300,
    }
    command = operator.command("gateway", "deployments", "remove", "alpha", "--yes")
    with closing(sqlite3.connect(operator.folder / "items.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the removal waits for this lock until it is interrupted
        removal = Process(
            command, env=operator.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while "being removed" not in operator.deployments("list"):
            assert removal.poll() is None
        removal.send_signal(signal.SIGINT)
        said = removal.communicate(timeout=300)[1]
        other.execute("ROLLBACK")
    assert said == "Interrupted: 0 items deleted; the rest is unchanged. Run it again to continue.\n"
    assert removal.returncode == 130
    assert len(items_of(operator)) == 12
    for arguments in (["rotate", "alpha"], ["add", "alpha"], ["add", "x", "--prefix", "deploy#alpha"]):
        refused = operator.run("gateway", "deployments", *arguments)
        assert refused.returncode == 2
        assert "remove" in refused.stderr or "overlaps" in refused.stderr
    assert operator.remove("alpha") == "12 items deleted"
    assert items_of(operator) == set()
    assert operator.deployments("list") == ""


def test_purge_deletes_what_the_prefix_owns(operator: Operator) -> None:
    settings = {"DYNAMODB_PREFIX": "deploy#mine", "DDB_MCP_MODE": "local"}
    assert operator.run("purge", "--yes", **settings).stdout == "0 items deleted\n"
    store = LocalStore(operator.folder / "items.sqlite3", "t")

    async def prepare() -> None:
        await fill(store, "deploy#mine", 12)
        await fill(store, "deploy#mine2", 3)
        await store.close()

    anyio.run(prepare)
    assert operator.run("purge", DDB_MCP_READ_ONLY="1", **settings).returncode == 2
    assert len(items_of(operator)) == 15
    assert operator.run("purge", "--yes", **settings).stdout == "12 items deleted\n"
    assert {pk.split("#")[1] for pk, _ in items_of(operator)} == {"mine2"}


def test_what_the_gateway_is_not_for(operator: Operator) -> None:
    for settings, word in (
        ({"DDB_MCP_API_URL": "https://x.example", "DDB_MCP_AUTH_TOKEN": "t"}, "direct or local"),
        ({"DYNAMODB_TABLE": "some-table", "DDB_MCP_MODE": "direct", "DDB_MCP_ROLE_ARN": "arn:x"}, "DDB_MCP_ROLE_ARN"),
        ({"DYNAMODB_TABLE": "some-table", "DDB_MCP_LAMBDA_FUNCTIONS": "one"}, "DDB_MCP_LAMBDA_FUNCTIONS"),
    ):
        done = operator.run("gateway", "deployments", "list", **settings)
        assert done.returncode == 2
        assert word in done.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("this is no registry, and it is a little longer than a header " * 50),
        lambda file: file.mkdir(),
        lambda file: None,
    ],
    ids=["other file", "folder", "none"],
)
def test_a_registry_that_cannot_be_read_is_a_designed_error(operator: Operator, spoil: object) -> None:
    spoil(operator.folder / "items-gateway.sqlite3")  # type: ignore[operator]
    done = operator.run("gateway", "deployments", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ddb-mcp: ")
    assert done.stderr.count("\n") == 1


def test_without_a_home_it_says_what_to_set(operator: Operator) -> None:
    done = operator.run("gateway", "deployments", "list", HOME="/nonexistent", DDB_MCP_LOCAL_PATH="")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
