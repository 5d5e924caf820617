"""Finds the end of a request's head and of its body."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD_MAX_BYTES = 16_384


_UPGRADE = re.compile(rb"\nupgrade(?=[ \t]*:)", re.I)
_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_LINE_MAX_BYTES = 1024
# Chunks may have one byte each. After this many, other connections have their turn.
_CHUNKS_AT_ONCE = 64
# A body of 16 MB in pieces of 1 KB has fewer.
_CHUNKS_MAX = 20_000


class BadFraming(Exception):
    """Nobody can tell where the request ends."""


def find_head_end(held: bytearray) -> int | None:
    """Return the length of the head that `held` begins with, None while its end has not come.

    Raises:
        BadFraming: it is longer than `HEAD_MAX_BYTES`.
    """
    end = _HEAD_END.search(held, 0, HEAD_MAX_BYTES)
    if end is None and len(held) >= HEAD_MAX_BYTES:
        raise BadFraming
    return end and end.end()


def hide_upgrade(head: bytes) -> bytes:
    """Return the head of a request that asks for no other protocol. llhttp would give the body to that protocol."""
    return _UPGRADE.sub(b"\nx-upgrade", head)


class Body:
    """A body of known length.

    Attributes:
        is_over: all of it has been taken.
        has_more: more can be taken right now.
    """

    has_more = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_over = not length

    def take(self, held: bytearray) -> bytes:
        """Take the body's bytes out of `held`. Returns what the parser is to see of them. Raises BadFraming."""
        taken = bytes(held[: self._left])
        del held[: len(taken)]
        self._left -= len(taken)
        self.is_over = not self._left
        return taken


class ChunkedBody(Body):
    """A body in chunks. The parser does not see its trailers, which it would take for header fields.

    https://www.rfc-editor.org/rfc/rfc9112#section-7.1
    """

    def __init__(self) -> None:
        super().__init__(0)
        self._is_last = self.is_over = False
        self._chunks = 0

    def take(self, held: bytearray) -> bytes:
        taken = bytearray()
        for _ in range(_CHUNKS_AT_ONCE):
            taken += super().take(held)
            self.is_over = False
            end = held.find(b"\r\n", 0, _LINE_MAX_BYTES)
            self.has_more = not self._left and end >= 0
            if not self.has_more:
                if not self._left and len(held) >= _LINE_MAX_BYTES:
                    raise BadFraming
                break
            line = bytes(held[: end + 2])
            del held[: end + 2]
            taken += self._seen(line)
            if self.is_over:
                self.has_more = False
                break
        return bytes(taken)

    def _seen(self, line: bytes) -> bytes:
        """Return what the parser should see of a line: the size of a chunk, or a trailer."""
        if self._is_last:
            self.is_over = line == b"\r\n"
            return b"0\r\n\r\n" if self.is_over else b""
        size = _CHUNK_SIZE.fullmatch(line[:-2])
        self._chunks += 1
        if size is None or self._chunks > _CHUNKS_MAX:
            raise BadFraming
        length = int(size[1], 16)
        self._is_last = not length
        self._left = length and length + 2  # the parser checks the end of the line after the data
        return line if length else b""


def get_body(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Body:
    """Return the body that a request announces. Raises BadFraming."""
    framing = [(name, value.lower()) for name, value in headers if name in (b"content-length", b"transfer-encoding")]
    match framing:
        case _ if method == "CONNECT":
            raise BadFraming
        case []:
            return Body(0)
        case [(b"content-length", length)] if length.isdigit():
            return Body(int(length))
        case [(b"transfer-encoding", b"chunked")]:
            return ChunkedBody()
    # A proxy before this process may see the end of the body, and the next request, at another byte.
    raise BadFraming
