"""Every setting, declared once: the field that holds it, its variable and flag, how it is read, what it is for.

Settings             what every mode has
├── PlatformSettings
├── DirectStorage    a table behind DynamoDB's API: what a gateway over it needs
│   └── DirectSettings
└── LocalStorage     an SQLite file: what a gateway over it needs
    └── LocalSettings
HttpSettings         what serving MCP over HTTP needs besides
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from ddb_mcp.config import values
from ddb_mcp.config.loaders import Kind
from ddb_mcp.core.indexes import Index
from ddb_mcp.core.keys import Prefix

Mode = Literal["platform", "direct", "local"]
LOCAL_TABLE = "ddb-mcp-local"
LOCAL_PREFIX = "deploy#local"
DEFAULT_AUTH_COMMAND = "rebyte-auth"
DEFAULT_AUTH_FILE = "~/.rebyte.ai/auth.json"


class Setting(NamedTuple):
    """One setting. `flag` is None for secrets: a command line is visible to every process of the machine.

    Attributes:
        parse: reads and checks the value; takes the variable's name and the text.
        help: what it is for, in a few words.
        default: the default in words, if it differs from the field's own.
        field: the name of the field that holds it.
        modes: the modes that it counts in, separated by commas, or `all`.
    """

    variable: str
    parse: Callable[[str, str], Any]
    help: str
    default: str = ""
    secret: bool = False
    field: str = ""
    modes: str = "all"

    @property
    def flag(self) -> str | None:
        """Return the flag of the command line, None if there is none."""
        return None if self.secret else self.word

    @property
    def word(self) -> str:
        """Return the variable, written as a flag."""
        return "--" + self.variable.removeprefix("DDB_MCP_").lower().replace("_", "-")

    @property
    def kind(self) -> Kind:
        """Return the kind of text, for the checks of `loaders`."""
        if self.secret:
            return "secret"
        return (
            "path" if self.parse is values.parse_file else "command" if self.parse is values.parse_command else "plain"
        )

    @property
    def is_switch(self) -> bool:
        """Return whether the flag takes no value."""
        return self.parse is values.parse_switch


MODE = Setting(
    "DDB_MCP_MODE",
    values.make_choice_parser(*get_args(Mode)),
    "platform, direct or local",
    "by what is set",
    field="mode",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of every mode.

    Attributes:
        sources: where a value came from, by the name of its variable: `flag`, `environment` or `default`; for the
            mode, also why it was chosen.
        warnings: what was ignored, and why.
    """

    mode: ClassVar[Mode]
    read_only: Annotated[
        bool, Setting("DDB_MCP_READ_ONLY", values.parse_switch, "register only info, get, query and scan")
    ] = False
    log_level: Annotated[
        str,
        Setting(
            "DDB_MCP_LOG_LEVEL", values.make_choice_parser("DEBUG", "INFO", "WARNING", "ERROR"), "what goes to stderr"
        ),
    ] = "WARNING"
    max_result_bytes: Annotated[
        int, Setting("DDB_MCP_MAX_RESULT_BYTES", values.make_integer_parser(1024, 10_000_000), "bytes of a result")
    ] = 32768
    read_budget: Annotated[
        int, Setting("DDB_MCP_READ_BUDGET", values.make_integer_parser(1, 100_000_000), "items that one call may read")
    ] = 100_000
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)


Table = Annotated[str, Setting("DYNAMODB_TABLE", values.parse_table, "the table", f"local: {LOCAL_TABLE}")]
OwnPrefix = Annotated[
    Prefix, Setting("DYNAMODB_PREFIX", values.parse_prefix, "this deployment's prefix", f"local: {LOCAL_PREFIX}")
]


Indexes = Annotated[
    tuple[Index, ...],
    Setting(
        "DDB_MCP_INDEXES",
        values.parse_index_definitions,
        "secondary indexes that provision creates: NAME=PK[:TYPE][,SK[:TYPE]]; …",
    ),
]
SharedIndexes = Annotated[
    tuple[str, ...],
    Setting(
        "DDB_MCP_SHARED_INDEXES",
        values.parse_words,
        "indexes, separated by commas, whose keys need no prefix; * for all, in a table of this app alone",
    ),
]


@dataclass(frozen=True, kw_only=True)
class DirectStorage(Settings):
    """A table behind DynamoDB's API. AWS's own variables and files are read by boto3."""

    mode: ClassVar[Mode] = "direct"
    table: Table
    indexes: Indexes = ()


