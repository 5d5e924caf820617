"""The gateway's process: where it listens, TLS, clients that are too slow, and its end."""

import asyncio
import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ddb_mcp.config import is_loopback
from ddb_mcp.core import limits
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.server.sockets import listen

logger = logging.getLogger(__name__)


class _Protocol(H11Protocol):
    """uvicorn would wait for the head of a request for ever, as long as a byte of it comes now and then."""

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_busy():
            self._cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_busy():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._cancel()
        self._head_due = self.loop.call_later(limits.HEAD_SECONDS, self.transport.abort)

    def _cancel(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None


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
    if (tls_certificate is None) != (tls_key is None):
        raise Misconfigured("TLS takes a certificate and its key.", next="Give both --tls-cert and --tls-key.")
    if not is_loopback(host) and tls_certificate is None and not behind_tls_proxy:
        raise Misconfigured(
            f"On {host or 'every address'}, tokens and data would travel in the clear.",
            next="Give --tls-cert and --tls-key, or --behind-tls-proxy if a proxy terminates TLS.",
        )
    config = configured(gateway, tls_certificate, tls_key)
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(
            f"The TLS certificate or its key cannot be used: {error.strerror or error.args[0]}.",
            next="Correct --tls-cert and --tls-key.",
        ) from None
    with listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if tls_certificate else "http"
        logger.info("Listening on %s://%s:%d", scheme, shown, listener.getsockname()[1])
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def configured(gateway: Gateway, tls_certificate: Path | None = None, tls_key: Path | None = None) -> uvicorn.Config:
    """How the gateway is served."""
    return uvicorn.Config(
        gateway.app(),
        http=_Protocol,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.HEAD_SECONDS,
        timeout_graceful_shutdown=limits.GATEWAY_GRACE_SECONDS,
        h11_max_incomplete_event_size=limits.HEAD_MAX_BYTES,
        ssl_certfile=tls_certificate,
        ssl_keyfile=tls_key,
    )


def log_to_stderr() -> None:
    """Show what the gateway has to say, and one line of JSON a request, whatever the log level of the rest."""
    logging.getLogger("ddb_mcp.gateway").setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access: Any = logging.getLogger("ddb_mcp.gateway.access")
    access.addHandler(handler)
    access.propagate = False
