"""Secondary indexes in DynamoDB: how often the table is described, what is created, and what a query sends."""

from __future__ import annotations

import json
import shlex
import uuid
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.indexes import parse_indexes
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import NO_CONDITION
from ddb_mcp.stores.direct import indexes as indexes_module
from ddb_mcp.stores.direct import provisioning
from ddb_mcp.stores.direct.indexes import define_attributes, define_index
from tests.direct.support import ANY_SCHEMA, CREDENTIALS, aws, direct
from tests.support.faults import Answer, FaultProxy, dynamodb_error, throttled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine

DECLARED = parse_indexes("GSI1=GSI1PK,GSI1SK; byScore=GSI1PK,score:N; byState=state,pk; byRank=rank:N")
DENIED = dynamodb_error("AccessDeniedException", message="User: x is not authorized to perform: dynamodb:DescribeTable")


class Calls:
    """The tools of `deploy#me` over one table."""

    def __init__(self, portal: BlockingPortal, store: DirectStore) -> None:
        self.portal, self.store = portal, store
        self.service = DataService(store, Prefix("deploy#me"))

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        return self.portal.call(partial(self.service.run_operation, operation, arguments))

    def fails(self, code: str, operation: str, /, **arguments: Any) -> DdbMcpError:
        with pytest.raises(DdbMcpError) as caught:
            self.call(operation, **arguments)
        assert caught.value.code == code, caught.value.message
        return caught.value

    def put(self, sk: str, **attributes: Any) -> dict[str, Any]:
        return self.call("put", item={"pk": "deploy#me#a", "sk": sk, **attributes})

    def query(self, index: str = "GSI1", pk: str = "deploy#me#x", **arguments: Any) -> dict[str, Any]:
        return self.call("query", index=index, pk=pk, **arguments)


@pytest.fixture
def calls(portal: BlockingPortal, proxy: FaultProxy) -> Calls:
    """A table with the declared indexes, behind a proxy that counts requests."""
    calls = Calls(portal, direct(f"indexed-{uuid.uuid4().hex[:8]}", indexes=DECLARED))
    calls.call("provision")
    calls.store._indexes.forget()
    proxy.requests.clear()
    return calls


def describe(calls: Calls, proxy: FaultProxy) -> dict[str, Any]:
    """The table as the engine describes it."""
    import boto3

    from tests.support.engines import client_options

    client = boto3.client("dynamodb", endpoint_url=proxy.endpoint, **client_options())
    table: Any = client.describe_table(TableName=calls.store._table)["Table"]
    described: dict[str, Any] = json.loads(json.dumps(table, default=lambda date: date.timestamp()))
    return described


