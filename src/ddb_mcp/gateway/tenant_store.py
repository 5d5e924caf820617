"""The storage as a tenant may see it: counts without other tenants' items, errors without the operator's details."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ddb_mcp.core import errors
from ddb_mcp.core.indexes import Index
from ddb_mcp.gateway import metrics
from ddb_mcp.gateway.budgets import TenantBudget
from ddb_mcp.gateway.tenants import Tenant
from ddb_mcp.service.instructions import write_instructions
from ddb_mcp.stores.base import FEATURES, Deleted, Deployment, Progress, Read, Store, StorePage, Written

# Items that one request may read; its cursor continues. Small, so that no request takes long.
GATEWAY_READ_BUDGET = 10_000


logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOCAL_STORAGE = (
    "The data is available only through this platform's HTTP API, not through the AWS SDK: app code uses the same API, "
    "with a token from its environment."
)
_OPERATORS = "Call again in a minute. If the problem persists, tell the platform's operator: its log has the cause."


class TenantStore(Store):
    """`Store` for one request of a tenant. Every item that is read is charged to its budget, whatever the call returns.

    Args:
        store: where the items of all tenants are.
    """

    mode = "platform"

    def __init__(self, store: Store, tenant: Tenant, budget: TenantBudget) -> None:
        self._store = store
        self.positions_may_be_foreign = store.positions_may_be_foreign
        self._tenant = tenant
        self._budget = budget
        self._others_read = 0  # items of others that a listing has read

    async def provision(self, progress: Progress) -> Deployment:
        own = self._store.for_deployment(self._tenant.prefix, self._tenant.functions)
        return self._describe_for_tenant(await self._hide_details(own.provision(progress)))

    async def info(self) -> Deployment:
        own = self._store.for_deployment(self._tenant.prefix, self._tenant.functions)
        return self._describe_for_tenant(await self._hide_details(own.info()))

    async def get(self, *arguments: Any, **options: Any) -> Any:
        self._budget.items.take(1)
        return await self._hide_details(self._store.get(*arguments, **options))

    async def put(self, *arguments: Any, **options: Any) -> Written:
        return await self._hide_details(self._store.put(*arguments, **options))

    async def merge(self, *arguments: Any, **options: Any) -> Written:
        return await self._hide_details(self._store.merge(*arguments, **options))

    async def delete(self, *arguments: Any, **options: Any) -> Deleted:
        return await self._hide_details(self._store.delete(*arguments, **options))

    async def move(self, *arguments: Any, **options: Any) -> bool:
        return await self._hide_details(self._store.move(*arguments, **options))

    async def check_batch(self, *arguments: Any, **options: Any) -> None:
        await self._hide_details(self._store.check_batch(*arguments, **options))

    async def get_indexes(self, *, required: bool = False) -> tuple[Index, ...]:
        return await self._hide_details(self._store.get_indexes(required=required))

    async def query(self, read: Read) -> StorePage:
        if read.secondary_index is not None:
            return await self._read_among_others(self._store.query, read)
        return self._charge_own(await self._hide_details(self._store.query(read)))

    async def scan(self, read: Read) -> StorePage:
        if self._store.mode == "local":  # it finds a deployment's items without reading others
            return self._charge_own(await self._hide_details(self._store.scan(read)))
        return await self._read_among_others(self._store.scan, read)

    async def _read_among_others(self, fetch: Callable[[Read], Awaitable[StorePage]], read: Read) -> StorePage:
        """Read a page for which items of other tenants may be read. Its counts are of the tenant's own items."""
        if not self._others_read:  # a call that has begun runs to its end
            self._budget.others.check()
        left = max(1, GATEWAY_READ_BUDGET - self._others_read)
        page = await self._hide_details(fetch(read._replace(read_limit=left)))
        own = sum(self._tenant.prefix.owns(item["pk"]["S"]) for item in page.items)
        self._budget.items.take(own)
        self._budget.others.take(page.scanned - own)
        self._others_read += page.scanned - own
        return page._replace(scanned=own, capacity=None, spent=self._others_read >= GATEWAY_READ_BUDGET)

    def _charge_own(self, page: StorePage) -> StorePage:
        self._budget.items.take(page.scanned)
        return page._replace(capacity=None)

    async def close(self) -> None:
        """Do nothing: the tenants share the store."""

    async def _hide_details(self, answer: Awaitable[_T]) -> _T:
        try:
            return await answer
        except errors.DdbMcpError as error:
            raise hide_operator_details(error, self._tenant.name) from error

    def _describe_for_tenant(self, deployment: Deployment) -> Deployment:
        """Return the deployment as a tenant may see it, without warnings about the operator's permissions."""
        functions = [dict(function) for function in deployment.details.get("lambdaFunctions", ())]
        for function in functions:
            if detail := function.pop("detail", None):
                logger.warning("%s: the function %s: %s", self._tenant.name, function["name"], detail)
        for warning in deployment.details.get("warnings", ()):
            logger.warning("%s: %s", self._tenant.name, warning)
        prefix = self._tenant.prefix.text
        app = _LOCAL_STORAGE if self._store.mode == "local" else None
        return deployment._replace(
            prefix=prefix,
            features=FEATURES,
            instructions=write_instructions(deployment.table_name, prefix, deployment.region, "platform", app=app),
            details={"lambdaFunctions": functions} if functions else {},
        )


def hide_operator_details(error: errors.DdbMcpError, whose: str) -> errors.DdbMcpError:
    """Return the error as a tenant may see it, and log the full error for the operator.

    An error that the tenant's own arguments have caused is returned unchanged.

    Args:
        error: from the storage.
        whose: names the tenant in the log.
    """
    if isinstance(error, _OPERATOR_ERRORS):
        metrics.count_backend_error("storage", error.code)
        logger.error("%s: the storage refuses the gateway: %s", whose, _format_error(error))
        return errors.Unavailable("The platform cannot use its storage.", next=_OPERATORS)
    for passing, message in _PASSING_ERRORS.items():
        if isinstance(error, passing):
            metrics.count_backend_error("storage", error.code)
            logger.warning("%s: %s", whose, _format_error(error))
            return passing(message)
    return error


def hide_registry_error(error: errors.DdbMcpError | TimeoutError) -> errors.DdbMcpError:
    """Log why the registry cannot be read, and return the error that a tenant may see."""
    if not isinstance(error, errors.DdbMcpError):
        error = errors.Timeout("It does not answer.")
    metrics.count_backend_error("registry", error.code)
    logger.error("The registry cannot be read: %s", _format_error(error))
    return errors.Unavailable("The platform cannot read its registry.", next=_OPERATORS)


def _format_error(error: errors.DdbMcpError) -> str:
    return " ".join(filter(None, (f"{error.code}:", error.message, error.quoted, error.next)))


# Errors of the gateway's own credentials, permissions and configuration.
_OPERATOR_ERRORS = (errors.Unauthenticated, errors.Forbidden, errors.Misconfigured, errors.Internal)
# Passing errors, in words that show nothing of the operator's.
_PASSING_ERRORS: dict[type[errors.DdbMcpError], str] = {
    errors.Throttled: "The platform's storage is overloaded; nothing was written.",
    errors.Unavailable: "The platform's storage is busy or unreachable; nothing was written.",
    errors.Timeout: "The platform's storage did not answer in time; nothing was written.",
    errors.OutcomeUnknown: "The outcome of the write is unknown: it may have been done, or may still be done.",
}
