"""Query and Scan: ranges, pages, filters, segments."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint.support import PREFIX, Table, key, refused

PK = f"{PREFIX}#user"
SORT_KEYS = ["A", "a", "a#1", "a#10", "a#2", "b", "é", "\uffff", "😀"]  # by UTF-8 bytes


@pytest.fixture
def filled(table: Table) -> Table:
    for at, sk in enumerate(SORT_KEYS):
        table.put(sk, n={"N": str(at)})
    table.call("put_item", Item=key("1", "other"))
    return table


def query(table: Table, condition: str = "", values: dict[str, str] | None = None, **parameters: Any) -> Any:
    given = {":pk": {"S": PK}, **{name: {"S": text} for name, text in (values or {}).items()}}
    given |= parameters.pop("ExpressionAttributeValues", {})
    text = f"pk = :pk {condition}"
    return table.call("query", KeyConditionExpression=text, ExpressionAttributeValues=given, **parameters)


def sort_keys(answer: Any) -> list[str]:
    return [item["sk"]["S"] for item in answer["Items"]]


@pytest.mark.parametrize(
    ("condition", "values", "wanted"),
    [
        ("", {}, SORT_KEYS),
        ("AND sk = :a", {":a": "a"}, ["a"]),
        ("AND sk < :a", {":a": "a#1"}, ["A", "a"]),
        ("AND sk <= :a", {":a": "a#1"}, ["A", "a", "a#1"]),
        ("AND sk > :a", {":a": "b"}, ["é", "\uffff", "😀"]),
        ("AND (sk >= :a)", {":a": "é"}, ["é", "\uffff", "😀"]),
        ("AND sk BETWEEN :a AND :b", {":a": "a", ":b": "a#10"}, ["a", "a#1", "a#10"]),
        ("AND begins_with(sk, :a)", {":a": "a#1"}, ["a#1", "a#10"]),
        ("AND begins_with(sk, :a)", {":a": "\uffff"}, ["\uffff"]),
    ],
)
def test_key_conditions(filled: Table, condition: str, values: dict[str, str], wanted: list[str]) -> None:
    assert sort_keys(query(filled, condition, values)) == wanted
    assert sort_keys(query(filled, condition, values, ScanIndexForward=False)) == wanted[::-1]


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 4, 9, 10])
def test_pages(filled: Table, limit: int, forward: bool) -> None:
    found: list[str] = []
    start: dict[str, Any] = {}
    while True:
        answer = query(filled, Limit=limit, ScanIndexForward=forward, **start)
        assert answer["Count"] == answer["ScannedCount"] <= limit
        found += sort_keys(answer)
        if "LastEvaluatedKey" not in answer:
            break
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    assert found == SORT_KEYS[:: 1 if forward else -1]


def test_limit_counts_before_the_filter(filled: Table) -> None:
    answer = query(filled, FilterExpression="n > :n", Limit=3, ExpressionAttributeValues={":n": {"N": "5"}})
    assert (answer["Items"], answer["Count"], answer["ScannedCount"]) == ([], 0, 3)
    assert answer["LastEvaluatedKey"] == key("a#1")


@pytest.mark.parametrize("text", ["x" * 300_000, "\x01" * 300_000, "é" * 150_000], ids=["ascii", "escaped", "wide"])
def test_a_page_ends_at_1_mb(table: Table, text: str) -> None:
    for at in range(8):
        table.put(f"{at}", t={"S": text})
    first = query(table, Select="COUNT", ReturnConsumedCapacity="TOTAL")
    assert "Items" not in first
    assert first["Count"] == 4
    assert 128 < first["ConsumedCapacity"]["CapacityUnits"] < 150
    second = table.call("scan", ExclusiveStartKey=first["LastEvaluatedKey"], ProjectionExpression="sk")
    assert second["Items"] == [{"sk": {"S": str(at)}} for at in range(4, 8)]


def test_segments_part_a_scan(table: Table) -> None:
    keys = [key("1", f"{PREFIX}#{at}") for at in range(50)]
    for item in keys:
        table.call("put_item", Item=item)
    parts = [table.call("scan", Segment=segment, TotalSegments=7)["Items"] for segment in range(7)]
    assert sorted(item["pk"]["S"] for part in parts for item in part) == sorted(item["pk"]["S"] for item in keys)
    assert max(map(len, parts)) < 25


def test_a_scan_has_the_whole_file_in_order(filled: Table) -> None:
    found = filled.call("scan")["Items"]
    assert [(item["pk"]["S"], item["sk"]["S"]) for item in found] == [*((PK, sk) for sk in SORT_KEYS), ("other", "1")]
    assert filled.call("scan", FilterExpression="attribute_exists(n)")["ScannedCount"] == 10


VALUE = {":v": {"S": "a"}}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("query", {}, "Either the KeyConditions or KeyConditionExpression parameter must be specified"),
    ("query", {"KeyConditionExpression": "sk = :v"}, "Query condition missed key schema element: pk"),
    ("query", {"KeyConditionExpression": "pk > :v"}, "Query key condition not supported"),
    ("query", {"KeyConditionExpression": "pk = :v AND n = :v"}, "Query condition missed key schema element: sk"),
    ("query", {"KeyConditionExpression": "pk = :v AND pk = :v"}, "must only contain one condition per key"),
    ("query", {"KeyConditionExpression": "pk = :v OR sk = :v"}, "Invalid operator used in KeyConditionExpression: OR"),
    ("query", {"KeyConditionExpression": "pk = :v AND sk <> :v"}, "Invalid operator used"),
    ("query", {"KeyConditionExpression": "pk = :v AND NOT sk = :v"}, "Invalid operator used"),
    ("query", {"KeyConditionExpression": "pk = :v AND contains(sk, :v)"}, "Invalid operator used"),
    ("query", {"KeyConditionExpression": "pk = :v AND size(sk) = :v"}, "cannot contain nested operations"),
    ("query", {"KeyConditionExpression": "pk = :v AND sk > pk"}, "Invalid condition"),
    ("query", {"KeyConditionExpression": "pk = :v", "FilterExpression": "sk = :v"}, "Primary key attribute: sk"),
    ("query", {"KeyConditionExpression": "pk = :v", "ExclusiveStartKey": key()}, "outside query boundaries"),
    (
        "query",
        {"KeyConditionExpression": "pk = :v AND sk > :v", "ExclusiveStartKey": key("A", "a")},
        "does not match the range key predicate",
    ),
    ("query", {"KeyConditionExpression": "pk = :v", "IndexName": "index"}, "does not have the specified index: index"),
    ("query", {"KeyConditionExpression": "pk = :v", "Select": "SPECIFIC_ATTRIBUTES"}, "SPECIFIC_ATTRIBUTES"),
    ("scan", {"FilterExpression": "a = :v", "Select": "COUNT", "ProjectionExpression": "a"}, "only the Count"),
    ("scan", {"FilterExpression": "a = :v", "Select": "ALL_PROJECTED_ATTRIBUTES"}, "IndexName"),
    ("scan", {"FilterExpression": "a = :v", "Segment": 0}, "The TotalSegments parameter is required"),
    ("scan", {"FilterExpression": "a = :v", "TotalSegments": 2}, "The Segment parameter is required"),
    ("scan", {"FilterExpression": "a = :v", "TotalSegments": 2, "Segment": 2}, "must be less than"),
    ("scan", {"FilterExpression": "a = :v", "ExclusiveStartKey": {"pk": {"S": "a"}}}, "starting key is invalid"),
]


@pytest.mark.parametrize(("operation", "given", "message"), WRONG, ids=range(len(WRONG)))
def test_listings_that_are_refused(table: Table, operation: str, given: dict[str, Any], message: str) -> None:
    values = {"ExpressionAttributeValues": VALUE} if given else {}
    table.fails(operation, "ValidationException", message, **values, **given)


def test_a_key_in_a_condition_is_a_string_that_is_not_empty(table: Table) -> None:
    for value, message in (({"N": "1"}, "does not match schema type"), ({"S": ""}, "empty string value. Key: sk")):
        with pytest.raises(ClientError) as caught:
            query(table, "AND sk >= :v", ExpressionAttributeValues={":v": value})
        refused(caught.value, "ValidationException", message)
