"""Items, keys and the parameters of reads in the form of boto3's low-level client."""

import base64
import logging
from collections.abc import Mapping
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ALL_SORT_KEYS, KeyRange
from ddb_mcp.core.errors import Unavailable
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.items import AttributeValue, Item, map_values
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import Read
from ddb_mcp.stores.direct.aws import Response

logger = logging.getLogger(__name__)


def format_sort_key_condition(keys: KeyRange, expression: ExpressionBuilder) -> str:
    """Return the sort key's part of a key condition, with its AND; empty for all sort keys."""
    if keys == ALL_SORT_KEYS:
        return ""
    sk = expression.path("sk")
    if keys.prefix is not None:
        return f" AND begins_with({sk},{expression.value({'S': keys.prefix})})"
    low = keys.low and expression.value({"S": keys.low})
    high = keys.high and expression.value({"S": keys.high})
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
        "ConsistentRead": True,
        "ReturnConsumedCapacity": "TOTAL",
    }


def has_key(key: Key, item: Item) -> bool:
    """Whether an answer's item has this key. Another item may be another deployment's, and is not shown."""
    if key.attributes.items() <= item.items():
        return True
    logger.error("The store answered with another item than the one that was asked for; it is not shown.")
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
