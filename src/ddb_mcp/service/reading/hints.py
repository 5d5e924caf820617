"""Hints: why nothing matched, or why nothing is at a path. The reason is found in some stored items."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ddb_mcp.core.conditions import Comparison, Filter, get_type, iter_comparisons
from ddb_mcp.core.items import TYPE_NAMES, AttributeValue, Item
from ddb_mcp.core.keys import SEPARATORS, get_first_segment
from ddb_mcp.core.paths import Path, format_path, get_value
from ddb_mcp.core.text import shorten
from ddb_mcp.service.reading.projections import Projection

# A name may have 64 KB, an item thousands of names, and a call a thousand paths and hundreds of clauses. So a hint
# explains _PATHS_NAMED paths, and for each compares _NAMES_COMPARED names and _PAIRS_COMPARED pairs of characters. It
# looks paths up _LOOKUPS times in all, and compares _CLAUSES_EXPLAINED clauses with the items.
_NAME_SHOWN = 100
_NAMES_COMPARED = 300
_PAIRS_COMPARED = 200_000
_PATHS_NAMED = 3
_LOOKUPS = 10_000
_CLAUSES_EXPLAINED = 10
_BEGINNINGS_NAMED = 5


def explain_no_match(clauses: Filter, items: Sequence[Item]) -> str | None:
    """Return a reason that can be seen in some unfiltered items why no item matched, or None."""
    explained = (clause for clause in iter_comparisons(clauses) if clause.operator not in ("ne", "exists", "type"))
    reasons = (_explain_comparison(clause, items) for clause in islice(explained, _CLAUSES_EXPLAINED)) if items else ()
    return next(filter(None, reasons), None)


def _explain_comparison(clause: Comparison, items: Sequence[Item]) -> str | None:
    name = format_path(clause.path)[:_NAME_SHOWN]
    values = [value for item in items if (value := get_value(item, clause.path)) is not None]
    if not values:
        return f"none of {len(items)} items examined has `{name}`{_suggest_path(clause.path, items)}"
    operand_types = {get_type(value) for value in clause.values}
    operands = " or ".join(sorted(_name_type(kind) for kind in operand_types))
    contains = clause.operator == "contains"
    kinds = Counter(kind for value in values for kind in (_list_inner_types(value) if contains else {get_type(value)}))
    if operand_types & kinds.keys():
        return None
    if contains:
        members = " and ".join(sorted(map(_name_type, kinds))) or "nothing"
        return f"`{name}` contains {members}, and the filter looks for {operands}."
    kind, count = kinds.most_common(1)[0]
    return f"`{name}` is {_name_type(kind)} in {count} items, and the filter compares it with {operands}."


def _name_type(kind: str) -> str:
    """Return a type with its article."""
    return TYPE_NAMES[kind] if kind in ("B", "NULL") else f"a {TYPE_NAMES[kind]}"


def _list_inner_types(value: AttributeValue) -> set[str]:
    """Return the types of what `contains` can find in a value."""
    ((kind, content),) = value.items()
    if kind == "L":
        return set(map(get_type, content))
    return {kind[0]} if kind in ("S", "B", "SS", "NS", "BS") else set()


def explain_missing(projection: Projection, items: Sequence[Item]) -> str | None:
    """Return a hint about paths that no item has, with the nearest names, or about values without parts; or None."""
    if not items:
        return None
    in_parts = [part.path for part in projection.parts.values()]
    paths = [*projection.paths, *in_parts][: max(_PATHS_NAMED, _LOOKUPS // len(items))]
    missing = [path for path in paths if all(get_value(item, path) is None for item in items)]
    texts = [
        f"nothing is stored at `{format_path(path)[:_NAME_SHOWN]}`{_suggest_path(path, items)}"
        for path in missing[:_PATHS_NAMED]
    ]
    whole = {path: kind for path in in_parts if (kind := _explain_partless(path, items))}
    for path, kind in islice(whole.items(), _PATHS_NAMED - len(texts)):
        texts.append(f"`{format_path(path)[:_NAME_SHOWN]}` is {_name_type(kind)}; only strings and binary have parts.")
    count = len(missing) + len(whole)
    more = [f"and {count - _PATHS_NAMED} more"] if count > _PATHS_NAMED else []
    return " ".join([*texts, *more]) or None


def _explain_partless(path: Path, items: Sequence[Item]) -> str | None:
    """Return the type of what is at a path if it has no parts."""
    kinds = {get_type(value) for item in items if (value := get_value(item, path)) is not None}
    return None if not kinds or kinds & {"S", "B"} else min(kinds)


def _suggest_path(path: Path, items: Sequence[Item]) -> str:
    """Return the end of a hint about a path that nothing is at: the path that was probably meant."""
    depth = next(n for n in range(len(path)) if not any(get_value(item, path[: n + 1]) for item in items))
    parents = [parent for item in items if (parent := get_value(item, path[:depth])) is not None]
    before = format_path(path[:depth])[:_NAME_SHOWN]
    for parent in parents:
        if "S" in parent and parent["S"].lstrip()[:1] in ("{", "["):
            return f"; `{before}` is a string of JSON, not a map or list: read it whole."
    step = path[depth]
    if isinstance(step, int):
        longest = max((len(parent["L"]) for parent in parents if "L" in parent), default=None)
        return "." if longest is None else f"; the longest `{before}` has {longest} entries."
    near = _find_near_path(path, depth, parents)
    return f"; did you mean `{near}`?" if near else "."


def _find_near_path(path: Path, depth: int, parents: Iterable[AttributeValue]) -> str | None:
    """Return the path with the name at `depth` put right, or that name alone if the rest leads nowhere."""
    names = list(dict.fromkeys(_iter_names(parents)))
    rest = ".".join(str(step) for step in path[depth:])
    if rest in names:
        return format_path((*path[:depth], rest))
    name = str(path[depth])[:_NAME_SHOWN]
    alike = [other for other in names if other.casefold() == name.casefold()]
    close = alike or difflib.get_close_matches(name, list(_comparable(name, names)), 1)
    if not close:
        return None
    whole = (close[0], *path[depth + 1 :])
    leads = any(get_value(parent["M"], whole) is not None for parent in parents if "M" in parent)
    return format_path((*path[:depth], *(whole if leads else close[:1])))


def _comparable(name: str, names: Iterable[str]) -> Iterator[str]:
    """Yield as many of the names as may be compared with `name`."""
    pairs = 0
    for other in islice(names, _NAMES_COMPARED):
        pairs += len(name) * len(other)
        if pairs > _PAIRS_COMPARED:
            return
        yield other


def _iter_names(parents: Iterable[AttributeValue]) -> Iterator[str]:
    for parent in parents:
        yield from (name for name in parent.get("M", ()) if len(name) <= _NAME_SHOWN)


def explain_no_sort_key(prefix: str, keys: Sequence[str]) -> str:
    """Return the beginnings of the sort keys of a partition, of which none is in the requested range.

    Args:
        prefix: the query's `sk_prefix`, empty if it has none.
        keys: some sort keys of the partition.
    """
    if not keys:
        return "nothing is stored under this pk."
    for key in keys if prefix else ():
        if key[: len(prefix)].casefold() == prefix.casefold():
            return f"sort keys differ in case: `{shorten(key, _NAME_SHOWN)}`."
        if _unify_separators(key).startswith(_unify_separators(prefix)):
            return f"sort keys differ by a separator or in case: `{shorten(key, _NAME_SHOWN)}`."
    beginnings = [f"`{shorten(text, 40)}`" for text, _ in Counter(map(_get_beginning, keys)).most_common()]
    more = f" and {len(beginnings) - _BEGINNINGS_NAMED} others" if len(beginnings) > _BEGINNINGS_NAMED else ""
    return f"the sort keys here start with {', '.join(beginnings[:_BEGINNINGS_NAMED])}{more}."


def _get_beginning(key: str) -> str:
    """Return a sort key's first segment with its separator."""
    return key[: len(get_first_segment(key)) + 1]


def _unify_separators(text: str) -> str:
    return re.sub(f"[{re.escape(SEPARATORS)} ]", "#", text.casefold())
