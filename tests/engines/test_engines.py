"""The engines and the fault proxy do what other tests rely on, and where engines differ from DynamoDB is on record.

Differences that no test here can show, because all three engines share them or because showing one ends the engine:

- DynamoDB refuses to enable TTL where it is enabled (ValidationException); none of the engines does.
- DynamoDB refuses an `IN` of more than 100 operands; none of the engines does.
- dynoxide ends when a placeholder's name in a projection has a multi-byte character.
- ministack does not know the condition key `dynamodb:LeadingKeys` and does not check signatures, only access keys.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from tests.support import engines
from tests.support.engines import Engine, client_options, running
from tests.support.faults import Answer, Cut, FaultProxy, Silence, dynamodb_error, throttled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.extended


def key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


class Table:
    """A new table on an engine, with the calls these tests repeat."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.create_table()
        self.client = engine.client()

    def put(self, pk: str, sk: str, **attributes: Any) -> None:
        self.client.put_item(TableName=self.name, Item={**key(pk, sk), **attributes})

    def get(self, pk: str, sk: str) -> dict[str, Any]:
        return self.client.get_item(TableName=self.name, Key=key(pk, sk), ConsistentRead=True)["Item"]

    def query(self, pk: str, condition: str = "", value: str = "", **parameters: Any) -> list[str]:
        """The sort keys in `pk`; `condition`: one more of the key condition, over `#s` and `:s`."""
        answer = self.client.query(
            TableName=self.name,
            KeyConditionExpression=f"#p = :p {condition}",
            ExpressionAttributeNames={"#p": "pk", **({"#s": "sk"} if condition else {})},
            ExpressionAttributeValues={":p": {"S": pk}, **({":s": {"S": value}} if condition else {})},
            **parameters,
        )
        return [item["sk"]["S"] for item in answer["Items"]]

    def scan(self, **parameters: Any) -> list[tuple[str, str]]:
        answer = self.client.scan(TableName=self.name, ConsistentRead=True, **parameters)
        assert "LastEvaluatedKey" not in answer
        return [(item["pk"]["S"], item["sk"]["S"]) for item in answer["Items"]]


@pytest.fixture
def table(engine: Engine) -> Table:
    return Table(engine)


# What every engine does


def test_a_table_takes_gives_and_finds_items(table: Table) -> None:
    for sk in ("b", "a", "é", "\N{GRINNING FACE}", "\uffff"):
        table.put("user#1", sk, n={"N": "1.50"})
    table.put("user#2", "x")
    assert table.get("user#1", "é") == {**key("user#1", "é"), "n": {"N": "1.5"}}
    assert table.query("user#1") == ["a", "b", "é", "\uffff", "\N{GRINNING FACE}"]  # by UTF-8 bytes
    assert table.query("user#1", "AND begins_with(#s, :s)", "a") == ["a"]


def test_the_endpoint_is_on_loopback(engine: Engine) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", engine.endpoint)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("100", "100"),
        ("1E2", "100"),
        ("1.0", "1"),
        ("-0", "0"),
        ("-1E-5", "-0.00001"),
        ("1E-130", "0." + "0" * 129 + "1"),
        ("9E125", "9" + "0" * 125),
    ],
)
def test_numbers_come_back_in_plain_decimal_without_needless_zeros(table: Table, sent: str, stored: str) -> None:
    table.put("p", "s", n={"N": sent})
    assert table.get("p", "s")["n"] == {"N": stored}


@pytest.mark.parametrize("number", ["1E126", "1E-131", "123456789012345678901234567890123456789", "NaN"])
def test_numbers_out_of_range_are_refused(table: Table, number: str) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        table.put("p", "s", n={"N": number})


def test_empty_values_are_stored(table: Table) -> None:
    odd = {"s": {"S": ""}, "b": {"B": b""}, "m": {"M": {}}, "l": {"L": []}, "ss": {"SS": [""]}}
    table.put("p", "s", **odd)
    assert table.get("p", "s") == {**key("p", "s"), **odd}


