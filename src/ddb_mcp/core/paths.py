"""Document paths such as `address.lines[0]`: read, written, and followed into items.

One grammar for filters, `attributes` and `remove`: names stand between dots, list positions are `[n]`. A name in
backticks may hold every sign (`` `a.b`.c ``); a backtick in it is doubled.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item, check_unicode
from ddb_mcp.core.text import quote_start

# Characters of a document path. An attribute name may have 64 KB.
PATH_MAX = 66_000


Path = tuple[str | int, ...]

_STEP = re.compile(r"(?:`((?:[^`]|``)*+)`|([^`.\[\]]+))((?:\[(?:0|[1-9][0-9]{0,4})\])*)")
_PART = re.compile(r"\[([0-9]{0,9}):([0-9]{0,9})\]\Z")
_GRAMMAR = "Separate names with dots, write list positions as [n], and put any other name in backticks: `a.b`.c[0]."

# Paths as a tree: names and positions, each with what follows it; None for the whole value.
_Tree = dict[str | int, Any]


class Part(NamedTuple):
    """A part of a long string (by characters) or binary (by bytes), from `start` to before `end`."""

    path: Path
    start: int
    end: int | None


def parse_path(text: str, parameter: str) -> Path:
    """Return a document path such as `address.lines[0]` as its steps.

    Args:
        text: the path.
        parameter: how errors name the parameter.

    Raises:
        InvalidArgument: it does not follow the grammar, is not Unicode, or has more steps than DynamoDB nests.
    """
    if len(text) > PATH_MAX:
        raise InvalidArgument(f"{parameter}: a path has {len(text)} characters; the limit is {PATH_MAX}.")
    check_unicode(text, f"a name in {parameter}")
    steps: list[str | int] = []
    at = 0
    while (step := _STEP.match(text, at)) and (step[1] or step[2]):
        steps += [step[2] or step[1].replace("``", "`"), *map(int, re.findall("[0-9]+", step[3]))]
        if len(steps) > limits.MAX_DEPTH:
            raise InvalidArgument(f"{parameter}: a path has more than {limits.MAX_DEPTH} steps.")
        if step.end() == len(text):
            return tuple(steps)
        if text[step.end()] != ".":
            break
        at = step.end() + 1
    raise InvalidArgument(f"{parameter}: {quote_start(text)!r} is not a document path.", next=_GRAMMAR)


def parse_part(text: str, parameter: str) -> Part | None:
    """Return the part that a text such as `body[0:20000]` names, None if it has no range. Raises InvalidArgument."""
    match = _PART.search(text)
    if match is None:
        return None
    start, end = int(match[1] or 0), int(match[2]) if match[2] else None
    if end is not None and end <= start:
        raise InvalidArgument(f"{parameter}: {quote_start(text)!r} ends before it begins; a part is [from:to].")
    return Part(parse_path(text[: match.start()], parameter), start, end)


def format_path(path: Path) -> str:
    """Return the text that `parse_path` reads as this path."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_format_name(step)}" for step in path)[1:]


def _format_name(name: str) -> str:
    # A `$` at the beginning is for operators, see `filters`.
    if name and not name.startswith("$") and not re.search(r"[`.\[\]]", name):
        return name
    return "`" + name.replace("`", "``") + "`"


def get_value(item: Item, path: Path) -> AttributeValue | None:
    """Return the value at a document path, None if there is none."""
    value: AttributeValue | None = {"M": item}
    for step in path:
        value = _get_member(value, step) if value else None
    return value


def _get_member(value: AttributeValue, step: str | int) -> AttributeValue | None:
    if isinstance(step, str):
        return value["M"].get(step) if "M" in value else None
    return value["L"][step] if "L" in value and step < len(value["L"]) else None


def list_members(value: AttributeValue) -> list[tuple[str | int, AttributeValue]]:
    """Return the members of a map, in alphabetical order, or of a list; none for other values."""
    return (
        sorted(value["M"].items(), key=lambda member: member[0])
        if "M" in value
        else list(enumerate(value.get("L", ())))
    )


def drop_nested(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the paths in their order, each once, without those that begin with another of them."""
    distinct = dict.fromkeys(paths)
    return tuple(path for path in distinct if not any(path[:length] in distinct for length in range(1, len(path))))


def find_overlap(paths: Iterable[Path]) -> tuple[Path, Path] | None:
    """Return two of the paths that one update cannot name together, None if there are none.

    These are two equal paths, a path and another path that begins with it, and two paths that take one value both for a
    map and for a list.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
    """
    ends: dict[Path, Path] = {}
    kinds: dict[Path, tuple[type, Path]] = {}
    for path in paths:
        for length in range(1, len(path) + 1):
            if (other := ends.get(path[:length])) is not None:
                return other, path
            kind = type(path[length - 1])
            known_kind, other = kinds.setdefault(path[: length - 1], (kind, path))
            if known_kind is not kind:
                return other, path
        if path in kinds:
            return kinds[path][1], path
        ends[path] = path
    return None


def project(item: Item, paths: Iterable[Path], *, keys: bool = True) -> Item:
    """Return the item's projection by these paths, as DynamoDB makes it; with `pk` and `sk`, if `keys`.

    Each value keeps its place in the item. Lists are closed up; of paths that overlap, the shorter wins; a map or
    list of which nothing is left is omitted.
    """
    return make_projector(paths, keys=keys)(item)


def make_projector(paths: Iterable[Path], *, keys: bool = True) -> Callable[[Item], Item]:
    """Return a function that projects items by the same paths, see `project`."""
    tree = _build_tree([("pk",), ("sk",), *paths] if keys else paths)

    def project(item: Item) -> Item:
        picked = _project_value({"M": item}, tree)
        return picked["M"] if picked else {}

    return project


def _project_value(value: AttributeValue, tree: _Tree | None) -> AttributeValue | None:
    if tree is None:
        return value
    picked_members = {}
    # No more steps than the value has members: a call may ask for many paths of many short items.
    few = list_members(value) if len(tree) > len(value.get("M") or value.get("L") or ()) else None
    for step in tree if few is None else [step for step, _ in few if step in tree]:
        inner = _get_member(value, step)
        if inner is not None and (picked := _project_value(inner, tree[step])) is not None:
            picked_members[step] = picked
    if not picked_members:
        return None
    return {"M": picked_members} if "M" in value else {"L": [picked_members[at] for at in sorted(picked_members)]}


def remove_paths(item: Item, paths: Iterable[Path]) -> Item:
    """Return the item without what is at these paths. Positions refer to the original item, which is not modified."""
    rest: Item = _remove_from({"M": item}, _build_tree(paths))["M"]
    return rest


def _remove_from(value: AttributeValue, tree: _Tree) -> AttributeValue:
    if "M" not in value and "L" not in value:
        return value
    rest = {}
    for step, inner in list_members(value):
        following = tree.get(step, {})
        if following is not None:
            rest[step] = _remove_from(inner, following) if following else inner
    return {"M": rest} if "M" in value else {"L": list(rest.values())}


def _build_tree(paths: Iterable[Path]) -> _Tree:
    """Return the paths as a tree, in which the shorter of two that overlap wins."""
    tree: _Tree = {}
    for path in paths:
        inside: _Tree | None = tree
        for step in path[:-1]:
            inside = inside.setdefault(step, {}) if inside is not None else None
        if inside is not None:
            inside[path[-1]] = None
    return tree
