"""Export and import: a line an item, in the form of AWS's export to S3, through any store.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, PrefixViolation, Throttled
from ddb_mcp.core.items import Item, parse_item, parse_json
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.text import encode_json, exceeds_members, shorten
from ddb_mcp.service.concurrency import run_until_failure
from ddb_mcp.service.parameters import BATCH_MAX, MEMBERS_MAX
from ddb_mcp.service.reading.pages import AGGREGATE_BYTES
from ddb_mcp.service.transfer.sources import ItemSource, KeyIndex
from ddb_mcp.stores.base import Read, Store, WriteCondition

# An import waits so long for a store that asks to send less.
THROTTLED_SECONDS = 300

_T = TypeVar("_T")

# The characters of the texts that are held as items at once. Items of small members take a hundred times as much.
_BATCH_CHARACTERS = 2**20
# A file whose lines are wrong is not read to its end: 2 MB of gzip unpack to a billion wrong lines.
_REFUSED_MAX = 1000
_SHOWN_ERRORS = 5


# Export


async def export_items(
    store: Store, own: Prefix, selected: Read, write: Callable[[bytes], object], advance: Callable[[int], None]
) -> bool:
    """Write the selected items, a line each.

    Args:
        selected: which items, see `parse_selection`.
        write: takes each line, with its line end.
        advance: called with the number of items just written.

    Returns:
        Whether the export is certainly complete; a platform without pages cannot say.

    Raises:
        DdbMcpError: what the store raises.
    """
    read = selected._replace(limit=limits.LIMIT_MAX, max_bytes=AGGREGATE_BYTES)
    while True:
        page = await (store.scan(read) if read.pk is None else store.query(read))
        items = [item for item in page.items if own.owns(Key.of(item).pk)]
        for item in items:
            write(encode_json({"Item": item}).encode(errors="backslashreplace") + b"\n")
        advance(len(items))
        if page.next is None:
            return page.complete
        read = read._replace(position=page.next)


# Import


class Importer:
    """Reads the items of an export, checks them, and stores them. Of several with one key, it stores the last.

    Args:
        own: the deployment's prefix.
        source: the prefix of the lines' keys, which `own` replaces; None if they have `own` already.
        create_only: leave stored items alone.
    """

    def __init__(self, store: Store, own: Prefix, *, source: Prefix | None = None, create_only: bool = False) -> None:
        self._store = store
        self._own = own
        self._source = source
        self._condition = WriteCondition(create_only=create_only)
        self._keys = KeyIndex()
        self.written = 0
        self.existing = 0

    async def validate(self, file: ItemSource) -> int:
        """Return the number of different keys in the file.

        Raises:
            InvalidArgument: a text is no item, or none of this deployment's; the message names the first of them.
                It stops looking after 1,000 of them.
            Unsupported: the store cannot take one of them.
        """
        count, refused, foreign, shown, batch, size = 0, 0, False, list[str](), list[Item](), 0
        for place, text in file.texts():
            count, size = count + 1, size + len(text)
            try:
                batch.append(self._parse_item(text))
                self._keys.add(Key.of(batch[-1]), count)
            except (InvalidArgument, PrefixViolation) as error:
                refused += 1
                foreign = foreign or isinstance(error, PrefixViolation)
                if refused <= _SHOWN_ERRORS:
                    shown.append(f"{place}: {error.message}")
            if refused == _REFUSED_MAX:
                break
            if len(batch) == BATCH_MAX or size > _BATCH_CHARACTERS:
                await self._store.check_batch(batch, self._condition)
                batch, size = [], 0
        if refused:
            advice = "Correct them."
            if foreign and self._source is None:
                advice += " To import another deployment's items, pass its prefix with --from-prefix."
            whole = f"the first {count}" if refused == _REFUSED_MAX else count
            problem = f"{refused} of {whole} {file.unit}s of {file.name} cannot be imported; nothing was stored."
            raise InvalidArgument(" ".join([problem, *shown]), next=advice)
        await self._store.check_batch(batch, self._condition)
        return self._keys.count()

    async def write_items(self, file: ItemSource, advance: Callable[[int], None]) -> None:
        """Store the items of a file that was checked.

        Args:
            advance: called with the number of items just stored, or found to be there.

        Raises:
            DdbMcpError: what the store raises. Items stored so far stay, and the same import can be run again.
        """
        batch, size = list[Item](), 0
        for number, (_, text) in enumerate(file.texts(), 1):
            item = self._parse_item(text)
            if not self._keys.is_last(Key.of(item), number):
                continue
            if len(batch) == BATCH_MAX or size > _BATCH_CHARACTERS:
                await self._put(batch, advance)
                batch, size = [], 0
            batch.append(item)
            size += len(text)
        await self._put(batch, advance)

    def _parse_item(self, text: str) -> Item:
        if exceeds_members(text, MEMBERS_MAX["item"]):  # their objects take far more memory than the text
            raise InvalidArgument(f"the item has more than {MEMBERS_MAX['item']} members.")
        document = parse_json(text, "the item")
        is_wrapped = isinstance(document, dict) and document.keys() == {"Item"}
        item = parse_item(document["Item"] if is_wrapped else document, "the item")
        key = Key.of(item)
        if self._source is not None:
            if not self._source.owns(key.pk):
                raise PrefixViolation(f"pk does not start with {self._source.joined!r}: {shorten(key.pk, 80)!r}.")
            key = Key(self._own.joined + key.pk.removeprefix(self._source.joined), key.sk)
            item = {**item, "pk": {"S": key.pk}}
        self._own.check_key(*key)
        return item

    async def _put(self, items: Iterable[Item], advance: Callable[[int], None]) -> None:
        """Store items, in one request if the store can."""
        batch = list(items)

        async def put(item: Item) -> None:
            await count(await self._wait_for_room(partial(self._put_one, item)), item)

        async def count(error: DdbMcpError | None, item: Item) -> None:
            if isinstance(error, Throttled):
                await put(item)
            elif error is None or isinstance(error, ConditionFailed):
                self.written += error is None
                self.existing += error is not None
                advance(1)
            else:
                raise error

        try:
            errors = await self._wait_for_room(partial(self._store.put_batch, batch, self._condition)) if batch else []
        except InvalidArgument:  # each item is small enough, and all together are not
            errors = None
        if errors is None:
            await run_until_failure(batch, put)
        else:
            await run_until_failure(zip(errors, batch, strict=True), lambda entry: count(*entry))

    async def _put_one(self, item: Item) -> ConditionFailed | None:
        try:
            await self._store.put(item, self._condition)
        except ConditionFailed as failed:
            return failed
        return None

    async def _wait_for_room(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Write, again and again while the store asks to send less. Raises Throttled if that lasts too long."""
        deadline = anyio.current_time() + THROTTLED_SECONDS
        while True:
            try:
                return await write()
            except Throttled:
                if anyio.current_time() > deadline:
                    raise
                await anyio.sleep(1)
