"""Pages: compact JSON, byte budgets, outlines of items that are too long, and sealed cursors."""

import base64
import hashlib
import json
import os
import zlib
from typing import Any

from ddb_mcp.core.errors import InvalidArgument, InvalidCursor
from ddb_mcp.core.items import Item, item_size, value_size
from ddb_mcp.stores.base import Position

# A listing stops reading after this time, well inside the 60 s after which common hosts give up on a call.
READ_SECONDS = 25

# What a result needs besides its items: its other members and an ordinary cursor.
ENVELOPE_BYTES = 400


def compact(value: Any) -> str:
    """JSON on one line without spaces, with nothing in it that any reader takes for a line break."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def size(value: Any) -> int:
    """Bytes of UTF-8 of the compact JSON. A lone surrogate that some store let in counts as its escape."""
    return len(compact(value).encode(errors="backslashreplace"))


def clip(text: str, max_bytes: int) -> str:
    """The text, or as much of its beginning as takes `max_bytes` bytes of JSON."""
    if size(text) <= max_bytes:
        return text
    text = text[:max_bytes]
    while size(text + "…") > max_bytes:
        text = text[:-1]
    return text + "…"


OUTLINE_NEXT = "Too long to show. Call get with attributes: [names] for the parts you need."
OUTLINE_DELETED = "Too long to show. It was deleted, so its parts cannot be had any more."


def refuse_outline(item: Item, where: str) -> None:
    """Raise InvalidArgument for an outline sent back as if it were the item: it would replace what it stands for."""
    if item.get("outline", {}).get("M", {}).get("next") in ({"S": OUTLINE_NEXT}, {"S": OUTLINE_DELETED}):
        raise InvalidArgument(
            f"{where} is the outline of an item, not the item itself.", next="Use merge to change single attributes."
        )


def outline(item: Item, budget: int, advice: str = OUTLINE_NEXT) -> dict[str, Any]:
    """What stands for an item that is too long to show: each attribute with its type and its size by DynamoDB's rules.

    Args:
        item: the whole item.
        budget: bytes the outline may take; attributes that do not fit are only counted, the key always stands.
        advice: what can be done about it, its member `next`.
    """
    shown: dict[str, Any] = {"pk": item["pk"]["S"], "sk": item["sk"]["S"]}
    attributes: list[dict[str, Any]] = []
    shown["outline"] = about = {
        "bytes": item_size(item),
        "attributes": attributes,
        "next": advice,
    }
    room = budget - size(shown) - 40
    for left, name in zip(range(len(item) - 2, 0, -1), sorted(item.keys() - {"pk", "sk"}), strict=True):
        entry = {"attribute": name, "type": next(iter(item[name])), "bytes": value_size(item[name])}
        room -= size(entry) + 1
        if room < 0:
            about["more"] = left
            break
        attributes.append(entry)
    return shown


class Seal:
    """Cursors that nobody can read, forge, or use with another call: AES-256-GCM, bound to the call.

    They carry store positions, and the last key that a shared table gave can be another deployment's.

    Args:
        key: 32 bytes that several processes share; without it, a random one for the life of this object.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or os.urandom(32)

    def seal(self, position: Position, call: Any) -> str:
        """A cursor for `position` that opens only with an equal `call` (JSON-able)."""
        nonce = os.urandom(12)
        plain = zlib.compress(compact(position).encode())
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
        return json.loads(zlib.decompress(plain))

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _digest(call: Any) -> bytes:
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).digest()
