"""Admission control for connections: how many a server keeps open, and which give way to new ones."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from ddb_mcp.core import limits

if TYPE_CHECKING:
    from ddb_mcp.web.client_faults import ClientFaults

# The share of all connections that may serve requests of one owner at a time.
OWNER_SHARE = 1 / 4
# Strangers keep this share of the connections before idle connections of known clients are replaced.
STRANGER_SHARE = 1 / 8
# Requests started per turn of the event loop, which keeps turns short: of clients that have shown a valid token, and in
# total.
KNOWN_STARTS, STARTS = 6, 8


class SlotHolder(Protocol):
    """A connection that occupies a slot."""

    def start(self) -> None: ...

    def abort(self) -> None: ...


class ConnectionSlots:
    """The connection slots of a server.

    A connection is safe only while it serves a request whose caller the application has admitted. If all slots are
    taken, a new connection replaces one that has had no such request for `limits.IDLE_SECONDS`. Strangers go first: a
    stranger is a connection whose last request carried no valid token.

    Args:
        most: connections that may be open at once.
        keep_seconds: how long a connection may stay idle after a response.

    Attributes:
        bytes_in_flight: request bodies being read and responses not yet taken by clients, over all connections.
    """

    def __init__(self, faults: ClientFaults, most: int, keep_seconds: float) -> None:
        self.faults = faults
        self.keep_seconds = keep_seconds
        self.bytes_in_flight = 0
        self._most = most
        self._all: set[SlotHolder] = set()
        self._strangers: dict[SlotHolder, float] = {}  # since when; the longest first
        self._idle: dict[SlotHolder, float] = {}
        self._under_way: Counter[str] = Counter()
        self._known_queue: deque[SlotHolder] = deque()
        self._queue: deque[SlotHolder] = deque()
        self._starts = False

    def admit(self, connection: SlotHolder) -> bool:
        """Give a new connection a slot. Return False if none can be freed."""
        if len(self._all) >= self._most and not self._make_room():
            return False
        self._all.add(connection)
        self._strangers[connection] = _get_time()
        return True

    def _make_room(self) -> bool:
        """Abort the least safe connection. Return False if all are safe or new."""
        self.faults.note("connection closed, too many at once")
        few_strangers = len(self._strangers) < max(1, self._most * STRANGER_SHARE)
        latest = _get_time() - limits.IDLE_SECONDS
        for waiting in (self._strangers, self._idle if few_strangers else {}):
            connection = next(iter(waiting), None)
            if connection is not None and waiting[connection] <= latest:
                connection.abort()
                return True
        return False

    def queue(self, connection: SlotHolder) -> None:
        """Call `start` when it is the connection's turn. Strangers get fewer turns."""
        (self._queue if connection in self._strangers else self._known_queue).append(connection)
        if not self._starts:
            self._starts = True
            asyncio.get_running_loop().call_soon(self._start_some)

    def _start_some(self) -> None:
        for at in range(STARTS):
            queue = self._known_queue or self._queue if at < KNOWN_STARTS else self._queue or self._known_queue
            if queue:
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
        for group in (self._strangers, self._idle):
            group.pop(connection, None)
        self._all.discard(connection)

    def abort_all(self) -> None:
        """Abort every connection."""
        for connection in list(self._all):
            connection.abort()


def _get_time() -> float:
    return asyncio.get_running_loop().time()
