"""Hints: a reason, seen in some stored items, why a filter matched nothing."""

import difflib
from collections import Counter
from collections.abc import Sequence

from ddb_mcp.core.conditions import Filter, comparisons, type_of
from ddb_mcp.core.items import Item
from ddb_mcp.core.paths import path_text, value_at

_TYPE_WORDS = {
    "S": "a string",
    "N": "a number",
    "B": "binary",
    "BOOL": "a boolean",
    "NULL": "null",
    "L": "a list",
    "M": "a map",
    "SS": "a string set",
    "NS": "a number set",
    "BS": "a binary set",
}


# Names may have 64 KB, and an item thousands of them, which take difflib seconds.
_NAME_SHOWN = 100


_NAMES_COMPARED = 300


def why_nothing_matched(clauses: Filter, seen: Sequence[Item]) -> str | None:
    """A reason that can be seen in some unfiltered items why no item matched, or None."""
    if not seen:
        return None
    for clause in comparisons(clauses):
        if clause.operator in ("ne", "exists", "type"):
            continue
        name = path_text(clause.path)[:_NAME_SHOWN]
        found = [value for item in seen if (value := value_at(item, clause.path)) is not None]
        if not found:
            near = _nearest(str(clause.path[0]), seen)
            meant = f"; did you mean `{near}`?" if near else "."
            return f"none of {len(seen)} items looked at has `{name}`{meant}"
        wanted = {type_of(value) for value in clause.values}
        kinds = Counter(map(type_of, found))
        if clause.operator == "contains":
            if wanted & {"L", "SS", "NS", "BS"}:
                return f"`{name}`: contains looks for one member, which is the whole list or set given."
        elif not wanted & kinds.keys():
            kind, count = kinds.most_common(1)[0]
            asked = " or ".join(sorted(_TYPE_WORDS[want] for want in wanted))
            return f"`{name}` is {_TYPE_WORDS[kind]} in {count} items, and the filter compares it with {asked}."
    return None


def _nearest(name: str, seen: Sequence[Item]) -> str | None:
    """The attribute that was probably meant, where no item has `name`."""
    names = dict.fromkeys(name for item in seen for name in item if len(name) <= _NAME_SHOWN)
    if any(name in item for item in seen):
        return None
    alike = [other for other in names if other.casefold() == name.casefold()]
    near = alike or difflib.get_close_matches(name[:_NAME_SHOWN], list(names)[:_NAMES_COMPARED], 1)
    return near[0] if near else None
