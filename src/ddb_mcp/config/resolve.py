"""Which mode holds, and the settings of that mode."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from ddb_mcp.config.names import check_names
from ddb_mcp.config.settings import (
    BY_VARIABLE,
    DEFAULT_AUTH_COMMAND,
    DEFAULT_AUTH_FILE,
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
    Settings,
    declared,
)
from ddb_mcp.core.errors import Misconfigured

_S = TypeVar("_S", bound=Settings)

# The names that a platform's own machines have; they count together only.
_PAIR = {"API_URL": "DDB_MCP_API_URL", "AUTH_TOKEN": "DDB_MCP_AUTH_TOKEN"}


def resolve(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> ModeSettings:
    """The settings from the environment and from flags, which win.

    Args:
        environment: variables.
        flags: values by the name of the variable that the flag stands for.

    Raises:
        Misconfigured: an unknown variable or value, or a mode that is only half configured.
    """
    given = _Given.read(environment, flags or {})
    match given.mode():
        case "platform":
            return _platform(given)
        case "direct":
            return given.settings(DirectSettings)
        case _:
            return _local(given, LocalSettings)


def resolve_local(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> LocalSettings:
    """The settings of what only works on the local file, whatever other mode the variables mean. See `resolve`."""
    given = _Given.read(environment, flags or {})
    if given.values.get("mode", "local") != "local":
        raise Misconfigured(
            f"This command works on the local file, and the mode is {given.values['mode']}.",
            next="Set DDB_MCP_MODE to local, or unset it.",
        )
    return _local(given, LocalSettings)


def resolve_gateway(
    environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> GatewaySettings:
    """The settings of a gateway, which has no prefix of its own. See `resolve`.

    Raises:
        Misconfigured: as `resolve` does, and where a setting only makes sense for one prefix.
    """
    given = _Given.read(environment, flags or {})
    for name in ("role_arn", "lambda_functions"):
        if given.values.get(name):
            variable = next(setting.variable for setting in SETTINGS if setting.field == name)
            raise Misconfigured(f"{variable} is for one prefix, and a gateway serves many.", next=f"Unset {variable}.")
    match given.mode():
        case "platform":
            raise Misconfigured(
                "The gateway serves direct or local storage.", next="Set DDB_MCP_MODE to direct or local."
            )
        case "direct":
            return given.settings(DirectStorage)
        case _:
            return _local(given, LocalStorage)


def resolve_http(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> HttpSettings:
    """The settings of serving over HTTP. See `resolve`."""
    values = _Given.read(environment, flags or {}).values
    return HttpSettings(**{name: values[name] for name in declared(HttpSettings) if name in values})


@dataclass(frozen=True)
class _Given:
    """What was set.

    Attributes:
        values: by the name of the field.
        sources: by the name of the variable.
        environment: as it was given.
    """

    values: dict[str, Any]
    sources: dict[str, str]
    environment: Mapping[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str], flags: Mapping[str, str]) -> "_Given":
        """Raises Misconfigured for an unknown name and for a value that is none. An empty value counts as unset."""
        check_names(environment)
        flags = {name: value for name, value in flags.items() if value}
        found = {name: environment[name] for name in BY_VARIABLE if environment.get(name)} | flags
        sources = dict.fromkeys(BY_VARIABLE, "default") | dict.fromkeys(found, "environment")
        sources |= dict.fromkeys(flags, "flag")
        names = {name: name for name in found}
        if "DDB_MCP_API_URL" not in found and all(environment.get(name) for name in _PAIR):
            for name, variable in _PAIR.items():
                found[variable], sources[variable], names[variable] = environment[name], f"environment: {name}", name
        values = {
            BY_VARIABLE[variable].field: BY_VARIABLE[variable].parse(names[variable], value)
            for variable, value in found.items()
        }
        return cls(values, sources, environment)

    def mode(self) -> Mode:
        """The mode that was chosen, or that the rest means."""
        values = self.values
        if chosen := values.get("mode"):
            return cast("Mode", chosen)
        if "api_url" in values:
            return "platform"
        if "auth_token" in values:
            raise Misconfigured("DDB_MCP_AUTH_TOKEN is set without DDB_MCP_API_URL.", next="Set DDB_MCP_API_URL too.")
        if "table" in values:
            return "direct"
        if {"auth_command", "auth_file"} & values.keys() or _exists(DEFAULT_AUTH_FILE):
            return "platform"
        return "local"

    def settings(self, kind: type[_S]) -> _S:
        """The settings of one class. Raises Misconfigured where one is missing that has no default."""
        for member in fields(kind):
            if member.default is member.default_factory is MISSING and member.name not in self.values:
                missing(declared(kind)[member.name].variable, kind.mode)
        own = {name: self.values[name] for name in declared(kind) if name in self.values}
        return kind(**own, sources=self.sources)


def _platform(given: _Given) -> PlatformSettings:
    # A token goes only where its own source says: a command or a file may bring the address along, a token may not.
    values, environment = given.values, given.environment
    if "auth_token" in values:
        if "api_url" not in values:
            missing("DDB_MCP_API_URL", "platform")
        return given.settings(PlatformSettings)
    if not {"auth_command", "auth_file"} & values.keys() and (command := default_auth_command()):
        values["auth_command"] = command
    if "auth_file" in values and not _exists(str(values["auth_file"])):
        raise Misconfigured(f"There is no file {values['auth_file']}.", next="Correct or unset DDB_MCP_AUTH_FILE.")
    values.setdefault("auth_file", Path(os.path.expanduser(DEFAULT_AUTH_FILE)))
    if "auth_command" not in values and not _exists(str(values["auth_file"])):
        if "api_url" in values:
            missing("DDB_MCP_AUTH_TOKEN", "platform")
        lacking = [name for name in _PAIR if not environment.get(name)]
        missing(lacking[0] if len(lacking) == 1 else "DDB_MCP_API_URL", "platform")
    return given.settings(PlatformSettings)


def default_auth_command() -> str | None:
    """The platform's own token command, where this machine has it."""
    at_home = os.path.expanduser(f"~/.local/bin/{DEFAULT_AUTH_COMMAND}")
    return shutil.which(DEFAULT_AUTH_COMMAND) or (at_home if os.path.exists(at_home) else None)


def _exists(path: str) -> bool:
    """Whether there is a file; not where there is no home, or one that this user may not look into."""
    # Unlike the methods of Path, these two functions do not raise then.
    return os.path.exists(os.path.expanduser(path))


def _local(given: _Given, kind: type[_S]) -> _S:
    if "local_path" not in given.values:
        from platformdirs import user_data_path

        try:
            folder = user_data_path("ddb-mcp", appauthor=False)
        except RuntimeError:
            raise Misconfigured("This user has no data directory.", next="Set DDB_MCP_LOCAL_PATH to a file.") from None
        given.values["local_path"] = folder / f"{given.values.get('table', LOCAL_TABLE)}.sqlite3"
    return given.settings(kind)


def missing(name: str, mode: str) -> NoReturn:
    raise Misconfigured(f"{mode} mode needs {name}, which is not set.", next=f"Set {name}, or choose another mode.")
