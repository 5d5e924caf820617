"""The `summary` view: what kinds of items there are, from the first segments of their keys."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import takewhile

from ddb_mcp.core.conditions import get_type
from ddb_mcp.core.items import AttributeValue, Item, measure_item, to_json
from ddb_mcp.core.keys import SEPARATORS, Prefix, get_first_segment
from ddb_mcp.core.text import count_bytes, shorten
from ddb_mcp.service.results import Group

# A summary: the bytes and groups shown; and the groups and attributes counted. More are counted than shown, so that
# the groups shown are the largest, not the first.
SUMMARY_BYTES = 4096
SUMMARY_GROUPS = 50
SUMMARY_COUNTED = 2000
SUMMARY_ATTRIBUTES = 20_000
SUMMARY_NAME_BYTES = 60


OTHER = "(other)"
_OTHERS = (OTHER, OTHER)

# Recognised at the beginning of a key before it is split at separators: hyphens, colons and dots belong to these.
_FOLDED = [
    (re.compile(pattern + rf"(?=[{re.escape(SEPARATORS)}]|\Z)", re.ASCII), stands_for)
    for pattern, stands_for in [
        (r"(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", "<id>"),
        (r"[0-9]{4}-(0[1-9]|1[0-2])(-[0-3][0-9]([T ][0-9]{2}:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?)?)?"
         r"(Z|[+-][0-9]{2}:?[0-9]{2})?", "<time>"),
        (r"[0-9]{8}T[0-9]{4,6}([.,][0-9]+)?Z?", "<time>"),
        (r"[+-]?[0-9]+(\.[0-9]+)?", "<number>"),
        (r"(?i:[0-7][0-9A-HJKMNP-TV-Z]{25})", "<id>"),
        (r"(?i:(?=[a-f]*[0-9])[0-9a-f]{12,})", "<id>"),
    ]
]  # fmt: skip


def classify_key(text: str) -> str:
    """Return the kind of a key: its first segment, or `<number>`, `<time>` or `<id>` if it begins with one."""
    for pattern, stands_for in _FOLDED:
        if pattern.match(text):
            return stands_for
    return shorten(get_first_segment(text), SUMMARY_NAME_BYTES)


_MORE_BYTES = len(',"moreAttributes":9999999')
_OTHERS_BYTES = len('[{"pk":"(other)","sk":"(other)","count":999999999,"attributes":{}}]') + _MORE_BYTES


@dataclass
class _AttributeCount:
    types: Counter[str] = field(default_factory=Counter)
    numbers: tuple[Decimal, Decimal] | None = None  # the least and the greatest

    def add(self, value: AttributeValue) -> None:
        self.types[get_type(value)] += 1
        if "N" in value:
            number = Decimal(value["N"])
            least, greatest = self.numbers or (number, number)
            self.numbers = min(least, number), max(greatest, number)

    def join(self, other: "_AttributeCount") -> None:
        self.types += other.types
        if other.numbers:
            (least, greatest), (low, high) = self.numbers or other.numbers, other.numbers
            self.numbers = min(least, low), max(greatest, high)


@dataclass
class _GroupCount:
    count: int = 0
    attributes: dict[str, _AttributeCount] = field(default_factory=dict)
    uncounted: int = 0  # the most attributes of one item that are not in `attributes`
    largest: int = -1
    example: dict[str, str] = field(default_factory=dict)

    def join(self, other: "_GroupCount") -> None:
        self.count += other.count
        self.uncounted = max(self.uncounted, other.uncounted)
        if other.largest > self.largest:
            self.largest, self.example = other.largest, other.example
        for name, attribute in other.attributes.items():
            self.attributes.setdefault(name, _AttributeCount()).join(attribute)


class Summary:
    """Counts items by entity type as they come in.

    Memory is bounded: by `SUMMARY_COUNTED` groups, with `SUMMARY_ATTRIBUTES` attributes in all.

    Args:
        prefix: the deployment's.
        names: the top-level attributes to count, None for all.
    """

    def __init__(self, prefix: Prefix, names: Collection[str] | None = None) -> None:
        self._prefix = prefix
        self._names = None if names is None else frozenset(names)
        self._groups: dict[tuple[str, str], _GroupCount] = {}
        self._attributes = 0

    def add(self, item: Item) -> None:
        """Count an item."""
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        name = (classify_key(pk[len(self._prefix.joined) :]), classify_key(sk))
        if name not in self._groups and len(self._groups) >= SUMMARY_COUNTED:
            name = _OTHERS
        group = self._groups.setdefault(name, _GroupCount())
        group.count += 1
        length = measure_item(item)
        if length > group.largest:
            group.largest, group.example = length, {"pk": pk, "sk": sk}
        uncounted = 0
        for attribute, value in item.items():
            if attribute not in ("pk", "sk") and (self._names is None or attribute in self._names):
                uncounted += not self._count(group, attribute, value)
        group.uncounted = max(group.uncounted, uncounted)

    def _count(self, group: _GroupCount, attribute: str, value: AttributeValue) -> bool:
        """Count a value; False if there are too many attributes already."""
        name = _shown_name(attribute[:SUMMARY_NAME_BYTES])
        counted = group.attributes.get(name)
        if counted is None:
            if self._attributes >= SUMMARY_ATTRIBUTES:
                return False
            self._attributes += 1
            counted = group.attributes.setdefault(name, _AttributeCount())
        counted.add(value)
        return True

    def groups(self, budget: int) -> list[Group]:
        """Return the groups, largest first and `(other)` last, in at most `budget` bytes of compact JSON.

        Half of the bytes are for the groups' names and counts; groups that do not fit are counted together. The rest is
        for the largest item of each group and then, in turns, for attributes: attributes of mixed types first, then the
        frequent ones.
        """
        budget = min(budget, SUMMARY_BYTES)
        groups_by_name = self._named(min(budget // 2, budget - _OTHERS_BYTES))
        shown_groups = [(_make_group(name, group), group) for name, group in groups_by_name]
        groups = [shown for shown, _ in shown_groups]
        room = _Room(budget - count_bytes(groups) - len(groups) * _MORE_BYTES)
        for shown, group in shown_groups:
            _add_largest(shown, group, room)
        waiting = [(shown, _order_attributes(group)) for shown, group in shown_groups]
        while not room.is_spent and any(attributes for _, attributes in waiting):
            for shown, attributes in waiting:
                if attributes:
                    _add_attribute(shown, *attributes.pop(), room)
        for shown, group in shown_groups:
            more = len(group.attributes) + group.uncounted - len(shown["attributes"])
            if more:
                shown["moreAttributes"] = more
        return groups

    def _named(self, budget: int) -> list[tuple[tuple[str, str], _GroupCount]]:
        """Return the groups that are shown by name, and the others as one."""
        ordered = sorted(self._groups.items(), key=lambda entry: (entry[0] == _OTHERS, -entry[1].count))
        room = _Room(budget)
        fitting = takewhile(lambda entry: room.take(_make_group(*entry), _MORE_BYTES), ordered)
        named = sum(1 for _ in fitting)
        if named == len(ordered) <= SUMMARY_GROUPS:
            return ordered
        named = min(named, SUMMARY_GROUPS - 1)
        others = _GroupCount()
        for _, group in ordered[named:]:
            others.join(group)
        return [*ordered[:named], (_OTHERS, others)]


class _Room:
    """Bytes of JSON that are left."""

    def __init__(self, left: int) -> None:
        self._left = left

    @property
    def is_spent(self) -> bool:
        """Return whether no attribute fits any more."""
        return self._left < len('{"a":{"S":1}}')

    def take(self, members: object, more: int = 0) -> bool:
        """Take what an object's members and `more` bytes need, if there is room for them."""
        needed = count_bytes(members) + more  # of its braces one is for the comma
        if needed > self._left:
            return False
        self._left -= needed
        return True


