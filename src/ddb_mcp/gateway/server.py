"""The gateway's processes: where they listen, and their log."""

import logging
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb_mcp.config.settings import GatewaySettings
from ddb_mcp.core import limits
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.gateway.processes import Processes
from ddb_mcp.gateway.registry import Registry, registry_settings
from ddb_mcp.server.listening import listen, require_tls, tls_context
from ddb_mcp.server.serving import HttpServer
from ddb_mcp.stores import make_store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listening:
    """Where to listen, and how.

    Attributes:
        port: 0 for any free one; the log says which.
        tls_certificate: PEM file with the certificate chain; `tls_key` with its key.
        behind_tls_proxy: a proxy before this process speaks TLS, so that it may listen beyond this machine without.
        processes: how many share the port, and each tenant's rates.
    """

    host: str
    port: int
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False
    processes: int = 1


def serve(settings: GatewaySettings, listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way.

    Raises:
        Misconfigured: it would listen beyond this machine without TLS, or cannot listen at all.
    """
    tls = tls_context(listening.tls_certificate, listening.tls_key)
    require_tls(listening.host, tls, behind_tls_proxy=listening.behind_tls_proxy)
    with listen(listening.host, listening.port) as listener:
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        scheme = "https" if tls else "http"
        logger.info("Listening on %s://%s:%d", scheme, host, listener.getsockname()[1])
        if listening.processes == 1:
            _serve_one(settings, listening, listener)
        else:
            Processes(listening.processes, _serve_one_of_many, (settings, listening, listener)).run()


def log_to_stderr() -> None:
    """Show what the gateway has to say, and one line of JSON a request, whatever the log level of the rest."""
    logging.getLogger("ddb_mcp.gateway").setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access: Any = logging.getLogger("ddb_mcp.gateway.access")
    access.addHandler(handler)
    access.propagate = False


def _serve_one_of_many(settings: GatewaySettings, listening: Listening, listener: socket.socket) -> None:
    log_format = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=settings.log_level, format=log_format)
    log_to_stderr()
    _serve_one(settings, listening, listener)


def _serve_one(settings: GatewaySettings, listening: Listening, listener: socket.socket) -> None:
    registry = Registry(make_store(registry_settings(settings)))
    gateway = Gateway(registry, make_store(settings), read_only=settings.read_only, processes=listening.processes)
    HttpServer(
        gateway,
        listener,
        tls=tls_context(listening.tls_certificate, listening.tls_key),
        behind_proxy=listening.behind_tls_proxy,
        grace_seconds=limits.GATEWAY_GRACE_SECONDS,
    ).run()
