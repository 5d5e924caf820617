"""Decides the mode, and makes the settings of that mode."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from ddb_mcp.config.loaders import check_loaded
from ddb_mcp.config.names import check_names
from ddb_mcp.config.settings import (
    BY_VARIABLE,
    DEFAULT_AUTH_COMMAND,
    DEFAULT_AUTH_FILE,
    LOCAL_TABLE,
    MODE,
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

_S = TypeVar("_S", bound=Settings | HttpSettings)

_AWS = re.compile(
    "AWS_(?:PROFILE|REGION|DEFAULT_REGION|ENDPOINT_URL(?:_[A-Z]+)?"
    "|(?P<path>CONFIG_FILE|SHARED_CREDENTIALS_FILE)"
    "|(?P<secret>ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN))"
)

_OR_LOCAL = ", or DDB_MCP_MODE=local to use the local file."
# Variables of a platform's own machines, with common names: they count only if both are set.
_PAIR = {"API_URL": "DDB_MCP_API_URL", "AUTH_TOKEN": "DDB_MCP_AUTH_TOKEN"}


def resolve_settings(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] = {}) -> ModeSettings:
    """Return the settings from the environment and from flags, which win.

    Args:
        environment: variables.
        flags: values by the name of the flag's variable.

    Raises:
        Misconfigured: an unknown variable or value, or a mode that is only half configured.
    """
    configured = _RawSettings.read(environment, flags)
    match configured.choose_mode():
        case "platform":
            return _make_platform_settings(configured)
        case "direct":
            return configured.make(DirectSettings)
        case _:
            return _make_local_settings(configured, LocalSettings)


def resolve_local(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] = {}) -> LocalSettings:
    """Return the settings of a command that only works on the local file, whatever mode the variables choose.

    See `resolve_settings`.
    """
    configured = _RawSettings.read(environment, flags)
    if configured.values.get("mode", "local") != "local":
        raise Misconfigured(
            f"This command works on the local file, and the mode is {configured.values['mode']}.",
            next="Set DDB_MCP_MODE to local, or unset it.",
        )
    return _make_local_settings(configured, LocalSettings)


def resolve_gateway(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] = {}) -> GatewaySettings:
    """Return the settings of a gateway, which has no prefix. See `resolve_settings`.

    Raises:
        Misconfigured: as `resolve_settings` does, and if a setting only makes sense for one prefix.
    """
    configured = _RawSettings.read(environment, flags)
    for variable in ("DDB_MCP_ROLE_ARN", "DDB_MCP_LAMBDA_FUNCTIONS", "DDB_MCP_SHARED_INDEXES"):
        if variable in configured.given:
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


def resolve_http(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] = {}) -> HttpSettings:
    """Return the settings of serving over HTTP. See `resolve_settings`."""
    return _RawSettings.read(environment, flags).make(HttpSettings)


class _RawSettings(NamedTuple):
    """The values from the environment and from flags. An empty value counts as unset.

    Attributes:
        values: by the name of the field.
        sources: by the name of the variable, see `Settings`.
        given: the text of each variable and flag that is not empty.
        empty: names of variables and flags that are set to nothing.
        warnings: see `Settings`; `choose_mode` adds to them.
    """

    values: dict[str, Any]
    sources: dict[str, str]
    given: Mapping[str, str]
    empty: frozenset[str]
    warnings: list[str]

    @classmethod
    def read(cls, environment: Mapping[str, str], flags: Mapping[str, str]) -> "_RawSettings":
        """Return the settings in environment and flags.

        Raises:
            Misconfigured: a name is nearly that of a setting, or a value is invalid.
        """
        check_names(environment)
        named = {**flags, **environment, **{name: value for name, value in flags.items() if value}}
        given = {name: value for name, value in named.items() if value}
        sources = {
            name: "flag" if flags.get(name) else "environment" if name in given else "default" for name in BY_VARIABLE
        }
        names = {name: name for name in BY_VARIABLE if name in given}
        if "DDB_MCP_API_URL" not in given and _PAIR.keys() <= given.keys():
            for name, variable in _PAIR.items():
                names[variable], sources[variable] = name, f"environment: {name}"
        values = {}
        for variable, name in names.items():
            setting = BY_VARIABLE[variable]
            check_loaded(name, given[name], setting.kind)
            values[setting.field] = setting.parse(name, given[name])
        return cls(values, sources, given, frozenset(named.keys() - given.keys()), [])

    def choose_mode(self) -> Mode:
        """Return the mode, and note in `sources` why it was chosen.

        Raises:
            Misconfigured: what decides the mode is half set, or set to nothing.
        """
        if chosen := self.values.get("mode"):
            return cast("Mode", chosen)
        mode, reason = self._infer_mode()
        self.sources[MODE.variable] = f"default, because {reason}"
        return mode

    def _infer_mode(self) -> tuple[Mode, str]:
        values = self.values
        if "api_url" in values:
            return "platform", self._describe_set("DDB_MCP_API_URL")
        if "auth_token" in values:
            raise Misconfigured("DDB_MCP_AUTH_TOKEN is set without DDB_MCP_API_URL.", next="Set DDB_MCP_API_URL too.")
        self._check_half_a_pair()
        if "table" in values:
            return "direct", self._describe_set("DYNAMODB_TABLE")
        if "DYNAMODB_TABLE" in self.empty and "prefix" in values:
            raise Misconfigured(
                "DYNAMODB_TABLE is empty, and DYNAMODB_PREFIX is set.", next=f"Set DYNAMODB_TABLE{_OR_LOCAL}"
            )
        for variable in ("DDB_MCP_AUTH_COMMAND", "DDB_MCP_AUTH_FILE"):
            if variable in self.given:
                return "platform", self._describe_set(variable)
        if _file_exists(DEFAULT_AUTH_FILE):
            return "platform", f"{DEFAULT_AUTH_FILE} exists"
        for setting in SETTINGS:
            if setting.field in values and "local" not in setting.modes and setting.modes != "all":
                raise Misconfigured(
                    f"{setting.variable} applies to {setting.modes} mode only, and no other setting selects that mode.",
                    next=f"Complete the settings of {setting.modes} mode{_OR_LOCAL}",
                )
        return "local", "nothing selects another mode"

    def _describe_set(self, variable: str) -> str:
        source = self.sources[variable]
        return "API_URL and AUTH_TOKEN are set" if source == "environment: API_URL" else f"{variable} is set"

    def _check_half_a_pair(self) -> None:
        """Warn if one of the pair is set and the other absent. Raise Misconfigured if the other is empty."""
        found = [name for name in _PAIR if name in self.given]
        if len(found) != 1:
            return
        (name,) = found
        (other,) = _PAIR.keys() - {name}
        if other in self.empty:
            raise Misconfigured(f"{name} is set, and {other} is empty.", next=f"Set {other}{_OR_LOCAL}")
        self.warnings.append(f"{name} is ignored, because {other} is not set; together they select platform mode.")

    def make(self, kind: type[_S]) -> _S:
        """Return the settings of one class. Raises Misconfigured if a required one is missing; see `_check_aws` too."""
        if issubclass(kind, DirectStorage):
            _check_aws(self.given)
        declared = list_declared(kind)
        for member in fields(kind):
            if member.default is member.default_factory is MISSING and member.name not in self.values:
                raise _missing_error(declared[member.name].variable, "direct")
        own = {name: self.values[name] for name in declared if name in self.values}
        if issubclass(kind, Settings):
            own |= {"sources": self.sources, "warnings": tuple(self.warnings)}
        return kind(**own)


def _check_aws(given: Mapping[str, str]) -> None:
    """Raise Misconfigured if a loader has damaged one of AWS's own variables, which boto3 reads."""
    for name, value in given.items():
        if found := _AWS.fullmatch(name):
            check_loaded(name, value, "secret" if found["secret"] else "path" if found["path"] else "plain")


