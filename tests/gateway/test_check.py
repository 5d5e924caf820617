"""`gateway check` finds what would keep a gateway from serving, and writes nothing."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.direct.support import CREDENTIALS, aws
from tests.gateway.process import Operator
from tests.support.engines import Engine
from tests.support.faults import FaultProxy, dynamodb_error


@pytest.fixture
def proxy(dynoxide: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(dynoxide.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        yield proxy


def checked(operator: Operator, **settings: str) -> tuple[int, str]:
    done = operator.run("gateway", "check", "--port", "0", **settings)
    return done.returncode, done.stdout


@pytest.fixture
def operator(dynoxide: Engine, proxy: FaultProxy, tmp_path: Path) -> Operator:
    """An operator of a table with a registry."""
    settings = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint, "AWS_DEFAULT_REGION": "us-east-1", **CREDENTIALS}
    table = dynoxide.create_table()
    operator = Operator(tmp_path, DDB_MCP_MODE="direct", DYNAMODB_TABLE=table, DDB_MCP_LOCAL_PATH="", **settings)
    operator.gateway("init")
    return operator


def test_all_is_well_and_nothing_is_written(operator: Operator, dynoxide: Engine) -> None:
    code, said = checked(operator)
    assert (code, "All is well." in said) == (0, True), said
    items = dynoxide.client().scan(TableName=operator.environment["DYNAMODB_TABLE"])
    assert items["Items"] == []


@pytest.mark.parametrize(
    "operation",
    ["DescribeTable", "DescribeTimeToLive", "GetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem"],
)
def test_each_permission_that_is_missing_is_named(operator: Operator, proxy: FaultProxy, operation: str) -> None:
    proxy.plan(dynamodb_error("AccessDeniedException", message="not authorized"), times=100, on=operation)
    code, said = checked(operator)
    assert code == 1
    assert f"permission dynamodb:{operation} is missing" in said
    others = {"GetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem"} - {operation}
    assert not [name for name in others if f"dynamodb:{name} is missing" in said]


def test_no_table_a_wrong_key_schema_and_no_registry(operator: Operator, dynoxide: Engine) -> None:
    client, names = dynoxide.client(), [f"t{uuid.uuid4().hex[:8]}" for _ in range(2)]
    client.create_table(
        TableName=names[1],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for name, problem in zip(names, ("There is no table", "they must be pk (HASH) and sk (RANGE)"), strict=True):
        code, said = checked(operator, DYNAMODB_TABLE=name)
        assert (code, problem in said) == (1, True), said
        assert "ddb-mcp gateway init" in said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = Operator(tmp_path).run("gateway", "check", "--port", str(port))
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1, port {port}: Address already in use." in done.stdout
