"""Progress and cancellation of a call that works in a thread, in both protocol eras."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocol.wire import ENVELOPE, TOY, Wire
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREVER = 1_000_000


ERAS = ["2025-11-25", "2026-07-28"]


@contextmanager
def connected(era: str) -> Iterator[tuple[Wire, dict[str, Any]]]:
    """The toy server, and the `_meta` that a request needs in this era."""
    with Wire(TOY) as wire:
        if era == "2025-11-25":
            wire.shake_hands()
            yield wire, {}
        else:
            yield wire, ENVELOPE


@pytest.fixture(scope="module", params=ERAS)
def era(request: pytest.FixtureRequest) -> Iterator[tuple[Wire, dict[str, Any]]]:
    with connected(request.param) as shared:
        yield shared


def _calls_at_work(wire: Wire, meta: dict[str, Any]) -> int:
    wire.send("tools/call", {"name": "working", "_meta": meta}, "working")
    while (message := wire.receive()).get("id") != "working":
        assert message["method"] == "notifications/progress"
    calls: int = message["result"]["structuredContent"]["calls"]
    return calls


def test_progress_is_told_to_those_who_ask(era: tuple[Wire, dict[str, Any]]) -> None:
    wire, meta = era
    arguments = {"name": "progress", "arguments": {"steps": 3}}
    wire.send("tools/call", {**arguments, "_meta": {**meta, "progressToken": "mine"}}, 1)
    for step in range(3):
        told = wire.receive()
        assert told["method"] == "notifications/progress"
        assert told["params"] == {"progressToken": "mine", "progress": step, "total": 3.0}
    assert wire.receive()["id"] == 1


def test_progress_is_not_told_to_those_who_do_not(era: tuple[Wire, dict[str, Any]]) -> None:
    wire, meta = era
    assert "result" in wire.ask("tools/call", {"name": "progress", "arguments": {"steps": 3}, "_meta": meta})


@pytest.mark.parametrize("era", ERAS)
def test_a_cancelled_call_stops_working_and_is_not_answered(era: str) -> None:
    with connected(era) as (wire, meta):
        wire.send("tools/call", {"name": "progress", "arguments": {"steps": FOREVER}, "_meta": meta}, 1)
        wait_until(lambda: _calls_at_work(wire, meta) == 1)
        wire.send("notifications/cancelled", {"requestId": 1})
        wait_until(lambda: _calls_at_work(wire, meta) == 0)
        wire.end_input()
        assert wire.rest() == []
        assert wire.wait() == 0


def test_a_cancelled_call_leaves_the_others_alone(era: tuple[Wire, dict[str, Any]]) -> None:
    wire, meta = era
    for request, steps in ((1, FOREVER), (2, 50)):
        wire.send("tools/call", {"name": "progress", "arguments": {"steps": steps}, "_meta": meta}, request)
    wire.send("notifications/cancelled", {"requestId": 1})
    assert wire.receive()["id"] == 2


def test_a_cancellation_of_nothing_is_ignored(era: tuple[Wire, dict[str, Any]]) -> None:
    wire, meta = era
    wait_until(lambda: _calls_at_work(wire, meta) == 0)
    for request in (1, "working", None, {"a": 1}):
        wire.send("notifications/cancelled", {"requestId": request})
    wait_until(lambda: _calls_at_work(wire, meta) == 0)