def _make_platform_settings(configured: _RawSettings) -> PlatformSettings:
    # A token goes only where its own source says: a command or a file may bring the address along, a token may not.
    values = configured.values
    if "auth_token" in values:
        if "api_url" not in values:
            raise _missing_error("DDB_MCP_API_URL", "platform")
        return configured.make(PlatformSettings)
    if not {"auth_command", "auth_file"} & values.keys() and (command := _find_auth_command()):
        values["auth_command"] = command
    if "auth_file" in values and not _file_exists(str(values["auth_file"])):
        raise Misconfigured(f"{values['auth_file']} does not exist.", next="Correct or unset DDB_MCP_AUTH_FILE.")
    values.setdefault("auth_file", Path(os.path.expanduser(DEFAULT_AUTH_FILE)))
    if "auth_command" not in values and not _file_exists(str(values["auth_file"])):
        if "api_url" in values:
            raise _missing_error("DDB_MCP_AUTH_TOKEN", "platform")
        lacking = [name for name in _PAIR if name not in configured.given]
        raise _missing_error(lacking[0] if len(lacking) == 1 else "DDB_MCP_API_URL", "platform")
    return configured.make(PlatformSettings)


def _find_auth_command() -> str | None:
    """Return the platform's own token command if this machine has it."""
    at_home = os.path.expanduser(f"~/.local/bin/{DEFAULT_AUTH_COMMAND}")
    return shutil.which(DEFAULT_AUTH_COMMAND) or (at_home if os.path.exists(at_home) else None)


def _file_exists(path: str) -> bool:
    # Unlike the methods of Path, these functions do not raise without a home, or in one that this user may not read.
    return os.path.exists(os.path.expanduser(path))


def _make_local_settings(configured: _RawSettings, kind: type[_S]) -> _S:
    if "local_path" not in configured.values:
        from platformdirs import user_data_path

        try:
            # Old versions of platformdirs leave a `~` without a home; `expanduser` raises then.
            folder = user_data_path("ddb-mcp", appauthor=False).expanduser()
        except RuntimeError:
            raise Misconfigured("This user has no data directory.", next="Set DDB_MCP_LOCAL_PATH to a file.") from None
        configured.values["local_path"] = folder / f"{configured.values.get('table', LOCAL_TABLE)}.sqlite3"
    # A registry and further tables lie beside the file itself, not beside a symbolic link to it.
    configured.values["local_path"] = Path(os.path.realpath(configured.values["local_path"]))
    return configured.make(kind)


def _missing_error(name: str, mode: str) -> Misconfigured:
    return Misconfigured(f"{mode} mode needs {name}, which is not set.", next=f"Set {name}, or select another mode.")
