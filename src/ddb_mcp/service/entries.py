"""The items of one page of a result: as shown, within a byte budget, and with the store page each came from."""

from typing import NamedTuple

from ddb_mcp.core.items import Item, item_to_json
from ddb_mcp.core.paths import projector
from ddb_mcp.core.text import size
from ddb_mcp.service.outlines import outline, whole
from ddb_mcp.service.projections import Projection
from ddb_mcp.service.results import PlainItem
from ddb_mcp.stores.base import Position, StorePage


class Entry(NamedTuple):
    """An item of the result. It is item number `at` of the store page `page`, which was read from position `start`."""

    shown: PlainItem
    bytes: int
    outlined: bool
    page: StorePage
    start: Position | None
    at: int

    @property
    def item(self) -> Item:
        return self.page.items[self.at]


class Entries:
    """Collects items for one result.

    Args:
        projection: the part of each item that is shown, None for the whole item.
        max_bytes: bytes of compact JSON that the items may have. The first may have more.
    """

    def __init__(self, projection: Projection | None, max_bytes: int) -> None:
        self._paths = None if projection is None else projection.paths
        self._project = projector(projection.paths) if projection else lambda item: item
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Entry:
        return self._entries[-1]

    @property
    def items(self) -> list[Item]:
        return [entry.item for entry in self._entries]

    @property
    def shown(self) -> list[PlainItem]:
        return [entry.shown for entry in self._entries]

    @property
    def outlined(self) -> list[int]:
        """The positions in `shown` of outlines."""
        return [at for at, entry in enumerate(self._entries) if entry.outlined]

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return self._max_bytes - self._bytes

    def add(self, page: StorePage, start: Position | None, at: int) -> bool:
        """Take an item of a page that was read from `start`; False where it does not fit."""
        item, room = page.items[at], self._max_bytes - 1
        fitted = whole(self._project(item), room)
        if fitted is None:
            plain = outline(item, room, paths=self._paths)
            entry = Entry(plain, size(plain) + 1, True, page, start, at)
        else:
            entry = Entry(fitted[0], fitted[1] + 1, False, page, start, at)
        if self._entries and entry.bytes > self.room:
            return False
        self._entries.append(entry)
        self._bytes += entry.bytes
        return True

    def drop_last(self) -> None:
        self._bytes -= self._entries.pop().bytes

    def shorten_first(self, over: int) -> None:
        """Show the first item as an outline, `over` bytes shorter than what is shown of it now, where possible."""
        entry = self._entries[0]
        shown = outline(entry.item, entry.bytes - over - 1, paths=self._paths)
        self._entries[0] = entry._replace(shown=shown, outlined=True)

    def first_whole(self) -> PlainItem:
        """The first item whole, whatever its length."""
        return item_to_json(self._project(self._entries[0].item))
