"""Settings: environment and flags -> one validated, immutable object. `SETTINGS` is the one list of them all."""

import difflib
import ipaddress
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.keys import Prefix

Mode = Literal["platform", "direct", "local"]
LOCAL_TABLE = "ddb-mcp-local"
LOCAL_PREFIX = "deploy#local"
DEFAULT_AUTH_COMMAND = "rebyte-auth"
DEFAULT_AUTH_FILE = "~/.rebyte.ai/auth.json"


@dataclass(frozen=True)
class Settings:
    """What the server was told, checked. Fields are None or empty where they do not apply to the mode.

    Attributes:
        prefix: None in platform mode, where the platform says it.
        sources: for each environment variable's name, where its value came from: `flag`, `environment` or `default`.
    """

    mode: Mode
    read_only: bool = False
    log_level: str = "WARNING"
    max_result_bytes: int = 32768
    read_budget: int = 100_000
    table: str | None = None
    prefix: Prefix | None = None
    lambda_functions: tuple[str, ...] = ()
    role_arn: str | None = None
    local_path: Path | None = None
    api_url: str | None = None
    auth_token: str | None = field(default=None, repr=False)
    auth_command: str | None = field(default=None, repr=False)
    auth_file: Path | None = None
    allow_http: bool = False
    http_token: str | None = field(default=None, repr=False)
    http_hosts: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)


def _text(name: str, value: str) -> str:
    return value


def _command(name: str, value: str) -> str:
    try:
        words = shlex.split(value, posix=os.name == "posix")
    except ValueError:
        raise Misconfigured(f"{name} has a quote that does not end.", next=f"Correct {name}.") from None
    if not words:
        raise Misconfigured(f"{name} is blank.", next="Set it to a command, or unset it.")
    return value


