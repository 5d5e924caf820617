"""Cursors: positions of listings, sealed so that nobody can read, forge, or use them with another call."""

import base64
import hashlib
import json
import os
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidCursor
from ddb_mcp.core.text import compact
from ddb_mcp.stores.base import Position


class Seal:
    """Makes and opens cursors: AES-256-GCM, with the call as associated data.

    A cursor carries a store position. The position in a shared table can be another deployment's key.

    Args:
        key: 32 bytes that several processes share; without it, a random one for the life of this object.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or os.urandom(32)

    def seal(self, position: Position, call: Any, *, padded: bool = False) -> str:
        """A cursor for `position` that opens only with an equal `call`.

        Args:
            position: see `Position`. It is not compressed: the length would show what two keys have in common.
            call: JSON-able.
            padded: whether the position may hold others' keys. The cursor's length then does not depend on theirs.
        """
        nonce = os.urandom(12)
        plain = compact(position).encode()
        if padded:
            plain = plain.ljust(_padded(len(plain)))
        sealed = nonce + self._cipher().encrypt(nonce, plain, _digest(call))
        return _encode(sealed)

    def open(self, cursor: str, call: Any) -> Position:
        """The position in the cursor. Raises InvalidCursor if it is forged, altered, stale, or from another call."""
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            if _encode(sealed) != cursor:  # base64 leaves bits unused in its last character
                raise ValueError
            plain = self._cipher().decrypt(sealed[:12], sealed[12:], _digest(call))
        except (InvalidTag, ValueError):
            raise InvalidCursor(
                "cursor does not belong to this call: it was altered, is from another listing or other arguments, "
                "or the server has been restarted since."
            ) from None
        return json.loads(plain)

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)


def _padded(length: int) -> int:
    """The length that a position of `length` bytes is padded to."""
    least, step = limits.CURSOR_BYTES, limits.CURSOR_STEP_BYTES
    return least if length <= least else -(-length // step) * step


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _digest(call: Any) -> bytes:
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).digest()
