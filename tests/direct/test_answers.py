"""Answers that DynamoDB never gives, and those of tables that were made for something else: what is stored there is
neither shown nor written over, and none of it is a bug of ours."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.core.errors import ConditionFailed, Misconfigured, NotProvisioned, Unavailable
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import NO_CONDITION, Deleted, Read, WriteCondition, Written
from ddb_mcp.stores.direct import aws as aws_module
from ddb_mcp.stores.direct import codes
from tests.direct.support import ANY_SCHEMA, CREDENTIALS, aws, direct
from tests.support.faults import Answer, FaultProxy, dynamodb_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine

pytestmark = pytest.mark.usefixtures("quick")
KEY = Key("deploy#me#p", "1")
ITEM = {"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}, "n": {"N": "1"}}
CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "GetItem": ("get", (KEY,)),
    "PutItem": ("put", (ITEM, NO_CONDITION)),
    "UpdateItem": ("merge", (Update({"pk": ITEM["pk"], "sk": ITEM["sk"]}, (("m",),)), NO_CONDITION)),
    "DeleteItem": ("delete", (KEY, NO_CONDITION)),
    "Query": ("query", (Read(pk=KEY.pk),)),
    "Scan": ("scan", (Read(pk_prefix="deploy#me#"),)),
}


def call(portal: BlockingPortal, store: DirectStore, operation: str) -> Any:
    method, arguments = CALLS[operation]
    return portal.call(getattr(store, method), *arguments)


@pytest.fixture
def store(dynoxide: Engine, proxy: FaultProxy) -> DirectStore:
    return direct(dynoxide.create_table())


# Tables with other keys


@pytest.fixture
def aws_settings(engine: Engine) -> Iterator[str]:
    with aws(engine.endpoint, **CREDENTIALS):
        yield engine.endpoint


@ANY_SCHEMA
@pytest.mark.usefixtures("aws_settings")
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    ("keys", "stored"),
    [
        ([("id", "HASH", "S")], {"id": {"S": "victim"}, "pk": {"S": KEY.pk}, "sk": {"S": "2"}}),
        ([("pk", "HASH", "S")], {"pk": {"S": KEY.pk}, "sk": {"S": "2"}}),
        ([("pk", "HASH", "S"), ("sk", "RANGE", "N")], {"pk": {"S": KEY.pk}, "sk": {"N": "1"}}),
        ([("pk", "HASH", "N"), ("sk", "RANGE", "S")], {"pk": {"N": "1"}, "sk": {"S": KEY.sk}}),
    ],
    ids=["id", "pk alone", "sk a number", "pk a number"],
)
def test_a_table_with_other_keys_is_neither_read_nor_written(
    portal: BlockingPortal, engine: Engine, keys: list[tuple[str, Any, Any]], stored: Any, operation: str
) -> None:
    table, client = f"other-{uuid.uuid4().hex[:8]}", engine.client()
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind, _ in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, _, kind in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    client.put_item(TableName=table, Item=stored)
    store = direct(table)
    for _ in range(2):
        with pytest.raises(Misconfigured, match="key schema"):
            call(portal, store, operation)
    assert client.scan(TableName=table)["Items"] == [stored]


@ANY_SCHEMA
@pytest.mark.usefixtures("aws_settings")
def test_the_keys_are_looked_at_again_after_the_table_was_gone(portal: BlockingPortal, engine: Engine) -> None:
    name, client = f"other-{uuid.uuid4().hex[:8]}", engine.client()
    store = direct(name)

    async def quietly(message: str) -> None:
        pass

    portal.call(store.provision, quietly)
    call(portal, store, "PutItem")
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    with pytest.raises(NotProvisioned):
        call(portal, store, "PutItem")
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    client.put_item(TableName=name, Item={"pk": {"S": KEY.pk}, "precious": {"S": "x"}})
    for operation in ("PutItem", "Query", "Scan"):
        with pytest.raises(Misconfigured, match="key schema"):
            call(portal, store, operation)
    assert client.scan(TableName=name)["Items"] == [{"pk": {"S": KEY.pk}, "precious": {"S": "x"}}]


def test_the_keys_are_checked_once(portal: BlockingPortal, proxy: FaultProxy, store: DirectStore) -> None:
    for _ in range(2):
        for operation in ("PutItem", "Query", "Scan"):
            call(portal, store, operation)
    assert proxy.count("GetItem") == 1


@pytest.mark.parametrize(
    ("code", "looks"),
    [*((code, 1) for code in sorted(codes.ACCESS_DENIED)), *((code, 2) for code in sorted(codes.THROTTLED))],
)
def test_without_a_look_at_the_keys_the_call_goes_on(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, code: str, looks: int
) -> None:
    """Every code that means "denied", which it would be each time, and every one that means "throttled"."""
    proxy.plan(dynamodb_error(code), on="GetItem")
    for operation in ("PutItem", "Query"):
        call(portal, store, operation)
    assert proxy.count("GetItem") == looks


# Another's item


ANOTHERS = [{"pk": {"S": "deploy#you#p"}, "sk": ITEM["sk"], "m": {"S": "hush"}}, {"m": {"S": "hush"}}]


@pytest.mark.parametrize("another", ANOTHERS, ids=["another key", "no key"])
def test_another_item_is_not_shown(
    portal: BlockingPortal,
    proxy: FaultProxy,
    store: DirectStore,
    another: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    call(portal, store, "GetItem")
    proxy.plan(Answer(200, {"Item": another}), on="GetItem")
    with pytest.raises(Unavailable, match="a different item"):
        call(portal, store, "GetItem")
    expected = {"PutItem": Written(None), "UpdateItem": Written(None), "DeleteItem": Deleted(None)}
    for operation, outcome in expected.items():
        proxy.plan(Answer(200, {"Attributes": another}), on=operation)
        assert call(portal, store, operation) == outcome
    assert caplog.text.count("a different item") == 4
    assert "hush" not in caplog.text


@pytest.mark.parametrize("another", ANOTHERS, ids=["another key", "no key"])
def test_another_item_is_not_what_a_condition_failed_for(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, another: dict[str, Any]
) -> None:
    call(portal, store, "PutItem")
    failed = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": another}
    for condition in (WriteCondition(create_only=True), WriteCondition(expect=parse_filter({"n": 2}, "expect"))):
        proxy.plan(Answer(400, failed), on="PutItem")
        with pytest.raises(ConditionFailed) as caught:
            portal.call(store.put, ITEM, condition)
        assert caught.value.item == ITEM
        proxy.plan(Answer(400, failed), on="PutItem")
        proxy.plan(Answer(200, {"Item": another}), on="GetItem")
        with pytest.raises(ConditionFailed) as caught:
            portal.call(store.put, ITEM, condition)
        assert caught.value.item is None


# No answers of DynamoDB


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        *(("Query", {}), ("Scan", {}), ("Query", {"Items": []})),
        *(("Query", {"Items": [{"m": {"S": "x"}}], "ScannedCount": 1}), ("Scan", {"Items": [1], "ScannedCount": 1})),
        ("Query", {"Items": [], "ScannedCount": 0, "LastEvaluatedKey": {"pk": {"S": "p"}}}),
        ("Scan", {"Items": [], "ScannedCount": 0, "LastEvaluatedKey": {}}),
        *(("GetItem", b'{"Item":' + b"[" * 100_000), ("GetItem", b'{"Item":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
        *(("GetItem", b"[]"), ("GetItem", b"1"), ("GetItem", b""), ("GetItem", b'{"Item":{"pk":{"S":"\xff"}}}')),
        ("GetItem", {"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_answer_is_unavailable(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, operation: str, body: Any
) -> None:
    call(portal, store, "GetItem")
    proxy.plan(Answer(200, body), times=aws_module.AWS_ATTEMPTS, on=operation)
    with pytest.raises(Unavailable):
        call(portal, store, operation)


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b"[" * 100_000, b'{"__type": 1}', b'{"message": []}'], ids=lambda body: repr(body[:60])
)
@pytest.mark.parametrize("status", [400, 500])
def test_what_is_no_error_is_no_bug(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, status: int, body: bytes
) -> None:
    proxy.plan(Answer(status, body), times=aws_module.AWS_ATTEMPTS, on="GetItem")
    with pytest.raises((Unavailable, Misconfigured)):
        call(portal, store, "GetItem")


@pytest.mark.parametrize(
    "table",
    [
        *(None, {}, {"Table": {}}, {"Table": {"TableStatus": "ACTIVE"}}),
        {"Table": {"TableStatus": "ACTIVE", "KeySchema": [{}], "AttributeDefinitions": []}},
        {"Table": {"TableStatus": "ACTIVE", "KeySchema": [1], "AttributeDefinitions": 2}},
    ],
    ids=str,
)
def test_what_describes_no_table_is_unavailable(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, table: Any
) -> None:
    proxy.plan(Answer(200, table if table is not None else b"null"), times=aws_module.AWS_ATTEMPTS, on="DescribeTable")
    with pytest.raises(Unavailable):
        portal.call(store.info)


def test_what_describes_no_ttl_is_unavailable(portal: BlockingPortal, proxy: FaultProxy, store: DirectStore) -> None:
    proxy.plan(Answer(200, {}), times=aws_module.AWS_ATTEMPTS, on="DescribeTimeToLive")
    with pytest.raises(Unavailable):
        portal.call(store.info)


# More attributes than an expression holds


@pytest.mark.usefixtures("aws_settings")
@pytest.mark.parametrize("count", [800, 900, 2000])
def test_any_number_of_attributes(portal: BlockingPortal, engine: Engine, count: int) -> None:
    store = direct(engine.create_table())
    portal.call(store.put, {**ITEM, "m": {"S": "not asked for"}}, NO_CONDITION)
    attributes = ("n", *(f"attribute{at}" for at in range(count)))
    filtered = parse_filter({"n": 1, "attribute1": {"exists": False}}, "filter")
    assert portal.call(store.query, Read(pk=KEY.pk, filter=filtered, attributes=attributes)).items == [ITEM]
    every_segment = Read(pk_prefix="deploy#me#", filter=filtered, attributes=attributes, limit=5000)
    assert portal.call(store.scan, every_segment).items == [ITEM]
