"""Decides the mode, and makes the settings of that mode."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

from ddb_mcp.config.loaders import check_loaded
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
    list_declared,
)
from ddb_mcp.core.errors import Misconfigured

_S = TypeVar("_S", bound=Settings)

_AWS = re.compile(
    "AWS_(?:PROFILE|REGION|DEFAULT_REGION|ENDPOINT_URL(?:_[A-Z]+)?"
    "|(?P<path>CONFIG_FILE|SHARED_CREDENTIALS_FILE)"
    "|(?P<secret>ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN))"
)

_OR_LOCAL = ", or DDB_MCP_MODE=local if the local file is meant."
# Variables of a platform's own machines. They count only if both are set.
_PAIR = {"API_URL": "DDB_MCP_API_URL", "AUTH_TOKEN": "DDB_MCP_AUTH_TOKEN"}


def resolve_settings(
    environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> ModeSettings:
    """The settings from the environment and from flags, which win.

    Args:
        environment: variables.
        flags: values by the name of the variable that the flag stands for.

    Raises:
        Misconfigured: an unknown variable or value, or a mode that is only half configured.
    """
    configured = _RawSettings.read(environment, flags or {})
    match configured.choose_mode():
        case "platform":
            return _make_platform_settings(configured)
        case "direct":
            return configured.make(DirectSettings)
        case _:
            return _make_local_settings(configured, LocalSettings)


def resolve_local(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> LocalSettings:
    """Return the settings of a command that only works on the local file, whatever mode the variables choose.

    See `resolve_settings`.
    """
    configured = _RawSettings.read(environment, flags or {})
    if configured.values.get("mode", "local") != "local":
        raise Misconfigured(
            f"This command works on the local file, and the mode is {configured.values['mode']}.",
            next="Set DDB_MCP_MODE to local, or unset it.",
        )
    return _make_local_settings(configured, LocalSettings)


def resolve_gateway(
    environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> GatewaySettings:
    """The settings of a gateway, which has no prefix of its own. See `resolve_settings`.

    Raises:
        Misconfigured: as `resolve_settings` does, and where a setting only makes sense for one prefix.
    """
    configured = _RawSettings.read(environment, flags or {})
    for name in ("role_arn", "lambda_functions"):
        if configured.values.get(name):
            variable = next(setting.variable for setting in SETTINGS if setting.field == name)
            raise Misconfigured(f"{variable} is for one prefix, and a gateway serves many.", next=f"Unset {variable}.")
    match configured.choose_mode():
        case "platform":
            raise Misconfigured(
                "The gateway serves direct or local storage.", next="Set DDB_MCP_MODE to direct or local."
            )
        case "direct":
            return configured.make(DirectStorage)
        case _:
            return _make_local_settings(configured, LocalStorage)


def resolve_http(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> HttpSettings:
    """The settings of serving over HTTP. See `resolve_settings`."""
    values = _RawSettings.read(environment, flags or {}).values
    return HttpSettings(**{name: values[name] for name in list_declared(HttpSettings) if name in values})


def _check_aws(environment: Mapping[str, str]) -> None:
    """Raise Misconfigured where a loader has damaged one of AWS's own variables. boto3 reads these variables."""
    for name, value in environment.items():
        if value and (found := _AWS.fullmatch(name)):
            check_loaded(name, value, "secret" if found["secret"] else "path" if found["path"] else "plain")


