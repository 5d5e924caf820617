"""MCP over Streamable HTTP for the deployment of the token: stateless, so that any gateway answers any request."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from ddb_mcp.core import limits
from ddb_mcp.gateway.bodies import room_for_body
from ddb_mcp.gateway.visits import Visit
from ddb_mcp.server.app import build_for
from ddb_mcp.server.content import FENCE_BYTES
from ddb_mcp.server.streamable import StreamableHttp
from ddb_mcp.stores.base import Progress

PATH = "/mcp"
_RESULT_BYTES = limits.MCP_RESULT_BYTES
_CALLER = "ddb_mcp.caller"


@dataclass(frozen=True)
class _Caller:
    """A tenant's request. `narrowed`: its address asks for the tools that read alone."""

    visit: Visit
    narrowed: bool
    entry: dict[str, Any]

    @property
    def read_only(self) -> bool:
        return self.narrowed or self.visit.read_only

    @property
    def max_bytes(self) -> int:
        return _RESULT_BYTES

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
    """The MCP face of a gateway. `running` is open while it serves."""

    def __init__(self) -> None:
        @asynccontextmanager
        async def nothing(server: Server[Any]) -> AsyncIterator[None]:
            yield

        self._http = StreamableHttp(build_for(_caller_of, nothing, tools_scope="private"))

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._http.running()

    async def serve(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        """Answer one POST of a tenant. Raises BudgetSpent before anything is sent."""
        narrowed = QueryParams(scope["query_string"]).get("read_only", "").lower() in ("true", "1", "yes", "on")
        scope = {**scope, _CALLER: _Caller(visit, narrowed, scope["entry"])}
        async with room_for_body(scope, visit):
            await self._http(
                scope, receive, _charging(visit, send), count=visit.budget.bytes.take, convert=visit.budget.converted
            )


def _caller_of(ctx: ServerRequestContext[Any, Any]) -> _Caller:
    assert ctx.request is not None
    caller: _Caller = ctx.request.scope[_CALLER]
    return caller


def _charging(visit: Visit, send: Send) -> Send:
    async def charging(message: Message) -> None:
        length = len(message.get("body", b""))
        visit.budget.bytes.take(length)
        with visit.budget.room.taken(length):
            await send(message)

    return charging
