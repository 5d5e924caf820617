"""Sort-key ranges, filters and expectations: as data, and evaluated in Python.

Semantics are DynamoDB's: values of different type are unequal and unordered, numbers compare numerically, sets without
order, `ne` holds for a missing attribute.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

import base64
import itertools
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any, AnyStr, NamedTuple

from ddb_mcp.core.items import AttributeValue, Item
from ddb_mcp.core.paths import Path, get_value

# A comparison of values checks its time after this many steps; a step takes about a microsecond.
STEPS_BETWEEN_CHECKS = 2000


class KeyRange(NamedTuple):
    """The sort keys that a query selects: those with a prefix, or those from `low` to `high`, both included."""

    prefix: str | None = None
    low: str | None = None
    high: str | None = None

    def contains(self, sk: str) -> bool:
        """Return whether a sort key of the table is in the range."""
        return is_in_range(sk, *self)  # code point order is the order of the UTF-8 bytes, which is DynamoDB's


def is_in_range(value: AnyStr, prefix: AnyStr | None, low: AnyStr | None, high: AnyStr | None) -> bool:
    """Return whether a value has the prefix, and lies between the bounds. None: any."""
    return (
        (prefix is None or value.startswith(prefix))
        and (low is None or value >= low)
        and (high is None or value <= high)
    )


ALL_SORT_KEYS = KeyRange()


CheckDeadline = Callable[[], None]
"""Called while values are compared. Raises if the comparison must end, for example because its time is over."""


class StepCounter:
    """Counts the steps of comparisons with one item, and calls `check` every few thousand of them.

    It indexes the members of a long list or set once, however many clauses look for one.
    """

    def __init__(self, check: CheckDeadline | None = None) -> None:
        self._check = check
        self._left = STEPS_BETWEEN_CHECKS
        self._indexes: dict[int, tuple[AttributeValue, frozenset[Any]]] = {}

    def count(self, steps: int) -> None:
        """Count steps that are about to be made. Raises what `check` raises."""
        self._left -= steps
        if self._left < 0 and self._check is not None:
            self._left = STEPS_BETWEEN_CHECKS
            self._check()

    def index(self, value: AttributeValue) -> frozenset[Any]:
        """Return the members of a list or set as `to_hashable` makes them. The index holds `value`, so its id stays."""
        if id(value) not in self._indexes:
            ((kind, content),) = value.items()
            entries = content if kind == "L" else ({kind[0]: member} for member in content)
            self._indexes[id(value)] = value, frozenset(to_hashable(entry, self) for entry in entries)
        return self._indexes[id(value)][1]


class Comparison(NamedTuple):
    """One clause of a filter. `values` has one operand, two for `between`, any number for `in`, none for `exists`."""

    path: Path
    operator: str
    values: tuple[AttributeValue, ...] = ()
    exists: bool = True

    def holds(self, item: Item, steps: StepCounter) -> bool:
        """Return whether the stored item satisfies the clause."""
        value = get_value(item, self.path)
        if self.operator == "exists":
            return (value is not None) is self.exists
        if value is None:
            return self.operator == "ne"
        return compare(self.operator, value, self.values, steps)


ITEM_EXISTS = Comparison(("pk",), "exists")


class Or(NamedTuple):
    """One clause of a filter: filters of which one must hold."""

    filters: tuple[tuple[Comparison, ...], ...]

    def holds(self, item: Item, steps: StepCounter) -> bool:
        """Return whether the stored item satisfies one of the filters."""
        return any(all(clause.holds(item, steps) for clause in clauses) for clauses in self.filters)


Filter = tuple[Comparison | Or, ...]


def iter_comparisons(clauses: Filter) -> Iterator[Comparison]:
    """Yield every comparison in a filter, with those of its alternatives."""
    for clause in clauses:
        if isinstance(clause, Or):
            yield from itertools.chain.from_iterable(clause.filters)
        else:
            yield clause


def matches(clauses: Filter, item: Item, check: CheckDeadline | None = None) -> bool:
    """Return whether the item satisfies every clause. `check` is called every few thousand steps, and may raise."""
    if not clauses:
        return True
    steps = StepCounter(check)
    return all(clause.holds(item, steps) for clause in clauses)


def compare(operator: str, stored: AttributeValue, operands: Sequence[AttributeValue], steps: StepCounter) -> bool:
    """Return whether a stored value satisfies an operator other than `exists` with these operands."""
    steps.count(1)
    if operator == "between":
        return _compare_order(ge, stored, operands[0]) and _compare_order(le, stored, operands[1])
    if operator == "in":
        return any(are_equal(stored, operand, steps) for operand in operands)
    if operator in _ORDERS:
        return _compare_order(_ORDERS[operator], stored, operands[0])
    return _OPERATORS[operator](stored, operands[0], steps)


def get_type(value: AttributeValue) -> str:
    """Return the name of a value's type, for example `S`."""
    return next(iter(value))


