"""What a table holds and who owns it, in plain Python and apart from the product."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]
Key = tuple[str, str]

SEPARATORS = "#_:/|.-"


def joined(prefix: str) -> str:
    """Return the beginning of a deployment's partition keys."""
    return prefix if prefix[-1] in SEPARATORS else prefix + "#"


def owns(prefix: str, pk: str) -> bool:
    """Whether a partition key belongs to the deployment with this prefix."""
    return pk.startswith(joined(prefix)) and pk != joined(prefix)


def key_of(item: Item) -> Key:
    """Return an item's primary key."""
    return item["pk"], item["sk"]


@dataclass
class Model:
    """A table shared by deployments, and the changes that calls make to it.

    A filter is a lower bound of the number `n`, or None; an item without `n` does not match a bound.
    """

    items: dict[Key, Item] = field(default_factory=dict)

    def owned(self, prefix: str) -> dict[Key, Item]:
        """Return the items of one deployment."""
        return {key: item for key, item in self.items.items() if owns(prefix, key[0])}

    def matches(self, key: Key, at_least: int | None) -> bool:
        """Whether an item is stored under this key and satisfies the filter."""
        item = self.items.get(key)
        return item is not None and (at_least is None or item.get("n", -1) >= at_least)

    def select(self, prefix: str, pk: str | None, at_least: int | None) -> dict[Key, Item]:
        """Return what a query, a scan or a `where` selects."""
        return {
            key: item
            for key, item in self.owned(prefix).items()
            if (pk is None or key[0] == pk) and self.matches(key, at_least)
        }

    def put(self, item: Item) -> None:
        self.items[key_of(item)] = item

    def merge(self, item: Item, remove: list[str], add: dict[str, int]) -> None:
        """Set the attributes of `item`, delete the paths in `remove`, and add to numbers."""
        new = {**self.items.get(key_of(item), {}), **item}
        for path in remove:
            name, _, member = path.partition(".")
            if not member:
                new.pop(name, None)
            elif name in new:
                new[name] = {other: value for other, value in new[name].items() if other != member}
        for name, number in add.items():
            new[name] = new.get(name, 0) + number
        self.put(new)

    def copy(self, selected: dict[Key, Item], pk: str) -> list[Key]:
        """Store copies under another partition key where nothing is. Return the keys of the items that have a copy."""
        copies = {key: {**item, "pk": pk} for key, item in selected.items()}
        for copy in copies.values():
            self.items.setdefault(key_of(copy), copy)
        return [key for key, copy in copies.items() if self.items[key_of(copy)] == copy]

    def delete(self, *keys: Key) -> int:
        """Delete items. Return how many there were."""
        return sum(self.items.pop(key, None) is not None for key in keys)
