"""Items, keys and the parameters of reads in the form of boto3's low-level client."""

import base64
import logging
from collections.abc import Mapping
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ALL_SORT_KEYS, KeyRange
from ddb_mcp.core.errors import Unavailable
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.indexes import Index, IndexKey
from ddb_mcp.core.items import AttributeValue, Item, map_values
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import Position, Read
from ddb_mcp.stores.direct.aws import Response

logger = logging.getLogger(__name__)


_TABLE = Index("", IndexKey("pk"), IndexKey("sk"))


def make_query_parameters(read: Read, limit: int) -> dict[str, Any]:
    """Return the parameters of a query of the table or of an index.

    Other deployments' items in an index are left out by a filter, which may not name a key of the index, or by the
    index's sort key if that is `pk`.

    Args:
        limit: how many stored items are read.
    """
    index, expression = read.secondary_index or _TABLE, ExpressionBuilder()
    keys, own = read.range, ""
    if "pk" not in index.key_names:
        own = f"begins_with({expression.path('pk')},{expression.value({'S': read.pk_prefix})})"
    elif index.pk.name != "pk" and keys == ALL_SORT_KEYS:
        keys = KeyRange(prefix=read.pk_prefix)
    condition = f"{expression.path(index.pk.name)}={expression.value({index.pk.type: read.pk})}"
    if index.sk is not None:
        condition += _format_sort_key_condition(keys, index.sk, expression)
    text = " AND ".join(filter(None, [own, expression.condition(read.filter)]))
    return {
        "KeyConditionExpression": condition,
        "ScanIndexForward": not read.descending,
        "Limit": limit,
        **({"IndexName": index.name} if read.secondary_index else {}),
        **({} if read.position is None else {"ExclusiveStartKey": _make_start_key(read, read.position)}),
        **make_read_parameters(read, expression, text),
    }


def get_query_position(item: Item, index: Index | None) -> Position:
    """Return the position after an item: its sort key, and in an index its key too."""
    key = get_key(item)
    return [(index.sk and index.sk.get_text(item)) or "", *key] if index else key.sk


def _make_start_key(read: Read, position: Position) -> dict[str, Any]:
    index = read.secondary_index
    if index is None:
        return Key(str(read.pk), position).attributes
    sort_key, pk, sk, *_ = position
    texts = {index.pk: read.pk, **({index.sk: sort_key} if index.sk else {}), IndexKey("pk"): pk, IndexKey("sk"): sk}
    return encode_binary({key.name: {key.type: text} for key, text in texts.items()})


def _format_sort_key_condition(keys: KeyRange, sort_key: IndexKey, expression: ExpressionBuilder) -> str:
    """Return the sort key's part of a key condition, with its AND; empty for all sort keys."""
    if keys == ALL_SORT_KEYS:
        return ""
    sk, kind = expression.path(sort_key.name), sort_key.type
    if keys.prefix is not None:
        return f" AND begins_with({sk},{expression.value({kind: keys.prefix})})"
    low = keys.low and expression.value({kind: keys.low})
    high = keys.high and expression.value({kind: keys.high})
    if low and high:
        return f" AND {sk} BETWEEN {low} AND {high}"
    return f" AND {sk}>={low}" if low else f" AND {sk}<={high}"


def make_projection_parameter(attributes: tuple[str, ...] | None, expression: ExpressionBuilder) -> dict[str, str]:
    """Return the parameter that asks for some attributes and the key; none for all."""
    if attributes is None:
        return {}
    names = dict(expression.names)
    text = ",".join(map(expression.path, dict.fromkeys(("pk", "sk", *attributes))))
    if len(text) <= limits.EXPRESSION_MAX_BYTES:
        return {"ProjectionExpression": text}
    # Too many for an expression: take the whole item; `project` selects from it. Unused names would be refused.
    expression.names = names
    return {}


def make_placeholder_parameters(expression: ExpressionBuilder) -> dict[str, Any]:
    """Return the parameters with an expression's names and values."""
    names, values = expression.names, expression.values
    return {
        **({"ExpressionAttributeNames": names} if names else {}),
        **({"ExpressionAttributeValues": encode_binary(values)} if values else {}),
    }


def get_capacity(answer: Response) -> float | None:
    """Return the capacity units that an answer cost, None if unknown."""
    units = answer.get("ConsumedCapacity", {}).get("CapacityUnits")
    return None if units is None else float(units)


def make_read_parameters(read: Read, expression: ExpressionBuilder, text: str) -> dict[str, Any]:
    """Return the parameters that a query and a scan share. `text`: the filter expression."""
    return {
        **({"FilterExpression": text} if text else {}),
        **make_projection_parameter(read.attributes, expression),
        **make_placeholder_parameters(expression),
        "ConsistentRead": read.secondary_index is None or read.secondary_index.local,
        "ReturnConsumedCapacity": "TOTAL",
    }


def has_key(key: Key, item: Item) -> bool:
    """Return whether an answer's item has this key. Another item may be another deployment's, and is not shown."""
    if key.attributes.items() <= item.items():
        return True
    logger.error("The store answered with a different item than the one requested; it is not shown.")
    return False


def get_key(item: Item) -> Key:
    """Return the key of an item in a listing, or of a page's end. Raises Unavailable if there is none."""
    match item:
        case {"pk": {"S": str(pk)}, "sk": {"S": str(sk)}}:
            return Key(pk, sk)
    raise Unavailable("The store answered with an item that has no key.")


def encode_binary(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Return attribute values as boto3 sends them: binary as bytes. What it receives stays in base64, see `session`."""
    return {name: map_values(value, "B", base64.b64decode) for name, value in attributes.items()}
