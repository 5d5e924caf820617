"""DynamoDB's protocol as an ASGI application: JSON 1.0 over HTTP, one operation a request.

https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
"""

from __future__ import annotations

import logging
import random
import zlib
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core.errors import DdbMcpError, Internal, InvalidArgument
from ddb_mcp.endpoint import batches, control, reads, shapes, transactions, writes
from ddb_mcp.endpoint.bodies import encode_answer, parse_body
from ddb_mcp.endpoint.errors import EndpointError, KeySchemaError, translate_error
from ddb_mcp.endpoint.requests import EndpointAccess, EndpointRequest
from ddb_mcp.stores.workers import current_account, is_large, offload, release_frames
from ddb_mcp.web.request_context import BodyRejected, ClientGone, RequestContext
from ddb_mcp.web.requests import find_foreign_header
from ddb_mcp.web.serving import run_lifespan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from ddb_mcp.endpoint.tables import Tables

DYNAMODB_BODY_MAX_BYTES = 16 * 2**20


logger = logging.getLogger(__name__)

_TARGET = "DynamoDB_20120810."
# Shapes and errors are those of https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html
_OPERATIONS: dict[str, Callable[[EndpointRequest], Awaitable[dict[str, Any] | None]]] = {
    "GetItem": reads.get_item,
    "Query": reads.query,
    "Scan": reads.scan,
    "PutItem": partial(writes.write_item, writes.read_put),
    "UpdateItem": partial(writes.write_item, writes.read_update),
    "DeleteItem": partial(writes.write_item, writes.read_delete),
    "BatchGetItem": batches.batch_get_item,
    "BatchWriteItem": batches.batch_write_item,
    "TransactGetItems": transactions.transact_get_items,
    "TransactWriteItems": transactions.transact_write_items,
    "CreateTable": control.create_table,
    "UpdateTable": control.update_table,
    "DescribeTable": control.describe_table,
    "DeleteTable": control.delete_table,
    "ListTables": control.list_tables,
    "DescribeTimeToLive": control.describe_time_to_live,
    "UpdateTimeToLive": control.update_time_to_live,
    "TagResource": control.tag_resource,
    "UntagResource": control.untag_resource,
    "ListTagsOfResource": control.list_tags_of_resource,
    "DescribeEndpoints": control.describe_endpoints,
}
# These end with their client. A write that has begun is finished.
_READS = frozenset({"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"})


class Endpoint:
    """The ASGI application.

    Args:
        tables: the tables to serve. Closed on shutdown.
        access: the rights of all callers.
    """

    def __init__(self, tables: Tables, access: EndpointAccess) -> None:
        self._tables = tables
        self._access = access
        self._large = CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send, self._tables.close)
            return
        # Conversions and writes are scheduled fairly between connections.
        current_account.set(current_account.get()._replace(owner=str(scope["client"])))
        try:
            status, answer = 200, await self._answer(scope)
        except ClientGone:
            raise
        except Exception as error:
            failure = _make_failure(error)
            status, answer = failure.status, failure.body()
        await _send(send, status, answer)

    async def _answer(self, scope: Scope) -> dict[str, Any] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        _check_origin(scope)
        if (scope["method"], scope["path"]) == ("GET", "/ddb-mcp"):
            prefix = self._access.prefix
            return {**self._tables.location, "prefix": None if prefix is None else prefix.text}
        if scope["method"] != "POST" or scope["path"] != "/":
            raise EndpointError("UnknownOperationException", "DynamoDB's operations are POST requests to /", 404)
        operation = _parse_operation(headers)
        body = await RequestContext.of(scope).read_body(max_bytes=DYNAMODB_BODY_MAX_BYTES)
        RequestContext.of(scope).admit()  # not before, or slow bodies would keep all connections
        # A large request takes 20 times its size in memory, so only one is handled at a time.
        async with self._large if is_large(body) else nullcontext():
            try:
                request = await offload(lambda: shapes.check_request(operation, parse_body(body)), body)
                if operation not in _READS:
                    RequestContext.of(scope).outlive_client()
                call = EndpointRequest(self._tables, self._access, operation, request, headers["host"])
                return await _OPERATIONS[operation](call)
            except (EndpointError, InvalidArgument) as error:
                # AWS reports a value of the wrong type before any other fault, and a missing table before a wrong key.
                if translate_error(error).kind == "ValidationException":
                    await offload(lambda: shapes.check_types(operation, parse_body(body)), body)
                if isinstance(error, KeySchemaError):
                    await call.find_tables()
                raise


def _check_origin(scope: Scope) -> None:
    """Raise EndpointError if a web page could have sent the request."""
    match find_foreign_header(scope, is_loopback):
        case ("Host", host):
            message = f"This endpoint accepts only requests for this machine, not for the Host {host[:80]!r}."
            raise EndpointError("AccessDeniedException", message, 403)
    if any(name == b"origin" for name, _ in scope["headers"]):
        raise EndpointError("AccessDeniedException", "This endpoint does not accept requests from web pages.", 403)


def _make_failure(error: Exception) -> EndpointError:
    if isinstance(error, BodyRejected):
        kind = "RequestEntityTooLargeException" if error.status == 413 else "InternalServerError"
        return EndpointError(kind, error.error.message, error.status)
    if not isinstance(error, EndpointError | DdbMcpError):
        error = Internal.log(logger, error, "the endpoint")
    release_frames(error)
    return translate_error(error)


def _parse_operation(headers: dict[str, str]) -> str:
    """Return the operation named by a request's headers. Raises EndpointError."""
    target = headers.get("x-amz-target", "")
    operation = target.removeprefix(_TARGET)
    if operation == target:
        raise EndpointError("UnknownOperationException", f"{target[:80]!r} in X-Amz-Target is not a DynamoDB operation")
    authorization = headers.get("authorization", "")
    if not authorization:
        raise EndpointError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    if not authorization.startswith("AWS4-HMAC-SHA256 ") or "Credential=" not in authorization:
        raise EndpointError("IncompleteSignatureException", "The Authorization header is not a version 4 signature.")
    if operation not in _OPERATIONS:
        raise EndpointError(
            "UnknownOperationException",
            f"The ddb-mcp endpoint does not support {operation[:80]!r}; it supports {', '.join(sorted(_OPERATIONS))}.",
        )
    return operation


async def _send(send: Send, status: int, answer: dict[str, Any] | None) -> None:
    body = b"" if answer is None else await offload(partial(encode_answer, answer), answer)
    identifier = f"{random.getrandbits(208):052X}"  # identifies the request, not secret
    headers = [
        (b"content-type", b"application/x-amz-json-1.0"),
        (b"content-length", str(len(body)).encode()),
        (b"x-amzn-requestid", identifier.encode()),
        (b"x-amz-crc32", str(zlib.crc32(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
