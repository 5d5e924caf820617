"""A connection of an HTTP server: uvicorn's protocol sees one request of it at a time."""

from __future__ import annotations

import asyncio
import ssl
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from ddb_mcp.web.framing import BadFraming, Body, find_head_end, hide_upgrade
from ddb_mcp.web.tls import TlsStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import CancelScope

    from ddb_mcp.web.connection_slots import ConnectionSlots

# A connection has HANDSHAKE_SECONDS for TLS, HEAD_SECONDS from the end of a response (or its own beginning) to the end
# of the next request's head, `request_context.BODY_SECONDS` for that request's body, and ANSWER_READ_SECONDS to take
# what is written to it. So a connection that does nothing useful holds its place for at most 30 s.
HANDSHAKE_SECONDS = 10
HEAD_SECONDS = 30
# After an early answer the rest of an announced body is read away for this long, so that its sender sees the answer.
LEFTOVER_SECONDS = 5


_REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class State(Enum):
    """The states of a connection."""

    HANDSHAKE = auto()
    """Not yet in a slot. Over TLS, the handshake is under way."""
    HEAD = auto()
    """Wait for the head of a request."""
    STARTING = auto()
    """A whole head has arrived. Its request waits for its turn to start."""
    BODY = auto()
    """The application runs, and the body is still arriving."""
    RESPONDING = auto()
    """The application runs, and the body is complete. Later bytes belong to the next request and are not read."""
    DRAINING = auto()
    """The response is written. The rest of the body is read and discarded, so that its sender sees the response."""
    CLOSING = auto()
    """Written data is still being sent. Nothing is read."""
    CLOSED = auto()


TRANSITIONS = {
    State.HANDSHAKE: {State.HEAD, State.CLOSED},
    State.HEAD: {State.STARTING, State.CLOSING, State.CLOSED},
    State.STARTING: {State.BODY, State.RESPONDING, State.CLOSING, State.CLOSED},
    State.BODY: {State.RESPONDING, State.DRAINING, State.CLOSING, State.CLOSED},
    State.RESPONDING: {State.HEAD, State.CLOSING, State.CLOSED},
    State.DRAINING: {State.HEAD, State.CLOSING, State.CLOSED},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set[State](),
}


