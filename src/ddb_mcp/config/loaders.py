"""Finds what hosts, loaders and shells leave in a value. The error says what happened and what to write."""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.text import shorten

Kind = Literal["plain", "path", "command", "secret"]
_EVERY_KIND: frozenset[Kind] = frozenset({"plain", "path", "command", "secret"})
_QUOTES = "\"'`‘’“”"
_INVISIBLE = "\ufeff\u200b"  # a byte order mark, a space of no width: `strip` leaves them


class _Damage(NamedTuple):
    """One thing that may be wrong with a value of any setting.

    Attributes:
        kinds: the values that it is wrong in; a name after `$` is right in a command, say.
        happened: what follows the variable's name in the message; `{found}` is what the pattern found.
        advice: what to do.
        mended: the value as it was probably meant; empty if unknown.
    """

    kinds: frozenset[Kind]
    pattern: str
    happened: str
    advice: str
    mended: Callable[[str], str] = lambda value: ""


def _strip(value: str) -> str:
    return value.strip().strip(_INVISIBLE).strip()


_UNREPLACED = (
    "holds {found}, which nothing has expanded",
    "Write the value itself; many programs that start servers do not expand variables.",
)
_DAMAGES = (
    _Damage(_EVERY_KIND, rf"\A[\s{_INVISIBLE}]+\Z", "is blank", "Set it to a value, or unset it."),
    _Damage(
        _EVERY_KIND,
        r"\r\n?\Z",
        "ends with a carriage return: the file it comes from has Windows line endings",
        "Save the file with LF line endings.",
        _strip,
    ),
    _Damage(
        _EVERY_KIND,
        rf"\A[\s{_INVISIBLE}]|[\s{_INVISIBLE}]\Z",
        "begins or ends with white space",
        "Remove the white space.",
        _strip,
    ),
    _Damage(_EVERY_KIND, r"[\x00-\x1f\x7f-\x9f]", "holds the control character {found}", "Remove the character."),
    _Damage(
        frozenset({"plain", "path", "secret"}),
        rf"\A[{_QUOTES}]|[{_QUOTES}]\Z",
        "has quotes around its value, which were loaded as part of it",
        "Remove the quotes.",
        lambda value: value.strip(_QUOTES),
    ),
    _Damage(
        frozenset({"plain", "path", "secret"}),
        r"\$\{[^}]*\}?|\$\([^)]*\)|%[A-Za-z_]\w{2,}%|\{\{.*?\}\}|\A\$[A-Za-z_]\w*\Z",
        *_UNREPLACED,
    ),
    _Damage(frozenset({"plain", "path"}), r"\$[A-Za-z_]\w*|%(?![0-9A-Fa-f]{2}%)[A-Za-z_]\w*%", *_UNREPLACED),
    _Damage(
        frozenset({"command"}),
        r"\A\S*(?:\$\{?\w+\}?|%(?![0-9A-Fa-f]{2}%)[A-Za-z_]\w*%)\S*",
        "begins with {found}, and no shell expands the variable in it",
        "Write the full path of the program.",
    ),
    _Damage(
        frozenset({"plain"}),
        r"\s#.*",
        "holds {found}, which was not loaded as a comment",
        "Remove the comment.",
        lambda value: re.sub(r"\s+#.*", "", value),
    ),
)


def check_loaded(name: str, value: str, kind: Kind) -> None:
    """Raise Misconfigured if a loader has damaged a value. Values of commands and secrets are not shown."""
    for flaw in _DAMAGES:
        match = re.search(flaw.pattern, value) if kind in flaw.kinds else None
        if match is None:
            continue
        shown = repr(shorten(match[0], 60))
        if kind == "secret" and not re.fullmatch(r"\$\{[\w.:]+\}|\$\w+|%\w+%", match[0]):
            shown = "a name"
        advice = flaw.advice
        if kind in ("plain", "path") and (mended := flaw.mended(value)):
            advice = f"{advice} Write: {shorten(mended, 200)}"
        raise Misconfigured(f"{name} {flaw.happened.format(found=shown)}.", next=advice)
