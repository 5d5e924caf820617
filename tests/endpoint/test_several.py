"""Batches and transactions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.endpoint.support import Table, key, refused
from tests.support.engines import client_options

if TYPE_CHECKING:
    from tests.support.engines import Engine

ONE = {":one": {"N": "1"}}


def transact(table: Table, *actions: dict[str, Any], **parameters: Any) -> Any:
    items = [{kind: {"TableName": table.name, **given} for kind, given in action.items()} for action in actions]
    return table.client.transact_write_items(TransactItems=items, **parameters)


def cancelled(table: Table, *actions: dict[str, Any]) -> list[dict[str, Any]]:
    with pytest.raises(ClientError) as caught:
        transact(table, *actions)
    response = refused(caught.value, "TransactionCanceledException", "Transaction cancelled, please refer cancellation")
    reasons: list[dict[str, Any]] = response["CancellationReasons"]
    return reasons


# Batches


def test_a_batch_writes_and_reads(table: Table) -> None:
    table.put("gone")
    writes: list[Any] = [{"PutRequest": {"Item": key(f"{at:02}")}} for at in range(24)]
    answer = table.client.batch_write_item(
        RequestItems={table.name: [*writes, {"DeleteRequest": {"Key": key("gone")}}]}, ReturnConsumedCapacity="TOTAL"
    )
    assert answer["UnprocessedItems"] == {}
    assert [found["CapacityUnits"] for found in answer["ConsumedCapacity"]] == [25]
    wanted = {"Keys": [key(f"{at:02}") for at in range(24)] + [key("gone")], "ProjectionExpression": "sk"}
    found = table.client.batch_get_item(RequestItems={table.name: wanted})
    assert sorted(item["sk"]["S"] for item in found["Responses"][table.name]) == [f"{at:02}" for at in range(24)]
    assert found["UnprocessedKeys"] == {}


def test_a_batch_over_two_tables(table: Table, endpoint: Engine) -> None:
    other = Table(endpoint)
    puts: list[Any] = [{"PutRequest": {"Item": key()}}]
    table.client.batch_write_item(RequestItems={table.name: puts, other.name: puts})
    found = table.client.batch_get_item(
        RequestItems={name: {"Keys": [key()]} for name in (table.name, other.name)}, ReturnConsumedCapacity="TOTAL"
    )
    assert found["Responses"] == {table.name: [key()], other.name: [key()]}
    assert {each["TableName"] for each in found["ConsumedCapacity"]} == {table.name, other.name}


def test_a_batch_gives_16_mb_and_names_the_rest(table: Table) -> None:
    for at in range(45):
        table.put(f"{at:02}", t={"S": "x" * 400_000})
    wanted = {"Keys": [key(f"{at:02}") for at in range(45)], "ConsistentRead": True}
    first = table.client.batch_get_item(RequestItems={table.name: wanted})
    rest: Any = first["UnprocessedKeys"]
    assert 40 <= len(first["Responses"][table.name]) < 45
    second = table.client.batch_get_item(RequestItems=rest)
    got = [item["sk"]["S"] for answer in (first, second) for item in answer["Responses"][table.name]]
    assert sorted(got) == [f"{at:02}" for at in range(45)]


def test_batches_that_are_refused(table: Table) -> None:
    def write(*requests: Any, code: str = "ValidationException", message: str) -> None:
        with pytest.raises(ClientError) as caught:
            table.client.batch_write_item(RequestItems={table.name: list(requests)})
        refused(caught.value, code, message)

    put: dict[str, Any] = {"PutRequest": {"Item": key()}}
    delete: dict[str, Any] = {"DeleteRequest": {"Key": key()}}
    write(put, delete, message="Provided list of item keys contains duplicates")
    many = [{"PutRequest": {"Item": key(f"{at}")}} for at in range(26)]
    write(*many, message=f"Value '{{{table.name}=[...]}}' at 'requestItems' failed to satisfy constraint: Map value")
    write(*many, message="length less than or equal to 25")
    write({**put, **delete}, message="must contain exactly one")
    write(put, {"PutRequest": {"Item": {"pk": {"S": "a"}}}}, message="does not match the schema")
    for keys, message in (([key(), key()], "duplicates"), ([key(f"{at}") for at in range(101)], "100")):
        with pytest.raises(ClientError) as caught:
            table.client.batch_get_item(RequestItems={table.name: {"Keys": keys}})
        refused(caught.value, "ValidationException", message)
    assert table.get("1") is None


# Transactions


def test_a_transaction_does_all(table: Table) -> None:
    table.put("1", n={"N": "1"})
    table.put("2")
    table.put("3")
    answer = transact(
        table,
        {"Update": {"Key": key("1"), "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": ONE}},
        {"Delete": {"Key": key("2")}},
        {"ConditionCheck": {"Key": key("3"), "ConditionExpression": "attribute_exists(pk)"}},
        {"Put": {"Item": key("4"), "ConditionExpression": "attribute_not_exists(pk)"}},
        ReturnConsumedCapacity="TOTAL",
    )
    assert [found["CapacityUnits"] for found in answer["ConsumedCapacity"]] == [8]
    gets: list[Any] = [{"Get": {"TableName": table.name, "Key": key(f"{at}")}} for at in (1, 2, 3, 4)]
    responses = table.client.transact_get_items(TransactItems=gets)["Responses"]
    assert [found.get("Item") for found in responses] == [{**key("1"), "n": {"N": "2"}}, None, key("3"), key("4")]


def test_a_cancelled_transaction_does_nothing_and_gives_its_reasons(table: Table) -> None:
    table.put("1", n={"N": "1"})
    check = {"Key": key("1"), "ConditionExpression": "n > :one", "ExpressionAttributeValues": ONE}
    reasons = cancelled(
        table,
        {"Put": {"Item": key("2")}},
        {"ConditionCheck": {**check, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}},
        {"Update": {"Key": key("3"), "UpdateExpression": "SET a = gone"}},
        {"Delete": {"Key": key("4"), "ConditionExpression": "attribute_exists(pk)"}},
    )
    assert [reason["Code"] for reason in reasons] == [
        "None",
        "ConditionalCheckFailed",
        "ValidationError",
        "ConditionalCheckFailed",
    ]
    assert reasons[1]["Item"] == {**key("1"), "n": {"N": "1"}}
    assert "Item" not in reasons[3]
    assert table.call("scan")["Count"] == 1


def test_transactions_that_are_refused(table: Table, endpoint: Engine) -> None:
    put: dict[str, Any] = {"Put": {"Item": key()}}
    other, arn = Table(endpoint), table.call("describe_table")["Table"]["TableArn"]
    wrong: list[tuple[list[dict[str, Any]], str]] = [
        ([put, {"Delete": {"Key": key()}}], "cannot include multiple operations on one item"),
        ([{**put, "Delete": {"Key": key("2")}}], "can only contain one of Check, Put, Update or Delete"),
        ([{}], "TransactWriteRequest should contain"),
        ([{"Put": {"Item": key(f"{at}")}} for at in range(101)], "length less than or equal to 100"),
        ([put, {"Delete": {"TableName": arn, "Key": key()}}], "cannot include multiple operations on one item"),
        ([put, {"Put": {"TableName": other.name, "Item": key()}}], "limited to one table"),
        ([{"Put": {"Item": {**key(f"{at}"), "t": {"S": "x" * 400_000}}}} for at in range(11)], "cannot exceed 4 MB"),
    ]
    for actions, message in wrong:
        with pytest.raises(ClientError) as caught:
            transact(table, *actions)
        refused(caught.value, "ValidationException", message)
    assert table.call("scan")["Count"] == 0


def test_a_token_does_a_transaction_once(table: Table) -> None:
    add = {"Update": {"Key": key(), "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": ONE}}
    transact(table, add, ClientRequestToken="token")
    again = transact(table, add, ClientRequestToken="token", ReturnConsumedCapacity="TOTAL")
    assert again["ConsumedCapacity"][0]["CapacityUnits"] == 2
    assert table.get("1")["n"] == {"N": "1"}
    with pytest.raises(ClientError) as caught:
        transact(table, {"Put": {"Item": key("2")}}, ClientRequestToken="token")
    refused(caught.value, "IdempotentParameterMismatchException", "same client token")
    transact(table, add, ClientRequestToken="another")
    assert table.get("1")["n"] == {"N": "2"}


def test_no_reader_sees_half_a_transaction(table: Table, endpoint: Engine) -> None:
    written, enough = 0, threading.Event()

    def write() -> None:
        nonlocal written
        client: Any = boto3.client("dynamodb", endpoint_url=endpoint.endpoint, **client_options())
        while not enough.is_set():
            item = {"n": {"N": str(written)}}
            client.transact_write_items(
                TransactItems=[{"Put": {"TableName": table.name, "Item": {**key(sk), **item}}} for sk in ("a", "b")]
            )
            written += 1

    gets: list[Any] = [{"Get": {"TableName": table.name, "Key": key(sk)}} for sk in ("a", "b")]
    reads = 0
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            while (written < 60 or reads < 60) and not writing.done():
                one, other = table.client.transact_get_items(TransactItems=gets)["Responses"]
                assert one.get("Item", {}).get("n") == other.get("Item", {}).get("n")
                reads += 1
        finally:
            enough.set()
        writing.result()
