"""Outlines: what stands for an item that is too long to show."""

from typing import Any

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import Item, item_size, item_to_json, value_size
from ddb_mcp.core.text import size
from ddb_mcp.service.results import PlainItem

OUTLINE_NEXT = "Too long to show. Call get with attributes: [names] for the parts you need."
OUTLINE_DELETED = "Too long to show. It was deleted, so its parts cannot be had any more."


def refuse_outline(item: Item, where: str) -> None:
    """Raise InvalidArgument for an outline sent back as if it were the item: it would replace what it stands for."""
    if item.get("outline", {}).get("M", {}).get("next") in ({"S": OUTLINE_NEXT}, {"S": OUTLINE_DELETED}):
        raise InvalidArgument(
            f"{where} is the outline of an item, not the item itself.", next="Use merge to change single attributes."
        )


def outline(item: Item, budget: int, advice: str = OUTLINE_NEXT) -> dict[str, Any]:
    """What stands for an item that is too long to show: each attribute with its type and its size by DynamoDB's rules.

    Args:
        item: the whole item.
        budget: bytes the outline may take; attributes that do not fit are only counted, the key always stands.
        advice: what can be done about it, its member `next`.
    """
    shown: dict[str, Any] = {"pk": item["pk"]["S"], "sk": item["sk"]["S"]}
    attributes: list[dict[str, Any]] = []
    shown["outline"] = about = {
        "bytes": item_size(item),
        "attributes": attributes,
        "next": advice,
    }
    room = budget - size(shown) - 40
    for left, name in zip(range(len(item) - 2, 0, -1), sorted(item.keys() - {"pk", "sk"}), strict=True):
        entry = {"attribute": name, "type": next(iter(item[name])), "bytes": value_size(item[name])}
        room -= size(entry) + 1
        if room < 0:
            about["more"] = left
            break
        attributes.append(entry)
    return shown


def shown(item: Item, room: int, next: str = OUTLINE_NEXT) -> tuple[PlainItem, bool]:
    """The item as plain JSON, or its outline where it is too long, and whether it is that."""
    plain = item_to_json(item)
    return (plain, False) if size(plain) <= room else (outline(item, room, next), True)
