"""Copies and moves of items to another partition, in steps that can be repeated.

A move stores the copy, then deletes the source. The source is deleted only if it still is what was copied, so that
nothing newer is lost; and a copy is never removed after its source is gone, since another call may have moved it.
"""

from functools import partial

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ITEM_EXISTS, Comparison
from ddb_mcp.core.errors import ConditionFailed, InvalidArgument, OutcomeUnknown
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import Store, WriteCondition, is_visible_in
from ddb_mcp.stores.workers import offload

# Attributes of an item that one condition can compare, and the key's two. Each takes an operator and an AND, and
# ITEM_EXISTS is an operator too.
_ATTRIBUTES_MAX = (limits.OPERATORS_MAX - 1) // 2 + 2


async def copy_item(store: Store, copy: Item) -> None:
    """Store a copy unless a different item exists. An equal item counts as stored.

    Raises:
        ConditionFailed: a different item exists.
        OutcomeUnknown: the answer was lost, and the copy is not there, or not yet.
    """
    try:
        await store.put(copy, WriteCondition(create_only=True), room=0)
    except (ConditionFailed, OutcomeUnknown):
        stored = await store.get(Key.of(copy))
        if not await offload(partial(is_visible_in, copy, stored), stored):
            raise


async def move_item(store: Store, source: Item, copy: Item) -> None:
    """Store `copy`, then delete `source` if it is unchanged; if not, remove the copy again. Repeating it finishes it.

    Raises:
        InvalidArgument: no condition can compare so many attributes; nothing was written.
        ConditionFailed: another item is in the place of the copy, or the source is gone or has changed.
        OutcomeUnknown: an answer was lost.
    """
    if len(source) > _ATTRIBUTES_MAX:
        raise InvalidArgument(
            "The item has too many attributes to compare them in one condition.",
            next="While nothing else writes to it, put it under the other pk and delete this one.",
        )
    await copy_item(store, copy)
    # Once the source may be deleted, a cancelled call still finishes this item.
    with anyio.CancelScope(shield=True):
        try:
            added = await _delete_unchanged(store, source)
        except ConditionFailed as failed:
            if not failed.exists:
                raise ConditionFailed(
                    "The item is gone: another call has moved or deleted it.", next="Its copy under move_to stays."
                ) from None
            await _remove_copy(store, copy)
            raise ConditionFailed(
                "The item changed during the move.", next="It was left in place and its copy was removed; call again."
            ) from None
        if added:
            absent = (Comparison((name,), "exists", exists=False) for name in added)
            update = Update({**Key.of(copy).attributes, **added})
            await store.merge(update, WriteCondition(expect=(ITEM_EXISTS, *absent)), room=0)


async def _remove_copy(store: Store, copy: Item) -> None:
    """Remove a copy whose source has changed. Raises ConditionFailed if the copy has changed too."""
    try:
        added = await _delete_unchanged(store, copy)
        if not added:
            return
        await store.put({**copy, **added}, WriteCondition(create_only=True), room=0)
    except ConditionFailed as failed:
        if not failed.exists:
            return
    raise ConditionFailed("The item and its copy both changed during the move.", next="Both were kept; compare them.")


async def _delete_unchanged(store: Store, item: Item) -> Item:
    """Delete an item if it still has these attributes. Returns those that were added to it since it was read.

    No condition can exclude attributes whose names are unknown; the answer to the delete has them.

    Raises:
        ConditionFailed: it is gone or has changed. `exists` says which.
        OutcomeUnknown: the answers were lost.
    """
    key, condition = Key.of(item), WriteCondition(expect=_list_clauses(item))
    is_repeated = False
    try:
        try:
            deleted = await store.delete(key, condition)
        except OutcomeUnknown:  # twice is as good as once
            is_repeated = True
            deleted = await store.delete(key, condition)
    except ConditionFailed as failed:
        if not failed.exists:  # or it could not be read
            failed.exists = await store.get(key) is not None
        if not failed.exists and is_repeated:
            return {}
        raise
    stored = deleted.item if deleted.item is not None and Key.of(deleted.item) == key else {}
    return {name: value for name, value in stored.items() if name not in item}


def _list_clauses(item: Item) -> tuple[Comparison, ...]:
    equal = (Comparison((name,), "eq", (value,)) for name, value in item.items() if name not in ("pk", "sk"))
    return (ITEM_EXISTS, *equal)
