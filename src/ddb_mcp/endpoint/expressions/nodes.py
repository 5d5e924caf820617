"""Parsed expressions: conditions that hold for an item or not, and updates that make a new item.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Protocol

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import OPERAND_TYPES, StepCounter, compare, get_type
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import TYPES, AttributeValue, Item, measure_item, measure_value
from ddb_mcp.core.paths import Path, get_value, remove_paths
from ddb_mcp.core.updates import subtract_members, unite

_WRONG_TYPE = "An operand in the update expression has an incorrect data type"
_NO_ATTRIBUTE = "The provided expression refers to an attribute that does not exist in the item"
_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"
_NO_PLACE = "The document path provided in the update expression is invalid for update"


Source = Callable[[Item], AttributeValue | None]
"""Returns a value for an item, None if it has none."""


class OperandNode(Protocol):
    """An operand of a condition or an update."""

    @property
    def of(self) -> Source: ...


class ConditionNode(Protocol):
    """A condition on an item. `steps` limits the work of comparisons."""

    def holds(self, item: Item, steps: StepCounter) -> bool: ...


@dataclass(frozen=True)
class PathOperand:
    """The value at a document path."""

    path: Path

    def of(self, item: Item) -> AttributeValue | None:
        return get_value(item, self.path)


@dataclass(frozen=True)
class Literal:
    """A value from the request."""

    value: AttributeValue

    def of(self, item: Item) -> AttributeValue | None:
        return self.value


@dataclass(frozen=True)
class SizeOperand:
    """`size(…)`: the bytes of a string or binary, or the number of members."""

    operand: OperandNode

    def of(self, item: Item) -> AttributeValue | None:
        value = self.operand.of(item)
        if value is None or get_type(value) in ("N", "BOOL", "NULL"):
            return None
        ((kind, content),) = value.items()
        return {"N": str(measure_value(value) if kind in ("S", "B") else len(content))}


@dataclass(frozen=True)
class FunctionTest:
    """`exists`, or an operator of `conditions.compare`, applied to operands."""

    operator: str
    operands: tuple[OperandNode, ...]

    def holds(self, item: Item, steps: StepCounter) -> bool:
        tested, *others = [operand.of(item) for operand in self.operands]
        if self.operator == "exists":
            return tested is not None
        values = [value for value in others if value is not None]
        if tested is None or (len(values) < len(others) and self.operator != "in"):
            return self.operator == "ne"
        if get_type(tested) not in OPERAND_TYPES.get(self.operator, TYPES):
            return False
        return compare(self.operator, tested, values, steps)


@dataclass(frozen=True)
class Combination:
    """Conditions joined by AND or OR."""

    word: str
    parts: tuple[ConditionNode, ...]

    def holds(self, item: Item, steps: StepCounter) -> bool:
        return (all if self.word == "AND" else any)(part.holds(item, steps) for part in self.parts)


@dataclass(frozen=True)
class Not:
    """A negated condition."""

    part: ConditionNode

    def holds(self, item: Item, steps: StepCounter) -> bool:
        return not self.part.holds(item, steps)


@dataclass(frozen=True)
class Computed:
    """A computed operand of an update, such as `a + b` or `if_not_exists(a, b)`."""

    of: Source


@dataclass(frozen=True)
class ListAppend:
    """`list_append(a, b)`, with nested calls flattened."""

    operands: tuple[OperandNode, ...]

    def of(self, item: Item) -> AttributeValue | None:
        entries: list[AttributeValue] = []
        for operand in self.operands:
            value = require_value(operand, item)
            if "L" not in value:
                raise InvalidArgument(_WRONG_TYPE)
            entries += value["L"]
            if len(entries) > limits.ITEM_MAX_BYTES:  # an entry has at least one byte
                raise InvalidArgument(_TOO_LARGE)
        return {"L": entries}


def calculate(sign: str, left: OperandNode, right: OperandNode, item: Item) -> AttributeValue:
    """Return the sum or the difference of two numbers."""
    one, other = require_value(left, item), require_value(right, item)
    if "N" not in one or "N" not in other:
        raise InvalidArgument(_WRONG_TYPE)
    return unite(one, other if sign == "+" else {"N": str(-Decimal(other["N"]))})


def add(path: Path, value: AttributeValue, item: Item) -> AttributeValue:
    """Add a value to the number or set at a path."""
    _check_size(measure_value(value))
    stored = _get_same_type(path, value, item)
    return unite(stored, value) if stored else value


def subtract(path: Path, value: AttributeValue, item: Item) -> AttributeValue | None:
    """Remove members from the set at a path. Return None if none are left."""
    stored = _get_same_type(path, value, item)
    rest = subtract_members(stored, value) if stored else None
    return {get_type(value): rest} if rest else None


def _get_same_type(path: Path, value: AttributeValue, item: Item) -> AttributeValue | None:
    stored = get_value(item, path)
    if stored is not None and get_type(stored) != get_type(value):
        raise InvalidArgument(_WRONG_TYPE)
    return stored


def require_value(operand: OperandNode, item: Item) -> AttributeValue:
    """Return the value of an operand. Raises InvalidArgument if there is none."""
    value = operand.of(item)
    if value is None:
        raise InvalidArgument(_NO_ATTRIBUTE)
    return value


@dataclass(frozen=True)
class UpdateExpression:
    """The changes of an update expression: paths that do not overlap, and the sources of their new values.

    A source that returns None removes the value at its path.
    """

    changes: tuple[tuple[Path, Source], ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The changed paths."""
        return [path for path, _ in self.changes]

    def apply(self, item: Item) -> Item:
        """Return the updated item. All operands are read from the old item, and unchanged values are shared with it.

        Raises:
            InvalidArgument: an operand is missing or has the wrong type, a path leads nowhere, or the item gets too
                large. Values are measured as they are built, so no more are built after that.
        """
        values: list[tuple[Path, AttributeValue | None]] = []
        size = 0
        for path, source in self.changes:
            values.append((path, source(item)))
            if (value := values[-1][1]) is not None:
                _check_size(size := size + measure_value(value))
        new: Item = dict(item)
        copied: set[int] = set()
        # Positions beyond the end of a list append in their order.
        for path, value in sorted(values, key=_get_positions):
            if value is not None:
                if len(path) > 1:
                    _check_nesting(value, len(path) - 1)
                _set_value(new, path, value, copied)
        removed = [path for path, value in values if value is None]
        for path in removed:
            _get_container(new, path)
        new = remove_paths(new, removed)
        _check_size(measure_item(new))
        return new