def _switch(name: str, value: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.lower() not in words:
        _refuse(name, value, ["true", "false"])
    return words[value.lower()]


def _one_of(*words: str) -> Callable[[str, str], str]:
    def parse(name: str, value: str) -> str:
        folded = value.upper() if words[0].isupper() else value.lower()
        if folded not in words:
            _refuse(name, value, list(words))
        return folded

    return parse


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        if not re.fullmatch("[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise Misconfigured(f"{name} is {value!r}.", next=f"Set it to a whole number from {least} to {most}.")
        return int(value)

    return parse


def _table(name: str, value: str) -> str:
    if not re.fullmatch("[a-zA-Z0-9_.-]{3,255}", value):
        raise Misconfigured(f"{name} is {value!r}.", next="A table name has 3 to 255 letters, digits, `_`, `-` or `.`.")
    return value


def _prefix(name: str, value: str) -> Prefix:
    return Prefix(value)


def _list(name: str, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise Misconfigured(f"{name} is {value!r}, and that home is not known.", next="Write the whole path.") from None


@dataclass(frozen=True)
class Setting:
    """One setting. `flag` is None for secrets: a command line is visible to every process of the machine."""

    variable: str
    field: str
    parse: Callable[[str, str], Any]
    modes: str
    help: str
    default: str = ""
    secret: bool = False

    @property
    def flag(self) -> str | None:
        return None if self.secret else "--" + self.variable.removeprefix("DDB_MCP_").lower().replace("_", "-")

    @property
    def is_switch(self) -> bool:
        return self.parse is _switch


SETTINGS = (
    Setting("DDB_MCP_MODE", "mode", _one_of(*get_args(Mode)), "all", "platform, direct or local", "by what is set"),
    Setting("DDB_MCP_READ_ONLY", "read_only", _switch, "all", "register only info, get, query and scan", "off"),
    Setting(
        "DDB_MCP_LOG_LEVEL",
        "log_level",
        _one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "all",
        "what goes to stderr",
        "WARNING",
    ),
    Setting(
        "DDB_MCP_MAX_RESULT_BYTES", "max_result_bytes", _whole(1024, 10_000_000), "all", "bytes of a result", "32768"
    ),
    Setting(
        "DDB_MCP_READ_BUDGET", "read_budget", _whole(1, 100_000_000), "all", "items that one call may read", "100000"
    ),
    Setting("DYNAMODB_TABLE", "table", _table, "direct, local", "the table", f"local: {LOCAL_TABLE}"),
    Setting(
        "DYNAMODB_PREFIX", "prefix", _prefix, "direct, local", "this deployment's prefix", f"local: {LOCAL_PREFIX}"
    ),
    Setting(
        "DDB_MCP_LAMBDA_FUNCTIONS",
        "lambda_functions",
        _list,
        "direct",
        "functions, separated by commas, that provision gives DYNAMODB_TABLE and DYNAMODB_PREFIX",
    ),
    Setting("DDB_MCP_ROLE_ARN", "role_arn", _text, "direct", "role to assume, limited to the prefix"),
    Setting("DDB_MCP_LOCAL_PATH", "local_path", _path, "local", "the SQLite file", "in the user's data directory"),
    Setting("DDB_MCP_API_URL", "api_url", _text, "platform", "the platform's address (or API_URL, with AUTH_TOKEN)"),
    Setting(
        "DDB_MCP_AUTH_TOKEN",
        "auth_token",
        _text,
        "platform",
        "bearer token for it (or AUTH_TOKEN, with API_URL)",
        secret=True,
    ),
    Setting(
        "DDB_MCP_AUTH_COMMAND",
        "auth_command",
        _command,
        "platform",
        "command that prints a token, or JSON with token and URL",
        f"{DEFAULT_AUTH_COMMAND} where it exists",
    ),
    Setting(
        "DDB_MCP_AUTH_FILE",
        "auth_file",
        _path,
        "platform",
        "JSON file with sandbox.token and sandbox.relay_url",
        DEFAULT_AUTH_FILE,
    ),
    Setting("DDB_MCP_ALLOW_HTTP", "allow_http", _switch, "platform", "allow http:// beyond this machine", "off"),
    Setting("DDB_MCP_HTTP_TOKEN", "http_token", _text, "all", "bearer token that --http demands", secret=True),
    Setting(
        "DDB_MCP_HTTP_HOSTS",
        "http_hosts",
        _list,
        "all",
        "host names, separated by commas, under which clients of --http know it besides this machine's own",
    ),
)
_BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}


def resolve(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> Settings:
    """The settings from the environment and from flags, which win.

    Args:
        environment: variables.
        flags: values by the name of the variable that the flag stands for.

    An empty value counts as unset in both.

    Raises:
        Misconfigured: an unknown DDB_MCP_ variable or value, or a mode that is only half configured.
    """
    for name in environment:
        if name.startswith("DDB_MCP_") and name not in _BY_VARIABLE:
            near = difflib.get_close_matches(name, _BY_VARIABLE, 1, cutoff=0.0)
            raise Misconfigured(f"{name} is not a setting of ddb-mcp.", next=f"Did you mean {near[0]}?")
    flags = {name: value for name, value in (flags or {}).items() if value}
    given = {name: environment[name] for name in _BY_VARIABLE if environment.get(name)} | flags
    sources = dict.fromkeys(given, "environment") | dict.fromkeys(flags, "flag")
    if "DDB_MCP_API_URL" not in given and environment.get("API_URL") and environment.get("AUTH_TOKEN"):
        given |= {"DDB_MCP_API_URL": environment["API_URL"], "DDB_MCP_AUTH_TOKEN": environment["AUTH_TOKEN"]}
        sources |= {"DDB_MCP_API_URL": "environment: API_URL", "DDB_MCP_AUTH_TOKEN": "environment: AUTH_TOKEN"}
    values = {_BY_VARIABLE[name].field: _BY_VARIABLE[name].parse(name, value) for name, value in given.items()}
    for setting in SETTINGS:
        sources.setdefault(setting.variable, "default")
    mode = values["mode"] = values.get("mode") or _mode(values)
    half = {"API_URL": "AUTH_TOKEN", "AUTH_TOKEN": "API_URL"}
    lacking = [other for name, other in half.items() if environment.get(name) and not environment.get(other)]
    completed: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "platform": partial(_platform, lacking),
        "direct": _direct,
        "local": _local,
    }
    applicable = {setting.field for setting in SETTINGS if setting.modes == "all" or mode in setting.modes}
    return Settings(**{name: v for name, v in completed[mode](values).items() if name in applicable}, sources=sources)


def _mode(values: Mapping[str, Any]) -> Mode:
    if "api_url" in values:
        return "platform"
    if "auth_token" in values:
        raise Misconfigured("DDB_MCP_AUTH_TOKEN is set without DDB_MCP_API_URL.", next="Set DDB_MCP_API_URL too.")
    if "table" in values:
        return "direct"
    if "auth_command" in values or "auth_file" in values or _at_home(DEFAULT_AUTH_FILE):
        return "platform"
    return "local"


def _platform(lacking: list[str], values: dict[str, Any]) -> dict[str, Any]:
    # API_URL and AUTH_TOKEN count only together, and a token goes only where its own source says: a command or a file
    # may bring the address along, a token alone may not.
    if "auth_token" in values and "api_url" not in values:
        _missing("DDB_MCP_API_URL", "platform")
    if "auth_token" not in values:
        if not {"auth_command", "auth_file"} & values.keys() and (command := default_auth_command()):
            values["auth_command"] = command
        file = _at_home(str(values.get("auth_file", DEFAULT_AUTH_FILE)))
        if "auth_file" in values and not file:
            raise Misconfigured(f"There is no file {values['auth_file']}.", next="Correct or unset DDB_MCP_AUTH_FILE.")
        values["auth_file"] = file
        if "auth_command" not in values and not file:
            _missing("DDB_MCP_AUTH_TOKEN" if "api_url" in values else [*lacking, "DDB_MCP_API_URL"][0], "platform")
    return values


def default_auth_command() -> str | None:
    """The platform's own token command, where this machine has it."""
    at_home = _at_home(f"~/.local/bin/{DEFAULT_AUTH_COMMAND}")
    return shutil.which(DEFAULT_AUTH_COMMAND) or (str(at_home) if at_home else None)


def _at_home(path: str) -> Path | None:
    """The file at a path such as `~/…`; None where there is none, no home, or one this user may not look into."""
    # Unlike the methods of Path, these two functions do not raise then.
    found = os.path.expanduser(path)
    return Path(found) if os.path.exists(found) else None


def _direct(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("DYNAMODB_TABLE", "DYNAMODB_PREFIX"):
        if _BY_VARIABLE[name].field not in values:
            _missing(name, "direct")
    return values


def _local(values: dict[str, Any]) -> dict[str, Any]:
    values.setdefault("table", LOCAL_TABLE)
    values.setdefault("prefix", Prefix(LOCAL_PREFIX))
    if "local_path" not in values:
        from platformdirs import user_data_path

        try:
            folder = user_data_path("ddb-mcp", appauthor=False)
        except RuntimeError:
            raise Misconfigured("This user has no data directory.", next="Set DDB_MCP_LOCAL_PATH to a file.") from None
        values["local_path"] = folder / f"{values['table']}.sqlite3"
    return values


def _missing(name: str, mode: str) -> NoReturn:
    raise Misconfigured(f"{mode} mode needs {name}, which is not set.", next=f"Set {name}, or choose another mode.")


def _refuse(name: str, value: str, words: list[str]) -> NoReturn:
    near = difflib.get_close_matches(value.lower(), [word.lower() for word in words], 1, cutoff=0.0)
    meant = next(word for word in words if word.lower() == near[0])
    raise Misconfigured(f"{name} is {value!r}.", next=f"Did you mean {meant!r}? It takes {', '.join(words)}.")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
