"""The gateway's processes: where they listen, and their log."""

import logging
import socket
import sys
from contextlib import nullcontext
from typing import Any

from ddb_mcp.config.settings import GatewaySettings
from ddb_mcp.core.process import log_to_stderr
from ddb_mcp.gateway import metrics
from ddb_mcp.gateway.access_log import log_request
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.gateway.processes import ProcessPool
from ddb_mcp.gateway.registry import Registry, make_registry_settings
from ddb_mcp.stores import make_store
from ddb_mcp.web.listening import Listening
from ddb_mcp.web.serving import HttpServer

GATEWAY_GRACE_SECONDS = 30


logger = logging.getLogger(__name__)


def serve_gateway(
    settings: GatewaySettings,
    listening: Listening,
    *,
    processes: int = 1,
    drain_seconds: float = 0,
    metrics_at: tuple[str, int] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way.

    Args:
        processes: how many share the port, and each tenant's rates.
        drain_seconds: see `HttpServer`.
        metrics_at: address and port of the metrics' own listener.

    Raises:
        Misconfigured: it would listen beyond this machine without TLS, or cannot listen at all.
    """
    listening.tls()  # what is wrong with it is said once, and before any process starts
    listener, address = listening.listen()
    with listener, metrics.serve(*metrics_at, processes) if metrics_at else nullcontext():
        log_requests()
        logger.info("Listening on %s", address)
        arguments = (settings, listening, processes, drain_seconds, listener)
        if processes == 1:
            _serve_one(*arguments)
        else:
            ProcessPool(processes, _serve_one_of_many, arguments).run(listener.close)


def log_requests() -> None:
    """Log what the gateway does, and one line of JSON a request, whatever the log level of the rest."""
    logging.getLogger("ddb_mcp.gateway").setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access: Any = logging.getLogger("ddb_mcp.gateway.access")
    access.addHandler(handler)
    access.propagate = False


def _serve_one_of_many(
    settings: GatewaySettings, listening: Listening, processes: int, drain_seconds: float, listener: socket.socket
) -> None:
    log_to_stderr(settings.log_level)
    log_requests()
    metrics.count_if_inherited()
    _serve_one(settings, listening, processes, drain_seconds, listener)


def _serve_one(
    settings: GatewaySettings, listening: Listening, processes: int, drain_seconds: float, listener: socket.socket
) -> None:
    registry = Registry(make_store(make_registry_settings(settings)))
    gateway = Gateway(registry, make_store(settings), read_only=settings.read_only, processes=processes)
    HttpServer(
        gateway,
        listener,
        tls=listening.tls(),
        grace_seconds=GATEWAY_GRACE_SECONDS,
        drain_seconds=drain_seconds,
        log=log_request,
    ).run()
