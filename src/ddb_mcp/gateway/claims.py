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
from dataclasses import dataclass
from typing import Any

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange
from ddb_mcp.core.errors import ConditionFailed, InvalidArgument
from ddb_mcp.core.keys import SEPARATORS, Key, Prefix
from ddb_mcp.gateway.records import Record, expecting, read_record, records
from ddb_mcp.stores.base import Condition, Read, Store

PARTITION = "prefixes"
"""The partition of all entries."""

IsTaken = Callable[[str, str], Awaitable[bool]]
"""Whether the deployment of this name was made with this claim."""


@dataclass(frozen=True)
class Claim:
    """An entry. `id` is this claim's own; `at` is when it was made, in seconds since 1970."""

    prefix: str
    name: str
    id: str
    at: float
    confirmed: bool = False

    @property
    def key(self) -> Key:
        return Key(PARTITION, self.prefix)

    def record(self) -> Record:
        return {
            "pk": PARTITION,
            "sk": self.prefix,
            "name": self.name,
            "claim": self.id,
            "at": self.at,
            "confirmed": self.confirmed,
        }

    @classmethod
    def of(cls, record: Record) -> "Claim":
        return cls(record["sk"], record["name"], record["claim"], float(record["at"]), bool(record["confirmed"]))


class Claims:
    """The entries in the registry's table.

    Args:
        clock: seconds since 1970.
        is_taken: see `IsTaken`.
    """

    def __init__(self, store: Store, clock: Callable[[], float], is_taken: IsTaken) -> None:
        self._store = store
        self._clock = clock
        self._is_taken = is_taken

    async def take(self, prefix: Prefix, name: str) -> Claim:
        """Write a claim and make sure that nothing overlaps. `confirm` is to follow.

        Raises:
            InvalidArgument: the prefix is too long, or overlaps one that is taken or is just being taken.
        """
        if (size := len(prefix.joined.encode())) > limits.SK_MAX_BYTES:
            raise InvalidArgument(f"The prefix has {size} bytes with its joiner; the limit is {limits.SK_MAX_BYTES}.")
        claim = Claim(prefix.joined, name, secrets.token_hex(8), self._clock())
        await self._write(claim)
        try:
            async for other in self._overlapping(prefix.joined):
                await self._yield_or_remove(claim, other)
        except InvalidArgument:
            await self.release(claim)
            raise
        return claim

    async def confirm(self, claim: Claim) -> None:
        """Make the claim last. Raises InvalidArgument where another `take` has removed it meanwhile."""
        mine = Condition(expect=expecting(claim=claim.id, confirmed=False))
        confirmed = Claim(claim.prefix, claim.name, claim.id, claim.at, confirmed=True)
        try:
            await self._store.put(records(confirmed.record()), mine)
        except ConditionFailed:
            raise _overlap(claim, "another that is being added at this moment") from None

    async def release(self, claim: Claim) -> None:
        """Give the prefix back, unless the entry is another's by now."""
        await self._remove(claim.key, claim=claim.id)

    async def release_of(self, prefix: Prefix, claim_id: str) -> None:
        """Give a prefix back that was taken by the claim with this id."""
        await self._remove(Key(PARTITION, prefix.joined), claim=claim_id)

    async def _write(self, claim: Claim) -> None:
        for _ in range(limits.REGISTRY_ATTEMPTS):
            try:
                await self._store.put(records(claim.record()), Condition(create_only=True))
            except ConditionFailed:
                if (other := await self._entry(claim.prefix)) is None:
                    continue
                if not await self._is_void(other):
                    raise _overlap(claim, other.name) from None
                await self._remove(other.key, claim=other.id)
            else:
                return
        raise _overlap(claim, "another that is being added at this moment")

    async def _yield_or_remove(self, claim: Claim, other: Claim) -> None:
        """Remove an entry that overlaps. Raises InvalidArgument where the other entry takes precedence."""
        for _ in range(limits.REGISTRY_ATTEMPTS):
            void = await self._is_void(other)
            if not void and (other.confirmed or (other.at, other.id) < (claim.at, claim.id)):
                break
            if await self._remove(other.key, claim=other.id, confirmed=other.confirmed):
                return
            found = await self._entry(other.prefix)  # it was confirmed meanwhile, or is gone
            if found is None:
                return
            other = found
        raise _overlap(claim, other.name)

    async def _is_void(self, other: Claim) -> bool:
        """Whether an entry no longer counts: its `add` or its deployment has ended."""
        if other.confirmed:  # a deployment is made before its claim is confirmed
            return not await self._is_taken(other.name, other.id)
        return self._clock() - other.at > limits.CLAIM_SECONDS

    async def _overlapping(self, joined: str) -> AsyncIterator[Claim]:
        """The entries of prefixes that contain this one or are contained in it."""
        for end, character in enumerate(joined[:-1], 1):
            if character in SEPARATORS and (found := await self._entry(joined[:end])):
                yield found
        position: Any = None
        while True:
            page = await self._store.query(Read(pk=PARTITION, range=KeyRange(prefix=joined), position=position))
            for claim in map(Claim.of, map(read_record, page.items)):
                if claim.prefix != joined:
                    yield claim
            if (position := page.next) is None:
                return

    async def _entry(self, joined: str) -> Claim | None:
        item = await self._store.get(Key(PARTITION, joined))
        return None if item is None else Claim.of(read_record(item))

    async def _remove(self, key: Key, **expected: Any) -> bool:
        try:
            await self._store.delete(key, Condition(expect=expecting(**expected)))
        except ConditionFailed:
            return False
        return True


def _overlap(claim: Claim, other: str) -> InvalidArgument:
    return InvalidArgument(
        f"The prefix {claim.prefix!r} overlaps the one of {other}.",
        next="Choose a prefix that neither contains another nor is contained in one.",
    )
