"""One call of an operation: its deployment, its store, and how much it may read and return."""

import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import NamedTuple

from ddb_mcp.core.errors import ConditionFailed
from ddb_mcp.core.indexes import IndexRules
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import count_bytes
from ddb_mcp.service.app_endpoint import AppEndpoint
from ddb_mcp.service.cursors import CursorSealer
from ddb_mcp.service.outlines import show_item
from ddb_mcp.stores.base import Deployment, Progress, Store
from ddb_mcp.stores.workers import offload

logger = logging.getLogger(__name__)

FindEndpoint = Callable[[], Awaitable[AppEndpoint]]


class CallContext(NamedTuple):
    """The deployment, store and budgets of one call.

    Attributes:
        store: where the data is.
        prefix: gives the prefix of the deployment, which platform mode knows only after `learn`.
        learn: takes what the store says of the deployment, and gives it back.
        seal: makes and opens cursors.
        progress: called with what is being done, while a call lasts.
        max_bytes: bytes of compact JSON that this result may have; `max_result_bytes` is the service's own budget.
        read_budget: stored items that a query or scan may read.
        max_writes, write_seconds: how many writes one `where` may begin, and in how many seconds.
        read_only: whether the service refuses writes.
        shared_indexes: see `IndexRules`.
        find_endpoint: looks for the app's endpoint, see `app_endpoint`; None if the app needs none.
        ttl_is_off: whether `provision` or `info` last said that the table expires nothing by `ttl`.
    """

    store: Store
    get_prefix: Callable[[], Prefix]
    learn: Callable[[Deployment], Deployment]
    seal: CursorSealer
    progress: Progress
    max_bytes: int
    max_result_bytes: int
    read_budget: int
    max_writes: int
    write_seconds: float
    read_only: bool
    shared_indexes: Collection[str]
    find_endpoint: FindEndpoint | None
    ttl_is_off: bool = False

    async def get_index_rules(self, *, required: bool = False) -> IndexRules:
        """Return the table's indexes as this deployment may use them. Raises as `Store.get_indexes`."""
        return IndexRules(await self.store.get_indexes(required=required), self.prefix, self.shared_indexes)

    @property
    def prefix(self) -> Prefix:
        """Return the deployment's prefix."""
        return self.get_prefix()

    def drop_foreign(self, item: Item | None) -> Item | None:
        """Return the item; None, and a line in the log, if a store returned another deployment's item."""
        if item is None or self.prefix.owns(item["pk"]["S"]):
            return item
        logger.error("The store returned an item of another deployment; it was left out.")
        return None


async def show_failed_condition(call: CallContext, failed: ConditionFailed, max_bytes: int) -> ConditionFailed:
    """Return the failure with its stored item as plain JSON, in at most `max_bytes` bytes."""
    item = call.drop_foreign(failed.item)
    failed.item = None
    if item is None:
        return failed
    room = max_bytes - count_bytes({"error": failed.to_json()}) - len(',"item":')
    plain, _ = await offload(partial(show_item, item, room), item)
    return ConditionFailed(failed.message, item=plain, next=failed.next)
