"""Export and import: a line an item, in the form of AWS's export to S3, through any store.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

import gzip
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import IO, TypeVar

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, InvalidArgument, PrefixViolation, Throttled
from ddb_mcp.core.items import Item, parse_item, parse_json
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.text import encode_json, exceeds_members, shorten
from ddb_mcp.service.concurrency import run_until_failure
from ddb_mcp.service.parameters import BATCH_MAX, MEMBERS_MAX
from ddb_mcp.service.reading.pages import AGGREGATE_BYTES
from ddb_mcp.stores.base import Read, Store, WriteCondition

# An import waits so long for a store that asks to send less.
THROTTLED_SECONDS = 300
# One item as a line of an export: six characters for each byte at most, and binary values in base64.
LINE_MAX_BYTES = 8_000_000


_T = TypeVar("_T")

_GZIP = b"\x1f\x8b"
_TEXT = re.compile(rb"\S")
_BLOCK_BYTES = 2**20
# The characters of the lines that are held as items at once. Items of small members take a hundred times as much.
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


class LineSource:
    """The lines of an export, packed by gzip or not.

    No more than a line and a block are in memory, whatever the file unpacks to.

    Args:
        name: how errors name it.
        stream: can be read from its beginning again.
    """

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        self._stream = stream

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not blank, from the first, with their numbers from 1.

        Raises:
            InvalidArgument: the file cannot be read or is damaged, a line is longer than any item, or is not UTF-8.
        """
        for number, line in self._lines():
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                problem = f"{self.name}: line {number} is not UTF-8."
                raise InvalidArgument(problem, next="Save the file as UTF-8.") from None
            if text:
                yield number, text

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number, begun = 1, b""
        for block in self._blocks():
            data, at = begun + block, 0
            # Blank lines are counted and skipped together: a packed file can have billions of them.
            while not data.isspace() and (text := _TEXT.search(data, at)):
                number += data.count(b"\n", at, text.start())
                end = data.find(b"\n", text.start())
                at = text.start()
                if end < 0:
                    break
                self._check_length(number, end - at)
                yield number, data[at:end]
                number, at = number + 1, end + 1
            number += data.count(b"\n", at)
            begun = data[max(at, data.rfind(b"\n") + 1) :]
            self._check_length(number, len(begun))
        if begun:
            yield number, begun

    def _check_length(self, number: int, length: int) -> None:
        if length > LINE_MAX_BYTES:
            raise InvalidArgument(f"{self.name}: line {number} is longer than {LINE_MAX_BYTES} bytes.")

    def _blocks(self) -> Iterator[bytes]:
        try:
            self._stream.seek(0)
            is_packed = self._stream.read(len(_GZIP)) == _GZIP
            self._stream.seek(0)
            read = gzip.GzipFile(fileobj=self._stream).read if is_packed else self._stream.read
            while block := read(_BLOCK_BYTES):
                yield block
        except (EOFError, gzip.BadGzipFile, zlib.error):
            problem = f"{self.name} is damaged: its gzip data end early or are wrong."
            raise InvalidArgument(problem, next="Copy it again.") from None
        except OSError as error:
            raise make_unreadable_error(self.name, error) from None


def make_unreadable_error(name: str, error: OSError) -> InvalidArgument:
    """Return the error for a file or stream that cannot be read."""
    problem = (error.strerror or str(error) or "system error").lower()
    return InvalidArgument(f"{name} cannot be read: {problem}.", next="Correct the name, or give another file.")


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
        self._condition = WriteCondition(create_only=create_only)
        self.written = 0
        self.existing = 0

    async def validate(self, file: LineSource) -> int:
        """Return the number of items in the file.

        Raises:
            InvalidArgument: a line is no item, or none of this deployment's; the message names the first of them.
                It stops looking after 1,000 of them.
            Unsupported: the store cannot take one of them.
        """
        count, refused, foreign, shown, batch, size = 0, 0, False, list[str](), list[Item](), 0
        for number, line in file.lines():
            count, size = count + 1, size + len(line)
            try:
                batch.append(self._parse_item(line))
            except (InvalidArgument, PrefixViolation) as error:
                refused += 1
                foreign = foreign or isinstance(error, PrefixViolation)
                if refused <= _SHOWN_ERRORS:
                    shown.append(f"line {number}: {error.message}")
            if refused == _REFUSED_MAX:
                break
            if len(batch) == BATCH_MAX or size > _BATCH_CHARACTERS:
                await self._store.check_batch(batch, self._condition)
                batch, size = [], 0
        if refused:
            advice = "Correct the lines."
            if foreign and self._source is None:
                advice += " For items of another deployment, give its prefix with --from-prefix."
            lines = f"the first {count}" if refused == _REFUSED_MAX else count
            problem = f"{file.name}: {refused} of {lines} lines cannot be imported; nothing was stored."
            raise InvalidArgument(" ".join([problem, *shown]), next=advice)
        await self._store.check_batch(batch, self._condition)
        return count

    async def write_items(self, file: LineSource, advance: Callable[[int], None]) -> None:
        """Store the items of lines that were checked; of two with one key, the later wins.

        Args:
            advance: called with the number of items just stored, or found to be there.

        Raises:
            DdbMcpError: what the store raises. What was stored stays, and the same import can be run again.
        """
        batch, size = dict[Key, Item](), 0
        for _, line in file.lines():
            item = self._parse_item(line)
            if len(batch) == BATCH_MAX or size > _BATCH_CHARACTERS or Key.of(item) in batch:
                await self._put(batch.values(), advance)
                batch, size = {}, 0
            batch[Key.of(item)] = item
            size += len(line)
        await self._put(batch.values(), advance)

    def _parse_item(self, line: str) -> Item:
        if exceeds_members(line, MEMBERS_MAX["item"]):  # their objects take far more memory than the line
            raise InvalidArgument(f"the line has more than {MEMBERS_MAX['item']} members.")
        document = parse_json(line, "the line")
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
