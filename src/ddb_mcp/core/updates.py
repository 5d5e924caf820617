"""Changes of stored items: as data, and their effect on an item.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
"""

from collections.abc import Mapping
from decimal import Context, Decimal
from types import MappingProxyType
from typing import NamedTuple

from ddb_mcp.core.conditions import are_equal, to_member_set
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item, canonicalize_number
from ddb_mcp.core.paths import Path, get_value, remove_paths
from ddb_mcp.core.text import quote_start

# Enough for the sum of the greatest and the smallest number; `canonicalize_number` refuses what DynamoDB cannot keep.
_EXACT = Context(prec=300)
_CONTAINERS = frozenset({"M", "L", "SS", "NS", "BS"})


class Update(NamedTuple):
    """The changes that a merge makes to one item.

    Attributes:
        item: the key, and the attributes that are set.
        remove: document paths that are removed; positions mean the item before.
        add: by attribute, the number that is added or the set that is united with the stored one.
    """

    item: Item
    remove: tuple[Path, ...] = ()
    add: Mapping[str, AttributeValue] = MappingProxyType({})

    @property
    def is_idempotent(self) -> bool:
        """Return whether twice has the same effect as once. Then the stored item shows whether it was done."""
        return not self.add and not any(isinstance(path[-1], int) for path in self.remove)

    @property
    def only_removes(self) -> bool:
        """Return whether it sets and adds nothing. Then it does not create an item."""
        return bool(self.remove) and not self.add and self.item.keys() <= {"pk", "sk"}

    def apply(self, old: Item | None) -> Item:
        """Return the item after the update. `old` is the stored item, None if there is none.

        Raises:
            InvalidArgument: the types of what is added and what is stored differ, or their sum has too many digits.
        """
        stored = old or {}
        sums = {name: _add_value(stored.get(name), value, name) for name, value in self.add.items()}
        return {**remove_paths(stored, self.remove), **self.item, **sums}

    def find_absent(self, old: Item | None) -> tuple[Path, ...]:
        """Return the paths in `remove` at which there is nothing."""
        return tuple(path for path in self.remove if get_value(old or {}, path) is None)

    def is_seen_in(self, stored: Item) -> bool:
        """Return whether the stored item has what is set, and has not what is removed."""
        sets = all(name in stored and are_equal(stored[name], value) for name, value in self.item.items())
        return sets and self.find_absent(stored) == self.remove


def find_lost_values(old: Item | None, new: Item) -> dict[Path, AttributeValue]:
    """Return the values that were stored and are nowhere in the new item, by path.

    These are attributes and members of maps that are gone, and maps, lists and sets that another type replaces; no
    scalars that were overwritten.
    """
    lost_values: dict[Path, AttributeValue] = {}
    waiting: list[tuple[Path, Mapping[str, AttributeValue], Mapping[str, AttributeValue]]] = [((), old or {}, new)]
    while waiting:
        path, old_members, new_members = waiting.pop()
        for name, value in old_members.items():
            ((kind, content),) = value.items()
            replacement = new_members.get(name)
            if replacement is None or (kind not in replacement and kind in _CONTAINERS):
                lost_values[(*path, name)] = value
            elif kind == "M" and "M" in replacement:
                waiting.append(((*path, name), content, replacement["M"]))
    return lost_values


def _add_value(stored: AttributeValue | None, added: AttributeValue, name: str) -> AttributeValue:
    """Return the value that an attribute has after `add`."""
    if stored is None:
        return added
    ((kind, _),) = added.items()
    if kind not in stored:
        raise InvalidArgument(
            f"add: the stored {quote_start(name)!r} is not a {'number' if kind == 'N' else f'set of the type {kind}'}.",
            next="Read the item. add takes a number for a number, and a set for a set of the same type.",
        )
    return unite(stored, added, f"add: the sum in {quote_start(name)!r}")


def unite(stored: AttributeValue, added: AttributeValue, where: str = "The sum") -> AttributeValue:
    """Return a stored number and another, or the union of two sets of one type.

    Raises:
        InvalidArgument: DynamoDB could not keep the sum, which errors call `where`.
    """
    ((kind, content),) = added.items()
    if kind == "N":
        return {"N": canonicalize_number(_EXACT.add(Decimal(stored["N"]), Decimal(content)), where)}
    return {kind: stored[kind] + subtract_members(added, stored)}


def subtract_members(value: AttributeValue, other: AttributeValue) -> list[str]:
    """Return the members of a set, in their order, that another set of its type does not have."""
    ((kind, content),) = value.items()
    known = to_member_set(other)
    return [member for member in content if (Decimal(member) if kind == "NS" else member) not in known]