def test_capacity_is_reported(table: Table) -> None:
    table.put("p", "s")
    answer = table.client.scan(TableName=table.name, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"]["CapacityUnits"] > 0


@pytest.fixture
def filled(table: Table) -> Table:
    for number in range(60):
        table.put(f"p{number % 15}", f"s{number:02}")
    return table


def test_a_listing_goes_on_after_any_key_stored_deleted_or_not(filled: Table) -> None:
    every = filled.scan()
    assert filled.scan(ExclusiveStartKey=key(*every[20])) == every[21:]
    filled.client.delete_item(TableName=filled.name, Key=key(*every[20]))
    assert filled.scan(ExclusiveStartKey=key(*every[20])) == every[21:]
    assert filled.query("p3", ExclusiveStartKey=key("p3", "s20")) == ["s33", "s48"]
    assert filled.query("p3", ExclusiveStartKey=key("p3", "s20"), ScanIndexForward=False) == ["s18", "s03"]


def test_segments_part_a_scan_and_go_on_after_any_key_of_theirs(filled: Table) -> None:
    segments = [filled.scan(Segment=segment, TotalSegments=4) for segment in range(4)]
    assert sorted(itertools.chain(*segments)) == sorted(filled.scan())
    segment, items = max(enumerate(segments), key=lambda pair: len(pair[1]))
    for position, item in enumerate(items):
        after = filled.scan(Segment=segment, TotalSegments=4, ExclusiveStartKey=key(*item))
        assert after == items[position + 1 :]


# Where one differs from DynamoDB


@pytest.mark.deviates("dynoxide", reason="finds nothing in a segment after a deleted key", raises=AssertionError)
def test_a_segment_goes_on_after_a_deleted_key(filled: Table) -> None:
    every = filled.scan(Segment=0, TotalSegments=1)
    filled.client.delete_item(TableName=filled.name, Key=key(*every[20]))
    assert filled.scan(Segment=0, TotalSegments=1, ExclusiveStartKey=key(*every[20])) == every[21:]


@pytest.mark.deviates("dynoxide", reason="begins_with ignores ASCII case in a key condition", raises=AssertionError)
def test_begins_with_heeds_case(table: Table) -> None:
    table.put("p", "Order")
    assert table.query("p", "AND begins_with(#s, :s)", "order") == []


@pytest.mark.deviates("dynalite", reason="does not know ReturnValuesOnConditionCheckFailure", raises=KeyError)
def test_a_failed_condition_returns_the_stored_item(table: Table) -> None:
    table.put("p", "s", n={"N": "1"})
    with pytest.raises(ClientError) as caught:
        table.client.put_item(
            TableName=table.name,
            Item=key("p", "s"),
            ConditionExpression="attribute_not_exists(#p)",
            ExpressionAttributeNames={"#p": "pk"},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    response: dict[str, Any] = dict(caught.value.response)
    assert response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert response["Item"] == {**key("p", "s"), "n": {"N": "1"}}


@pytest.mark.deviates("dynalite", reason="has no UpdateTimeToLive", raises=ClientError)
def test_ttl_can_be_enabled(table: Table) -> None:
    before = table.client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
    assert before == {"TimeToLiveStatus": "DISABLED"}
    wanted = {"Enabled": True, "AttributeName": "ttl"}
    table.client.update_time_to_live(TableName=table.name, TimeToLiveSpecification=wanted)  # type: ignore[arg-type]
    after = table.client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
    assert after == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}


@pytest.mark.deviates("dynalite", reason="forgets the tags that a table is made with", raises=AssertionError)
def test_a_table_is_made_with_tags(table: Table) -> None:
    made = table.client.create_table(
        TableName=f"{table.name}-tagged",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": "made-by", "Value": "tests"}],
    )
    tags = table.client.list_tags_of_resource(ResourceArn=made["TableDescription"]["TableArn"])["Tags"]
    assert tags == [{"Key": "made-by", "Value": "tests"}]


NO_ERROR = pytest.fail.Exception


@pytest.mark.deviates("dynalite", reason="counts characters, not bytes", raises=NO_ERROR)
@pytest.mark.parametrize(
    ("pk", "sk", "text"),
    [("é" * 1024 + "x", "s", ""), ("p", "é" * 512 + "x", ""), ("p", "s", "é" * 205_000)],
    ids=["pk", "sk", "item"],
)
def test_limits_count_bytes(table: Table, pk: str, sk: str, text: str) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        table.put(pk, sk, text={"S": text})


def test_an_item_may_have_400_kb_and_no_more(table: Table) -> None:
    table.put("p", "s", t={"S": "x" * (409_600 - len("pkpskst"))})
    with pytest.raises(ClientError, match="Item size has exceeded the maximum allowed size"):
        table.put("p", "s", t={"S": "x" * (409_600 - len("pkpskst") + 1)})


@pytest.mark.deviates("dynalite", reason="has no limit on nesting", raises=NO_ERROR)
def test_a_value_may_lie_in_31_maps_and_no_more(table: Table) -> None:
    value: dict[str, Any] = {"S": "deep"}
    for _ in range(31):
        value = {"M": {"a": value}}
    table.put("p", "s", a=value)
    with pytest.raises(ClientError, match="Nesting Levels have exceeded supported limits"):
        table.put("p", "s", a={"M": {"a": value}})


@pytest.mark.deviates("dynalite", reason="has no limit on expressions", raises=NO_ERROR)
def test_an_expression_over_4_kb_is_refused(table: Table) -> None:
    with pytest.raises(ClientError, match="Expression size has exceeded the maximum allowed size"):
        table.scan(
            FilterExpression=" AND ".join(["#a <> :a"] * 400),
            ExpressionAttributeNames={"#a": "a"},
            ExpressionAttributeValues={":a": {"S": ""}},
        )


@pytest.mark.deviates("dynoxide", "dynalite", reason="take an empty bound for a sort key", raises=NO_ERROR)
def test_an_empty_bound_for_a_key_is_refused(table: Table) -> None:
    with pytest.raises(ClientError, match="cannot contain an empty string value"):
        table.query("p", "AND #s >= :s", "")


@pytest.mark.deviates("ministack", reason="filters a query by key attributes", raises=NO_ERROR)
def test_a_query_is_not_filtered_by_key_attributes(table: Table) -> None:
    with pytest.raises(ClientError, match="can only contain non-primary key attributes"):
        table.client.query(
            TableName=table.name,
            KeyConditionExpression="#p = :p",
            FilterExpression="#s = :p",
            ExpressionAttributeNames={"#p": "pk", "#s": "sk"},
            ExpressionAttributeValues={":p": {"S": "p"}},
        )


@pytest.mark.deviates("dynoxide", reason="starts a query at a key of another partition", raises=NO_ERROR)
def test_a_query_does_not_start_at_a_foreign_key(filled: Table) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        filled.query("p3", ExclusiveStartKey=key("p4", "s04"))


@pytest.mark.deviates("dynoxide", "ministack", reason="start a segment at a key of another", raises=NO_ERROR)
def test_a_segment_does_not_start_at_a_foreign_key(filled: Table) -> None:
    first, second = [
        (segment, items[0]) for segment in range(4) if (items := filled.scan(Segment=segment, TotalSegments=4))
    ][:2]
    with pytest.raises(ClientError, match="ValidationException"):
        filled.scan(Segment=first[0], TotalSegments=4, ExclusiveStartKey=key(*second[1]))


@pytest.mark.deviates("dynoxide", "ministack", reason="take a path through nothing as nothing to do", raises=NO_ERROR)
def test_an_update_refuses_a_path_that_is_not_there(table: Table) -> None:
    table.put("p", "s")
    with pytest.raises(ClientError, match="invalid for update"):
        table.client.update_item(
            TableName=table.name,
            Key=key("p", "s"),
            UpdateExpression="REMOVE #a.#b",
            ExpressionAttributeNames={"#a": "a", "#b": "b"},
        )


# What only ministack has


def make_role(ministack: Engine, *allowed: str) -> str:
    """The ARN of a new role that anyone may assume, Lambda included, and that may do the `allowed` actions."""
    iam = boto3.client("iam", endpoint_url=ministack.endpoint, **client_options())
    name = f"role-{uuid.uuid4().hex[:12]}"
    principal = {"AWS": "*", "Service": "lambda.amazonaws.com"}
    trust = policy({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
    role: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    document = policy({"Effect": "Allow", "Action": list(allowed), "Resource": "*"})
    iam.put_role_policy(RoleName=name, PolicyName="allowed", PolicyDocument=document)
    return role


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def handler_zip(tmp_path: Path) -> bytes:
    source = "exports.handler = async () => ({ table: process.env.DYNAMODB_TABLE, other: process.env.OTHER });"
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("index.js", source)
    return (tmp_path / "code.zip").read_bytes()


def test_a_lambda_function_is_changed_at_the_revision_that_was_read(ministack: Engine, handler_zip: bytes) -> None:
    engines.require("node")
    functions = boto3.client("lambda", endpoint_url=ministack.endpoint, **client_options())
    functions.create_function(
        FunctionName="handler",
        Runtime="nodejs22.x",
        Role=make_role(ministack, "dynamodb:*"),
        Handler="index.handler",
        Code={"ZipFile": handler_zip},
        Environment={"Variables": {"OTHER": "kept"}},
    )
    read = functions.get_function_configuration(FunctionName="handler")["RevisionId"]
    variables = {"OTHER": "kept", "DYNAMODB_TABLE": "t"}
    functions.update_function_configuration(
        FunctionName="handler", Environment={"Variables": variables}, RevisionId=read
    )
    with pytest.raises(ClientError, match="PreconditionFailedException"):
        functions.update_function_configuration(FunctionName="handler", Environment={}, RevisionId=read)
    assert json.loads(functions.invoke(FunctionName="handler")["Payload"].read()) == {"table": "t", "other": "kept"}


def test_an_assumed_role_may_do_what_its_session_policy_allows(ministack: Engine) -> None:
    name = ministack.create_table()
    role = make_role(ministack, "dynamodb:*")
    sts = boto3.client("sts", endpoint_url=ministack.endpoint, **client_options())
    reading = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*"}
    session = sts.assume_role(RoleArn=role, RoleSessionName="session", Policy=policy(reading))["Credentials"]
    credentials = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    client = boto3.client("dynamodb", endpoint_url=ministack.endpoint, **{**client_options(), **credentials})
    assert "Item" not in client.get_item(TableName=name, Key=key("p", "s"))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        client.put_item(TableName=name, Item=key("p", "s"))


def test_an_unknown_access_key_is_refused(ministack: Engine) -> None:
    options = {**client_options(), "aws_access_key_id": "unknown"}
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        boto3.client("dynamodb", endpoint_url=ministack.endpoint, **options).list_tables()


# Starting and ending


def test_an_engine_ends_with_the_tests_however_they_end(tmp_path: Path) -> None:
    engines.require("engines")
    killed = f"""if True:
        import os, pathlib, signal
        from tests.support.engines import running
        with running("dynoxide", pathlib.Path({str(tmp_path)!r})) as engine:
            print(engine.endpoint, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", killed], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    address = urlsplit(ended.stdout.strip())
    for _ in range(500):
        try:
            socket.create_connection((address.hostname, address.port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    pytest.fail("the engine is still there")


def test_an_engine_takes_another_port_if_its_port_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = iter([other.getsockname()[1], engines._free_port()])
        monkeypatch.setattr(engines, "_free_port", lambda: next(ports))
        with running("dynoxide", tmp_path) as engine:
            assert engine.client().list_tables()["TableNames"] == []


@pytest.mark.parametrize(("ci", "outcome"), [(True, pytest.fail.Exception), (False, pytest.skip.Exception)])
def test_a_missing_engine_fails_in_ci_and_skips_elsewhere(
    ci: bool, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "CI", ci)
    monkeypatch.setattr(engines, "HOME", tmp_path)
    with pytest.raises(outcome, match="make engines"), running("ministack", tmp_path):
        pass


# The fault proxy


@pytest.fixture
def proxy(dynoxide: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(dynoxide.endpoint) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy, dynoxide: Engine) -> DynamoDBClient:
    return dynoxide.client(proxy.endpoint)


@contextlib.contextmanager
def listing(proxy: FaultProxy, timeout: float = 10) -> Iterator[http.client.HTTPConnection]:
    """A plain connection on which ListTables has been sent."""
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, "
    headers |= {"Authorization": authorization + "SignedHeaders=host, Signature=0", "X-Amz-Date": "20260101T000000Z"}
    connection = http.client.HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("POST", "/", b"{}", headers)
        yield connection


def test_without_a_fault_all_passes_over_one_connection(client: DynamoDBClient, proxy: FaultProxy) -> None:
    assert [client.list_tables()["ResponseMetadata"]["HTTPStatusCode"] for _ in range(3)] == [200, 200, 200]
    assert proxy.count("ListTables") == 3
    assert proxy.connections == 1
    assert {request.body for request in proxy.requests} == {b"{}"}


def test_planned_answers_come_in_order_and_then_the_upstream(client: DynamoDBClient, proxy: FaultProxy) -> None:
    proxy.plan(throttled(), times=2)
    proxy.plan(dynamodb_error("InternalServerError", 500))
    for code in ("ProvisionedThroughputExceededException",) * 2 + ("InternalServerError",):
        with pytest.raises(ClientError, match=code):
            client.list_tables()
    client.list_tables()
    assert proxy.connections == 1


def test_a_fault_for_one_operation_spares_the_others(client: DynamoDBClient, proxy: FaultProxy) -> None:
    proxy.plan(throttled(), on="DescribeTable")
    client.list_tables()
    with pytest.raises(ClientError, match="ProvisionedThroughputExceededException"):
        client.describe_table(TableName="any")


def test_retries_can_be_counted(proxy: FaultProxy) -> None:
    proxy.plan(throttled(), times=2)
    options = {**client_options(), "config": Config(retries={"mode": "standard", "total_max_attempts": 3})}
    boto3.client("dynamodb", endpoint_url=proxy.endpoint, **options).list_tables()
    assert proxy.count("ListTables") == 3


def test_an_answer_can_be_anything(proxy: FaultProxy) -> None:
    proxy.plan(Answer(503, b"<html>busy</html>", {"Content-Type": "text/html", "Retry-After": "7"}))
    with listing(proxy) as connection:
        response = connection.getresponse()
        assert response.read() == b"<html>busy</html>"
    assert (response.status, response.headers["Retry-After"]) == (503, "7")


def test_refused_connections(client: DynamoDBClient, proxy: FaultProxy) -> None:
    client.list_tables()
    proxy.refuse()  # the open connection too
    with pytest.raises(EndpointConnectionError):
        client.list_tables()
    proxy.accept()
    client.list_tables()


def test_silence(proxy: FaultProxy, dynoxide: Engine) -> None:
    proxy.plan(Silence())
    options = {**client_options(), "config": Config(retries={"total_max_attempts": 1}, read_timeout=0.2)}
    client = boto3.client("dynamodb", endpoint_url=proxy.endpoint, **options)
    with pytest.raises(ReadTimeoutError):
        client.create_table(
            TableName="never",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    assert "never" not in dynoxide.client().list_tables()["TableNames"]
    boto3.client("dynamodb", endpoint_url=proxy.endpoint, **client_options()).list_tables()


def test_an_answer_cut_short(proxy: FaultProxy) -> None:
    proxy.plan(Cut(-1))
    with listing(proxy) as connection:
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_a_reset_in_mid_answer(proxy: FaultProxy, client: DynamoDBClient) -> None:
    proxy.plan(Cut(20, "reset"), times=2)
    with listing(proxy) as connection, pytest.raises(ConnectionResetError):
        connection.getresponse()
    with pytest.raises(HTTPClientError):
        client.list_tables()


@pytest.mark.parametrize("fault", [Cut(0), Cut(0, "reset")], ids=["closed", "reset"])
def test_a_lost_answer_to_a_write_that_was_done(
    fault: Cut, client: DynamoDBClient, proxy: FaultProxy, dynoxide: Engine
) -> None:
    name = dynoxide.create_table()
    proxy.plan(fault, on="PutItem")
    with pytest.raises(ConnectionClosedError):
        client.put_item(TableName=name, Item=key("p", "s"))
    assert client.get_item(TableName=name, Key=key("p", "s"))["Item"] == key("p", "s")


def test_an_answer_that_stops_in_the_middle(proxy: FaultProxy) -> None:
    proxy.plan(Cut(-1, "hang"))
    with listing(proxy, timeout=1) as connection:
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(TimeoutError):
            response.read()
