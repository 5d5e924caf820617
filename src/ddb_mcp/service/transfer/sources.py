"""What `import` reads: a line an item, a JSON array, or the output of `aws dynamodb scan`."""

import errno
import gzip
import hashlib
import json
import re
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.keys import Key

# One item: six characters for each byte at most, and binary values in base64.
TEXT_MAX_BYTES = 8_000_000

_GZIP = b"\x1f\x8b"
_BLOCK_BYTES = 2**20
_TEXT = re.compile(rb"\S")
# The beginning of an array, or of the output of `aws dynamodb scan`, whose members come in any order.
_ARRAY = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*"
    rb'({\s*(?:"(?:Count|ScannedCount|ConsumedCapacity)"\s*:\s*(?:\d+|null)\s*,\s*)*"Items"\s*:\s*)?\['
)
# A string, the beginning of one that goes on in the next block, or a bracket.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|"|[][{}]', re.DOTALL)
_NESTING = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_BETWEEN = b" \t\r\n,"
_TAIL_MAX_BYTES = 100_000


class ItemSource:
    """The texts of the items in a file, packed by gzip or not.

    No more than a text and a block are in memory, whatever the file unpacks to.

    Args:
        name: how errors name it.
        stream: can be read from its beginning again.

    Attributes:
        unit: `line`, or `item` for a file that is one JSON document.
    """

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        self.unit = "line"
        self._stream = stream

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield each text that is not blank, from the first, after its place, such as `line 3 of stdin`.

        Raises:
            InvalidArgument: the file cannot be read or is damaged, a text is longer than any item, or is not UTF-8.
        """
        blocks = self._blocks()
        first = next(blocks, b"")
        array = _ARRAY.match(first)
        self.unit = "item" if array else "line"
        parts = self._split_array(first, array, blocks) if array else self._split_lines(chain([first], blocks))
        for number, part in parts:
            try:
                text = part.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                problem = f"{self._place(number)} is not UTF-8."
                raise InvalidArgument(problem, next="Save the file as UTF-8.") from None
            if text:
                yield self._place(number), text

    def _split_lines(self, blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
        number, begun = 1, b""
        for block in blocks:
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

    def _split_array(self, data: bytes, array: re.Match[bytes], blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield the elements of an array. Text that is no element comes with the next one, whose parser refuses it."""
        number, depth, begun = 1, 0, array.end()
        at = begun
        while depth >= 0:
            token = _TOKEN.search(data, at)
            if token is None or token[0] == b'"':
                self._check_length(number, len(data) - begun)
                block = next(blocks, b"")
                if not block:
                    raise InvalidArgument(f"{self.name} ends within {self._place(number)}.", next="Copy it again.")
                at = (token.start() if token else len(data)) - begun
                data, begun = data[begun:] + block, 0
                continue
            at = token.end()
            depth += (change := _NESTING.get(token[0], 0))
            if change < 0 and depth <= 0:
                element = data[begun : at if depth == 0 else token.start()].strip(_BETWEEN)
                if element:
                    yield number, element
                number, begun = number + 1, at
        tail = data[at:] + next(blocks, b"")
        try:
            json.loads(tail[:0] if len(tail) > _TAIL_MAX_BYTES else (b'{"Items":[]' if array[1] else b"[]") + tail)
        except (ValueError, RecursionError):
            problem = f"{self.name} has more data after its array of items."
            raise InvalidArgument(problem, next="Import one document at a time.") from None

    def _place(self, number: int) -> str:
        return f"{self.unit} {number} of {self.name}"

    def _check_length(self, number: int, length: int) -> None:
        if length > TEXT_MAX_BYTES:
            raise InvalidArgument(f"{self._place(number)} is longer than {TEXT_MAX_BYTES} bytes.")

    def _blocks(self) -> Iterator[bytes]:
        try:
            self._stream.seek(0)
            is_packed = self._stream.read(len(_GZIP)) == _GZIP
            self._stream.seek(0)
            read = gzip.GzipFile(fileobj=self._stream).read if is_packed else self._stream.read
            while block := read(_BLOCK_BYTES):
                yield block
        except (EOFError, gzip.BadGzipFile, zlib.error):
            problem = f"{self.name} is damaged: its gzip data is truncated or invalid."
            raise InvalidArgument(problem, next="Copy it again.") from None
        except OSError as error:
            raise make_unreadable_error(self.name, error) from None


def make_unreadable_error(name: str, error: OSError) -> InvalidArgument:
    """Return the error for a file or stream that cannot be read."""
    problem = (error.strerror or str(error) or "system error").lower()
    return InvalidArgument(f"{name} cannot be read: {problem}.", next="Correct the name, or choose another file.")


class KeyIndex:
    """The last place of each key in a file. Takes little memory: SQLite moves what is much to a temporary file."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE last (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID")

    def add(self, key: Key, number: int) -> None:
        """Note that a key is at this place. Raises OSError if the temporary file cannot be written."""
        with _name_temporary_file():
            self._database.execute("INSERT OR REPLACE INTO last VALUES (?, ?)", (_digest(key), number))

    def is_last(self, key: Key, number: int) -> bool:
        """Return whether this is the last place of the key."""
        query = "SELECT 1 FROM last WHERE key = ? AND number = ?"
        return self._database.execute(query, (_digest(key), number)).fetchone() is not None

    def count(self) -> int:
        """Return the number of different keys."""
        return int(self._database.execute("SELECT count(*) FROM last").fetchone()[0])


def _digest(key: Key) -> bytes:
    return hashlib.blake2b("\0".join([str(len(key.pk)), *key]).encode(errors="surrogatepass"), digest_size=16).digest()


@contextmanager
def _name_temporary_file() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.ENOSPC, str(error), tempfile.gettempdir()) from None
