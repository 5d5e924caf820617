"""Conversions in the worker: one at a time, the owners in turn, each charged to its account."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from ddb_mcp.core import limits
from ddb_mcp.stores import workers
from ddb_mcp.stores.workers import Account, current_account, is_large, offload, run_in_steps, run_in_worker

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("value", "large"),
    [
        ({"items": [{"a": 1}] * 100}, False),
        ([None] * (workers.LOOP_MEMBERS - 1), False),
        ({"items": [{"l": [None] * workers.LOOP_MEMBERS}]}, True),
        ({str(number): number for number in range(workers.LOOP_MEMBERS)}, True),
        ([[None] * 50] * 50, True),
        ({"a": "x" * (workers.LOOP_TEXT // 2)}, False),
        ({"a": "x" * workers.LOOP_TEXT}, True),
        (["x" * 1000] * 250, True),
        (b"x" * (limits.LOOP_BYTES // 2), False),
        (b"x" * limits.LOOP_BYTES, True),
        (None, False),
    ],
)
def test_what_is_large(value: Any, large: bool) -> None:
    assert is_large(value) is large

    async def thread() -> threading.Thread:
        return await offload(threading.current_thread, value)

    assert (anyio.run(thread) is not threading.current_thread()) is large


def test_one_conversion_at_a_time_and_the_event_loop_goes_on() -> None:
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
                    works.start_soon(run_in_worker, work)
            group.cancel_scope.cancel()

    anyio.run(main)
    assert most == 1


class Begun:
    """Conversions by their owners, in the order in which they began."""

    def __init__(self) -> None:
        self.owners: list[str] = []
        self.gate = threading.Event()

    async def run(self, owner: str, *, waits: bool = False) -> None:
        def work() -> None:
            self.owners.append(owner)
            if waits:
                self.gate.wait(30)

        current_account.set(Account(owner, lambda seconds: None))
        await run_in_worker(work)


async def waiting(group: anyio.abc.TaskGroup, begun: Begun, *owners: str) -> None:
    """Queue a conversion of each of these owners, one after the other."""
    for owner in owners:
        group.start_soon(begun.run, owner)
        await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
async def test_who_comes_later_waits_for_one_conversion_of_each_other_owner() -> None:
    begun = Begun()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(begun.run, "hostile", waits=True))
        while not begun.owners:
            await anyio.lowlevel.checkpoint()
        await waiting(group, begun, *["hostile"] * 100, "quiet", "quiet", *["second"] * 3, "third")
        begun.gate.set()
    began = begun.owners[1:]  # the first was under way
    assert began[:3] == ["quiet", "second", "third"]
    assert began[3:7] == ["hostile", "quiet", "second", "hostile"]
    assert sorted(began) == sorted([*["hostile"] * 100, *["quiet"] * 2, *["second"] * 3, "third"])


@pytest.mark.anyio
@pytest.mark.parametrize("others", [1, 2])
async def test_at_no_time_does_anybody_wait_for_more(others: int) -> None:
    """However many conversions the others have queued, and whoever's is under way."""
    begun, names = Begun(), [f"hostile{number}" for number in range(others)]

    async def ask_again_and_again() -> None:
        for _ in range(10):
            before = len(begun.owners)
            await begun.run("quiet")
            turns = begun.owners[before:]
            assert turns.index("quiet") <= others

    async with anyio.create_task_group() as group:
        for name in names:
            await waiting(group, begun, *[name] * 50)
        group.start_soon(ask_again_and_again)


@pytest.mark.anyio
async def test_an_abandoned_conversion_does_not_begin_and_leaves_no_gap() -> None:
    begun = Begun()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(begun.run, "first", waits=True))
        while not begun.owners:
            await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as leaving:
            await waiting(leaving, begun, "gone", "gone", "gone")
            await waiting(group, begun, "stays")
            leaving.cancel_scope.cancel()
        begun.gate.set()
    await begun.run("last")
    assert begun.owners == ["first", "stays", "last"]


def test_who_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    async def main() -> list[str]:
        lock, had = workers.FairLock(), list[str]()

        async def take(owner: str) -> None:
            async with lock.hold(owner):
                had.append(owner)

        async with lock.hold("first"):
            tasks = [asyncio.create_task(take(owner)) for owner in ("cancelled", "next")]
            await anyio.wait_all_tasks_blocked()
        tasks[0].cancel()  # its turn has come, and it has not noticed
        await asyncio.wait(tasks)
        async with lock.hold("last"):
            return had

    assert asyncio.run(main()) == ["next"]


@pytest.mark.anyio
async def test_a_long_conversion_in_steps_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "STEP_SECONDS", 0)
    begun = Begun()

    def steps() -> Iterator[None]:
        for _ in range(4):
            begun.owners.append("steps")
            yield

    async with anyio.create_task_group() as group:
        group.start_soon(run_in_steps, steps(), bytes(limits.LOOP_BYTES))
        await waiting(group, begun, "quiet")
    assert sorted(begun.owners) == ["quiet", *["steps"] * 4]
    assert begun.owners.index("quiet") <= 1


@pytest.mark.anyio
async def test_steps_that_have_begun_are_all_done() -> None:
    done = 0

    async def main() -> None:
        def steps() -> Iterator[None]:
            nonlocal done
            for _ in range(100):
                done += 1
                yield

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(run_in_steps, steps(), bytes(limits.LOOP_BYTES))
                while not done:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

    await main()
    assert done == 100


def test_each_task_is_charged_for_its_own_conversions() -> None:
    spent: dict[str, float] = {"a": 0, "b": 0}

    def busy() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    async def works(name: str, times: int) -> None:
        def charge(seconds: float) -> None:
            spent[name] += seconds

        current_account.set(Account(name, charge))
        await anyio.lowlevel.checkpoint()
        for at in range(times):
            await run_in_worker(busy)
            assert spent[name] >= 0.02 * (at + 1)  # before the caller goes on

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
        current_account.set(Account("a", spent.append))
        with pytest.raises(ValueError, match="no"):
            await run_in_worker(fails)
        assert await run_in_worker(lambda: 1) == 1

    anyio.run(main)
    assert len(spent) == 2


def test_a_caller_that_is_cancelled_leaves_at_once_where_it_may_and_still_pays() -> None:
    goes_on = threading.Event()
    spent: list[float] = []

    async def main() -> None:
        current_account.set(Account("a", spent.append))
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:

            def wait() -> None:
                loop.call_soon_threadsafe(scope.cancel)  # only what has begun is charged
                goes_on.wait(30)

            await run_in_worker(wait, abandon=True)
        assert scope.cancelled_caught
        assert not goes_on.is_set()
        assert await run_in_worker(lambda: "next") == "next"
        goes_on.set()
        while len(spent) < 2:
            await anyio.lowlevel.checkpoint()

    anyio.run(main)
    assert len(spent) == 2


class Large:
    """Stands for a request: it can be referred to weakly."""


@pytest.mark.anyio
async def test_an_error_that_is_kept_holds_nothing_of_what_was_converted() -> None:
    known: list[weakref.ref[Large]] = []

    def inner() -> None:
        large = Large()
        known.append(weakref.ref(large))
        raise ValueError

    def fail() -> None:
        try:
            inner()
        except ValueError:
            raise KeyError from None

    with pytest.raises(KeyError) as caught:
        await run_in_worker(fail)
    assert caught.value.__traceback__
    assert known[0]() is None
