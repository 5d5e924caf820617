"""The access log: a line of JSON a request, without tokens, bodies and paths that clients make up."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from anyio import get_cancelled_exc_class
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_log = logging.getLogger("ddb_mcp.gateway.access")


class AccessLog:
    """Middleware that logs each request. Routes add their facts to `scope["entry"]`, the line's members."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        client = scope["client"]
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": client[0] if client else None,
            "operation": None,
        }

        def log(status: int, length: int) -> None:
            ms = round((time.monotonic() - started) * 1000, 1)
            access_log.info(json.dumps(entry | {"status": status, "ms": ms, "bytes": length}))

        answered = False

        async def noting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                log(message["status"], int(Headers(raw=message["headers"]).get("content-length", 0)))
            await send(message)

        try:
            await self._app({**scope, "entry": entry}, receive, noting)
        except get_cancelled_exc_class():  # its client has left
            if not answered:
                log(499, 0)
            raise
