"""`ddb-mcp doctor`: what is configured, where each value came from, whether the store answers, and what to fix."""

import argparse
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

from ddb_mcp import __version__
from ddb_mcp.cli.service import make_service
from ddb_mcp.config import SETTINGS, HttpSettings, ModeSettings, Setting, Settings, resolve_http
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService

logger = logging.getLogger(__name__)

MASK = "set, not shown"
_AWS_SECRET = re.compile("KEY|SECRET|TOKEN|PASSWORD")


def configure(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """`ddb-mcp doctor` has no arguments of its own."""


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    import anyio

    http = resolve_http(os.environ, arguments.flags)
    return 0 if anyio.run(examine, settings, http, make_service(settings), print) else 1


async def examine(settings: Settings, http: HttpSettings, service: DataService, say: Callable[[str], None]) -> bool:
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
        value, source = _value(setting, settings, http), settings.sources[setting.variable]
        if source != "default" and value is None:
            source += f", not used in {settings.mode} mode"
        say(_line(setting.variable, _shown(setting, value), source))
    if settings.mode == "direct":
        for name in sorted(os.environ):
            if name.startswith("AWS_"):
                say(_line(name, MASK if _AWS_SECRET.search(name) else _text(name, os.environ[name]), "environment"))
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
        except Exception as error:
            logger.exception("%s failed", name)
            say(f"  {name:<26} internal, {_ms(started)}: {type(error).__name__}")
            fixes.append("This is a bug in ddb-mcp. Report it with the details above.")
            return None
        say(f"  {name:<26} ok, {_ms(started)}")
        return result

    info = await step("info", lambda: service.call("info", {}))
    if info is not None:
        say(f"  {'':<26} table {info['tableName']}, region {info['region']}, prefix {info['prefix']}")
        if not settings.read_only:
            fixes += info.get("warnings", [])
        if not info["provisioned"] and settings.mode != "local":
            fixes.append("Nothing is provisioned yet. Call the tool provision, or: ddb-mcp call provision")
        elif await step("scan one item", lambda: service.call("scan", {"limit": 1, "view": "keys"})) is not None:
            key = {"pk": Prefix(info["prefix"], one_segment=True).joined + "ddb-mcp-doctor", "sk": "none"}
            await step("get a missing item", lambda: service.call("get", key))
    await service.store.close()
    say("\nFix this" if fixes else "\nAll is well.")
    for fix in dict.fromkeys(fixes):
        say(f"  {fix}")
    return not fixes


def _value(setting: Setting, settings: Settings, http: HttpSettings) -> Any:
    """None where the setting does not count in this mode."""
    return getattr(settings, setting.field, getattr(http, setting.field, None))


def list_given(environment: Mapping[str, str], flags: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Print the settings that were given and where, for when they make no configuration. Prints no secret."""
    say(f"ddb-mcp {__version__}\n\nSettings that were given")
    for setting in SETTINGS:
        for given, source in ((flags, "flag"), (environment, "environment")):
            if value := given.get(setting.variable):
                say(_line(setting.variable, _shown(setting, value), source))
    known = {setting.variable for setting in SETTINGS}
    for name in sorted(environment.keys() - known):
        if name.startswith("DDB_MCP_") or name in ("API_URL", "AUTH_TOKEN"):
            say(_line(name, MASK, "environment"))  # a misspelt name may well hold a token
    say("")


def _line(name: str, shown: str, source: str) -> str:
    return f"  {name:<26} {shown:<40} {source}"


def _ms(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"


def _shown(setting: Setting, value: Any) -> str:
    match value:
        case None | () | "":
            return "-"
        case bool():
            return "on" if value else "off"
        case tuple():
            return ", ".join(value)
    if setting.secret:
        return MASK
    if setting.field == "auth_command":
        return f"{value.split()[0]} …"  # its arguments may be secrets
    return _text(setting.variable, str(getattr(value, "text", value)))


def _text(name: str, value: str) -> str:
    """The value of a variable; of a URL, without what may be secret in it: a user and password, a query, a fragment."""
    if not re.search("UR[IL]", name) and "://" not in value:
        return value
    parts = re.fullmatch(r"(\w*:?//)?([^?#]*)([?#]?)(.*)", value, re.DOTALL)
    assert parts is not None
    scheme, address, mark, after = parts.groups("")
    if "@" in after:  # a ? or # within a password, or an @ after the path: it cannot be told where the host is
        return f"{scheme}…"
    _, at, host = address.rpartition("@")
    return f"{scheme}{at and '…@'}{host}{mark and mark + '…'}"
