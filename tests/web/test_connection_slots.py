"""Whose connections may stay: counted on the real class, with connections that only know whether they were closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ddb_mcp.web import connection_slots
from ddb_mcp.web.client_faults import ClientFaults
from ddb_mcp.web.connection_slots import KNOWN_STARTS, STRANGER_STARTS, ConnectionSlots

if TYPE_CHECKING:
    from collections.abc import Callable


class Held:
    """What a connection is to its slots. A real one would need a socket each."""

    def __init__(self, slots: ConnectionSlots, started: list[Held] | None = None, *, handshake: bool = False) -> None:
        self.slots = slots
        self.is_open = slots.admit_handshake(self) if handshake else slots.admit(self)
        self.started = [] if started is None else started

    def start(self) -> None:
        self.started.append(self)

    def abort(self) -> None:
        self.is_open = False
        self.slots.release(self)

    def ask(self, owner: str) -> bool:
        """Whether a request of this owner is admitted."""
        self.slots.begin(self)
        return self.slots.assign(self, owner)


def on_loop(test: Callable[[ConnectionSlots], None], most: int = 16) -> None:
    async def run() -> None:
        test(ConnectionSlots(ClientFaults(), most, 30))

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _nobody_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_slots, "IDLE_SECONDS", 0)


def test_three_owners_cannot_take_every_place() -> None:
    def test(slots: ConnectionSlots) -> None:
        taken = [Held(slots).ask(owner) for owner in "abc" for _ in range(16 // 4)]
        assert all(taken)
        assert [Held(slots).ask(owner) for owner in "abc"] == [False, False, False]
        assert Held(slots).ask("d")

    on_loop(test)


def test_what_a_request_took_comes_back_when_it_ends() -> None:
    def test(slots: ConnectionSlots) -> None:
        held = [Held(slots) for _ in range(4)]
        assert all(connection.ask("a") for connection in held)
        held[0].abort()
        assert not Held(slots).ask("a")  # its work goes on
        slots.finish(held[0], "a")
        assert Held(slots).ask("a")

    on_loop(test)


def test_strangers_make_room_in_the_middle_of_a_request_and_admitted_requests_do_not() -> None:
    def test(slots: ConnectionSlots) -> None:
        admitted, strangers = [Held(slots) for _ in range(4)], [Held(slots) for _ in range(12)]
        assert all(connection.ask("a") for connection in admitted)
        for connection in strangers:
            slots.begin(connection)
        for _ in range(100):
            assert Held(slots).is_open
        assert not any(connection.is_open for connection in strangers)
        assert all(connection.is_open for connection in admitted)

    on_loop(test)


def test_idle_connections_make_room_for_few_strangers_only() -> None:
    def test(slots: ConnectionSlots) -> None:
        idle = [Held(slots) for _ in range(16)]
        for connection in idle:
            assert connection.ask("a")
            slots.finish(connection, "a")
        for _ in range(100):
            assert Held(slots).is_open
        assert sum(connection.is_open for connection in idle) == 15  # each stranger makes room for the next

    on_loop(test)


def test_handshakes_make_room_for_each_other_and_for_everybody_else() -> None:
    def test(slots: ConnectionSlots) -> None:
        idle = [Held(slots) for _ in range(16)]
        for connection in idle:
            assert connection.ask("a")
            slots.finish(connection, "a")
        handshakes = [Held(slots, handshake=True) for _ in range(100)]
        assert sum(connection.is_open for connection in handshakes) == 2  # an eighth of 16
        assert all(connection.is_open for connection in idle)
        assert slots.admit(handshakes[-1])
        assert Held(slots, handshake=True).is_open

    on_loop(test)


def test_handshakes_may_use_free_slots() -> None:
    def test(slots: ConnectionSlots) -> None:
        handshakes = [Held(slots, handshake=True) for _ in range(16)]
        assert all(connection.is_open for connection in handshakes)
        assert all(slots.admit(connection) for connection in handshakes)

    on_loop(test)


def test_a_handshake_that_has_just_begun_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_slots, "IDLE_SECONDS", 1000)

    def test(slots: ConnectionSlots) -> None:
        handshakes = [Held(slots, handshake=True) for _ in range(17)]
        assert [connection.is_open for connection in handshakes] == [True] * 16 + [False]

    on_loop(test)


def test_few_requests_start_in_a_turn_and_known_clients_first() -> None:
    async def run() -> None:
        slots, started = ConnectionSlots(ClientFaults(), 200, 30), list[Held]()
        known = [Held(slots, started=started) for _ in range(4)]
        for connection in known:
            assert connection.ask("a")
            slots.finish(connection, "a")
        strangers = [Held(slots, started=started) for _ in range(100)]
        for connection in [*strangers, *known]:
            slots.queue(connection)
        counts = []
        for _ in range(60):
            await asyncio.sleep(0)
            counts.append(len(started))
        assert set(known) <= set(started[: KNOWN_STARTS + STRANGER_STARTS])
        starts = [after - before for before, after in zip([0, *counts], counts, strict=False)]
        assert starts[0] <= KNOWN_STARTS + STRANGER_STARTS
        assert max(starts[1:]) <= STRANGER_STARTS
        assert counts[-1] == 104

    asyncio.run(run())
