"""The values that a write replaced or removed, by path, so that they can be put back."""

import itertools
from collections.abc import Mapping
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.items import AttributeValue, to_json, value_size
from ddb_mcp.core.paths import Path, path_text
from ddb_mcp.core.text import clip, size

_LOST = "Too long to show, and lost: it is stored nowhere any more."


def shown(dropped: Mapping[Path, AttributeValue], room: int) -> tuple[dict[str, Any], list[str]]:
    """The values by the text of their paths, in at most `room` bytes, and warnings about those that are not shown.

    The shortest are shown whole. Of the others as many as fit have an outline, and the rest is only counted.
    """
    plain = {path_text(path): to_json(value) for path, value in sorted(dropped.items(), key=lambda pair: str(pair[0]))}
    if size(plain) <= room:
        return plain, []
    values = {path_text(path): value for path, value in dropped.items()}
    costs = {name: size({name: value}) for name, value in plain.items()}
    by_size = sorted(plain, key=lambda name: costs[name])
    outlines = {name: _outline(values[name]) for name in by_size[-limits.OUTLINES_MAX :]}
    outlines = {name: outline for name, outline in outlines.items() if size({name: outline}) < costs[name]}
    room -= limits.HIDDEN_BYTES
    if size(outlines) > room // 2:
        outlines = {}
    fit = sum(total <= room - size(outlines) for total in itertools.accumulate(costs[name] for name in by_size))
    hidden = by_size[fit:]
    named = ", ".join(f"{clip(name, 50)} ({value_size(values[name])} bytes)" for name in hidden[:-6:-1])
    text = f"{len(hidden)} of the values that were dropped are too long to show, and are lost: {named}"
    whole = {name: plain[name] for name in plain if name not in set(hidden)}
    return whole | {name: outlines[name] for name in hidden if name in outlines}, [clip(text, limits.HIDDEN_BYTES)]


def _outline(value: AttributeValue) -> dict[str, Any]:
    return {"outline": {"type": next(iter(value)), "bytes": value_size(value), "next": _LOST}}
