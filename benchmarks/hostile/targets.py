"""The servers that are attacked, what is stored in them, and the quiet clients that wait beside the attackers."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.hostile.attacks import (
    API,
    LONG,
    MANY,
    SIGNATURE,
    SIMILAR,
    TABLE,
    WIDE,
    WIDE_ITEMS,
    Call,
    Target,
    Tenant,
    document,
    message,
)

DDB_MCP = str(Path(sys.executable).with_name("ddb-mcp"))
LOUD = ("deploy#loud", "deploy#noisy", "deploy#shrill")
QUIET = "deploy#quiet"
PATIENCE = 12
"""Seconds until a quiet client gives up."""
SMALL_KEY = {"pk": QUIET + "#a", "sk": "1"}
LARGE_KEY = {"pk": QUIET + "#large", "sk": "1"}
LARGE = {**LARGE_KEY, "text": "x" * 390_000}


class Quiet(Protocol):
    """A client that does nothing wrong. A call returns whether it was answered as it should be."""

    def call(self, call: Call) -> bool: ...


class HttpQuiet:
    """A quiet client over HTTP.

    Args:
        request: path, headers and body of a call.
        is_answer: whether a body with status 200 is what the call is for.
    """

    def __init__(
        self,
        port: int,
        request: Callable[[Call], tuple[str, dict[str, str], bytes]],
        is_answer: Callable[[bytes], bool] = bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._request = request
        self._is_answer = is_answer
        self._connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=tls)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        )

    def call(self, call: Call) -> bool:
        path, headers, body = self._request(call)
        try:
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            return self._is_answer(answer.read()) and answer.status == 200
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False


class StdioClient:
    """A host with one server over stdio, for any number of threads."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, tuple[threading.Event, list[bytes]]] = {}
        self._guard = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        assert self._ask("initialize", client, 60)
        self._send(document(jsonrpc="2.0", method="notifications/initialized"))

    def call(self, call: Call) -> bool:
        answer = self._ask("tools/call", {"name": call[0], "arguments": call[1]}, PATIENCE)
        return answer is not None and b'"isError":true' not in answer

    def _ask(self, method: str, params: dict[str, Any], seconds: float) -> bytes | None:
        number = next(self._ids)
        answered, answer = self._answers[number] = (threading.Event(), [])
        self._send(document(jsonrpc="2.0", id=number, method=method, params=params))
        answered.wait(seconds)
        return answer[0] if answer else None

    def _send(self, line: bytes) -> None:
        assert self._process.stdin
        with self._guard, contextlib.suppress(OSError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if found := re.search(rb'"id":(\d+)', line[:60] + line[-60:]):
                answered, answer = self._answers.pop(int(found[1]), (threading.Event(), []))
                answer.append(line)
                answered.set()


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        quiet: makes a quiet client.
        stdio: the client of a server over stdio, which has no others.
    """

    pid: int
    target: Target
    quiet: Callable[[], Quiet]
    stdio: StdioClient | None = None


@dataclass(frozen=True)
class Place:
    """A folder with the items of all tenants and the registry. Each row gets a copy."""

    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        return ["--mode", "local", "--local-path", str(self.folder / "items.sqlite3")]

    @contextlib.contextmanager
    def copied(self) -> Iterator[Place]:
        with tempfile.TemporaryDirectory() as name:
            shutil.copytree(self.folder, name, dirs_exist_ok=True)
            yield Place(Path(name), self.tokens)

    @contextlib.contextmanager
    def gateway(self, tenants: int = 1) -> Iterator[Server]:
        """A gateway that so many tenants attack; with 0, somebody without a token."""
        with self._serving("gateway", "serve", "--port", "0", *self.options) as (pid, port):
            yield self._tenants_server(pid, port, tenants)

    @contextlib.contextmanager
    def gateway_with_tls(self) -> Iterator[Server]:
        """A gateway that somebody without a token attacks, and that speaks TLS itself."""
        key, certificate = str(self.folder / "key.pem"), str(self.folder / "certificate.pem")
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"]
        subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        tls = ["--tls-cert", certificate, "--tls-key", key]
        with self._serving("gateway", "serve", "--port", "0", *tls, *self.options) as (pid, port):
            unverified = ssl.create_default_context()
            unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
            yield self._tenants_server(pid, port, 0, unverified)

    def _tenants_server(self, pid: int, port: int, tenants: int, tls: ssl.SSLContext | None = None) -> Server:
        headers = {"Authorization": f"Bearer {self.tokens[QUIET]}"}

        def request(call: Call) -> tuple[str, dict[str, str], bytes]:
            return API + call[0], headers, document(**call[1])

        loud = [Tenant(prefix, self.tokens[prefix]) for prefix in LOUD[:tenants]]
        target = Target(port, tuple(loud) or (Tenant(LOUD[0], None),))
        return Server(pid, target, lambda: HttpQuiet(port, request, tls=tls))

    @contextlib.contextmanager
    def http(self) -> Iterator[Server]:
        """`--http`. Its clients share one deployment, and so do the quiet and the hostile one."""

        def request(call: Call) -> tuple[str, dict[str, str], bytes]:
            return "/mcp", {"Content-Type": "application/json", "Accept": "application/json"}, message(call)

        with self._serving("--dynamodb-prefix", LOUD[0], *self.options, "--http", "127.0.0.1:0") as (pid, port):
            target = Target(port, (Tenant(LOUD[0], None),))
            yield Server(pid, target, lambda: HttpQuiet(port, _within(request), _is_no_error))

    @contextlib.contextmanager
    def endpoint(self) -> Iterator[Server]:
        def request(call: Call) -> tuple[str, dict[str, str], bytes]:
            operation, body = _dynamodb_request(call)
            name, _, value = SIGNATURE.partition(": ")
            headers = {name: value, "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
            return "/", headers, document(TableName=TABLE, **body)

        with self._serving("endpoint", "--all-keys", "--port", "0", *self.options) as (pid, port):
            yield Server(pid, Target(port, (Tenant(LOUD[0], None),)), lambda: HttpQuiet(port, request))

    @contextlib.contextmanager
    def stdio(self) -> Iterator[Server]:
        """A server over stdio, whose client is the hostile and the quiet one."""
        command = [DDB_MCP, "--dynamodb-prefix", LOUD[0], *self.options]
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            client = StdioClient(process)
            yield Server(process.pid, Target(0, (Tenant(LOUD[0], None),)), lambda: _Within(client), client)
        finally:
            process.kill()
            process.communicate()

    @contextlib.contextmanager
    def _serving(self, *command: str) -> Iterator[tuple[int, int]]:
        """A process of a server over HTTP: its id and its port."""
        log = self.folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen([DDB_MCP, *command], stdout=output, stderr=output)
        try:
            while not (listening := re.search(r"//127\.0\.0\.1:(\d+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield process.pid, int(listening[1])
        finally:
            process.kill()
            process.wait()


def _within(request: Callable[[Call], Any]) -> Callable[[Call], Any]:
    return lambda call: request(_of_loud(call))


@dataclass(frozen=True)
class _Within:
    client: Quiet

    def call(self, call: Call) -> bool:
        return self.client.call(_of_loud(call))


def _of_loud(call: Call) -> Call:
    """The same call for the hostile client's own deployment: the quiet client's items lie in it too."""
    return call[0], json.loads(json.dumps(call[1]).replace(QUIET, f"{LOUD[0]}#quiet"))


def _is_no_error(body: bytes) -> bool:
    return b'"isError":true' not in body and b'"result"' in body


def _dynamodb_request(call: Call) -> tuple[str, dict[str, Any]]:
    tool, arguments = call
    members = {name: {"S": text} for name, text in arguments.get("item", arguments).items()}
    return ("PutItem", {"Item": members}) if tool == "put" else ("GetItem", {"Key": members})


@contextlib.contextmanager
def filled(tenants: int) -> Iterator[Place]:
    """A place, with the large items of so many hostile tenants."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name))
        for prefix in (*LOUD, QUIET):
            add = [DDB_MCP, "gateway", "deployments", "add", prefix.partition("#")[2], *place.options]
            added = subprocess.run(add, check=True, capture_output=True, text=True)
            place.tokens[prefix] = added.stdout.strip()
        call = [DDB_MCP, "call", *place.options, "provision", "{}"]
        subprocess.run(call, check=True, capture_output=True)
        fill(place.folder / "items.sqlite3", LOUD[:tenants])
        yield place


def fill(file: Path, loud: tuple[str, ...]) -> None:
    """Store items by SQL: the budgets of a tenant would let few of the wide ones in."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        for prefix, kind, members, count in _items(loud):
            value = json.dumps({name: _typed(member) for name, member in members.items()})
            rows = (
                (f"{prefix}#{kind}".encode(), sk.encode(), _document(prefix, kind, sk, value), None)
                for sk in (f"{at:04}" if count > 1 else "0000" if prefix in loud else "1" for at in range(count))
            )
            statement = "INSERT INTO items (pk, sk, document, expires) VALUES (?, ?, ?, ?)"
            connection.executemany(statement, rows)


def _document(prefix: str, kind: str, sk: str, members: str) -> str:
    key = json.dumps({"pk": {"S": f"{prefix}#{kind}"}, "sk": {"S": sk}})
    return key[:-1] + (", " + members[1:] if members != "{}" else "}")


def _items(loud: tuple[str, ...]) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Prefix, kind, attributes and number of the stored items."""
    yield from ((prefix, "a", {}, 1) for prefix in (QUIET, f"{LOUD[0]}#quiet"))
    for prefix in loud:
        yield prefix, "a", {}, 1
        yield prefix, "names", dict.fromkeys(SIMILAR[:300], 1), 1
        yield prefix, "text", {"body": "x" * 399_000}, 1
        yield prefix, "sets", {"s": {"NS": [str(at) for at in range(10_000, 40_000)]}}, 1
        yield prefix, "maps", {"m": dict.fromkeys(SIMILAR[:300], 1)}, MANY
        yield prefix, "many", {}, MANY
        # U+0085 is escaped in every text that a model sees.
        yield prefix, "controls", {"text": "\u0085" * 190_000}, 1
        yield prefix, "long-names", {"\u0085" * 30_000 + letter: 1 for letter in "abcdef"}, 60
        yield prefix, "long", LONG, 160
        yield prefix, "wide", WIDE, WIDE_ITEMS


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case list():
            return {"L": [_typed(entry) for entry in value]}
        case {"NS": _}:
            return dict(value)
        case _:
            return {"M": {name: _typed(entry) for name, entry in value.items()}}


def processor_seconds(process: int) -> float:
    """What a process has used so far."""
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def most_memory(process: int) -> float:
    """The most memory that a process has had, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
