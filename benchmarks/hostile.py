"""What a quiet tenant of a gateway feels while another does its worst: SQLite, each row a process of its own.

`python -m benchmarks.hostile [SECONDS [PART_OF_A_ROW'S_NAME]]`: beside each row the median, the 99th percentile and the
worst of a `get` every 20 ms, in milliseconds, how many times the unloaded 99th that worst is, the most memory that the
process had, and how much of a processor it takes from 2 s after the last attacker was killed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DDB_MCP = str(Path(sys.executable).with_name("ddb-mcp"))
LOUD, QUIET = "deploy#loud", "deploy#quiet"
API = "/api/data/dynamodb/"
KEY = {"pk": LOUD + "#a", "sk": "1"}
ATTACKERS = 8


@dataclass(frozen=True)
class Target:
    """Where the gateway is, and the loud tenant's token."""

    port: int
    token: str

    def head(self, path: str, length: int) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


Attack = Callable[[Target], None]
Prepared = Callable[[], Attack]
"""Makes what an attack sends before the clock runs: eight processes that did it would take the processor."""


def posting(path: str, body: Callable[[], bytes]) -> Prepared:
    """Requests with this body, one after the other."""
    return lambda: _posting(path, body())


def _posting(path: str, content: bytes) -> Attack:
    def attack(target: Target) -> None:
        headers = {"Authorization": f"Bearer {target.token}", "Content-Type": "application/json"}
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("POST", path, content, headers | {"Accept": "application/json"})
                connection.getresponse().read()
            connection.close()

    return attack


def connections(count: int, begin: Callable[[Target], bytes], drip: bytes) -> Prepared:
    """Connections that send what `begin` gives, then a byte a second and never read."""

    def attack(target: Target) -> None:
        held: list[socket.socket] = []
        while True:
            with contextlib.suppress(OSError):
                while len(held) < count // ATTACKERS:
                    held.append(socket.create_connection(("127.0.0.1", target.port), timeout=5))
                    held[-1].sendall(begin(target))
            time.sleep(1)
            for connection in list(held):
                try:
                    connection.sendall(drip)
                except OSError:
                    held.remove(connection)
                    connection.close()

    return lambda: attack


def of(**body: Any) -> Callable[[], bytes]:
    return lambda: json.dumps(body, separators=(",", ":")).encode()


def call(tool: str, **arguments: Any) -> Callable[[], bytes]:
    """The same over MCP."""
    params = {"name": tool, "arguments": arguments}
    return of(jsonrpc="2.0", id=1, method="tools/call", params=params)


def _stalled(target: Target) -> bytes:
    return target.head(API + "put", 3_900_000) + b"x" * 3_800_000


def _unread(target: Target) -> bytes:
    body = json.dumps({"pk": LOUD + "#long", "max_bytes": 5_000_000, "limit": 1000}).encode()
    return target.head(API + "query", len(body)) + body


NAMES = {f"n{at}": 1 for at in range(330_000)}
LONG_LISTS = [[0] * 18_000 for _ in range(100)]
# As many members as an item of 400 KB can have in a map and a list, and a list of numbers.
WIDE = {"m": {f"a{at}": None for at in range(30_000)}, "l": [None] * 70_000}
LONG = {"l": [0] * 18_000}
ROWS: dict[str, Prepared] = {
    "attributes: 1.9 million": posting(
        API + "get", lambda: json.dumps({**KEY, "attributes": [1] * 1_900_000}).encode()
    ),
    "a filter of 330,000 names": posting(API + "query", of(pk=KEY["pk"], filter=NAMES)),
    "a list of 1.3 million lists": posting(API + "put", of(item={**KEY, "l": [[]] * 1_300_000})),
    "330,000 unknown arguments": posting(API + "get", of(**NAMES)),
    "a number of 3.9 million digits": posting(
        API + "put", lambda: b'{"item": {"pk": "deploy#loud#a", "sk": "1", "n": ' + b"9" * 3_900_000 + b"}}"
    ),
    "500,000 names in remove": posting(API + "put", of(item=KEY, remove=["n"] * 500_000)),
    "in, with 100 long lists": posting(API + "query", of(pk=LOUD + "#long", filter={"l": {"in": LONG_LISTS}})),
    "wide items, stored": posting(API + "put", of(item={**KEY, **WIDE})),
    "wide items, got": posting(API + "get", of(pk=LOUD + "#wide", sk="0")),
    "wide items, filtered": posting(API + "query", of(pk=LOUD + "#wide", filter={"l": {"contains": 1}})),
    "wide items, counted": posting(API + "scan", of(pk_prefix=LOUD + "#wide", view="summary")),
    "wide items, shown": posting(API + "query", of(pk=LOUD + "#wide", max_bytes=5_000_000)),
    "long items, stored": posting(API + "put", of(item={**KEY, **LONG})),
    "long items, got": posting(API + "get", of(pk=LOUD + "#long", sk="000")),
    "long items, filtered": posting(API + "query", of(pk=LOUD + "#long", filter={"l": {"contains": 1}})),
    "long items, counted": posting(API + "scan", of(pk_prefix=LOUD + "#long", view="summary")),
    "long items, shown": posting(API + "query", of(pk=LOUD + "#long", max_bytes=5_000_000, limit=1000)),
    "over MCP: 1.9 million attributes": posting("/mcp", call("get", **KEY, attributes=[1] * 1_900_000)),
    "over MCP: 1.3 million lists": posting("/mcp", call("put", item={**KEY, "l": [[]] * 1_300_000})),
    "300 bodies that stall": connections(300, _stalled, b""),
    "300 answers that nobody reads": connections(300, _unread, b""),
    "1,200 slow heads, no token": connections(1200, lambda target: b"POST ", b"x"),
}


