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
from ddb_mcp.core.conditions import TAKES, Steps, compare, type_of
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import TYPES, AttributeValue, Item, item_size, value_size
from ddb_mcp.core.paths import Path, value_at, without
from ddb_mcp.core.updates import members_beside, united

_WRONG_TYPE = "An operand in the update expression has an incorrect data type"
_NO_ATTRIBUTE = "The provided expression refers to an attribute that does not exist in the item"
_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"
_NO_PLACE = "The document path provided in the update expression is invalid for update"


class Operand(Protocol):
    """The source of a value."""

    def of(self, item: Item) -> AttributeValue | None:
        """The value for this item, None where there is none."""


class Condition(Protocol):
    """A condition on an item. `steps` counts the steps, and ends a comparison that takes too long."""

    def holds(self, item: Item, steps: Steps) -> bool: ...


@dataclass(frozen=True)
class At:
    """The value at a document path."""

    path: Path

    def of(self, item: Item) -> AttributeValue | None:
        return value_at(item, self.path)


@dataclass(frozen=True)
class Literal:
    """A value of the request."""

    value: AttributeValue

    def of(self, item: Item) -> AttributeValue | None:
        return self.value


@dataclass(frozen=True)
class Size:
    """`size(…)`: bytes of a string or binary, members of everything else that has some."""

    operand: Operand

    def of(self, item: Item) -> AttributeValue | None:
        value = self.operand.of(item)
        if value is None or type_of(value) in ("N", "BOOL", "NULL"):
            return None
        ((kind, content),) = value.items()
        return {"N": str(value_size(value) if kind in ("S", "B") else len(content))}


@dataclass(frozen=True)
class Test:
    """An operator of `conditions.compare` between operands, `attribute_exists` or `attribute_not_exists`."""

    operator: str
    operands: tuple[Operand, ...]

    def holds(self, item: Item, steps: Steps) -> bool:
        tested, *others = [operand.of(item) for operand in self.operands]
        if self.operator in ("attribute_exists", "attribute_not_exists"):
            return (tested is not None) is (self.operator == "attribute_exists")
        values = [value for value in others if value is not None]
        if tested is None or (len(values) < len(others) and self.operator != "in"):
            return self.operator == "ne"
        if type_of(tested) not in TAKES.get(self.operator, TYPES):
            return False
        return compare(self.operator, tested, values, steps)


@dataclass(frozen=True)
class Every:
    """Parts joined by AND."""

    parts: tuple[Condition, ...]

    def holds(self, item: Item, steps: Steps) -> bool:
        return all(part.holds(item, steps) for part in self.parts)


@dataclass(frozen=True)
class Either:
    """Parts joined by OR."""

    parts: tuple[Condition, ...]

    def holds(self, item: Item, steps: Steps) -> bool:
        return any(part.holds(item, steps) for part in self.parts)


@dataclass(frozen=True)
class Not:
    """A negated part."""

    part: Condition

    def holds(self, item: Item, steps: Steps) -> bool:
        return not self.part.holds(item, steps)


@dataclass(frozen=True)
class Arithmetic:
    """`a + b` or `a - b`."""

    sign: str
    left: Operand
    right: Operand

    def of(self, item: Item) -> AttributeValue | None:
        left, right = (_needed(operand, item) for operand in (self.left, self.right))
        if "N" not in left or "N" not in right:
            raise InvalidArgument(_WRONG_TYPE)
        return united(left, right if self.sign == "+" else {"N": str(-Decimal(right["N"]))})


@dataclass(frozen=True)
class IfNotExists:
    """`if_not_exists(path, otherwise)`."""

    path: Path
    otherwise: Operand

    def of(self, item: Item) -> AttributeValue | None:
        value = value_at(item, self.path)
        return self.otherwise.of(item) if value is None else value


