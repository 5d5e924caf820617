"""The registry of deployments, and what `ddb-mcp gateway deployments` and `ddb-mcp purge` do with it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from ddb_mcp.cli.gateway import remove
from ddb_mcp.core.errors import InvalidArgument, Misconfigured, Unavailable
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.gateway.deployments import Registry
from ddb_mcp.service.purge import purge
from ddb_mcp.stores.base import NO_CONDITION, Condition, Deleted
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.conftest import post
from tests.gateway.process import DDB_MCP, Operator
from tests.local.files import contents, write_and_crash


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with closing(Registry(tmp_path / "registry.sqlite3", "tests")) as registry:
        yield registry


async def silent(message: str) -> None:
    pass


def items_of(operator: Operator) -> set[tuple[str, str]]:
    with sqlite3.connect(operator.folder / "items.sqlite3") as connection:
        found = {(bytes(pk).decode(), bytes(sk).decode()) for pk, sk in connection.execute("SELECT pk, sk FROM items")}
    connection.close()
    return found


async def fill(store: LocalStore, prefix: str, count: int) -> None:
    for at in range(count):
        await store.put({"pk": {"S": f"{prefix}#{at % 7}"}, "sk": {"S": str(at)}}, NO_CONDITION)


def test_a_token_is_shown_once_and_kept_as_a_hash(operator: Operator) -> None:
    token = operator.deployments("add", "alpha")
    assert len(token.split()) == 1
    listed = operator.deployments("list")
    assert listed.startswith("alpha\tdeploy#alpha\t")
    for file in operator.folder.glob("registry.sqlite3*"):
        assert token.split("_", 2)[2].encode() not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_tokens_open_their_own_deployment_until_they_are_rotated(registry: Registry) -> None:
    alpha = registry.add("alpha", Prefix("deploy#alpha"))
    beta = registry.add("beta", Prefix("deploy#beta"), requests_per_second=5)
    found = registry.by_token(beta)
    assert found is not None
    assert (found.name, found.prefix.text, found.requests_per_second) == ("beta", "deploy#beta", 5)
    mixed = "_".join([*beta.split("_")[:2], alpha.split("_", 2)[2]])
    for wrong in ("", alpha[:-1], alpha + "x", alpha.upper(), alpha.split("_")[1], mixed, "ddbmcp_" + "0" * 16):
        assert registry.by_token(wrong) is None
    renewed = registry.rotate("alpha")
    assert registry.by_token(alpha) is None
    assert registry.by_token(renewed) is not None
    with pytest.raises(InvalidArgument, match="no deployment"):
        registry.rotate("gamma")


@pytest.mark.parametrize("prefix", ["deploy#alpha", "deploy#alpha#x", "deploy", "deploy#alpha#", "deploy#alpha#x_"])
def test_nested_prefixes_are_refused(registry: Registry, prefix: str) -> None:
    registry.add("alpha", Prefix("deploy#alpha"))
    with pytest.raises(InvalidArgument, match="overlaps"):
        registry.add("beta", Prefix(prefix))
    assert [tenant.name for tenant in registry.list()] == ["alpha"]


def test_look_alikes_are_no_overlap(registry: Registry) -> None:
    for at, prefix in enumerate(["deploy#alpha", "deploy#alpha2", "deploy#alph", "Deploy#alpha", "deploy_alpha_"]):
        registry.add(f"d{at}", Prefix(prefix))
    assert len(registry.list()) == 5


@pytest.mark.parametrize("name", ["", "a b", "-x", "../x", "x" * 64, "é", "a\n"])
def test_names(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidArgument):
        registry.add(name, Prefix("deploy#x"))


def test_a_registry_is_for_one_storage(tmp_path: Path) -> None:
    Registry(tmp_path / "registry", "direct storage one").close()
    with pytest.raises(Misconfigured, match="direct storage one"):
        Registry(tmp_path / "registry", "direct storage two")


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE mine (x)"],
        ["PRAGMA journal_mode = WAL", "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (zeroblob(30000))"],
        [f"PRAGMA application_id = {int.from_bytes(b'ddmc')}", "CREATE TABLE items (pk, sk)"],
        [f"PRAGMA application_id = {int.from_bytes(b'ddmg')}", "PRAGMA user_version = 2", "CREATE TABLE facts (x)"],
        ["PRAGMA application_id = 7"],
    ],
    ids=["no log", "log", "items", "newer", "no tables"],
)
def test_no_other_sqlite_file_is_changed(tmp_path: Path, statements: list[str]) -> None:
    write_and_crash(tmp_path / "file", *statements)
    before = contents(tmp_path)
    with pytest.raises(Misconfigured, match=r"another program's|newer"):
        Registry(tmp_path / "file", "tests")
    assert contents(tmp_path) == before


def test_no_other_file_is_changed(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, and it is a little longer than a header " * 50)
    (tmp_path / "folder").mkdir()
    before = contents(tmp_path)
    for name in ("text", "folder"):
        with pytest.raises(Misconfigured, match=name):
            Registry(tmp_path / name, "tests")
    assert contents(tmp_path) == before


def test_a_change_that_sqlite_has_rolled_back_itself_fails_with_its_reason(registry: Registry) -> None:
    with closing(sqlite3.connect(registry.path)) as connection:
        connection.execute("CREATE TRIGGER t BEFORE INSERT ON deployments BEGIN SELECT RAISE(ROLLBACK, 'on fire'); END")
    with pytest.raises(sqlite3.IntegrityError, match="on fire"):
        registry.add("alpha", Prefix("deploy#alpha"))
    with closing(sqlite3.connect(registry.path)) as connection:
        connection.execute("DROP TRIGGER t")
    assert registry.add("alpha", Prefix("deploy#alpha"))


def test_a_registry_opened_twice_in_one_process_keeps_what_is_added(operator: Operator) -> None:
    """A process that closes a file loses all its locks on it, and other processes take what it writes for left over."""
    path, storage = operator.folder / "registry.sqlite3", f"local storage {operator.folder / 'items.sqlite3'}"
    with closing(Registry(path, storage)) as registry:
        Registry(path, storage).close()
        assert operator.deployments("list") == ""
        registry.add("alpha", Prefix("deploy#alpha"))
        assert operator.deployments("list").startswith("alpha\t")


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
        done = operator.run(
            "gateway", "deployments", "remove", "alpha", "--registry", str(operator.folder / "registry.sqlite3")
        )
        assert done.returncode == 0
        assert done.stdout == "250 items deleted\n"
        assert "200 items deleted" in done.stderr
        assert post(gateway.url, "info", {}, authorization=f"Bearer {token}").status == 401
    assert items_of(operator) == others
    assert operator.deployments("list").startswith("beta\t")
    assert operator.deployments("add", "alpha")


def test_an_interrupted_removal_goes_on(operator: Operator) -> None:
    store = LocalStore(operator.folder / "items.sqlite3", "t")

    async def prepare() -> None:
        await fill(store, "deploy#alpha", 2000)
        await store.close()

    anyio.run(prepare)
    operator.deployments("add", "alpha")
    registry = str(operator.folder / "registry.sqlite3")
    removal = subprocess.Popen(
        [DDB_MCP, "gateway", "deployments", "remove", "alpha", "--registry", registry],
        env=operator.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert removal.stderr is not None
    assert "items deleted" in removal.stderr.readline()
    removal.send_signal(signal.SIGINT)
    assert "run it again" in removal.communicate(timeout=30)[1]
    assert removal.returncode == 130
    left = len(items_of(operator))
    assert 0 < left < 2000
    assert "being removed" in operator.deployments("list")
    for arguments in (["rotate", "alpha"], ["add", "alpha"], ["add", "x", "--prefix", "deploy#alpha"]):
        refused = operator.run("gateway", "deployments", *arguments, "--registry", registry)
        assert refused.returncode == 2
        assert "remove" in refused.stderr or "overlaps" in refused.stderr
    assert operator.deployments("remove", "alpha") == f"{left} items deleted"
    assert items_of(operator) == set()
    assert operator.deployments("list") == ""


def test_a_removal_that_fails_leaves_the_deployment_closed_off(registry: Registry, tmp_path: Path) -> None:
    class Failing(LocalStore):
        async def delete(self, key: Key, condition: Condition) -> Deleted:
            if key.sk == "5":
                raise Unavailable("The disk is on fire.")
            return await super().delete(key, condition)

    async def attempt() -> None:
        store = Failing(tmp_path / "items.sqlite3", "t")
        await fill(store, "deploy#alpha", 10)
        with pytest.raises(Unavailable, match="fire"):
            await remove(registry, store, "alpha", under_way_seconds=0)
        await store.close()
        good = LocalStore(tmp_path / "items.sqlite3", "t")
        assert 0 < await remove(registry, good, "alpha", under_way_seconds=0) < 10
        await good.close()

    token = registry.add("alpha", Prefix("deploy#alpha"))
    anyio.run(attempt)
    assert registry.by_token(token) is None
    assert registry.list() == []


def test_purge_deletes_what_the_prefix_owns(operator: Operator) -> None:
    settings = {"DYNAMODB_PREFIX": "deploy#mine", "DDB_MCP_MODE": "local"}
    assert operator.run("purge", **settings).stdout == "0 items deleted\n"
    store = LocalStore(operator.folder / "items.sqlite3", "t")

    async def prepare() -> None:
        await fill(store, "deploy#mine", 12)
        await fill(store, "deploy#mine2", 3)
        await store.close()

    anyio.run(prepare)
    assert operator.run("purge", DDB_MCP_READ_ONLY="1", **settings).returncode == 2
    assert len(items_of(operator)) == 15
    assert operator.run("purge", **settings).stdout == "12 items deleted\n"
    assert {pk.split("#")[1] for pk, _ in items_of(operator)} == {"mine2"}


def test_purge_gives_up_on_a_prefix_that_keeps_filling(tmp_path: Path) -> None:
    class Refilled(LocalStore):
        async def delete(self, key: Key, condition: Condition) -> Deleted:
            done = await super().delete(key, condition)
            await self.put({"pk": {"S": key.pk}, "sk": {"S": str(time.monotonic_ns())}}, NO_CONDITION)
            return done

    async def attempt() -> None:
        store = Refilled(tmp_path / "items.sqlite3", "t")
        await fill(store, "deploy#mine", 3)
        with pytest.raises(Unavailable, match="kept appearing"):
            await purge(store, Prefix("deploy#mine"), silent)
        await store.close()

    anyio.run(attempt)


def test_what_the_gateway_is_not_for(operator: Operator) -> None:
    for settings, word in (
        ({"DDB_MCP_API_URL": "https://x.example", "DDB_MCP_AUTH_TOKEN": "t"}, "direct or local"),
        ({"DYNAMODB_TABLE": "some-table", "DDB_MCP_MODE": "direct", "DDB_MCP_ROLE_ARN": "arn:x"}, "DDB_MCP_ROLE_ARN"),
        ({"DYNAMODB_TABLE": "some-table", "DDB_MCP_LAMBDA_FUNCTIONS": "one"}, "DDB_MCP_LAMBDA_FUNCTIONS"),
    ):
        done = operator.run("gateway", "deployments", "list", **settings)
        assert done.returncode == 2
        assert word in done.stderr


def test_direct_storage_needs_no_prefix_of_its_own(operator: Operator) -> None:
    settings: dict[str, Any] = {"DYNAMODB_TABLE": "some-table", "DDB_MCP_MODE": "direct", "AWS_DEFAULT_REGION": "x"}
    registry = str(operator.folder / "r")
    done = operator.run("gateway", "deployments", "list", "--registry", registry, **settings)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert os.path.exists(registry)
