"""The values that a write replaced or removed, by path, so that they can be put back."""

import itertools
from collections.abc import Mapping
from typing import Any

from ddb_mcp.core.items import AttributeValue, measure_value, to_json
from ddb_mcp.core.paths import Path, format_path
from ddb_mcp.core.text import count_bytes, shorten

# The sentence about dropped attributes that are too long to show.
HIDDEN_BYTES = 300
# Dropped values that a result outlines because they are too long to show.
OUTLINES_MAX = 10


_LOST = "Too long to show, and lost: it is no longer stored anywhere."


def show_dropped(dropped: Mapping[Path, AttributeValue], room: int) -> tuple[dict[str, Any], list[str]]:
    """Return the values by the text of their paths, in at most `room` bytes, and warnings about those left out.

    The shortest are shown whole. Of the others as many as fit have an outline, and the rest is only counted. Only what
    may fit is written out: thousands of values may lie at the end of one long path.
    """
    sizes = {path: sum(len(str(step)) for step in path) + measure_value(value) for path, value in dropped.items()}
    by_size = sorted(sizes, key=lambda path: sizes[path])
    few = sum(total <= room for total in itertools.accumulate(sizes[path] for path in by_size))
    plain = {path: {format_path(path): to_json(dropped[path])} for path in by_size[:few]}
    if few == len(dropped) and count_bytes(whole := _join_names(plain)) <= room:
        return whole, []
    outlines = {path: {format_path(path): _make_outline(dropped[path])} for path in by_size[-OUTLINES_MAX:]}
    outlines = {path: outline for path, outline in outlines.items() if count_bytes(outline) < sizes[path]}
    room -= HIDDEN_BYTES
    if count_bytes(_join_names(outlines)) > room // 2:
        outlines = {}
    costs = {path: count_bytes(entry) for path, entry in plain.items()}
    by_cost = sorted(costs, key=lambda path: costs[path])
    room -= count_bytes(_join_names(outlines))
    fit = sum(total <= room for total in itertools.accumulate(costs[path] for path in by_cost))
    shown_whole = set(by_cost[:fit])
    hidden = [path for path in by_size if path not in shown_whole]
    named = ", ".join(
        f"{shorten(format_path(path), 50)} ({measure_value(dropped[path])} bytes)" for path in hidden[:-6:-1]
    )
    text = f"dropped values that are too long to show, and are lost ({len(hidden)}): {named}"
    entries = {path: plain[path] for path in shown_whole} | {
        path: outlines[path] for path in hidden if path in outlines
    }
    return _join_names(entries), [shorten(text, HIDDEN_BYTES)]


def _join_names(entries: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """Return the members of the entries as one object, in the order of their paths."""
    return {name: value for path in sorted(entries, key=str) for name, value in entries[path].items()}


def _make_outline(value: AttributeValue) -> dict[str, Any]:
    return {"outline": {"type": next(iter(value)), "bytes": measure_value(value), "next": _LOST}}
