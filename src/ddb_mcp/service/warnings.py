"""What a writer should know of a write that was done."""

import time

from ddb_mcp.core import limits
from ddb_mcp.core.items import Item
from ddb_mcp.core.paths import path_text
from ddb_mcp.core.text import clip
from ddb_mcp.stores.base import Written

_MS_THRESHOLD = 10**11


def ttl_warnings(item: Item) -> list[str]:
    """Why a `ttl` expires nothing, or expires the item at once."""
    if "ttl" not in item:
        return []
    ((kind, content),) = item["ttl"].items()
    if kind != "N":
        return ["ttl is not a number, so the item will never expire; it wants seconds since 1970 as a number."]
    seconds, now = float(content), time.time()
    if seconds > _MS_THRESHOLD:
        return ["ttl looks like milliseconds, so the item will not expire for ages; it wants seconds since 1970."]
    if seconds < now - limits.TTL_PAST_SECONDS:
        return ["ttl is more than five years past, which DynamoDB ignores, so the item will never expire."]
    if seconds < now:
        return ["ttl is past already, so the item may be deleted at any moment."]
    return []


def absent_warnings(written: Written) -> list[str]:
    """Which paths of `remove` had nothing to remove."""
    if not written.absent:
        return []
    names = ", ".join(clip(path_text(path), 50) for path in written.absent[:10])
    return [clip(f"remove: there was nothing at {names}", 300)]
