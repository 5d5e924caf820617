"""The platform over one store: a token opens one deployment, and `DataService` keeps it to its prefix.

Bodies and answers of the HTTP API are the tools' own arguments and results, which contain the documented API. Listings
also take `max_bytes` and `read_limit`: how long the page may be, and how many stored items may be read for it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ddb_mcp.core.errors import DdbMcpError, Internal, InvalidArgument
from ddb_mcp.gateway import mcp, metrics, tenant_requests, tenant_store
from ddb_mcp.gateway.access_log import CLIENT_GONE, note_error
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.gateway.responses import charge_sent_bytes, encode_body, error_response, json_response
from ddb_mcp.gateway.tenant_requests import GATEWAY_ANSWER_MAX_BYTES, Admission, TenantRequest
from ddb_mcp.service.operations import BY_NAME
from ddb_mcp.stores.base import FEATURES, Store
from ddb_mcp.stores.workers import offload
from ddb_mcp.web import request_context
from ddb_mcp.web.request_context import BodyRejected, ClientGone, RequestContext
from ddb_mcp.web.requests import asks_read_only, parse_json_object
from ddb_mcp.web.serving import run_lifespan

GATEWAY_PAGE_BYTES = 1_000_000


logger = logging.getLogger(__name__)

PATH = "/api/data/dynamodb/"
_ROUTE = f"Send {', '.join(BY_NAME)} by POST to {PATH}…, or MCP by POST to {mcp.PATH}."


class Gateway:
    """The requests of all deployments: an ASGI application, whose end closes the store and the registry.

    Args:
        registry: deployments, tokens and rights.
        store: where the items of all deployments are.
        read_only: refuse all writes.
        processes: how many gateways like this one share each tenant's rates.
    """

    def __init__(self, registry: Registry, store: Store, *, read_only: bool = False, processes: int = 1) -> None:
        self._registry = registry
        self._store = store
        self._admission = Admission(registry, store, read_only=read_only, processes=processes)
        self._mcp = mcp.make_application()
        # Without cookies, a page of any origin can do only what its token allows.
        self._mcp_route = CORSMiddleware(self._handle_mcp, ["*"], ["POST"], ["*"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            with metrics.in_flight():
                await self._route(scope, receive, send)

    def _route(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["path"] in (mcp.PATH, f"{mcp.PATH}/"):
            return self._mcp_route(scope, receive, send)
        if scope["path"] == "/health":
            return self._handle_health(scope, receive, send)
        return self._handle_operation(scope, receive, send)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        try:
            await self._registry.get_keys()  # now, so that no made-up token costs a read
        except DdbMcpError as error:
            tenant_store.hide_registry_error(error)
        await run_lifespan(receive, send, self._registry.close, self._store.close, running=self._mcp.running())

    async def _handle_health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 if one row of the registry can be read; 503 if not, or if the server will soon end.

        The storage is not read: anybody can call this.
        """
        if scope["method"] in ("GET", "HEAD"):
            response = json_response({"status": "ok"}, 200)
            try:
                with anyio.fail_after(tenant_requests.REGISTRY_SECONDS):
                    await self._registry.check()
                if RequestContext.of(scope).is_draining:
                    response = json_response({"status": "draining"}, 503)
            except (DdbMcpError, TimeoutError) as error:
                tenant_store.hide_registry_error(error)
                response = json_response({"status": "the registry cannot be read"}, 503)
        else:
            response = _method_not_allowed("GET, HEAD")
        await response(scope, receive, send)

    @asynccontextmanager
    async def _admitted(self, scope: Scope) -> AsyncIterator[TenantRequest]:
        """Admit the request of a tenant, and hold room for its whole announced body.

        No request waits for room in the middle of its body.
        """
        headers = Headers(scope=scope)
        request = await self._admission.admit(
            headers.getlist("authorization"), RequestContext.of(scope), read_only=asks_read_only(scope)
        )
        is_chunked = "transfer-encoding" in headers
        announced = request_context.BODY_MAX_BYTES if is_chunked else int(headers.get("content-length", 0))
        async with request.budget.room.hold(min(announced, request_context.BODY_MAX_BYTES)):
            yield request

    async def _handle_operation(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one of the seven operations for the deployment of the request's token."""
        context, operation = RequestContext.of(scope), scope["path"].removeprefix(PATH)
        if operation in BY_NAME:
            context.facts |= {"interface": "api", "tool": operation}
        if operation not in BY_NAME:
            response = json_response({"error": "not_found", "message": _ROUTE}, 404)
        elif scope["method"] != "POST":
            response = _method_not_allowed("POST")
        else:
            try:
                async with self._admitted(scope) as request:
                    response = await _run_operation(scope, request, operation)
                send = charge_sent_bytes(request.budget, send)
            except Exception as error:
                response = await _error_response(error, context)
        await response(scope, receive, send)

    async def _handle_mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message of an MCP client. Opens no stream that would stay silent."""
        context = RequestContext.of(scope)
        context.facts["interface"] = "mcp"
        if scope["method"] != "POST":
            await _method_not_allowed("POST")(scope, receive, send)
            return
        try:
            async with self._admitted(scope) as request:
                scope, budget = mcp.make_scope(request, scope), request.budget
                charged = charge_sent_bytes(budget, send)
                await self._mcp(scope, receive, charged, count=budget.bytes.take, parse=budget.parse)
        except Exception as error:
            await (await _error_response(error, context))(scope, receive, send)


async def _run_operation(scope: Scope, request: TenantRequest, operation: str) -> Response:
    """Return the response to an operation with the arguments in the request's body."""
    budget = request.budget
    content = await RequestContext.of(scope).read_body(count=budget.bytes.take)
    body = await budget.parse(parse_json_object, content)
    max_bytes, read_limit = GATEWAY_ANSWER_MAX_BYTES, tenant_store.GATEWAY_READ_BUDGET
    if operation in ("query", "scan"):
        max_bytes = _take_limit(GATEWAY_PAGE_BYTES, body, "max_bytes")
        read_limit = _take_limit(tenant_store.GATEWAY_READ_BUDGET, body, "read_limit")
    async with request.turn(operation, body):
        answer = await request.run_operation(operation, body, max_bytes=max_bytes, read_limit=read_limit)
        if operation == "provision":
            answer["features"] = sorted(FEATURES)
        return Response(await offload(partial(encode_body, answer), answer), media_type="application/json")


async def _error_response(failure: Exception, context: RequestContext) -> Response:
    """Return the response to a request that failed."""
    if isinstance(failure, ClientGone):
        return Response(status_code=CLIENT_GONE)
    status = failure.status if isinstance(failure, BodyRejected) else None
    error = failure.error if isinstance(failure, BodyRejected) else failure
    if not isinstance(error, DdbMcpError):
        error = Internal.log(logger, error, str(context.facts.get("tool")))
    note_error(context, error)
    return await offload(partial(error_response, error, status), getattr(error, "item", None))


def _take_limit(most: int, body: dict[str, Any], name: str) -> int:
    """Remove an optional budget from the body and return it, at most `most`. Raises InvalidArgument."""
    budget = body.pop(name, most)
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 1:
        raise InvalidArgument(f"{name} must be a whole number from 1.")
    return min(budget, most)


def _method_not_allowed(methods: str) -> Response:
    return json_response({"error": "method_not_allowed", "message": _ROUTE}, 405, {"Allow": methods})
