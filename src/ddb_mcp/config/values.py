"""One function for each kind of value: takes the variable's name and its text, returns the value or raises."""

import difflib
import ipaddress
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.keys import Prefix

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def text(name: str, value: str) -> str:
    return value


def command(name: str, value: str) -> str:
    """A command line whose words can be told apart."""
    try:
        words = shlex.split(value, posix=os.name == "posix")
    except ValueError:
        raise Misconfigured(f"{name} has a quote that does not end.", next=f"Correct {name}.") from None
    if not words:
        raise Misconfigured(f"{name} is blank.", next="Set it to a command, or unset it.")
    return value


def switch(name: str, value: str) -> bool:
    if value.lower() not in _SWITCH:
        _refuse(name, value, ["true", "false"])
    return _SWITCH[value.lower()]


def one_of(*words: str) -> Callable[[str, str], str]:
    def parse(name: str, value: str) -> str:
        folded = value.upper() if words[0].isupper() else value.lower()
        if folded not in words:
            _refuse(name, value, list(words))
        return folded

    return parse


def whole(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        if not re.fullmatch("[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise Misconfigured(f"{name} is {value!r}.", next=f"Set it to a whole number from {least} to {most}.")
        return int(value)

    return parse


def table(name: str, value: str) -> str:
    if not re.fullmatch("[a-zA-Z0-9_.-]{3,255}", value):
        raise Misconfigured(f"{name} is {value!r}.", next="A table name has 3 to 255 letters, digits, `_`, `-` or `.`.")
    return value


def prefix(name: str, value: str) -> Prefix:
    return Prefix(value)


def words(name: str, value: str) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise Misconfigured(f"{name} is {value!r}, and that home is not known.", next="Write the whole path.") from None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _refuse(name: str, value: str, allowed: list[str]) -> NoReturn:
    near = difflib.get_close_matches(value.lower(), [word.lower() for word in allowed], 1)
    meant = next((word for word in allowed if word.lower() in near), None)
    advice = f"It takes {', '.join(allowed)}."
    raise Misconfigured(f"{name} is {value!r}.", next=f"Did you mean {meant!r}? {advice}" if meant else advice)
