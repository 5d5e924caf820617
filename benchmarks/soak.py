"""A long day of one server over stdio: mixed calls from concurrent workers, bad input, cancellations.

`python -m benchmarks.soak [CALLS]`, 50,000 by default, on Linux. Every answer is compared with what the worker knows
that it stored, so that a lost answer, another's, or a wrong one is found. Memory and descriptors are read from /proc
after every hundredth of the calls; neither may grow once WARM_UP calls are done. The exit code says whether all held.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

CALLS = 50_000
WARM_UP = 5_000
READINGS = 100
WORKERS = 12
BAD, CANCELLED = 0.056, 0.03  # of what workers do, which may be several calls: of the calls, one in twenty is bad
PATIENCE = 60
# What the last fifth of the readings may have above the first, in the median. Over 45,000 calls it is 22 bytes a call,
# less than the smallest object of Python's.
GROWTH_BYTES = 1_000_000
# glibc gives threads arenas of their own, each of which creeps up to its own high-water mark for tens of thousands of
# calls: some 3 MB that nobody holds. With one arena, what grows is what the server keeps.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}

PREFIX = "deploy#soak"
HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "soak", "version": "1"},
}
SORT_KEYS = [f"ITEM#{number:02}" for number in range(12)]

Object = dict[str, Any]


class Wrong(Exception):
    """An answer that is lost, another's, or not what it must be."""


