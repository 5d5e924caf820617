"""MCP over Streamable HTTP for the deployment of the token: stateless, so that any gateway answers any request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
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
    """A tenant's request.

    Attributes:
        entry: its line in the access log.
    """

    request: TenantRequest
    entry: dict[str, Any]
    max_bytes: int = MCP_RESULT_BYTES

    @property
    def read_only(self) -> bool:
        return self.request.read_only

    async def call(self, operation: str, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        self.entry["tool"] = operation
        try:
            async with self.request.turn(operation, arguments):
                most = self.max_bytes - MARK_BYTES
                return await self.request.run_operation(
                    operation, arguments, progress, max_bytes=most, max_result_bytes=self.max_bytes
                )
        except DdbMcpError as error:
            note_error(self.entry, error)
            raise


def make_application() -> StreamableHttp:
    """The MCP server of all deployments. The scope of each request is one of `make_scope`."""

    @asynccontextmanager
    async def nothing(server: Server[Any]) -> AsyncIterator[None]:
        yield

    return StreamableHttp(build_shared_server(_get_caller, nothing, tools_scope="private"))


def make_scope(request: TenantRequest, scope: Scope) -> Scope:
    """The scope of a tenant's request, with whose it is."""
    return {**scope, _CALLER: _TenantCaller(request, scope["entry"])}


def _get_caller(ctx: ServerRequestContext[Any, Any]) -> _TenantCaller:
    assert ctx.request is not None
    caller: _TenantCaller = ctx.request.scope[_CALLER]
    return caller
