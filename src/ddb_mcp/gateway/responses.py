"""HTTP answers: compact JSON, the status of each error, and what an answer costs its tenant."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Send

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.text import encode_json
from ddb_mcp.gateway.budgets import BudgetSpent, TenantBudget

_STATUS = {
    "invalid_argument": 400,
    "invalid_cursor": 400,
    "unauthenticated": 401,
    "prefix_violation": 403,
    "read_only": 403,
    "forbidden": 403,
    "not_provisioned": 409,
    "condition_failed": 412,
    "throttled": 429,
    "unsupported": 501,
    "unavailable": 503,
    "outcome_unknown": 503,
    "timeout": 504,
}


def encode_body(document: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8, of a document within a byte budget; callers encode large ones in the worker.

    A lone surrogate that some store let in is sent as its escape.
    """
    return encode_json(document).encode(errors="backslashreplace")


def json_response(document: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a document as JSON."""
    return Response(encode_body(document), status, headers, media_type="application/json")


def error_response(error: DdbMcpError, status: int | None = None) -> Response:
    """Return an error as the HTTP API words it, with the status of its code unless `status` is given."""
    members, headers = error.to_json(), {}
    status = status or _STATUS.get(error.code, 500)
    if isinstance(error, BudgetSpent):
        headers["Retry-After"] = str(error.wait)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response({"error": members.pop("code"), **members}, status, headers)


def charge_sent_bytes(budget: TenantBudget, send: Send) -> Send:
    """Return a `send` that charges the tenant for each piece of a response, and takes room until it is sent."""

    async def charged(message: Message) -> None:
        if not (length := len(message.get("body", b""))):
            await send(message)
            return
        budget.bytes.take(length)
        with budget.room.taken(length):
            await send(message)

    return charged
