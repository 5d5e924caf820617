"""Connections of an HTTP server: how many there are, and what each may cost before a request has come.

A `Connection` stands between a socket and the protocol object that uvicorn has for it (`uvicorn.Config(http=…)` takes
any `asyncio.Protocol` class), and counts only: it reads nothing of HTTP but where a head ends.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from ddb_mcp.core import limits
from ddb_mcp.server.joined_writes import JoinedWrites

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, MutableMapping

    from anyio import CancelScope

    from ddb_mcp.server.client_faults import ClientFaults

_HEAD_END = re.compile(rb"\n\r?\n")
_HEAD_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connections:
    """All connections of one server.

    Args:
        tls: speaks TLS on each, None for none.
        most: connections at once.
        per_address: connections from one address at once.
        keep_seconds: how long an idle connection is kept after an answer.
    """

    def __init__(
        self, faults: ClientFaults, tls: ssl.SSLContext | None, most: int, per_address: int, keep_seconds: float
    ) -> None:
        self.faults = faults
        self.tls = tls
        self._max_connections = most
        self._per_address = per_address
        self.keep_seconds = keep_seconds
        self._addresses: Counter[str] = Counter()
        self._named: dict[tuple[Any, Any], Connection] = {}
        # In the order in which they began to wait for a head.
        self._waiting: dict[Connection, float] = {}

    def protocol(self, inner: Callable[..., asyncio.Protocol]) -> type[asyncio.Protocol]:
        """The class of protocols for `uvicorn.Config(http=…)`.

        Args:
            inner: makes uvicorn's own protocol from the arguments that uvicorn gives.
        """
        connections = self

        class Served(Connection):
            def __init__(self, **arguments: Any) -> None:
                super().__init__(connections, inner(**arguments))

        return Served

    def find(self, scope: MutableMapping[str, Any]) -> Connection | None:
        """The connection of an ASGI request, None if it is gone."""
        return self._named.get((scope["client"], scope["server"]))

    def admit(self, connection: Connection) -> bool:
        """Whether a new connection may stay. Where there are too many, it takes the place of an idle connection."""
        address = connection.address
        if stale := self._named.get(connection.name):
            stale.abort()  # its client is gone, or it could not use the same port again
        if self._addresses[address] >= self._per_address and not self._make_room(address):
            return False
        if len(self._named) >= self._max_connections and not self._make_room(None):
            return False
        self._addresses[address] += 1
        self._named[connection.name] = connection
        self.waits(connection)
        return True

    def _make_room(self, address: str | None) -> bool:
        """End the connection, of this address or of any, that waits longest for a head. False where none waits long."""
        self.faults.note("connection closed, too many at once")
        latest = asyncio.get_running_loop().time() - limits.IDLE_SECONDS
        for connection, since in self._waiting.items():
            if since > latest:
                break
            if address is None or connection.address == address:
                connection.abort()
                return True
        return False

    def abort_all(self) -> None:
        """End every connection now."""
        for connection in list(self._named.values()):
            connection.abort()

    def waits(self, connection: Connection) -> None:
        """The connection waits for a head from now on."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = asyncio.get_running_loop().time()

    def works(self, connection: Connection) -> None:
        """The connection has a request under way."""
        self._waiting.pop(connection, None)

    def release(self, connection: Connection) -> None:
        """The connection has ended."""
        self._waiting.pop(connection, None)
        if self._named.get(connection.name) is connection:
            del self._named[connection.name]
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        connections: all of the server.
        inner: uvicorn's protocol, which sees nothing before TLS is agreed on.

    Attributes:
        name: address and port of the client, and of the server.
        address: the client's.
        is_lost: nothing more can be sent.
        after_head: bytes that came after the head of the request under way.
        drained: set while the client has taken nearly all that was written, and when the connection is lost.
    """

    name: tuple[Any, Any]
    address: str

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self.faults = connections.faults
        self._all = connections
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._is_open = False  # for `inner`
        self.is_lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._cancel_on_loss: set[CancelScope] = set()
        self._head: bytearray | None = bytearray()  # None after its end
        self.after_head = 0
        self._body_left = 0
        self._is_answering = False
        self._unread = b""
        self._discards = False
        self.drained = asyncio.Event()
        self.drained.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses
        self._transport = transport
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.name = ((peer[0], peer[1]), (own[0], own[1])) if peer and own else (None, None)
        self.address = str(peer[0]) if peer else ""
        if not peer or not self._all.admit(self):
            self.abort()
        elif self._all.tls is None:
            self._open(transport)
        else:
            transport.pause_reading()  # TLS reads the next bytes
            self._handshake = self._loop.create_task(self._agree_on_tls(transport, self._all.tls))

    async def _agree_on_tls(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        try:
            secured = await self._loop.start_tls(
                transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=limits.HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=limits.LEFTOVER_SECONDS,
            )
        except (OSError, TimeoutError):
            secured = None
        if secured is None:
            if not self.is_lost:
                self.faults.note("no TLS handshake")
            self.abort()
        elif not self.is_lost:
            self._open(secured)

    def _open(self, transport: asyncio.Transport) -> None:
        self._is_open = True
        self._transport = cast(asyncio.Transport, JoinedWrites(transport))
        self._inner.connection_made(self._transport)
        self._await_head(limits.HEAD_SECONDS)
        self._read_on()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._is_open:
            self._unread += data  # TLS is agreed on, and its task has not yet run
            return
        if self._discards:
            return
        if self._body_left:
            rest = data[: self._body_left]
            self._body_left -= len(rest)
            self._inner.data_received(rest)
            data = data[len(rest) :]
            if not self._body_left:
                self._await_head(limits.HEAD_SECONDS)
        if not data:
            return
        if self._is_answering:
            self._unread += data
            self._transport.pause_reading()
        elif self._head is None:
            self.after_head += len(data)
            self._inner.data_received(data)
        elif self._add_to_head(data):
            self._inner.data_received(data)
        else:
            self.faults.note("head too long")
            self._transport.write(_HEAD_TOO_LONG)
            self._transport.close()

    def _add_to_head(self, data: bytes) -> bool:
        assert self._head is not None
        start = max(0, len(self._head) - 3)
        self._head += data if self._head else data.lstrip(b"\r\n")  # empty lines before a request are allowed
        end = _HEAD_END.search(self._head, start)
        length = end.end() if end else len(self._head)
        if end:
            self.after_head = len(self._head) - length
            self._head = None
        return length <= limits.HEAD_MAX_BYTES

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._is_open else None

    def pause_writing(self) -> None:
        self.drained.clear()
        if self._is_open:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self.drained.set()
        if self._is_open:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self._is_open:
            self._is_open = False
            self._inner.connection_lost(exc)
        for work in self._cancel_on_loss:
            work.cancel()

    def abort(self) -> None:
        """Close it now, whatever is still to be sent."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self.is_lost = True
        self._all.release(self)
        self.drained.set()
        self._stop_timer()

    # The steps of a request. `exchange` calls these.

    def request_began(self) -> None:
        """A head has come."""
        self._requests += 1
        self._head = None
        self._all.works(self)
        self._stop_timer()

    def end_with_client(self, work: CancelScope) -> None:
        """Cancel this part of the request where the client leaves before the answer is written."""
        if self._is_open:
            self._cancel_on_loss.add(work)
        else:
            work.cancel()

    def body_ended(self) -> None:
        """Hold later bytes until the request is answered: they belong to the next request."""
        self._is_answering = True

    def request_ended(self, work: CancelScope, body_left: int | None) -> None:
        """The answer is written.

        Args:
            work: what may have been given to `end_with_client`.
            body_left: bytes of the body that the application did not read, None if nobody knows.
        """
        self._requests -= 1
        self._cancel_on_loss.discard(work)
        if self._requests or self.is_lost:
            return
        self._is_answering = False
        if body_left is None:  # where it ends, and the next head begins, is not known here
            self._discards = True
            self._wait(limits.LEFTOVER_SECONDS)
            return
        self._body_left = max(0, body_left)
        self._await_head(limits.LEFTOVER_SECONDS if self._body_left else self._all.keep_seconds)
        self._read_on()

    def _read_on(self) -> None:
        """Take in what came too early, and then whatever comes."""
        data, self._unread = self._unread, b""
        if data and self._transport is not None:
            self.data_received(data)
            self._transport.resume_reading()

    def _await_head(self, seconds: float) -> None:
        self._head = None if self._body_left else bytearray()
        self.after_head = 0
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self._stop_timer()
        self._all.waits(self)
        self._timer = self._loop.call_later(seconds, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _time_out(self) -> None:
        # The end of a connection that is idle between two requests is no fault of its client.
        if self._head:
            self.faults.note("head not sent in time")
        self.abort()
