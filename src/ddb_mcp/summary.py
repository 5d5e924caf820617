"""The `summary` view: what kinds of items there are, from the first segments of their keys."""

from collections import Counter
from typing import Any

from ddb_mcp.items import Item
from ddb_mcp.keys import Prefix, first_segment
from ddb_mcp.pages import size
from ddb_mcp.results import Group

GROUPS_MAX = 50
_ATTRIBUTES_MAX = 100
OTHER = "(other)"


class Summary:
    """Counts items by entity type as they come in; memory is bounded whatever the items are."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._groups: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, item: Item) -> None:
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        name = (self._prefix.entity(pk), first_segment(sk))
        if name not in self._groups and len(self._groups) >= GROUPS_MAX - 1:
            name = (OTHER, OTHER)
        group = self._groups.setdefault(
            name, {"count": 0, "attributes": {}, "left_out": set(), "example": {"pk": pk, "sk": sk}}
        )
        group["count"] += 1
        for attribute, value in item.items():
            if attribute in ("pk", "sk"):
                continue
            if attribute in group["attributes"] or len(group["attributes"]) < _ATTRIBUTES_MAX:
                group["attributes"].setdefault(attribute, Counter())[next(iter(value))] += 1
            elif len(group["left_out"]) < 10_000:
                group["left_out"].add(hash(attribute))  # a name may have 64 KB

    def groups(self, budget: int) -> list[Group]:
        """The groups, largest first and `(other)` last, in at most `budget` bytes of compact JSON.

        What does not fit goes in this order: the rarer attributes, the example keys, the smaller groups.
        `(other)` alone always stands.
        """
        ordered = sorted(self._groups.items(), key=lambda entry: (entry[0] == (OTHER, OTHER), -entry[1]["count"]))
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


def _group(name: tuple[str, str], group: dict[str, Any], most: int) -> Group:
    shown = sorted(group["attributes"].items(), key=lambda entry: -entry[1].total())[:most]
    made: Group = {"pk": name[0], "sk": name[1], "count": group["count"], "attributes": {n: dict(c) for n, c in shown}}
    if more := len(group["attributes"]) - len(shown) + len(group["left_out"]):
        made["moreAttributes"] = more
    made["example"] = group["example"]
    return made
