"""The `summary` view: what kinds of items there are, from the first segments of their keys."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix, first_segment
from ddb_mcp.core.text import size
from ddb_mcp.service.results import Group

GROUPS_MAX = 50
# Groups that are counted one by one, so that those shown are the largest and not the first met.
_COUNTED_MAX = 2000
_ATTRIBUTES_MAX = 100
# Of all groups together: attributes that are counted, and beyond them those that are only told apart.
_ATTRIBUTES_ALL = 20_000
_LEFT_OUT_ALL = 100_000
OTHER = "(other)"
_OTHERS = (OTHER, OTHER)


@dataclass
class _Counted:
    example: dict[str, str]
    count: int = 0
    attributes: dict[str, Counter[str]] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)  # hashes, since a name may have 64 KB

    def add(self, attribute: str, types: Iterable[str] | Mapping[str, int]) -> None:
        self.attributes.setdefault(attribute, Counter()).update(types)


class Summary:
    """Counts items by entity type as they come in; memory is bounded whatever the items are."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._groups: dict[tuple[str, str], _Counted] = {}
        self._attributes = 0
        self._left_out = 0

    def add(self, item: Item) -> None:
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        name = (self._prefix.entity(pk), first_segment(sk))
        if name not in self._groups and len(self._groups) >= _COUNTED_MAX:
            name = _OTHERS
        group = self._groups.setdefault(name, _Counted({"pk": pk, "sk": sk}))
        group.count += 1
        for attribute, value in item.items():
            if attribute not in ("pk", "sk"):
                self._count(group, attribute, value)

    def _count(self, group: _Counted, attribute: str, types: Iterable[str]) -> None:
        if attribute not in group.attributes:
            if len(group.attributes) >= _ATTRIBUTES_MAX or self._attributes >= _ATTRIBUTES_ALL:
                if self._left_out < _LEFT_OUT_ALL:
                    before = len(group.left_out)
                    group.left_out.add(hash(attribute))
                    self._left_out += len(group.left_out) - before
                return
            self._attributes += 1
        group.add(attribute, tuple(types))

    def groups(self, budget: int) -> list[Group]:
        """The groups, largest first and `(other)` last, in at most `budget` bytes of compact JSON.

        What does not fit goes in this order: the rarer attributes, the example keys, the smaller groups.
        `(other)` alone always stands.
        """
        ordered = self._largest()
        for most in (100, 50, 25, 12, 6, 3, 1, 0):
            groups = [_group(name, group, most) for name, group in ordered]
            if size(groups) <= budget:
                return groups
        for group in groups:
            group.pop("example", None)
        rest: Group = {"pk": OTHER, "sk": OTHER, "count": 0, "attributes": {}}
        while size(groups) > budget and groups not in ([], [rest]):
            rest["count"] = sum(group["count"] for group in groups[-2:])
            groups[-2:] = [rest]
        return groups

    def _largest(self) -> list[tuple[tuple[str, str], _Counted]]:
        ordered = sorted(self._groups.items(), key=lambda entry: (entry[0] == _OTHERS, -entry[1].count))
        if len(ordered) <= GROUPS_MAX:
            return ordered
        others = _Counted(ordered[GROUPS_MAX - 1][1].example)
        for _, group in ordered[GROUPS_MAX - 1 :]:
            others.count += group.count
            others.left_out |= group.left_out
            for attribute, types in group.attributes.items():
                others.add(attribute, types)
        return [*ordered[: GROUPS_MAX - 1], (_OTHERS, others)]


def _group(name: tuple[str, str], group: _Counted, most: int) -> Group:
    shown = sorted(group.attributes.items(), key=lambda entry: -entry[1].total())[:most]
    made: Group = {"pk": name[0], "sk": name[1], "count": group.count, "attributes": {n: dict(c) for n, c in shown}}
    if more := len(group.attributes) - len(shown) + len(group.left_out):
        made["moreAttributes"] = more
    made["example"] = group.example
    return made
