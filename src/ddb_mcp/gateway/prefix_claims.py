"""Claims on prefixes. No two deployments overlap, wherever and whenever they are added.

A claim is an entry with the joined prefix as its sort key, and names the deployment that made it. Single reads find the
claims on prefixes that contain a prefix; one range finds those on prefixes that it contains.

A deployment is added in the state `adding`. Then it writes its claim, looks for claims that overlap, and only then
becomes `active`. Of two overlapping claims, at least one sees the other. It gives up if the other deployment is active
or is older; otherwise it deletes the other deployment's record, so that the other can no longer become active. So two
can never be active, whatever the clocks say. The clocks only decide which of the two succeeds.
"""

from collections.abc import AsyncIterator, Callable

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.keys import SEPARATORS, Key
from ddb_mcp.gateway.records import Record, delete_record, iter_records, read_record, sound, write_record
from ddb_mcp.gateway.tenants import Tenant, TenantRecords
from ddb_mcp.stores.base import Read, Store

# A claim is written, compared and confirmed within seconds. An older claim is a leftover.
CLAIM_SECONDS = 60
# Attempts of a change while others change the same record.
REGISTRY_ATTEMPTS = 20


_PARTITION = "prefixes"


class PrefixClaims:
    """The claims in the registry's table.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, tenants: TenantRecords, clock: Callable[[], float]) -> None:
        self._store = store
        self._tenants = tenants
        self._clock = clock

    async def acquire(self, tenant: Tenant) -> None:
        """Claim the prefix of a deployment in the state `adding`.

        Raises:
            InvalidArgument: the prefix is too long, or overlaps another deployment's.
        """
        joined = tenant.prefix.joined
        if (size := len(joined.encode())) > limits.SK_MAX_BYTES:
            raise InvalidArgument(f"The prefix has {size} bytes with its joiner; the limit is {limits.SK_MAX_BYTES}.")
        entry = {"pk": _PARTITION, "sk": joined, "name": tenant.name, "claim": tenant.claim}
        while not await write_record(self._store, entry):
            if other := await read_record(self._store, Key(_PARTITION, joined)):
                await self._overrule(other, tenant)
        async for other in self._iter_overlapping(joined):
            await self._overrule(other, tenant)

    async def release(self, tenant: Tenant) -> None:
        """Give up the deployment's claim, unless another deployment has claimed the prefix by now."""
        await delete_record(self._store, Key(_PARTITION, tenant.prefix.joined), claim=tenant.claim)

    async def _overrule(self, entry: Record, tenant: Tenant) -> None:
        """Remove another deployment's claim. Raises InvalidArgument if that deployment takes precedence."""
        with sound(entry):
            name, claim = entry["name"], entry["claim"]
        while (other := await self._tenants.read(name)) is not None and other.claim == claim:
            is_stale = self._clock() - other.created > CLAIM_SECONDS
            is_older = (other.created, other.claim) < (tenant.created, tenant.claim)
            if other.state != "adding" or (is_older and not is_stale):
                raise InvalidArgument(
                    f"The prefix {tenant.prefix.joined!r} overlaps the one of {name}.",
                    next="Choose a prefix that neither contains another nor is contained in one.",
                )
            await self._tenants.delete(other)
        await delete_record(self._store, Key(_PARTITION, entry["sk"]), claim=claim)

    async def _iter_overlapping(self, joined: str) -> AsyncIterator[Record]:
        """Yield the claims on prefixes that contain this one or are contained in it."""
        for end, character in enumerate(joined[:-1], 1):
            if character in SEPARATORS and (entry := await read_record(self._store, Key(_PARTITION, joined[:end]))):
                yield entry
        async for record in iter_records(self._store.query, Read(pk=_PARTITION, range=KeyRange(prefix=joined))):
            if record["sk"] != joined:
                yield record
