"""Reads a platform's answers. Only these forms are read.

An item is `item`, `Item` or bare; items are `items`, `Items` or a bare list; each also within `data`. A listing goes on
after `cursor`, `nextToken`, `next_token`, `lastKey` or `LastEvaluatedKey`, or where `hasMore` says so.
"""

import logging
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument, NotProvisioned, Unavailable
from ddb_mcp.core.indexes import INDEXES_MAX, LOCAL_INDEXES_MAX, Index
from ddb_mcp.core.items import AttributeValue, Item, convert_attributes, from_json
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import FEATURES, Deployment

logger = logging.getLogger(__name__)

# A name of a table or region. A sentence does not match.
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,255}")
# Members of an answer that say nothing of an item. The AWS SDK's own result for an absent item has only `$metadata`.
_ABOUT_ANSWER = frozenset({"$metadata", "success", "message"})
# A name of an index or attribute. A sentence does not match.
_WORD = re.compile(r"\S{1,255}")
_CONTINUATIONS = ("cursor", "nextToken", "next_token", "lastKey", "LastEvaluatedKey", "hasMore")


class Answer(NamedTuple):
    """An answer of the platform.

    Attributes:
        document: the JSON, with its numbers as exact Decimals; None for `null`, and for no content at all.
        empty: there was no content.
    """

    document: Any
    empty: bool = False


def get_members(document: Any) -> Mapping[str, Any]:
    """Return the members of an answer, those of `data` among them."""
    if not isinstance(document, Mapping):
        return {}
    data = document.get("data")
    return {**(data if isinstance(data, Mapping) else {}), **document}


def parse_deployment(document: Any) -> Deployment:
    """Return the deployment that `provision` and `info` report.

    Raises:
        NotProvisioned: the platform says that there is none yet.
        Unavailable: the answer does not say the prefix.
    """
    members = get_members(document)

    def text(name: str) -> str | None:
        return value if is_valid_text(value := members.get(name)) else None

    def name(member: str) -> str:
        return said if _NAME.fullmatch(said := text(member) or "") else "unknown"

    prefix, provisioned = text("prefix"), members.get("provisioned") is not False
    if prefix is None and not provisioned:
        raise NotProvisioned("The platform has nothing provisioned for this deployment yet.")
    if prefix is None:
        raise Unavailable("The platform's answer does not say the prefix.", next="Is its address right?")
    features = members.get("features")
    return Deployment(
        table_name=name("tableName"),
        region=name("region"),
        provisioned=provisioned,
        prefix=prefix,
        created=members.get("created") is True,
        features=FEATURES.intersection(filter(is_valid_text, features if isinstance(features, list) else ())),
        instructions=text("instructions"),
        indexes=_parse_indexes(members.get("indexes")),
    )


def _parse_indexes(shown: Any) -> tuple[Index, ...] | None:
    """Return the indexes whose definitions can be read; None if there is no list of them."""
    if not isinstance(shown, list):
        return None
    indexes = []
    for entry in shown[: INDEXES_MAX + LOCAL_INDEXES_MAX]:
        try:
            index = Index.from_json(entry)
            names = (index.name, *index.key_names, *(index.projected or ()))
            if all(map(_WORD.fullmatch, names)) and all(key.type in ("S", "N", "B") for key in index.keys):
                indexes.append(index)
                continue
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        logger.warning("Platform fault: info lists an index that cannot be read; it is ignored.")
    return tuple(indexes)


def parse_item_answer(answer: Answer, key: Key, *, typed: bool) -> Item | None:
    """Return the item in an answer, None if the answer says that there is none.

    Raises:
        Unavailable: the answer has none of the forms above, or has another item than the one requested.
    """
    found = _find_item(answer)
    if found is None:
        return None
    item = _parse_item(found, typed=typed)
    if Key.of(item) != key:
        logger.error("Platform fault: another item was returned than the one requested; it was ignored.")
        raise Unavailable("The platform answered with a different item than the one requested.")
    return item


def _find_item(answer: Answer) -> Any:
    document = answer.document
    if document is None and not answer.empty:
        return None
    if isinstance(document, Mapping):
        if document.get("found") is False or ("data" in document and document["data"] is None):
            return None
        if document.keys() <= _ABOUT_ANSWER and document.get("success", True) is True:
            return None
        for holder in (document, document.get("data")):
            if is_item(holder):
                return holder
            if isinstance(holder, Mapping) and (names := [name for name in ("item", "Item") if name in holder]):
                return holder[names[0]]
    raise Unavailable("The platform's answer is not in a form that ddb-mcp reads.")


def parse_items(document: Any, *, typed: bool) -> list[Item]:
    """Return the items of a listing; null counts as an empty list. Raises Unavailable if there is no list."""
    members = get_members(document)
    candidates = [document, *(members[name] for name in ("items", "Items", "data") if name in members)]
    lists = [value for value in candidates if isinstance(value, list)]
    if not lists and None not in candidates[1:]:
        raise Unavailable("The platform's answer has no list of items.")
    return [_parse_item(entry, typed=typed) for entry in (lists[0] if lists else ())]


def is_at_end(document: Any) -> bool | None:
    """Return whether the platform marked the end of a listing; None if it says nothing."""
    members = get_members(document)
    marks = [not members[name] for name in _CONTINUATIONS if name in members]
    return all(marks) if marks else None


def parse_outlined(outlined: Any, items: list[Item]) -> list[int]:
    """Return which of a page's items are outlines. Raises Unavailable if this cannot be read."""
    numbers = list(map(parse_count, outlined)) if isinstance(outlined, list) else [] if outlined is None else [None]
    if not all(at is not None and at < len(items) and at == int(at) for at in numbers):
        raise Unavailable("The platform's answer is not in a form that ddb-mcp reads.")
    return [int(at) for at in numbers if at is not None]


def parse_count(value: Any) -> Decimal | None:
    """Return the number, if it is from 0 to 2^53: a larger one could fill the memory with its digits."""
    return value if isinstance(value, Decimal) and 0 <= value < limits.EXACT_INTEGER else None


def is_valid_text(value: Any) -> bool:
    """Return whether this is a non-empty string without lone surrogates, which could not be sent on."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value != ""


def _from_untyped(value: Any, where: str, depth: int = 0) -> AttributeValue:
    """Return an attribute value from a platform to which every object is a map."""
    if isinstance(value, list | dict) and depth > limits.MAX_DEPTH:
        raise InvalidArgument(f"{where} is nested deeper than DynamoDB can store.")
    if isinstance(value, list):
        return {"L": [_from_untyped(entry, where, depth + 1) for entry in value]}
    if isinstance(value, dict):
        return {"M": convert_attributes(value, _from_untyped, where, depth + 1)}
    return from_json(value, where)


def parse_attributes(members: Mapping[str, Any], *, typed: bool) -> Item:
    """Convert JSON to attribute values, typed ones too if `typed`. Raises Unavailable if DynamoDB cannot store one."""
    try:
        return convert_attributes(members, from_json if typed else _from_untyped, "item")
    except InvalidArgument:  # its message names attributes, and here they are not the caller's own
        raise Unavailable("The platform's answer has a value that DynamoDB cannot hold.") from None


def is_item(value: Any) -> bool:
    """Return whether this is a JSON object with a key."""
    return isinstance(value, Mapping) and all(isinstance(value.get(name), str) for name in ("pk", "sk"))


def _parse_item(value: Any, *, typed: bool) -> Item:
    if not is_item(value):
        raise Unavailable("The platform's answer has an item without string pk and sk.")
    return parse_attributes(value, typed=typed)
