"""Tables below the product, and deployments that share each of them."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from anyio.from_thread import BlockingPortal
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from mcp import Client

from ddb_mcp.config.settings import LocalSettings
from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ALL_SORT_KEYS
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.server.app import build_server
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import Deleted, Read, Store, StorePage, WriteCondition
from ddb_mcp.stores.local.store import LocalStore
from tests.direct.support import connected
from tests.gateway.running import running_gateway
from tests.isolation.model import Item
from tests.support.engines import Engine
from tests.support.through_mcp import OverMcp
from tests.support.through_mcp import connected as connected_over_http

if TYPE_CHECKING:
    from ddb_mcp.core.items import Item as StoredItem

WRITES_A_CALL = 2
"""How many writes one `where` begins, so that even small selections need a cursor."""
_CURSOR_KEY = bytes(32)
"""Shared by the deployments, as a gateway's are: the seal's key alone keeps no cursor from another deployment."""
_NO_FILE = Path("unused")  # the settings say no more than how long a result may be
_PATH = "/api/data/dynamodb/"


class Answer(NamedTuple):
    """What a call returned. `code` is the error's, None for a success."""

    result: dict[str, Any]
    code: str | None

    @property
    def text(self) -> str:
        """All that the caller sees."""
        return json.dumps(self.result, ensure_ascii=False)


Interface = Callable[[str, dict[str, Any]], Answer]
"""Calls an operation of one deployment."""


class Table(Protocol):
    """A table, read and written below the product."""

    def read(self) -> list[Item]: ...

    def replace(self, items: list[Item]) -> None:
        """Make these the only items."""
        ...


@dataclass(frozen=True)
class World:
    """A table, and how a deployment reaches it.

    Attributes:
        connect: returns the interfaces of the deployment with this prefix, all for the same items.
        counts_others: whether `scanned` counts other deployments' items, which direct mode documents.
        examples: how many sequences of calls to try. Calls of an engine take several times as long as of a file.
    """

    table: Table
    connect: Callable[[str], list[Interface]]
    counts_others: bool
    examples: int


def _plain(typed: dict[str, Any]) -> Item:
    return {name: TypeDeserializer().deserialize(value) for name, value in typed.items()}


def _typed(item: Item) -> dict[str, Any]:
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


class SqliteTable:
    """The items of a local file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)

    def read(self) -> list[Item]:
        return [_plain(json.loads(text)) for (text,) in self._connection.execute("SELECT document FROM items")]

    def replace(self, items: list[Item]) -> None:
        rows = [(item["pk"].encode(), item["sk"].encode(), json.dumps(_typed(item))) for item in items]
        self._connection.execute("DELETE FROM items")
        self._connection.executemany("INSERT INTO items (pk, sk, document) VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        self._connection.close()


class EngineTable:
    """The items of a table in an engine."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._client, self._name = engine.client(), name

    def read(self) -> list[Item]:
        pages = self._client.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True)
        return [_plain(item) for page in pages for item in page["Items"]]

    def replace(self, items: list[Item]) -> None:
        for item in self.read():
            key = _typed({"pk": item["pk"], "sk": item["sk"]})
            self._client.delete_item(TableName=self._name, Key=key)
        for item in items:
            self._client.put_item(TableName=self._name, Item=_typed(item))


_EXAMPLES: dict[type[Table], int] = {SqliteTable: 8, EngineTable: 3}


class CarelessStore(LocalStore):
    """A store that gives other items beside the requested ones, as a platform with a fault might."""

    async def query(self, read: Read) -> StorePage:
        return await super().query(read._replace(range=ALL_SORT_KEYS))

    async def scan(self, read: Read) -> StorePage:
        return await super().scan(read._replace(pk_prefix="", pk_is_longer=False))

    async def get(self, key: Key) -> StoredItem | None:
        return await super().get(key) or await self._foreign()

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        deleted = await super().delete(key, condition, room=room)
        return deleted if deleted.deleted else Deleted(False, await self._foreign())

    async def _foreign(self) -> StoredItem:
        """Return the item with the greatest key, which no deployment of the test owns."""
        return (await super().scan(Read(pk_prefix="", limit=limits.LIMIT_MAX))).items[-1]


class _Mcp:
    """The tools, by the official client."""

    def __init__(self, portal: BlockingPortal, client: OverMcp) -> None:
        self._portal, self._client = portal, client

    def __call__(self, operation: str, arguments: dict[str, Any]) -> Answer:
        try:
            return Answer(self._portal.call(self._client.run_operation, operation, arguments), None)
        except DdbMcpError as error:
            return Answer(error.to_json(), error.code)


class _HttpApi:
    """A gateway's HTTP API."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)
        self._headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, operation: str, arguments: dict[str, Any]) -> Answer:
        self._connection.request("POST", _PATH + operation, json.dumps(arguments).encode(), self._headers)
        document = json.loads(self._connection.getresponse().read())
        return Answer(document, document.get("error"))

    def close(self) -> None:
        self._connection.close()


def over_mcp(stack: ExitStack, portal: BlockingPortal, store: Store, table: Table, *, counts_others: bool) -> World:
    """One MCP server for each deployment, in direct or local mode."""

    def connect(prefix: str) -> list[Interface]:
        service = DataService(store, Prefix(prefix), cursor_key=_CURSOR_KEY, max_writes=WRITES_A_CALL)
        server = build_server(service, LocalSettings(prefix=Prefix(prefix), local_path=_NO_FILE))
        client = stack.enter_context(portal.wrap_async_context_manager(Client(server)))
        return [_Mcp(portal, OverMcp(client))]

    return World(table, connect, counts_others, _EXAMPLES[type(table)])


def over_gateway(stack: ExitStack, portal: BlockingPortal, store: Store, table: Table, folder: Path) -> World:
    """A gateway, by its HTTP API and by MCP."""
    gateway = stack.enter_context(running_gateway(store, folder))

    def connect(prefix: str) -> list[Interface]:
        token = gateway.token(prefix)
        api = _HttpApi(gateway.url, token)
        stack.callback(api.close)
        client = portal.wrap_async_context_manager(connected_over_http(gateway.url, token))
        return [api, _Mcp(portal, OverMcp(stack.enter_context(client)))]

    return World(table, connect, False, _EXAMPLES[type(table)])


def local_table(stack: ExitStack, portal: BlockingPortal, folder: Path, kind: type[LocalStore]) -> tuple[Store, Table]:
    """A file, made, and a store over it."""
    store = kind(folder / "items.sqlite3", "isolation")
    stack.callback(portal.call, store.close)
    portal.call(store.create)
    table = SqliteTable(store.path)
    stack.callback(table.close)
    return store, table


def engine_table(portal: BlockingPortal, engine: Engine) -> tuple[Store, Table]:
    """A new table of an engine, and a store over it."""
    name = engine.create_table()
    return connected(portal, engine.endpoint, name, "deploy#isolation"), EngineTable(engine, name)
