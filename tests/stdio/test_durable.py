"""What was acknowledged is there: after a restart, and beside other servers.

What kill -9 leaves: `tests/endpoint/test_durable.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.stdio.server import Server, pk

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
