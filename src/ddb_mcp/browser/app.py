"""The data browser's page on this machine: an ASGI application that is the host side of MCP Apps for one person."""

from __future__ import annotations

import hmac
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from ddb_mcp.browser.page import browser_page
from ddb_mcp.config.values import is_loopback
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.text import encode_json
from ddb_mcp.service.operations import BY_NAME
from ddb_mcp.service.results import add_notice
from ddb_mcp.stores.workers import offload
from ddb_mcp.web.request_context import BodyRejected, RequestContext
from ddb_mcp.web.requests import find_foreign_header, parse_json_object
from ddb_mcp.web.serving import run_lifespan

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ddb_mcp.service.service import DataService

# A result for the data browser on this machine: room for any item, even if each character takes six bytes of JSON.
BROWSER_RESULT_BYTES = 4 * 2**20


# A frame made by `srcdoc` inherits this policy, and adds the stricter one that `host.html` gives it.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class BrowserHost:
    """Serves the page and relays its tool calls to the service. It closes the store when it ends.

    Every address begins with the secret, every request needs a `Host` that is this machine, and every call an `Origin`
    that is this server: no other user, no other web page and no rebound name reaches the data.

    Args:
        service: one deployment's service. The service decides whether the page can write.
        secret: the first segment of every address.
        port: where the application is served, which `Host` and `Origin` must name.
    """

    def __init__(self, service: DataService, secret: str, port: int) -> None:
        self._service = service
        self._secret = secret.encode()
        self._port = port
        self._pages = {"": Path(__file__).with_name("host.html").read_text(encoding="utf-8"), "page": browser_page()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send, self._service.store.close)
            return
        answer = await self._answer(Request(scope, receive))
        answer.headers.update(_HEADERS)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        secret, _, place = request.url.path.removeprefix("/").partition("/")
        if find_foreign_header(request.scope, is_loopback, self._port):
            return PlainTextResponse("This server only serves its own page on this machine.", 403)
        if not hmac.compare_digest(secret.encode(errors="replace"), self._secret):
            return PlainTextResponse("Not found", 404)
        RequestContext.of(request.scope).admit()
        if request.method in ("GET", "HEAD") and place in self._pages:
            return HTMLResponse(self._pages[place])
        if request.method != "POST" or place != "call":
            return PlainTextResponse("Not found", 404)
        if not request.headers.get("origin"):
            return PlainTextResponse("Only this server's own page may call tools.", 403)
        try:
            context = RequestContext.of(request.scope)
            body = await context.read_body()
            context.outlive_client()
            return await self._call(body)
        except BodyRejected as refused:
            return PlainTextResponse(refused.error.message, refused.status)

    async def _call(self, body: bytes) -> Response:
        try:
            request = await offload(partial(parse_json_object, body), body)
            name = request.get("name")
            if not isinstance(name, str) or name not in BY_NAME:
                return PlainTextResponse("Unknown tool", 400)
            answer = await self._service.run_operation(name, request.get("arguments"), max_bytes=BROWSER_RESULT_BYTES)
            result: dict[str, Any] = {"content": [], "structuredContent": add_notice(answer)}
            content = await offload(partial(_encode, result), answer)
        except DdbMcpError as error:
            text = encode_json({"error": error.to_json()})
            content = _encode({"content": [{"type": "text", "text": text}], "isError": True})
        return Response(content, media_type="application/json")


def _encode(result: dict[str, Any]) -> bytes:
    """Encode a tool's result. A lone surrogate that some store let in can be sent as its escape only."""
    return encode_json(result).encode(errors="backslashreplace")
