"""One function for each kind of value: takes the variable's name and its text, returns the value or raises."""

import difflib
import ipaddress
import os
import platform
import re
import shlex
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.indexes import Index, parse_indexes
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import shorten

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def parse_text(name: str, value: str) -> str:
    """Return any text as it is."""
    return value


def parse_command(name: str, value: str) -> str:
    """Return a command line that can be split into words."""
    try:
        shlex.split(value, posix=os.name == "posix")
    except ValueError:
        raise Misconfigured(f"{name} has an unclosed quote.", next=f"Correct {name}.") from None
    return value


def parse_switch(name: str, value: str) -> bool:
    """Return True or False, each of which has four spellings."""
    if value.lower() not in _SWITCH:
        _refuse(name, value, ["true", "false"])
    return _SWITCH[value.lower()]


def make_choice_parser(*words: str) -> Callable[[str, str], str]:
    """Return a parser for one of some words, in upper or lower case."""

    def parse(name: str, value: str) -> str:
        folded = value.upper() if words[0].isupper() else value.lower()
        if folded not in words:
            _refuse(name, value, list(words))
        return folded

    return parse


def make_integer_parser(least: int, most: int) -> Callable[[str, str], int]:
    """Return a parser for a whole number from `least` to `most`."""

    def parse(name: str, value: str) -> int:
        if not re.fullmatch("[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise Misconfigured(f"{_describe(name, value)}.", next=f"Set it to a whole number from {least} to {most}.")
        return int(value)

    return parse


def parse_table(name: str, value: str) -> str:
    """Return a table name: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html"""
    if value.startswith("arn:"):
        raise Misconfigured(
            f"{_describe(name, value)}, an ARN.", next=f"Write the name alone: {value.rpartition('/')[2]}"
        )
    if not re.fullmatch("[a-zA-Z0-9_.-]{3,255}", value):
        raise Misconfigured(
            f"{_describe(name, value)}.", next="A table name has 3 to 255 letters, digits, `_`, `-` or `.`."
        )
    return value


def parse_prefix(name: str, value: str) -> Prefix:
    """See `Prefix`."""
    return Prefix(value)


def parse_words(name: str, value: str) -> tuple[str, ...]:
    """Return a list separated by commas."""
    if value.startswith("["):
        raise Misconfigured(f"{_describe(name, value)}.", next="Separate the names with commas, without brackets.")
    return tuple(part.strip() for part in value.split(",") if part.strip())


def parse_index_definitions(name: str, value: str) -> tuple[Index, ...]:
    """See `parse_indexes`."""
    try:
        return parse_indexes(value)
    except ValueError as error:
        example = "GSI1=GSI1PK,GSI1SK; byScore=GSI1PK,score:N"
        raise Misconfigured(f"{name} is not a list of indexes: {error}.", next=f"An example is: {example}") from None


def parse_file(name: str, value: str) -> Path:
    """Return a whole path on this system; `~` is the home directory. It need not exist."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|file:", value):
        meant = re.sub(r"^\w+:(//(localhost)?(?=/))?", "", value)
        advice = (
            f"Write: {meant}" if meant.startswith("/") and value.startswith("file:") else "Write the path of a file."
        )
        raise Misconfigured(f"{name} is a URL, {shorten(value, 200)!r}, and must be a path.", next=advice)
    if _is_foreign_path(value):
        advice = f"Write a path as {platform.system()} has them, such as {Path.home() / 'data.sqlite3'}."
        raise Misconfigured(f"{_describe(name, value)}, which is a path for another operating system.", next=advice)
    try:
        parsed = Path(value).expanduser()
    except RuntimeError:
        raise Misconfigured(
            f"{_describe(name, value)}, and that user's home directory is unknown.", next="Write the full path."
        ) from None
    if not parsed.is_absolute():
        raise Misconfigured(
            f"{_describe(name, value)}, a relative path, which names a different file in each working directory.",
            next=f"Write the full path, for example {os.path.abspath(parsed)}.",
        )
    return parsed


def _is_foreign_path(value: str) -> bool:
    if os.name == "nt":
        return value.startswith("/")
    return bool(re.match(r"[A-Za-z]:[\\/]|\\\\|~\\", value)) or ("\\" in value and "/" not in value)


def parse_address(name: str, value: str) -> str:
    """Return the address of a platform: the part before the API's own path."""
    if not is_http_url(value):  # which may hold a password
        raise Misconfigured(f"{name} is not an http:// or https:// URL.", next=f"Correct {name}.")
    if match := re.search("/api/data/dynamodb(/.*)?$", value):
        raise Misconfigured(
            f"{name} ends with the API's own path, {match[0]!r}, which ddb-mcp adds.",
            next=f"Write: {value[: match.start()]}",
        )
    return value


def is_http_url(text: str) -> bool:
    """Return whether a text is a URL of HTTP, with a host and, if it has one, a port from 1 to 65535."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:].partition("]")[0].partition("%")[0])
        is_host = re.fullmatch(r"(\[[^\[\]]+\]|[^\[\]:\s]+)(:\d*)?", host) is not None
        return parts.scheme in ("http", "https") and is_host and parts.port != 0
    except ValueError:
        return False


@lru_cache(64)  # an HTTP interface asks at each request
def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _describe(name: str, value: str) -> str:
    return f"{name} is {shorten(value, 200)!r}"


def _refuse(name: str, value: str, allowed: list[str]) -> NoReturn:
    near = difflib.get_close_matches(value.lower(), [word.lower() for word in allowed], 1)
    meant = next((word for word in allowed if word.lower() in near), None)
    advice = f"It takes {', '.join(allowed)}."
    raise Misconfigured(f"{_describe(name, value)}.", next=f"Did you mean {meant!r}? {advice}" if meant else advice)
