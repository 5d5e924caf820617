"""Cursors: positions of listings, encrypted so that they cannot be read, forged, or used with another call."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidCursor
from ddb_mcp.stores.base import Position

SCAN_CURSOR_LENGTHS = (limits.CURSOR_BYTES, limits.LONG_CURSOR_BYTES)
INDEX_CURSOR_LENGTHS = (limits.INDEX_CURSOR_BYTES,)


class CursorSealer:
    """Makes and opens cursors: AES-256-GCM, with the call as associated data.

    A cursor carries a store position. The position in a shared table can be another deployment's key.

    Args:
        key: 32 bytes that several processes share; without it, a random one for the life of this object.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or os.urandom(32)

    def seal(self, position: Position, call: Any, lengths: Sequence[int] = ()) -> str:
        """Return a cursor for `position` that opens only with an equal `call`.

        Args:
            position: see `Position`. It is not compressed: the length would show what two keys have in common.
            call: JSON-able.
            lengths: if the position may hold other deployments' keys, the one or two lengths that a cursor may have.
        """
        nonce = os.urandom(12)
        texts: list[bytes] = []
        structure = json.dumps(_split_keys(position, texts), separators=(",", ":")).encode()
        plain = _END.join([structure, *texts])
        if lengths:
            is_short = max(map(len, texts), default=0) * len(texts) <= limits.CURSOR_KEYS_BYTES
            plain = plain.ljust(lengths[0] if is_short else lengths[-1], _END)
        sealed = nonce + self._cipher().encrypt(nonce, plain, _hash_binding(call))
        return _encode_base64(sealed)

    def open(self, cursor: str, call: Any) -> Position:
        """Return the position in the cursor. Raises InvalidCursor if it is altered, stale, or from another call."""
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            if _encode_base64(sealed) != cursor:  # base64 leaves bits unused in its last character
                raise ValueError
            plain = self._cipher().decrypt(sealed[:12], sealed[12:], _hash_binding(call))
        except (InvalidTag, ValueError):
            raise InvalidCursor(
                "cursor does not belong to this call: it was altered, is from another listing or other arguments, "
                "or the server has been restarted since."
            ) from None
        structure, *texts = plain.split(_END)
        return _join_keys(json.loads(structure), iter(texts))

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)


def count_sealed_bytes(length: int) -> int:
    """Return the characters of a cursor in base64, with its nonce of 12 bytes and its tag of 16."""
    return (length + 12 + 16) * 4 // 3 + 1


# UTF-8 does not have this byte.
_END = b"\xff"


def _split_keys(position: Position, texts: list[bytes]) -> Any:
    """Return the position with empty strings, and add its strings to `texts`, if no character is escaped."""
    if isinstance(position, str):
        texts.append(position.encode(errors="surrogatepass"))
        return ""
    if isinstance(position, dict):
        return {name: _split_keys(value, texts) for name, value in position.items()}
    return [_split_keys(value, texts) for value in position] if isinstance(position, list | tuple) else position


def _join_keys(structure: Any, texts: Iterator[bytes]) -> Position:
    """Return the position that `_split_keys` took apart."""
    if isinstance(structure, str):
        return next(texts).decode(errors="surrogatepass")
    if isinstance(structure, dict):
        return {name: _join_keys(value, texts) for name, value in structure.items()}
    return [_join_keys(value, texts) for value in structure] if isinstance(structure, list) else structure


def _encode_base64(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _hash_binding(call: Any) -> bytes:
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).digest()
