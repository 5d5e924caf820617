"""The service that the settings describe."""

from typing import TYPE_CHECKING

from ddb_mcp.config import ModeSettings, PlatformSettings

if TYPE_CHECKING:
    from ddb_mcp.service.service import DataService


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
    )
