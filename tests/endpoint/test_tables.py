"""Tables as SDKs make, describe, list and delete them; time to live; tags."""

from __future__ import annotations

import gc
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from botocore.exceptions import ClientError

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint.errors import EndpointError
from ddb_mcp.endpoint.tables import Tables
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.local.table import LocalTable
from tests.endpoint.support import Table, address, key, refused, serving, start
from tests.gateway.process import Operator
from tests.support.engines import Engine

if TYPE_CHECKING:
    from pathlib import Path

KEYS: Any = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
ATTRIBUTES: Any = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
SCHEMA: dict[str, Any] = {"KeySchema": KEYS, "AttributeDefinitions": ATTRIBUTES, "BillingMode": "PAY_PER_REQUEST"}


def test_a_table_is_described(table: Table) -> None:
    table.put("1")
    found = table.call("describe_table")["Table"]
    assert (found["TableName"], found["TableStatus"], found["ItemCount"]) == (table.name, "ACTIVE", 1)
    assert (found["KeySchema"], found["AttributeDefinitions"]) == (KEYS, ATTRIBUTES)
    assert found["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    assert found["TableSizeBytes"] > 0
    assert abs((datetime.now(UTC) - found["CreationDateTime"]).total_seconds()) < 600
    assert uuid.UUID(found["TableId"])


def test_tables_are_made_listed_and_deleted(endpoint: Engine) -> None:
    client: Any = endpoint.client()
    names = sorted(f"{uuid.uuid4().hex}.{at}" for at in range(3))
    for name in names:
        made = client.create_table(
            TableName=name,
            **SCHEMA,
            TableClass="STANDARD",
            SSESpecification={"Enabled": True},
            StreamSpecification={"StreamEnabled": False},
        )
        assert made["TableDescription"]["TableStatus"] == "ACTIVE"
        with pytest.raises(ClientError) as caught:
            client.create_table(TableName=name, **SCHEMA)
        refused(caught.value, "ResourceInUseException", f"Table already exists: {name}")
    listed = [name for page in client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1})
              for name in page["TableNames"]]  # fmt: skip
    assert [name for name in listed if name in names] == names
    client.put_item(TableName=names[0], Item=key())
    assert client.delete_table(TableName=names[0])["TableDescription"]["TableStatus"] == "DELETING"
    client.get_waiter("table_not_exists").wait(TableName=names[0], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    client.create_table(TableName=names[0], **SCHEMA)
    assert client.scan(TableName=names[0])["Count"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"KeySchema": KEYS[:1], "AttributeDefinitions": ATTRIBUTES[:1]},
            "must have the string keys pk (HASH) and sk (RANGE)",
        ),
        (
            {"KeySchema": [{**KEYS[0], "AttributeName": "sk"}, {**KEYS[1], "AttributeName": "pk"}]},
            "must have the string keys pk",
        ),
        (
            {"AttributeDefinitions": [ATTRIBUTES[0], {**ATTRIBUTES[1], "AttributeType": "N"}]},
            "must have the string keys",
        ),
        ({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}, "does not support streams"),
        ({"DeletionProtectionEnabled": True}, "does not support DeletionProtectionEnabled"),
        ({"BillingMode": "FREE"}, "billingMode"),
        ({"TableName": "../outside"}, "[a-zA-Z0-9_.-]+"),
        (
            {"TableName": "CONFIGURED"},
            "cannot create the table CONFIGURED: its file would be that of the configured table",
        ),
        ({"TableName": "Configured-GATEWAY"}, "or of a gateway's registry"),
        ({"TableName": "x" * 255}, "too long for this file system"),
        ({"TableName": "x" * 240}, "too long for this file system"),
    ],
)
def test_tables_that_are_not_made(endpoint: Engine, change: dict[str, Any], message: str) -> None:
    client: Any = endpoint.client()
    before = client.list_tables()
    with pytest.raises(ClientError) as caught:
        client.create_table(**{"TableName": "refused", **SCHEMA, **change})
    refused(caught.value, "ValidationException", message)
    assert client.list_tables()["TableNames"] == before["TableNames"]


def test_a_name_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with serving(tmp_path / "items.sqlite3", "--all-keys") as engine:
        client: Any = engine.client()
        for name in ("x" * 240, "items", "items-gateway", "Items-Gateway"):
            with pytest.raises(ClientError) as caught:
                client.create_table(TableName=name, **SCHEMA)
            refused(caught.value, "ValidationException", "cannot create the table")
        assert not list(tmp_path.iterdir())
        longest = "x" * 239
        client.create_table(TableName=longest, **SCHEMA)
        client.put_item(TableName=longest, Item=key())
        assert client.scan(TableName=longest)["Count"] == 1
    Operator(tmp_path).gateway("init")


def test_tables_that_do_not_exist_are_not_remembered(tmp_path: Path) -> None:
    def known() -> int:
        gc.collect()
        return sum(type(each) is LocalTable for each in gc.get_objects())

    async def look() -> None:
        tables = Tables("configured", tmp_path / "items.sqlite3")
        before = known()
        for at in range(300):
            with pytest.raises(EndpointError):
                await tables.find(f"made-up-{at}")
        assert known() == before
        for at in range(60):
            await tables.make(f"table-{at}")
            await tables.find(f"table-{at}")
        assert known() <= before + 32
        assert len(await tables.names("", 100)) == 60
        await tables.close()

    anyio.run(look)


def status(client: Any, name: str) -> Any:
    return client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]


