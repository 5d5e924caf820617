"""The registry's items as plain JSON objects, whose `pk` and `sk` are strings like everybody's."""

from typing import Any

from ddb_mcp.core.conditions import Filter
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import Item, item_to_json, parse_item

Record = dict[str, Any]


def records(record: Record) -> Item:
    """The item that holds a record."""
    return parse_item(record, "record")


def read_record(item: Item) -> Record:
    """The record in an item."""
    return item_to_json(item)


def expecting(**values: Any) -> Filter:
    """The condition that a stored record has these members."""
    return parse_filter(values, "expect")
