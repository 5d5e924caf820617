"""A table on an endpoint, and endpoints with other options than the one that all engines' tests share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.engines import Engine, client_options
from tests.support.forking import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "deploy#app1"


def key(sk: str = "1", pk: str = f"{PREFIX}#user") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


class Table:
    """A new table, with the calls that tests repeat: each takes the operation's parameters but the table's name."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.create_table()
        self.client: Any = engine.client()

    def call(self, operation: str, **parameters: Any) -> Any:
        answer = getattr(self.client, operation)(TableName=self.name, **parameters)
        answer.pop("ResponseMetadata")
        return answer

    def fails(self, operation: str, code: str, message: str, **parameters: Any) -> dict[str, Any]:
        """The error's response, whose code is this and whose message has this in it."""
        with pytest.raises(ClientError) as caught:
            getattr(self.client, operation)(TableName=self.name, **parameters)
        return refused(caught.value, code, message)

    def put(self, sk: str, **attributes: Any) -> dict[str, Any]:
        item = {**key(sk), **attributes}
        self.call("put_item", Item=item)
        return item

    def get(self, sk: str) -> Any:
        return self.call("get_item", Key=key(sk), ConsistentRead=True).get("Item")

    def update(self, sk: str, text: str, values: dict[str, Any] | None = None, **parameters: Any) -> Any:
        given = {"ExpressionAttributeValues": values} if values else {}
        return self.call("update_item", Key=key(sk), UpdateExpression=text, **given, **parameters)


def refused(error: ClientError, code: str, message: str) -> dict[str, Any]:
    """The response of an error with this code, and this in its message."""
    response: dict[str, Any] = dict(error.response)
    assert response["Error"]["Code"] == code, response["Error"]
    assert message in response["Error"]["Message"]
    return response


@contextmanager
def serving(file: Path, *options: str, **environment: str) -> Iterator[Engine]:
    """An endpoint over this file, with these options of the command line, in a process of its own."""
    process = start(file, *options, **environment)
    try:
        yield Engine("endpoint", address(process))
    finally:
        process.terminate()
        process.wait(300)
        assert process.stderr
        process.stderr.close()


def start(file: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    settings = {"DDB_MCP_LOCAL_PATH": str(file), "DYNAMODB_PREFIX": PREFIX, **environment}
    return Process(
        [sys.executable, "-m", "ddb_mcp", "endpoint", "--port", "0", *options],
        stderr=subprocess.PIPE,
        env={**os.environ, **settings},
        text=True,
    )


def address(process: subprocess.Popen[str]) -> str:
    """Where it listens, as it says itself."""
    assert process.stderr
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:[0-9]+", line)
    assert found, line + process.stderr.read()
    return found[0]


def resource(engine: Engine) -> Any:
    return boto3.resource("dynamodb", endpoint_url=engine.endpoint, **client_options())
