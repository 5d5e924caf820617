"""DynamoDB's expressions as data, and their effect on an item.

Conditions hold for an item or not. Updates make a new item. Semantics:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

import copy
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


class OperandNode(Protocol):
    """The source of a value."""

    def of(self, item: Item) -> AttributeValue | None:
        """The value for this item, None where there is none."""


class ConditionNode(Protocol):
    """A condition on an item. `steps` counts the steps, and ends a comparison that takes too long."""

    def holds(self, item: Item, steps: StepCounter) -> bool: ...


@dataclass(frozen=True)
class PathOperand:
    """The value at a document path."""

    path: Path

    def of(self, item: Item) -> AttributeValue | None:
        return get_value(item, self.path)


@dataclass(frozen=True)
class Literal:
    """A value of the request."""

    value: AttributeValue

    def of(self, item: Item) -> AttributeValue | None:
        return self.value


@dataclass(frozen=True)
class SizeOperand:
    """`size(…)`: bytes of a string or binary, members of everything else that has some."""

    operand: OperandNode

    def of(self, item: Item) -> AttributeValue | None:
        value = self.operand.of(item)
        if value is None or get_type(value) in ("N", "BOOL", "NULL"):
            return None
        ((kind, content),) = value.items()
        return {"N": str(measure_value(value) if kind in ("S", "B") else len(content))}


@dataclass(frozen=True)
class FunctionTest:
    """An operator of `conditions.compare` between operands, `attribute_exists` or `attribute_not_exists`."""

    operator: str
    operands: tuple[OperandNode, ...]

    def holds(self, item: Item, steps: StepCounter) -> bool:
        tested, *others = [operand.of(item) for operand in self.operands]
        if self.operator in ("attribute_exists", "attribute_not_exists"):
            return (tested is not None) is (self.operator == "attribute_exists")
        values = [value for value in others if value is not None]
        if tested is None or (len(values) < len(others) and self.operator != "in"):
            return self.operator == "ne"
        if get_type(tested) not in OPERAND_TYPES.get(self.operator, TYPES):
            return False
        return compare(self.operator, tested, values, steps)


@dataclass(frozen=True)
class AllOf:
    """Parts joined by AND."""

    parts: tuple[ConditionNode, ...]

    def holds(self, item: Item, steps: StepCounter) -> bool:
        return all(part.holds(item, steps) for part in self.parts)


@dataclass(frozen=True)
class AnyOf:
    """Parts joined by OR."""

    parts: tuple[ConditionNode, ...]

    def holds(self, item: Item, steps: StepCounter) -> bool:
        return any(part.holds(item, steps) for part in self.parts)


@dataclass(frozen=True)
class Not:
    """A negated part."""

    part: ConditionNode

    def holds(self, item: Item, steps: StepCounter) -> bool:
        return not self.part.holds(item, steps)


@dataclass(frozen=True)
class Arithmetic:
    """`a + b` or `a - b`."""

    sign: str
    left: OperandNode
    right: OperandNode

    def of(self, item: Item) -> AttributeValue | None:
        left, right = (_require_value(operand, item) for operand in (self.left, self.right))
        if "N" not in left or "N" not in right:
            raise InvalidArgument(_WRONG_TYPE)
        return unite(left, right if self.sign == "+" else {"N": str(-Decimal(right["N"]))})


@dataclass(frozen=True)
class IfNotExists:
    """`if_not_exists(path, otherwise)`."""

    path: Path
    otherwise: OperandNode

    def of(self, item: Item) -> AttributeValue | None:
        value = get_value(item, self.path)
        return self.otherwise.of(item) if value is None else value


@dataclass(frozen=True)
class ListAppend:
    """`list_append(a, b)`; an operand that is such a call itself gives its own operands."""

    operands: tuple[OperandNode, ...]

    def of(self, item: Item) -> AttributeValue | None:
        entries: list[AttributeValue] = []
        for operand in self.operands:
            value = _require_value(operand, item)
            if "L" not in value:
                raise InvalidArgument(_WRONG_TYPE)
            entries += value["L"]
            if len(entries) > limits.ITEM_MAX_BYTES:  # an entry has one byte at least
                raise InvalidArgument(_TOO_LARGE)
        return {"L": entries}


def _require_value(operand: OperandNode, item: Item) -> AttributeValue:
    value = operand.of(item)
    if value is None:
        raise InvalidArgument(_NO_ATTRIBUTE)
    return value


@dataclass(frozen=True)
class UpdateExpression:
    """The four sections of an update expression. No two of its paths touch one another."""

    sets: tuple[tuple[Path, OperandNode], ...] = ()
    removes: tuple[Path, ...] = ()
    adds: tuple[tuple[Path, AttributeValue], ...] = ()
    deletes: tuple[tuple[Path, AttributeValue], ...] = ()

    @property
    def paths(self) -> list[Path]:
        """All that it changes."""
        return [*(path for path, _ in self.sets + self.adds + self.deletes), *self.removes]

    def apply(self, item: Item) -> Item:
        """Return the item after the update. All operands are what they were before it.

        It shares what has not changed with the item before.

        Raises:
            InvalidArgument: an operand is missing or has the wrong type, there is no place for a value, or the item is
                larger than DynamoDB allows. Values are measured one by one, and no further one is built after that.
        """
        values: list[tuple[Path, AttributeValue]] = []
        size = 0
        for path, operand in self.sets:
            values.append((path, _require_value(operand, item)))
            size = _within_limit(size + measure_value(values[-1][1]))
        for path, added in self.adds:
            _within_limit(measure_value(added))
            values.append((path, _add(get_value(item, path), added)))
        rests = [(path, _subtract(get_value(item, path), value)) for path, value in self.deletes]
        emptied = [path for path, rest in rests if rest is None]
        new: Item = dict(item)
        copied: set[int] = set()
        # Positions beyond a list's end append in their order.
        for path, value in sorted(values, key=_get_positions):
            _set_value(new, path, value, copied)
        for path, rest in rests:
            if rest is not None:
                _set_value(new, path, rest, copied)
        for path in (*self.removes, *emptied):
            _get_container(new, path)
        new = remove_paths(new, (*self.removes, *emptied))
        _within_limit(measure_item(new))
        return new


def _within_limit(size: int) -> int:
    """Return the size. Raises InvalidArgument if no item may have it."""
    if size > limits.ITEM_MAX_BYTES:
        raise InvalidArgument(_TOO_LARGE)
    return size


def _get_positions(entry: tuple[Path, Any]) -> tuple[int, ...]:
    return tuple(step for step in entry[0] if isinstance(step, int))


def _add(stored: AttributeValue | None, value: AttributeValue) -> AttributeValue:
    if stored is None:
        return value
    if get_type(stored) != get_type(value):
        raise InvalidArgument(_WRONG_TYPE)
    return unite(stored, value)


def _subtract(stored: AttributeValue | None, value: AttributeValue) -> AttributeValue | None:
    if stored is None:
        return None
    kind = get_type(value)
    if get_type(stored) != kind:
        raise InvalidArgument(_WRONG_TYPE)
    rest = subtract_members(stored, value)
    return {kind: rest} if rest else None


def _get_container(item: Item, path: Path) -> Any:
    """The map or list that the last step of a path is in. Raises InvalidArgument where there is none."""
    parent: AttributeValue | None = {"M": item} if len(path) == 1 else get_value(item, path[:-1])
    inner = (parent or {}).get("M" if isinstance(path[-1], str) else "L")
    if inner is None:
        raise InvalidArgument(_NO_PLACE)
    return inner


def _set_value(item: Item, path: Path, value: AttributeValue, copied: set[int]) -> None:
    """Set the value at a path. Maps and lists round it are copied first, unless they are in `copied`."""
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
