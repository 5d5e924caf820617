"""The values that a write replaced or removed, by path, so that they can be put back."""

from collections.abc import Iterable, Mapping
from typing import Any

from ddb_mcp.core.items import AttributeValue, measure_value, to_json
from ddb_mcp.core.paths import Path, format_path
from ddb_mcp.core.text import count_bytes, shorten

# The warning about values that are too long to show.
HIDDEN_BYTES = 300
_NAMED = 5


def show_dropped(dropped: Mapping[Path, AttributeValue], room: int) -> tuple[dict[str, Any], list[str]]:
    """Return the values by the text of their paths, in at most `room` bytes, and a warning about those left out.

    The shortest are shown. Only what may fit is written out: thousands of values may lie at the end of one long path.
    """
    sizes = {path: sum(len(str(step)) for step in path) + measure_value(value) for path, value in dropped.items()}
    by_size = {path: dropped[path] for path in sorted(sizes, key=lambda path: sizes[path])}
    shown = _show_first(by_size.items(), room)
    if len(shown) == len(dropped):
        return shown, []
    shown = _show_first(by_size.items(), room - HIDDEN_BYTES)
    hidden = list(by_size)[len(shown) :]
    named = ", ".join(
        f"{shorten(format_path(path), 50)} ({measure_value(dropped[path])} bytes)"
        for path in hidden[: -_NAMED - 1 : -1]
    )
    text = f"dropped values that are too long to show, and are lost ({len(hidden)}): {named}"
    return shown, [shorten(text, HIDDEN_BYTES)]


def _show_first(values: Iterable[tuple[Path, AttributeValue]], room: int) -> dict[str, Any]:
    """Return the first of the values as plain JSON, as many as fit into `room` bytes, ordered by their paths."""
    shown: dict[str, Any] = {}
    for path, value in values:
        if measure_value(value) > room:  # plain JSON takes no fewer bytes
            break
        entry = {format_path(path): to_json(value)}
        room -= count_bytes(entry)
        if room < 0:
            break
        shown |= entry
    return dict(sorted(shown.items()))
