"""Projections: the document paths, and the parts of long strings and binary, that `attributes` asks for."""

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item, measure_value
from ddb_mcp.core.paths import Part, Path, drop_nested, get_value, parse_part, parse_path
from ddb_mcp.core.text import count_bytes, truncate
from ddb_mcp.service.results import PartResult

# Bytes of a part besides its name and its text.
_PART_BYTES = len(':{"base64":"","of":999999,"to":999999},')


class Projection(NamedTuple):
    """Paths, of which none begins with another; and parts, by their texts in the call."""

    paths: tuple[Path, ...] = ()
    parts: Mapping[str, Part] = MappingProxyType({})

    def list_names(self) -> tuple[str, ...]:
        """Return the top-level names that are needed of an item."""
        paths = (*self.paths, *(part.path for part in self.parts.values()))
        return tuple(dict.fromkeys(str(path[0]) for path in paths))

    def cut_parts(self, item: Item, room: int) -> tuple[dict[str, PartResult], int]:
        """Return the parts that the item has in at most `room` bytes of JSON, and how many of them had no room.

        `to` marks a part that was cut. Nothing is copied or decoded that the room cannot hold.
        """
        shown: dict[str, PartResult] = {}
        left_out = 0
        for text, part in self.parts.items():
            value = get_value(item, part.path) or {}
            if "S" not in value and "B" not in value:
                continue
            left = room - count_bytes(text) - _PART_BYTES
            if left <= 0 and shown:
                left_out += 1
                continue
            cut = _cut_text if "S" in value else _cut_binary
            shown[text] = cut(value, part, left)
            room -= count_bytes({text: shown[text]})
        return shown, left_out


def parse_projection(attributes: Sequence[str] | None, *, parts: bool) -> Projection | None:
    """Return the projection of a call's `attributes`, None for whole items.

    Args:
        attributes: document paths, and parts such as `body[0:20000]`.
        parts: whether parts are allowed.

    Raises:
        InvalidArgument: an entry is neither, or is a part, which the tool does not return.
    """
    if attributes is None:
        return None
    paths: list[Path] = []
    cuts: dict[str, Part] = {}
    for text in attributes:
        part = parse_part(text, "attributes")
        if part is None:
            paths.append(parse_path(text, "attributes"))
        elif parts:
            cuts[text] = part
        else:
            raise InvalidArgument(
                "attributes requests a part of a value, which only get returns.", next="Call get for one item."
            )
    return Projection(drop_nested(paths), cuts)


def _cut_text(value: AttributeValue, part: Part, room: int) -> PartResult:
    content = value["S"]
    start, end = _bounds(part, len(content))
    shown = truncate(content[start : min(end, start + max(0, room) + 1)], room)
    return _make_part({"text": shown, "of": len(content)}, part, len(shown), end - start)


def _cut_binary(value: AttributeValue, part: Part, room: int) -> PartResult:
    length = measure_value(value)
    start, end = _bounds(part, length)
    stop = min(end, start + max(0, room) // 4 * 3)
    # Three bytes stand in four characters: only those with the part are decoded.
    raw = base64.b64decode(value["B"][start // 3 * 4 : -(-stop // 3) * 4])[start % 3 :][: stop - start]
    return _make_part({"base64": base64.b64encode(raw).decode(), "of": length}, part, len(raw), end - start)


def _bounds(part: Part, length: int) -> tuple[int, int]:
    start = min(part.start, length)
    return start, length if part.end is None else min(part.end, length)


def _make_part(result: PartResult, part: Part, shown: int, length: int) -> PartResult:
    return result if shown == length else {**result, "to": part.start + shown}
