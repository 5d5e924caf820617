"""Kill -9, and several processes on one file: what was acknowledged is there, and no half of a transaction."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import NO_CONDITION
from ddb_mcp.stores.local.store import LocalStore
from tests.endpoint.support import PREFIX, address, key, start
from tests.support.engines import client_options

if TYPE_CHECKING:
    from pathlib import Path

PK = f"{PREFIX}#user"


class Writer(threading.Thread):
    """Transacts pairs of items through one endpoint until it is gone; keeps the pairs that were acknowledged."""

    def __init__(self, name: str, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.prefix = name
        self.acknowledged: list[str] = []
        self.client: Any = boto3.client("dynamodb", endpoint_url=endpoint, **client_options())

    def run(self) -> None:
        for at in range(100_000):
            name = f"{self.prefix}-{at:05}"
            puts = [{"Put": {"TableName": "items", "Item": key(f"{name}-{half}")}} for half in ("a", "b")]
            try:
                self.client.transact_write_items(TransactItems=puts)
            except (BotoCoreError, ClientError):
                return
            self.acknowledged.append(name)


def test_kill_9_in_turn_loses_nothing_and_halves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "items.sqlite3"
    chance = random.Random(7)
    acknowledged: list[str] = []
    store = LocalStore(file, "items")
    added = 0

    async def by_the_tools(at: int) -> None:
        await store.put({"pk": {"S": PK}, "sk": {"S": f"tool-{at:03}"}}, NO_CONDITION)

    for turn in range(4):
        processes = [start(file, DYNAMODB_TABLE="items") for _ in range(2)]
        addresses = [address(process) for process in processes]
        if turn == 0:
            client: Any = boto3.client("dynamodb", endpoint_url=addresses[0], **client_options())
            keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
            attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
            client.create_table(TableName="items", KeySchema=keys, AttributeDefinitions=attributes)
        writers = [Writer(f"{turn}-{number}", where) for number, where in enumerate(addresses)]
        for writer in writers:
            writer.start()
        for process, writer in zip(processes, writers, strict=True):
            for _ in range(5):
                anyio.run(by_the_tools, added)
                added += 1
            time.sleep(chance.uniform(0.05, 0.3))
            while not writer.acknowledged and writer.is_alive():
                time.sleep(0.01)
            process.kill()
            process.wait()
            assert process.stderr
            process.stderr.close()
        for writer in writers:
            writer.join(60)
            acknowledged += writer.acknowledged

    process = start(file, DYNAMODB_TABLE="items")
    reading: Any = boto3.client("dynamodb", endpoint_url=address(process), **client_options())
    found = {
        item["sk"]["S"] for page in reading.get_paginator("scan").paginate(TableName="items") for item in page["Items"]
    }
    process.kill()
    process.communicate()
    pairs = {sk[:-2] for sk in found if not sk.startswith("tool-")}
    assert acknowledged
    assert set(acknowledged) <= pairs
    whole = {f"{pair}-{half}" for pair in pairs for half in ("a", "b")}
    assert found == whole | {f"tool-{at:03}" for at in range(added)}
    assert anyio.run(store.items, [Key(PK, f"{acknowledged[-1]}-a")]) == [key(f"{acknowledged[-1]}-a")]
    anyio.run(store.close)
