"""The HTTP server of every face: uvicorn, with limits on connections, heads, bodies and answers.

A face is an ASGI application. It reads a request's body with `read_body`, and nothing else of this module. Limits are
those of `core/limits.py`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl
import sys
import threading
from typing import TYPE_CHECKING

import anyio

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Unavailable
from ddb_mcp.core.text import compact
from ddb_mcp.server.connections import ClientFaults, Connection, Connections
from ddb_mcp.server.leaving import leave_after

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from types import FrameType

    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_EXCHANGE = "ddb_mcp.exchange"
_JSON_HEADERS = [(b"content-type", b"application/json")]


class BodyRefused(Exception):
    """A body that is too long or too slow, or a request when there are too many: with HTTP status and error."""

    def __init__(self, status: int, error: DdbMcpError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


class ClientGone(Exception):
    """The client left before its request was whole. Applications let this pass: nobody waits for an answer."""


async def read_body(scope: Scope, *, max_bytes: int | None = None, count: Callable[[int], None] | None = None) -> bytes:
    """The whole body of the request.

    Args:
        scope: the request's, as the application was given it.
        max_bytes: how long it may be, `limits.BODY_MAX_BYTES` if not given.
        count: called with the bytes of each piece as it comes, and may raise to end the reading.

    Raises:
        BodyRefused: 413 too long, 408 too slow, 503 too much at once.
        ClientGone: see there.
    """
    exchange: _Exchange = scope[_EXCHANGE]
    return await exchange.read_body(limits.BODY_MAX_BYTES if max_bytes is None else max_bytes, count)


async def live(receive: Receive, send: Send, close: Callable[[], Awaitable[None]]) -> None:
    """Answer the lifespan messages of an application that only has something to close at its end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await close()
    await send({"type": "lifespan.shutdown.complete"})


def note_fault(scope: Scope, kind: str, example: str = "") -> None:
    """Count something that this request's client does wrong, see `ClientFaults.note`."""
    exchange: _Exchange = scope[_EXCHANGE]
    exchange.note(kind, example)


class HttpServer:
    """Serves an ASGI application (with lifespan) on a listening socket.

    Args:
        listener: from `listening.listen`; it is closed at the end.
        tls: speaks TLS on each connection.
        behind_proxy: all clients share a proxy's address, so that none is limited on its own.
        grace_seconds: how long requests under way may go on after a signal, `limits.GRACE_SECONDS` if not given.
        keep_seconds: how long an idle connection is kept, `limits.HEAD_SECONDS` if not given.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        behind_proxy: bool = False,
        grace_seconds: float | None = None,
        keep_seconds: float | None = None,
    ) -> None:
        import uvicorn

        self._listener = listener
        grace = limits.GRACE_SECONDS if grace_seconds is None else grace_seconds
        faults = ClientFaults()
        most = _most_connections()
        shared = behind_proxy or is_loopback(listener.getsockname()[0])
        keep = limits.HEAD_SECONDS if keep_seconds is None else keep_seconds
        connections = Connections(faults, tls, most, most if shared else limits.CONNECTIONS_PER_ADDRESS, keep)
        self._requests = requests = _Requests(app, connections, grace)
        self._filter = _FaultFilter(faults)

        class Process(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                requests.end()
                leave_after(grace + 2, 128 + sig)  # a worker thread may delay the end
                super().handle_exit(sig, frame)

        self._server = Process(_config(requests, connections, grace))

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`, then finish the requests under way.

        In the main thread, a signal ends the process after that, without waiting for worker threads.
        """
        if threading.current_thread() is threading.main_thread():
            _own_process()
        log = logging.getLogger("uvicorn.error")
        # Another server of this process may have switched off what is counted here.
        log.setLevel(logging.WARNING)
        log.disabled = False
        log.addFilter(self._filter)
        try:
            self._server.run(sockets=[self._listener])
        finally:
            log.removeFilter(self._filter)

    @property
    def started(self) -> bool:
        """Whether connections are accepted."""
        return self._server.started

    def stop(self) -> None:
        """End as after a signal. Any thread may call it."""
        self._requests.end()
        self._server.should_exit = True


