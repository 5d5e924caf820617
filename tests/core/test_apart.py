"""Long work: apart from the event loop, one piece at a time, and charged to whoever asks for it."""

from __future__ import annotations

import threading
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.apart import apart, charged, is_large, worked


@pytest.mark.parametrize(
    ("value", "large"),
    [
        ({"items": [{"a": 1}] * 100}, False),
        ([None] * (limits.LOOP_MEMBERS - 1), False),
        ({"items": [{"l": [None] * limits.LOOP_MEMBERS}]}, True),
        ({str(number): number for number in range(limits.LOOP_MEMBERS)}, True),
        ({"a": "x" * (limits.LOOP_TEXT // 2)}, False),
        ({"a": "x" * limits.LOOP_TEXT}, True),
        (["x" * 1000] * 250, True),
        (b"x" * (limits.LOOP_BYTES // 2), False),
        (b"x" * limits.LOOP_BYTES, True),
        (None, False),
    ],
)
def test_what_is_large(value: Any, large: bool) -> None:
    assert is_large(value) is large

    async def thread() -> threading.Thread:
        return await worked(threading.current_thread, value)

    assert (anyio.run(thread) is not threading.current_thread()) is large


def test_one_piece_at_a_time_and_the_event_loop_goes_on() -> None:
    at_once = most = turns = 0

    def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        seen = turns
        while turns < seen + 10:
            time.sleep(0.001)
        at_once -= 1

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(take_turns)
            async with anyio.create_task_group() as works:
                for _ in range(5):
                    works.start_soon(apart, work)
            group.cancel_scope.cancel()

    anyio.run(main)
    assert most == 1


def test_each_task_is_charged_for_its_own_work() -> None:
    spent: dict[str, float] = {"a": 0, "b": 0}

    def busy() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    async def works(name: str, times: int) -> None:
        def charge(seconds: float) -> None:
            spent[name] += seconds

        charged.set(charge)
        await anyio.lowlevel.checkpoint()
        for _ in range(times):
            await apart(busy)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(works, "a", 1)
            group.start_soon(works, "b", 3)

    anyio.run(main)
    assert spent["a"] >= 0.02
    assert spent["b"] >= 0.06


def test_errors_are_raised_and_charged() -> None:
    spent: list[float] = []

    def fails() -> None:
        raise ValueError("no")

    async def main() -> None:
        charged.set(spent.append)
        with pytest.raises(ValueError, match="no"):
            await apart(fails)
        assert await apart(lambda: 1) == 1

    anyio.run(main)
    assert len(spent) == 2


def test_a_caller_that_is_cancelled_leaves_at_once_where_it_may() -> None:
    goes_on = threading.Event()

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await apart(lambda: goes_on.wait(30), abandon=True)
        assert scope.cancelled_caught
        assert not goes_on.is_set()
        assert await apart(lambda: "next") == "next"
        goes_on.set()

    anyio.run(main)
