"""Web pages, other machines, and bodies that no SDK sends: each gets DynamoDB's error, and none a 500."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.keys import Key
from ddb_mcp.endpoint import app as endpoint_app
from ddb_mcp.endpoint import shapes
from ddb_mcp.endpoint.app import Endpoint
from ddb_mcp.endpoint.errors import EndpointError
from ddb_mcp.endpoint.requests import EndpointAccess, EndpointRequest
from ddb_mcp.endpoint.tables import Tables
from ddb_mcp.endpoint.values import read_value
from ddb_mcp.stores.local import table
from ddb_mcp.stores.local.table import LocalTable
from ddb_mcp.stores.workers import current_account, run_in_worker
from ddb_mcp.web.listening import listen
from ddb_mcp.web.serving import HttpServer
from tests.endpoint.raw import AUTHORIZATION, ask, fails
from tests.endpoint.support import Table, key
from tests.support.engines import Engine
from tests.support.faults import slow_bodies
from tests.support.strategies import examples
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# Who may ask


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1:8000", ""])
def test_a_foreign_host_is_refused(endpoint: Engine, host: str) -> None:
    status, answer = ask(endpoint, "ListTables", {}, headers={"Host": host})
    assert (status, answer["__type"].rpartition("#")[2]) == (403, "AccessDeniedException")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:9", "[::1]:8000"])
def test_this_machine_may_ask(endpoint: Engine, host: str) -> None:
    assert ask(endpoint, "ListTables", {}, headers={"Host": host})[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_a_web_page_is_refused(endpoint: Engine, origin: str) -> None:
    headers: dict[str, str | None] = {"Origin": origin}
    assert "web pages" in fails(endpoint, "AccessDeniedException", "ListTables", {}, headers=headers)
    status, _ = ask(endpoint, "", b"", headers=headers, method="OPTIONS")
    assert status == 403


def test_without_a_signature(endpoint: Engine) -> None:
    assert fails(endpoint, "MissingAuthenticationTokenException", "ListTables", {}, headers={"Authorization": None})
    for wrong in ("Bearer x", "AWS4-HMAC-SHA256 x"):
        assert fails(endpoint, "IncompleteSignatureException", "ListTables", {}, headers={"Authorization": wrong})


@pytest.mark.parametrize(
    "target", [None, "", "ListTables", "DynamoDB_20111205.ListTables", "DynamoDB_20120810.Nothing"]
)
def test_without_a_target(endpoint: Engine, target: str | None) -> None:
    assert fails(endpoint, "UnknownOperationException", "", {}, headers={"X-Amz-Target": target})


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/tables"), ("PUT", "/"), ("DELETE", "/x")])
def test_other_requests(endpoint: Engine, method: str, path: str) -> None:
    assert ask(endpoint, "ListTables", b"", method=method, path=path)[0] == 404


# What is asked


DEEP = b'{"TableName":"t","Item":' + b'{"M":{"a":' * 100_000
BODIES = [b"", b"null", b"[]", b'"x"', b"{", b'{"a":}', b"\xff\xfe", b'{"TableName":"\xff"}', b"NaN", b"[" * 100_000]
BODIES += [DEEP, b'{"TableName": "t\\ud800"}', b'{"TableName": NaN}', b'{"Limit": 1e999}', b"1" * 5000]
BODIES += [b'{"Limit":' + b"9" * 5000]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("operation", ["PutItem", "ListTables", "TransactWriteItems"])
def test_bodies_that_are_no_request(endpoint: Engine, operation: str, body: bytes) -> None:
    status, answer = ask(endpoint, operation, body)
    if operation == "ListTables" and body == b"":
        assert status == 200
    else:
        assert (status, answer["__type"].rpartition("#")[2]) in (
            (400, "SerializationException"),
            (400, "ValidationException"),
        )


def test_a_body_of_20_mb(endpoint: Engine) -> None:
    status, answer = ask(endpoint, "PutItem", b"x" * 20_000_000)
    assert (status, answer["__type"].rpartition("#")[2]) == (413, "RequestEntityTooLargeException")


SHAPES: list[tuple[str, dict[str, Any], str]] = [
    ("GetItem", {}, "Value null at 'tableName' failed to satisfy constraint: Member must not be null"),
    ("GetItem", {"TableName": "table", "Key": None}, "Value null at 'key'"),
    ("GetItem", {"TableName": 5, "Key": {}}, "NUMBER_VALUE cannot be converted to String"),
    ("GetItem", {"TableName": "table", "Key": []}, "START_ARRAY"),
    ("Scan", {"TableName": "table", "Limit": 0}, "greater than or equal to 1"),
    ("Scan", {"TableName": "table", "Limit": "1"}, "STRING_VALUE"),
    ("Scan", {"TableName": "table", "Limit": True}, "cannot be converted"),
    ("Scan", {"TableName": "table", "Select": "ALL"}, "Member must satisfy enum value set"),
    ("BatchGetItem", {"RequestItems": {}}, "The requestItems parameter is required"),
    ("TransactWriteItems", {"TransactItems": []}, "greater than or equal to 1"),
    ("ListTables", {"Limit": 101}, "less than or equal to 100"),
]


@pytest.mark.parametrize(("operation", "body", "message"), SHAPES, ids=range(len(SHAPES)))
def test_requests_of_the_wrong_shape(endpoint: Engine, operation: str, body: dict[str, Any], message: str) -> None:
    is_a_type = any(word in message for word in ("convert", "START", "VALUE"))
    kind = "SerializationException" if is_a_type else "ValidationException"
    assert message in fails(endpoint, kind, operation, body)


VALUES: list[tuple[Any, str, str]] = [
    ({}, "ValidationException", "Supplied AttributeValue is empty"),
    ({"S": None}, "ValidationException", "Supplied AttributeValue is empty"),
    ({"X": "x"}, "ValidationException", "Supplied AttributeValue is empty"),
    ({"S": "x", "N": "1"}, "ValidationException", "more than one datatypes set"),
    ("x", "SerializationException", ""),
    (None, "SerializationException", ""),
    ({"S": 5}, "SerializationException", ""),
    ({"N": 5}, "SerializationException", ""),
    ({"BOOL": "true"}, "SerializationException", ""),
    ({"L": {}}, "SerializationException", ""),
    ({"M": []}, "SerializationException", ""),
    ({"SS": "x"}, "SerializationException", ""),
    ({"SS": [5]}, "SerializationException", ""),
    ({"B": "no base64!"}, "SerializationException", "Base64"),
    ({"N": "1" * 100_000}, "ValidationException", "38 significant digits"),
    ({"N": "1E" + "9" * 10_000}, "ValidationException", ""),
    ({"N": " 1"}, "ValidationException", "cannot be converted to a numeric value"),
    ({"N": "٣"}, "ValidationException", "cannot be converted to a numeric value"),
    ({"N": "Infinity"}, "ValidationException", "cannot be converted to a numeric value"),
]


@pytest.mark.parametrize(("value", "kind", "message"), VALUES, ids=range(len(VALUES)))
def test_values_that_are_none(table: Table, endpoint: Engine, value: Any, kind: str, message: str) -> None:
    body = {"TableName": table.name, "Item": {**key(), "v": value}}
    assert message in fails(endpoint, kind, "PutItem", body)
    if kind == "ValidationException":
        scan = {"TableName": table.name, "FilterExpression": "a = :v", "ExpressionAttributeValues": {":v": value}}
        assert message in fails(endpoint, kind, "Scan", scan)


@pytest.mark.parametrize("digit", ["1", "0", "x", ".", "1E"])
def test_a_long_number_is_refused_by_its_length(digit: str) -> None:
    text = digit * 5_000_000
    for value in ({"N": text}, {"NS": ["1", text]}, {"L": [{"M": {"a": {"N": text}}}]}):
        tracemalloc.start()
        try:
            with pytest.raises(EndpointError):
                read_value(value)
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


WIDE = {"v": {"L": [{"BOOL": True}] * 200_000}}


def test_a_request_has_a_bounded_number_of_members(endpoint: Engine, table: Table) -> None:
    table.put("widest", **WIDE)
    for many in (b"[]," * 300_001, b"{}," * 300_001, b"1," * 600_001, b'"",' * 600_001):
        body = b'{"TableName":"table","Item":{"a":[' + many + b"1]}}"
        assert "at most 600000 members" in fails(endpoint, "ValidationException", "PutItem", body)
    text = {"TableName": table.name, "Item": {**key("commas"), "v": {"S": ",[{" * 100_000}}}
    assert ask(endpoint, "PutItem", text)[0] == 200


def test_what_a_request_reads_has_a_bounded_number_of_members(endpoint: Engine, table: Table) -> None:
    keys = [key(str(at)) for at in range(4)]
    for each in keys:
        put = {"TableName": table.name, "Item": {**each, **WIDE}}
        assert ask(endpoint, "PutItem", put)[0] == 200  # boto3 takes five times as long
    sorts = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": key()["pk"]}}
    for operation, named in {"Scan": {}, "Query": sorts}.items():
        page = ask(endpoint, operation, {"TableName": table.name, **named})[1]
        assert page["Count"] == 1
        assert page["LastEvaluatedKey"] == key("0")
    gets = [{"Get": {"TableName": table.name, "Key": each}} for each in keys]
    message = fails(endpoint, "ValidationException", "TransactGetItems", {"TransactItems": gets})
    assert "more than 600000 members" in message
    deletes = [{"Delete": {"TableName": table.name, "Key": each}} for each in keys]
    message = fails(endpoint, "ValidationException", "TransactWriteItems", {"TransactItems": deletes})
    assert "more than 600000 members" in message
    got = ask(endpoint, "BatchGetItem", {"RequestItems": {table.name: {"Keys": keys}}})[1]
    assert len(got["Responses"][table.name]) == 4
    puts = [{"PutRequest": {"Item": each}} for each in keys]
    assert ask(endpoint, "BatchWriteItem", {"RequestItems": {table.name: puts}}) == (200, {"UnprocessedItems": {}})


def test_a_transaction_that_fails_answers_with_a_bounded_number_of_stored_bytes(endpoint: Engine, table: Table) -> None:
    keys = [key(str(at)) for at in range(21)]
    for each in keys:
        table.call("put_item", Item={**each, "v": {"S": "x" * 409_000}})
    check = {"TableName": table.name, "ConditionExpression": "attribute_not_exists(v)"}
    check["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    checks = [{"ConditionCheck": {**check, "Key": each}} for each in keys]
    message = fails(endpoint, "ValidationException", "TransactWriteItems", {"TransactItems": checks})
    assert "8388608 characters together" in message
    _, answer = ask(endpoint, "TransactWriteItems", {"TransactItems": checks[:9]})
    assert len(answer["CancellationReasons"]) == 9


def test_items_of_a_transaction_that_are_long_together_are_read_in_the_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_worker: list[object] = []

    async def counted(work: Callable[[], Any], **options: Any) -> Any:
        in_worker.append(work)
        return await run_in_worker(work, **options)

    monkeypatch.setattr(table, "run_in_worker", counted)

    async def read(count: int) -> int:
        store = LocalTable(tmp_path / "items.sqlite3")
        items = {Key.of(item): item for item in ({**key(str(at)), "v": {"S": "x" * 40_000}} for at in range(count))}
        await store.change([], lambda stored: (items, None))
        texts = await store.items(list(items), lambda stored: [item["v"]["S"] for item in stored.values() if item])
        await store.close()
        return len(texts)

    assert anyio.run(read, 1) == 1
    assert not in_worker
    assert anyio.run(read, 2) == 2
    assert len(in_worker) == 1


class Unread(list[Any]):
    """A list that may be measured, and whose entries nobody may look at."""

    def __iter__(self) -> Any:
        raise AssertionError


LISTS: list[tuple[str, dict[str, Any]]] = [
    ("TransactWriteItems", {"TransactItems": Unread([{}] * 101)}),
    ("BatchGetItem", {"RequestItems": {"table": {"Keys": Unread([{}] * 101)}}}),
    ("BatchWriteItem", {"RequestItems": {"table": Unread([{}] * 26)}}),
    ("TagResource", {"ResourceArn": "arn", "Tags": Unread([{}] * 101)}),
    ("UntagResource", {"ResourceArn": "arn", "TagKeys": Unread(["a"] * 101)}),
    ("CreateTable", {"TableName": "table", "KeySchema": Unread([{}] * 101)}),
]


@pytest.mark.parametrize(("operation", "body"), LISTS, ids=range(len(LISTS)))
def test_a_list_that_is_too_long_is_not_looked_into(operation: str, body: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match="have length less than or equal to"):
        shapes.check_request(operation, body)


@pytest.mark.parametrize("kind", ["Names", "Values"])
def test_placeholders_that_no_expression_has_room_for(kind: str) -> None:
    body = {"TableName": "table", f"ExpressionAttribute{kind}": {f"#{number}": 5 for number in range(6145)}}
    with pytest.raises(EndpointError, match="have length less than or equal to 6144"):
        shapes.check_request("Scan", body)


def test_ten_problems_are_enough() -> None:
    with pytest.raises(EndpointError) as caught:
        shapes.check_request("TagResource", {"ResourceArn": "arn", "Tags": [None] * 100})
    assert caught.value.message.count("failed to satisfy") == 10


def test_unknown_members_are_forgotten() -> None:
    assert shapes.check_request("ListTables", {"Limit": 5, "ExclusiveStartTableName": None, "x": 1}) == {"Limit": 5}


def test_each_connection_has_its_own_turns(tmp_path: Path) -> None:
    async def owner() -> str:
        async def unused(*_: Any) -> Any: ...

        tables = Tables("items", tmp_path / "items.sqlite3")
        scope = {"type": "http", "method": "GET", "path": "/", "client": ("127.0.0.1", 5), "scheme": "http"}
        await Endpoint(tables, EndpointAccess())({**scope, "headers": [(b"host", b"localhost")]}, unused, unused)
        return current_account.get().owner

    assert anyio.run(owner) == "('127.0.0.1', 5)"


def test_keys_in_every_sign(table: Table) -> None:
    for text in ("\x00", "'; DROP TABLE items; --", "%", "_", "\u202e", "\U0010ffff", "\ufeff", "a" * 1024):
        table.put(text)
        assert table.get(text) == key(text)
    assert table.call("scan")["Count"] == 8


JUNK: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TABLE = {"TableName": "hostile"}
CONDITION = {"ConditionExpression": "#n = :v", "ExpressionAttributeNames": {"#n": "n"}}
CONDITION |= {"ExpressionAttributeValues": {":v": {"S": "x"}}}
ITEM = {**key(), "n": {"S": "x"}, "m": {"M": {"l": {"L": [{"N": "1"}, {"SS": ["a"]}]}}}}
UPDATE: dict[str, Any] = {**TABLE, "Key": key(), "UpdateExpression": "SET a = :v", "ReturnValues": "ALL_NEW"}
UPDATE |= {"ExpressionAttributeValues": {":v": {"S": "x"}}}
WRITES = [{"Put": {**TABLE, "Item": ITEM, **CONDITION}}, {"Update": {**UPDATE, "Key": key("2")}}]
WRITES += [{"Delete": {**TABLE, "Key": key("3")}}, {"ConditionCheck": {**TABLE, "Key": key("4"), **CONDITION}}]
SCHEMA = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
ATTRIBUTES = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
NEW = {**TABLE, "KeySchema": SCHEMA, "AttributeDefinitions": ATTRIBUTES, "BillingMode": "PAY_PER_REQUEST"}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {**TABLE, "Item": ITEM, **CONDITION}),
    ("GetItem", {**TABLE, "Key": key(), "ProjectionExpression": "n, m.l[0]"}),
    ("UpdateItem", UPDATE),
    ("DeleteItem", {**TABLE, "Key": key(), **CONDITION}),
    ("Query", {**TABLE, "KeyConditionExpression": "pk = :v", "ExpressionAttributeValues": {":v": {"S": "x"}}}),
    ("Scan", {**TABLE, "Limit": 5, "Segment": 0, "TotalSegments": 2, "ExclusiveStartKey": key()}),
    ("BatchGetItem", {"RequestItems": {"hostile": {"Keys": [key()], "ProjectionExpression": "n"}}}),
    ("BatchWriteItem", {"RequestItems": {"hostile": [{"PutRequest": {"Item": ITEM}}]}}),
    ("TransactWriteItems", {"TransactItems": WRITES, "ClientRequestToken": "token"}),
    ("TransactGetItems", {"TransactItems": [{"Get": {**TABLE, "Key": key()}}]}),
    ("CreateTable", {**NEW, "Tags": [{"Key": "a", "Value": "b"}]}),
    ("UpdateTimeToLive", {**TABLE, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}),
    ("ListTables", {"Limit": 5, "ExclusiveStartTableName": "hostile"}),
    ("TagResource", {"ResourceArn": "arn:aws:dynamodb:local:000000000000:table/hostile", "Tags": []}),
]


def places(value: Any) -> list[tuple[Any, ...]]:
    """Where something stands in a request: the steps to every value in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((step, *rest) for step, entry in inner for rest in places(entry))]


