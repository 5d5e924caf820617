"""Sort-key ranges, filters and expectations: as data, and evaluated in Python.

Semantics are DynamoDB's: values of different type are unequal and unordered, numbers compare numerically, sets without
order, `ne` holds for a missing attribute.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from operator import ge, gt, le, lt
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item
from ddb_mcp.core.keys import check_text
from ddb_mcp.core.paths import Path, value_at


@dataclass(frozen=True)
class KeyRange:
    """The sort keys a query asks for: those with a prefix, or those from `low` to `high`, both included."""

    prefix: str | None = None
    low: str | None = None
    high: str | None = None

    def contains(self, sk: str) -> bool:
        # Code point order is the order of the UTF-8 bytes, which is DynamoDB's.
        return (
            (self.prefix is None or sk.startswith(self.prefix))
            and (self.low is None or sk >= self.low)
            and (self.high is None or sk <= self.high)
        )


ALL_SORT_KEYS = KeyRange()


def parse_range(sk_prefix: str | None, sk_from: str | None, sk_to: str | None) -> KeyRange:
    """The range that a query's arguments name. Raises InvalidArgument for both kinds at once, or an inverted range."""
    if sk_prefix is not None and (sk_from is not None or sk_to is not None):
        raise InvalidArgument("sk_prefix and sk_from/sk_to exclude each other; give one kind.")
    for parameter, text in (("sk_prefix", sk_prefix), ("sk_from", sk_from), ("sk_to", sk_to)):
        if text is not None:
            check_text(parameter, text, limits.SK_MAX_BYTES)
    if sk_from is not None and sk_to is not None and sk_from > sk_to:
        raise InvalidArgument("sk_from comes after sk_to in sort order (by UTF-8 bytes); exchange them.")
    return KeyRange(sk_prefix, sk_from, sk_to)


@dataclass(frozen=True)
class Comparison:
    """One clause of a filter. `values` has one operand, two for `between`, any number for `in`, none for `exists`."""

    path: Path
    operator: str
    values: tuple[AttributeValue, ...] = ()
    exists: bool = True

    def holds(self, item: Item) -> bool:
        """Whether the stored item satisfies the clause."""
        found = value_at(item, self.path)
        if self.operator == "exists":
            return (found is not None) is self.exists
        if found is None:
            return self.operator == "ne"
        if self.operator == "between":
            return _ordered(ge, found, self.values[0]) and _ordered(le, found, self.values[1])
        if self.operator == "in":
            return any(equal(found, value) for value in self.values)
        return _HOLDS[self.operator](found, self.values[0])


Filter = tuple[Comparison, ...]


def matches(clauses: Filter, item: Item) -> bool:
    """Whether the item satisfies every clause."""
    return all(clause.holds(item) for clause in clauses)


def type_of(value: AttributeValue) -> str:
    """One of DynamoDB's ten types, for example `S`."""
    return next(iter(value))


def order_of(value: AttributeValue) -> Any:
    """What orders values of one type: code points, numbers, bytes."""
    ((kind, content),) = value.items()
    if kind == "S":
        return content
    return Decimal(content) if kind == "N" else base64.b64decode(content)


def _members(value: AttributeValue) -> frozenset[Any]:
    ((kind, content),) = value.items()
    return frozenset(map(Decimal, content) if kind == "NS" else content)


def equal(one: AttributeValue, other: AttributeValue) -> bool:
    """Equality as DynamoDB has it: by type, numbers by value, sets without order."""
    ((kind, a),), ((other_kind, b),) = one.items(), other.items()
    if kind != other_kind:
        return False
    if kind == "N":
        return Decimal(a) == Decimal(b)
    if kind in ("SS", "NS", "BS"):
        return _members(one) == _members(other)
    if kind == "L":
        return len(a) == len(b) and all(map(equal, a, b))
    if kind == "M":
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    return bool(a == b)


def _ordered(compare: Callable[[Any, Any], bool], found: AttributeValue, value: AttributeValue) -> bool:
    return type_of(found) == type_of(value) and compare(order_of(found), order_of(value))


def _begins_with(found: AttributeValue, value: AttributeValue) -> bool:
    return type_of(found) == type_of(value) and order_of(found)[: len(order_of(value))] == order_of(value)


def _contains(found: AttributeValue, value: AttributeValue) -> bool:
    kind = type_of(found)
    if kind == "L":
        return any(equal(entry, value) for entry in found["L"])
    if kind == type_of(value) + "S":
        return any(equal({type_of(value): member}, value) for member in found[kind])
    return kind in ("S", "B") and kind == type_of(value) and order_of(value) in order_of(found)


_HOLDS: dict[str, Callable[[AttributeValue, AttributeValue], bool]] = {
    "eq": equal,
    "ne": lambda found, value: not equal(found, value),
    "lt": partial(_ordered, lt),
    "le": partial(_ordered, le),
    "gt": partial(_ordered, gt),
    "ge": partial(_ordered, ge),
    "begins_with": _begins_with,
    "contains": _contains,
}