def _own_process() -> None:
    """Settings of a process that only serves."""
    # uvicorn raises the signal again when it is done; Python's own handler would wait for worker threads.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The event loop, and a thread that comes back from SQLite, wait so long for the interpreter, several times a
    # request. Twice the puts a second of Python's own 5 ms, with 16 clients of the endpoint.
    sys.setswitchinterval(0.0005)
    # What is there by now stays. Each full collection would walk over it, and all requests would wait for 20 ms.
    gc.collect()
    gc.freeze()


def _config(requests: _Requests, connections: Connections, grace_seconds: float) -> uvicorn.Config:
    import uvicorn

    own = uvicorn.Config(requests, log_config=None)
    own.load()  # decides between httptools and h11
    return uvicorn.Config(
        requests,
        http=connections.protocol(own.http_protocol_class),
        # uvloop reads from a connection before TLS can begin on it.
        loop="asyncio" if connections.tls else "auto",
        interface="asgi3",
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a request's client stays the other end of its connection
        backlog=limits.BACKLOG,
        timeout_keep_alive=int(connections.keep_seconds),
        timeout_graceful_shutdown=int(grace_seconds) + 5,  # our own comes first, and without an error in the log
    )


def _most_connections() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return limits.CONNECTIONS_MAX
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limits.CONNECTIONS_MAX if descriptors < 0 else min(limits.CONNECTIONS_MAX, descriptors // 2)


class _FaultFilter(logging.Filter):
    """Turns uvicorn's warning about each bad request into a count of `ClientFaults`."""

    _ROUTINE = ("Invalid HTTP request received.", "Unsupported upgrade request.", "No supported WebSocket library")

    def __init__(self, faults: ClientFaults) -> None:
        super().__init__()
        self._faults = faults

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(self._ROUTINE):
            return True
        self._faults.note("request that is not HTTP")
        return False


class _Requests:
    """The application, each of whose requests is an `_Exchange`."""

    def __init__(self, app: ASGIApp, connections: Connections, grace_seconds: float) -> None:
        self.app = app
        self.connections = connections
        self.bytes_in_flight = 0
        self.is_ending = False
        self._grace = grace_seconds
        self._open: set[_Exchange] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            self._loop = asyncio.get_running_loop()
            self._loop.set_exception_handler(self.connections.faults.of_loop)
            await self.app(scope, receive, send)
            return
        connection = self.connections.find(scope)
        if connection is None:  # its client is gone already
            return
        exchange = _Exchange(self, connection, scope, receive, send)
        self._open.add(exchange)
        try:
            await exchange.run()
        finally:
            self._open.discard(exchange)

    def end(self) -> None:
        """Let the requests under way end. Signal handlers and other threads may call it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self.is_ending:
            return
        self.is_ending = True
        assert self._loop is not None
        for exchange in self._open:
            if exchange.waits_for_nothing:
                exchange.scope_of_work.cancel()
            else:
                self._loop.call_later(self._grace, exchange.scope_of_work.cancel)
        self._loop.call_later(self._grace + 1, self.connections.abort_all)


class _Exchange:
    """One request and its answer."""

    def __init__(self, requests: _Requests, connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests = requests
        self._connection = connection
        # httptools leaves the white space at a value's end.
        given = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        self._scope = {**scope, "headers": given, _EXCHANGE: self}
        self._receive = receive
        self._send = send
        headers = dict(given)
        self._length = int(headers.get(b"content-length", 0))
        self._has_length = b"transfer-encoding" not in headers
        self._ambiguous = b"content-length" in headers and not self._has_length
        self._body_ended = False
        self._in_flight = 0
        self._is_stream = False
        self._started = False
        self._complete = False
        self.scope_of_work = anyio.CancelScope()

    def note(self, kind: str, example: str = "") -> None:
        """See `ClientFaults.note`."""
        self._requests.connections.faults.note(kind, example)

    @property
    def waits_for_nothing(self) -> bool:
        """Whether it is a stream that a client keeps open without a request for anything."""
        return self._is_stream and self._scope["method"] == "GET"

    async def run(self) -> None:
        """Have the application answer. Whatever happens, the client gets a whole answer, or its connection ends."""
        self._connection.request_began()
        try:
            with self.scope_of_work:
                await self._answer()
            if not self._complete and not self._connection.is_lost and self._was_ended:
                await self._break_off()
        except Exception:
            if not self._connection.is_lost:
                raise
            logger.debug("A request failed whose client had left", exc_info=True)
        finally:
            self._requests.bytes_in_flight -= self._in_flight
            self._connection.request_ended(self._body_left())

    @property
    def _was_ended(self) -> bool:
        return self.scope_of_work.cancel_called or self._requests.is_ending

    async def _answer(self) -> None:
        if self._ambiguous:
            # A proxy before this process may see the end of the body, and the next request, at another byte.
            error = InvalidArgument("A request has either Content-Length or Transfer-Encoding, not both.")
            await self._refuse(400, error, close=True)
        elif self._requests.bytes_in_flight > limits.IN_FLIGHT_MAX_BYTES:
            await self._refuse(503, Unavailable("The server has too much to do."))
        else:
            if self._has_length and not self._length:
                self._end_body()
            try:
                await self._requests.app(self._scope, self.receive, self.send)
            except ClientGone:
                logger.debug("A client left before its request was whole")

    async def _refuse(self, status: int, error: DdbMcpError, *, close: bool = False) -> None:
        said = error.to_json()
        body = compact({"error": said.pop("code"), **said}).encode()
        headers = [*_JSON_HEADERS, (b"content-length", str(len(body)).encode()), (b"retry-after", b"1")]
        if close:
            headers[-1] = (b"connection", b"close")
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _break_off(self) -> None:
        try:
            if self._started:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._refuse(503, Unavailable("The server is ending."), close=True)
        except Exception:  # an answer whose length was announced cannot end before
            self._connection.abort()

    async def receive(self) -> Message:
        """The application's `receive`."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._end_body()
        return message

    def _end_body(self) -> None:
        if not self._body_ended:
            self._body_ended = True
            self._connection.body_ended()

    async def read_body(self, max_bytes: int, count: Callable[[int], None] | None) -> bytes:
        """See the function of this name."""
        if self._length > max_bytes:
            raise self._too_long(max_bytes)
        body = bytearray()
        with anyio.move_on_after(limits.BODY_SECONDS):
            while True:
                message = await self.receive()
                if message["type"] != "http.request":
                    raise ClientGone
                piece = message.get("body", b"")
                if len(body) + len(piece) > max_bytes:
                    raise self._too_long(max_bytes)
                if count:
                    count(len(piece))
                self._fly(len(piece))
                body += piece
                if self._body_ended:
                    return bytes(body)
        self.note("body not sent in time")
        raise BodyRefused(408, InvalidArgument(f"The body was not sent within {limits.BODY_SECONDS} s."))

    @staticmethod
    def _too_long(max_bytes: int) -> BodyRefused:
        return BodyRefused(413, InvalidArgument(f"The body has more than {max_bytes} bytes."))

    def _fly(self, length: int) -> None:
        self._in_flight += length
        self._requests.bytes_in_flight += length
        if self._requests.bytes_in_flight > limits.IN_FLIGHT_MAX_BYTES:
            raise BodyRefused(503, Unavailable("The server has too much to do."))

    async def send(self, message: Message) -> None:
        """The application's `send`. It returns when the client has taken nearly all of what was sent."""
        length = len(message.get("body", b""))
        if message["type"] == "http.response.start":
            self._started = True
            self._is_stream = (b"content-type", b"text/event-stream") in [
                (name.lower(), value.partition(b";")[0]) for name, value in message["headers"]
            ]
        elif not message.get("more_body", False):
            self._complete = True
        self._requests.bytes_in_flight += length
        try:
            is_sent = self._connection.is_drained
            if is_sent:
                await self._send(message)
            if not self._connection.is_drained:
                await self._drained(None if is_sent else message)
        finally:
            self._requests.bytes_in_flight -= length

    async def _drained(self, message: Message | None) -> None:
        """Wait for a client that does not take what it gets, then send the message."""
        with anyio.move_on_after(limits.ANSWER_READ_SECONDS) as waiting:
            if message:
                await self._send(message)
            await self._connection.drained()
        if waiting.cancelled_caught:
            self.note("answer not read in time")
            self._connection.abort()

    def _body_left(self) -> int | None:
        if self._body_ended:
            return 0
        return self._length - self._connection.after_head if self._has_length else None
