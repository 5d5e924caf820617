"""Document paths such as `address.lines[0]`: names and list positions, one after the other."""

import re

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item, check_unicode

Path = tuple[str | int, ...]


def parse_path(name: str, parameter: str) -> Path:
    """A document path such as `address.lines[0]` as its steps. Raises InvalidArgument."""
    check_unicode(name, f"a name in {parameter}")
    path: list[str | int] = []
    for step in name.split("."):
        parts = re.fullmatch(r"([^\[\]]+)((?:\[(?:0|[1-9][0-9]{0,4})\])*)", step)
        if not parts:
            raise InvalidArgument(
                f"{parameter}: {name!r} is not a document path; steps are separated by dots, list positions are [n]."
            )
        path += [parts[1], *map(int, re.findall("[0-9]+", parts[2]))]
    if len(path) > 32:
        raise InvalidArgument(f"{parameter}: a path has more than 32 steps.")
    return tuple(path)


def path_text(path: Path) -> str:
    """The text that `parse_path` reads as this path."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]


def value_at(item: Item, path: Path) -> AttributeValue | None:
    """The value at a document path, None where there is none."""
    found: AttributeValue | None = {"M": item}
    for step in path:
        inner = found.get("M" if isinstance(step, str) else "L") if found else None
        if isinstance(step, str):
            found = inner.get(step) if inner is not None else None
        else:
            found = inner[step] if inner is not None and step < len(inner) else None
    return found
