"""Rules of AWS that other engines overlook, as public test suites and reports state them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.endpoint.raw import ask, fails
from tests.endpoint.support import Table

if TYPE_CHECKING:
    from tests.support.engines import Engine

KEY = {"pk": {"S": "rules#one#a"}, "sk": {"S": "1"}}
OTHER_KEY = {"id": {"S": "a"}}
LONG_NAME = "x" * 65_536


class RawTable(Table):
    """A new table that is used without an SDK."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine

    def count(self) -> int:
        _, page = ask(self.engine, "Scan", {"TableName": self.name, "Select": "COUNT"})
        count: int = page["Count"]
        return count


@pytest.fixture
def table(endpoint: Engine) -> RawTable:
    return RawTable(endpoint)


def test_a_transaction_gets_no_item_twice(table: RawTable) -> None:
    get = {"Get": {"TableName": table.name, "Key": KEY}}
    message = fails(table.engine, "ValidationException", "TransactGetItems", {"TransactItems": [get, get]})
    assert message == "Transaction request cannot include multiple operations on one item"


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("UpdateItem", {"Key": KEY, "UpdateExpression": "SET _x = :v"}),
        ("UpdateItem", {"Key": KEY, "UpdateExpression": "SET m._x = :v"}),
        ("PutItem", {"Item": KEY, "ConditionExpression": "_x = :v"}),
        ("Scan", {"FilterExpression": "_x = :v"}),
    ],
)
def test_a_name_in_an_expression_starts_with_a_letter(table: RawTable, operation: str, members: dict[str, Any]) -> None:
    body = {"TableName": table.name, "ExpressionAttributeValues": {":v": {"S": "x"}}, **members}
    assert "Syntax error" in fails(table.engine, "ValidationException", operation, body)


@pytest.mark.parametrize("name", ["", LONG_NAME, "é" * 32_768], ids=["empty", "long", "long in bytes"])
def test_names_of_attributes_have_1_to_65535_bytes(table: RawTable, name: str) -> None:
    item = {**KEY, name: {"S": "x"}}
    put = {"TableName": table.name, "Item": item}
    writes: list[tuple[str, Any]] = [
        ("PutItem", put),
        ("BatchWriteItem", {"RequestItems": {table.name: [{"PutRequest": {"Item": item}}]}}),
        ("TransactWriteItems", {"TransactItems": [{"Put": put}]}),
    ]
    for expression in ("SET #n = :v", "SET m.#n = :v", "ADD #n :v"):
        update = {
            "TableName": table.name,
            "Key": KEY,
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {"#n": name},
            "ExpressionAttributeValues": {":v": {"N": "1"}},
        }
        writes += [("UpdateItem", update), ("TransactWriteItems", {"TransactItems": [{"Update": update}]})]
    for operation, body in writes:
        assert fails(table.engine, "ValidationException", operation, body)
    assert table.count() == 0


@pytest.mark.parametrize("expression", ["REMOVE a, b", "DELETE a :s", "REMOVE b DELETE a :s"])
def test_an_update_that_only_removes_creates_nothing(table: RawTable, expression: str) -> None:
    update: dict[str, Any] = {"TableName": table.name, "Key": KEY, "UpdateExpression": expression}
    if ":s" in expression:
        update["ExpressionAttributeValues"] = {":s": {"SS": ["x"]}}
    assert ask(table.engine, "UpdateItem", {**update, "ReturnValues": "ALL_NEW"}) == (200, {})
    assert ask(table.engine, "TransactWriteItems", {"TransactItems": [{"Update": update}]}) == (200, {})
    assert table.count() == 0
    assert ask(table.engine, "UpdateItem", {"TableName": table.name, "Key": KEY})[0] == 200
    assert table.count() == 1


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (":p = pk AND :s <= sk", ["2", "3"]),
        ("pk = :p AND :s < sk", ["3"]),
        (":s > sk AND :p = pk", ["1"]),
        (":p = pk AND :s >= sk", ["1", "2"]),
        (":p = pk AND :s = sk", ["2"]),
        ("pk = :p AND :s BETWEEN sk AND sk", None),
        (":p = pk AND :s <> sk", None),
    ],
)
def test_in_a_key_condition_the_value_may_come_first(table: RawTable, condition: str, found: list[str] | None) -> None:
    for sk in ("1", "2", "3"):
        ask(table.engine, "PutItem", {"TableName": table.name, "Item": {**KEY, "sk": {"S": sk}}})
    values = {":p": KEY["pk"], ":s": {"S": "2"}}
    body = {"TableName": table.name, "KeyConditionExpression": condition, "ExpressionAttributeValues": values}
    if found is None:
        assert fails(table.engine, "ValidationException", "Query", body)
    else:
        assert [item["sk"]["S"] for item in ask(table.engine, "Query", body)[1]["Items"]] == found


