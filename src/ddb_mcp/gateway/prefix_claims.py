"""The prefixes that are taken. No two deployments overlap, wherever and whenever they are added.

There is one entry for each prefix, with the joined prefix as its sort key. Single reads find the prefixes that contain
a prefix; one range finds the prefixes that it contains.

A prefix is taken in three steps: write an entry as a claim, look at overlapping entries, confirm the claim where
it is still there. Of two overlapping claims, at least one sees the other. It withdraws where the other is confirmed or
is the earlier claim; it removes a later or leftover claim. So two can never be confirmed, whatever the clocks say. The
clocks only decide which of the two is confirmed.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange
from ddb_mcp.core.errors import ConditionFailed, InvalidArgument
from ddb_mcp.core.items import item_to_json
from ddb_mcp.core.keys import SEPARATORS, Key, Prefix
from ddb_mcp.gateway.records import Record, expect_members, iter_records, sound, to_item
from ddb_mcp.stores.base import Read, Store, WriteCondition

PARTITION = "prefixes"
"""The partition of all entries."""

IsDeploymentOf = Callable[[str, str], Awaitable[bool]]
"""Whether the deployment of this name was made with this claim."""


@dataclass(frozen=True)
class PrefixClaim:
    """An entry. `id` is this claim's own; `at` is when it was made, in seconds since 1970."""

    prefix: str
    name: str
    id: str
    at: float
    confirmed: bool = False

    def to_record(self) -> Record:
        """The entry as the table holds it."""
        return {
            "pk": PARTITION,
            "sk": self.prefix,
            "name": self.name,
            "claim": self.id,
            "at": self.at,
            "confirmed": self.confirmed,
        }

    @classmethod
    def from_record(cls, record: Record) -> "PrefixClaim":
        """Return the claim that `record` gives. Raises Misconfigured if the record is damaged."""
        with sound(record):
            return cls(record["sk"], record["name"], record["claim"], float(record["at"]), bool(record["confirmed"]))


class PrefixClaims:
    """The entries in the registry's table.

    Args:
        clock: seconds since 1970.
        is_taken: see `IsDeploymentOf`.
    """

    def __init__(self, store: Store, clock: Callable[[], float], is_taken: IsDeploymentOf) -> None:
        self._store = store
        self._clock = clock
        self._is_taken = is_taken

    async def acquire(self, prefix: Prefix, name: str) -> PrefixClaim:
        """Write a claim and make sure that nothing overlaps. `confirm` is to follow.

        Raises:
            InvalidArgument: the prefix is too long, or overlaps one that is taken or is just being taken.
        """
        if (size := len(prefix.joined.encode())) > limits.SK_MAX_BYTES:
            raise InvalidArgument(f"The prefix has {size} bytes with its joiner; the limit is {limits.SK_MAX_BYTES}.")
        claim = PrefixClaim(prefix.joined, name, secrets.token_hex(8), self._clock())
        await self._write(claim)
        try:
            async for other in self._overlapping(prefix.joined):
                await self._yield_or_remove(claim, other)
        except InvalidArgument:
            await self.release(prefix, claim.id)
            raise
        return claim

    async def confirm(self, claim: PrefixClaim) -> None:
        """Make the claim last. Raises InvalidArgument where another `acquire` has removed it meanwhile."""
        confirmed = replace(claim, confirmed=True)
        try:
            await self._store.put(to_item(confirmed.to_record()), expect_members(claim=claim.id, confirmed=False))
        except ConditionFailed:
            raise _overlap_error(claim, "another that is being added at this moment") from None

    async def release(self, prefix: Prefix, claim_id: str) -> None:
        """Give a prefix back, unless its entry is another claim's by now."""
        await self._remove(prefix.joined, claim=claim_id)

    async def _write(self, claim: PrefixClaim) -> None:
        for _ in range(limits.REGISTRY_ATTEMPTS):
            try:
                await self._store.put(to_item(claim.to_record()), WriteCondition(create_only=True))
            except ConditionFailed:
                if (other := await self._entry(claim.prefix)) is None:
                    continue
                if not await self._is_void(other):
                    raise _overlap_error(claim, other.name) from None
                await self._remove(other.prefix, claim=other.id)
            else:
                return
        raise _overlap_error(claim, "another that is being added at this moment")

    async def _yield_or_remove(self, claim: PrefixClaim, other: PrefixClaim) -> None:
        """Remove an entry that overlaps. Raises InvalidArgument where the other entry takes precedence."""
        for _ in range(limits.REGISTRY_ATTEMPTS):
            void = await self._is_void(other)
            if not void and (other.confirmed or (other.at, other.id) < (claim.at, claim.id)):
                break
            if await self._remove(other.prefix, claim=other.id, confirmed=other.confirmed):
                return
            stored = await self._entry(other.prefix)  # it was confirmed meanwhile, or is gone
            if stored is None:
                return
            other = stored
        raise _overlap_error(claim, other.name)

    async def _is_void(self, other: PrefixClaim) -> bool:
        """Whether an entry no longer counts: its `add` or its deployment has ended."""
        if other.confirmed:  # a deployment is made before its claim is confirmed
            return not await self._is_taken(other.name, other.id)
        return self._clock() - other.at > limits.CLAIM_SECONDS

    async def _overlapping(self, joined: str) -> AsyncIterator[PrefixClaim]:
        """The entries of prefixes that contain this one or are contained in it."""
        for end, character in enumerate(joined[:-1], 1):
            if character in SEPARATORS and (entry := await self._entry(joined[:end])):
                yield entry
        async for record in iter_records(self._store.query, Read(pk=PARTITION, range=KeyRange(prefix=joined))):
            if record["sk"] != joined:
                yield PrefixClaim.from_record(record)

    async def _entry(self, joined: str) -> PrefixClaim | None:
        item = await self._store.get(Key(PARTITION, joined))
        return None if item is None else PrefixClaim.from_record(item_to_json(item))

    async def _remove(self, joined: str, **members: Any) -> bool:
        """Remove the entry of a prefix where it has these members. False where it does not."""
        try:
            await self._store.delete(Key(PARTITION, joined), expect_members(**members))
        except ConditionFailed:
            return False
        return True


def _overlap_error(claim: PrefixClaim, other: str) -> InvalidArgument:
    return InvalidArgument(
        f"The prefix {claim.prefix!r} overlaps the one of {other}.",
        next="Choose a prefix that neither contains another nor is contained in one.",
    )
