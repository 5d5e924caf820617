"""Export and import: a line an item, in the form of AWS's export to S3, through any store.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, InvalidArgument, PrefixViolation
from ddb_mcp.core.items import Item, parse_item, parse_json
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.text import clip, compact
from ddb_mcp.service.concurrent import until_failure
from ddb_mcp.stores.base import Condition, Read, Store

_GZIP = b"\x1f\x8b"
_SHOWN_ERRORS = 5


# Export


async def export(
    store: Store, own: Prefix, selected: Read, write: Callable[[bytes], object], advance: Callable[[int], None]
) -> bool:
    """Write the selected items, a line each.

    Args:
        selected: which items, see `selected_by`.
        write: takes each line, with its line end.
        advance: called with the number of items just written.

    Returns:
        Whether the export is certainly complete; a platform without pages cannot say.

    Raises:
        DdbMcpError: what the store raises.
    """
    read = selected._replace(limit=limits.LIMIT_MAX, max_bytes=limits.AGGREGATE_BYTES)
    while True:
        page = await (store.scan(read) if read.pk is None else store.query(read))
        items = [item for item in page.items if own.owns(Key.of(item).pk)]
        for item in items:
            write(compact({"Item": item}).encode(errors="backslashreplace") + b"\n")
        advance(len(items))
        if page.next is None:
            return page.complete
        read = read._replace(position=page.next)


# Import


def opened(stream: IO[bytes]) -> IO[bytes]:
    """The stream from its beginning; decompressed where its first bytes are those of gzip."""
    stream.seek(0)
    packed = stream.read(len(_GZIP)) == _GZIP
    stream.seek(0)
    return cast("IO[bytes]", gzip.open(stream)) if packed else stream


class Importer:
    """Reads the lines of an export, checks them, and stores their items.

    Args:
        own: the deployment's prefix.
        source: the prefix of the lines' keys, which `own` replaces; None where they have `own` already.
        create_only: leave stored items alone.
    """

    def __init__(self, store: Store, own: Prefix, *, source: Prefix | None = None, create_only: bool = False) -> None:
        self._store = store
        self._own = own
        self._source = source
        self._condition = Condition(create_only=create_only)
        self.written = 0
        self.existing = 0

    async def check(self, stream: IO[bytes]) -> int:
        """The number of items in the lines.

        Raises:
            InvalidArgument: a line is no item, or none of this deployment's; the message names the first of them.
            Unsupported: the store cannot take one of them.
        """
        count, refused, foreign, shown, batch = 0, 0, False, list[str](), list[Item]()
        for number, line in _lines(stream):
            count += 1
            try:
                batch.append(self._item(line))
            except (InvalidArgument, PrefixViolation) as error:
                refused += 1
                foreign = foreign or isinstance(error, PrefixViolation)
                if refused <= _SHOWN_ERRORS:
                    shown.append(f"line {number}: {error.message}")
            if len(batch) == limits.BATCH_MAX:
                await self._store.check_batch(batch, self._condition)
                batch.clear()
        if refused:
            advice = "Correct the lines."
            if foreign and self._source is None:
                advice += " For items of another deployment, give its prefix with --from-prefix."
            text = " ".join(shown)
            raise InvalidArgument(
                f"{refused} of {count} lines cannot be imported; nothing was stored. {text}", next=advice
            )
        await self._store.check_batch(batch, self._condition)
        return count

    async def store(self, stream: IO[bytes], advance: Callable[[int], None]) -> None:
        """Store the items of lines that were checked; of two with one key, the later wins.

        Args:
            advance: called with the number of items just stored, or found to be there.

        Raises:
            DdbMcpError: what the store raises. What was stored stays, and the same import can be run again.
        """
        batch: dict[Key, Item] = {}
        for _, line in _lines(stream):
            item = self._item(line)
            if len(batch) == limits.BATCH_MAX or Key.of(item) in batch:
                await self._put(batch.values(), advance)
                batch = {}
            batch[Key.of(item)] = item
        await self._put(batch.values(), advance)

    def _item(self, line: str) -> Item:
        document = parse_json(line, "the line")
        is_wrapped = isinstance(document, dict) and document.keys() == {"Item"}
        item = parse_item(document["Item"] if is_wrapped else document, "the item")
        key = Key.of(item)
        if self._source is not None:
            if not self._source.owns(key.pk):
                raise PrefixViolation(f"pk does not start with {self._source.joined!r}: {clip(key.pk, 80)!r}.")
            key = Key(self._own.joined + key.pk.removeprefix(self._source.joined), key.sk)
            item = {**item, "pk": {"S": key.pk}}
        self._own.check_key(*key)
        return item

    async def _put(self, items: Iterable[Item], advance: Callable[[int], None]) -> None:
        async def put(item: Item) -> None:
            try:
                await self._store.put(item, self._condition)
                self.written += 1
            except ConditionFailed:
                self.existing += 1
            advance(1)

        await until_failure(items, put)


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1.

    Raises:
        InvalidArgument: the file is damaged, a line is longer than any item, or it is not UTF-8.
    """
    number = 0
    try:
        while line := stream.readline(limits.LINE_MAX_BYTES + 1):
            number += 1
            if len(line) > limits.LINE_MAX_BYTES:
                raise InvalidArgument(f"Line {number} is longer than {limits.LINE_MAX_BYTES} bytes.")
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield number, text
    except UnicodeDecodeError:
        raise InvalidArgument(f"Line {number} is not UTF-8.", next="Save the file as UTF-8.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InvalidArgument(
            "The file is damaged: its gzip data end early or are wrong.", next="Copy it again."
        ) from None