def test_time_to_live(table: Table) -> None:
    def set_to(enabled: bool, name: str = "ttl") -> None:
        table.call("update_time_to_live", TimeToLiveSpecification={"Enabled": enabled, "AttributeName": name})

    def state() -> Any:
        return status(table.client, table.name)

    assert state() == "DISABLED"
    set_to(True)
    assert state() == "ENABLED"
    for name, message in (("ttl", "already enabled"), ("expires", "only expire by the attribute ttl")):
        with pytest.raises(ClientError, match=message):
            set_to(True, name)
    set_to(False)
    assert state() == "DISABLED"


def test_items_expire_where_time_to_live_is_enabled(tmp_path: Path) -> None:
    async def stored(ttl: str) -> bool:
        table = LocalTable(tmp_path / f"{ttl}.sqlite3")
        await table.create()
        await table.update_facts(lambda noted: {**noted, "ttl": ttl})
        item = {**key(), "ttl": {"N": "1700000000"}}
        await table.change([], lambda stored: ({Key.of(item): item}, None))
        table._writes._swept = -1e9  # the next write sweeps
        await table.change([], lambda stored: ({}, None))
        found = await table.items([Key.of(item)], lambda stored: stored[Key.of(item)])
        await table.close()
        return found is not None

    assert anyio.run(stored, "off") is True
    assert anyio.run(stored, "on") is False


def test_provision_enables_time_to_live(table: Table, tmp_path: Path) -> None:
    with serving(tmp_path / "items.sqlite3", "--all-keys", DYNAMODB_TABLE="items") as engine:
        client: Any = engine.client()
        client.create_table(TableName="items", **SCHEMA)
        assert (
            client.describe_time_to_live(TableName="items")["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"
        )

        async def provision() -> bool:
            store = LocalStore(tmp_path / "items.sqlite3", "items")

            async def silent(message: str) -> None: ...

            made = await store.provision(silent)
            await store.close()
            return made.created

        assert anyio.run(provision) is False
        assert status(client, "items") == "ENABLED"


@pytest.mark.parametrize(
    "damage",
    ["'tags', '{'", "'tags', '[1]'", "'tags', '{\"a\":1}'", "'created', 'x'", "'id', 'x'", "'ttl', x'00'", "x'00', ''"],
)
def test_damaged_facts_about_a_table_name_its_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "items.sqlite3"

    async def act() -> None:
        table = LocalTable(path)
        await table.create()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"INSERT OR REPLACE INTO about VALUES ({damage})")
        for call in (table.load_facts(), table.update_facts(lambda noted: noted)):
            with pytest.raises(Misconfigured, match="damaged") as caught:
                await call
            assert str(path) in caught.value.message
        await table.close()

    anyio.run(act)


def test_tags(table: Table) -> None:
    arn = table.call("describe_table")["Table"]["TableArn"]
    table.client.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    table.client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert table.client.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_a_table_has_50_tags(table: Table) -> None:
    arn = table.call("describe_table")["Table"]["TableArn"]
    tags = [{"Key": str(number), "Value": "x"} for number in range(51)]
    table.client.tag_resource(ResourceArn=arn, Tags=tags[:50])
    table.client.tag_resource(ResourceArn=arn, Tags=tags[:50])
    with pytest.raises(ClientError, match="at most 50 tags"):
        table.client.tag_resource(ResourceArn=arn, Tags=tags[50:])
    assert len(table.client.list_tags_of_resource(ResourceArn=arn)["Tags"]) == 50


def test_what_is_not_there(table: Table) -> None:
    table.fails("describe_continuous_backups", "UnknownOperationException", "The ddb-mcp endpoint does not support")


def test_only_tables_are_served(tmp_path: Path) -> None:
    Operator(tmp_path).gateway("init")
    (tmp_path / "another.sqlite3").write_bytes(b"no table of ours")
    (tmp_path / "empty.sqlite3").touch()
    (tmp_path / "folder.sqlite3").mkdir()
    with serving(tmp_path / "configured.db", "--all-keys", DYNAMODB_TABLE="items") as engine:
        client: Any = engine.client()
        assert client.list_tables()["TableNames"] == []
        client.create_table(TableName="items", **SCHEMA)
        assert (tmp_path / "configured.db").exists()
        assert client.list_tables()["TableNames"] == ["items"]
        for name in ("another", "items-gateway", "folder"):
            with pytest.raises(ClientError) as caught:
                client.get_item(TableName=name, Key=key())
            refused(caught.value, "ResourceNotFoundException", "not found")
            with pytest.raises(ClientError) as caught:
                client.create_table(TableName=name, **SCHEMA)
            refused(caught.value, "ValidationException", "cannot create the table")
    assert (tmp_path / "another.sqlite3").read_bytes() == b"no table of ours"


@pytest.mark.parametrize("there", [False, True])
def test_a_table_that_is_not_there_yet_is_spoken_of_at_the_start(tmp_path: Path, there: bool) -> None:
    file = tmp_path / "items.sqlite3"
    if there:
        with serving(file) as engine:
            client: Any = engine.client()
            client.create_table(TableName="ddb-mcp-local", **SCHEMA)
    process = start(file)
    address(process)
    assert process.stderr
    said = [*iter(process.stderr.readline, "The app's environment:\n")]
    process.terminate()
    process.communicate(timeout=300)
    assert said == (
        [] if there else ["The table ddb-mcp-local does not exist yet; create it with: ddb-mcp call provision\n"]
    )
