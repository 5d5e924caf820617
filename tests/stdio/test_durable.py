"""What was acknowledged is there: after a restart, and beside other servers.

What kill -9 leaves: `tests/endpoint/test_durable.py`.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from mcp.shared.exceptions import MCPError

from tests.stdio.server import Server, pk
from tests.support.moves import items_to_move, list_places, wait_for_some_moved

if TYPE_CHECKING:
    from pathlib import Path

ITEM = {"pk": pk("order#7"), "sk": "ORDER", "total": 12.5, "tags": {"SS": ["a", "b"]}, "lines": [{"sku": "x", "n": 2}]}


def test_a_server_started_again_finds_the_data(file: Path) -> None:
    with Server(file) as server:
        assert server.result("provision")["created"] is True
        assert server.result("put", item=ITEM) == {"pk": ITEM["pk"], "sk": ITEM["sk"], "created": True}
    with Server(file) as server:
        assert server.result("provision")["created"] is False
        assert server.result("get", pk=ITEM["pk"], sk=ITEM["sk"]) == {"found": True, "item": ITEM}
        assert server.log == ""


def test_two_servers_and_500_races_have_500_winners(file: Path) -> None:
    with Server(file) as one, Server(file) as two:
        both = {"one": one, "two": two}
        winners = []
        for start in range(0, 500, 25):
            calls = [
                (name, at, server.start("put", item={"pk": pk("race"), "sk": f"{at:03}", "by": name}, create_only=True))
                for at in range(start, start + 25)
                for name, server in list(both.items())[:: 1 if at % 2 else -1]  # each is asked first in half of them
            ]
            for name, at, call in calls:
                answer = call.result(300)
                if not answer.is_error:
                    assert answer.result["created"] is True
                    winners.append((f"{at:03}", name))
                else:
                    assert answer.error["code"] == "condition_failed"
                    assert answer.error["item"]["by"] != name
        assert len(winners) == 500
        assert len({name for _, name in winners}) == 2, "nobody raced"
        stored = [(item["sk"], item["by"]) for item in one.everything()]
        assert stored == sorted(winners)


def test_a_move_that_is_killed_has_each_item_once_and_the_same_call_finishes_it(file: Path) -> None:
    with Server(file) as server:
        for batch in items_to_move(pk("old")):
            assert server.result("put", items=batch)["failed"] == []
        call = server.start("put", where={"pk": pk("old")}, move_to=pk("new"))
        wait_for_some_moved(file, pk("new"))
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(MCPError):
            call.result(300)
    places = list_places(file)
    assert set(map(len, places.values())) == {1}, "each item is in one place"
    assert set().union(*places.values()) == {pk("old"), pk("new")}, "it was killed in its middle"
    with Server(file) as server:
        result = server.result("put", where={"pk": pk("old")}, move_to=pk("new"))
        assert (result["complete"], result["failed"]) == (True, [])
    assert list_places(file) == {key: [pk("new")] for key in places}
