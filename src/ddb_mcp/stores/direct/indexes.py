"""Secondary indexes of a table in DynamoDB: what DescribeTable says of them, and how they are created."""

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import anyio

from ddb_mcp.core.errors import DdbMcpError, Forbidden, InvalidArgument, Unavailable, Unsupported
from ddb_mcp.core.indexes import Index, IndexKey, list_key_conflicts
from ddb_mcp.stores.base import INDEXES_KEPT_SECONDS
from ddb_mcp.stores.direct.aws import AwsClients, Response


class TableIndexes:
    """The indexes of one table, as DescribeTable reported them within the last minute.

    Attributes:
        known: by the last report; None if there was none, or it was denied.
        states: what the last report says of each, for example `ACTIVE`.
    """

    def __init__(self, aws: AwsClients, table: str) -> None:
        self._aws = aws
        self._table = table
        self._lock = anyio.Lock(fast_acquire=True)
        self._expires = 0.0
        self.known: tuple[Index, ...] | None = None
        self.states: dict[str, str] = {}

    async def get(self, *, required: bool) -> tuple[Index, ...]:
        """Return the indexes, see `Store.get_indexes`. If the table cannot be described now, older ones still count."""
        async with self._lock:
            if time.monotonic() >= self._expires or (required and self.known is None):
                await self._describe(required=required)
            return self.known or ()

    async def _describe(self, *, required: bool) -> None:
        try:
            answer = await self._aws.request("dynamodb", "describe_table", TableName=self._table)
            self.take(answer.get("Table", {}))
        except DdbMcpError as error:
            if required or (self.known is None and not isinstance(error, Forbidden | Unsupported)):
                raise
            self._expires = time.monotonic() + INDEXES_KEPT_SECONDS

    def take(self, table: Response) -> None:
        """Remember the indexes in a description of the table. Raises Unavailable if it is not DynamoDB's."""
        entries = [*(table.get("GlobalSecondaryIndexes") or ()), *(table.get("LocalSecondaryIndexes") or ())]
        try:
            self.states = {entry["IndexName"]: entry.get("IndexStatus", "ACTIVE") for entry in entries}
            self.known = _parse_indexes(table)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Unavailable("DescribeTable got an answer that is not DynamoDB's.") from None
        self._expires = time.monotonic() + INDEXES_KEPT_SECONDS

    def forget(self) -> None:
        """Ask again at the next `get`."""
        self.known, self._expires = None, 0.0

    async def check_queryable(self, index: Index) -> None:
        """Raise the reason why a query of the index was refused, if it is in the index's state."""
        self._expires = 0.0
        if index not in await self.get(required=True):
            raise InvalidArgument(
                f"The index {index.name} was removed or replaced by another.",
                next="Call info for the indexes there are, and begin without cursor.",
            )
        if (state := self.states[index.name]) != "ACTIVE":
            raise Unavailable(f"The index {index.name} is {state.lower()}.", next="Call again in some minutes.")

    def list_warnings(self, table: Response, declared: Iterable[Index]) -> list[str]:
        """Return what queries cannot use, and what DDB_MCP_INDEXES declares and the table lacks."""
        known = {index.name: index for index in self.known or ()}
        states = {name: state.lower() for name, state in self.states.items() if state != "ACTIVE"}
        warnings = [f"The index {name} is {state}, so query cannot use it now." for name, state in states.items()]
        warnings += [
            f"The index {index.name} has a key of several attributes, so query cannot use it."
            for index in known.values()
            if index.more_keys
        ]
        for index in declared:
            if index.name not in known:
                command = _format_update_command(self._table, index, table.get("ProvisionedThroughput", {}))
                warnings.append(f"The table lacks the index {index.name}. One at a time, this adds it: {command}")
        return warnings + list_key_conflicts(declared, known.values())


def _parse_indexes(table: Response) -> tuple[Index, ...]:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table.get("AttributeDefinitions") or ()}
    indexes = []
    for member, local in (("GlobalSecondaryIndexes", False), ("LocalSecondaryIndexes", True)):
        for entry in table.get(member) or ():
            keys: dict[str, list[IndexKey]] = {"HASH": [], "RANGE": []}
            for key in entry["KeySchema"]:
                keys[key["KeyType"]].append(IndexKey(key["AttributeName"], types[key["AttributeName"]]))
            (pk, *more), sort_keys = keys["HASH"], keys["RANGE"]
            projection = entry.get("Projection", {})
            kind = projection.get("ProjectionType", "ALL")
            shown = tuple(projection["NonKeyAttributes"]) if kind == "INCLUDE" else kind
            names = tuple(key.name for key in (*more, *sort_keys[1:]))
            indexes.append(Index(entry["IndexName"], pk, next(iter(sort_keys), None), shown, local, names))
    return tuple(sorted(indexes, key=attrgetter("name")))


def define_attributes(keys: Iterable[IndexKey]) -> list[dict[str, str]]:
    """Return the `AttributeDefinitions` of key attributes."""
    return [{"AttributeName": key.name, "AttributeType": key.type} for key in dict.fromkeys(keys)]


def define_index(index: Index) -> dict[str, Any]:
    """Return the index as CreateTable takes it."""
    schema = [
        {"AttributeName": key.name, "KeyType": kind} for key, kind in zip(index.keys, ("HASH", "RANGE"), strict=False)
    ]
    return {"IndexName": index.name, "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}


def _format_update_command(table: str, index: Index, throughput: Mapping[str, Any]) -> str:
    """Return the command that adds the index to the table, with the table's own capacity if that is provisioned."""
    definition = define_index(index)
    units = {name: throughput.get(name) for name in ("ReadCapacityUnits", "WriteCapacityUnits")}
    if all(units.values()):
        definition["ProvisionedThroughput"] = units
    options = {
        "--table-name": table,
        "--attribute-definitions": json.dumps(define_attributes(index.keys)),
        "--global-secondary-index-updates": json.dumps([{"Create": definition}]),
    }
    return shlex.join(["aws", "dynamodb", "update-table", *(text for option in options.items() for text in option)])
