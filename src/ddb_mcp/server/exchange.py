"""One request and its answer, as every HTTP face has them: how long and how slow a body and a client may be."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Unavailable
from ddb_mcp.core.text import compact

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ddb_mcp.server.connections import Connection

logger = logging.getLogger(__name__)

_EXCHANGE = "ddb_mcp.exchange"


class BodyRefused(Exception):
    """A body that is too long or too slow, or a request when there are too many: with HTTP status and error."""

    def __init__(self, status: int, error: DdbMcpError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


class ClientGone(Exception):
    """The client left before its request was whole. Applications let this pass: nobody waits for an answer."""


class InFlight:
    """The bytes of bodies being read and answers not yet taken, of all requests of a process together."""

    def __init__(self) -> None:
        self.bytes = 0

    @property
    def are_too_many(self) -> bool:
        """Whether requests are to be refused until some of these bytes have gone."""
        return self.bytes > limits.IN_FLIGHT_MAX_BYTES


class Exchange:
    """One request and its answer. Faces find it by `Exchange.of` with the scope of their request.

    Args:
        in_flight: counts this exchange's bytes too.
        scope, receive, send: uvicorn's. The application gets others.
    """

    def __init__(self, connection: Connection, in_flight: InFlight, scope: Scope, receive: Receive, send: Send) -> None:
        self.connection = connection
        self._in_flight = in_flight
        # httptools leaves the white space at a value's end.
        fields = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        self._scope = {**scope, "headers": fields, _EXCHANGE: self}
        self._receive = receive
        self._send = send
        headers = dict(fields)
        self._length = int(headers.get(b"content-length", 0))
        self._has_length = b"transfer-encoding" not in headers
        self._ambiguous = b"content-length" in headers and not self._has_length
        self._body_ended = False
        self._body_bytes = 0
        self._is_stream = False
        self._started = False
        self._complete = False
        self._is_ending = False
        self._work = anyio.CancelScope()

    @staticmethod
    def of(scope: Scope) -> Exchange:
        """The exchange of a request, by the scope that the application was given."""
        exchange: Exchange = scope[_EXCHANGE]
        return exchange

    def end_with_client(self) -> None:
        """Cancel the request when its client leaves. Without this call, the request goes on to its end."""
        self.connection.end_with_client(self._work)

    def end(self, deadline: float) -> None:
        """End the request by this time of the event loop; at once where it is a stream that waits for no answer."""
        self._is_ending = True
        waits_for_nothing = self._is_stream and self._scope["method"] == "GET"
        self._work.deadline = -math.inf if waits_for_nothing else deadline

    async def run(self, app: ASGIApp) -> None:
        """Have `app` answer. Whatever happens, the client gets a whole answer, or its connection ends."""
        self.connection.request_began()
        try:
            with self._work:
                await self._answer(app)
            if self._is_ending and not self._complete and not self.connection.is_lost:
                await self._break_off()
        except Exception:
            if not self.connection.is_lost:
                raise
            logger.debug("A request failed whose client had left", exc_info=True)
        finally:
            self._in_flight.bytes -= self._body_bytes
            self.connection.request_ended(self._work, self._body_left())

    async def _answer(self, app: ASGIApp) -> None:
        if self._ambiguous:
            # A proxy before this process may see the end of the body, and the next request, at another byte.
            error = InvalidArgument("A request has either Content-Length or Transfer-Encoding, not both.")
            await self._refuse(400, error, close=True)
        elif self._in_flight.are_too_many:
            await self._refuse(503, Unavailable("The server has too much to do."))
        else:
            if self._has_length and not self._length:
                self._end_body()
            try:
                await app(self._scope, self.receive, self.send)
            except ClientGone:
                logger.debug("A client left before its request was whole")

    async def _refuse(self, status: int, error: DdbMcpError, *, close: bool = False) -> None:
        from starlette.responses import Response  # rarely needed, and a good part of the endpoint's start

        members = error.to_json()
        body = compact({"error": members.pop("code"), **members})
        headers = {"Connection": "close"} if close else {"Retry-After": "1"}
        await Response(body, status, headers, media_type="application/json")(self._scope, self.receive, self.send)

    async def _break_off(self) -> None:
        try:
            if self._started:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._refuse(503, Unavailable("The server is ending."), close=True)
        except Exception:  # an answer whose length was announced cannot end before
            self.connection.abort()

    async def receive(self) -> Message:
        """The application's `receive`."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._end_body()
        return message

    def _end_body(self) -> None:
        if not self._body_ended:
            self._body_ended = True
            self.connection.body_ended()

    async def read_body(self, *, max_bytes: int | None = None, count: Callable[[int], None] | None = None) -> bytes:
        """The whole body of the request.

        Args:
            max_bytes: how long it may be, `limits.BODY_MAX_BYTES` if not given.
            count: called with the bytes of each piece as it comes, and may raise to end the reading.

        Raises:
            BodyRefused: 413 too long, 408 too slow, 503 too much at once.
            ClientGone: the client left before the body was whole.
        """
        max_bytes = limits.BODY_MAX_BYTES if max_bytes is None else max_bytes
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
                self._body_bytes += len(piece)
                self._in_flight.bytes += len(piece)
                if self._in_flight.are_too_many:
                    raise BodyRefused(503, Unavailable("The server has too much to do."))
                body += piece
                if self._body_ended:
                    return bytes(body)
        self.connection.faults.note("body not sent in time")
        raise BodyRefused(408, InvalidArgument(f"The body was not sent within {limits.BODY_SECONDS} s."))

    @staticmethod
    def _too_long(max_bytes: int) -> BodyRefused:
        return BodyRefused(413, InvalidArgument(f"The body has more than {max_bytes} bytes."))

    async def send(self, message: Message) -> None:
        """The application's `send`. It returns when the client has taken nearly all of what was sent."""
        if message["type"] == "http.response.start":
            self._started = True
            self._is_stream = (b"content-type", b"text/event-stream") in [
                (name.lower(), value.partition(b";")[0]) for name, value in message["headers"]
            ]
        elif not message.get("more_body", False):
            self._complete = True
        length = len(message.get("body", b""))
        self._in_flight.bytes += length
        try:
            await self._send(message)
            if not self.connection.drained.is_set():
                await self._wait_for_client()
        finally:
            self._in_flight.bytes -= length

    async def _wait_for_client(self) -> None:
        """Return when the client has taken nearly all of what was sent. A client that does not is cut off."""
        with anyio.move_on_after(limits.ANSWER_READ_SECONDS):
            await self.connection.drained.wait()
            return
        self.connection.faults.note("answer not read in time")
        self.connection.abort()

    def _body_left(self) -> int | None:
        if self._body_ended:
            return 0
        return self._length - self.connection.after_head if self._has_length else None