def _missing() -> list[tuple[str, dict[str, Any]]]:
    name = {"TableName": "not-there"}
    key, item = {**name, "Key": OTHER_KEY}, {**name, "Item": OTHER_KEY}
    values = {":v": {"N": "1"}}
    return [
        ("GetItem", key),
        ("GetItem", {**name, "Key": {**KEY, "sk": {"S": ""}}}),
        ("PutItem", item),
        ("PutItem", {**name, "Item": {**KEY, "pk": {"N": "1"}}}),
        ("UpdateItem", {**key, "UpdateExpression": "SET a = :v", "ExpressionAttributeValues": values}),
        ("DeleteItem", key),
        ("Query", {**name, "KeyConditionExpression": "id = :v", "ExpressionAttributeValues": values}),
        ("Query", {**name, "KeyConditionExpression": "pk = :v", "ExpressionAttributeValues": values}),
        ("Scan", {**name, "ExclusiveStartKey": OTHER_KEY}),
        ("BatchGetItem", {"RequestItems": {"not-there": {"Keys": [OTHER_KEY]}}}),
        ("BatchWriteItem", {"RequestItems": {"not-there": [{"PutRequest": {"Item": OTHER_KEY}}]}}),
        ("TransactGetItems", {"TransactItems": [{"Get": key}]}),
        ("TransactWriteItems", {"TransactItems": [{"Put": item}]}),
        ("TransactWriteItems", {"TransactItems": [{"Delete": key}]}),
    ]


@pytest.mark.parametrize(("operation", "body"), _missing())
def test_a_missing_table_is_found_before_a_key_of_another_schema(
    endpoint: Engine, operation: str, body: dict[str, Any]
) -> None:
    assert "not-there" in fails(endpoint, "ResourceNotFoundException", operation, body)


def test_a_transaction_returns_no_empty_items_and_counts_units_by_kind(table: RawTable) -> None:
    put = {"Put": {"TableName": table.name, "Item": {**KEY, "a": {"S": "x"}}}}
    asked = {"ReturnConsumedCapacity": "INDEXES"}
    _, written = ask(table.engine, "TransactWriteItems", {"TransactItems": [put], **asked})
    units = {"CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}
    assert written["ConsumedCapacity"] == [{"TableName": table.name, **units, "Table": units}]
    keys = [KEY, {**KEY, "sk": {"S": "2"}}, {**KEY, "sk": {"S": "3"}}]
    gets = [{"Get": {"TableName": table.name, "Key": key, "ProjectionExpression": "b"}} for key in keys]
    gets[2]["Get"].pop("ProjectionExpression")
    _, read = ask(table.engine, "TransactGetItems", {"TransactItems": gets, **asked})
    units = {"CapacityUnits": 6.0, "ReadCapacityUnits": 6.0}
    assert read == {
        "Responses": [{}, {}, {}],
        "ConsumedCapacity": [{"TableName": table.name, **units, "Table": units}],
    }
