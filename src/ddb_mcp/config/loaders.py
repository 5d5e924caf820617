"""Refuses values that hosts, `.env` loaders and shells have damaged, before a setting is read from them."""

import re
from typing import Literal, NamedTuple

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.text import shorten

Kind = Literal["plain", "path", "command", "secret"]
_EVERY_KIND: frozenset[Kind] = frozenset({"plain", "path", "command", "secret"})
_QUOTES = "\"'`‘’“”"
_SPACE = r"\s\ufeff\u200b"  # with a byte order mark and a zero-width space


class _Damage(NamedTuple):
    """One thing that may be wrong with a value of any setting.

    Attributes:
        kinds: the values that it is wrong in: a command may hold quotes and variables, for example.
        problem: follows the variable's name in the message; `{found}` is what the pattern matches.
        advice: what to do.
    """

    kinds: frozenset[Kind]
    pattern: str
    problem: str
    advice: str


_UNEXPANDED = (
    "holds {found}, which nothing has expanded",
    "Write the value itself; many programs that start servers do not expand variables.",
)
_DAMAGES = (
    _Damage(_EVERY_KIND, rf"\A[{_SPACE}]+\Z", "is blank", "Set it to a value, or unset it."),
    _Damage(
        _EVERY_KIND,
        rf"\A[{_SPACE}]|[{_SPACE}]\Z",
        "begins or ends with white space",
        "Remove it. In a file with Windows line endings, each value ends with a carriage return.",
    ),
    _Damage(_EVERY_KIND, r"[\x00-\x1f\x7f-\x9f]", "holds the control character {found}", "Remove the character."),
    _Damage(
        frozenset({"plain", "path", "secret"}),
        rf"\A[{_QUOTES}]|[{_QUOTES}]\Z",
        "has quotes around its value, which were loaded as part of it",
        "Remove the quotes.",
    ),
    _Damage(
        frozenset({"plain", "path"}),
        r"\$\{[^}]*\}?|\$\([^)]*\)|\{\{.*?\}\}|\$[A-Za-z_]\w*|%(?![0-9A-Fa-f]{2}%)[A-Za-z_]\w*%",
        *_UNEXPANDED,
    ),
    # Part of a secret may look like a variable by chance, and must not be shown.
    _Damage(frozenset({"secret"}), r"\A(\$\{[^}]*\}|\$\w+|%\w+%|\{\{.*\}\})\Z", *_UNEXPANDED),
    _Damage(frozenset({"plain"}), r"\s#.*", "holds {found}, which was not loaded as a comment", "Remove the comment."),
)


def check_loaded(name: str, value: str, kind: Kind) -> None:
    """Raise Misconfigured if a loader has damaged a value."""
    for damage in _DAMAGES:
        if kind in damage.kinds and (match := re.search(damage.pattern, value)):
            found = repr(shorten(match[0], 60))
            raise Misconfigured(f"{name} {damage.problem.format(found=found)}.", next=damage.advice)
