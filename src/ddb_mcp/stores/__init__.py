"""One store a mode, and the choice among them."""

from typing import TYPE_CHECKING

from ddb_mcp.config.settings import DirectStorage, GatewaySettings, ModeSettings, PlatformSettings

if TYPE_CHECKING:
    from ddb_mcp.stores.base import Store


def make_store(settings: ModeSettings | GatewaySettings) -> "Store":
    """Return the store of the settings' mode. Nothing is opened or connected yet."""
    if isinstance(settings, PlatformSettings):
        from ddb_mcp.stores.platform.store import PlatformStore

        return PlatformStore(settings)
    if isinstance(settings, DirectStorage):
        from ddb_mcp.stores.direct.store import DirectStore

        return DirectStore(settings)
    from ddb_mcp.stores.local.store import LocalStore

    return LocalStore(settings.local_path, settings.table, indexes=settings.indexes, registry=settings.registry)
