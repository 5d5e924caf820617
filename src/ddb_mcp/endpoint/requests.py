"""One request to the endpoint, and the functions that all operations share."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ddb_mcp.core.items import Item, measure_item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.paths import Path, project
from ddb_mcp.core.text import quote_start
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import EndpointError, make_validation_error
from ddb_mcp.endpoint.expressions.nodes import ConditionNode
from ddb_mcp.endpoint.expressions.parser import Placeholders, parse_condition, parse_projection
from ddb_mcp.endpoint.tables import Tables, make_access_denied
from ddb_mcp.endpoint.values import encode_item, read_value

_READ_UNIT = 4096
_WRITE_UNIT = 1024
_TAKES_VALUES = ("UpdateExpression", "ConditionExpression", "FilterExpression", "KeyConditionExpression")
EXPRESSIONS = (*_TAKES_VALUES, "ProjectionExpression")


@dataclass(frozen=True)
class Access:
    """The rights of an endpoint's callers.

    Attributes:
        prefix: whose items they may name; None for all.
        read_only: they may write nothing.
    """

    prefix: Prefix | None = None
    read_only: bool = False


@dataclass(frozen=True)
class EndpointRequest:
    """One request.

    Attributes:
        operation: its name.
        request: the body, of the shape that DynamoDB's model has for it.
        host: under which the client knows this endpoint.
    """

    tables: Tables
    access: Access
    operation: str
    request: dict[str, Any]
    host: str

    def check_key(self, table: str, pk: str, operation: str | None = None) -> None:
        """Raise Failure if the caller may not name items with this partition key."""
        prefix = self.access.prefix
        if prefix is not None and not prefix.owns(pk):
            raise make_access_denied(
                operation or self.operation,
                table,
                f"The partition key must start with '{prefix.joined}', this deployment's prefix, as the policy that "
                "ddb-mcp prints demands it on AWS; --all-keys lifts this.",
            )

    def check_write(self, table: str, operation: str | None = None) -> None:
        """Raise Failure if the caller may write nothing."""
        if self.access.read_only:
            raise make_access_denied(operation or self.operation, table, "This endpoint is read-only.")

    def units(self, count: Callable[[], float]) -> float:
        """Return the capacity units if the request asks for them, else 0: to measure items takes long."""
        return count() if self.request.get("ReturnConsumedCapacity", "NONE") != "NONE" else 0.0

    def consumed(self, table: str, units: Callable[[], float]) -> dict[str, Any]:
        """The `ConsumedCapacity` member, if the request asks for it: capacity units of one table."""
        detail = self.request.get("ReturnConsumedCapacity", "NONE")
        if detail == "NONE":
            return {}
        capacity: dict[str, Any] = {"TableName": table, "CapacityUnits": float(units())}
        if detail == "INDEXES":
            capacity["Table"] = {"CapacityUnits": capacity["CapacityUnits"]}
        return {"ConsumedCapacity": capacity}

    def consumed_by_tables(self, tables: Mapping[str, float]) -> dict[str, Any]:
        """As `consumed`, for several tables."""
        members = [self.consumed(name, partial(float, units)) for name, units in tables.items()]
        return {"ConsumedCapacity": [each["ConsumedCapacity"] for each in members]} if any(members) else {}


def measure_stored(item: Item | None) -> int:
    """The bytes of an item, 0 where there is none."""
    return measure_item(item) if item else 0


def count_read_units(size: int, *, consistent: bool) -> float:
    """The capacity units of a read of so many bytes."""
    return max(1, math.ceil(size / _READ_UNIT)) * (1 if consistent else 0.5)


def count_write_units(*items: Item | None) -> float:
    """The capacity units of a write of one of these items over the other."""
    return max(1, math.ceil(max(map(measure_stored, items)) / _WRITE_UNIT))


def make_placeholders(request: Mapping[str, Any]) -> Placeholders:
    """Return the placeholders of a request, checked: as many as `shapes` allows, and values that fit into its body.

    Raises:
        Failure: one of them is wrong.
    """
    names, values = (request.get(f"ExpressionAttribute{kind}") for kind in ("Names", "Values"))
    if names is not None and not any(request.get(name) is not None for name in EXPRESSIONS):
        raise make_validation_error("ExpressionAttributeNames can only be specified when using expressions")
    if values is not None and not any(request.get(name) is not None for name in _TAKES_VALUES):
        raise make_validation_error("ExpressionAttributeValues can only be specified when using expressions")
    for kind, members, sign in (("Names", names, "#"), ("Values", values, ":")):
        if members is None:
            continue
        if not members:
            raise make_validation_error(f"ExpressionAttribute{kind} must not be empty")
        for name in members:
            if not re.fullmatch(f"{sign}[A-Za-z0-9_]+", name):
                raise make_validation_error(
                    f'ExpressionAttribute{kind} contains invalid key: Syntax error; key: "{name[:80]}"'
                )
    return Placeholders(names or {}, {name: _value(name, value) for name, value in (values or {}).items()})


def _value(name: str, value: Any) -> Any:
    try:
        return read_value(value)
    except EndpointError as failure:
        if failure.kind != "ValidationException":
            raise
        message = f"ExpressionAttributeValues contains invalid value: {failure.message} for key {quote_start(name)}"
        raise make_validation_error(message) from None


def read_condition(request: Mapping[str, Any], parameter: str, known: Placeholders) -> ConditionNode | None:
    """The condition in a parameter of the request, None where there is none. Raises InvalidArgument."""
    text = request.get(parameter)
    return None if text is None else parse_condition(parameter, text, known)


def read_projection(request: Mapping[str, Any], known: Placeholders) -> tuple[Path, ...] | None:
    """The paths of the request's projection, None where there is none. Raises InvalidArgument."""
    text = request.get("ProjectionExpression")
    return None if text is None else parse_projection("ProjectionExpression", text, known)


def read_only_projection(request: Mapping[str, Any]) -> tuple[Path, ...] | None:
    """As `projection`, of a request without other expressions. Raises Failure or InvalidArgument."""
    known = make_placeholders(request)
    paths = read_projection(request, known)
    known.check_all_used()
    return paths


def encode_projected(item: Item, paths: Iterable[Path] | None) -> Encoded:
    """Return the part of an item that the client gets."""
    return encode_item(item if paths is None else project(item, paths, keys=False))


def get_choice(request: Mapping[str, Any], parameter: str, *allowed: str) -> str:
    """The value of a parameter that takes these words, the first by default. Raises Failure."""
    value: str = request.get(parameter) or allowed[0]
    if value not in allowed:
        raise make_validation_error(f"{parameter} can only be {' or '.join(sorted(allowed))}")
    return value
