"""How many connections a server has, and whose they may be."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from ddb_mcp.core import limits

if TYPE_CHECKING:
    from ddb_mcp.web.faults import ClientFaults

# One owner can have this share of all connections busy with requests.
OWNER_SHARE = 1 / 4
# Strangers can have this share while others would have to make room for them.
STRANGER_SHARE = 1 / 8
# Requests that start in one turn of the event loop, so that no turn is long: of those that showed a valid token before,
# and of all.
KNOWN_STARTS, STARTS = 6, 8


class Placed(Protocol):
    """A connection that has a place."""

    def start(self) -> None: ...

    def abort(self) -> None: ...


class Places:
    """The places for connections.

    A connection is sure of its place only while it has a request whose caller the application has admitted. If there
    are too many, a new connection takes the place of one without such a request for `limits.IDLE_SECONDS`: a stranger
    first, which is a connection whose last request had no valid token.

    Args:
        most: connections at once.
        keep_seconds: how long an idle connection is kept after an answer.

    Attributes:
        bytes_in_flight: of bodies being read and answers not yet taken, of all requests together.
    """

    def __init__(self, faults: ClientFaults, most: int, keep_seconds: float) -> None:
        self.faults = faults
        self.keep_seconds = keep_seconds
        self.bytes_in_flight = 0
        self._most = most
        self._all: set[Placed] = set()
        self._strangers: dict[Placed, float] = {}  # since when; the longest first
        self._idle: dict[Placed, float] = {}
        self._under_way: Counter[str] = Counter()
        self._known_queue: deque[Placed] = deque()
        self._queue: deque[Placed] = deque()
        self._starts = False

    def admit(self, connection: Placed) -> bool:
        """Whether a new connection may stay."""
        if len(self._all) >= self._most and not self._make_room():
            return False
        self._all.add(connection)
        self._strangers[connection] = _now()
        return True

    def _make_room(self) -> bool:
        """Abort the connection whose place is least sure. Returns False if all are sure, or new."""
        self.faults.note("connection closed, too many at once")
        few_strangers = len(self._strangers) < max(1, self._most * STRANGER_SHARE)
        latest = _now() - limits.IDLE_SECONDS
        for waiting in (self._strangers, self._idle if few_strangers else {}):
            connection = next(iter(waiting), None)
            if connection is not None and waiting[connection] <= latest:
                connection.abort()
                return True
        return False

    def queue(self, connection: Placed) -> None:
        """Call `start` when it is the connection's turn. Strangers have few turns."""
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

    def begin(self, connection: Placed) -> None:
        """A request has begun; nobody knows yet whose."""
        self._idle.pop(connection, None)
        self._strangers.pop(connection, None)
        if connection in self._all:
            self._strangers[connection] = _now()

    def own(self, connection: Placed, owner: str | None) -> bool:
        """Its request is an owner's, until it ends. Returns False if the owner has too many."""
        if owner is not None:
            if self._under_way[owner] >= max(1, self._most * OWNER_SHARE):
                return False
            self._under_way[owner] += 1
        self._strangers.pop(connection, None)
        return True

    def finish(self, connection: Placed, owner: str | None) -> None:
        """The request has ended. A connection of a stranger stays one."""
        if owner is not None:
            self._under_way[owner] -= 1
        if connection in self._all and connection not in self._strangers:
            self._idle[connection] = _now()

    def release(self, connection: Placed) -> None:
        """The connection has ended."""
        for places in (self._strangers, self._idle):
            places.pop(connection, None)
        self._all.discard(connection)

    def abort_all(self) -> None:
        """Abort every connection."""
        for connection in list(self._all):
            connection.abort()


def _now() -> float:
    return asyncio.get_running_loop().time()
