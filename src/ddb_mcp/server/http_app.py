"""MCP over Streamable HTTP for one deployment: its address, and the checks of token, Host and Origin."""

from __future__ import annotations

import contextlib
import hmac
import re
import socket
import sys
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core.errors import InvalidArgument, Misconfigured
from ddb_mcp.server.streamable import StreamableHttp, parse_in_worker
from ddb_mcp.web.request_context import RequestContext
from ddb_mcp.web.requests import asks_read_only, find_foreign_header, parse_bearer_token
from ddb_mcp.web.serving import HttpServer, run_lifespan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp.server.lowlevel import Server
    from mcp_types import JSONRPCMessage
    from starlette.types import Receive, Scope, Send

    from ddb_mcp.web.listening import Listening

# Characters of the token of `--http` beyond this machine.
HTTP_TOKEN_MIN = 20


PATH = "/mcp"
HEALTH_PATH = "/health"


def serve_http(
    build: Callable[[], Server[Any]], listening: Listening, token: str | None = None, names: Iterable[str] = ()
) -> None:
    """Serve what `build` returns at the path `/mcp` until SIGINT or SIGTERM. Call it from the main thread.

    Only requests whose `Host` (and `Origin`, if they have one) names this machine are served, so that no web page can
    reach the server by rebinding its own name to this address. With `token`, a request needs it as its bearer token.

    Args:
        names: host names under which clients know this machine, besides its own name and addresses.

    Raises:
        Misconfigured: other machines can reach the host, and there is no token of at least `HTTP_TOKEN_MIN`
            characters, or no TLS; or no header can carry the token; or the address cannot be listened on.
        Whatever `build` raises.
    """
    _check_token(listening.host, token)
    tls = listening.tls()
    listener, address = listening.listen()
    app = _McpApplication(build(), token, _list_own_names(listening.host, names))
    sys.stderr.write(f"ddb-mcp: listening on {address}{PATH}\n")
    HttpServer(app, listener, tls=tls).run()


def _check_token(host: str, token: str | None) -> None:
    if not token and not is_loopback(host):
        raise Misconfigured(
            f"{host} is reachable from other machines, and no token is set.",
            next="Set DDB_MCP_HTTP_TOKEN, or listen on 127.0.0.1.",
        )
    if token and not re.fullmatch("[\x21-\x7e]+", token):
        raise Misconfigured("No client could send this DDB_MCP_HTTP_TOKEN.", next="Set it to visible ASCII, one word.")
    if token and len(token) < HTTP_TOKEN_MIN and not is_loopback(host):
        raise Misconfigured(
            f"DDB_MCP_HTTP_TOKEN has {len(token)} characters, which is easy to guess.",
            next=f"Set it to a random one of at least {HTTP_TOKEN_MIN} characters.",
        )


def _list_own_names(host: str, names: Iterable[str]) -> frozenset[str]:
    """Return the names and addresses of this machine, as `Host` headers have them, without a port."""
    own = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *names}
    if not is_loopback(host):
        own |= {socket.gethostname(), socket.getfqdn()}
        with contextlib.suppress(OSError):
            own |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return frozenset(name.lower() for name in own)  # browsers send names in lower case


class _McpApplication:
    """The ASGI application: MCP at `PATH`, and a health check that any name and any caller reaches.

    Args:
        server: the MCP server.
        token: the bearer token that requests need; None for none.
        names: the names of this machine, see `_list_own_names`.
    """

    def __init__(self, server: Server[Any], token: str | None, names: frozenset[str]) -> None:
        self._mcp = StreamableHttp(server)
        self._token = token
        self._names = names
        own = "|".join(re.escape(name) for name in sorted(names))
        self._cors = CORSMiddleware(
            self._answer,
            allow_origin_regex=rf"https?://({own})(:\d+)?",
            allow_methods=["GET", "POST", "DELETE", "OPTIONS"],
            allow_headers=["*"],
            expose_headers=["Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send, running=self._mcp.running())
        elif scope["path"] != HEALTH_PATH and (foreign := find_foreign_header(scope, self._names.__contains__)):
            await _refuse_foreign(scope, *foreign)(scope, receive, send)
        else:
            await self._cors(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == HEALTH_PATH:
            is_read = scope["method"] in ("GET", "HEAD")
            response = JSONResponse({"status": "ok"}) if is_read else _make_not_found(405, {"Allow": "GET, HEAD"})
        elif scope["path"] not in (PATH, f"{PATH}/"):
            response = _make_not_found(404)
        elif not self._is_authorized(scope):
            body = {"error": "unauthenticated", "message": "The bearer token is missing or wrong."}
            response = JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})
        else:
            try:
                asks_read_only(scope)  # what it asks for, the server looks up itself
            except InvalidArgument as error:
                members = error.to_json()
                response = JSONResponse({"error": members.pop("code"), **members}, 400)
            else:
                await self._serve(scope, receive, send)
                return
        await response(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = RequestContext.of(scope)
        if scope["method"] != "POST":
            context.admit()

        async def admit_and_parse(parser: Callable[[bytes], JSONRPCMessage], body: bytes) -> JSONRPCMessage:
            context.admit()  # not before, or slow bodies would keep all connections
            return await parse_in_worker(parser, body)

        await self._mcp(scope, receive, send, parse=admit_and_parse)

    def _is_authorized(self, scope: Scope) -> bool:
        if not self._token:
            return True
        token = parse_bearer_token(Headers(scope=scope).getlist("authorization"))
        return token is not None and hmac.compare_digest(token, self._token)


def _make_not_found(status: int, headers: dict[str, str] | None = None) -> Response:
    """Return the 404 for paths other than `/mcp`, in JSON: hosts probe OAuth's well-known addresses and expect it."""
    body = {"error": "not_found", "message": f"MCP is served at {PATH}. There is no OAuth here."}
    return JSONResponse(body, status, headers)


def _refuse_foreign(scope: Scope, header: str, value: str) -> Response:
    """Return the answer to a request for another server. Its fault is counted."""
    RequestContext.of(scope).connection.slots.faults.note(f"{header} is not a name in DDB_MCP_HTTP_HOSTS", value)
    body = {
        "error": "forbidden",
        "message": f"The {header} {value[:100]!a} is not one of this server's names.",
        "next": "The server's operator can add the name to DDB_MCP_HTTP_HOSTS.",
    }
    return JSONResponse(body, 421 if header == "Host" else 403)
