"""`ddb-mcp doctor`: what is configured, where each value came from, whether the store answers, and what to fix."""

import platform
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from ddb_mcp import __version__
from ddb_mcp.config import SETTINGS, Settings
from ddb_mcp.errors import DdbMcpError
from ddb_mcp.service import DataService


async def examine(settings: Settings, service: DataService, say: Callable[[str], None]) -> bool:
    """Print the configuration, then try the store without writing anything.

    Args:
        settings: what was resolved.
        service: over the settings' store; closed here.
        say: takes each line.

    Returns:
        Whether everything works.
    """
    say(f"ddb-mcp {__version__}, mcp {version('mcp')}, Python {platform.python_version()}, {sys.platform}")
    say(f"\nSettings ({settings.mode} mode)")
    for setting in SETTINGS:
        value = getattr(settings, setting.field)
        shown = "set, not shown" if setting.secret and value else _plain(value)
        if setting.field == "auth_command" and value:
            shown = f"{value.split()[0]} …"  # its arguments may be secrets
        say(f"  {setting.variable:<26} {shown:<40} {settings.sources[setting.variable]}")
    say("\nSteps")
    fixes: list[str] = []

    async def step(name: str, run: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
        started = time.perf_counter()
        try:
            result = await run()
        except DdbMcpError as error:
            say(f"  {name:<26} {error.code}, {_ms(started)}: {error.message}")
            fixes.append(f"{error.message} {error.next}")
            return None
        say(f"  {name:<26} ok, {_ms(started)}")
        return result

    info = await step("info", lambda: service.call("info", {}))
    if info is not None:
        say(f"  {'':<26} table {info['tableName']}, region {info['region']}, prefix {info['prefix']}")
        if not info["provisioned"] and settings.mode != "local":
            fixes.append("Nothing is provisioned yet. Call the tool provision, or: ddb-mcp call provision")
        elif await step("scan one item", lambda: service.call("scan", {"limit": 1, "view": "keys"})) is not None:
            own = info["prefix"] if info["prefix"][-1] in "#_:/|.-" else info["prefix"] + "#"
            await step("get a missing item", lambda: service.call("get", {"pk": own + "ddb-mcp-doctor", "sk": "none"}))
    await service.store.close()
    say("\nFix this" if fixes else "\nAll is well.")
    for fix in dict.fromkeys(fixes):
        say(f"  {fix}")
    return not fixes


def _ms(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"


def _plain(value: Any) -> str:
    match value:
        case None | () | "":
            return "-"
        case bool():
            return "on" if value else "off"
        case tuple():
            return ", ".join(value)
    return str(getattr(value, "text", value))
