"""Configuration: environment variables and flags -> one validated, immutable object.

`settings.py` declares every setting once, `values.py` checks one value, `names.py` finds misspelt variables, and
`resolve.py` decides the mode.
"""

from ddb_mcp.config.resolve import default_auth_command, resolve, resolve_gateway, resolve_http, resolve_local
from ddb_mcp.config.settings import (
    DEFAULT_AUTH_COMMAND,
    DEFAULT_AUTH_FILE,
    LOCAL_PREFIX,
    LOCAL_TABLE,
    SETTINGS,
    DirectSettings,
    DirectStorage,
    GatewaySettings,
    HttpSettings,
    LocalSettings,
    LocalStorage,
    Mode,
    ModeSettings,
    PlatformSettings,
    Setting,
    Settings,
)
from ddb_mcp.config.values import is_loopback

__all__ = [
    "DEFAULT_AUTH_COMMAND",
    "DEFAULT_AUTH_FILE",
    "LOCAL_PREFIX",
    "LOCAL_TABLE",
    "SETTINGS",
    "DirectSettings",
    "DirectStorage",
    "GatewaySettings",
    "HttpSettings",
    "LocalSettings",
    "LocalStorage",
    "Mode",
    "ModeSettings",
    "PlatformSettings",
    "Setting",
    "Settings",
    "default_auth_command",
    "is_loopback",
    "resolve",
    "resolve_gateway",
    "resolve_http",
    "resolve_local",
]
