"""The gateway's process: where it listens, and its log."""

import logging
import sys
from pathlib import Path
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.server.serving import HttpServer, require_tls, tls_context
from ddb_mcp.server.sockets import listen

logger = logging.getLogger(__name__)


def serve(
    gateway: Gateway,
    *,
    host: str,
    port: int,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    behind_tls_proxy: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way.

    Args:
        port: 0 for any free one; the log says which.
        tls_certificate: PEM file with the certificate chain; `tls_key` with its key.
        behind_tls_proxy: a proxy before this process speaks TLS, so that this process may listen beyond this machine
            without.

    Raises:
        Misconfigured: it would listen beyond this machine without TLS, or cannot listen at all.
    """
    tls = tls_context(tls_certificate, tls_key)
    require_tls(host, tls, behind_tls_proxy=behind_tls_proxy)
    with listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        logger.info("Listening on %s://%s:%d", "https" if tls else "http", shown, listener.getsockname()[1])
        HttpServer(
            gateway.app(),
            listener,
            tls=tls,
            behind_proxy=behind_tls_proxy,
            grace_seconds=limits.GATEWAY_GRACE_SECONDS,
        ).run()


def log_to_stderr() -> None:
    """Show what the gateway has to say, and one line of JSON a request, whatever the log level of the rest."""
    logging.getLogger("ddb_mcp.gateway").setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access: Any = logging.getLogger("ddb_mcp.gateway.access")
    access.addHandler(handler)
    access.propagate = False
