"""Requests to an endpoint as no SDK would send them."""

from __future__ import annotations

import http.client
import json
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.support.engines import Engine

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)


def ask(
    engine: Engine,
    operation: str,
    body: Any,
    headers: dict[str, str | None] | None = None,
    method: str = "POST",
    path: str = "/",
) -> tuple[int, dict[str, Any]]:
    """The status and the body of the answer, None if it is empty.

    Args:
        body: bytes as they are, anything else as JSON.
        headers: instead of the usual ones; None for a header that is not sent.
    """
    given: dict[str, str | None] = {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": AUTHORIZATION,
        **(headers or {}),
    }
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(urlsplit(engine.endpoint).netloc, timeout=300)) as connection:
        connection.request(method, path, content, {name: value for name, value in given.items() if value is not None})
        response = connection.getresponse()
        answer = response.read()
    assert response.headers["Content-Type"] == "application/x-amz-json-1.0"
    assert response.headers["x-amz-crc32"] == str(zlib.crc32(answer))
    assert len(response.headers["x-amzn-requestid"]) == 52
    assert "Content-Encoding" not in response.headers
    return response.status, json.loads(answer or b"null")


def fails(engine: Engine, kind: str, operation: str, body: Any, **how: Any) -> str:
    """The message of an error of this type."""
    status, answer = ask(engine, operation, body, **how)
    assert 400 <= status < 500, answer
    assert answer["__type"].rpartition("#")[2] == kind, answer
    message: str = answer["message"]
    return message