class _RawSettings(NamedTuple):
    """What environment and flags give.

    Attributes:
        values: by the name of the field.
        sources: by the name of the variable.
        empty: names of variables and flags that are set to nothing.
        environment: all of it, as it came.
    """

    values: dict[str, Any]
    sources: dict[str, str]
    empty: frozenset[str]
    environment: Mapping[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str], flags: Mapping[str, str]) -> "_RawSettings":
        """The settings in environment and flags. An empty value counts as unset.

        Raises:
            Misconfigured: a name that is near a setting's, or a value that is none.
        """
        check_names(environment)
        empty = frozenset(name for name, value in {**environment, **flags}.items() if not value)
        flags = {name: value for name, value in flags.items() if value}
        found = {name: environment[name] for name in BY_VARIABLE if environment.get(name)} | flags
        sources = dict.fromkeys(BY_VARIABLE, "default") | dict.fromkeys(found, "environment")
        sources |= dict.fromkeys(flags, "flag")
        names = {name: name for name in found}
        if "DDB_MCP_API_URL" not in found and all(environment.get(name) for name in _PAIR):
            for name, variable in _PAIR.items():
                found[variable], sources[variable], names[variable] = environment[name], f"environment: {name}", name
        values = {}
        for variable, value in found.items():
            setting = BY_VARIABLE[variable]
            check_loaded(names[variable], value, setting.kind)
            values[setting.field] = setting.parse(names[variable], value)
        return cls(values, sources, empty, environment)

    def choose_mode(self) -> Mode:
        """The mode that was chosen, or that the rest means.

        Raises:
            Misconfigured: what decides the mode is set by half, or to nothing.
        """
        values = self.values
        if chosen := values.get("mode"):
            return cast("Mode", chosen)
        if "api_url" in values:
            return "platform"
        if "auth_token" in values:
            raise Misconfigured("DDB_MCP_AUTH_TOKEN is set without DDB_MCP_API_URL.", next="Set DDB_MCP_API_URL too.")
        self._refuse_half_a_pair(*(name for name in _PAIR if name in self.environment))
        if "table" in values:
            return "direct"
        if "DYNAMODB_TABLE" in self.empty and "prefix" in values:
            raise Misconfigured(
                "DYNAMODB_TABLE is set to nothing, and DYNAMODB_PREFIX is set.", next=f"Set DYNAMODB_TABLE{_OR_LOCAL}"
            )
        if {"auth_command", "auth_file"} & values.keys() or _file_exists(DEFAULT_AUTH_FILE):
            return "platform"
        self._refuse_half_a_pair(*_PAIR)
        for setting in SETTINGS:
            if setting.field in values and "local" not in setting.modes and setting.modes != "all":
                raise Misconfigured(
                    f"{setting.variable} counts in {setting.modes} mode only, and no other setting chooses that mode.",
                    next=f"Complete the settings of {setting.modes} mode{_OR_LOCAL}",
                )
        return "local"

    def _refuse_half_a_pair(self, *names: str) -> None:
        """Raise Misconfigured where one of `names` is set and another is not, or is set to nothing."""
        empty = [name for name in names if not self.environment.get(name)]
        if empty and len(empty) < len(names):
            (name,) = empty
            other = next(other for other in _PAIR if other != name)
            how = "is set to nothing" if name in self.empty else "is not set"
            raise Misconfigured(f"{other} is set, and {name} {how}.", next=f"Set {name}{_OR_LOCAL}")

    def make(self, kind: type[_S]) -> _S:
        """The settings of one class. Raises Misconfigured where a required one is missing; see `_check_aws` too."""
        if kind.mode == "direct":
            _check_aws(self.environment)
        for member in fields(kind):
            if member.default is member.default_factory is MISSING and member.name not in self.values:
                raise_missing(list_declared(kind)[member.name].variable, kind.mode)
        own = {name: self.values[name] for name in list_declared(kind) if name in self.values}
        return kind(**own, sources=self.sources)


def _make_platform_settings(configured: _RawSettings) -> PlatformSettings:
    # A token goes only where its own source says: a command or a file may bring the address along, a token may not.
    values, environment = configured.values, configured.environment
    if "auth_token" in values:
        if "api_url" not in values:
            raise_missing("DDB_MCP_API_URL", "platform")
        return configured.make(PlatformSettings)
    if not {"auth_command", "auth_file"} & values.keys() and (command := default_auth_command()):
        values["auth_command"] = command
    if "auth_file" in values and not _file_exists(str(values["auth_file"])):
        raise Misconfigured(f"There is no file {values['auth_file']}.", next="Correct or unset DDB_MCP_AUTH_FILE.")
    values.setdefault("auth_file", Path(os.path.expanduser(DEFAULT_AUTH_FILE)))
    if "auth_command" not in values and not _file_exists(str(values["auth_file"])):
        if "api_url" in values:
            raise_missing("DDB_MCP_AUTH_TOKEN", "platform")
        lacking = [name for name in _PAIR if not environment.get(name)]
        raise_missing(lacking[0] if len(lacking) == 1 else "DDB_MCP_API_URL", "platform")
    return configured.make(PlatformSettings)


def default_auth_command() -> str | None:
    """The platform's own token command, where this machine has it."""
    at_home = os.path.expanduser(f"~/.local/bin/{DEFAULT_AUTH_COMMAND}")
    return shutil.which(DEFAULT_AUTH_COMMAND) or (at_home if os.path.exists(at_home) else None)


def _file_exists(path: str) -> bool:
    """Whether there is a file; not where there is no home, or one that this user may not look into."""
    # Unlike the methods of Path, these two functions do not raise then.
    return os.path.exists(os.path.expanduser(path))


def _make_local_settings(configured: _RawSettings, kind: type[_S]) -> _S:
    if "local_path" not in configured.values:
        from platformdirs import user_data_path

        try:
            # Old versions of platformdirs leave a `~` that stands for no home; `expanduser` raises then.
            folder = user_data_path("ddb-mcp", appauthor=False).expanduser()
        except RuntimeError:
            raise Misconfigured("This user has no data directory.", next="Set DDB_MCP_LOCAL_PATH to a file.") from None
        configured.values["local_path"] = folder / f"{configured.values.get('table', LOCAL_TABLE)}.sqlite3"
    # A registry and further tables lie beside the file itself, not beside a symbolic link to it.
    configured.values["local_path"] = Path(os.path.realpath(configured.values["local_path"]))
    return configured.make(kind)


def raise_missing(name: str, mode: str) -> NoReturn:
    """Raise Misconfigured for a variable that a mode needs and that is not set."""
    raise Misconfigured(f"{mode} mode needs {name}, which is not set.", next=f"Set {name}, or choose another mode.")
