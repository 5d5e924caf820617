"""MCP over Streamable HTTP, stateless: any number of clients, each request on its own, in both protocol eras."""

from __future__ import annotations

import contextlib
import hmac
import logging
import re
import socket
import sys
from typing import TYPE_CHECKING, Any

from ddb_mcp.config import is_loopback
from ddb_mcp.core import limits
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.server import sdk
from ddb_mcp.server.serving import HttpServer
from ddb_mcp.server.sockets import listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp.server.lowlevel import Server
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

PATH = "/mcp"


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` as host and port; an IPv6 host is in brackets, port 0 is any free one.

    Raises:
        Misconfigured: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise Misconfigured(
            f"{text!r} is no address to listen on.", next="Give HOST:PORT, such as 127.0.0.1:8765 or [::1]:8765."
        )
    return host, int(port)


def serve_http(
    build: Callable[[], Server[Any]], host: str, port: int, token: str | None = None, names: Iterable[str] = ()
) -> None:
    """Serves what `build` returns at `http://host:port/mcp` until SIGINT or SIGTERM. Call it from the main thread.

    Only requests whose `Host` (and `Origin`, if they have one) names this machine are served, so that no web page can
    reach the server by rebinding its own name to this address. With `token`, a request needs it as its bearer token.

    Args:
        names: host names under which clients know this machine, besides its own name and addresses.

    Raises:
        Misconfigured: `host` is beyond loopback and there is no token, or the token is none that a header could carry,
            or the address cannot be listened on.
        Whatever `build` raises.
    """
    if not token and not is_loopback(host):
        raise Misconfigured(
            f"{host} can be reached from other machines, and there is no token to keep them out.",
            next="Set DDB_MCP_HTTP_TOKEN, or listen on 127.0.0.1.",
        )
    if token and not re.fullmatch("[\x21-\x7e]+", token):
        raise Misconfigured("No client could send this DDB_MCP_HTTP_TOKEN.", next="Set it to visible ASCII, one word.")
    listener = listen(host, port)

    server = build()
    sdk.repair(server)
    app: ASGIApp = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=limits.BODY_MAX_BYTES,
        transport_security=_security(host, names),
    )
    if token:
        app = _BearerToken(app, token)

    bound = listener.getsockname()
    sys.stderr.write(f"ddb-mcp: listening on http://{f'[{host}]' if ':' in host else host}:{bound[1]}{PATH}\n")
    HttpServer(app, listener).run()


def _security(host: str, names: Iterable[str]) -> TransportSecuritySettings:
    """Given always: without it the SDK checks neither header as soon as the host is not loopback."""
    from mcp.server.transport_security import TransportSecuritySettings

    known = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *names}
    if not is_loopback(host):
        known |= {socket.gethostname(), socket.getfqdn()}
        with contextlib.suppress(OSError):
            known |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    # Browsers write host names in lower case.
    hosts = [form for name in sorted(map(str.lower, known)) for form in (name, f"{name}:*")]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"{scheme}://{form}" for scheme in ("http", "https") for form in hosts]
    )


class _BearerToken:
    """Lets a request pass that carries the token, once."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_authorized(scope):
            from starlette.responses import PlainTextResponse

            refusal = PlainTextResponse("Bearer token missing or wrong", 401, {"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)
