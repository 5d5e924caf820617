"""`DataService`: the operations of one deployment over any store."""

import logging
from collections.abc import Collection
from functools import partial
from typing import Any, cast

from ddb_mcp.core import limits
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError, Internal, Misconfigured, NotProvisioned, ReadOnly
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.call_context import CallContext, FindEndpoint, show_failed_condition
from ddb_mcp.service.cursors import CursorSealer
from ddb_mcp.service.operations import BY_NAME
from ddb_mcp.stores.base import Deployment, Progress, Store
from ddb_mcp.stores.workers import offload

# Writes of one call with `where`.
WHERE_MAX = 1000


logger = logging.getLogger(__name__)


async def ignore_progress(message: str) -> None:
    pass


class DataService:
    """One deployment's access to its slice of a table. Safe for concurrent use.

    Args:
        store: where the data is.
        prefix: the deployment's; None if the store's `info` reports it (platform mode).
        read_only: refuse the operations that write.
        read_budget: stored items that one query or scan may read.
        max_result_bytes: bytes of compact JSON that one result may have.
        max_writes, write_seconds: how many writes one `where` may begin, and in how many seconds; None for the limits.
        cursor_key: see `CursorSealer`.
        find_endpoint: see `CallContext`.
        shared_indexes: see `IndexRules`.
    """

    def __init__(
        self,
        store: Store,
        prefix: Prefix | None,
        *,
        read_only: bool = False,
        read_budget: int = 100_000,
        max_result_bytes: int = 32768,
        max_writes: int | None = None,
        write_seconds: float | None = None,
        cursor_key: bytes | None = None,
        find_endpoint: FindEndpoint | None = None,
        shared_indexes: Collection[str] = (),
    ) -> None:
        self.store = store
        self._prefix = prefix
        self._learns = prefix is None
        self._call = CallContext(
            store=store,
            get_prefix=self._get_prefix,
            learn=self._learn,
            seal=CursorSealer(cursor_key),
            progress=ignore_progress,
            find_endpoint=find_endpoint,
            max_bytes=max_result_bytes,
            max_result_bytes=max_result_bytes,
            read_budget=read_budget,
            max_writes=WHERE_MAX if max_writes is None else max_writes,
            write_seconds=limits.WHERE_SECONDS if write_seconds is None else write_seconds,
            read_only=read_only,
            shared_indexes=shared_indexes,
        )

    async def run_operation(
        self, operation: str, arguments: Any, progress: Progress = ignore_progress, *, max_bytes: int | None = None
    ) -> dict[str, Any]:
        """Run one operation.

        Args:
            operation: `provision`, `info`, `get`, `put`, `delete`, `query` or `scan`.
            arguments: a JSON object, checked here against the operation's model in `ddb_mcp.service.arguments`.
            progress: called with what is being done, while a call lasts.
            max_bytes: a byte budget for this call instead of the service's own.

        Returns:
            The structured result, see `ddb_mcp.service.results`.

        Raises:
            DdbMcpError: one of its subclasses, each a code of the contract.
        """
        called = BY_NAME[operation]
        checked = await offload(partial(called.arguments.parse, arguments), arguments)
        call = self._call._replace(progress=progress, max_bytes=max_bytes or self._call.max_bytes)
        if call.read_only and called.writes:
            raise ReadOnly(f"This server is read-only; {operation} is disabled.")
        try:
            if self._prefix is None and operation not in ("provision", "info"):
                self._learn(await self.store.info())
            return cast("dict[str, Any]", await called.run(call, checked))
        except NotProvisioned:
            if self._learns:
                self._prefix = None
            raise
        except ConditionFailed as failed:
            raise await show_failed_condition(call, failed, call.max_bytes) from None
        except DdbMcpError:
            raise
        except Exception as failure:
            raise Internal.log(logger, failure, operation) from None

    def _learn(self, deployment: Deployment) -> Deployment:
        if self._learns and deployment.prefix is not None:
            try:
                self._prefix = Prefix(deployment.prefix, one_segment=True)
            except Misconfigured as wrong:
                raise Misconfigured(
                    f"{wrong.message} It comes from the platform.", next="Ask the platform's operator."
                ) from None
        state = deployment.details.get("ttl", "")
        self._call = self._call._replace(ttl_is_off=state == "disabled" or state.startswith("on "))
        return deployment

    def _get_prefix(self) -> Prefix:
        assert self._prefix is not None
        return self._prefix
