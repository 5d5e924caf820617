"""An item that somebody made as long and as wide as it may be: other calls are answered beside the reading of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stdio.server import pk

if TYPE_CHECKING:
    from tests.stdio.server import Server

SMALL = {"pk": pk("small"), "sk": "1"}
WIDE = {"pk": pk("wide"), "sk": "1", "m": {f"a{at}": None for at in range(30_000)}, "l": [None] * 60_000}
DEEP = {"pk": pk("deep"), "sk": "1", "l": [[[["x" * 20] * 20] * 25] * 25]}
READS: dict[str, tuple[str, dict[str, Any]]] = {
    "its outline": ("get", {"pk": WIDE["pk"], "sk": "1"}),
    "1,000 of its paths": ("get", {"pk": WIDE["pk"], "sk": "1", "attributes": [f"m.a{at}" for at in range(1000)]}),
    "a deep one": ("get", {"pk": DEEP["pk"], "sk": "1"}),
    "a listing": ("query", {"pk": WIDE["pk"]}),
    "a filter": ("query", {"pk": WIDE["pk"], "filter": {"l": {"contains": 1}}}),
    "a summary": ("scan", {"view": "summary"}),
}


@pytest.fixture(scope="module")
def hostile(server: Server) -> Server:
    for item in (SMALL, WIDE, DEEP):
        server.result("put", item=item)
    return server


@pytest.mark.parametrize(("tool", "arguments"), READS.values(), ids=READS.keys())
def test_small_calls_do_not_wait_for_its_readers(hostile: Server, tool: str, arguments: dict[str, Any]) -> None:
    readers = [hostile.start(tool, **arguments) for _ in range(6)]
    hostile.result("info")
    assert hostile.result("get", **SMALL) == {"found": True, "item": SMALL}
    answered = sum(reader.done() for reader in readers)
    assert answered <= 3
    for reader in readers:
        assert not reader.result().is_error
