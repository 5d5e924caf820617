"""What everyday tasks cost a model, in calls and bytes: `python -m benchmarks.tasks`.

Each task is done with the calls that a good agent makes of it, over a server as a host starts it, and once more in the
words of version 0.1, which had no paths, no `add` and no `where`. Both must leave the same items. Counted are the bytes
that a model writes (the arguments) and those that it reads (the text of the results).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.local import DDB_MCP, PREFIX, Server

AIM_CALLS, AIM_ARGUMENTS, AIM_RESULTS = 14, 6_000, 15_000
EXPIRED, TO_COME = 1_700_000_000, 4_102_444_800


def pk(suffix: str) -> str:
    return f"{PREFIX}#{suffix}"


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Agent:
    """A model at work: its calls are counted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.calls = self.written = self.read = self._last = 0

    def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of a tool."""
        result = self._server.call(tool, **arguments)
        self.calls += 1
        self.written += len(compact(arguments).encode())
        self._last = len(result["content"][0]["text"].encode())
        self.read += self._last
        found: dict[str, Any] = result["structuredContent"]
        return found

    def reads_instead(self, value: Any) -> None:
        """Count what version 0.1 showed instead of the last result: it had no budget for named attributes."""
        self.read += len(compact(value).encode()) - self._last


def prepare(server: Server) -> None:
    """The data that the tasks are about; nothing of it is counted."""
    users = [
        {
            "pk": pk(f"user#{at}"),
            "sk": "PROFILE",
            "city": ("Paris", "Rome")[at % 2],
            "visits": at,
            "tags": {"SS": ["a"]},
        }
        for at in range(16)
    ]
    orders = [
        {
            "pk": pk(f"user#{at % 16}"),
            "sk": f"ORDER#{at:04}",
            "status": ("open", "paid", "void")[at % 3],
            "total": f"{at}.5" if at % 7 == 0 else at + 0.5,
        }
        for at in range(60)
    ]
    sessions = [
        {"pk": pk(f"session#{at:04}"), "sk": "SESSION", "ttl": EXPIRED + at if at < 42 else TO_COME} for at in range(50)
    ]
    team = [{"pk": pk("team#old"), "sk": f"MEMBER#{at}", "role": "editor", "since": 2020 + at} for at in range(11)]
    report = {"pk": pk("report#1"), "sk": "2026", "sections": [_section(at) for at in range(40)]}
    stock = {"pk": pk("product#9"), "sk": "STOCK", "left": 7}
    items = [*users, *orders, *sessions, *team, report, stock]
    for start in range(0, len(items), 100):
        server.call("put", items=items[start : start + 100])


def _section(at: int) -> dict[str, Any]:
    return {"title": f"Section {at}", "text": "x" * 6_000, "figures": {"total": at * 100}}


# The tasks, in today's words and in those of version 0.1


def look_around(agent: Agent) -> None:
    assert agent("scan", view="summary")["complete"]


def count_open_orders(agent: Agent) -> None:
    assert agent("scan", pk_prefix=pk("user#"), filter={"status": "open"}, view="count")["count"] == 20


def repair_types(agent: Agent) -> None:
    wrong = agent("scan", pk_prefix=pk("user#"), filter={"total": {"type": "S"}}, attributes=["total"])["items"]
    _as_numbers(agent, wrong)


def repair_types_0_1(agent: Agent) -> None:
    items = agent("scan", pk_prefix=pk("user#"), filter={"total": {"exists": True}}, attributes=["total"], limit=1000)
    _as_numbers(agent, [item for item in items["items"] if isinstance(item["total"], str)])


def _as_numbers(agent: Agent, wrong: list[dict[str, Any]]) -> None:
    assert len(wrong) == 9
    agent("put", merge=True, items=[{**item, "total": float(item["total"])} for item in wrong])


def clean_up(agent: Agent) -> None:
    where = {"pk_prefix": pk("session#"), "filter": {"ttl": {"lt": EXPIRED + 1_000}}}
    assert agent("delete", where=where)["deletedCount"] == 42


def clean_up_0_1(agent: Agent) -> None:
    old = {"ttl": {"lt": EXPIRED + 1_000}}
    keys = agent("scan", pk_prefix=pk("session#"), filter=old, view="keys", limit=100)["items"]
    assert agent("delete", keys=keys, expect=old)["deletedCount"] == 42


def rename(agent: Agent) -> None:
    moved = agent("put", where={"pk": pk("team#old")}, move_to=pk("team#blue"))
    assert (moved["complete"], moved["failedCount"]) == (True, 0)


def rename_0_1(agent: Agent) -> None:
    items = agent("query", pk=pk("team#old"))["items"]
    agent("put", items=[{**item, "pk": pk("team#blue")} for item in items], create_only=True)
    assert agent("query", pk=pk("team#blue"))["count"] == len(items)
    agent("delete", keys=[{"pk": item["pk"], "sk": item["sk"]} for item in items])


def read_one_value(agent: Agent) -> None:
    item = agent("get", pk=pk("report#1"), sk="2026", attributes=["sections[7].figures.total"])["item"]
    assert item["sections"] == [{"figures": {"total": 700}}]


def read_one_value_0_1(agent: Agent) -> None:
    agent("get", pk=pk("report#1"), sk="2026", attributes=["sections"])
    agent.reads_instead([_section(at) for at in range(40)])


def claim(agent: Agent) -> None:
    claimed = {"pk": pk("email#ada@example.com"), "sk": "CLAIM", "user": "99"}
    user = {"pk": pk("user#99"), "sk": "PROFILE", "city": "Paris", "visits": 0, "tags": {"SS": ["a"]}}
    assert agent("put", items=[claimed, user], create_only=True)["failed"] == []


def reserve(agent: Agent) -> None:
    key = {"pk": pk("product#9"), "sk": "STOCK"}
    assert agent("put", item=key, add={"left": -2}, expect={"left": {"ge": 2}})["updated"]["left"] == 5


def reserve_0_1(agent: Agent) -> None:
    key = {"pk": pk("product#9"), "sk": "STOCK"}
    left = agent("get", **key)["item"]["left"]
    agent("put", item={**key, "left": left - 2}, merge=True, expect={"left": left})


def change_many(agent: Agent) -> None:
    where = {"pk_prefix": pk("user#"), "filter": {"city": "Paris"}}
    assert agent("put", where=where, add={"visits": 1, "tags": {"SS": ["vip"]}})["written"] == 9


def change_many_0_1(agent: Agent) -> None:
    found = agent("scan", pk_prefix=pk("user#"), filter={"city": "Paris"}, attributes=["visits", "tags"])["items"]
    for item in found:  # each with what was read of it as expect, so that no other write is lost
        new = {**item, "visits": item["visits"] + 1, "tags": {"SS": [*item["tags"]["SS"], "vip"]}}
        agent("put", item=new, merge=True, expect={"visits": item["visits"]})


def seed(agent: Agent) -> None:
    items = [{"pk": pk(f"product#{at}"), "sk": "INFO", "name": f"Lamp {at}", "price": 10 + at} for at in range(12)]
    assert agent("put", items=items)["written"] == 12


@dataclass(frozen=True)
class Task:
    name: str
    today: Callable[[Agent], None]
    before: Callable[[Agent], None]


TASKS = (
    Task("look around", look_around, look_around),
    Task("count open orders", count_open_orders, count_open_orders),
    Task("totals that are text", repair_types, repair_types_0_1),
    Task("delete expired sessions", clean_up, clean_up_0_1),
    Task("rename a partition", rename, rename_0_1),
    Task("one value of 240 kB", read_one_value, read_one_value_0_1),
    Task("claim an e-mail", claim, claim),
    Task("reserve stock", reserve, reserve_0_1),
    Task("count and tag some users", change_many, change_many_0_1),
    Task("seed products", seed, seed),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        today, kept = _done(Path(folder) / "today", [task.today for task in TASKS])
        before, kept_before = _done(Path(folder) / "before", [task.before for task in TASKS])
    assert kept == kept_before, "both ways must leave the same items"
    print("Ten tasks of an agent, beside the same in the words of version 0.1")
    print(f"  {'':26}{'calls':>12}{'arguments':>20}{'results':>22}")
    for task, one, other in zip(TASKS, today, before, strict=True):
        print(f"  {task.name:26}{_row(one, other)}")
    one, other = _total(today), _total(before)
    print(f"  {'together':26}{_row(one, other)}")
    fits = one[0] <= AIM_CALLS and one[1] <= AIM_ARGUMENTS and one[2] <= AIM_RESULTS
    aim = f"{AIM_CALLS} calls, {AIM_ARGUMENTS} bytes of arguments, {AIM_RESULTS} bytes of results"
    print(f"  aim: at most {aim}{'' if fits else '  (missed)'}")


def _done(file: Path, tasks: list[Callable[[Agent], None]]) -> tuple[list[tuple[int, int, int]], list[Any]]:
    """Calls, bytes written and bytes read of each task, and every item that is there in the end."""
    counts = []
    with Server(DDB_MCP, file) as server:
        prepare(server)
        for task in tasks:
            agent = Agent(server)
            task(agent)
            counts.append((agent.calls, agent.written, agent.read))
        items, more = [], {}
        while True:
            page = server.call("scan", limit=1000, **more)["structuredContent"]
            items += page["items"]
            if page["complete"]:
                return counts, sorted(items, key=lambda item: (item["pk"], item["sk"]))
            more = {"cursor": page["cursor"]}


def _total(counts: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    calls, written, read = (sum(column) for column in zip(*counts, strict=True))
    return calls, written, read


def _row(one: tuple[int, int, int], other: tuple[int, int, int]) -> str:
    cells = [f"{now:,} / {then:,}" for now, then in zip(one, other, strict=True)]
    return f"{cells[0]:>12}{cells[1]:>20}{cells[2]:>22}"


if __name__ == "__main__":
    main()
