"""Secondary indexes as apps create and use them."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from ddb_mcp.core.keys import Key
from ddb_mcp.stores.local.table import LocalTable
from tests.endpoint.index_support import KEYS, IndexedTable, attributes, create, index
from tests.endpoint.support import PREFIX, Table, address, key, refused, serving, start
from tests.support.engines import client_options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

TYPES = {"g": "S", "n": "N", "b": "B"}
BY_NUMBER = index("by-number", "g", "n")
BY_BINARY = index("by-binary", "pk", "b", "INCLUDE", "x")
SPARSE = index("sparse", "g", None, "KEYS_ONLY")
G: Any = {"S": "a"}


@pytest.fixture
def table(endpoint: Engine) -> IndexedTable:
    return IndexedTable(endpoint, TYPES, local=[BY_BINARY], indexes=[BY_NUMBER, SPARSE])


def query(table: Table, name: str, condition: str, values: dict[str, Any], **parameters: Any) -> Any:
    return table.call(
        "query",
        IndexName=name,
        KeyConditionExpression=condition,
        ExpressionAttributeValues=values,
        **parameters,
    )


def test_a_table_with_indexes_is_described(table: IndexedTable) -> None:
    table.put("1", g=G, n={"N": "1"})
    table.put("2", g=G)
    table.client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    described = table.call("describe_table")["Table"]
    assert sorted(each["AttributeName"] for each in described["AttributeDefinitions"]) == ["b", "g", "n", "pk", "sk"]
    (local,) = described["LocalSecondaryIndexes"]
    assert {name: local[name] for name in ("IndexName", "KeySchema", "Projection")} == BY_BINARY
    arn = f"{described['TableArn']}/index/by-binary"
    assert (local["ItemCount"], local["IndexArn"], "IndexStatus" in local) == (0, arn, False)
    by_number, sparse = described["GlobalSecondaryIndexes"]
    for found, wanted, count in ((by_number, BY_NUMBER, 1), (sparse, SPARSE, 2)):
        assert {name: found[name] for name in wanted} == wanted
        assert (found["IndexStatus"], found["ItemCount"]) == ("ACTIVE", count)
        assert found["IndexSizeBytes"] > 0


MANY = [f"attribute-{at}" for at in range(101)]
# Constraints of botocore's model are checked first. Its oldest supported version has no keys of several attributes.
_MOST_KEYS = get_session().get_service_model("dynamodb").shape_for("KeySchema").metadata.get("max", 8)
SEVERAL_SORT_KEYS = (
    "does not support indexes with several partition or sort key attributes"
    if _MOST_KEYS > 2
    else "Member must have length less than or equal to 2"
)
WRONG: list[tuple[dict[str, str], dict[str, Any], str]] = [
    (TYPES, {"GlobalSecondaryIndexes": []}, "List of GlobalSecondaryIndexes is empty"),
    (
        TYPES,
        {"GlobalSecondaryIndexes": [BY_NUMBER]},
        "Some AttributeDefinitions are not used. AttributeDefinitions: [pk",
    ),
    (
        {"g": "S"},
        {"GlobalSecondaryIndexes": [BY_NUMBER]},
        "Some index key attributes are not defined in AttributeDefinitions. Keys: [g, n], Attrib",
    ),
    ({"g": "S"}, {"GlobalSecondaryIndexes": [SPARSE, SPARSE]}, "Duplicate index name: sparse"),
    (
        {"g": "S", "b": "B"},
        {"GlobalSecondaryIndexes": [{**SPARSE, "IndexName": "by-binary"}], "LocalSecondaryIndexes": [BY_BINARY]},
        "Duplicate index name: by-binary",
    ),
    ({"g": "S"}, {"LocalSecondaryIndexes": [index("local", "g", "sk")]}, "index hash key: g, table hash key: pk"),
    ({}, {"LocalSecondaryIndexes": [index("local", "pk")]}, "does not have a range key for index: local"),
    ({"g": "S"}, {"GlobalSecondaryIndexes": [index("one", "g", "g")]}, "have the same name"),
    (
        {"g": "S"},
        {"GlobalSecondaryIndexes": [{**SPARSE, "KeySchema": [{"AttributeName": "g", "KeyType": "RANGE"}]}]},
        "The first KeySchemaElement is not a HASH key type",
    ),
    (
        {"g": "S", "n": "N"},
        {
            "GlobalSecondaryIndexes": [
                {**SPARSE, "KeySchema": [{"AttributeName": name, "KeyType": "HASH"} for name in "gn"]}
            ]
        },
        "does not support indexes with several partition or sort key attributes, such as sparse",
    ),
    (
        {"g": "S", "n": "N"},
        {
            "GlobalSecondaryIndexes": [
                {**BY_NUMBER, "KeySchema": [*BY_NUMBER["KeySchema"], {"AttributeName": "sk", "KeyType": "RANGE"}]}
            ]
        },
        SEVERAL_SORT_KEYS,
    ),
    ({"g": "S"}, {"GlobalSecondaryIndexes": [{**SPARSE, "Projection": {}}]}, "Unknown ProjectionType: null"),
    (
        {"g": "S"},
        {"GlobalSecondaryIndexes": [index("one", "g", None, "ALL", "x")]},
        "ProjectionType is ALL, but NonKeyAttributes is specified",
    ),
    (
        {"g": "S"},
        {"GlobalSecondaryIndexes": [index("one", "g", None, "INCLUDE")]},
        "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
    ),
    (
        {"g": "S"},
        {"GlobalSecondaryIndexes": [index(f"index-{at}", "g") for at in range(21)]},
        "GlobalSecondaryIndex count exceeds the per-table limit of 20",
    ),
    (
        {"g": "S"},
        {"LocalSecondaryIndexes": [index(f"index-{at}", "pk", "g") for at in range(6)]},
        "Number of LocalSecondaryIndexes exceeds per-table limit of 5",
    ),
    (
        {"g": "S"},
        {
            "GlobalSecondaryIndexes": [
                index(f"index-{at}", "g", None, "INCLUDE", *MANY[20 * at : 20 * at + 20]) for at in range(6)
            ]
        },
        "at most 100 NonKeyAttributes in all, not 101",
    ),
    (
        {"g": "S"},
        {"GlobalSecondaryIndexes": [SPARSE], "StreamSpecification": {"StreamEnabled": True}},
        "does not support streams",
    ),
]


@pytest.mark.parametrize(("types", "given", "message"), WRONG, ids=range(len(WRONG)))
def test_tables_that_are_not_made(endpoint: Engine, types: dict[str, str], given: dict[str, Any], message: str) -> None:
    client: Any = endpoint.client()
    name = f"table-{uuid.uuid4().hex[:12]}"
    with pytest.raises(ClientError) as caught:
        client.create_table(
            TableName=name,
            KeySchema=KEYS,
            AttributeDefinitions=attributes(**types),
            BillingMode="PAY_PER_REQUEST",
            **given,
        )
    refused(caught.value, "ValidationException", message)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName=name)


def test_a_table_has_25_indexes(endpoint: Engine) -> None:
    local = [index(f"local-{at}", "pk", f"a{at}") for at in range(5)]
    indexes = [index(f"global-{at}", f"a{at % 5}", None, "INCLUDE", *MANY[5 * at : 5 * at + 5]) for at in range(20)]
    table = IndexedTable(endpoint, {f"a{at}": "S" for at in range(5)}, local=local, indexes=indexes)
    assert len(table.list_indexes()) == 25
    table.put("1", a1={"S": "x"}, a2={"S": "y"})
    counts = [each["ItemCount"] for each in table.list_indexes()]
    assert sum(counts) == 2 + 8
    created = {"Create": index("one-more", "a1")}
    definitions = attributes(a1="S")
    table.fails(
        "update_table",
        "ValidationException",
        "GlobalSecondaryIndex count exceeds",
        AttributeDefinitions=definitions,
        GlobalSecondaryIndexUpdates=[created],
    )


def update(table: Table, *updates: dict[str, Any], **types: str) -> Any:
    return table.call("update_table", AttributeDefinitions=attributes(**types), GlobalSecondaryIndexUpdates=updates)


def test_indexes_are_created_and_deleted_over_existing_items(endpoint: Engine) -> None:
    table = IndexedTable(endpoint, {"b": "B"}, local=[BY_BINARY])
    for at, value in enumerate(({"S": "a"}, {"N": "1"}, {"S": ""}, {"S": "a"}, {"S": "b"}, {"L": []})):
        table.put(str(at), g=value, n={"N": str(-at)})
    created = update(table, {"Create": BY_NUMBER}, g="S", n="N")["TableDescription"]
    assert [each["IndexName"] for each in created["GlobalSecondaryIndexes"]] == ["by-number"]
    # Items that were there before keep their values, and are in the index if these are of its types.
    assert table.find("by-number", G) == ["3", "0"]
    table.update("1", "SET x = :x", {":x": {"S": "x"}})
    table.update("1", "SET g = :g", {":g": G})
    assert table.find("by-number", G) == ["3", "1", "0"]

    def fails(code: str, message: str, *updates: dict[str, Any], **types: str) -> None:
        given = {"AttributeDefinitions": attributes(**types), "GlobalSecondaryIndexUpdates": updates}
        table.fails("update_table", code, message, **given)

    invalid = "ValidationException"
    fails(invalid, "Attempting to create an index which already exists", {"Create": BY_NUMBER}, g="S", n="N")
    fails(invalid, "Attempting to create", {"Create": {**SPARSE, "IndexName": "by-binary"}}, g="S")
    fails(invalid, "The key g is of type S, not N", {"Create": SPARSE}, g="N")
    fails(invalid, "Some index key attributes are not defined", {"Create": SPARSE})
    fails("ResourceNotFoundException", "Index: other not found", {"Delete": {"IndexName": "other"}})
    fails(invalid, "not a GlobalSecondaryIndex: by-binary", {"Delete": {"IndexName": "by-binary"}})
    both = {"Create": SPARSE}, {"Delete": {"IndexName": "by-number"}}
    fails("LimitExceededException", "Only 1 online index", *both, g="S")
    deleted = update(table, both[1])["TableDescription"]
    assert "GlobalSecondaryIndexes" not in deleted
    assert [each["AttributeName"] for each in deleted["AttributeDefinitions"]] == ["pk", "sk", "b"]
    table.fails(
        "query",
        invalid,
        "The table does not have the specified index: by-number",
        IndexName="by-number",
        KeyConditionExpression="g = :g",
        ExpressionAttributeValues={":g": G},
    )
    table.put("9", g={"N": "1"})  # its type is free again
    assert table.call("update_table", BillingMode="PAY_PER_REQUEST")["TableDescription"]["ItemCount"] == 7


NUMBERS = [
    "-1E+100",
    "-" + "9" * 38,
    "-1.23",
    "-1.2",
    "-1E-100",
    "0",
    "1E-100",
    "1",
    "9" * 37 + "8",
    "9" * 38,
    "1E+100",
]
TEXTS = ["A", "a", "a#1", "a#10", "a#2", "b", "é", "\uffff", "😀"]
BYTES = [b"\x00", b"\x00\x00", b"a", b"ab", b"\xff", b"\xff\x00", b"\xff\xff"]
ORDERS: dict[str, list[Any]] = {"N": NUMBERS, "S": TEXTS, "B": BYTES}


@pytest.mark.parametrize("kind", ORDERS)
def test_order_ties_and_pages(endpoint: Engine, kind: str) -> None:
    table = IndexedTable(endpoint, {"g": "S", "v": kind}, indexes=[index("ordered", "g", "v")])
    ranked = list(enumerate(ORDERS[kind] * 2))
    random.Random(1).shuffle(ranked)
    for at, value in ranked:
        table.put(f"{at:02}", g=G, v={kind: value})
    count = len(ORDERS[kind])
    # Two items have each value; among them, the table's key decides.
    wanted = [f"{at:02}" for rank in range(count) for at in (rank, rank + count)]
    for forward, limit in itertools.product((True, False), (1, 2, 3, 100)):
        assert table.find("ordered", G, ScanIndexForward=forward, Limit=limit) == wanted[:: 1 if forward else -1]
    page = query(table, "ordered", "g = :g", {":g": G}, Limit=3)
    middle = page["Items"][-1]
    assert page["LastEvaluatedKey"] == middle  # between two items with one value
    low, high = ORDERS[kind][2], ORDERS[kind][5]
    between = query(
        table, "ordered", "g = :g AND v BETWEEN :l AND :h", {":g": G, ":l": {kind: low}, ":h": {kind: high}}
    )
    assert between["Count"] == 8
    for operator, found in (("=", 2), ("<", 4), ("<=", 6), (">", 2 * count - 6), (">=", 2 * count - 4)):
        assert query(table, "ordered", f"g = :g AND v {operator} :l", {":g": G, ":l": {kind: low}})["Count"] == found
    assert table.walk("scan", IndexName="ordered", Limit=1)["Count"] == 2 * count
    parts = [table.walk("scan", IndexName="ordered", Limit=3, Segment=part, TotalSegments=3) for part in range(3)]
    assert sum(part["Count"] for part in parts) == 2 * count


def test_begins_with_on_strings_and_binaries(table: IndexedTable) -> None:
    for at, content in enumerate(BYTES):
        table.put(str(at), b={"B": content})
    values = {":p": key()["pk"]}
    for start_, found in ((b"\xff", 3), (b"\xff\xff", 1), (b"a", 2), (b"\x00", 2)):
        begins = {**values, ":b": {"B": start_}}
        assert query(table, "by-binary", "pk = :p AND begins_with(b, :b)", begins)["Count"] == found


KEY_CONDITIONS: list[tuple[str, str, Any, str]] = [
    ("by-number", "g = :g AND begins_with(n, :v)", {"N": "1"}, "operator or function: begins_with, operand type: N"),
    ("by-number", "g = :g AND begins_with(n, :v)", {"S": "1"}, "Condition parameter type does not match schema type"),
    ("by-number", "g = :g AND n = :v", {"S": "1"}, "Condition parameter type does not match schema type"),
    ("by-number", "g = :v", {"N": "1"}, "Condition parameter type does not match schema type"),
    ("by-number", "n = :v", {"N": "1"}, "Query condition missed key schema element: g"),
    ("by-number", "g = :g AND sk = :v", {"S": "1"}, "Query condition missed key schema element: n"),
    ("by-number", "g > :v", {"S": "1"}, "Query key condition not supported"),
    ("sparse", "g = :g AND n = :v", {"N": "1"}, "Query key condition not supported"),
    ("sparse", "g = :v", {"S": ""}, "cannot contain an empty string value. Key: g"),
    ("by-binary", "pk = :g AND b = :v", {"B": b""}, "cannot contain an empty binary value. Key: b"),
    ("by-binary", "g = :v", {"S": "a"}, "Query condition missed key schema element: pk"),
]


@pytest.mark.parametrize(("name", "condition", "value", "message"), KEY_CONDITIONS, ids=range(len(KEY_CONDITIONS)))
def test_key_conditions_that_are_refused(
    table: IndexedTable, name: str, condition: str, value: Any, message: str
) -> None:
    values = {name: content for name, content in ((":g", G), (":v", value)) if name in condition}
    table.fails(
        "query",
        "ValidationException",
        message,
        IndexName=name,
        KeyConditionExpression=condition,
        ExpressionAttributeValues=values,
    )


def fill_one(table: IndexedTable) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    whole = table.put("1", g=G, n={"N": "1"}, b={"B": b"b"}, x={"S": "x"}, y={"S": "y"})
    keys = {name: whole[name] for name in ("pk", "sk", "g")}
    included = {name: whole[name] for name in ("pk", "sk", "b", "x")}
    return whole, keys, included


def test_projections_and_select(table: IndexedTable) -> None:
    whole, keys, included = fill_one(table)
    in_global, in_local = ("g = :g", {":g": G}), ("pk = :g", {":g": whole["pk"]})

    def items(name: str, asked: tuple[str, dict[str, Any]], **parameters: Any) -> Any:
        found = query(table, name, *asked, **parameters)
        (scanned,) = table.call("scan", IndexName=name, **parameters)["Items"]
        assert found["Items"] == [scanned]
        return scanned

    assert items("by-number", in_global) == whole
    assert items("by-number", in_global, Select="ALL_ATTRIBUTES") == whole
    assert items("sparse", in_global) == items("sparse", in_global, Select="ALL_PROJECTED_ATTRIBUTES") == keys
    assert items("sparse", in_global, ProjectionExpression="sk") == {"sk": whole["sk"]}
    assert items("by-binary", in_local) == included
    assert items("by-binary", in_local, Select="ALL_ATTRIBUTES", ConsistentRead=True) == whole
    assert items("by-binary", in_local, ProjectionExpression="y") == {"y": whole["y"]}  # fetched from the table
    assert "Items" not in query(table, "sparse", *in_global, Select="COUNT")
    filtered = table.call("scan", IndexName="sparse", FilterExpression="attribute_exists(y)")
    assert (filtered["Count"], filtered["ScannedCount"]) == (0, 1)  # the index has no such attribute


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("sparse", {"Select": "ALL_ATTRIBUTES"}, "Select type ALL_ATTRIBUTES is not supported for global secondary index"),
    ("sparse", {"ProjectionExpression": "sk, x, y"}, "Global secondary index sparse does not project [x, y]"),
    ("sparse", {"ConsistentRead": True}, "Consistent reads are not supported on global secondary indexes"),
    ("sparse", {"Select": "ALL_PROJECTED_ATTRIBUTES", "ProjectionExpression": "sk"}, "ALL_PROJECTED_ATTRIBUTES"),
    ("by-number", {"ConsistentRead": True}, "Consistent reads are not supported"),
    ("missing", {}, "The table does not have the specified index: missing"),
    ("by-number", {"ExclusiveStartKey": key()}, "The provided starting key is invalid"),
    ("by-number", {"ExclusiveStartKey": {**key(), "g": G, "n": {"S": "1"}}}, "The provided starting key is invalid"),
    ("sparse", {"ExclusiveStartKey": {**key(), "g": G, "n": {"N": "1"}}}, "The provided starting key is invalid"),
]
ONLY_QUERIES: list[tuple[str, dict[str, Any], str]] = [
    ("sparse", {"FilterExpression": "attribute_exists(g)"}, "Primary key attribute: g"),
    ("by-number", {"FilterExpression": "attribute_exists(n)"}, "Primary key attribute: n"),
    ("sparse", {"FilterExpression": "attribute_exists(y)"}, "does not project one or more filter attributes: [y]"),
    ("sparse", {"ExclusiveStartKey": {**key(), "g": {"S": "b"}}}, "outside query boundaries"),
]


@pytest.mark.parametrize(
    ("operation", "name", "given", "message"),
    [*(("scan", *case) for case in REFUSED), *(("query", *case) for case in (*REFUSED, *ONLY_QUERIES))],
)
def test_listings_that_are_refused(
    table: IndexedTable, operation: str, name: str, given: dict[str, Any], message: str
) -> None:
    condition = {"KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": G}}
    more = condition if operation == "query" else {}
    table.fails(operation, "ValidationException", message, IndexName=name, **more, **given)


def test_a_filter_may_name_keys_of_the_table(table: IndexedTable) -> None:
    table.put("1", g=G)
    values = {":g": G, ":s": {"S": "1"}}
    assert query(table, "sparse", "g = :g", values, FilterExpression="sk = :s")["Count"] == 1


def test_items_enter_and_leave_with_every_kind_of_write(table: IndexedTable) -> None:
    def check(*found: str) -> None:
        assert table.find("by-number", G) == list(found)

    one = {"N": "1"}
    table.put("1", g=G)
    check()
    table.update("1", "ADD n :n", {":n": one})
    check("1")
    table.update("1", "SET g = :g", {":g": {"S": "b"}})
    check()
    table.put("1", g=G, n=one)
    table.update("2", "SET g = :g, n = :n", {":g": G, ":n": {"N": "-1"}})
    check("2", "1")
    table.update("1", "REMOVE n")
    check("2")
    table.call("delete_item", Key=key("2"))
    check()
    requests = [{"PutRequest": {"Item": {**key(str(at)), "g": G, "n": {"N": str(at)}}}} for at in (3, 4)]
    table.client.batch_write_item(RequestItems={table.name: requests})
    check("3", "4")
    actions: list[dict[str, dict[str, Any]]] = [
        {"Put": {"Item": {**key("5"), "g": G, "n": {"N": "0"}}}},
        {"Delete": {"Key": key("3")}},
        {"Update": {"Key": key("4"), "UpdateExpression": "REMOVE g"}},
    ]
    named = [{kind: {"TableName": table.name, **given} for kind, given in action.items()} for action in actions]
    table.client.transact_write_items(TransactItems=named)
    check("5")
    table.client.batch_write_item(RequestItems={table.name: [{"DeleteRequest": {"Key": key("5")}}]})
    check()


def test_swept_items_leave(tmp_path: Path) -> None:
    with serving(tmp_path / "items.sqlite3", "--all-keys", DYNAMODB_TABLE="items") as engine:
        client: Any = engine.client()
        create(client, "items", {"g": "S"}, indexes=[SPARSE])
        client.update_time_to_live(TableName="items", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
        client.put_item(TableName="items", Item={**key("1"), "g": G, "ttl": {"N": str(int(time.time()) - 10)}})
        assert client.scan(TableName="items", IndexName="sparse")["Count"] == 1

    async def sweep() -> None:
        table = LocalTable(tmp_path / "items.sqlite3")
        await table.change([], lambda stored: ({}, None))  # the first write of a process sweeps
        await table.close()

    anyio.run(sweep)
    with serving(tmp_path / "items.sqlite3", "--all-keys", DYNAMODB_TABLE="items") as engine:
        assert engine.client().scan(TableName="items", IndexName="sparse")["Count"] == 0
        assert engine.client().scan(TableName="items")["Count"] == 0


MISMATCH = "parameter values were invalid: Type mismatch for Index Key g Expected: S Actual: {} IndexName: by-number"
EMPTY = "A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot"
EMPTY_UPDATE = "The update expression attempted to update a secondary index key to a value that is not supported."
VALUES: list[tuple[str, Any, str, str]] = [
    ("g", {"N": "1"}, MISMATCH.format("N"), MISMATCH.format("N")),
    ("g", {"NULL": True}, MISMATCH.format("NULL"), MISMATCH.format("NULL")),
    ("g", {"L": [{"S": "a"}]}, MISMATCH.format("L"), MISMATCH.format("L")),
    ("g", {"S": ""}, EMPTY, EMPTY_UPDATE),
    ("b", {"B": b""}, "empty binary value. IndexName: by-binary, IndexKey: b", EMPTY_UPDATE),
    ("b", {"S": "b"}, "Index Key b Expected: B Actual: S", "Index Key b Expected: B Actual: S"),
    ("n", {"S": "1"}, "Index Key n Expected: N Actual: S", "Index Key n Expected: N Actual: S"),
    ("g", {"S": "x" * 2049}, "Size of hashkey has exceeded", "Size of hashkey has exceeded"),
    ("b", {"B": b"x" * 1025}, "Aggregated size of all range keys", "Aggregated size of all range keys"),
]


@pytest.mark.parametrize(("name", "value", "message", "in_update"), VALUES, ids=range(len(VALUES)))
def test_values_of_index_keys_are_checked(
    table: IndexedTable, name: str, value: Any, message: str, in_update: str
) -> None:
    before = table.put("1")
    item = {**key("2"), name: value}
    fails = "ValidationException"
    table.fails("put_item", fails, message, Item=item)
    table.fails("put_item", fails, message, Item=item, ConditionExpression="attribute_exists(pk)")
    changed = {"UpdateExpression": f"SET {name} = :v", "ExpressionAttributeValues": {":v": value}}
    table.fails("update_item", fails, in_update, Key=key("1"), **changed)
    puts = [{"PutRequest": {"Item": each}} for each in (key("3"), item)]
    with pytest.raises(ClientError) as caught:
        table.client.batch_write_item(RequestItems={table.name: puts})
    refused(caught.value, fails, message)
    actions: list[tuple[dict[str, dict[str, Any]], str]] = [
        ({"Put": {"Item": item}}, message),
        ({"Update": {"Key": key("1"), **changed}}, in_update),
    ]
    for action, text in actions:
        named = [{kind: {"TableName": table.name, **given} for kind, given in action.items()}]
        with pytest.raises(ClientError) as caught:
            table.client.transact_write_items(TransactItems=named)
        if "Expected" in text:  # DynamoDB cancels for types, and refuses the transaction for all else
            response = refused(caught.value, "TransactionCanceledException", "[ValidationError]")
            assert text in response["CancellationReasons"][0]["Message"]
        else:
            refused(caught.value, fails, text)
    assert table.call("scan")["Items"] == [before]


def test_a_page_of_an_index_ends_at_1_mb_of_what_it_projects(table: IndexedTable) -> None:
    for at in range(4):
        table.put(str(at), g=G, n={"N": "1"}, x={"S": "x" * 390_000})
    page = query(table, "by-number", "g = :g", {":g": G}, ReturnConsumedCapacity="INDEXES")
    assert page["Count"] == 3
    units = page["ConsumedCapacity"]["GlobalSecondaryIndexes"]["by-number"]["CapacityUnits"]
    assert (units, page["ConsumedCapacity"]["Table"]) == (143.0, {"CapacityUnits": 0.0})
    assert query(table, "sparse", "g = :g", {":g": G})["Count"] == 4


def test_an_index_dropped_between_two_pages(table: IndexedTable) -> None:
    for at in range(3):
        table.put(str(at), g=G, n={"N": "1"})
    asked: dict[str, Any] = {"KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": G}, "Limit": 1}
    page = table.call("query", IndexName="by-number", **asked)
    again = {"IndexName": "by-number", **asked, "ExclusiveStartKey": page["LastEvaluatedKey"]}
    update(table, {"Delete": {"IndexName": "by-number"}})
    table.fails("query", "ValidationException", "does not have the specified index: by-number", **again)
    update(table, {"Create": index("by-number", "g", "m")}, g="S", m="S")
    table.fails("query", "ValidationException", "The provided starting key is invalid", **again)
    update(table, {"Delete": {"IndexName": "by-number"}})
    update(table, {"Create": BY_NUMBER}, g="S", n="N")
    assert [item["sk"]["S"] for item in table.call("query", **again)["Items"]] == ["1"]


def test_indexes_are_created_while_writers_run(endpoint: Engine) -> None:
    table = IndexedTable(endpoint, {"b": "B"}, local=[BY_BINARY])
    is_over = threading.Event()

    def write(writer: int) -> int:
        for at in itertools.count():
            if is_over.is_set():
                return at
            table.put(f"{writer}-{at % 40}", g={"S": "ab"[at % 2]}, n={"N": str(at % 7)})
            if at % 5 == 0:
                table.call("delete_item", Key=key(f"{writer}-{at % 40}"))
        raise AssertionError

    with ThreadPoolExecutor(3) as threads:
        writers = [threads.submit(write, writer) for writer in range(3)]
        try:
            for _ in range(5):
                update(table, {"Create": BY_NUMBER}, g="S", n="N")
                update(table, {"Create": SPARSE}, g="S")
                table.find("by-number", G)
                update(table, {"Delete": {"IndexName": "by-number"}})
                update(table, {"Delete": {"IndexName": "sparse"}})
            update(table, {"Create": BY_NUMBER}, g="S", n="N")
        finally:
            is_over.set()
        assert all(writer.result() for writer in writers)
    check_agreement(table.client, table.name)


def check_agreement(client: Any, name: str) -> None:
    """Each index holds exactly the items of the table that have its keys, in its order."""
    described = client.describe_table(TableName=name)["Table"]
    types = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    items = list_all(client.get_paginator("scan"), TableName=name)
    for each in (*described.get("GlobalSecondaryIndexes", []), *described.get("LocalSecondaryIndexes", [])):
        pk, *sk = names = [element["AttributeName"] for element in each["KeySchema"]]
        wanted = [item for item in items if all(types[key] in item.get(key, {}) for key in names)]
        assert each["ItemCount"] == len(wanted)
        scanned = list_all(client.get_paginator("scan"), TableName=name, IndexName=each["IndexName"])
        assert list_keys(scanned) == list_keys(wanted)
        for value in {next(iter(item[pk].values())) for item in wanted}:
            found = list_all(
                client.get_paginator("query"),
                TableName=name,
                IndexName=each["IndexName"],
                KeyConditionExpression="#pk = :pk",
                ExpressionAttributeNames={"#pk": pk},
                ExpressionAttributeValues={":pk": {types[pk]: value}},
            )
            assert list_keys(found) == list_keys(item for item in wanted if item[pk] == {types[pk]: value})
            order = [item[sk[0]] for item in found] if sk else []
            assert order == sorted(order, key=get_rank)


def get_rank(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return Decimal(content) if kind == "N" else content.encode() if kind == "S" else content


def list_all(paginator: Any, **asked: Any) -> list[Any]:
    return [item for page in paginator.paginate(**asked) for item in page["Items"]]


def list_keys(items: Any) -> list[tuple[str, str]]:
    return sorted((item["pk"]["S"], item["sk"]["S"]) for item in items)


def write_until_killed(where: str, writer: int) -> int:
    """Put, update, delete, batch and transact until the endpoint is gone; how many calls were acknowledged."""
    client: Any = boto3.client("dynamodb", endpoint_url=where, **client_options())
    chance = random.Random(writer)

    def item() -> dict[str, Any]:
        keys = {"g": G, "n": {"N": str(chance.randrange(5))}, "b": {"B": bytes([chance.randrange(5)])}}
        chosen = {name: value for name, value in keys.items() if chance.random() < 0.7}
        return {**key(f"{writer}-{chance.randrange(50)}"), **chosen, "x": {"S": "x" * chance.choice([1, 9000])}}

    for at in itertools.count():
        try:
            first, second = item(), {**item(), **key(f"{writer}-other-{at % 9}")}
            match at % 4:
                case 0:
                    client.put_item(TableName="items", Item=first)
                case 1:
                    client.delete_item(TableName="items", Key={name: first[name] for name in ("pk", "sk")})
                case 2:
                    puts = [{"PutRequest": {"Item": each}} for each in (first, second)]
                    client.batch_write_item(RequestItems={"items": puts})
                case _:
                    actions = [{"Put": {"TableName": "items", "Item": each}} for each in (first, second)]
                    client.transact_write_items(TransactItems=actions)
        except (BotoCoreError, ClientError):
            return at
    raise AssertionError


def test_kill_9_while_three_indexes_are_written(tmp_path: Path) -> None:
    file, chance = tmp_path / "items.sqlite3", random.Random(3)
    settings = {"DYNAMODB_TABLE": "items"}
    with serving(file, "--all-keys", **settings) as engine:
        create(engine.client(), "items", TYPES, local=[BY_BINARY], indexes=[BY_NUMBER, SPARSE])
    for _ in range(3):
        process = start(file, "--all-keys", **settings)
        where = address(process)
        with ThreadPoolExecutor(3) as threads:
            writers = [threads.submit(write_until_killed, where, writer) for writer in range(3)]
            client: Any = boto3.client("dynamodb", endpoint_url=where, **client_options())
            try:
                for _ in range(chance.randrange(5, 30)):  # turns with the writers
                    client.scan(TableName="items", IndexName="sparse")
            finally:
                process.kill()
                process.wait()
            assert sum(writer.result() for writer in writers)
        assert process.stderr
        process.stderr.close()
        with serving(file, "--all-keys", **settings) as engine:
            check_agreement(engine.client(), "items")


def test_the_prefix_is_enforced_on_the_partition_key_of_an_index(tmp_path: Path) -> None:
    file = tmp_path / "items.sqlite3"
    indexes = [index("by-g", "g"), index("by-n", "n"), index("inverted", "sk", "pk")]
    values: list[tuple[str, str, dict[str, str]]] = [
        ("by-g", "g", {"S": "other#x"}),
        ("by-g", "g", {"S": f"{PREFIX}x"}),
        ("by-n", "n", {"N": "1"}),
        ("inverted", "sk", {"S": "1"}),
    ]
    with serving(file, DYNAMODB_TABLE="items") as engine:
        table = Table.__new__(Table)
        table.name, table.client = "items", engine.client()
        create(table.client, "items", {"g": "S", "n": "N"}, indexes=indexes[:2])
        update(table, {"Create": indexes[2]})  # an app creates its indexes, and AWS lets it write any value
        table.put("1", g={"S": f"{PREFIX}#x"}, n={"N": "1"})
        table.put("2", g={"S": "other#x"})
        own = {":v": {"S": f"{PREFIX}#x"}}
        assert query(table, "by-g", "g = :v", own)["Count"] == 1
        assert table.call("scan", IndexName="by-g")["Count"] == 2  # as a scan of the table
        for name, condition, value in values:
            table.fails(
                "query",
                "AccessDeniedException",
                f"table/items/index/{name}",
                IndexName=name,
                KeyConditionExpression=f"{condition} = :v",
                ExpressionAttributeValues={":v": value},
            )
    with serving(file, "--all-keys", DYNAMODB_TABLE="items") as engine:
        table.client = engine.client()
        assert query(table, "inverted", "sk = :v", {":v": {"S": "1"}})["Count"] == 1
        assert query(table, "by-n", "n = :v", {":v": {"N": "1"}})["Count"] == 1
    with serving(file, "--read-only", DYNAMODB_TABLE="items") as engine:
        table.client = engine.client()
        deletion = {"Delete": {"IndexName": "by-g"}}
        table.fails("update_table", "AccessDeniedException", "read-only", GlobalSecondaryIndexUpdates=[deletion])


def test_another_process_sees_indexes_at_once(tmp_path: Path) -> None:
    options = {"DYNAMODB_TABLE": "items"}
    file = tmp_path / "items.sqlite3"
    with serving(file, "--all-keys", **options) as one, serving(file, "--all-keys", **options) as other:
        create(one.client(), "items", {"g": "S"}, indexes=[SPARSE])
        other.client().put_item(TableName="items", Item={**key(), "g": G})
        assert one.client().scan(TableName="items", IndexName="sparse")["Count"] == 1
        with pytest.raises(ClientError, match="Type mismatch for Index Key g"):
            other.client().put_item(TableName="items", Item={**key(), "g": {"N": "1"}})
        deletion: Any = [{"Delete": {"IndexName": "sparse"}}]
        one.client().update_table(TableName="items", GlobalSecondaryIndexUpdates=deletion)
        other.client().put_item(TableName="items", Item={**key(), "g": {"N": "1"}})
        with pytest.raises(ClientError, match="does not have the specified index"):
            other.client().scan(TableName="items", IndexName="sparse")


def test_a_key_that_is_not_in_the_table_begins_a_page(table: IndexedTable) -> None:
    for at in (1, 3):
        table.put(str(at), g=G, n={"N": str(at)})
    after = {**key("2"), "g": G, "n": {"N": "2.0"}}
    page = query(table, "by-number", "g = :g", {":g": G}, ExclusiveStartKey=after)
    assert [Key.of(item).sk for item in page["Items"]] == ["3"]
    page = query(table, "by-number", "g = :g AND n > :n", {":g": G, ":n": {"N": "0"}}, ExclusiveStartKey=after)
    assert page["Count"] == 1
    table.fails(
        "query",
        "ValidationException",
        "does not match the range key predicate",
        IndexName="by-number",
        KeyConditionExpression="g = :g AND n > :n",
        ExpressionAttributeValues={":g": G, ":n": {"N": "2"}},
        ExclusiveStartKey=after,
    )
