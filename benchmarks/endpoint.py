"""The endpoint under 16 boto3 clients, as a ratio to ministack, the other engine in Python, in the same run.

`python -m benchmarks.endpoint [SECONDS]`: puts, gets and queries, each for so many seconds on each engine, by four
processes of four clients. Then the endpoint is killed, and every acknowledged put is looked for in the file. ministack
keeps its items in memory; the endpoint's are on the disk.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from tests.endpoint.support import address, start
from tests.support.engines import Engine, client_options, running

PROCESSES, CLIENTS = 4, 4
PREFIX = "deploy#bench"
OPERATIONS = ("put", "get", "query")
SECONDS = 4.0


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


def measured(engine: Engine, seconds: float) -> tuple[dict[str, float], set[tuple[str, str]]]:
    """Calls a second by operation, and the keys of acknowledged puts."""
    table = engine.create_table()
    rates, put = {}, set()
    with ProcessPoolExecutor(PROCESSES) as processes:
        for operation in ("warm-up", *OPERATIONS):
            begun = time.monotonic()
            work = [
                processes.submit(clients, engine.endpoint, table, first * CLIENTS, operation, seconds)
                for first in range(PROCESSES)
            ]
            done = [key for each in work for key in each.result()]
            rates[operation] = len(done) / (time.monotonic() - begun)
            if operation == "put":
                put.update(done)
    return rates, put


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
    with tempfile.TemporaryDirectory() as folder, running("ministack", Path(folder)) as engine:
        other, _ = measured(engine, seconds)
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder) / "configured.sqlite3", "--all-keys")
        try:
            own, put = measured(Engine("endpoint", address(process)), seconds)
        finally:
            stop(process, signal.SIGKILL)
        lost = put - stored(Path(folder))
    print(f"{PROCESSES * CLIENTS} boto3 clients, calls a second: endpoint, ministack, ratio (aim: 2)")
    for operation in OPERATIONS:
        ratio = own[operation] / other[operation]
        print(f"  {operation:<6} {own[operation]:8.0f} {other[operation]:8.0f} {ratio:6.2f}")
    print(f"  acknowledged puts lost by kill -9: {len(lost)} of {len(put)} keys")


if __name__ == "__main__":
    main(sys.argv[1:])
