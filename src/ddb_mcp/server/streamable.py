"""MCP over Streamable HTTP, stateless: one ASGI application, for this server alone and for the gateway's deployments.

The SDK's own (mcp 2.3) wants two media types in `Accept`, where proxies and simple clients send one; rounds numbers;
answers with pydantic's prose; and ends calls at once when the server ends.
"""

from __future__ import annotations

import contextlib
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import INVALID_REQUEST, ErrorData, JSONRPCError, JSONRPCRequest
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from ddb_mcp.server import messages, sdk
from ddb_mcp.stores.workers import offload
from ddb_mcp.web.request_context import BodyRejected, RequestContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mcp.server.lowlevel import Server
    from mcp_types import JSONRPCMessage
    from starlette.types import Message, Receive, Scope, Send

_JSON = "application/json"
_EVENTS = "text/event-stream"


async def parse_in_worker(parser: Callable[[bytes], JSONRPCMessage], body: bytes) -> JSONRPCMessage:
    """Parse the body of a request, in the worker thread if it is long."""
    return await offload(partial(parser, body), body)


class StreamableHttp:
    """Serves MCP requests of one `server`. It looks at neither path, `Host`, `Origin` nor token: its caller does.

    Args:
        server: any low-level server. Its lifespan is entered by `running`.
    """

    def __init__(self, server: Server[Any]) -> None:
        sdk.install_workarounds(server)
        self._events = StreamableHTTPSessionManager(server, stateless=True)
        self._documents = StreamableHTTPSessionManager(server, stateless=True, json_response=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve requests while this is open."""
        _let_calls_finish()
        async with self._events.run(), self._documents.run():
            yield

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        count: Callable[[int], None] | None = None,
        parse: Callable[[Callable[[bytes], JSONRPCMessage], bytes], Awaitable[JSONRPCMessage]] = parse_in_worker,
    ) -> None:
        """Answer one request.

        Args:
            count: called with the bytes of each piece of its body, see `read_body`.
            parse: calls a parser with the body, in the worker if the body is long.
        """
        takes_json, takes_events = _parse_accept(scope)
        if takes_json or takes_events:
            scope = _set_header(scope, b"accept", f"{_JSON}, {_EVENTS}".encode())
        if takes_events and not takes_json:
            send = _convert_to_events(send)
        manager = self._events if takes_events else self._documents
        if scope["method"] != "POST":
            await manager.handle_request(scope, receive, send)
            return
        try:
            content = await RequestContext.of(scope).read_body(count=count)
            message = await parse(messages.parse_message, content)
        except BodyRejected as refused:
            error = ErrorData(code=INVALID_REQUEST, message=refused.error.message)
            await _make_refusal(refused.status, JSONRPCError(jsonrpc="2.0", id=None, error=error))(scope, receive, send)
        except messages.NotAMessage as refused:
            await _make_refusal(400, *refused.answers)(scope, receive, send)
        else:
            await manager.handle_request(messages.attach_arguments(scope, message), _make_body(message, receive), send)


def _let_calls_finish() -> None:
    """Keep sse-starlette from ending every response as uvicorn begins to shut down; `serving` gives them time."""
    with contextlib.suppress(ImportError, AttributeError):  # then they end at once
        from sse_starlette.sse import AppStatus

        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


def _parse_accept(scope: Scope) -> tuple[bool, bool]:
    """Return whether the client takes JSON, and events. One that takes anything, or does not say, gets plain JSON."""
    fields = Headers(scope=scope).getlist("accept") or ["*/*"]
    types = {part.partition(";")[0].strip().lower() for part in ",".join(fields).split(",")}
    return bool(types & {_JSON, "application/*", "*/*"}), bool(types & {_EVENTS, "text/*"})


def _set_header(scope: Scope, name: bytes, value: bytes) -> Scope:
    return {**scope, "headers": [*(pair for pair in scope["headers"] if pair[0] != name), (name, value)]}


def _make_body(message: JSONRPCMessage, receive: Receive) -> Receive:
    """Return a `receive` that gives the SDK the message without a tool's arguments; `attach_arguments` carries those.

    `messages.parse` has refused a message with more than a little else, so that encoding it again takes no time.
    """
    if isinstance(message, JSONRPCRequest) and messages.has_arguments(message):
        params = {**(message.params or {}), "arguments": {}}
        document = {"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": params}
    else:
        document = message.model_dump(by_alias=True, exclude_unset=True)
    body = json.dumps(document, default=float, ensure_ascii=False).encode(errors="replace")
    pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pieces.pop() if pieces else await receive()

    return replay


def _convert_to_events(send: Send) -> Send:
    """Return a `send` that turns a JSON answer into a stream of one event, for a client that takes nothing else."""
    turns = False

    async def turned(message: Message) -> None:
        nonlocal turns
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            turns = message["status"] == 200 and headers.get("content-type", "").startswith(_JSON)
            if turns:
                headers["content-type"] = _EVENTS
                del headers["content-length"]
                message = {**message, "headers": headers.raw}
        elif turns and message.get("body"):
            message = {**message, "body": b"event: message\r\ndata: " + message["body"] + b"\r\n\r\n"}
        await send(message)

    return turned


def _make_refusal(status: int, *errors: JSONRPCError) -> Response:
    shown = [error.model_dump(by_alias=True, exclude_unset=True, mode="json") for error in errors]
    return Response(json.dumps(shown[0] if len(shown) == 1 else shown), status, media_type=_JSON)
