"""One request and its answer: how long and how slow a body and a client may be."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any

import anyio

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Unavailable
from ddb_mcp.core.text import encode_json
from ddb_mcp.web.framing import BadFraming, Body, get_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ddb_mcp.web.connection import HttpConnection

BODY_SECONDS = 20
# An item of 400 KB, all of it characters that JSON escapes, sent as a JSON string within JSON, has less than 3 MB.
BODY_MAX_BYTES = 4_000_000
# Bodies being read and answers not yet taken, of all requests of a process together. Beyond it: status 503.
IN_FLIGHT_MAX_BYTES = 128_000_000


logger = logging.getLogger(__name__)

_CONTEXT = "ddb_mcp.request_context"


class BodyRejected(Exception):
    """A body that is too long or too slow, or a request when there are too many: with HTTP status and error."""

    def __init__(self, status: int, error: DdbMcpError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


class ClientGone(Exception):
    """The client disconnected before its request was complete. Applications let this pass; nobody awaits a response."""


class RequestContext:
    """One request and its answer. Applications find it by `RequestContext.of` with the scope of their request.

    Args:
        scope, receive, send: uvicorn's. The application gets others.

    Attributes:
        client: address and port of the other end of its connection.
        facts: what the application notes about the request, for its log.
        status: of the response, None before it has begun.
        bytes_in, bytes_out: of the bodies, as far as they were read and sent.
    """

    def __init__(self, connection: HttpConnection, scope: Scope, receive: Receive, send: Send) -> None:
        self.connection = connection
        # httptools leaves the white space at a value's end.
        self._headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        self._scope = {**scope, "headers": self._headers, _CONTEXT: self}
        self._receive = receive
        self._send = send
        self._owner: str | None = None
        self._started = time.monotonic()
        self._complete = False
        self.client: tuple[str, int] | None = scope["client"]
        self.facts: dict[str, Any] = {}
        self.status: int | None = None
        self.bytes_in = self.bytes_out = 0
        self._work = anyio.CancelScope()

    @staticmethod
    def of(scope: Scope) -> RequestContext:
        """Return the context of a request, by the scope that the application received."""
        context: RequestContext = scope[_CONTEXT]
        return context

    @property
    def seconds(self) -> float:
        """Return the time since the request came."""
        return time.monotonic() - self._started

    @property
    def was_abandoned(self) -> bool:
        """Return whether the client left before it had the whole response."""
        return self.connection.is_lost and not self._complete

    def admit(self, owner: str | None = None) -> bool:
        """Admit the caller, so that its connection keeps its slot. Return False if its owner has too many requests.

        Args:
            owner: whose share of the server the request takes. None if the server is not shared.
        """
        if not self.connection.slots.assign(self.connection, owner):
            return False
        self._owner = owner
        return True

    @property
    def is_draining(self) -> bool:
        """Return whether the server will soon end."""
        return self.connection.slots.is_draining

    def outlive_client(self) -> None:
        """Finish the request even if its client leaves from now on. Without this call, it is cancelled then."""
        self.connection.end_with_client(None)

    def end(self, deadline: float) -> None:
        """End the request by this time of the event loop; a GET, which may be a stream without an end, at once."""
        self._work.deadline = -math.inf if self._scope["method"] == "GET" else deadline

    async def run(self, app: ASGIApp) -> None:
        """Have `app` answer. Whatever happens, the client gets a whole answer, or its connection ends."""
        try:
            self.connection.end_with_client(self._work)
            with self._work:
                await self._answer(app)
            if not self._complete and not self.connection.is_lost:
                await self._abandon()
        except Exception:
            if not self.connection.is_lost:
                raise
            logger.debug("A request failed after its client had disconnected", exc_info=True)
        finally:
            self.connection.slots.bytes_in_flight -= self.bytes_in
            self.connection.slots.finish(self.connection, self._owner)
            self.connection.finish(answered=self._complete)

    async def _answer(self, app: ASGIApp) -> None:
        try:
            body = get_body(self._scope["method"], self._headers)
        except BadFraming:
            self.connection.begin(Body(0))
            error = InvalidArgument(
                "A request must have one Content-Length, or one Transfer-Encoding, which must be chunked."
            )
            await self._refuse(400, error, {"Connection": "close"})
            return
        if not self.connection.begin(body):
            return
        if self._is_overloaded:
            await self._refuse(503, Unavailable("The server is overloaded."), {"Retry-After": "1"})
            return
        try:
            await app(self._scope, self._receive, self.send)
        except ClientGone:
            logger.debug("A client disconnected before its request was complete")

    @property
    def _is_overloaded(self) -> bool:
        return self.connection.slots.bytes_in_flight > IN_FLIGHT_MAX_BYTES

    async def _refuse(self, status: int, error: DdbMcpError, headers: dict[str, str]) -> None:
        from starlette.responses import Response  # rarely needed, and a good part of the endpoint's start

        members = error.to_json()
        self.facts["error"] = error.code
        body = encode_json({"error": members.pop("code"), **members})
        await Response(body, status, headers, media_type="application/json")(self._scope, self._receive, self.send)

    async def _abandon(self) -> None:
        try:
            if self.status is not None:
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._refuse(503, Unavailable("The server is shutting down."), {"Connection": "close"})
        except Exception:  # an answer whose length was announced cannot end before
            self.connection.abort()

    async def read_body(self, *, max_bytes: int | None = None, count: Callable[[int], None] | None = None) -> bytes:
        """Read the whole body of the request.

        Args:
            max_bytes: how long it may be, `BODY_MAX_BYTES` by default.
            count: called with the bytes of each piece as it comes, and may raise to end the reading.

        Raises:
            BodyRejected: 413 too long, 408 too slow, 503 too much at once.
            ClientGone: the client left before the body was whole.
        """
        max_bytes = BODY_MAX_BYTES if max_bytes is None else max_bytes
        announced = dict(self._headers).get(b"content-length", b"0")
        if len(announced) > 15 or int(announced) > max_bytes:
            raise self._make_too_long_error(max_bytes)
        body = bytearray()
        with anyio.move_on_after(BODY_SECONDS):
            while True:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise ClientGone
                piece = message.get("body", b"")
                if len(body) + len(piece) > max_bytes:
                    raise self._make_too_long_error(max_bytes)
                if count:
                    count(len(piece))
                self.bytes_in += len(piece)
                self.connection.slots.bytes_in_flight += len(piece)
                if self._is_overloaded:
                    raise BodyRejected(503, Unavailable("The server is overloaded."))
                body += piece
                if not message.get("more_body", False):
                    return bytes(body)
        self.connection.slots.faults.note("body not sent in time")
        raise BodyRejected(408, InvalidArgument(f"The body was not sent within {BODY_SECONDS} s."))

    @staticmethod
    def _make_too_long_error(max_bytes: int) -> BodyRejected:
        return BodyRejected(413, InvalidArgument(f"The body has more than {max_bytes} bytes."))

    async def send(self, message: Message) -> None:
        """Send a message, and return once the client has received nearly all that was sent."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.is_draining:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif not message.get("more_body", False):
            self._complete = True
        length = len(message.get("body", b""))
        self.bytes_out += length
        self.connection.slots.bytes_in_flight += length
        try:
            await self._send(message)
            if not self.connection.drained.is_set():
                await self._wait_for_client()
        finally:
            self.connection.slots.bytes_in_flight -= length

    async def _wait_for_client(self) -> None:
        """Wait until the client has received nearly all that was sent. Abort the connection of one that does not."""
        with anyio.move_on_after(self.connection.ANSWER_READ_SECONDS):
            await self.connection.drained.wait()
            return
        self.connection.slots.faults.note("answer not read in time")
        self.connection.abort()