@dataclass(frozen=True)
class Joined:
    """`list_append(a, b)`; an operand that is such a call itself gives its own operands."""

    operands: tuple[Operand, ...]

    def of(self, item: Item) -> AttributeValue | None:
        entries: list[AttributeValue] = []
        for operand in self.operands:
            value = _needed(operand, item)
            if "L" not in value:
                raise InvalidArgument(_WRONG_TYPE)
            entries += value["L"]
            if len(entries) > limits.ITEM_MAX_BYTES:  # an entry has one byte at least
                raise InvalidArgument(_TOO_LARGE)
        return {"L": entries}


def _needed(operand: Operand, item: Item) -> AttributeValue:
    value = operand.of(item)
    if value is None:
        raise InvalidArgument(_NO_ATTRIBUTE)
    return value


@dataclass(frozen=True)
class Update:
    """The four sections of an update expression. No two of its paths touch one another."""

    sets: tuple[tuple[Path, Operand], ...] = ()
    removes: tuple[Path, ...] = ()
    adds: tuple[tuple[Path, AttributeValue], ...] = ()
    deletes: tuple[tuple[Path, AttributeValue], ...] = ()

    @property
    def paths(self) -> list[Path]:
        """All that it changes."""
        return [*(path for path, _ in self.sets + self.adds + self.deletes), *self.removes]

    def applied(self, item: Item) -> Item:
        """Return the item after the update. All operands are what they were before it.

        It shares what has not changed with the item before.

        Raises:
            InvalidArgument: an operand is missing or has the wrong type, there is no place for a value, or the item is
                larger than DynamoDB allows. Values are measured one by one, and no further one is built after that.
        """
        values: list[tuple[Path, AttributeValue]] = []
        size = 0
        for path, operand in self.sets:
            values.append((path, _needed(operand, item)))
            size = _within_limit(size + value_size(values[-1][1]))
        for path, added in self.adds:
            _within_limit(value_size(added))
            values.append((path, _added(value_at(item, path), added)))
        rests = [(path, _without(value_at(item, path), value)) for path, value in self.deletes]
        emptied = [path for path, rest in rests if rest is None]
        new: Item = dict(item)
        copied: set[int] = set()
        # Positions beyond a list's end append in their order.
        for path, value in sorted(values, key=_positions):
            _set(new, path, value, copied)
        for path, rest in rests:
            if rest is not None:
                _set(new, path, rest, copied)
        for path in (*self.removes, *emptied):
            _parent(new, path)
        new = without(new, (*self.removes, *emptied))
        _within_limit(item_size(new))
        return new


def _within_limit(size: int) -> int:
    """Return the size. Raises InvalidArgument if no item may have it."""
    if size > limits.ITEM_MAX_BYTES:
        raise InvalidArgument(_TOO_LARGE)
    return size


def _positions(entry: tuple[Path, Any]) -> tuple[int, ...]:
    return tuple(step for step in entry[0] if isinstance(step, int))


def _added(stored: AttributeValue | None, value: AttributeValue) -> AttributeValue:
    if stored is None:
        return value
    if type_of(stored) != type_of(value):
        raise InvalidArgument(_WRONG_TYPE)
    return united(stored, value)


def _without(stored: AttributeValue | None, value: AttributeValue) -> AttributeValue | None:
    if stored is None:
        return None
    kind = type_of(value)
    if type_of(stored) != kind:
        raise InvalidArgument(_WRONG_TYPE)
    rest = members_beside(stored, value)
    return {kind: rest} if rest else None


def _parent(item: Item, path: Path) -> Any:
    """The map or list that the last step of a path is in. Raises InvalidArgument where there is none."""
    parent: AttributeValue | None = {"M": item} if len(path) == 1 else value_at(item, path[:-1])
    inner = (parent or {}).get("M" if isinstance(path[-1], str) else "L")
    if inner is None:
        raise InvalidArgument(_NO_PLACE)
    return inner


def _set(item: Item, path: Path, value: AttributeValue, copied: set[int]) -> None:
    """Set the value at a path. Maps and lists round it are copied first, unless they are in `copied`."""
    _parent(item, path)
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
