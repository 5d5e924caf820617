"""Bodies of a platform's requests. Raises Unsupported for features that the platform lacks, before anything is sent."""

import json
from typing import Any

from ddb_mcp.core.conditions import Filter, Or, iter_comparisons
from ddb_mcp.core.errors import Unsupported
from ddb_mcp.core.filters import filter_to_json
from ddb_mcp.core.items import AttributeValue, Item, item_to_json, to_json
from ddb_mcp.core.paths import format_path
from ddb_mcp.core.text import encode_json
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import NO_CONDITION, Read, SelectionWrite, WriteCondition


def need(feature: str, features: frozenset[str], what: str, instead: str) -> None:
    if feature not in features:
        raise Unsupported(f"This platform does not have {what}; nothing was sent.", next=instead)


def condition_members(condition: WriteCondition, features: frozenset[str]) -> dict[str, Any]:
    """Return the members of a write's body for a condition. Raises Unsupported."""
    if condition == NO_CONDITION:
        return {}
    need("conditions", features, "conditions (create_only, expect)", "Get the item, decide, and write without them.")
    if condition.create_only:
        return {"create_only": True}
    return {"expect": filter_json(condition.expect, "expect", features)}


def filter_json(clauses: Filter, parameter: str, features: frozenset[str]) -> dict[str, Any]:
    """Return the clauses as JSON for a platform that evaluates them itself. Raises Unsupported if it cannot."""
    if any(isinstance(clause, Or) or clause.operator == "type" for clause in clauses):
        need("or", features, "$or and type in a filter", "Query each alternative in its own call.")
    steps = (step for clause in iter_comparisons(clauses) for step in clause.path if isinstance(step, str))
    if any(format_path((step,)) != step for step in steps):
        need("paths", features, "names with dots, brackets or backticks in a filter", "Omit that name.")
    return plain_filter(clauses, parameter, features)


def plain_filter(clauses: Filter, parameter: str, features: frozenset[str]) -> dict[str, Any]:
    """Return the clauses as JSON. Raises Unsupported if they have values that the platform cannot have."""
    if "types" not in features:
        for clause in iter_comparisons(clauses):
            where = f"{parameter}.{clause.path[0]}"
            try:
                # A map that looks like a typed value would be taken for one here, and for a map there.
                plain = all(_untyped(value, where) == to_json(value) for value in clause.values)
            except Unsupported:
                plain = False
            if not plain:
                raise Unsupported(
                    f"{where} is compared with a typed value, and this platform has plain JSON only; nothing was sent.",
                    next=f"Leave {where} out, and compare what get or a listing shows.",
                )
    return filter_to_json(clauses)


def update_members(update: Update, features: frozenset[str], where: str) -> dict[str, Any]:
    """Return the members of a put's body for an update. Raises Unsupported."""
    need("merge", features, "merge and remove", "Get the item, change it, and put it back whole.")
    body: dict[str, Any] = {"item": item_text(update.item, features, where), "merge": True}
    if update.remove and "paths" not in features and any(len(path) > 1 for path in update.remove):
        need("paths", features, "document paths in remove", "Get the map or list, and merge it whole.")
    if update.remove:
        body["remove"] = [format_path(path) if "paths" in features else path[0] for path in update.remove]
    if update.add:
        need("add", features, "add", "Get the item, then merge the sum with expect on the value you read.")
        body["add"] = {name: to_json(value) for name, value in update.add.items()}
    return body


def selection_request(selection: SelectionWrite, features: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """Return the operation and the body for a selection. Raises Unsupported."""
    for feature in ("where", "conditions"):
        need(
            feature,
            features,
            "where",
            "List the keys and write to each; expect guards each write if the platform supports it.",
        )
    read, change = selection.read, selection.change
    where = key_members(read)
    if read.filter:
        where["filter"] = filter_json(read.filter, "where.filter", features)
    body: dict[str, Any] = {"where": where}
    if selection.dry_run:
        body["dry_run"] = True
    if selection.copy_to is not None:
        return "put", {**body, "copy_to": selection.copy_to}
    if selection.move_to is not None:
        need(
            "move",
            features,
            "move_to",
            "Use copy_to until it is complete, then delete with where, while nothing else writes.",
        )
        return "put", {**body, "move_to": selection.move_to}
    if change is None:
        return "delete", body
    changed = update_members(change, features, "item")
    unneeded = ("merge",) if change.item else ("merge", "item")
    return "put", {**body, **{name: value for name, value in changed.items() if name not in unneeded}}


def key_members(read: Read) -> dict[str, Any]:
    """Return the members of a body that say which keys are read."""
    index = read.secondary_index
    members = {
        "pk": read.pk,
        "pk_prefix": None if index else read.pk_prefix,
        "index": index and index.name,
        "sk_prefix": read.range.prefix,
        "sk_from": read.range.low,
        "sk_to": read.range.high,
    }
    return {name: text for name, text in members.items() if text is not None}


def item_text(item: Item, features: frozenset[str], where: str) -> str:
    """Return the item as a JSON string. Raises Unsupported if the platform could not have it exactly."""
    if "types" in features:
        return encode_json(item_to_json(item))
    return json.dumps({name: _untyped(value, f"{where}.{name}") for name, value in item.items()}, ensure_ascii=False)


def _untyped(value: AttributeValue, where: str) -> Any:
    """Return plain JSON for a platform without typed values. Raises Unsupported if only a typed value is exact."""
    ((kind, content),) = value.items()
    if kind == "L":
        return [_untyped(entry, f"{where}[{at}]") for at, entry in enumerate(content)]
    if kind == "M":
        return {name: _untyped(entry, f"{where}.{name}") for name, entry in content.items()}
    plain = to_json(value)
    if isinstance(plain, dict):
        what = "number that plain JSON cannot carry exactly" if kind == "N" else "set or binary value"
        raise Unsupported(
            f"{where} is a {what}, and this platform takes plain JSON only; nothing was sent.",
            next="Store it as a string, or a set as a list.",
        )
    return plain