@lru_cache(SUMMARY_ATTRIBUTES)
def _shown_name(beginning: str) -> str:
    """Return the name by which an attribute with this beginning is counted and shown."""
    return shorten(beginning, SUMMARY_NAME_BYTES)


def _make_group(name: tuple[str, str], group: _GroupCount) -> Group:
    return {"pk": name[0], "sk": name[1], "count": group.count, "attributes": {}}


def _order_attributes(group: _GroupCount) -> list[tuple[str, _AttributeCount]]:
    """Return the attributes, the one that is shown first at the end."""
    ordered = sorted(group.attributes.items(), key=lambda entry: (len(entry[1].types) == 1, -entry[1].types.total()))
    return ordered[::-1]


def _add_largest(shown: Group, group: _GroupCount, room: _Room) -> None:
    if room.take({"largestBytes": group.largest}):
        shown["largestBytes"] = group.largest
    if room.take({"example": group.example}):
        shown["example"] = group.example


def _add_attribute(shown: Group, name: str, attribute: _AttributeCount, room: _Room) -> None:
    types = dict(attribute.types.most_common())
    if not room.take({name: types}):
        return
    shown["attributes"][name] = types
    if attribute.numbers is None:
        return
    numbers = [to_json({"N": str(number)}) for number in attribute.numbers]
    if room.take({name: numbers}, len('"numbers":{},')):
        shown.setdefault("numbers", {})[name] = numbers
