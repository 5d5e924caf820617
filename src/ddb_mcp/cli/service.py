"""The service and the store that the settings describe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ddb_mcp.config.settings import ModeSettings, PlatformSettings, Settings
from ddb_mcp.core.errors import ReadOnly
from ddb_mcp.core.keys import Prefix

if TYPE_CHECKING:
    from ddb_mcp.service.service import DataService
    from ddb_mcp.stores.base import Store


def require_writing(
    settings: Settings, what: str, next: str = "Unset DDB_MCP_READ_ONLY, and leave --read-only out."
) -> None:
    """Raise ReadOnly where the settings allow no writing. `what`: what writes, such as `purge deletes`."""
    if settings.read_only:
        raise ReadOnly(f"{what}, and this configuration is read-only.", next=next)


def make_service(settings: ModeSettings) -> "DataService":
    """The service over the store of the settings' mode. Nothing is opened or connected yet."""
    from ddb_mcp.service.service import DataService
    from ddb_mcp.stores import make_store

    return DataService(
        make_store(settings),
        None if isinstance(settings, PlatformSettings) else settings.prefix,
        read_only=settings.read_only,
        read_budget=settings.read_budget,
        max_result_bytes=settings.max_result_bytes,
        shared_indexes=() if isinstance(settings, PlatformSettings) else settings.shared_indexes,
    )


@asynccontextmanager
async def own_store(settings: ModeSettings) -> AsyncIterator[tuple["Store", Prefix]]:
    """The store, and the prefix of the settings; in platform mode, the prefix that the platform reports."""
    from ddb_mcp.stores import make_store

    store = make_store(settings)
    try:
        if isinstance(settings, PlatformSettings):
            yield store, Prefix((await store.info()).prefix or "", one_segment=True)
        else:
            yield store, settings.prefix
    finally:
        await store.close()
