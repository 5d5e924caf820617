"""The command line: finds the command, reads its arguments, makes its settings, runs it."""

import argparse
import difflib
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ddb_mcp import __version__
from ddb_mcp.cli.commands import COMMANDS, SERVE, TOOLS, Command
from ddb_mcp.config.settings import SETTINGS, Setting
from ddb_mcp.core.errors import DdbMcpError, Misconfigured
from ddb_mcp.core.process import log_to_stderr
from ddb_mcp.core.text import escape_controls

logger = logging.getLogger(__name__)

# Those of serving itself.
SERVING_FLAGS = ("--http", "--tls-cert", "--tls-key", "--behind-tls-proxy")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 2 for a wrong call or configuration, 1 for a failure."""
    _open_missing_streams()
    _choose_encodings()
    command, arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    flags = {
        setting.variable: getattr(arguments, setting.field)
        for setting in command.settings
        if getattr(arguments, setting.field, None) is not None
    }
    arguments.flags = flags
    try:
        return _run(command, arguments)
    except DdbMcpError as error:
        if command.name == "doctor":
            from ddb_mcp.cli.doctor import list_set_variables

            list_set_variables(os.environ, flags, print)
            sys.stdout.flush()  # the error comes last, where both streams go to one place
        quoted = f" It said: {error.quoted}" if error.quoted else ""
        print(escape_controls(f"ddb-mcp: {error.message}{quoted} {error.next}"), file=sys.stderr)
        return 2
    except OSError as error:  # most likely of the output: `ddb-mcp … | head`, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's end
        if not isinstance(error, BrokenPipeError):
            print(escape_controls(f"ddb-mcp: {error.filename or 'stdout'}: {error.strerror or error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        from ddb_mcp.core.process import leave

        leave(130)  # now: a worker thread may be waiting for the network


def _run(command: Command, arguments: argparse.Namespace) -> int:
    try:
        settings = command.resolve(os.environ, arguments.flags)
    except Misconfigured as error:
        if command is not SERVE or arguments.http:
            raise
        from ddb_mcp.cli.serve import serve_over_stdio

        log_to_stderr("WARNING")
        serve_over_stdio(error)
    log_to_stderr(settings.log_level)
    if command.name != "doctor":  # which prints them
        for warning in settings.warnings:
            logger.warning("%s", warning)
    code = int(arguments.run(settings, arguments))
    sys.stdout.flush()
    return code


def parse_arguments(words: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Parse the command line, with settings anywhere in it. Exits with 2 if it is wrong."""
    command, rest = _split(list(words))
    parser = make_parser(command)
    if command.name == "call" and {"-h", "--help"} & set(rest) and (tools := [word for word in rest if word in TOOLS]):
        from ddb_mcp.cli.call import describe_tool

        print(describe_tool(tools[0]))
        parser.exit()
    if command.nested:
        arguments, unknown = parser.parse_known_args(rest)
    else:
        arguments, unknown = parser.parse_known_intermixed_args(rest)
    if unknown:
        parser.error(f"unknown argument {_unknown(unknown[0].partition('=')[0], command)}")
    return command, arguments


def make_parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser for a command's settings and arguments."""
    module = importlib.import_module(f"ddb_mcp.cli.{command.module or command.name}")
    flags = _setting_flags(command.settings)
    parser = argparse.ArgumentParser(
        f"ddb-mcp {command.name}".strip(),
        description=command.help,
        parents=[flags],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=getattr(module, "run", None))
    if command is SERVE:
        parser.add_argument("--version", action="version", version=f"ddb-mcp {__version__}")
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser, flags)
    return parser


def _split(words: list[str]) -> tuple[Command, list[str]]:
    """Return the command and the other words: settings may stand before it."""
    for flag in (word.partition("=")[0] for word in words):
        if any(setting.secret and flag == setting.word for setting in SETTINGS):
            _fail(f"unknown argument {_unknown(flag, SERVE)}")  # before its value is taken for something to show
    parser = make_parser(SERVE)
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(f"unknown argument {_unknown(unknown[0].partition('=')[0], SERVE)}")
    if not arguments.words:
        return SERVE, words
    at = len(words) - len(arguments.words)
    return _command(words[at]), words[:at] + words[at + 1 :]


def _command(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if name in TOOLS:
        _fail(f"{name!r} is a tool, not a command; write: ddb-mcp call {name}")
    near = difflib.get_close_matches(name, [*COMMANDS, *TOOLS], 1)
    meant = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(COMMANDS)}"
    return _fail(f"{name!r} is not a command; {meant}")


def _fail(message: str) -> NoReturn:
    make_parser(SERVE).error(message)


def _unknown(flag: str, command: Command) -> str:
    """Describe an unknown flag, with the flag that was probably meant."""
    for setting in SETTINGS:
        if setting.secret and flag == setting.word:
            return f"{flag}; secrets are variables only: set {setting.variable}"
    flags = [setting.flag for setting in command.settings if setting.flag]
    if flag in (*(setting.flag for setting in SETTINGS), *SERVING_FLAGS, "--version"):
        return f"{flag}: it does not apply to {command.name or 'serving'}"
    near = difflib.get_close_matches(flag, [*flags, *SERVING_FLAGS, "--version", "--help"], 1)
    return f"{flag}; did you mean {near[0]}?" if near else flag


def _setting_flags(settings: Sequence[Setting]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("settings")
    for setting in settings:
        if setting.flag is None:
            continue
        default = f"; default: {setting.default}" if setting.default else ""
        text = f"{setting.help} [{setting.variable}; {setting.modes}{default}]".replace("%", "%%")
        if setting.is_switch:
            group.add_argument(setting.flag, dest=setting.field, action="store_const", const="true", help=text)
        else:
            group.add_argument(setting.flag, dest=setting.field, metavar="VALUE", help=text)
    return parser


def _open_missing_streams() -> None:
    """Open the standard streams that the parent has closed, so that no other file takes their place.

    Writing to a closed stdout then fails, so that no result is lost silently.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
            os.dup2(nothing, descriptor)
            if nothing != descriptor:
                os.close(nothing)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))


def _choose_encodings() -> None:
    """Make pipes UTF-8, as JSON is; a terminal keeps its own encoding. Every text can be printed then."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
