"""The access log: a JSON line at the end of each request, without tokens, keys, values and client-made paths."""

import json
import logging
from datetime import UTC, datetime
from http import HTTPStatus

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.gateway import metrics
from ddb_mcp.gateway.budgets import BudgetSpent
from ddb_mcp.web.request_context import RequestContext

access_log = logging.getLogger("ddb_mcp.gateway.access")

CLIENT_GONE = 499  # nginx's code: no client received the response
_FACTS = ("tenant", "token_id", "interface", "tool")


def log_request(context: RequestContext) -> None:
    """Log and count a finished request. Its routes have left what they know in `context.facts`."""
    client, facts = context.client, context.facts
    status = CLIENT_GONE if context.was_abandoned or context.status is None else context.status
    if status == CLIENT_GONE:
        facts["error"] = "client_gone"
    elif status >= 400:
        facts.setdefault("error", HTTPStatus(status).name.lower())
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        **{name: facts.get(name) for name in _FACTS},
        "status": status,
        "error": facts.get("error"),
        "ms": round(context.seconds * 1000, 1),
        "bytes_in": context.bytes_in,
        "bytes_out": context.bytes_out,
    }
    access_log.info(json.dumps(entry))
    metrics.count_request(entry, context.seconds)


def note_error(context: RequestContext, error: DdbMcpError) -> None:
    """Note what a request failed with."""
    context.facts["error"] = error.code
    if isinstance(error, BudgetSpent):
        metrics.count_refusal(error.budget)