class Sampler:
    """The quiet tenant, and the memory of the gateway's process."""

    def __init__(self, port: int, token: str, pid: int) -> None:
        self._port, self._token, self._pid = port, token, pid

    def run(self, seconds: float) -> tuple[list[float], float]:
        """How long each `get` took, in seconds, and the most memory, in MB."""
        waits: list[float] = []
        most = 0.0
        until = time.monotonic() + seconds
        connection = self._connection()
        body = json.dumps({"pk": QUIET + "#a", "sk": "1"})
        headers = {"Authorization": f"Bearer {self._token}"}
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                connection.request("POST", API + "get", body, headers)
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = self._connection()
            waits.append(time.perf_counter() - started)
            status = Path(f"/proc/{self._pid}/status").read_text()
            most = max(most, int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024)
            time.sleep(0.02)
        connection.close()
        return sorted(waits), most

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)


@contextlib.contextmanager
def attacked(attack: Attack, target: Target) -> Iterator[None]:
    """While this is open, processes of their own attack."""
    context = multiprocessing.get_context("fork")
    attackers = [context.Process(target=attack, args=(target,), daemon=True) for _ in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    try:
        yield
    finally:
        for attacker in attackers:
            attacker.kill()
            attacker.join()


@dataclass(frozen=True)
class Place:
    """A folder with both tenants' items and the registry, from which each row gets a copy, and their tokens."""

    folder: Path
    tokens: dict[str, str]

    @property
    def options(self) -> list[str]:
        return ["--mode", "local", "--local-path", str(self.folder / "items.sqlite3")]

    @contextlib.contextmanager
    def copied(self) -> Iterator[Place]:
        with tempfile.TemporaryDirectory() as name:
            shutil.copytree(self.folder, name, dirs_exist_ok=True)
            yield Place(Path(name), self.tokens)

    @contextlib.contextmanager
    def served(self) -> Iterator[tuple[int, int]]:
        """A gateway: its port and its process."""
        log = self.folder / "log"
        with log.open("w") as output:
            server = subprocess.Popen([DDB_MCP, "gateway", "serve", "--port", "0", *self.options], stderr=output)
        try:
            while not (listening := re.search(r"Listening on \S+:(\d+)", log.read_text())):
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            yield int(listening[1]), server.pid
        finally:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def filled() -> Iterator[Place]:
    """Two tenants with their items."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), {})
        for prefix in (LOUD, QUIET):
            add = [DDB_MCP, "gateway", "deployments", "add", prefix.partition("#")[2], *place.options]
            added = subprocess.run(add, check=True, capture_output=True, text=True)
            place.tokens[prefix] = added.stdout.strip()
        with place.served() as (port, _):
            fill(port, place.tokens)
        yield place


def fill(port: int, tokens: dict[str, str]) -> None:
    """Items of the loud tenant that are as long and as wide as they may be, and one of the quiet one."""
    items: list[tuple[str, dict[str, Any]]] = [(QUIET, {"pk": QUIET + "#a", "sk": "1"})]
    items += [(LOUD, {"pk": LOUD + "#wide", "sk": str(at), **WIDE}) for at in range(60)]
    items += [(LOUD, {"pk": LOUD + "#long", "sk": f"{at:03}", **LONG}) for at in range(160)]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for prefix, item in items:
        while True:
            headers = {"Authorization": f"Bearer {tokens[prefix]}"}
            connection.request("POST", API + "put", json.dumps({"item": item}), headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 200:
                break
            assert answer.status == 429, said
            time.sleep(1)
    connection.close()


@dataclass(frozen=True)
class Felt:
    """What a row was like: waits in seconds, sorted, memory in MB, and the share of a processor afterwards."""

    waits: list[float]
    memory: float
    busy: float

    @property
    def p99(self) -> float:
        return self.waits[int(0.99 * (len(self.waits) - 1))]


def felt(place: Place, prepared: Prepared | None, seconds: float) -> Felt:
    """One row, with a gateway of its own."""
    with place.copied() as own, own.served() as (port, process):
        attack = prepared() if prepared else None
        target, sampler = Target(port, own.tokens[LOUD]), Sampler(port, own.tokens[QUIET], process)
        with attacked(attack, target) if attack else contextlib.nullcontext():
            time.sleep(1)
            waits, memory = sampler.run(seconds)
        time.sleep(2)
        before = processor_seconds(process)
        time.sleep(0.5)
        return Felt(waits, memory, (processor_seconds(process) - before) / 0.5)


def processor_seconds(process: int) -> float:
    """What a process has used so far."""
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def main(seconds: float = 3, part: str = "") -> None:
    """Print the table."""
    with filled() as place:
        print(f"{'':36}{'median':>9}{'99th':>9}{'worst':>9}{'× 99th':>9}{'MB':>7}{'after':>7}   (ms)")
        unloaded = 0.0
        for row, prepared in {"unloaded": None, **ROWS}.items():
            if prepared and part not in row:
                continue
            was = felt(place, prepared, seconds)
            unloaded = unloaded or was.p99
            times = [wait * 1000 for wait in (was.waits[len(was.waits) // 2], was.p99, was.waits[-1])]
            told = "".join(f"{at:9.1f}" for at in (*times, was.waits[-1] / unloaded))
            print(f"{row:36}{told}{was.memory:7.0f}{was.busy:7.0%}", flush=True)


if __name__ == "__main__":
    main(*(float(given) for given in sys.argv[1:2]), *sys.argv[2:3])
