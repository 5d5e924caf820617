"""What a quiet tenant of a gateway feels while another does its worst: one process, SQLite, each row for some seconds.

`python -m benchmarks.hostile [SECONDS]`: beside each row the median, the 99th percentile and the worst of a `get` every
20 ms, in milliseconds, how many times the unloaded 99th that worst is, and the most memory that the process had.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import re
import socket
import subprocess
import sys
import tempfile
import threading
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
    "wide items, counted": posting(API + "scan", of(view="summary")),
    "wide items, shown": posting(API + "query", of(pk=LOUD + "#wide", max_bytes=5_000_000)),
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


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[tuple[int, dict[str, str], int]]:
    """A gateway with both tenants: its port, their tokens, its process."""
    options = ["--mode", "local", "--local-path", str(folder / "items.sqlite3")]
    tokens = {
        prefix: subprocess.run(
            [DDB_MCP, "gateway", "deployments", "add", prefix.partition("#")[2], *options],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for prefix in (LOUD, QUIET)
    }
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen([DDB_MCP, "gateway", "serve", "--port", "0", *options], stderr=output)
    try:
        while not (listening := re.search(r"Listening on \S+:(\d+)", log.read_text())):
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        yield int(listening[1]), tokens, server.pid
    finally:
        server.terminate()
        server.wait()


def fill(port: int, tokens: dict[str, str]) -> None:
    """Items of the loud tenant that are as long and as wide as they may be, and one of the quiet one."""
    wide = {f"a{at}": None for at in range(50_000)}
    items: list[tuple[str, dict[str, Any]]] = [(QUIET, {"pk": QUIET + "#a", "sk": "1"})]
    items += [(LOUD, {"pk": LOUD + "#wide", "sk": str(at), "m": wide}) for at in range(10)]
    items += [(LOUD, {"pk": LOUD + "#long", "sk": f"{at:03}", "l": [0] * 18_000}) for at in range(160)]
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


def main(seconds: float = 5) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as (port, tokens, pid):
        fill(port, tokens)
        target, sampler = Target(port, tokens[LOUD]), Sampler(port, tokens[QUIET], pid)
        print(f"{'':36}{'median':>9}{'99th':>9}{'worst':>9}{'× 99th':>9}{'MB':>7}   (ms)")
        unloaded = 0.0
        for row, prepared in {"unloaded": None, **ROWS}.items():
            with attacked(prepared(), target) if prepared else contextlib.nullcontext():
                time.sleep(1)
                waits, most = sampler.run(seconds)
            p99 = waits[int(0.99 * (len(waits) - 1))]
            unloaded = unloaded or p99
            told = [waits[len(waits) // 2] * 1000, p99 * 1000, waits[-1] * 1000]
            print(f"{row:36}" + "".join(f"{wait:9.1f}" for wait in told) + f"{waits[-1] / unloaded:9.1f}{most:7.0f}")
            time.sleep(2)
        threads = int(re.findall(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
        print(f"{threads} threads afterwards; this process has {threading.active_count()}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5)
