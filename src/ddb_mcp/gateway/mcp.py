"""MCP over Streamable HTTP for the deployment of the token: stateless, so that any gateway answers any request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from starlette.types import Scope

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.gateway.access_log import note_error
from ddb_mcp.gateway.tenant_requests import TenantRequest
from ddb_mcp.server.app import build_shared_server
from ddb_mcp.server.content import MARK_BYTES, MCP_RESULT_BYTES
from ddb_mcp.server.streamable import StreamableHttp
from ddb_mcp.stores.base import Progress

PATH = "/mcp"
_CALLER = "ddb_mcp.caller"


@dataclass(frozen=True)
class _TenantCaller:
    """A tenant's request."""

    request: TenantRequest
    max_bytes: int = MCP_RESULT_BYTES

    @property
    def read_only(self) -> bool:
        return self.request.read_only

    async def call(self, operation: str, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        self.request.context.facts["tool"] = operation
        try:
            async with self.request.turn(operation, arguments):
                most = self.max_bytes - MARK_BYTES
                return await self.request.run_operation(
                    operation, arguments, progress, max_bytes=most, max_result_bytes=self.max_bytes
                )
        except DdbMcpError as error:
            note_error(self.request.context, error)
            raise


def make_application() -> StreamableHttp:
    """Return the MCP application for all deployments. The scope of each request comes from `make_scope`."""

    @asynccontextmanager
    async def nothing(server: Server[Any]) -> AsyncIterator[None]:
        yield

    server = build_shared_server(_get_caller, nothing, tools_scope="private")
    server.middleware.append(_note_refusal)
    return StreamableHttp(server)


async def _note_refusal(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Note a JSON-RPC error, such as for an unknown method or tool, whose HTTP status is often 200."""
    try:
        return await call_next(ctx)
    except Exception:
        _get_caller(ctx).request.context.facts["error"] = "invalid_request"
        raise


def make_scope(request: TenantRequest, scope: Scope) -> Scope:
    """Return the scope of a tenant's request, with the tenant in it."""
    return {**scope, _CALLER: _TenantCaller(request)}


def _get_caller(ctx: ServerRequestContext[Any, Any]) -> _TenantCaller:
    assert ctx.request is not None
    caller: _TenantCaller = ctx.request.scope[_CALLER]
    return caller
