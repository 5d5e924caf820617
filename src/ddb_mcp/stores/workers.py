"""CPU-heavy conversions: in a worker thread, one at a time, with the tenants taking turns.

Python runs one thread at a time, so that each busy thread slows down the event loop. With one of them the event loop
waits for one step of Python, or for the JSON of one item. Stores convert too, and their methods take no account, so a
context variable says whose conversions are run.
"""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from ddb_mcp.core import limits

_T = TypeVar("_T")

# Values with more members, or with more characters in their texts, are converted in the worker.
LOOP_MEMBERS = 2000
LOOP_TEXT = 250_000
# After a conversion of more than LONG_SECONDS the event loop has the interpreter to itself for PAUSE_SECONDS.
LONG_SECONDS = 0.01
PAUSE_SECONDS = 0.005
# A conversion in steps lets others have their turn after this much processor time.
STEP_SECONDS = 0.05


class Account(NamedTuple):
    """On whose behalf conversions run.

    Attributes:
        owner: conversions of different owners take turns.
        charge: called in the event loop with the processor time of each conversion, read and write, in seconds.
    """

    owner: str
    charge: Callable[[float], None]


_NOBODY = Account("", lambda seconds: None)
current_account: ContextVar[Account] = ContextVar("account", default=_NOBODY)


class Meter:
    """Charges the current account for what a thread does on its behalf. Made in the event loop.

    Attributes:
        seconds: processor time that was measured last.
    """

    def __init__(self) -> None:
        self._charge = current_account.get().charge
        self._loop = asyncio.get_running_loop()
        self.seconds = 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the calling thread while this is open, and charge for it."""
        began = time.thread_time()
        try:
            yield
        finally:
            self.seconds = time.thread_time() - began
            with suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(self._charge, self.seconds)


class RoundRobin(Generic[_T]):
    """A queue whose owners take turns: an owner that has had a turn comes after all others that wait."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_T]] = {}  # the first of the first owner is next
        self._latest = ""

    def has(self, owner: str) -> bool:
        """Return whether an entry of this owner waits."""
        return owner in self._waiting

    def put(self, owner: str, entry: _T) -> None:
        """Add an entry behind the others of its owner."""
        self._waiting.setdefault(owner, deque()).append(entry)

    def remove(self, owner: str, entry: _T) -> None:
        """Remove an entry that waits."""
        self._waiting[owner].remove(entry)
        if not self._waiting[owner]:
            del self._waiting[owner]

    def take(self) -> _T | None:
        """Remove and return the next entry, None if nothing waits."""
        if self.has(self._latest):
            self._waiting[self._latest] = self._waiting.pop(self._latest)  # behind all others
        if not self._waiting:
            return None
        self._latest = next(iter(self._waiting))
        entry = self._waiting[self._latest][0]
        self.remove(self._latest, entry)
        return entry


class FairLock:
    """A lock that owners hold in turn, however often one of them asks for it."""

    def __init__(self) -> None:
        self._is_held = False
        self._waiting = RoundRobin[anyio.Event]()

    @asynccontextmanager
    async def hold(self, owner: str) -> AsyncIterator[None]:
        """Hold the lock when it is the owner's turn. A caller that is cancelled first gives up its place."""
        turn = anyio.Event()
        self._waiting.put(owner, turn)
        if not self._is_held:
            self._pass_on()
        try:
            if not turn.is_set():
                await turn.wait()
            yield
        finally:
            if turn.is_set():
                self._pass_on()
            else:
                self._waiting.remove(owner, turn)

    def _pass_on(self) -> None:
        following = self._waiting.take()
        self._is_held = following is not None
        if following is not None:
            following.set()


_LOCK: RunVar[FairLock] = RunVar("ddb_mcp.worker_lock")


async def run_in_worker(work: Callable[[], _T], *, abandon: bool = False) -> _T:
    """Run a conversion in the worker thread when it is its owner's turn, and charge it to the current account.

    Args:
        work: the conversion. It does not run if the caller is cancelled before it begins.
        abandon: return at once if the caller is cancelled meanwhile. `work` must then end by itself, soon.
    """
    meter = Meter()

    def measured() -> _T:
        try:
            with meter.measure():
                return work()
        except BaseException as error:
            release_frames(error)
            raise

    async with _get_lock().hold(current_account.get().owner):
        try:
            return await run_sync(measured, abandon_on_cancel=abandon, limiter=anyio.CapacityLimiter(1))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(pause_after(meter.seconds))


def pause_after(seconds: float) -> float:
    """Return how long a thread that was busy for so long leaves the interpreter to the event loop."""
    return PAUSE_SECONDS if seconds > LONG_SECONDS else 0


def release_frames(error: BaseException | None) -> None:
    """Let go of the values in the frames that an error has left, which can be a whole request or the stored items."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _get_lock() -> FairLock:
    """Return the lock of the event loop that is running."""
    try:
        return _LOCK.get()
    except LookupError:
        _LOCK.set(lock := FairLock())
        return lock


async def offload(function: Callable[[], _T], *values: Any) -> _T:
    """Run a conversion of these values: in the worker if they are large, else here, since a thread costs more."""
    return await run_in_worker(function) if is_large(*values) else function()


async def run_in_steps(steps: Iterator[object], *values: Any) -> None:
    """Run the steps of a conversion of values. If the values are large, others have their turn between the steps.

    A conversion that has begun is run to its end, even if the caller is cancelled.
    """
    if not is_large(*values):
        for _ in steps:
            pass
    elif await run_in_worker(partial(_advance, steps)):
        with anyio.CancelScope(shield=True):
            while await run_in_worker(partial(_advance, steps)):
                pass


def _advance(steps: Iterator[object]) -> bool:
    """Run steps for a while. Return whether there may be more."""
    until = time.thread_time() + STEP_SECONDS
    return any(time.thread_time() >= until for _ in steps)


def is_large(*values: Any) -> bool:
    """Return whether a conversion of the values would block the event loop. Looks at up to `LOOP_MEMBERS` members."""
    left, rest = LOOP_MEMBERS, list(values)
    while rest and left > 0:
        left -= 1
        value = rest.pop()
        if isinstance(value, dict | list):
            if len(value) > left:
                return True
            if isinstance(value, dict):
                left -= sum(map(len, value)) * LOOP_MEMBERS // LOOP_TEXT
                value = value.values()
            rest.extend(value)
        elif isinstance(value, str):
            left -= len(value) * LOOP_MEMBERS // LOOP_TEXT
        elif isinstance(value, bytes):  # JSON that is still to be parsed
            left -= len(value) * LOOP_MEMBERS // limits.LOOP_BYTES
    return bool(rest) or left < 0