def to_sortable(value: AttributeValue) -> Any:
    """Return a Python value with DynamoDB's order within one type: code points, numbers, bytes."""
    ((kind, content),) = value.items()
    if kind == "S":
        return content
    return Decimal(content) if kind == "N" else base64.b64decode(content)


def are_equal(one: AttributeValue, other: AttributeValue, steps: StepCounter | None = None) -> bool:
    """Compare as DynamoDB does: by type, numbers by value, sets without order."""
    ((kind, a),), ((other_kind, b),) = one.items(), other.items()
    if kind != other_kind:
        return False
    if kind == "N":
        return Decimal(a) == Decimal(b)
    if kind in ("S", "B", "BOOL", "NULL"):
        return bool(a == b)
    if len(a) != len(b):
        return False
    steps = steps or StepCounter()
    steps.count(len(a))
    if kind == "L":
        return all(are_equal(entry, other_entry, steps) for entry, other_entry in zip(a, b, strict=True))
    if kind == "M":
        return a.keys() == b.keys() and all(are_equal(a[name], b[name], steps) for name in a)
    return steps.index(one) == steps.index(other)


def to_hashable(value: AttributeValue, steps: StepCounter) -> tuple[str, Any]:
    """Return a hashable form of a value: two values are `equal` if their forms are."""
    ((kind, content),) = value.items()
    steps.count(len(content) if kind in ("L", "M") else 1)
    match kind:
        case "N":
            return kind, Decimal(content)
        case "L":
            return kind, tuple(to_hashable(entry, steps) for entry in content)
        case "M":
            return kind, frozenset((name, to_hashable(entry, steps)) for name, entry in content.items())
        case "SS" | "NS" | "BS":
            return kind, to_member_set(value)
    return kind, content


def to_member_set(value: AttributeValue) -> frozenset[Any]:
    """Return the members of a set, by value."""
    ((kind, content),) = value.items()
    return frozenset(map(Decimal, content) if kind == "NS" else content)


def _compare_order(holds: Callable[[Any, Any], bool], stored: AttributeValue, operand: AttributeValue) -> bool:
    return get_type(stored) == get_type(operand) and holds(to_sortable(stored), to_sortable(operand))


def _begins_with(stored: AttributeValue, operand: AttributeValue, steps: StepCounter) -> bool:
    return get_type(stored) == get_type(operand) and to_sortable(stored)[: len(to_sortable(operand))] == to_sortable(
        operand
    )


def _contains(stored: AttributeValue, operand: AttributeValue, steps: StepCounter) -> bool:
    kind, operand_kind = get_type(stored), get_type(operand)
    if kind in ("S", "B"):
        return kind == operand_kind and to_sortable(operand) in to_sortable(stored)
    return kind in ("L", operand_kind + "S") and to_hashable(operand, steps) in steps.index(stored)


def _has_type(stored: AttributeValue, operand: AttributeValue, steps: StepCounter) -> bool:
    return {"S": get_type(stored)} == operand


OPERAND_TYPES = dict.fromkeys(("lt", "le", "gt", "ge", "between"), frozenset({"S", "N", "B"})) | {
    "begins_with": frozenset({"S", "B"})
}
"""The types that these operators compare. Others compare every type."""

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"lt": lt, "le": le, "gt": gt, "ge": ge}
_OPERATORS: dict[str, Callable[[AttributeValue, AttributeValue, StepCounter], bool]] = {
    "eq": are_equal,
    "ne": lambda found, value, steps: not are_equal(found, value, steps),
    "begins_with": _begins_with,
    "contains": _contains,
    "type": _has_type,
}