@dataclass(frozen=True, kw_only=True)
class DirectSettings(DirectStorage):
    """One deployment in a table behind DynamoDB's API."""

    prefix: OwnPrefix
    lambda_functions: Annotated[
        tuple[str, ...],
        Setting(
            "DDB_MCP_LAMBDA_FUNCTIONS",
            values.parse_words,
            "functions, separated by commas, that provision gives DYNAMODB_TABLE and DYNAMODB_PREFIX",
        ),
    ] = ()
    role_arn: Annotated[
        str, Setting("DDB_MCP_ROLE_ARN", values.parse_text, "role to assume, limited to the prefix")
    ] = ""
    shared_indexes: SharedIndexes = ()


@dataclass(frozen=True, kw_only=True)
class LocalStorage(Settings):
    """An SQLite file on this machine. `registry`: it is a gateway's registry, which is never read as data."""

    mode: ClassVar[Mode] = "local"
    table: Table = LOCAL_TABLE
    local_path: Annotated[
        Path, Setting("DDB_MCP_LOCAL_PATH", values.parse_file, "the SQLite file", "in the user's data directory")
    ]
    indexes: Indexes = ()
    registry: bool = False


def registry_path(local_path: Path) -> Path:
    """Return the file of the registry of a gateway over this local file."""
    return local_path.with_name(f"{local_path.stem}-gateway{local_path.suffix}")


@dataclass(frozen=True, kw_only=True)
class LocalSettings(LocalStorage):
    """One deployment in an SQLite file on this machine."""

    prefix: OwnPrefix = field(default_factory=lambda: Prefix(LOCAL_PREFIX))
    shared_indexes: SharedIndexes = ()


@dataclass(frozen=True, kw_only=True)
class PlatformSettings(Settings):
    """A platform's HTTP API. Empty: the address comes with the token, or the token comes from a command or file.

    Attributes:
        auth_file: need not exist if there is a token or a command.
    """

    mode: ClassVar[Mode] = "platform"
    api_url: Annotated[
        str, Setting("DDB_MCP_API_URL", values.parse_address, "the platform's address (or API_URL, with AUTH_TOKEN)")
    ] = ""
    auth_token: Annotated[
        str,
        Setting(
            "DDB_MCP_AUTH_TOKEN", values.parse_text, "bearer token for it (or AUTH_TOKEN, with API_URL)", secret=True
        ),
    ] = field(default="", repr=False)
    auth_command: Annotated[
        str,
        Setting(
            "DDB_MCP_AUTH_COMMAND",
            values.parse_command,
            "command that prints a token, or JSON with token and URL",
            f"{DEFAULT_AUTH_COMMAND} if it exists",
        ),
    ] = field(default="", repr=False)
    auth_file: Annotated[
        Path,
        Setting(
            "DDB_MCP_AUTH_FILE",
            values.parse_file,
            "JSON file with sandbox.token and sandbox.relay_url",
            DEFAULT_AUTH_FILE,
        ),
    ] = Path(DEFAULT_AUTH_FILE)
    allow_http: Annotated[
        bool, Setting("DDB_MCP_ALLOW_HTTP", values.parse_switch, "allow http:// beyond this machine")
    ] = False


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """The settings of `--http`. An empty token: none is demanded."""

    http_token: Annotated[
        str, Setting("DDB_MCP_HTTP_TOKEN", values.parse_text, "bearer token that --http requires", secret=True)
    ] = field(default="", repr=False)
    http_hosts: Annotated[
        tuple[str, ...],
        Setting(
            "DDB_MCP_HTTP_HOSTS",
            values.parse_words,
            "host names, separated by commas, that clients of --http may use besides this machine's own",
        ),
    ] = ()


ModeSettings = PlatformSettings | DirectSettings | LocalSettings
GatewaySettings = DirectStorage | LocalStorage


def list_declared(kind: type[Any]) -> dict[str, Setting]:
    """Return the settings of a dataclass, by the name of their field, in order."""
    settings = {}
    for member in fields(kind):
        for setting in getattr(member.type, "__metadata__", ()):
            default = setting.default or _describe_default(member.default)
            settings[member.name] = setting._replace(field=member.name, default=default)
    return settings


def _describe_default(default: object) -> str:
    if default is False:
        return "off"
    return str(default) if isinstance(default, int | str) else ""


def _list_all() -> tuple[Setting, ...]:
    by_mode = {kind.mode: list_declared(kind) for kind in (DirectSettings, LocalSettings, PlatformSettings)}
    common = list_declared(Settings)
    settings = {MODE.field: MODE} | common | by_mode["direct"] | by_mode["local"] | by_mode["platform"]
    for name, setting in settings.items():
        modes = [mode for mode, own in by_mode.items() if name in own and name not in common]
        settings[name] = setting._replace(modes=", ".join(modes) or "all")
    return (*settings.values(), *list_declared(HttpSettings).values())


SETTINGS = _list_all()
BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}
