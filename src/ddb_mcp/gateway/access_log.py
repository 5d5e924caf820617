"""The access log: one line of JSON for each request when it ends, without tokens, bodies or unknown paths."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from anyio import get_cancelled_exc_class
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.gateway import metrics
from ddb_mcp.gateway.budgets import BudgetSpent
from ddb_mcp.web.request_context import RequestContext

access_log = logging.getLogger("ddb_mcp.gateway.access")

CLIENT_GONE = 499  # nginx's code: no client received the response


class AccessLog:
    """Middleware that logs and counts each request. Routes add their facts to `scope["entry"]`, the line's members."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        client = scope["client"]
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": client[0] if client else None,
            **dict.fromkeys(("tenant", "token_id", "interface", "tool", "status", "error", "ms", "bytes_in")),
            "bytes_out": 0,
        }

        async def observe(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            entry["bytes_out"] += len(message.get("body", b""))
            await send(message)

        try:
            with metrics.in_flight():
                await self._app({**scope, "entry": entry}, receive, observe)
        except get_cancelled_exc_class():
            entry["status"] = entry["status"] or CLIENT_GONE
            raise
        finally:
            seconds = time.monotonic() - started
            entry["status"] = entry["status"] or 500
            entry["ms"] = round(seconds * 1000, 1)
            entry["bytes_in"] = RequestContext.of(scope).body_bytes
            access_log.info(json.dumps(entry))
            metrics.count_request(entry, seconds)


def note_error(entry: dict[str, Any], error: DdbMcpError) -> None:
    """Note the error that a request ended with."""
    entry["error"] = error.code
    if isinstance(error, BudgetSpent):
        metrics.count_refusal(error.budget)
