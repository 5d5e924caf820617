"""The gateway under load, as a ratio to the store behind it called directly by the same clients in the same run.

`python -m benchmarks.gateway [SECONDS]`: 64 clients, half writes and half reads, for 60 s on each side; then every
acknowledged write is looked for. Then 16 tenants on two processes, of which one is killed midway; what the access
log and the metrics cost; and an import in batches beside one request an item.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from tests.gateway.load import Connection, Load, add_tenants, headers
from tests.gateway.process import Operator

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.service.transfer.export_import import Importer
from ddb_mcp.service.transfer.sources import ItemSource
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.platform.store import PlatformStore

CLIENTS = 64
PREFIX = "deploy#bench"
DDB_MCP = str(Path(sys.executable).with_name("ddb-mcp"))

Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass
class Outcome:
    seconds: float
    latencies: list[float] = field(default_factory=list)
    acknowledged: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds that this share of the calls did not exceed."""
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


async def _client(call: Call, number: int, until: float, outcome: Outcome) -> None:
    pk, at = f"{PREFIX}#client#{number}", 0
    while time.monotonic() < until:
        at += 1
        key = {"pk": pk, "sk": f"{at % 50:03}"}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("put", {"item": {**key, "n": at, "text": "x" * 300}}),
            ("get", key),
            ("put", {"item": {**key, "n": at, "done": True}, "merge": True}),
            ("query", {"pk": pk, "limit": 10}),
        ]
        for operation, arguments in calls:
            started = time.perf_counter()
            await call(operation, arguments)
            outcome.latencies.append(time.perf_counter() - started)
        outcome.acknowledged[key["pk"], key["sk"]] = at


async def _measure(calls: Sequence[Call], seconds: float) -> Outcome:
    """The load of a client for each of these ways to call, and the proof that nothing was lost."""
    outcome = Outcome(seconds)
    await calls[0]("provision", {})
    until = time.monotonic() + seconds
    async with anyio.create_task_group() as group:
        for number, call in enumerate(calls):
            group.start_soon(_client, call, number, until, outcome)
    for (pk, sk), at in outcome.acknowledged.items():
        found = await calls[0]("get", {"pk": pk, "sk": sk})
        assert found["item"]["n"] >= at, "an acknowledged write is lost"
    return outcome


async def _directly(path: Path, seconds: float) -> Outcome:
    store = LocalStore(path, "bench")
    outcome = await _measure([DataService(store, Prefix(PREFIX)).run_operation] * CLIENTS, seconds)
    await store.close()
    return outcome


