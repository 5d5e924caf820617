"""The endpoint under 16 boto3 clients, as a ratio to ministack, the other engine in Python, in the same run.

`python -m benchmarks.endpoint [SECONDS [ROUNDS]]`: puts, gets and queries, each for so many seconds, by four processes
of four clients; the engines take turns, and the median of the rounds counts. A boto3 client takes more of a processor
than either engine, so that on few cores it is the clients whose calls a second are counted. So the engine's own time on
the processor is shown too: its inverse is how many calls a second an engine has in it. At last the endpoint is killed,
and every acknowledged put is looked for in the file. ministack keeps its items in memory; the endpoint's are on the
disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import boto3
from tests.endpoint.support import address, start
from tests.support.engines import Engine, client_options, running

PROCESSES, CLIENTS = 4, 4
PREFIX = "deploy#bench"
OPERATIONS = ("put", "get", "query")
SECONDS, ROUNDS = 3.0, 3


def one_client(endpoint: str, table: str, number: int, operation: str, seconds: float) -> list[tuple[str, str]]:
    """Call the operation again and again; the keys of the calls that were answered."""
    client: Any = boto3.session.Session().client("dynamodb", endpoint_url=endpoint, **client_options())
    pk, done = f"{PREFIX}#{number}", []
    text, until, at = "x" * 200, time.monotonic() + seconds, 0
    while time.monotonic() < until:
        sk = f"{at % 50:03}"
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        if operation == "put":
            client.put_item(TableName=table, Item={**key, "n": {"N": str(at)}, "text": {"S": text}})
        elif operation == "get":
            client.get_item(TableName=table, Key=key, ConsistentRead=True)
        else:
            values = {":pk": {"S": pk}, ":sk": {"S": sk}}
            condition = "pk = :pk AND sk >= :sk"
            client.query(TableName=table, KeyConditionExpression=condition, ExpressionAttributeValues=values, Limit=10)
        done.append((pk, sk))
        at += 1
    return done


def clients(endpoint: str, table: str, first: int, operation: str, seconds: float) -> list[tuple[str, str]]:
    """One process's clients at once."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        numbers = range(first, first + CLIENTS)
        found = threads.map(lambda number: one_client(endpoint, table, number, operation, seconds), numbers)
        return [key for keys in found for key in keys]


class Rounds:
    """The rounds of one engine.

    Attributes:
        put: the keys of acknowledged puts.
    """

    def __init__(self, engine: Engine, command: bytes) -> None:
        self._engine = engine
        self._command = command
        self._table = engine.create_table()
        self._rates: dict[str, list[tuple[float, float]]] = {operation: [] for operation in OPERATIONS}
        self.put: set[tuple[str, str]] = set()
        self._all("put", 1)  # so that there is something to get, and all is warm

    def round(self, operation: str, seconds: float) -> None:
        begun, cpu = time.monotonic(), processor_seconds(self._command)
        done = self._all(operation, seconds)
        cpu = processor_seconds(self._command) - cpu
        self._rates[operation].append((len(done) / (time.monotonic() - begun), cpu / len(done) * 1000))

    def _all(self, operation: str, seconds: float) -> list[tuple[str, str]]:
        with ProcessPoolExecutor(PROCESSES) as processes:
            work = [
                processes.submit(clients, self._engine.endpoint, self._table, first * CLIENTS, operation, seconds)
                for first in range(PROCESSES)
            ]
            done = [key for each in work for key in each.result()]
        if operation == "put":
            self.put.update(done)
        return done

    def medians(self, operation: str) -> tuple[float, float]:
        """Calls a second, and the engine's milliseconds on the processor for one."""
        rates, costs = zip(*self._rates[operation], strict=True)
        return median(rates), median(costs)


def processor_seconds(command: bytes, parent: int | None = None) -> float:
    """What the processes with this in their command line, that this one has started, have taken of the processor."""
    found = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == (parent or os.getpid()):
            if command in line:
                found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            found += processor_seconds(command, int(folder.name))
    return found


def stored(folder: Path) -> set[tuple[str, str]]:
    """The keys of all items in the files of an endpoint that was killed."""
    found: set[tuple[str, str]] = set()
    process = start(folder / "configured.sqlite3", "--all-keys")
    try:
        client: Any = boto3.client("dynamodb", endpoint_url=address(process), **client_options())
        for name in client.list_tables()["TableNames"]:
            for page in client.get_paginator("scan").paginate(TableName=name):
                found |= {(item["pk"]["S"], item["sk"]["S"]) for item in page["Items"]}
    finally:
        stop(process, signal.SIGTERM)
    return found


def stop(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    process.wait()
    assert process.stderr
    process.stderr.close()


def main(arguments: Sequence[str] = ()) -> None:
    seconds = float(arguments[0]) if arguments else SECONDS
    rounds = int(arguments[1]) if len(arguments) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder, running("ministack", Path(folder)) as engine:
        process = start(Path(folder) / "configured.sqlite3", "--all-keys")
        try:
            own = Rounds(Engine("endpoint", address(process)), b"ddb_mcp\0endpoint")
            other = Rounds(engine, b"bin/ministack")
            for operation in OPERATIONS:
                for each in (own, other) * rounds:
                    each.round(operation, seconds)
        finally:
            stop(process, signal.SIGKILL)
        lost = own.put - stored(Path(folder))
    print(f"{PROCESSES * CLIENTS} boto3 clients: endpoint, ministack, ratio (aim: 2)")
    for operation in OPERATIONS:
        (own_rate, own_cost), (other_rate, other_cost) = own.medians(operation), other.medians(operation)
        print(f"  {operation:<6} calls a second    {own_rate:7.0f} {other_rate:7.0f} {own_rate / other_rate:6.2f}")
        print(f"  {'':<6} ms on a processor {own_cost:7.3f} {other_cost:7.3f} {other_cost / own_cost:6.2f}")
    print(f"  acknowledged puts lost by kill -9: {len(lost)} of {len(own.put)} keys")


if __name__ == "__main__":
    main(sys.argv[1:])
