"""One store a mode, and the choice among them."""

from typing import TYPE_CHECKING

from ddb_mcp.config import Settings

if TYPE_CHECKING:
    from ddb_mcp.stores.base import Store


def make_store(settings: Settings) -> "Store":
    """The store of the settings' mode. Nothing is opened or connected yet."""
    if settings.mode == "platform":
        from ddb_mcp.stores.platform.store import PlatformStore

        return PlatformStore(settings)
    if settings.mode == "direct":
        from ddb_mcp.stores.direct.store import DirectStore

        return DirectStore(settings)
    from ddb_mcp.stores.local.store import LocalStore

    assert settings.local_path is not None
    assert settings.table is not None
    return LocalStore(settings.local_path, settings.table)