class Connection:
    """JSON-RPC with the server. Each answer goes to the one who asked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._waiting: dict[int, asyncio.Future[Object]] = {}
        self._cancelled: set[int] = set()
        self._number = 0
        self.unasked: list[Object] = []

    async def read(self) -> None:
        while line := await self._out.readline():
            message = json.loads(line)
            number = message.get("id")
            if number in self._waiting:
                if not (waiting := self._waiting.pop(number)).done():
                    waiting.set_result(message)
            elif number in self._cancelled:
                self._cancelled.remove(number)  # it may be answered, once
            elif "id" in message:
                self.unasked.append(message)

    async def ask(self, method: str, params: Object) -> Object:
        number = self._next()
        return await self.ask_line(number, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})

    async def ask_line(self, number: int, message: Object | bytes) -> Object:
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        await self._write(message)
        try:
            return await asyncio.wait_for(answer, PATIENCE)
        except TimeoutError:
            raise Wrong(f"no answer within {PATIENCE} s to {message!r:.200}") from None

    async def ask_and_cancel(self, method: str, params: Object, delay: float) -> None:
        number = self._next()
        self._cancelled.add(number)
        await self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        await asyncio.sleep(delay)
        await self.tell("notifications/cancelled", {"requestId": number})

    async def tell(self, method: str, params: Object | None = None) -> None:
        await self._write({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    async def ask_unparseable(self) -> Object:
        number = self._next()
        deep = b"[" * 300 + b"]" * 300
        return await self.ask_line(
            number, b'{"jsonrpc": "2.0", "id": %d, "method": "x", "params": %s}' % (number, deep)
        )

    async def _write(self, message: Object | bytes) -> None:
        self._in.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        await self._in.drain()

    def _next(self) -> int:
        self._number += 1
        return self._number


class Worker:
    """One user: two partitions of its own, and a memory of what is in them."""

    def __init__(self, number: int, connection: Connection, chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance
        self._own = f"{PREFIX}#w{number}#"
        self._stored: dict[tuple[str, str], Object] = {}
        self._count = 0
        self.done: Counter[str] = Counter()

    async def act(self) -> None:
        """One random call, checked."""
        which = self._chance.random()
        if which < BAD:
            return await self._bad()
        if which < BAD + CANCELLED:
            return await self._cancelled()
        actions = {self._put: 6, self._put_many: 1, self._get: 8, self._delete: 2, self._query: 4, self._scan: 1}
        actions |= {self._info: 2, self._lists: 1}
        (action,) = self._chance.choices(list(actions), list(actions.values()))
        return await action()

    def _key(self) -> tuple[str, str]:
        return f"{self._own}{self._chance.choice('ab')}", self._chance.choice(SORT_KEYS)

    def _item(self, pk: str, sk: str) -> Object:
        self._count += 1
        size = int(self._chance.paretovariate(1) * 50) % 12_000  # below what makes an outline of it
        return {"pk": pk, "sk": sk, "mark": self._count, "text": "é" * size, "tags": {"SS": ["x", "y"]}}

    async def _call(self, tool: str, **arguments: Any) -> Object:
        self.done[tool] += 1
        answer = await self._connection.ask("tools/call", {"name": tool, "arguments": arguments})
        result = answer.get("result", {})
        if "structuredContent" not in result:
            raise Wrong(f"{tool} {arguments!r:.200}: {answer!r:.300}")
        lines = result["content"][0]["text"].splitlines()
        self._expect(tool, json.loads(lines[len(lines) // 2]), result["structuredContent"])
        return dict(result["structuredContent"])

    def _expect(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise Wrong(f"{what}: {found!r:.300} instead of {expected!r:.300}")

    async def _put(self) -> None:
        key = self._key()
        item = self._item(*key)
        result = await self._call("put", item=item)
        self._expect("put", (result["pk"], result["sk"], result["created"]), (*key, key not in self._stored))
        self._stored[key] = item

    async def _put_many(self) -> None:
        pk = f"{self._own}a"
        items = [self._item(pk, sk) for sk in self._chance.sample(SORT_KEYS, 5)]
        self._expect("put", await self._call("put", items=items), {"written": 5, "failed": []})
        self._stored |= {(pk, item["sk"]): item for item in items}

    async def _get(self) -> None:
        key = self._key()
        result = await self._call("get", pk=key[0], sk=key[1])
        self._expect("get", result.get("item"), self._stored.get(key))

    async def _delete(self) -> None:
        key = self._key()
        result = await self._call("delete", pk=key[0], sk=key[1])
        self._expect("delete", result.get("item"), self._stored.pop(key, None))

    async def _query(self) -> None:
        pk = f"{self._own}{self._chance.choice('ab')}"
        items = await self._pages("query", pk=pk, sk_prefix="ITEM#", limit=self._chance.choice([5, 50]))
        self._expect("query", items, [self._stored[key] for key in sorted(self._stored) if key[0] == pk])

    async def _scan(self) -> None:
        if self._chance.random() < 0.5:
            result = await self._call("scan", view="summary", pk_prefix=self._own)
            self._expect("summary", result["count"], len(self._stored))
        else:
            items = await self._pages("scan", pk_prefix=self._own, limit=10)
            self._expect("scan", items, [self._stored[key] for key in sorted(self._stored)])

    async def _pages(self, tool: str, **arguments: Any) -> list[Object]:
        page = await self._call(tool, **arguments)
        items = page["items"]
        while not page["complete"]:
            page = await self._call(tool, **arguments, cursor=page["cursor"])
            items += page["items"]
        return list(items)

    async def _info(self) -> None:
        self._expect("info", (await self._call("info"))["prefix"], PREFIX)

    async def _lists(self) -> None:
        self.done["lists"] += 1
        tools = await self._connection.ask("tools/list", {})
        self._expect("tools/list", len(tools["result"]["tools"]), 7)
        skill = await self._connection.ask("resources/read", {"uri": "skill://dynamodb-database/SKILL.md"})
        self._expect("resources/read", len(skill["result"]["contents"]), 1)

    async def _bad(self) -> None:
        self.done["bad"] += 1
        pk = f"{self._own}a"
        tool, arguments, code = self._chance.choice(
            [
                ("get", {"pk": "deploy#other#a", "sk": "b"}, "prefix_violation"),
                ("put", {"item": {"pk": f"{PREFIX}ed#a", "sk": "b"}}, "prefix_violation"),
                ("put", {"item": {"pk": pk}}, "invalid_argument"),
                ("put", {"item": {"pk": pk, "sk": "s", "x": {"SS": []}}}, "invalid_argument"),
                ("query", {"pk": pk, "limit": 0}, "invalid_argument"),
                ("query", {"pk": pk, "cursor": "x" * 80}, "invalid_cursor"),
                ("scan", {"fliter": {"a": 1}}, "invalid_argument"),
                ("scan", {"filter": {"a": {"like": 1}}}, "invalid_argument"),
                ("no such tool", {}, -32602),
                ("", {}, -32700),
            ]
        )
        if not tool:
            answer = await self._connection.ask_unparseable()
        else:
            answer = await self._connection.ask("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer:
            found = answer["error"]["code"]
        else:
            assert answer["result"]["isError"]
            found = json.loads(answer["result"]["content"][0]["text"])["error"]["code"]
        self._expect(f"{tool} {arguments}", found, code)

    async def _cancelled(self) -> None:
        self.done["cancelled"] += 1
        # Nobody can tell whether a cancelled write happened, so it goes where nothing is compared.
        scratch = {"pk": f"{PREFIX}#scratch", "sk": self._chance.choice(SORT_KEYS), "text": "s" * 1000}
        name, arguments = self._chance.choice(
            [("put", {"item": scratch}), ("scan", {"view": "summary"}), ("query", {"pk": f"{self._own}a"})]
        )
        delay = self._chance.choice([0, 0.001, 0.01])
        await self._connection.ask_and_cancel("tools/call", {"name": name, "arguments": arguments}, delay)


async def soak(calls: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("ddb-mcp")),
            *("--mode", "local", "--dynamodb-prefix", PREFIX, "--local-path", str(Path(folder, "soak.sqlite3"))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
            env={**os.environ, **ENVIRONMENT},
        )
        try:
            return await _soak(process, calls)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _soak(process: asyncio.subprocess.Process, calls: int) -> bool:
    connection = Connection(process)
    reading = asyncio.create_task(connection.read())
    await connection.ask("initialize", HANDSHAKE)
    await connection.tell("notifications/initialized")
    workers = [Worker(number, connection, random.Random(number)) for number in range(WORKERS)]
    readings: list[tuple[int, int, int]] = []

    def total() -> int:
        return sum(worker.done.total() for worker in workers)

    async def work(worker: Worker, until: int) -> None:
        while total() < until:
            await worker.act()

    started = time.perf_counter()
    wrong = None
    step = max(1, calls // READINGS)
    try:
        for until in range(step, calls + 1, step):
            async with asyncio.TaskGroup() as group:
                for worker in workers:
                    group.create_task(work(worker, until))
            if until - step < WARM_UP <= until:
                await _burst(connection)
            await asyncio.sleep(0.05)  # what was cancelled may still be ending
            readings.append((total(), *_usage(process.pid)))
    except* Wrong as failures:
        wrong = failures.exceptions[0]
    elapsed = time.perf_counter() - started
    ended = await _end(process)
    await reading

    done: Counter[str] = sum((worker.done for worker in workers), Counter())
    print(
        f"Soak: {done.total()} calls over stdio in {elapsed:.0f} s ({done.total() / elapsed:.0f}/s), {WORKERS} at once"
    )
    print("  " + ", ".join(f"{name} {count}" for name, count in done.most_common()))
    print(f"  wrong or lost answers: {wrong or 'none'}; answers nobody asked for: {len(connection.unasked)}")
    growth = _report(readings)
    print(f"  end of stdin: exit code {process.returncode} after {ended * 1000:.0f} ms")
    return wrong is None and not connection.unasked and not growth and process.returncode == 0


async def _burst(connection: Connection) -> None:
    """More scans at once than the server has threads, until chance has filled its pool of connections to the file.

    A connection costs two descriptors and up to a megabyte of cache, and the next one may be missed late.
    """
    params = {"name": "scan", "arguments": {"view": "summary"}}
    for _ in range(40):
        await asyncio.gather(*(connection.ask("tools/call", params) for _ in range(100)))


async def _end(process: asyncio.subprocess.Process) -> float:
    assert process.stdin is not None
    started = time.perf_counter()
    process.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), PATIENCE)
    return time.perf_counter() - started


def _usage(pid: int) -> tuple[int, int]:
    """Resident bytes and open descriptors."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return resident * 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _report(readings: list[tuple[int, int, int]]) -> bool:
    """Prints memory and descriptors; returns whether either grew."""
    for done, resident, descriptors in readings[:: max(1, len(readings) // 10)]:
        print(f"  after {done:>6} calls: {resident / 1e6:6.1f} MB, {descriptors} descriptors")
    warm = [reading for reading in readings if reading[0] >= WARM_UP]
    fifth = len(warm) // 5
    if not fifth:
        print(f"  too few calls after the first {WARM_UP} to tell growth")
        return False
    first, last = warm[:fifth], warm[-fifth:]
    memory = median(r[1] for r in last) - median(r[1] for r in first)
    opened = median(r[2] for r in last) - median(r[2] for r in first)
    print(f"  growth after the first {WARM_UP}: {memory / 1e6:+.2f} MB, {opened:+.0f} descriptors")
    return memory > GROWTH_BYTES or opened > 0


if __name__ == "__main__":
    held = asyncio.run(soak(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS))
    print("  all held" if held else "  NOT all held")
    sys.exit(not held)