async def _through(url: str, token: str, seconds: float) -> Outcome:
    """The load through a gateway, in bare HTTP: a client library's cost would be taken for the gateway's."""
    connections = [Connection(url) for _ in range(CLIENTS)]

    async def call(connection: Connection, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(arguments).encode()
        status, content = await connection.post(f"/api/data/dynamodb/{operation}", headers(token), body)
        assert status == 200, content
        answer: dict[str, Any] = json.loads(content)
        return answer

    outcome = await _measure([functools.partial(call, connection) for connection in connections], seconds)
    for connection in connections:
        await connection.close()
    return outcome


def _cpu_seconds(process: int) -> float:
    """Processor time that a process has used, by Linux's `/proc`; NaN elsewhere."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# `log_requests` would enable the logger again, so its lines go no further.
_WITHOUT_LOG = """
import logging, sys
from ddb_mcp.cli.main import main
logging.getLogger("ddb_mcp.gateway.access").addFilter(lambda record: False)
sys.exit(main())
"""


@contextlib.contextmanager
def _gateway(folder: Path, *flags: str, logs: bool = True) -> Iterator[tuple[str, str, int]]:
    """A gateway process over SQLite: its address, a token and its id. `logs`: whether it writes its access log."""
    options = ["--mode", "local", "--local-path", str(folder / "items")]
    rates = ["--requests-per-second", "1000000", "--items-per-second", "100000000"]
    add = [DDB_MCP, "gateway", "deployments", "add", "bench", "--prefix", PREFIX, *options, *rates]
    token = subprocess.run(add, check=True, capture_output=True, text=True).stdout.strip()
    log = folder / "log"
    with log.open("w") as output:
        command = [DDB_MCP] if logs else [sys.executable, "-c", _WITHOUT_LOG]
        serve = ["gateway", "serve", "--port", "0", "--drain-seconds", "0", *options, *flags]
        server = subprocess.Popen([*command, *serve], stderr=output)
    try:
        while not (listening := re.search(r"Listening on (\S+)", log.read_text())):
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        yield listening[1], token, server.pid
    finally:
        server.terminate()
        server.wait()


async def _two(urls: list[str], tokens: list[str], seconds: float, kill: Callable[[], None]) -> Load:
    """The load of 16 tenants on two gateways, of which one is killed after half the time; then the proof."""
    load = Load(urls, tokens)

    async def conduct() -> None:
        await anyio.sleep(seconds / 2)
        await anyio.to_thread.run_sync(kill)
        await anyio.sleep(seconds / 2)

    await load.run(conduct)
    await load.check()
    return load


async def _calls(urls: list[str], tokens: list[str], seconds: float, *, writes: bool = False) -> float:
    """Answers a second; without writes SQLite has no lock that processes wait for."""
    load = Load(urls, tokens, writes=writes)
    await load.run(lambda: anyio.sleep(seconds))
    return load.answers[200] / seconds


def two_processes(seconds: float) -> None:
    """Print what two processes do beside one, and what a kill -9 of one of two costs."""
    with tempfile.TemporaryDirectory() as name:
        operator = Operator(Path(name))
        tokens = add_tenants(operator)
        with operator.serve() as first, operator.serve() as second:
            urls = [first.url, second.url]
            # Items to read, and two warm processes; then the two sides in turn.
            anyio.run(functools.partial(_calls, urls, tokens, seconds / 6, writes=True))
            sides = [[anyio.run(_calls, side, tokens, seconds / 12) for side in (urls[:1], urls)] for _ in range(3)]
            one, two = (statistics.median(figures) for figures in zip(*sides, strict=True))
            load = anyio.run(_two, urls, tokens, seconds, first.kill)
    print(
        f"reads through one process {one:.0f}/s, two {two:.0f}/s: {two / one:.2f}, "
        f"of {os.cpu_count()} processors that the {CLIENTS} clients use too"
    )
    print(
        f"two processes, one killed: {dict(load.answers)} answers by status, {load.lost} requests to the killed one; "
        f"{len(load.acknowledged)} acknowledged keys, all there; {len(load.foreign)} foreign bytes seen"
    )


def observation(seconds: float) -> None:
    """Print the gateway's processor time a call without its log, with it, and with metrics too, in turns."""
    sides: dict[str, dict[str, Any]] = {
        "neither log nor metrics": {"logs": False},
        "access log": {},
        "access log and metrics": {"flags": ["--metrics-port", "0"]},
    }
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(3):
        for name, side in sides.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                _gateway(Path(folder), *side.get("flags", ()), logs=side.get("logs", True)) as (url, token, process),
            ):
                before = _cpu_seconds(process)
                outcome = anyio.run(_through, url, token, seconds / 12)
                spent[name].append((_cpu_seconds(process) - before) / len(outcome.latencies) * 1e6)
    least = statistics.median(spent["neither log nor metrics"])
    for name, figures in spent.items():
        cost = statistics.median(figures)
        print(f"{name:24} {cost:6.0f} µs of the gateway's processor time a call, {cost / least:.2f}")


class _OneByOne(PlatformStore):
    """Sends each item in a request of its own."""

    async def put_batch(self, items: Any, condition: Any) -> None:
        return None


async def _import(store: PlatformStore, file: Path) -> float:
    with file.open("rb") as stream:
        source = ItemSource(file.name, stream)
        importer = Importer(store, Prefix(PREFIX))
        count = await importer.validate(source)
        started = time.perf_counter()
        await importer.write_items(source, lambda items: None)
        assert importer.written == count
    await store.close()
    return time.perf_counter() - started


def imports(items: int) -> None:
    """Print how long an import through the gateway takes, in batches and with one request an item."""
    with tempfile.TemporaryDirectory() as name, _gateway(Path(name)) as (url, token, _):
        file = Path(name) / "items.jsonl"
        rows = ({"pk": f"{PREFIX}#{at % 50}", "sk": f"{at:06}", "text": "x" * 300} for at in range(items))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = PlatformSettings(api_url=url, auth_token=token)
        alone, batches = (anyio.run(_import, kind(settings), file) for kind in (_OneByOne, PlatformStore))
    print(
        f"import of {items} items: one request an item {alone:.1f} s, in batches {batches:.1f} s: {batches / alone:.2f}"
    )


def main(seconds: float = 60) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        direct = anyio.run(_directly, folder / "direct", seconds)
        with _gateway(folder) as (url, token, process):
            before = _cpu_seconds(process)
            through = anyio.run(_through, url, token, seconds)
            spent = _cpu_seconds(process) - before
    for name, outcome in (("store directly", direct), ("through the gateway", through)):
        p50, p99 = (outcome.percentile(share) * 1000 for share in (0.5, 0.99))
        print(f"{name:20} {outcome.throughput:8.0f} calls/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")
    print(
        f"gateway / store: throughput {through.throughput / direct.throughput:.2f}, "
        f"p99 {through.percentile(0.99) / direct.percentile(0.99):.2f}; "
        f"the gateway's processor time a call {spent / len(through.latencies) * 1e6:.0f} µs; "
        f"{len(direct.acknowledged) + len(through.acknowledged)} acknowledged keys, all there"
    )
    two_processes(seconds)
    observation(seconds)
    imports(round(20_000 * min(1, seconds / 60)))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
