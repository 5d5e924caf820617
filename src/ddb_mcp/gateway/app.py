"""The platform's HTTP API over one store: a token opens one deployment, and `DataService` keeps it to its prefix.

Bodies and answers are the tools' own arguments and results, which contain the documented API. Listings also take
`max_bytes` and `read_limit`: how long the page may be, and how many stored items may be read for it.
"""

import json
import logging
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, Internal, InvalidArgument, Unauthenticated
from ddb_mcp.core.items import parse_json
from ddb_mcp.core.text import compact
from ddb_mcp.gateway.deployments import Registry, Tenant
from ddb_mcp.gateway.rates import RateExceeded, Rates
from ddb_mcp.gateway.under_way import UnderWay
from ddb_mcp.server.serving import BodyRefused, ClientGone, read_body
from ddb_mcp.service.instructions import instructions
from ddb_mcp.service.operations import BY_NAME
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import FEATURES, Store

logger = logging.getLogger(__name__)
access_log = logging.getLogger("ddb_mcp.gateway.access")

PATH = "/api/data/dynamodb/{operation}"


_STATUS = {
    "invalid_argument": 400,
    "invalid_cursor": 400,
    "unauthenticated": 401,
    "prefix_violation": 403,
    "read_only": 403,
    "forbidden": 403,
    "not_provisioned": 409,
    "condition_failed": 412,
    "throttled": 429,
    "unsupported": 501,
    "unavailable": 503,
    "outcome_unknown": 503,
    "timeout": 504,
}
_BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.I)
_LOCAL_STORAGE = (
    "The data are behind this platform's HTTP API only, out of the AWS SDK's reach: app code uses the same API, with a "
    "token from its environment."
)


