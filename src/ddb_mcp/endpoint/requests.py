"""A request to the endpoint, and functions shared by all operations."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ddb_mcp.core.items import Item, measure_item
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.paths import Path, project
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.tables import Tables, make_access_denied
from ddb_mcp.endpoint.values import encode_item, read_values, to_key
from ddb_mcp.stores.local.table import LocalTable

_READ_UNIT = 4096
_WRITE_UNIT = 1024

Paths = tuple[Path, ...] | None
"""The document paths of a projection, None for all attributes."""


@dataclass(frozen=True)
class EndpointAccess:
    """The rights of all callers.

    Attributes:
        prefix: the prefix that partition keys must have; None allows all keys.
        read_only: whether writes are refused.
    """

    prefix: Prefix | None = None
    read_only: bool = False


@dataclass(frozen=True)
class EndpointRequest:
    """A request.

    Attributes:
        operation: the name of the operation.
        request: the parsed body, which conforms to DynamoDB's model.
        host: the Host header.
    """

    tables: Tables
    access: EndpointAccess
    operation: str
    request: dict[str, Any]
    host: str

    async def find_table(
        self, name_or_arn: str, keys: Iterable[Key] = (), *, writes: bool = False
    ) -> tuple[str, LocalTable]:
        """Return a table's name and the table.

        Raises:
            EndpointError: it does not exist, or access is denied.
        """
        name, table = await self.tables.find(name_or_arn)
        self.check_access(self.operation, name, keys, writes=writes)
        return name, table

    async def find_tables(self) -> None:
        """Raise EndpointError if a table of the request does not exist."""
        actions = [action for entry in self.request.get("TransactItems", ()) for action in entry.values() if action]
        named = [request["TableName"] for request in (self.request, *actions) if "TableName" in request]
        for name in dict.fromkeys((*named, *self.request.get("RequestItems", ()))):
            await self.tables.find(name)

    def check_access(self, operation: str, table: str, keys: Iterable[Key], *, writes: bool) -> None:
        """Raise EndpointError if the caller may not access these keys, or not write."""
        if writes and self.access.read_only:
            raise make_access_denied(operation, table, "This endpoint is read-only.")
        prefix = self.access.prefix
        if prefix is not None and not all(prefix.owns(key.pk) for key in keys):
            raise make_access_denied(
                operation,
                table,
                f"The partition key must start with '{prefix.joined}', this deployment's prefix. The policy that "
                "ddb-mcp prints enforces the same on AWS; --all-keys lifts this restriction.",
            )

    def units(self, count: Callable[[], float]) -> float:
        """Return the capacity units if requested, else 0, since measuring items takes long."""
        return float(count()) if self.request.get("ReturnConsumedCapacity", "NONE") != "NONE" else 0.0

    def consumed(self, table: str, count: Callable[[], float]) -> dict[str, Any]:
        """Return `ConsumedCapacity` for one table, if requested."""
        members = self.consumed_by_tables({table: self.units(count)})
        return {name: capacity for name, (capacity,) in members.items()}

    def consumed_by_tables(self, units: Mapping[str, float], kind: str = "CapacityUnits") -> dict[str, Any]:
        """Return `ConsumedCapacity` for several tables. Transactions repeat the units by their `kind`."""
        detail = self.request.get("ReturnConsumedCapacity", "NONE")
        if detail == "NONE":
            return {}
        counts = {table: {"CapacityUnits": count, kind: count} for table, count in units.items()}
        rest = {name: {"Table": count} if detail == "INDEXES" else {} for name, count in counts.items()}
        return {"ConsumedCapacity": [{"TableName": name, **counts[name], **rest[name]} for name in units]}


def count_read_units(size: int, *, consistent: bool) -> float:
    """Return the capacity units of a read."""
    return max(1, math.ceil(size / _READ_UNIT)) * (1 if consistent else 0.5)


def count_write_units(*items: Item | None) -> float:
    """Return the capacity units of a write that replaces one of the items with the other."""
    return max(1, math.ceil(max(measure_item(item or {}) for item in items) / _WRITE_UNIT))


def read_get(request: Mapping[str, Any]) -> tuple[Key, Paths]:
    """Parse the key and the projection of a get. Raises EndpointError or InvalidArgument."""
    reader = ExpressionReader(request, "ProjectionExpression")
    values = read_values(request["Key"])
    paths = read_only_projection(reader)
    return to_key(values, exact=True), paths


def read_only_projection(reader: ExpressionReader) -> Paths:
    """Parse the projection of a request that has no other expression."""
    paths = reader.read_projection()
    reader.check_all_used()
    return paths


def encode_projected(item: Item, paths: Paths) -> Encoded:
    """Encode the projection of an item."""
    return encode_item(item if paths is None else project(item, paths, keys=False))
