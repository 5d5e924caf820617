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
_WHOLE_NAME_IS_NEAR = 0.85


def check_names(environment: Iterable[str]) -> None:
    """Raise Misconfigured for a name that is nearly a setting's name, with the right one if one is near."""
    names = set(environment)
    for name in sorted(names - BY_VARIABLE.keys()):
        folded = _normalize(name)
        meant: list[str] = []
        if folded.startswith("DYNAMODB"):
            near = _find_near(name, _NEAR_TO_DYNAMODB)
            meant = [full for full in near if full.startswith("DYNAMODB") and full not in names]
        elif folded.startswith("DDBMCP"):
            meant = _find_near(name, _NEAR)
        if meant or folded.startswith("DDBMCP"):
            raise Misconfigured(f"{name} is not a setting of ddb-mcp.", next=_format_advice(meant))


def find_lookalikes(environment: Iterable[str]) -> dict[str, str]:
    """Return the variables that look like settings of ddb-mcp and are none, each with what to do about it."""
    by_whole_name = {_normalize(full): full for full in BY_VARIABLE}
    found = {}
    for name in sorted(set(environment) - BY_VARIABLE.keys()):
        folded = _normalize(name)
        meant = _find_near(name, _NEAR_TO_DYNAMODB) if re.match("(AWS)?(DDB|DYNAMO)", folded) else []
        if not meant:
            near = difflib.get_close_matches(folded, by_whole_name, 2, _WHOLE_NAME_IS_NEAR)
            meant = [by_whole_name[whole] for whole in near]
        if meant or folded.startswith("DDBMCP"):
            found[name] = _format_advice(meant)
    return found


def _find_near(name: str, cutoff: float) -> list[str]:
    """Return the settings with near names, the nearest first; the product's name at the beginning does not count."""
    by_rest = {_strip_product(full): full for full in BY_VARIABLE}
    return [by_rest[found] for found in difflib.get_close_matches(_strip_product(name), by_rest, 2, cutoff)]


def _format_advice(meant: list[str]) -> str:
    return f"Did you mean {' or '.join(meant)}?" if meant else "Unset it; `ddb-mcp --help` lists the settings."


def _normalize(name: str) -> str:
    return re.sub("[^A-Z0-9]", "", name.upper())


def _strip_product(name: str) -> str:
    return re.sub("^(AWS)?(DDBMCP|DDB|DYNAMODB|DYNAMO)+", "", _normalize(name))
