"""Projections: the document paths, and the parts of long strings and binary, that `attributes` asks for."""

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import Item
from ddb_mcp.core.paths import Part, Path, parse_part, parse_path, shortest, value_at
from ddb_mcp.core.text import fitting, size
from ddb_mcp.service.results import PartResult


class Projection(NamedTuple):
    """Paths, of which none begins with another; and parts, by their texts in the call."""

    paths: tuple[Path, ...] = ()
    parts: Mapping[str, Part] = MappingProxyType({})

    def names(self) -> tuple[str, ...]:
        """The top-level names that are needed of an item."""
        paths = (*self.paths, *(part.path for part in self.parts.values()))
        return tuple(dict.fromkeys(str(path[0]) for path in paths))

    def parts_of(self, item: Item, room: int) -> dict[str, PartResult]:
        """The parts that the item has, in at most `room` bytes of JSON; `to` marks those that were cut for it."""
        shown: dict[str, PartResult] = {}
        for text, part in self.parts.items():
            value = value_at(item, part.path) or {}
            if "S" not in value and "B" not in value:
                continue
            cut = _text if "S" in value else _binary
            shown[text] = {"of": 0}
            shown[text] = cut(next(iter(value.values())), part, room - size(shown))
        return shown


def parse_projection(attributes: Sequence[str] | None, *, parts: bool) -> Projection | None:
    """The projection of a call's `attributes`, None for whole items.

    Args:
        attributes: document paths, and parts such as `body[0:20000]`.
        parts: whether parts may be asked for.

    Raises:
        InvalidArgument: an entry is neither, or is a part where the tool gives none.
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
                "attributes asks for a part of a value, which only get gives.", next="Call get for one item."
            )
    return Projection(shortest(paths), cuts)


def _text(content: str, part: Part, room: int) -> PartResult:
    piece = content[part.start : part.end]
    shown = fitting(piece, room - len('"text":,"to":999999'))
    return _part({"text": shown, "of": len(content)}, part, len(shown), len(piece))


def _binary(content: str, part: Part, room: int) -> PartResult:
    raw = base64.b64decode(content)
    piece = raw[part.start : part.end]
    shown = piece[: max(0, room - len('"base64":"","to":999999')) // 4 * 3]
    return _part({"base64": base64.b64encode(shown).decode(), "of": len(raw)}, part, len(shown), len(piece))


def _part(result: PartResult, part: Part, shown: int, length: int) -> PartResult:
    return result if shown == length else {**result, "to": part.start + shown}