class Gateway:
    """The requests of all deployments.

    Args:
        registry: who may do what.
        store: where the items of all deployments are.
        read_only: nobody writes.
    """

    def __init__(self, registry: Registry, store: Store, *, read_only: bool = False) -> None:
        self._registry = registry
        self._store = store
        self._read_only = read_only
        self._under_way = UnderWay(registry.path)
        self._cursor_key = registry.cursor_key
        self._rates: dict[Tenant, Rates] = {}

    def app(self) -> Starlette:
        """The ASGI application. Its end closes the store and the registry."""

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            yield
            await self._store.close()
            self._under_way.close()
            self._registry.close()

        routes = [
            Route(PATH, self.operation, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            lifespan=lifespan,
            middleware=[Middleware(_Front)],
            exception_handlers={HTTPException: _no_such_route},
        )
        app.router.redirect_slashes = False
        return app

    async def health(self, request: Request) -> Response:
        """200 while the registry can be read. Says nothing about the storage, which anybody could load by asking."""
        request.scope["entry"]["operation"] = "health"
        try:
            self._registry.list()
        except sqlite3.Error:
            logger.exception("The registry cannot be read")
            return _json({"status": "the registry cannot be read"}, 503)
        return _json({"status": "ok"}, 200)

    async def operation(self, request: Request) -> Response:
        """One of the seven operations for the deployment whose token came along."""
        entry = request.scope["entry"]
        operation = request.path_params["operation"]
        if operation in BY_NAME:
            entry["operation"] = operation
        try:
            return await self._answered(request, operation, entry)
        except ClientGone:
            return Response(status_code=499)

    async def _answered(self, request: Request, operation: str, entry: dict[str, Any]) -> Response:
        headers = {}
        try:
            if operation not in BY_NAME:
                raise HTTPException(404)
            tenant = self._authenticated(request)
            entry["deployment"] = tenant.name
            self._rates_of(tenant).admit()
            return _json(await self._run(request, tenant, operation, await _body(request)), 200)
        except HTTPException as missing:
            return _no_such_route(request, missing)
        except BodyRefused as body:
            error, status = body.error, body.status
        except DdbMcpError as refused:
            error, status = refused, _STATUS.get(refused.code, 500)
        except ClientGone:
            raise
        except Exception:
            number = secrets.token_hex(4)
            logger.exception("Internal error %s", number)
            error, status = Internal(f"The gateway met a bug; it is logged as {number}."), 500
        entry["error"] = error.code
        if isinstance(error, RateExceeded):
            headers["Retry-After"] = str(error.wait)
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return _refusal(error, status, headers)

    def _authenticated(self, request: Request) -> Tenant:
        given = request.headers.getlist("authorization")
        bearer = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        tenant = self._registry.by_token(bearer[1]) if bearer else None
        if tenant is None:
            problem = "is not one that opens a deployment" if bearer else "must come once, as Authorization: Bearer …"
            raise Unauthenticated(f"The token {problem}.", next="Use the deployment's current token.")
        return tenant

    def _rates_of(self, tenant: Tenant) -> Rates:
        if tenant not in self._rates:
            self._rates[tenant] = Rates(tenant)
        return self._rates[tenant]

    async def _run(self, request: Request, tenant: Tenant, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        max_bytes, read_limit = limits.GATEWAY_ANSWER_MAX_BYTES, limits.GATEWAY_READ_BUDGET
        if operation in ("query", "scan"):
            max_bytes = _at_most(limits.GATEWAY_ANSWER_MAX_BYTES, body, "max_bytes", limits.GATEWAY_PAGE_BYTES)
            read_limit = _at_most(limits.GATEWAY_READ_BUDGET, body, "read_limit", limits.GATEWAY_READ_BUDGET)
        service = DataService(
            self._store,
            tenant.prefix,
            read_only=self._read_only,
            read_budget=read_limit,
            max_result_bytes=limits.GATEWAY_ANSWER_MAX_BYTES,
            cursor_key=self._cursor_key,
        )
        rates = self._rates_of(tenant)
        async with rates.turns:
            with self._under_way.write(tenant.name) if BY_NAME[operation].writes else nullcontext():
                self._authenticated(request)  # its token may have ended while the body came or while it waited
                answer = await service.call(operation, body, max_bytes=max_bytes)
        rates.read(int(answer.get("scanned", operation == "get")))
        if operation in ("provision", "info"):
            answer["mode"] = "platform"
            answer["features"] = sorted(FEATURES)
            answer["instructions"] = instructions(
                answer["tableName"],
                answer["prefix"],
                answer["region"],
                "platform",
                app=_LOCAL_STORAGE if self._store.mode == "local" else None,
            )
        return answer


class _Front:
    """Logs every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        client = scope["client"]
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": client[0] if client else None,
            "operation": None,
        }

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                entry["ms"] = round((time.monotonic() - started) * 1000, 1)
                entry["bytes"] = int(Headers(raw=message["headers"]).get("content-length", 0))
                access_log.info(json.dumps(entry))
            await send(message)

        await self._app({**scope, "entry": entry}, receive, noting)


def _at_most(most: int, body: dict[str, Any], name: str, default: int) -> int:
    """A budget that the body may carry besides the operation's arguments, taken out of it."""
    given = body.pop(name, default)
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InvalidArgument(f"{name} must be a whole number from 1.")
    return min(given, most)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object in the body, `{}` where there is none.

    Raises:
        BodyRefused, ClientGone: see `read_body`.
        InvalidArgument: it is not one JSON object.
    """
    content = await read_body(request.scope)
    try:
        text = (content or b"{}").decode()
    except UnicodeDecodeError:
        raise InvalidArgument("The body is not JSON in UTF-8.") from None
    body = parse_json(text, "The body", exact=False)
    if not isinstance(body, dict):
        raise InvalidArgument("The body must be a JSON object.")
    return body


def _json(document: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    content = compact(document).encode(errors="backslashreplace")
    return Response(content, status, headers, media_type="application/json")


def _refusal(error: DdbMcpError, status: int, headers: Mapping[str, str]) -> Response:
    said = error.to_json()
    return _json({"error": said.pop("code"), **said}, status, headers)


def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrong = f"It must be one of {', '.join(BY_NAME)}, by POST to {PATH}."
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    return _json({"error": code, "message": wrong}, error.status_code, error.headers)
