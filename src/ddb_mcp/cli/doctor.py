"""`ddb-mcp doctor`: what is configured, where each value came from, whether the store answers, and what to fix."""

import argparse
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

from ddb_mcp import __version__
from ddb_mcp.cli.service import make_service
from ddb_mcp.config.names import find_lookalikes
from ddb_mcp.config.resolve import resolve_http
from ddb_mcp.config.settings import SETTINGS, HttpSettings, LocalSettings, ModeSettings, Setting, Settings
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import escape_controls
from ddb_mcp.service.service import DataService

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

MASK = "set, not shown"
_WHERE = ("mode", "table", "prefix", "local_path", "api_url")
_AWS_SECRET = re.compile("KEY|SECRET|TOKEN|PASSWORD")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Check the configuration and the store. Return 1 if there is something to fix, else 0."""
    import anyio

    http = resolve_http(os.environ, arguments.flags)
    return 0 if anyio.run(run_checks, settings, http, make_service(settings), print) else 1


async def run_checks(settings: Settings, http: HttpSettings, service: DataService, say: Callable[[str], None]) -> bool:
    """Print the configuration, then try the store without writing anything.

    Args:
        settings: what was resolved.
        service: over the settings' store; closed here.
        say: takes each line.

    Returns:
        Whether everything works.
    """
    say(f"ddb-mcp {__version__}, mcp {version('mcp')}, Python {platform.python_version()}, {sys.platform}")
    _list_settings(settings, http, say)
    say("\nSteps")
    steps = Steps(say)
    info = await steps.run_step("info", lambda: service.run_operation("info", {}))
    if info is not None:
        say(f"  {'':<26} table {info['tableName']}, region {info['region']}, prefix {info['prefix']}")
        if not settings.read_only:
            steps.fixes += info.get("warnings", [])
        if not info["provisioned"] and settings.mode != "local":
            steps.fixes.append("Nothing is provisioned yet. Call the tool provision, or: ddb-mcp call provision")
        elif (
            await steps.run_step("scan one item", lambda: service.run_operation("scan", {"limit": 1, "view": "keys"}))
            is not None
        ):
            key = {"pk": Prefix(info["prefix"], one_segment=True).joined + "ddb-mcp-doctor", "sk": "none"}
            await steps.run_step("get a missing item", lambda: service.run_operation("get", key))
    await service.store.close()
    if isinstance(settings, LocalSettings):
        from ddb_mcp.service.app_endpoint import find_endpoint
        from ddb_mcp.stores.local.place import list_access_warnings

        endpoint = await find_endpoint(settings.local_path, settings.prefix)
        say(f"  {'endpoint for the app':<26} {endpoint.state}")
        steps.fixes += [*endpoint.warnings, *list_access_warnings(settings.local_path)]  # in read-only mode too
    say(f"\nNot checked: {'; '.join(_hide(settings))}.")
    return not steps.list_fixes()


@dataclass
class Steps:
    """Runs each step, says how it went, and collects what to fix."""

    say: Callable[[str], None]
    fixes: list[str] = field(default_factory=list)

    async def run_step(self, name: str, step: Callable[[], Awaitable[_T]]) -> _T | None:
        """Run a step, and return its result; None if it failed."""
        started = time.perf_counter()
        outcome, result = "ok", None
        try:
            result = await step()
        except DdbMcpError as error:
            outcome = error.code
            self.fixes.append(f"{error.message} {error.next}")
        except Exception as error:
            logger.exception("%s failed", name)
            outcome = f"internal, {type(error).__name__}"
            self.fixes.append("This is a bug in ddb-mcp. Report it with the details above.")
        self.say(f"  {name:<26} {outcome}, {_ms(started)}")
        return result

    def list_fixes(self) -> bool:
        """Say what to fix. Return whether there is anything."""
        self.say("\nFix this" if self.fixes else "\nAll is well.")
        for fix in dict.fromkeys(self.fixes):
            self.say(f"  {fix}")
        return bool(self.fixes)


def _list_settings(settings: Settings, http: HttpSettings, say: Callable[[str], None]) -> None:
    """Print the settings that are set, and those that locate the data."""
    say(f"\nSettings ({settings.mode} mode; settings not listed have their defaults)")
    for setting in SETTINGS:
        value, source = _value(setting, settings, http), settings.sources[setting.variable]
        if source == "default" and (value is None or setting.field not in _WHERE):
            continue
        if value is None:
            source += f", not used in {settings.mode} mode"
        say(_line(setting.variable, _shown(setting, value), source))
    if settings.mode == "direct":
        for name in sorted(os.environ):
            if name.startswith("AWS_"):
                say(_line(name, MASK if _AWS_SECRET.search(name) else _text(name, os.environ[name]), "environment"))
    _list_lookalikes(os.environ, say)
    for warning in settings.warnings:
        say(f"  {warning}")


def _hide(settings: Settings) -> list[str]:
    """Return what doctor cannot check."""
    unseen = ["the environment that your MCP host gives the server, which may differ from this shell's"]
    if not settings.read_only:
        unseen.append("whether writing works, because doctor writes nothing")
    if settings.mode == "direct":
        unseen.append("whether the app's own role may use the table")
    return unseen


def _value(setting: Setting, settings: Settings, http: HttpSettings) -> Any:
    """Return None if the setting does not apply in this mode."""
    return getattr(settings, setting.field, getattr(http, setting.field, None))


def list_set_variables(environment: Mapping[str, str], flags: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Print the settings and their sources if they are invalid. Prints no secret."""
    say(f"ddb-mcp {__version__}\n\nSettings")
    for setting in SETTINGS:
        for values, source in ((flags, "flag"), (environment, "environment")):
            if value := values.get(setting.variable):
                say(_line(setting.variable, _shown(setting, value), source))
    for name in ("API_URL", "AUTH_TOKEN"):
        if name in environment:
            say(_line(name, MASK if environment[name] else "-", "environment"))
    _list_lookalikes(environment, say)
    say("")


def _list_lookalikes(environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    for name, advice in find_lookalikes(environment).items():
        say(escape_controls(_line(name, MASK, f"not a setting of ddb-mcp. {advice}")))  # it may well hold a token


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
    """Return the value of a variable; for a URL, without user, password, query and fragment, which may be secret."""
    if not re.search("UR[IL]", name) and "://" not in value:
        return value
    parts = re.fullmatch(r"(\w*:?//)?([^?#]*)([?#]?)(.*)", value, re.DOTALL)
    assert parts is not None
    scheme, address, mark, after = parts.groups("")
    if "@" in after:  # a ? or # within a password, or an @ after the path: the host cannot be found
        return f"{scheme}…"
    _, at, host = address.rpartition("@")
    return f"{scheme}{at and '…@'}{host}{mark and mark + '…'}"