def replaced(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(value[place[0]], place[1:], junk)
    return copy


@pytest.fixture(scope="module")
def hostile(endpoint: Engine) -> Engine:
    """With the table that the requests name."""
    assert ask(endpoint, "CreateTable", NEW)[0] == 200
    for operation, body in REQUESTS:
        assert ask(endpoint, operation, body)[0] in (200, 400)
    return endpoint


@examples(200)
@given(data=st.data())
def test_no_body_makes_a_500(hostile: Engine, data: st.DataObject) -> None:
    operation, body = data.draw(st.sampled_from(REQUESTS))
    for _ in range(data.draw(st.integers(1, 2))):
        body = replaced(body, data.draw(st.sampled_from(places(body))), data.draw(JUNK))
    status, answer = ask(hostile, operation, body)
    assert status in (200, 400), answer


def test_a_client_that_leaves_and_one_that_is_silent(endpoint: Engine, table: Table) -> None:
    address = urlsplit(endpoint.endpoint)
    for part in (b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"):
        with socket.create_connection((address.hostname or "", address.port or 0)) as client:
            client.sendall(part)
    table.put("1")
    assert table.get("1") == key("1")


def test_slow_bodies_leave_connections_for_others(endpoint: Engine, table: Table) -> None:
    headers = {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Authorization": AUTHORIZATION}
    with slow_bodies(endpoint.endpoint, "/", headers):
        for _ in range(20):  # each is a connection of its own
            assert ask(endpoint, "GetItem", {"TableName": table.name, "Key": key()}) == (200, {})


def test_a_read_ends_with_its_client_and_a_write_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real connections to a real server. Two operations are replaced by ones that last until released."""
    began, ended, release = list[str](), list[str](), threading.Event()

    async def last(call: EndpointRequest) -> dict[str, Any]:
        began.append(call.operation)
        try:
            await anyio.to_thread.run_sync(release.wait, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            ended.append(f"{call.operation} cancelled")
            raise
        ended.append(call.operation)
        return {}

    for operation in ("GetItem", "DeleteItem"):
        monkeypatch.setitem(endpoint_app._OPERATIONS, operation, last)
    application = Endpoint(Tables("items", tmp_path / "items.sqlite3"), EndpointAccess(None))
    with listen("127.0.0.1", 0) as listener:
        server = HttpServer(application, listener)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            body = json.dumps({"TableName": "items", "Key": key()}).encode()
            for operation in ("GetItem", "DeleteItem"):
                with closing(http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1])) as client:
                    headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Authorization": AUTHORIZATION}
                    client.request("POST", "/", body, headers)
                    wait_until(lambda: began[-1:] == [operation])  # noqa: B023
            wait_until(lambda: ended == ["GetItem cancelled"])
            release.set()
            wait_until(lambda: ended == ["GetItem cancelled", "DeleteItem"])
        finally:
            server.stop()
            thread.join(PATIENCE)


def test_curl_is_answered(endpoint: Engine) -> None:
    command = [
        "curl",
        "-s",
        "-H",
        f"Authorization: {AUTHORIZATION}",
        "-H",
        "X-Amz-Target: DynamoDB_20120810.ListTables",
    ]
    done = subprocess.run([*command, "-d", "{}", endpoint.endpoint], capture_output=True, text=True, check=True)
    assert "TableNames" in json.loads(done.stdout)
