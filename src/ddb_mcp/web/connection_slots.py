"""Admission control for connections: how many a server keeps open, and which give way to new ones."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ddb_mcp.web.client_faults import ClientFaults

# If there are too many connections, one that has waited this long for a head is closed for a new one.
IDLE_SECONDS = 0.1


# The share of all connections that may serve requests of one owner at a time.
OWNER_SHARE = 1 / 4
# Strangers keep this share of the connections before idle connections of known clients are replaced.
STRANGER_SHARE = 1 / 8
# With TLS, this share of the connections may be in their handshake when all slots are taken.
HANDSHAKE_SHARE = 1 / 8
# Requests started and handshakes continued per turn of the event loop: of clients that have shown a valid token, and of
# strangers. A known client's request takes some ten turns, so strangers must not make them long.
KNOWN_STARTS, STRANGER_STARTS = 6, 2


class SlotHolder(Protocol):
    """A connection that occupies a slot."""

    def start(self) -> None: ...

    def abort(self) -> None: ...


class ConnectionSlots:
    """The connection slots of a server.

    A connection is safe only while it serves a request whose caller the application has admitted. If all slots are
    taken, a new connection replaces one that has had no such request for `IDLE_SECONDS`. Strangers go first: a
    stranger is a connection whose last request carried no valid token.

    Args:
        most: connections that may be open at once.
        keep_seconds: how long a connection may stay idle after a response.

    Attributes:
        is_draining: whether the server will soon end, so that each response closes its connection.
        bytes_in_flight: request bodies being read and responses not yet taken by clients, over all connections.
    """

    def __init__(self, faults: ClientFaults, most: int, keep_seconds: float) -> None:
        self.faults = faults
        self.keep_seconds = keep_seconds
        self.bytes_in_flight = 0
        self.is_draining = False
        self._most = most
        self._all: set[SlotHolder] = set()
        self._handshakes: dict[SlotHolder, float] = {}  # since when; the longest first
        self._strangers: dict[SlotHolder, float] = {}
        self._idle: dict[SlotHolder, float] = {}
        self._under_way: Counter[str] = Counter()
        self._known_queue: deque[SlotHolder] = deque()
        self._queue: deque[SlotHolder] = deque()
        self._starts = False

    def admit_handshake(self, connection: SlotHolder) -> bool:
        """Let a connection begin its TLS handshake, if need be in place of another one that is in its handshake.

        It has no slot, so no client that has completed its handshake makes room for it.
        """
        if len(self._handshakes) >= max(self._most * HANDSHAKE_SHARE, self._most - len(self._all)):
            self.faults.note("connection closed, too many TLS handshakes at once")
            if not self._replace(self._handshakes):
                return False
        self._handshakes[connection] = _get_time()
        return True

    def admit(self, connection: SlotHolder) -> bool:
        """Give a new connection a slot. Return False if none can be freed."""
        self._handshakes.pop(connection, None)
        if len(self._all) >= self._most:
            self.faults.note("connection closed, too many at once")
            few_strangers = len(self._strangers) < max(1, self._most * STRANGER_SHARE)
            if not (self._replace(self._strangers) or (few_strangers and self._replace(self._idle))):
                return False
        self._all.add(connection)
        self._strangers[connection] = _get_time()
        return True

    @staticmethod
    def _replace(group: dict[SlotHolder, float]) -> bool:
        """Abort the connection that has waited longest. Return False if even that one is new."""
        connection = next(iter(group), None)
        if connection is None or group[connection] > _get_time() - IDLE_SECONDS:
            return False
        connection.abort()
        return True

    def queue(self, connection: SlotHolder) -> None:
        """Call `start` when it is the connection's turn. Strangers get fewer turns."""
        is_known = connection in self._all and connection not in self._strangers
        (self._known_queue if is_known else self._queue).append(connection)
        if not self._starts:
            self._starts = True
            asyncio.get_running_loop().call_soon(self._start_some)

    def _start_some(self) -> None:
        for queue, most in ((self._known_queue, KNOWN_STARTS), (self._queue, STRANGER_STARTS)):
            for _ in range(min(most, len(queue))):
                queue.popleft().start()
        self._starts = bool(self._known_queue or self._queue)
        if self._starts:
            asyncio.get_running_loop().call_soon(self._start_some)

    def begin(self, connection: SlotHolder) -> None:
        """Note that a request has begun. Its caller is not known yet."""
        self._idle.pop(connection, None)
        self._strangers.pop(connection, None)
        if connection in self._all:
            self._strangers[connection] = _get_time()

    def assign(self, connection: SlotHolder, owner: str | None) -> bool:
        """Assign the request to an owner until it finishes. Return False if the owner has too many."""
        if owner is not None:
            if self._under_way[owner] >= max(1, self._most * OWNER_SHARE):
                return False
            self._under_way[owner] += 1
        self._strangers.pop(connection, None)
        return True

    def finish(self, connection: SlotHolder, owner: str | None) -> None:
        """Note that the request has finished. A stranger stays a stranger."""
        if owner is not None:
            self._under_way[owner] -= 1
        if connection in self._all and connection not in self._strangers:
            self._idle[connection] = _get_time()

    def release(self, connection: SlotHolder) -> None:
        """Free the slot of a connection that has closed."""
        for group in (self._handshakes, self._strangers, self._idle):
            group.pop(connection, None)
        self._all.discard(connection)

    def abort_all(self) -> None:
        """Abort every connection."""
        for connection in [*self._all, *self._handshakes]:
            connection.abort()


def _get_time() -> float:
    return asyncio.get_running_loop().time()
