"""Finds misspelt variables. A variable that is meant for ddb-mcp and not known is an error, never ignored.

The rest of the environment belongs to others and is left alone.
"""

import difflib
import re
from collections.abc import Iterable

from ddb_mcp.config.settings import BY_VARIABLE
from ddb_mcp.core.errors import Misconfigured

_NEAR = 0.7  # of difflib's ratio: TOKEN and AUTH_TOKEN are near, REGION and READ_ONLY are not
_NEAR_TO_DYNAMODB = 0.8  # PREFX and PREFIX are near; TABLE_NAME and TABLE are not: apps have variables of such names


def check_names(environment: Iterable[str]) -> None:
    """Raise Misconfigured for a name that is near a setting's name, with the right one where there is one near."""
    names = set(environment)
    for name in sorted(names - BY_VARIABLE.keys()):
        folded = _normalize(name)
        if folded.startswith("DDBMCP"):
            advice = _format_advice(find_near_names(name))
            raise Misconfigured(f"{name} is not a setting of ddb-mcp.", next=advice)
        if folded.startswith("DYNAMODB"):
            meant = [
                full
                for full in find_near_names(name, _NEAR_TO_DYNAMODB)
                if full.startswith("DYNAMODB") and full not in names
            ]
            if meant:
                raise Misconfigured(f"{name} is not a setting of ddb-mcp.", next=_format_advice(meant))


def find_near_names(name: str, cutoff: float = _NEAR) -> list[str]:
    """The settings whose names are near, the nearest first; their beginnings DDB_MCP_ and DYNAMODB_ do not count."""
    by_rest = {_strip_product(full): full for full in BY_VARIABLE}
    rest = _strip_product(name)
    if rest in by_rest:
        return [by_rest[rest]]
    return [by_rest[found] for found in difflib.get_close_matches(rest, by_rest, 2, cutoff)]


def _format_advice(meant: list[str]) -> str:
    return f"Did you mean {' or '.join(meant)}?" if meant else "Unset it; `ddb-mcp --help` lists the settings."


def _normalize(name: str) -> str:
    return re.sub("[^A-Z0-9]", "", name.upper())


def _strip_product(name: str) -> str:
    return re.sub("^(DDBMCP)?(DYNAMODB)?", "", _normalize(name))
