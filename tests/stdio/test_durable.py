"""What was acknowledged is there: after a restart, beside other servers, and after kill -9."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError

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
                for name, server in both.items()
            ]
            for name, at, call in calls:
                answer = call.result(60)
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


class Writer(threading.Thread):
    """Puts items, one after the other and in batches, until its server dies; keeps what was acknowledged."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(name=name)
        self.server = server
        self.acknowledged: dict[str, str] = {}
        self.attempted: dict[str, str] = {}

    def run(self) -> None:
        numbers = random.Random(self.name)
        at = 0
        while True:
            batch = [self._item(at + n, numbers) for n in range(numbers.choice([1, 1, 1, 10]))]
            at += len(batch)
            self.attempted |= {item["sk"]: item["text"] for item in batch}
            try:
                arguments: dict[str, Any] = {"items": batch} if len(batch) > 1 else {"item": batch[0]}
                answer = self.server.call("put", **arguments)
            except MCPError:  # the connection is closed
                return
            if answer.is_error:  # the others had the file's lock for too long: nothing was promised
                assert answer.error["retryable"], answer.body
                continue
            done = answer.result
            assert done.get("created") is True or done.get("written") == len(batch)
            self.acknowledged |= {item["sk"]: item["text"] for item in batch}

    def _item(self, at: int, numbers: random.Random) -> dict[str, str]:
        text = numbers.choice("abcdef") * int(10 ** numbers.uniform(1, 4))
        return {"pk": pk("kill"), "sk": f"{self.name}-{at:05}", "text": text}


def test_kill_9_loses_no_acknowledged_write(file: Path) -> None:
    acknowledged: dict[str, str] = {}
    attempted: dict[str, str] = {}
    moments = random.Random(9)
    for attempt in range(2):
        with ExitStack() as stack:
            servers = [stack.enter_context(Server(file)) for _ in range(3)]
            writers = [Writer(server, f"{attempt}-{at}") for at, server in enumerate(servers)]
            for writer in writers:
                writer.start()
            for writer in writers:  # the others go on writing to the file of one that was killed
                time.sleep(moments.uniform(0.2, 0.6))
                while not writer.acknowledged and writer.is_alive():
                    time.sleep(0.01)
                os.kill(writer.server.pid, signal.SIGKILL)
                writer.join(60)
                assert not writer.is_alive()
                assert writer.acknowledged
                acknowledged |= writer.acknowledged
                attempted |= writer.attempted
        with Server(file) as survivor:
            stored = {item["sk"]: item["text"] for item in survivor.everything()}
        assert acknowledged.items() <= stored.items() <= attempted.items()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
