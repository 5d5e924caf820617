"""HTTP answers: compact JSON, and the status of each error."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.text import compact
from ddb_mcp.gateway.budgets import BudgetSpent

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


def encoded(document: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8."""
    return compact(document).encode(errors="backslashreplace")


def json_answer(document: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(document), status, headers, media_type="application/json")


def refusal(error: DdbMcpError, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """An error as the HTTP API words it, with the status of its code."""
    said, more = error.to_json(), dict(headers or {})
    status = status or _STATUS.get(error.code, 500)
    if isinstance(error, BudgetSpent):
        more["Retry-After"] = str(error.wait)
    if status == 401:
        more["WWW-Authenticate"] = "Bearer"
    return json_answer({"error": said.pop("code"), **said}, status, more)
