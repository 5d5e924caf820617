"""MCP over Streamable HTTP for the deployment of the token: stateless, so that any gateway answers any request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers, QueryParams
from starlette.types import Message, Receive, Scope, Send

from ddb_mcp.core import limits
from ddb_mcp.gateway.bodies import body_of
from ddb_mcp.gateway.visits import Visit
from ddb_mcp.server import sdk
from ddb_mcp.server.app import build_for
from ddb_mcp.server.content import FENCE_BYTES
from ddb_mcp.stores.base import Progress

PATH = "/mcp"
_RESULT_BYTES = limits.MCP_RESULT_BYTES
_BOTH = "application/json, text/event-stream"


@dataclass(frozen=True)
class _Caller:
    """A tenant's request. `narrowed`: its address asks for the tools that read alone."""

    visit: Visit
    narrowed: bool
    entry: dict[str, Any]

    @property
    def read_only(self) -> bool:
        return self.narrowed or self.visit.read_only

    async def call(self, operation: str, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        self.entry["tool"] = operation
        return await self.visit.call(
            operation,
            arguments,
            progress,
            max_bytes=_RESULT_BYTES - FENCE_BYTES,
            max_result_bytes=_RESULT_BYTES,
            read_limit=limits.GATEWAY_READ_BUDGET,
            read_only=self.narrowed,
        )


class Mcp:
    """The MCP face of a gateway. `run` is open while it serves."""

    def __init__(self) -> None:
        @asynccontextmanager
        async def nothing(server: Server[Any]) -> AsyncIterator[None]:
            yield

        server = build_for(_caller_of, nothing, tools_scope="private")
        sdk.repair(server)
        # Requests need a token in a header, which no web page has unless it was given one: the name under which a
        # client knows the gateway does not matter.
        anywhere = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self._streams, self._plain = (
            StreamableHTTPSessionManager(
                server,
                stateless=True,
                json_response=plain,
                security_settings=anywhere,
                max_request_body_size=limits.BODY_MAX_BYTES,
            )
            for plain in (False, True)
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        async with self._streams.run(), self._plain.run():
            yield

    async def serve(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        """Answer one POST of a tenant.

        Raises, before anything is sent:
            BodyRefused, ClientGone, BudgetSpent: see `body_of`.
        """
        async with body_of(scope, visit) as content:
            narrowed = QueryParams(scope["query_string"]).get("read_only", "").lower() in ("true", "1", "yes", "on")
            caller = _Caller(visit, narrowed, scope["entry"])
            scope, plain = _accepting({**scope, "ddb_mcp.caller": caller})
            manager = self._plain if plain else self._streams
            await manager.handle_request(scope, _replay(content, receive), _charging(visit, send))


def _caller_of(ctx: ServerRequestContext[Any, Any]) -> _Caller:
    assert ctx.request is not None
    caller: _Caller = ctx.request.scope["ddb_mcp.caller"]
    return caller


def _accepting(scope: Scope) -> tuple[Scope, bool]:
    """The request as one that accepts what the SDK demands, and whether its client takes nothing but plain JSON.

    Some clients, and proxies before them, name one media type alone or none.
    """
    accepted = Headers(scope=scope).get("accept", "*/*")
    headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]
    plain = "text/event-stream" not in accepted
    return {**scope, "headers": [*headers, (b"accept", _BOTH.encode())]}, plain


def _replay(content: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then what else there is to hear of the client."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": content, "more_body": False}

    return replay


def _charging(visit: Visit, send: Send) -> Send:
    async def charging(message: Message) -> None:
        length = len(message.get("body", b""))
        visit.budget.bytes.take(length)
        with visit.budget.room.taken(length):
            await send(message)

    return charging
