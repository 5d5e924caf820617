"""Metrics for Prometheus, none of them with a label per tenant: the access log has usage by tenant.

Nothing is counted, and `prometheus_client` not imported, before `serve`. Several processes write their counts into
files of one directory, and their parent sums them: https://prometheus.github.io/client_python/multiprocess/
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ddb_mcp.core.errors import Misconfigured

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_LABELS = ("interface", "tool", "outcome")


class _Metrics:
    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.seconds = Histogram("ddb_mcp_request_seconds", "Requests and their durations.", _LABELS)
        self.refusals = Counter("ddb_mcp_refusals", "Requests refused by a budget of their tenant.", ("budget",))
        self.in_flight = Gauge("ddb_mcp_requests_in_flight", "Requests being served.", multiprocess_mode="livesum")
        self.errors = Counter("ddb_mcp_backend_errors", "Errors of the registry and the storage.", ("backend", "code"))


_metrics: _Metrics | None = None


@contextmanager
def serve(host: str, port: int, processes: int) -> Iterator[None]:
    """Serve the metrics over HTTP while this is open, and count in this process or in its children.

    Raises:
        Misconfigured: the address cannot be listened on.
    """
    with tempfile.TemporaryDirectory() if processes > 1 else nullcontext() as directory:
        if directory:
            os.environ[_DIRECTORY] = directory  # children inherit it
        from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = REGISTRY
        if directory:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        try:
            server, _ = start_http_server(port, host, registry)
        except OSError as error:
            raise Misconfigured(f"--metrics-port: {host} port {port} cannot be used ({error.strerror}).") from None
        if not directory:
            count()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            os.environ.pop(_DIRECTORY, None)


def count() -> None:
    """Count in this process from now on."""
    global _metrics
    _metrics = _metrics or _Metrics()


def count_if_inherited() -> None:
    """Count in this process if its parent serves the metrics."""
    if _DIRECTORY in os.environ:
        count()


def forget_process(pid: int) -> None:
    """Leave out the requests in flight of a process that has ended."""
    if _DIRECTORY in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def in_flight() -> "AbstractContextManager[Any]":
    """Count a request that is being served while this is open."""
    return _metrics.in_flight.track_inprogress() if _metrics else nullcontext()


def count_request(entry: dict[str, Any], seconds: float) -> None:
    """Count a request that has ended, by its line in the access log."""
    if _metrics:
        _metrics.seconds.labels(entry["interface"] or "", entry["tool"] or "", entry["error"] or "ok").observe(seconds)


def count_refusal(budget: str) -> None:
    """Count a request that a budget of its tenant refused."""
    if _metrics:
        _metrics.refusals.labels(budget).inc()


def count_backend_error(backend: str, code: str) -> None:
    """Count an error of the registry or the storage."""
    if _metrics:
        _metrics.errors.labels(backend, code).inc()