class HttpConnection(asyncio.Protocol):
    """One connection: the protocol of the socket's transport, and the transport of uvicorn's protocol.

    Args:
        slots: all connections of the server.
        tls: the TLS context, None for plain HTTP.
        make_parser: makes uvicorn's protocol for this connection.

    Attributes:
        drained: set while the client has taken nearly all that was written, and when the connection is lost.
    """

    ANSWER_READ_SECONDS = 30

    def __init__(
        self,
        slots: ConnectionSlots,
        tls: ssl.SSLContext | None,
        make_parser: Callable[[HttpConnection], asyncio.Protocol],
    ) -> None:
        self.slots = slots
        self.state = State.HANDSHAKE
        self.drained = asyncio.Event()
        self.drained.set()
        self._tls_context = tls
        self._tls: TlsStream | None = None
        self._make_parser = make_parser
        self._parser = asyncio.Protocol()  # uvicorn's from the first request on
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held = bytearray()  # read, but not yet parsed
        self._unsent: list[bytes] = []
        self._head = b""
        self._body = Body(0)
        self._parser_is_full = False
        self._reads = True
        self._work: CancelScope | None = None  # ends with the client

    @property
    def is_lost(self) -> bool:
        """Return whether nothing more can be sent."""
        return self.state is State.CLOSED

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses
        if self._tls_context is None:
            self._open()
        elif self.slots.admit_handshake(self):
            self._set_timer(HANDSHAKE_SECONDS)
        else:
            self.abort()

    def _open(self) -> None:
        """Have uvicorn's protocol answer requests on this connection, if there is a slot for it."""
        if self.slots.admit(self):
            self._parser = self._make_parser(self)
            self._parser.connection_made(cast(asyncio.Transport, self))
            self._enter(State.HEAD, HEAD_SECONDS)
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self.state is State.HANDSHAKE:
            if not self._held:
                self.slots.queue(self)
            self._held += data
            self._set_reading()
        elif self._tls is not None:
            self._decrypt(data)
        elif not self.is_closing():
            self._held += data
            self._advance()

    def _decrypt(self, data: bytes) -> None:
        """Take what the client sent over TLS."""
        if self._transport is None or self._tls is None or self.is_closing():
            return
        try:
            received = self._tls.decrypt(data)
        except ssl.SSLError:
            self.slots.faults.note("bytes that are not TLS")
            self._transport.write(self._tls.encrypt())  # an alert
            self.abort()
            return
        if to_send := self._tls.encrypt():
            self._transport.write(to_send)
        if self._tls.is_open and self._is(State.HANDSHAKE):
            self._open()
        if received and not self.is_closing():
            self._held += received
            self._advance()
        if self._tls.has_ended:
            self._transport.close()

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._parser.connection_lost(None)  # with an error, uvicorn would leave its timer
        if self._work is not None:
            self._work.cancel()

    # The states

    def _enter(self, state: State, seconds: float | None = None) -> None:
        """Enter a state, and close the connection if it is still in that state after `seconds`."""
        assert state in TRANSITIONS[self.state], (self.state, state)
        self.state = state
        self._set_timer(seconds)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        # A client whose connection ends while it is idle between two requests has made no mistake.
        if self.state is State.HANDSHAKE:
            self.slots.faults.note("no TLS handshake in time")
        elif self.state is State.HEAD and self._held:
            self.slots.faults.note("head not sent in time")
        self.abort()

    def _advance(self) -> None:
        """Do what the bytes held allow, and read on if the state can use more."""
        try:
            if self.state in (State.BODY, State.DRAINING):
                self._take_body()
            if self.state is State.HEAD:
                self._take_head()
        except BadFraming:
            self._refuse()
        self._set_reading()

    def _take_head(self) -> None:
        """Take the next head, if it is complete, and wait for its turn."""
        if self._held.startswith((b"\r", b"\n")):  # empty lines before a request are allowed
            self._held = self._held.lstrip(b"\r\n")
        length = find_head_end(self._held)
        if length is None:
            return
        self._head = hide_upgrade(bytes(self._held[:length]))
        del self._held[:length]
        self._enter(State.STARTING)
        self.slots.queue(self)

    def start(self) -> None:
        """Use this connection's turn: continue the handshake, or pass the head to the parser.

        The parser starts the application, or answers itself and closes.
        """
        if self.state is State.HANDSHAKE and self._tls_context is not None:
            received = bytes(self._held)
            self._held.clear()
            self._tls = self._tls or TlsStream(self._tls_context)
            self._decrypt(received)
            self._set_reading()
        elif self._is(State.STARTING):
            self._parser.data_received(self._head)
            if self._is(State.CLOSING):
                self.slots.faults.note("request that is not HTTP")

    def _take_body(self) -> None:
        """Pass the part of the body that has arrived to the parser."""
        if taken := self._body.take(self._held):
            self._parser.data_received(taken)
        if self._body.has_more:
            self._loop.call_soon(self._advance)
        if self._body.is_over and self._is(State.BODY):
            self._enter(State.RESPONDING)
        elif self._body.is_over and self._is(State.DRAINING):
            self._enter(State.HEAD, self.slots.keep_seconds)

    def _is(self, state: State) -> bool:
        """Return whether the state is this now; a call of the parser may have changed it."""
        return self.state is state

    def _refuse(self) -> None:
        """Refuse a head that is too long, or chunks that are none."""
        is_head = self.state is State.HEAD
        self.slots.faults.note("head too long" if is_head else "request that is not HTTP")
        if self.state is not State.DRAINING:
            self.write(_REFUSAL % (b"431 Request Header Fields Too Large" if is_head else b"400 Bad Request"))
        self.close()

    def _set_reading(self) -> None:
        """Read only what the state can use: nothing more is read than was under way."""
        match self.state:
            case State.BODY | State.DRAINING:
                reads = not self._parser_is_full and not self._body.has_more
            case State.HANDSHAKE | State.STARTING | State.RESPONDING:
                reads = not self._held
            case State.CLOSING | State.CLOSED:
                return
            case _:
                reads = True
        if reads != self._reads and self._transport is not None:
            self._reads = reads
            (self._transport.resume_reading if reads else self._transport.pause_reading)()

    # Called by a request context

    def begin(self, body: Body) -> bool:
        """Note that the application starts on a request with this body. Return False if the client has left."""
        if self.state is not State.STARTING:
            self.abort()
            return False
        self.slots.begin(self)
        self._body = body
        self._enter(State.RESPONDING if body.is_over else State.BODY)
        self._advance()
        return True

    def end_with_client(self, work: CancelScope | None) -> None:
        """Cancel this work if the client leaves before the response is written."""
        self._work = work
        if self.is_lost and work is not None:
            work.cancel()

    def finish(self, *, answered: bool) -> None:
        """Note that the application has returned. If it sent no response, uvicorn sends one and closes."""
        self._work = None
        if not answered:
            return
        if self.state is State.BODY:
            self._enter(State.DRAINING, LEFTOVER_SECONDS)
        elif self.state is State.RESPONDING:
            self._enter(State.HEAD, self.slots.keep_seconds)
        self._advance()

    # The end

    def abort(self) -> None:
        """Close it now, whatever is still to be sent."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        if not self.is_lost:
            self._enter(State.CLOSED)
            self._held.clear()
            self.slots.release(self)
            self.drained.set()

    # The transport of uvicorn's protocol

    def write(self, data: bytes) -> None:
        """Send data. Two writes of one turn of the event loop are sent as one.

        uvicorn writes a head and a body, and each write is a large part of what a short answer costs, at both ends.
        """
        self._unsent.append(data)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self._transport.is_closing():
            if self._tls is None:
                self._transport.writelines(self._unsent)
            else:
                self._transport.write(self._tls.encrypt(b"".join(self._unsent)))
        self._unsent = []

    def close(self) -> None:
        """Close it when what was written is sent."""
        if self.state not in (State.CLOSING, State.CLOSED) and self._transport is not None:
            self._flush()
            if self._tls is not None:
                self._transport.write(self._tls.end())
            self._enter(State.CLOSING, self.ANSWER_READ_SECONDS)
            self._held.clear()
            self._transport.close()

    def is_closing(self) -> bool:
        """Return whether nothing more can be written."""
        return self.state in (State.CLOSING, State.CLOSED)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows, and whether this connection speaks TLS."""
        if name == "sslcontext":
            return self._tls_context
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Read no more of the body for now."""
        self._parser_is_full = True
        self._set_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._parser_is_full = False
        self._set_reading()
