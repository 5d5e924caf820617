"""A proxy on loopback that does to HTTP what networks and overloaded services do, on the word of a test.

    with FaultProxy(engine.endpoint) as proxy:
        proxy.plan(throttled(), times=2, on="GetItem")
        client = engine.client(proxy.endpoint)
        ...
        assert proxy.count("GetItem") == 3
        assert proxy.connections == 1

A request that no planned fault matches passes to the upstream unchanged, and so does its answer.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True)
class Answer:
    """This answer instead of the upstream's; the upstream never sees the request. A dict is sent as JSON."""

    status: int
    body: bytes | dict[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-amz-json-1.0"})


def dynamodb_error(code: str, status: int = 400, message: str = "made by a test") -> Answer:
    """A DynamoDB error such as `ResourceNotFoundException`, in the JSON form of its protocol."""
    return Answer(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})


def throttled() -> Answer:
    """The answer of a table that is over its capacity."""
    return dynamodb_error("ProvisionedThroughputExceededException")


@dataclass(frozen=True)
class Silence:
    """Read the request and never answer; the upstream never sees it. Lasts until the client hangs up."""


@dataclass(frozen=True)
class Cut:
    """The upstream does the work, but only `answer[:keep]` of its answer's bytes (with head) comes through.

    `keep=0` loses the answer whole, `keep=-1` all but its end. Then the connection is closed in order (`close`),
    by a RST (`reset`), or left open without a word (`hang`).
    """

    keep: int = 0
    end: Literal["close", "reset", "hang"] = "close"


Fault = Answer | Silence | Cut


@dataclass(frozen=True)
class Request:
    """A request that reached the proxy. `operation`: from `X-Amz-Target` (`PutItem`), else the path."""

    operation: str
    body: bytes
    headers: Mapping[str, str]
    connection: int
    at: float


class FaultProxy:
    """A proxy before `upstream` (an http URL on this machine); a context manager that runs it in threads.

    `endpoint` is where clients connect, `requests` what they sent, `connections` how many they opened.
    """

    def __init__(self, upstream: str) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.upstream = urlsplit(upstream).netloc
        self._planned: list[tuple[str | None, Fault]] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: _Server | None = None
        self._held = _bound(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._held.getsockname()[1]}"

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self.refuse()
        self._held.close()

    def plan(self, fault: Fault, times: int = 1, on: str | None = None) -> None:
        """Let the next `times` requests meet `fault`; with `on`, only those of that operation. Plans add up."""
        with self._lock:
            self._planned += [(on, fault)] * times

    def count(self, operation: str) -> int:
        """How many requests of `operation` have arrived, those that met a fault included."""
        return sum(request.operation == operation for request in self.requests)

    def refuse(self) -> None:
        """From now on refuse connections, and hang up on those that are open. The port stays ours."""
        server, self._server = self._server, None
        assert server, "already refusing"
        server.shutdown()
        address = self._held.getsockname()
        server.server_close()
        self._held = _bound(address)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was first
                    connection.shutdown(socket.SHUT_RDWR)

    def accept(self) -> None:
        """Take connections again after `refuse`."""
        self._server = _Server(self, self._held)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    # Called by the connections' threads

    def _opened(self, connection: socket.socket) -> int:
        with self._lock:
            self._open.add(connection)
            self.connections += 1
            return self.connections

    def _closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _next_fault(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for index, (on, fault) in enumerate(self._planned):
                if on in (None, request.operation):
                    del self._planned[index]
                    return fault
            return None


@contextlib.contextmanager
def slow_bodies(url: str, path: str, headers: Mapping[str, str], count: int = 600) -> Iterator[None]:
    """Hold connections whose requests have sent one byte of their bodies. Some of them may be closed by the server."""
    address = urlsplit(url)
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", "{"]).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(ConnectionError):
                client = socket.create_connection((address.hostname or "", address.port or 0), 60)
                stack.enter_context(client).sendall(head)
        time.sleep(0.3)  # a server does not close what is newer than a tenth of a second
        yield


def _bound(address: tuple[str, int]) -> socket.socket:
    """A socket that has its port but does not listen: connections to it are refused, and nobody else gets the port."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(address)
    return held


class LenientServer(ThreadingHTTPServer):
    """A server whose clients may hang up whenever they like."""

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken connection is none; anything else is a bug, raised for pytest to see."""
        if (error := sys.exception()) and not isinstance(error, OSError):
            raise error


class _Server(LenientServer):
    request_queue_size = 128

    def __init__(self, proxy: FaultProxy, listener: socket.socket) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_activate()
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.number = self.server.proxy._opened(self.connection)

    def finish(self) -> None:
        self.server.proxy._closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `FaultProxy.requests` has it all."""

    def _handle(self) -> None:
        if "Transfer-Encoding" in self.headers:
            raise NotImplementedError("requests in chunks")
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        target = self.headers["X-Amz-Target"]
        operation = target.rpartition(".")[2] if target else urlsplit(self.path).path
        request = Request(operation, body, dict(self.headers.items()), self.number, time.monotonic())
        match self.server.proxy._next_fault(request):
            case None:
                self.wfile.write(self._forward(body))
            case Answer(status, answer, headers):
                content = json.dumps(answer).encode() if isinstance(answer, dict) else answer
                self.wfile.write(_answer(status, headers.items(), content))
            case Silence():
                self._hang()
            case Cut(keep, end):
                self.wfile.write(self._forward(body)[:keep])
                self.close_connection = True
                if end == "hang":
                    self._hang()
                elif end == "reset":
                    self._reset()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _forward(self, body: bytes) -> bytes:
        """The upstream's answer to this request, whole. Over a new connection each time, which is never stale."""
        upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=300)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            response = upstream.getresponse()
            content = response.read()
        connection_headers = ("connection", "keep-alive", "transfer-encoding", "content-length")
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in connection_headers]
        return _answer(response.status, kept, content)

    def _hang(self) -> None:
        self.close_connection = True
        while self.connection.recv(65536):
            pass

    def _reset(self) -> None:
        """Close so that the peer gets a RST: lingering for zero seconds (socket(7)), before anything sends a FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())


def _answer(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {http.client.responses.get(status, '')}",
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
