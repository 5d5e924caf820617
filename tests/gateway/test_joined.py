"""Reads that several want at once."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from ddb_mcp.core.errors import Unavailable
from ddb_mcp.gateway.coalescing import CoalescedReads


class Source:
    """A value that changes; reads of it end when the test lets them."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.gates: list[anyio.Event] = []
        self.error: Unavailable | None = None

    async def read(self, name: str) -> int:
        self.reads += 1
        value = self.value  # as of the beginning: later ones must not be told of this
        gate = anyio.Event()
        self.gates.append(gate)
        await gate.wait()
        if self.error:
            raise self.error
        return value


async def settle() -> None:
    await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
async def test_a_read_that_began_before_is_never_shared() -> None:
    source = Source()
    joined = CoalescedReads(source.read)
    got: list[tuple[str, int]] = []

    async def ask(who: str) -> None:
        got.append((who, await joined.get("a")))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "early")
        await settle()
        source.value = 1  # a token is revoked now
        for at in range(10):
            group.start_soon(ask, f"late {at}")
        await settle()
        assert source.reads == 1
        source.gates[0].set()
        while source.reads < 2:
            await checkpoint()
        await settle()
        assert source.reads == 2
        source.gates[1].set()
    assert got[0] == ("early", 0)
    assert {value for _, value in got[1:]} == {1}
    assert len(got) == 11
    assert not joined._next
    assert not joined._under_way


@pytest.mark.anyio
async def test_a_leader_that_is_cancelled_is_replaced_and_an_error_is_everybodys() -> None:
    source = Source()
    joined = CoalescedReads(source.read)
    got: list[object] = []

    async def ask() -> None:
        try:
            got.append(await joined.get("a"))
        except Unavailable as error:
            got.append(error)

    with anyio.CancelScope() as leader:
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await settle()
            leader.cancel()
    assert source.reads == 1
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as second:
            group.start_soon(ask)
            await settle()
            async with anyio.create_task_group() as others:
                others.start_soon(ask)  # leads the next round, and is cancelled before it begins
                await settle()
                group.start_soon(ask)
                group.start_soon(ask)
                await settle()
                others.cancel_scope.cancel()
            await settle()
        assert not second.cancel_called
        source.error = Unavailable("no")
        while len(got) < 3:
            for gate in source.gates:
                gate.set()
            await settle()
    assert got == [source.error] * 3