class Clock:
    """The clock of what is known of indexes. It stands still but for what a test adds to `now`."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(indexes_module, "time", clock)
    return clock


# How often the table is described


def test_the_table_is_described_once_a_minute(clock: Clock, calls: Calls, proxy: FaultProxy) -> None:
    key = {"pk": "deploy#me#a", "GSI1PK": "deploy#me#x"}
    started = [
        calls.portal.start_task_soon(
            calls.service.run_operation, "put", {"item": {**key, "sk": str(at), "GSI1SK": str(at)}}
        )
        for at in range(20)
    ]
    wait(started)
    for at in range(3):
        calls.put(f"s{at}")
        calls.query(limit=2)
    other = calls.store.for_deployment(Prefix("deploy#other"), ())
    calls.portal.call(other.get_indexes)
    assert proxy.count("DescribeTable") == 1
    clock.now += 61
    calls.put("late")
    calls.put("later")
    assert proxy.count("DescribeTable") == 2
    calls.call("info")
    calls.put("after info")
    assert proxy.count("DescribeTable") == 3


def test_without_the_permission_writes_go_on_and_a_query_names_it(calls: Calls, proxy: FaultProxy) -> None:
    proxy.plan(DENIED, times=4, on="DescribeTable")
    for at in range(3):
        calls.put(str(at), GSI1PK="deploy#other#x", GSI1SK="a")
    assert proxy.count("DescribeTable") == 1
    assert "dynamodb:DescribeTable" in calls.fails("forbidden", "query", index="GSI1", pk="deploy#me#x").message
    info = calls.call("info")
    assert "indexes" not in info
    assert "not checked" in info["warnings"][0]
    made = calls.call("provision")  # nobody knows which are missing
    assert not any("lacks" in warning for warning in made["warnings"])
    assert calls.query()["items"] == []  # the permission was given meanwhile
    calls.fails("prefix_violation", "put", item={"pk": "deploy#me#a", "sk": "1", "GSI1PK": "deploy#other#x"})


def test_nothing_is_written_unchecked_while_the_indexes_cannot_be_read(
    clock: Clock, calls: Calls, proxy: FaultProxy, quick: None
) -> None:
    proxy.plan(throttled(), times=7, on="DescribeTable")
    calls.fails("throttled", "put", item={"pk": "deploy#me#a", "sk": "1"})
    assert proxy.count("PutItem") == 0
    calls.put("1")
    clock.now += 61
    proxy.plan(throttled(), times=7, on="DescribeTable")
    foreign = {"pk": "deploy#me#a", "sk": "2", "GSI1PK": "deploy#other#x"}
    calls.fails("prefix_violation", "put", item=foreign)  # what was known a minute ago still counts
    calls.put("2")


@pytest.mark.parametrize("table", [{}, {"TableStatus": "ACTIVE", "GlobalSecondaryIndexes": None}])
def test_an_engine_that_says_nothing_of_indexes_has_none(
    calls: Calls, proxy: FaultProxy, table: dict[str, Any]
) -> None:
    proxy.plan(Answer(200, {"Table": table}), on="DescribeTable")
    calls.put("1", GSI1PK="anything", GSI1SK="a")
    assert "no index GSI1" in calls.fails("invalid_argument", "query", index="GSI1", pk="deploy#me#x").message


def test_a_description_that_is_not_dynamodbs(calls: Calls, proxy: FaultProxy, quick: None) -> None:
    entries: list[Any] = [{}, {"IndexName": "GSI1"}, {"IndexName": "GSI1", "KeySchema": []}, [], None]
    for entry in entries:
        proxy.plan(Answer(200, {"Table": {"GlobalSecondaryIndexes": [entry]}}), on="DescribeTable")
        calls.fails("unavailable", "put", item={"pk": "deploy#me#a", "sk": "1"})


# What is listed


def test_an_index_with_a_key_of_several_attributes_is_listed_and_refused(calls: Calls, proxy: FaultProxy) -> None:
    table = describe(calls, proxy)
    (entry,) = (entry for entry in table["GlobalSecondaryIndexes"] if entry["IndexName"] == "GSI1")
    entry["KeySchema"] += [
        {"AttributeName": "state", "KeyType": "HASH"},
        {"AttributeName": "score", "KeyType": "RANGE"},
    ]
    proxy.plan(Answer(200, {"Table": table}), on="DescribeTable")
    info = calls.call("info")
    assert "GSI1" in {index["name"] for index in info["indexes"]}
    assert info["warnings"] == ["The index GSI1 has a key of several attributes, so query cannot use it."]
    assert "several attributes" in calls.fails("invalid_argument", "query", index="GSI1", pk="deploy#me#x").message
    assert proxy.count("Query") == 0
    calls.fails("prefix_violation", "put", item={"pk": "deploy#me#a", "sk": "1", "GSI1PK": "deploy#other#x"})


def test_an_index_that_is_being_built(calls: Calls, proxy: FaultProxy) -> None:
    table = describe(calls, proxy)
    table["GlobalSecondaryIndexes"][0]["IndexStatus"] = "CREATING"
    name = table["GlobalSecondaryIndexes"][0]["IndexName"]
    pk = {"byState": "deploy#me#x", "byRank": "1"}.get(name, "deploy#me#x")
    proxy.plan(Answer(200, {"Table": table}), times=3, on="DescribeTable")
    backfilling = "Cannot read from backfilling global secondary index"
    proxy.plan(dynamodb_error("ValidationException", message=backfilling), on="Query")
    assert calls.call("info")["warnings"] == [f"The index {name} is creating, so query cannot use it now."]
    assert "creating" in calls.fails("unavailable", "query", index=name, pk=pk).message


@ANY_SCHEMA
def test_a_local_index_is_read_consistently(portal: BlockingPortal, engine: Engine) -> None:
    local = {
        "IndexName": "byTime",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "time", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    table = engine.create_table({"time": "N"}, LocalSecondaryIndexes=[local])
    with FaultProxy(engine.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        calls = Calls(portal, direct(table))
        for at in (30, 4, 100):
            calls.put(str(at), time=at, note="n")
        page = calls.query("byTime", "deploy#me#a", limit=2, attributes=["note"])
        assert [item["sk"] for item in page["items"]] == ["4", "30"]
        page = calls.query("byTime", "deploy#me#a", limit=2, attributes=["note"], cursor=page["cursor"])
        assert page["items"] == [{"pk": "deploy#me#a", "sk": "100"}]
        calls.fails("prefix_violation", "query", index="byTime", pk="deploy#other#a")
        sent = [json.loads(request.body) for request in proxy.requests if request.operation == "Query"]
        assert all(query["ConsistentRead"] is True for query in sent)


# An index that changes while it is queried


@ANY_SCHEMA
@pytest.mark.deviates("dynalite", reason="an index that is being deleted answers", raises=pytest.fail.Exception)
def test_a_cursor_of_an_index_that_was_removed(portal: BlockingPortal, engine: Engine) -> None:
    table = engine.create_table({"GSI1PK": "S", "GSI1SK": "S"}, GlobalSecondaryIndexes=[define_index(DECLARED[0])])
    with aws(engine.endpoint, **CREDENTIALS):
        calls = Calls(portal, direct(table))
        for at in range(3):
            calls.put(str(at), GSI1PK="deploy#me#x", GSI1SK=str(at))
        cursor = calls.query(limit=1)["cursor"]
        engine.client().update_table(TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "GSI1"}}])
        error = calls.fails("invalid_argument", "query", index="GSI1", pk="deploy#me#x", limit=1, cursor=cursor)
        assert "was removed" in error.message
        assert "no index" in calls.fails("invalid_argument", "query", index="GSI1", pk="deploy#me#x").message
        calls.put("9", GSI1PK="deploy#other#x")  # an attribute like any other now


def test_an_index_that_was_made_anew_with_other_keys(calls: Calls, dynoxide: Engine) -> None:
    calls.query()
    client, table = dynoxide.client(), calls.store._table
    client.update_table(TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "GSI1"}}])
    (anew,) = parse_indexes("GSI1=other")
    definitions: list[Any] = define_attributes(anew.keys)
    updates: list[Any] = [{"Create": define_index(anew)}]
    client.update_table(TableName=table, AttributeDefinitions=definitions, GlobalSecondaryIndexUpdates=updates)
    assert "replaced" in calls.fails("invalid_argument", "query", index="GSI1", pk="deploy#me#x").message
    assert calls.query()["items"] == []


# What a query sends and reads


def test_others_are_left_out_by_the_engine(calls: Calls, proxy: FaultProxy) -> None:
    for index, pk in (("GSI1", "deploy#me#x"), ("byRank", "7"), ("byScore", "deploy#me#x")):
        calls.query(index, pk, filter={"note": "n"})
        sent = json.loads(proxy.requests[-1].body)
        assert "begins_with" in sent["FilterExpression"]
        assert "deploy#me#" in json.dumps(sent["ExpressionAttributeValues"])
        assert sent["ConsistentRead"] is False
    shared = DataService(calls.store, Prefix("deploy#me"), shared_indexes=("byState",))
    calls.portal.call(shared.run_operation, "query", {"index": "byState", "pk": "open"})
    sent = json.loads(proxy.requests[-1].body)
    assert "begins_with" in sent["KeyConditionExpression"]  # a filter may not name a key of the index


def test_a_query_reads_no_more_than_it_needs(calls: Calls, proxy: FaultProxy) -> None:
    items = [{"pk": "deploy#me#a", "sk": f"{at:03}", "GSI1PK": "deploy#me#x", "GSI1SK": "a"} for at in range(100)]
    calls.call("put", items=[{**item, "rank": 7} for item in items])
    for index, pk in (("GSI1", "deploy#me#x"), ("byRank", "7")):
        pages = [calls.query(index, pk, limit=3)]
        pages.append(calls.query(index, pk, limit=3, cursor=pages[0]["cursor"]))
        assert [page["scanned"] for page in pages] == [4, 4]


def test_a_few_own_items_among_many_of_others_take_few_requests(
    calls: Calls, proxy: FaultProxy, dynoxide: Engine
) -> None:
    client = dynoxide.client()
    for start in range(0, 3000, 25):
        requests: list[Any] = [
            {"PutRequest": {"Item": {"pk": {"S": f"deploy#other#{at}"}, "sk": {"S": "s"}, "rank": {"N": "7"}}}}
            for at in range(start, start + 25)
        ]
        client.batch_write_item(RequestItems={calls.store._table: requests})
    for at in range(3):
        calls.put(str(at), rank=7)
    proxy.requests.clear()
    page = calls.query("byRank", "7", limit=10)
    assert sorted(item["sk"] for item in page["items"]) == ["0", "1", "2"]
    assert page["scanned"] == 3003
    assert proxy.count("Query") <= 7


# Provision


@pytest.fixture
def aws_settings(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(provisioning, "POLL_SECONDS", 0.01)
    with aws(engine.endpoint, **CREDENTIALS):
        yield engine.endpoint


@pytest.mark.usefixtures("aws_settings")
@ANY_SCHEMA
def test_provision_creates_the_declared_indexes_with_the_table(portal: BlockingPortal, engine: Engine) -> None:
    calls = Calls(portal, direct(f"new-{uuid.uuid4().hex[:8]}", indexes=DECLARED))
    assert "indexes" not in calls.call("info")
    made = calls.call("provision")
    assert made["created"] is True
    assert made["indexes"] == [index.to_json() for index in sorted(DECLARED, key=lambda index: index.name)]
    assert calls.call("info")["indexes"] == made["indexes"]
    assert calls.call("provision")["created"] is False
    calls.put("1", GSI1PK="deploy#me#x", GSI1SK="a")
    assert len(calls.query()["items"]) == 1


def test_provision_waits_for_the_indexes_it_created(
    portal: BlockingPortal, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioning, "POLL_SECONDS", 0.01)
    model = Calls(portal, direct(f"model-{uuid.uuid4().hex[:8]}", indexes=DECLARED))
    model.call("provision")
    table = describe(model, proxy)
    table["GlobalSecondaryIndexes"][2]["IndexStatus"] = "CREATING"
    proxy.plan(dynamodb_error("ResourceNotFoundException"), on="DescribeTable")
    proxy.plan(Answer(200, {"Table": table}), times=3, on="DescribeTable")
    calls = Calls(portal, direct(f"new-{uuid.uuid4().hex[:8]}", indexes=DECLARED))
    proxy.requests.clear()
    made = calls.call("provision")
    assert proxy.count("DescribeTable") == 5
    assert not [warning for warning in made.get("warnings", ()) if "index" in warning]


@pytest.mark.usefixtures("aws_settings")
@ANY_SCHEMA
@pytest.mark.deviates("dynalite", reason="wants a capacity for an index of a table on demand", raises=ClientError)
def test_provision_says_how_to_add_an_index_to_a_table_that_is_there(portal: BlockingPortal, engine: Engine) -> None:
    table = engine.create_table()
    calls = Calls(portal, direct(table, indexes=DECLARED[:1]))
    warnings = [warning for warning in calls.call("provision")["warnings"] if "index" in warning]
    command = shlex.split(warnings[0].partition("adds it: ")[2])
    assert command[:3] == ["aws", "dynamodb", "update-table"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["--table-name"] == table
    assert calls.call("info")["indexes"] == []
    engine.client().update_table(
        TableName=table,
        AttributeDefinitions=json.loads(options["--attribute-definitions"]),
        GlobalSecondaryIndexUpdates=json.loads(options["--global-secondary-index-updates"]),
    )
    assert not [warning for warning in calls.call("provision").get("warnings", ()) if "lacks" in warning]
    other = Calls(portal, direct(table, indexes=parse_indexes("GSI1=other")))
    assert [warning for warning in other.call("provision")["warnings"] if "other keys" in warning]


def test_the_command_has_the_capacity_of_a_provisioned_table(
    calls: Calls, portal: BlockingPortal, proxy: FaultProxy
) -> None:
    table = describe(calls, proxy)
    table["ProvisionedThroughput"] |= {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    del table["GlobalSecondaryIndexes"]
    proxy.plan(Answer(200, {"Table": table}), on="DescribeTable")
    warning = calls.call("provision")["warnings"][0]
    assert '"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}' in warning


def test_a_store_itself_checks_nothing(calls: Calls) -> None:
    """The rules are the service's; see the contract suite for what they are."""
    item = {"pk": {"S": "deploy#me#a"}, "sk": {"S": "1"}, "GSI1PK": {"S": "deploy#other#x"}}
    assert calls.portal.call(calls.store.put, item, NO_CONDITION).created is True
