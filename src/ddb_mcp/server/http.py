"""MCP over Streamable HTTP for one deployment: its address, and the checks of token, Host and Origin."""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core import limits
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.server.exchange import note_fault
from ddb_mcp.server.listening import listen, require_tls, tls_context
from ddb_mcp.server.requests import bearer_token, foreign_header
from ddb_mcp.server.serving import HttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from mcp.server.lowlevel import Server
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
HEALTH_PATH = "/health"


def serve_http(
    build: Callable[[], Server[Any]],
    host: str,
    port: int,
    token: str | None = None,
    names: Iterable[str] = (),
    *,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    behind_tls_proxy: bool = False,
) -> None:
    """Serves what `build` returns at `http://host:port/mcp` until SIGINT or SIGTERM. Call it from the main thread.

    Only requests whose `Host` (and `Origin`, if they have one) names this machine are served, so that no web page can
    reach the server by rebinding its own name to this address. With `token`, a request needs it as its bearer token.

    Args:
        names: host names under which clients know this machine, besides its own name and addresses.
        tls_certificate: PEM file with the certificate chain; `tls_key` with its key.
        behind_tls_proxy: a proxy before this process speaks TLS.

    Raises:
        Misconfigured: `host` is beyond loopback and there is no token of at least `limits.HTTP_TOKEN_MIN` characters,
            or no TLS; or no header can carry the token; or the address cannot be listened on.
        Whatever `build` raises.
    """
    _check_token(host, token)
    tls = tls_context(tls_certificate, tls_key)
    require_tls(host, tls, behind_tls_proxy=behind_tls_proxy)
    listener = listen(host, port)
    app = _application(build(), token, _own_names(host, names))
    shown = f"[{host}]" if ":" in host else host
    address = f"{'https' if tls else 'http'}://{shown}:{listener.getsockname()[1]}{PATH}"
    sys.stderr.write(f"ddb-mcp: listening on {address}\n")
    HttpServer(app, listener, tls=tls, behind_proxy=behind_tls_proxy).run()


def _check_token(host: str, token: str | None) -> None:
    if not token and not is_loopback(host):
        raise Misconfigured(
            f"{host} can be reached from other machines, and there is no token to keep them out.",
            next="Set DDB_MCP_HTTP_TOKEN, or listen on 127.0.0.1.",
        )
    if token and not re.fullmatch("[\x21-\x7e]+", token):
        raise Misconfigured("No client could send this DDB_MCP_HTTP_TOKEN.", next="Set it to visible ASCII, one word.")
    if token and len(token) < limits.HTTP_TOKEN_MIN and not is_loopback(host):
        raise Misconfigured(
            f"DDB_MCP_HTTP_TOKEN has {len(token)} characters, which can be guessed.",
            next=f"Set it to a random one of at least {limits.HTTP_TOKEN_MIN} characters.",
        )


def _own_names(host: str, names: Iterable[str]) -> frozenset[str]:
    """The names and addresses of this machine, as `Host` headers have them, without a port."""
    known = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *names}
    if not is_loopback(host):
        known |= {socket.gethostname(), socket.getfqdn()}
        with contextlib.suppress(OSError):
            known |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return frozenset(name.lower() for name in known)  # browsers send names in lower case


def _application(server: Server[Any], token: str | None, names: frozenset[str]) -> ASGIApp:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from ddb_mcp.server.streamable import StreamableHttp

    mcp = StreamableHttp(server)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with mcp.running():
            yield

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def elsewhere(request: Request, error: Exception) -> Response:
        # Hosts probe the well-known addresses of OAuth, and fail at an answer that is not JSON.
        assert isinstance(error, HTTPException)
        said = {"error": "not_found", "message": f"MCP is served at {PATH}. There is no OAuth here."}
        return JSONResponse(said, error.status_code, error.headers)

    endpoint: ASGIApp = _BearerToken(mcp, token) if token else mcp
    routes = [Route(PATH, endpoint), Route(HEALTH_PATH, health, methods=["GET"])]
    app = Starlette(routes=routes, lifespan=lifespan, middleware=_middleware(names))
    app.add_exception_handler(HTTPException, elsewhere)
    app.router.redirect_slashes = False
    return app


def _middleware(names: frozenset[str]) -> list[Middleware]:
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware

    own = "|".join(re.escape(name) for name in sorted(names))
    answers_browsers = Middleware(
        CORSMiddleware,
        allow_origin_regex=rf"https?://({own})(:\d+)?",
        allow_methods=["GET", "POST", "DELETE", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate"],
    )
    return [Middleware(_OwnNames, names=names), answers_browsers]


class _OwnNames:
    """Lets a request pass whose `Host` and `Origin` name this machine."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_checked = scope["type"] == "http" and scope["path"] != HEALTH_PATH  # probes come under any name
        if is_checked and (foreign := foreign_header(scope, self._names.__contains__)):
            await _refused(scope, receive, send, *foreign)
            return
        await self._app(scope, receive, send)


async def _refused(scope: Scope, receive: Receive, send: Send, header: str, value: str) -> None:
    from starlette.responses import Response

    note_fault(scope, f"{header} is not a name in DDB_MCP_HTTP_HOSTS", value)
    said = {
        "error": "forbidden",
        "message": f"The {header} {value[:100]!a} is none of this server's names.",
        "next": "Whoever runs the server can add the name to DDB_MCP_HTTP_HOSTS.",
    }
    status = 421 if header == "Host" else 403
    await Response(json.dumps(said), status, media_type="application/json")(scope, receive, send)


class _BearerToken:
    """Lets a request pass that carries the token, once."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_authorized(scope):
            from starlette.responses import JSONResponse

            said = {"error": "unauthenticated", "message": "The bearer token is missing or wrong."}
            await JSONResponse(said, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        token = bearer_token(given)
        return token is not None and hmac.compare_digest(token.encode(), self._token)
