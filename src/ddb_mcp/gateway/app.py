"""The platform over one store: a token opens one deployment, and `DataService` keeps it to its prefix.

Bodies and answers of the HTTP API are the tools' own arguments and results, which contain the documented API. Listings
also take `max_bytes` and `read_limit`: how long the page may be, and how many stored items may be read for it.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, Internal, InvalidArgument
from ddb_mcp.gateway.access_log import AccessLog
from ddb_mcp.gateway.answers import json_answer, refusal
from ddb_mcp.gateway.bodies import answered, body_of, parsed
from ddb_mcp.gateway.mcp import PATH as MCP_PATH
from ddb_mcp.gateway.mcp import Mcp
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.gateway.visits import Visit, Visits
from ddb_mcp.server.exchange import BodyRefused, ClientGone, end_with_client
from ddb_mcp.service.operations import BY_NAME
from ddb_mcp.stores.base import FEATURES, Store

logger = logging.getLogger(__name__)

PATH = "/api/data/dynamodb/{operation}"


class Gateway:
    """The requests of all deployments.

    Args:
        registry: deployments, tokens and rights.
        store: where the items of all deployments are.
        read_only: refuse all writes.
        processes: how many gateways like this one share each tenant's rates.
    """

    def __init__(self, registry: Registry, store: Store, *, read_only: bool = False, processes: int = 1) -> None:
        self._registry = registry
        self._store = store
        self._visits = Visits(registry, store, read_only=read_only, processes=processes)
        self._mcp = Mcp()

    def app(self) -> Starlette:
        """The ASGI application. Its end closes the store and the registry."""

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            try:
                await self._registry.keys()  # now, so that no made-up token costs a read
            except DdbMcpError as error:
                _log_unreadable(error)
            async with self._mcp.running():
                yield
            await self._store.close()
            await self._registry.close()

        routes = [
            Route(PATH, self.operation, methods=["POST"]),
            # Without cookies, a page of any origin can do no more than whoever gave it a token.
            Route(MCP_PATH, CORSMiddleware(_AsgiRoute(self.mcp), ["*"], ["POST"], ["*"])),
            Route("/health", self.health, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            lifespan=lifespan,
            middleware=[Middleware(AccessLog)],
            exception_handlers={HTTPException: _no_such_route},
        )
        app.router.redirect_slashes = False
        return app

    async def health(self, request: Request) -> Response:
        """200 while one row of the registry can be read. The storage is not asked: anybody can call this."""
        request.scope["entry"]["operation"] = "health"
        try:
            await self._registry.check()
        except DdbMcpError as error:
            _log_unreadable(error)
            return json_answer({"status": "the registry cannot be read"}, 503)
        return json_answer({"status": "ok"}, 200)

    async def operation(self, request: Request) -> Response:
        """One of the seven operations for the deployment whose token came along."""
        entry, operation = request.scope["entry"], request.path_params["operation"]
        if operation not in BY_NAME:
            raise HTTPException(404)
        entry["operation"] = operation
        if not BY_NAME[operation].writes:
            end_with_client(request.scope)
        try:
            visit = await self._visits.open(request.headers.getlist("authorization"))
            entry["deployment"] = visit.name
            with visit.budget.entered():
                async with body_of(request.scope, visit) as content:
                    answer = await _carried_out(visit, operation, await parsed(content, visit))
                    return await answered(answer, visit)
        except Exception as error:
            return _refused(error, entry)

    async def mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One message of an MCP client. Streams that nobody writes to are not opened."""
        entry = scope["entry"]
        entry["operation"] = "mcp"
        if scope["method"] != "POST":
            answer = json_answer(
                {"error": "method_not_allowed", "message": "It must be a POST."}, 405, {"Allow": "POST"}
            )
            await answer(scope, receive, send)
            return
        try:
            visit = await self._visits.open(Headers(scope=scope).getlist("authorization"))
            entry["deployment"] = visit.name
            with visit.budget.entered():
                await self._mcp.serve(scope, receive, send, visit)
        except Exception as error:
            await _refused(error, entry)(scope, receive, send)


class _AsgiRoute:
    """`Gateway.mcp` as an ASGI application. Starlette would call a bare method with a request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _carried_out(visit: Visit, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    max_bytes, read_limit = limits.GATEWAY_ANSWER_MAX_BYTES, limits.GATEWAY_READ_BUDGET
    if operation in ("query", "scan"):
        max_bytes = _at_most(limits.GATEWAY_PAGE_BYTES, body, "max_bytes", limits.GATEWAY_PAGE_BYTES)
        read_limit = _at_most(limits.GATEWAY_READ_BUDGET, body, "read_limit", limits.GATEWAY_READ_BUDGET)
    answer = await visit.call(
        operation, body, max_bytes=max_bytes, max_result_bytes=limits.GATEWAY_ANSWER_MAX_BYTES, read_limit=read_limit
    )
    if operation == "provision":
        answer["features"] = sorted(FEATURES)
    return answer


def _refused(failure: Exception, entry: dict[str, Any]) -> Response:
    """The response to a request that failed."""
    status: int | None = None
    match failure:
        case ClientGone():
            return Response(status_code=499)
        case BodyRefused():
            error, status = failure.error, failure.status
        case DdbMcpError():
            error = failure
        case _:
            error = Internal.logged(logger, failure, str(entry["operation"]))
    entry["error"] = error.code
    return refusal(error, status)


def _log_unreadable(error: DdbMcpError) -> None:
    logger.error("The registry cannot be read: %s: %s %s", error.code, error.message, error.next)


def _at_most(most: int, body: dict[str, Any], name: str, default: int) -> int:
    """A budget that the body may carry besides the operation's arguments, taken out of it."""
    given = body.pop(name, default)
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InvalidArgument(f"{name} must be a whole number from 1.")
    return min(given, most)


def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrong = f"It must be one of {', '.join(BY_NAME)}, by POST to {PATH}."
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    return json_answer({"error": code, "message": wrong}, error.status_code, error.headers)
