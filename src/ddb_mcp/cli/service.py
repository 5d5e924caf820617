"""The service and the store that the settings describe."""

import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from ddb_mcp import __version__
from ddb_mcp.cli.files import write_whole_file
from ddb_mcp.config.settings import LocalSettings, ModeSettings, PlatformSettings, Settings
from ddb_mcp.core.errors import ReadOnly
from ddb_mcp.core.keys import Prefix

if TYPE_CHECKING:
    from ddb_mcp.service.service import DataService
    from ddb_mcp.stores.base import Store


def require_writing(
    settings: Settings, what: str, next: str = "Unset DDB_MCP_READ_ONLY, and omit --read-only."
) -> None:
    """Raise ReadOnly if the settings disable writes. `what`: what writes, such as `purge deletes`."""
    if settings.read_only:
        raise ReadOnly(f"{what}, and this configuration is read-only.", next=next)


def make_service(settings: ModeSettings, cursor_key: bytes | None = None) -> "DataService":
    """Return the service over the store of the settings' mode. Opens and connects nothing.

    Args:
        cursor_key: see `CursorSealer`.
    """
    from ddb_mcp.service.app_endpoint import find_endpoint
    from ddb_mcp.service.service import DataService
    from ddb_mcp.stores import make_store

    endpoint = (
        partial(find_endpoint, settings.local_path, settings.prefix) if isinstance(settings, LocalSettings) else None
    )
    return DataService(
        make_store(settings),
        None if isinstance(settings, PlatformSettings) else settings.prefix,
        read_only=settings.read_only,
        read_budget=settings.read_budget,
        max_result_bytes=settings.max_result_bytes,
        cursor_key=cursor_key,
        find_endpoint=endpoint,
        shared_indexes=() if isinstance(settings, PlatformSettings) else settings.shared_indexes,
    )


def derive_cursor_key(settings: ModeSettings) -> bytes | None:
    """Return the key of this user's cursors for the data that the settings name, None if no file can hold the secret.

    Commands share it, so that a cursor of one continues a listing in another.
    """
    from platformdirs import user_state_path

    try:
        file = user_state_path("ddb-mcp", appauthor=False).expanduser() / "cursors.key"
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with write_whole_file(file, replaces=True) as new:  # two commands at once: the later secret remains
                new.write(os.urandom(32))
        secret = file.read_bytes()
    except (OSError, RuntimeError):
        return None
    where = [getattr(settings, name, None) for name in ("mode", "table", "local_path", "api_url")]
    return hmac.digest(secret, f"{__version__} {where}".encode(), "sha256") if len(secret) == 32 else None


@asynccontextmanager
async def own_store(settings: ModeSettings) -> AsyncIterator[tuple["Store", Prefix]]:
    """Open the store. Yield it with the prefix from the settings or, in platform mode, from the platform."""
    from ddb_mcp.stores import make_store

    store = make_store(settings)
    try:
        if isinstance(settings, PlatformSettings):
            yield store, Prefix((await store.info()).prefix or "", one_segment=True)
        else:
            yield store, settings.prefix
    finally:
        await store.close()
