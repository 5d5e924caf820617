"""The table of commands: purpose, settings and module of each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ddb_mcp.config.resolve import resolve_gateway, resolve_local, resolve_settings
from ddb_mcp.config.settings import (
    SETTINGS,
    DirectSettings,
    DirectStorage,
    HttpSettings,
    LocalSettings,
    LocalStorage,
    PlatformSettings,
    Setting,
    Settings,
    list_declared,
)

TOOLS = ("provision", "info", "get", "put", "delete", "query", "scan")
_EVERY_MODE = (PlatformSettings, DirectSettings, LocalSettings)
_SERVING = frozenset({"max_result_bytes", "read_budget"})


class Command(NamedTuple):
    """One command. Its module is imported when the command is used, so that each pays for its own imports.

    The module has `run(settings, arguments)`, which returns the exit code, and if the command has arguments of its
    own `add_arguments(parser, flags)`, which adds them (`flags` is the parser of its settings, for commands that have
    commands of their own) and may name another function by `parser.set_defaults(run=…)`.

    Attributes:
        kinds: the classes of the settings that it takes.
        without: fields of theirs that it has no use for.
        resolve: makes the settings from the environment and the flags.
        nested: it has subcommands.
        module: its module in `cli`, if that has another name.
    """

    name: str
    help: str
    kinds: tuple[type[Settings] | type[HttpSettings], ...] = _EVERY_MODE
    without: frozenset[str] = _SERVING
    resolve: Callable[[Mapping[str, str], Mapping[str, str]], Any] = resolve_settings
    nested: bool = False
    module: str = ""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Return the settings that it accepts, in the order of `SETTINGS`."""
        fields = {"mode", *(name for kind in self.kinds for name in list_declared(kind))} - self.without
        return tuple(setting for setting in SETTINGS if setting.field in fields)


SERVE = Command(
    "",
    "An MCP server for one deployment's slice of a shared DynamoDB table. "
    "Without a command it serves MCP over stdin and stdout.",
    (*_EVERY_MODE, HttpSettings),
    frozenset(),
    module="serve",
)
_LIST = (
    Command("call", "call one tool and print its result as JSON", without=frozenset()),
    Command(
        "browse", "look through the data in a web browser on this machine", without=frozenset({"max_result_bytes"})
    ),
    Command("doctor", "show the configuration, test the store, and print what to fix", SERVE.kinds, frozenset()),
    Command(
        "policy",
        "print the least-privilege IAM policy for the table and prefix",
        (DirectSettings,),
        _SERVING | {"role_arn"},
    ),
    Command(
        "endpoint",
        "serve DynamoDB's own protocol over the local file, for the app and any AWS SDK",
        (LocalSettings,),
        resolve=resolve_local,
    ),
    Command("export", "write the deployment's items to a file or stdout, one item per line", module="export_items"),
    Command("import", "store items from an export, from a file or stdin", module="import_items"),
    Command("skill", "print the skill for agents", (), frozenset({"mode"})),
    Command("purge", "delete everything under the configured prefix"),
    Command(
        "gateway",
        "serve the platform's HTTP API; add and remove deployments",
        (DirectStorage, LocalStorage),
        frozenset(),
        resolve_gateway,
        nested=True,
    ),
)
COMMANDS = {command.name: command for command in _LIST}
