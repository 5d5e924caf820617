"""Long work on values: in a thread, so that the event loop goes on, and one piece at a time in a process.

Python runs one thread at a time, and the event loop waits while each working thread has its turn. With one such thread
the event loop waits for one step of Python, or for the JSON of one item.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from ddb_mcp.core import limits

_T = TypeVar("_T")

_LANE: RunVar[anyio.CapacityLimiter] = RunVar("ddb_mcp.lane")

charged: ContextVar[Callable[[float], None]] = ContextVar("charged", default=lambda seconds: None)
"""Called with the processor time of each piece of long work of this task, in seconds."""


async def apart(work: Callable[[], _T], *, abandon: bool = False) -> _T:
    """The result of long work. After it others have the interpreter for a moment.

    Args:
        abandon: whether a caller that is cancelled leaves at once; the work ends by itself then.
    """
    spent = 0.0

    def timed() -> _T:
        nonlocal spent
        began = time.thread_time()
        try:
            return work()
        finally:
            spent = time.thread_time() - began

    async with _lane():
        try:
            return await run_sync(timed, abandon_on_cancel=abandon, limiter=anyio.CapacityLimiter(1))
        finally:
            charged.get()(spent)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(limits.PAUSE_SECONDS if spent > limits.LONG_STEP_SECONDS else 0)


def _lane() -> anyio.CapacityLimiter:
    try:
        return _LANE.get()
    except LookupError:
        _LANE.set(lane := anyio.CapacityLimiter(1))
        return lane


async def worked(work: Callable[[], _T], *values: Any) -> _T:
    """The result of work on values: apart where it is long, else here, since a thread costs more than short work."""
    return await apart(work) if is_large(*values) else work()


def is_large(*values: Any) -> bool:
    """Whether values have so many members, or so much text, that work on them would hold up the event loop."""
    left, rest = limits.LOOP_MEMBERS, list(values)
    while rest and left > 0:
        left -= 1
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif isinstance(value, str):
            left -= len(value) * limits.LOOP_MEMBERS // limits.LOOP_TEXT
        elif isinstance(value, bytes):  # JSON that is still to be parsed
            left -= len(value) * limits.LOOP_MEMBERS // limits.LOOP_BYTES
    return bool(rest) or left < 0
