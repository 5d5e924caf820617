"""The items of one page of a result: as shown, within a byte budget, and with the store page each came from."""

from typing import NamedTuple

from ddb_mcp.core.items import Item, item_to_json
from ddb_mcp.core.paths import get_value, make_projector
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service.outlines import fit_whole, make_outline
from ddb_mcp.service.reading.projections import Projection
from ddb_mcp.service.results import PlainItem
from ddb_mcp.stores.base import Position, StorePage

_LOOKUPS = 50_000


class PageItem(NamedTuple):
    """An item of the result. It is number `at` of a store page; `page` is that page without its items."""

    shown: PlainItem
    bytes: int
    outlined: bool
    page: StorePage
    at: int
    is_last: bool

    async def position(self) -> Position | None:
        """Return the position after this item."""
        return self.page.next if self.is_last else await self.page.after(self.at)


class PageItems:
    """Collects items for one result. Of the stored items it keeps the first alone: they may be many times as large.

    Args:
        projection: the part of each item that is shown, None for the whole item.
        max_bytes: bytes of compact JSON that the items may have. The first may have more.

    Attributes:
        bytes: of compact JSON that the items have.
        first: the first item, as it was read.
        missing: the paths of the projection that no item has had so far; none after _LOOKUPS of them, for many paths
            of many items.
    """

    def __init__(self, projection: Projection | None, max_bytes: int) -> None:
        self._paths = None if projection is None else projection.paths
        self.missing = list(self._paths or ())
        self._lookups = _LOOKUPS
        self._project = make_projector(projection.paths) if projection else lambda item: item
        self._max_bytes = max_bytes
        self.bytes = 0
        self._entries: list[PageItem] = []
        self.first: Item = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> PageItem:
        """Return the last item taken."""
        return self._entries[-1]

    @property
    def items(self) -> list[PlainItem]:
        """Return the items as they are shown."""
        return [entry.shown for entry in self._entries]

    @property
    def outlined(self) -> list[int]:
        """Return the positions in `shown` of outlines."""
        return [at for at, entry in enumerate(self._entries) if entry.outlined]

    @property
    def room(self) -> int:
        """Return the bytes that are left."""
        return self._max_bytes - self.bytes

    def add(self, page: StorePage, at: int) -> bool:
        """Take an item of a page; False if it does not fit."""
        item, room = page.items[at], self._max_bytes - 1
        whole_item = fit_whole(self._project(item), room)
        plain = whole_item[0] if whole_item else make_outline(item, room, paths=self._paths)
        length = whole_item[1] if whole_item else count_bytes(plain)
        place = page._replace(items=[]), at, at + 1 == len(page.items)
        entry = PageItem(plain, length + 1, whole_item is None, *place)
        if self._entries and entry.bytes > self.room:
            return False
        self.first = self.first or item
        self._lookups -= len(self.missing)
        self.missing = [path for path in self.missing if get_value(item, path) is None] if self._lookups > 0 else []
        self._entries.append(entry)
        self.bytes += entry.bytes
        return True

    def drop_last(self) -> None:
        """Leave out the last item again."""
        self.bytes -= self._entries.pop().bytes

    def shorten_first(self, over: int) -> None:
        """Show the first item as an outline, `over` bytes shorter than what is shown of it now, where possible."""
        entry = self._entries[0]
        shown = make_outline(self.first, entry.bytes - over - 1, paths=self._paths)
        self._entries[0] = entry._replace(shown=shown, outlined=True)

    def first_whole(self) -> PlainItem:
        """Return the first item whole, whatever its length."""
        return item_to_json(self._project(self.first))
