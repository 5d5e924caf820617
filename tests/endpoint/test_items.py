"""GetItem, PutItem, UpdateItem and DeleteItem, as boto3's client and resource use them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError, ParamValidationError

from tests.endpoint.support import Table, key, refused, resource

if TYPE_CHECKING:
    from tests.support.engines import Engine

VALUES: dict[str, Any] = {
    "s": {"S": "é"},
    "n": {"N": "12.5"},
    "b": {"B": b"\x00\xff"},
    "bool": {"BOOL": False},
    "null": {"NULL": True},
    "l": {"L": [{"N": "1"}, {"S": ""}]},
    "m": {"M": {"a.b": {"L": []}}},
    "ss": {"SS": ["x", "y"]},
    "ns": {"NS": ["1", "2.5"]},
    "bs": {"BS": [b"1", b"2"]},
}


def test_every_type_comes_back_as_it_was(table: Table) -> None:
    item = table.put("1", **VALUES)
    assert table.get("1") == item
    assert table.get("2") is None


def test_boto3s_resource(endpoint: Engine) -> None:
    table = resource(endpoint).Table(endpoint.create_table())
    table.put_item(Item={"pk": "a", "sk": "1", "n": Decimal("1.5"), "tags": {"x"}, "l": [1, None, True]})
    assert table.get_item(Key={"pk": "a", "sk": "1"})["Item"]["l"] == [1, None, True]
    changed = table.update_item(
        Key={"pk": "a", "sk": "1"},
        UpdateExpression="ADD n :n, tags :t",
        ConditionExpression=Attr("n").lt(2) & ~Attr("gone").exists(),
        ExpressionAttributeValues={":n": 1, ":t": {"y"}},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    assert (changed["n"], changed["tags"]) == (Decimal("2.5"), {"x", "y"})
    with table.batch_writer() as batch:
        for at in range(60):
            batch.put_item(Item={"pk": "b", "sk": f"{at:03}"})
    assert table.scan(Select="COUNT")["Count"] == 61
    assert table.item_count == 61


def test_what_an_update_returns(table: Table) -> None:
    table.put("1", a={"N": "1"}, m={"M": {"x": {"S": "old"}, "y": {"S": "same"}}})

    def update(value: str, returned: str) -> Any:
        values = {":v": {"S": value}}
        return table.update("1", "SET m.x = :v", values, ReturnValues=returned).get("Attributes")

    assert update("1", "NONE") is None
    assert update("2", "UPDATED_OLD") == {"m": {"M": {"x": {"S": "1"}}}}
    assert update("3", "UPDATED_NEW") == {"m": {"M": {"x": {"S": "3"}}}}
    assert update("4", "ALL_OLD")["m"]["M"]["x"] == {"S": "3"}
    assert update("5", "ALL_NEW")["m"]["M"] == {"x": {"S": "5"}, "y": {"S": "same"}}
    assert table.update("new", "SET a = :v", {":v": {"N": "1"}}, ReturnValues="ALL_OLD") == {}


def test_an_update_makes_the_item_that_is_not_there(table: Table) -> None:
    table.call("update_item", Key=key("1"))
    assert table.get("1") == key("1")
    table.update("2", "SET a = if_not_exists(a, :n)", {":n": {"N": "1"}})
    assert table.get("2") == {**key("2"), "a": {"N": "1"}}


def test_puts_and_deletes_return_the_old_item(table: Table) -> None:
    old = table.put("1", n={"N": "1"})
    assert table.call("put_item", Item=key("1"), ReturnValues="ALL_OLD") == {"Attributes": old}
    assert table.call("put_item", Item=key("2"), ReturnValues="ALL_OLD") == {}
    assert table.call("delete_item", Key=key("1"), ReturnValues="ALL_OLD") == {"Attributes": key("1")}
    assert table.call("delete_item", Key=key("1"), ReturnValues="ALL_OLD") == {}
    table.fails("put_item", "ValidationException", "ReturnValues", Item=key("1"), ReturnValues="ALL_NEW")


@pytest.mark.parametrize("operation", ["put_item", "delete_item", "update_item"])
def test_a_condition_that_does_not_hold_changes_nothing(table: Table, operation: str) -> None:
    item = table.put("1", n={"N": "1"})
    given: dict[str, Any] = {"Item": key("1")} if operation == "put_item" else {"Key": key("1")}
    given |= {"ConditionExpression": "n > :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}
    response = table.fails(operation, "ConditionalCheckFailedException", "The conditional request failed", **given)
    assert "Item" not in response
    given["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    assert table.fails(operation, "ConditionalCheckFailedException", "", **given)["Item"] == item
    assert table.get("1") == item


def test_a_condition_on_an_item_that_is_not_there(table: Table) -> None:
    table.call("put_item", Item=key("1"), ConditionExpression="attribute_not_exists(pk)")
    table.fails(
        "put_item", "ConditionalCheckFailedException", "", Item=key("1"), ConditionExpression="attribute_not_exists(pk)"
    )
    table.fails(
        "delete_item", "ConditionalCheckFailedException", "", Key=key("2"), ConditionExpression="attribute_exists(pk)"
    )


def test_projections(table: Table) -> None:
    table.put("1", **VALUES)
    names = {"#odd": "a.b"}
    answer = table.call(
        "get_item", Key=key("1"), ProjectionExpression="n, l[1], m.#odd, gone", ExpressionAttributeNames=names
    )
    assert answer["Item"] == {"n": {"N": "12.5"}, "l": {"L": [{"S": ""}]}, "m": {"M": {"a.b": {"L": []}}}}
    assert table.call("get_item", Key=key("1"), ProjectionExpression="gone") == {"Item": {}}


def test_numbers_are_exact_and_canonical(table: Table) -> None:
    table.put("1", n={"N": "0012345678901234567890123456789012345678.00"}, small={"N": "1e-130"}, ns={"NS": ["1.0"]})
    found = table.get("1")
    assert found["n"] == {"N": "12345678901234567890123456789012345678"}
    assert (found["small"], found["ns"]) == ({"N": "0." + "0" * 129 + "1"}, {"NS": ["1"]})
    assert table.update("1", "ADD n :one", {":one": {"N": "1"}}, ReturnValues="UPDATED_NEW")["Attributes"] == {
        "n": {"N": "12345678901234567890123456789012345679"}
    }
    table.update("1", "SET n = :nines", {":nines": {"N": "9" * 38}})
    with pytest.raises(ClientError) as caught:
        table.update("1", "SET n = n + :x", {":x": {"N": "0.1"}})
    refused(caught.value, "ValidationException", "38")


def test_capacity(table: Table) -> None:
    def units(operation: str, **parameters: Any) -> float:
        answer = table.call(operation, ReturnConsumedCapacity="TOTAL", **parameters)
        found: float = answer["ConsumedCapacity"]["CapacityUnits"]
        return found

    big = {**key("1"), "t": {"S": "x" * 9000}}
    assert units("put_item", Item=big) == 9
    assert units("get_item", Key=key("1")) == 1.5
    assert units("get_item", Key=key("1"), ConsistentRead=True) == 3
    assert units("delete_item", Key=key("1")) == 9
    assert units("delete_item", Key=key("1")) == 1
    detailed = table.call("get_item", Key=key("1"), ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
    assert detailed == {"TableName": table.name, "CapacityUnits": 0.5, "Table": {"CapacityUnits": 0.5}}


INVALID = "One or more parameter values were invalid: "
WRONG_ITEMS: list[tuple[dict[str, Any], str]] = [
    ({"pk": {"S": "a"}}, INVALID + "Missing the key sk in the item"),
    ({"pk": {"S": "a"}, "sk": {"N": "1"}}, INVALID + "Type mismatch for key sk expected: S actual: N"),
    (key(""), "The AttributeValue for a key attribute cannot contain an empty string value. Key: sk"),
    (key("x" * 1025), "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"),
    (key("1", "é" * 1025), "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
    ({**key(), "n": {"N": "x"}}, "The parameter cannot be converted to a numeric value: x"),
    ({**key(), "n": {"N": "1_0"}}, "The parameter cannot be converted to a numeric value: 1_0"),
    ({**key(), "n": {"N": "1" * 39}}, "Attempting to store more than 38 significant digits in a Number"),
    ({**key(), "n": {"N": "1e126"}}, "Number overflow"),
    ({**key(), "n": {"N": "1e-131"}}, "Number underflow"),
    ({**key(), "s": {"SS": []}}, INVALID + "An string set  may not be empty"),
    ({**key(), "s": {"NS": []}}, INVALID + "An number set  may not be empty"),
    ({**key(), "s": {"SS": ["a", "a"]}}, INVALID + "Input collection [a, a] contains duplicates."),
    ({**key(), "s": {"NS": ["1", "1.0"]}}, "contains duplicates"),
    ({**key(), "x": {"NULL": False}}, "Null attribute value types must have the value of true"),
    ({**key(), "t": {"S": "x" * 409_600}}, "Item size has exceeded the maximum allowed size"),
]


@pytest.mark.parametrize(("item", "message"), WRONG_ITEMS, ids=range(len(WRONG_ITEMS)))
def test_items_that_are_refused(table: Table, item: dict[str, Any], message: str) -> None:
    table.fails("put_item", "ValidationException", message, Item=item)
    assert table.call("scan")["Count"] == 0


WRONG_UPDATES: list[tuple[dict[str, Any], str]] = [
    ({"UpdateExpression": "SET pk = :n"}, "Cannot update attribute pk. This attribute is part of the key"),
    ({"UpdateExpression": "SET status = :n"}, "reserved keyword: status"),
    ({"UpdateExpression": "SET a = b + :n"}, "refers to an attribute that does not exist in the item"),
    ({"UpdateExpression": "SET a = :x"}, "value used in expression is not defined; attribute value: :x"),
    ({"UpdateExpression": "SET a.b = :n"}, "document path provided in the update expression is invalid for update"),
    ({"UpdateExpression": "SET a = :n", "ExpressionAttributeNames": {"#x": "x"}}, "unused in expressions: keys: {#x}"),
    ({"UpdateExpression": "SET a = :n", "ExpressionAttributeNames": {"x": "x"}}, 'Syntax error; key: "x"'),
    ({"UpdateExpression": "SET a = :n", "ExpressionAttributeNames": {}}, "must not be empty"),
    ({"UpdateExpression": ""}, "The expression can not be empty"),
    ({}, "ExpressionAttributeValues can only be specified when using expressions"),
    ({"AttributeUpdates": {"a": {"Action": "DELETE"}}}, "legacy parameter AttributeUpdates"),
]


@pytest.mark.parametrize(("given", "message"), WRONG_UPDATES, ids=range(len(WRONG_UPDATES)))
def test_updates_that_are_refused(table: Table, given: dict[str, Any], message: str) -> None:
    given = {"ExpressionAttributeValues": {":n": {"N": "1"}}, **given}
    table.fails("update_item", "ValidationException", message, Key=key(), **given)
    assert table.get("1") is None


def test_an_update_makes_no_item_that_is_too_long_or_too_deep(table: Table) -> None:
    table.put("1", t={"S": "x" * 300_000})
    with pytest.raises(ClientError) as caught:
        table.update("1", "SET u = t", None)
    refused(caught.value, "ValidationException", "Item size to update has exceeded the maximum allowed size")
    deep: dict[str, Any] = {"S": "x"}
    for _ in range(30):
        deep = {"L": [deep]}
    table.put("2", a=deep, m={"M": {"x": {"M": {}}}})
    with pytest.raises(ClientError) as caught:
        table.update("2", "SET m.x.y = a", None)
    refused(caught.value, "ValidationException", "Nesting Levels have exceeded supported limits")


@pytest.mark.parametrize("operation", ["get_item", "delete_item", "update_item"])
def test_keys_that_do_not_match_the_schema(table: Table, operation: str) -> None:
    message = "The provided key element does not match the schema"
    for wrong in ({"pk": {"S": "a"}}, {**key(), "x": {"S": "a"}}, {"pk": {"S": "a"}, "sk": {"N": "1"}}):
        table.fails(operation, "ValidationException", message, Key=wrong)


@pytest.mark.parametrize(
    ("operation", "expression"),
    [
        ("get_item", {"ProjectionExpression": "a,,b"}),
        ("delete_item", {"ConditionExpression": "a ="}),
        ("update_item", {"UpdateExpression": "SET a ="}),
        ("update_item", {"UpdateExpression": "SET a = :x"}),
        ("update_item", {"UpdateExpression": "REMOVE a", "ConditionExpression": "a ="}),
    ],
)
def test_expressions_are_at_fault_before_the_key(table: Table, operation: str, expression: dict[str, str]) -> None:
    for wrong in ({"pk": {"S": "a"}}, {"pk": {"S": "a"}, "sk": {"N": "1"}}, key("")):
        table.fails(operation, "ValidationException", "Expression: ", Key=wrong, **expression)


def test_a_table_that_is_not_there(table: Table) -> None:
    missing = "Table: missing not found. The endpoint's own table is ddb-mcp-local"
    with pytest.raises(ClientError) as caught:
        table.client.get_item(TableName="missing", Key=key())
    refused(caught.value, "ResourceNotFoundException", missing)
    with pytest.raises((ClientError, ParamValidationError)):
        table.client.get_item(TableName="", Key=key())
    arn = table.call("describe_table")["Table"]["TableArn"]
    assert "Item" not in table.client.get_item(TableName=arn, Key=key())