def _check_size(size: int) -> None:
    if size > limits.ITEM_MAX_BYTES:
        raise InvalidArgument(_TOO_LARGE)


def _check_nesting(value: AttributeValue, depth: int) -> None:
    if depth >= limits.MAX_DEPTH:
        raise InvalidArgument("Nesting Levels have exceeded supported limits")
    for inner in (*value.get("M", {}).values(), *value.get("L", ())):
        _check_nesting(inner, depth + 1)


def _get_positions(entry: tuple[Path, Any]) -> tuple[int, ...]:
    return tuple(step for step in entry[0] if isinstance(step, int))


def _get_container(item: Item, path: Path) -> Any:
    """Return the map or list that contains the end of a path. Raises InvalidArgument if there is none."""
    parent: AttributeValue | None = {"M": item} if len(path) == 1 else get_value(item, path[:-1])
    inner = (parent or {}).get("M" if isinstance(path[-1], str) else "L")
    if inner is None:
        raise InvalidArgument(_NO_PLACE)
    return inner


def _set_value(item: Item, path: Path, value: AttributeValue, copied: set[int]) -> None:
    """Set the value at a path. Copy the maps and lists around it first, unless they are in `copied`."""
    _get_container(item, path)
    parent: Any = item
    for step, following in pairwise(path):
        kind = "M" if isinstance(following, str) else "L"
        content = parent[step][kind]
        if id(content) not in copied:
            content = copy.copy(content)
            parent[step] = {kind: content}
            copied.add(id(content))
        parent = content
    last = path[-1]
    if isinstance(last, int) and last >= len(parent):
        parent.append(value)
    else:
        parent[last] = value
