"""`Store`: the operations that every kind of storage has, and the types of their arguments and results.

Stores know nothing of MCP, of budgets of text, or of who owns a key.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from ddb_mcp.core.conditions import ALL_SORT_KEYS, CheckDeadline, Filter, KeyRange, are_equal, matches
from ddb_mcp.core.errors import ConditionFailed, DdbMcpError
from ddb_mcp.core.indexes import Index
from ddb_mcp.core.items import AttributeValue, Item, exceeds_bytes
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.paths import Path, get_value
from ddb_mcp.core.updates import Update, find_lost_values

Position = Any
"""The position of a listing, as JSON. Only its own store reads it, and it is sealed before it leaves the server."""

INDEXES_KEPT_SECONDS = 60

Progress = Callable[[str], Awaitable[None]]
"""Reports progress to a caller that has requested it."""


class Deployment(NamedTuple):
    """A deployment and the location of its data, as `provision` and `info` report it.

    Attributes:
        prefix: None if the store does not know it; the platform store does.
        features: what the store can do beyond the documented platform API, by the names in `FEATURES`.
        indexes: the table's secondary indexes, None if unknown.
        details: further members of the result, for example `lambdaFunctions` in direct mode.
    """

    table_name: str
    region: str
    provisioned: bool
    prefix: str | None = None
    created: bool = False
    features: frozenset[str] = frozenset()
    instructions: str | None = None
    indexes: tuple[Index, ...] | None = None
    details: Mapping[str, Any] = MappingProxyType({})


FEATURES = frozenset(
    {"add", "batches", "conditions", "indexes", "merge", "move", "or", "pages", "paths", "types", "where"}
)
"""conditions: `create_only` and `expect`. merge: `merge` and `remove`. pages: ranges, filters, projections, cursors.
types: values in typed form. or: `$or` and `type` in filters. paths: document paths in `remove`, and names in
backticks. add: `add`. where: `where` and what goes with it. move: `move_to`. indexes: `index` in queries.
batches: `items` in `put`."""


class WriteCondition(NamedTuple):
    """A condition on the stored item, checked as the item is written. `create_only`: no item is stored."""

    create_only: bool = False
    expect: Filter = ()

    def is_satisfied_by(self, stored: Item | None, check: CheckDeadline | None = None) -> bool:
        """Return whether the stored item satisfies this. `check`: see `matches`."""
        return not (self.create_only and stored is not None) and matches(self.expect, stored or {}, check)

    def check(self, stored: Item | None, check: CheckDeadline | None = None, *, room: int | None = None) -> None:
        """Raise ConditionFailed, with the stored item as `cut_values` leaves it, if this does not hold for it."""
        if not self.is_satisfied_by(stored, check):
            with cut_values(room):
                raise self.make_error(stored)

    def make_error(self, stored: Item | None) -> ConditionFailed:
        """Return the error for a write that a store refused because this did not hold."""
        advice = None
        if self.create_only:
            message = "create_only: an item with this key already exists."
        elif stored is None:
            message = "expect does not hold: no item with this key exists."
            advice = "Check the key, or create the item without expect; nothing was written."
        else:
            message = "expect does not hold for the stored item."
        return ConditionFailed(message, item=stored, next=advice)


NO_CONDITION = WriteCondition()


@contextmanager
def cut_values(room: int | None) -> Iterator[None]:
    """Take the stored item out of a ConditionFailed raised here if it has more than `room` bytes of JSON."""
    try:
        yield
    except ConditionFailed as failed:
        if room is not None and failed.item is not None and exceeds_bytes({"M": failed.item}, room):
            failed.item = None
        raise


PATHS_NAMED = 100
"""The paths that an outcome without values still names. A warning has no room for more."""


class Written(NamedTuple):
    """The outcome of a put or an update.

    Attributes:
        created: whether there was no item before; None if the store cannot tell.
        dropped: the values that were stored and are gone, by path.
        updated: the new values of the attributes in `Update.add`.
        absent: paths of `Update.remove` at which there was nothing.
        gone: some of the paths in `dropped`, in place of it and of `updated`, if the write had a `room`.
    """

    created: bool | None
    dropped: Mapping[Path, AttributeValue] = MappingProxyType({})
    updated: Mapping[str, AttributeValue] = MappingProxyType({})
    absent: tuple[Path, ...] = ()
    gone: tuple[Path, ...] = ()

    @classmethod
    def from_replacement(cls, old: Item | None, new: Item) -> "Written":
        """Return the outcome of storing `new` where `old` was."""
        return cls(old is None, find_lost_values(old, new))

    @classmethod
    def from_update(cls, update: Update, old: Item | None, new: Item | None = None) -> "Written":
        """Return the outcome of an update of `old`, which made it `new`. Raises InvalidArgument as `Update.apply`."""
        new, absent = update.apply(old) if new is None else new, update.find_absent(old)
        removed = {path: found for path in update.remove if (found := get_value(old or {}, path)) is not None}
        created = old is None and not update.only_removes
        return cls(created, {**removed, **find_lost_values(old, new)}, {name: new[name] for name in update.add}, absent)

    def limit(self, room: int | None, removed: Collection[Path] = ()) -> "Written":
        """Return the outcome without its values, unless `room` is None; `gone` leaves out what was to be removed."""
        if room is None:
            return self
        wanted = frozenset(removed)
        gone = islice((path for path in self.dropped if path not in wanted), PATHS_NAMED)
        return Written(self.created, absent=self.absent[:PATHS_NAMED], gone=tuple(gone))


def is_visible_in(write: Item | Update | None, stored: Item | None) -> bool:
    """Return whether the stored item is as a write makes it: a put of an item, an update, or a delete (None)."""
    if write is None or stored is None:
        return write is stored
    return write.is_seen_in(stored) if isinstance(write, Update) else are_equal({"M": write}, {"M": stored})


class Deleted(NamedTuple):
    """The outcome of a delete. `deleted` is None if the store cannot tell; `item`: the item before, if known."""

    deleted: bool | None
    item: Item | None = None

    def limit(self, room: int | None) -> "Deleted":
        """Return the outcome without the item, unless `room` is None."""
        return self if room is None else Deleted(self.deleted)


class Read(NamedTuple):
    """One page's worth of a query (`pk` is set) or of a scan (`pk_prefix` is set). A query of an index has both.

    Attributes:
        secondary_index: `pk` and `range` are then values of its keys, as text. `pk_prefix` is still of the table's
            partition key: items of other deployments are read, counted in `scanned` and left out, as in a scan.
        filter: clauses that items must satisfy; the store applies them.
        attributes: top-level names to return besides the table's key (and the index's); None for all.
        position: where to continue, None for the beginning.
        limit: the most items that come back.
        read_limit: the most stored items that are read, filtered or not; a store may overshoot by one round of pages.
        max_bytes: more bytes of the items' plain JSON are not needed: a hint for what is not worth fetching. The first
            item may be longer.
        pk_is_longer: no item has `pk_prefix` itself as its partition key: a hint for what is not worth reading.
    """

    pk: str | None = None
    pk_prefix: str | None = None
    range: KeyRange = ALL_SORT_KEYS
    filter: Filter = ()
    attributes: tuple[str, ...] | None = None
    descending: bool = False
    position: Position | None = None
    limit: int = 50
    read_limit: int = 100_000
    max_bytes: int = 1_000_000
    pk_is_longer: bool = False
    secondary_index: Index | None = None

    def names(self, item: Item) -> bool:
        """Return whether the key of an item is among those that this reads."""
        pk, sk = Key.of(item)
        if self.secondary_index is not None:
            is_own = pk.startswith(self.pk_prefix or "")
            return is_own and self.secondary_index.selects(item, self.pk or "", self.range)
        if self.pk is not None:
            return pk == self.pk and self.range.contains(sk)
        return pk.startswith(self.pk_prefix or "") and not (self.pk_is_longer and pk == self.pk_prefix)


async def _no_position(at: int) -> Position | None:
    return None


class StorePage(NamedTuple):
    """The result of one `Read`.

    Attributes:
        items: matching items, in sort-key order for a query. May be empty although there are more.
        next: where to continue after all of `items`; None at the real end, or if the store cannot continue.
        scanned: stored items read for it.
        after: gives the position after `items[n]`, so that a page can be left in its middle; None if the store cannot
            continue from there. Raises DdbMcpError if the store has to be read for it. It does not hold the items.
        capacity: capacity units it cost, if the store reports them.
        complete: False if `next` is None but more items may follow (a platform without pages).
        full: the next item is known not to fit into what was left of `max_bytes`.
        spent: the call must end here, whatever `scanned` says: the store has read enough for it.
    """

    items: list[Item]
    next: Position | None
    scanned: int
    after: Callable[[int], Awaitable[Position | None]] = _no_position
    capacity: float | None = None
    complete: bool = True
    full: bool = False
    spent: bool = False


def make_after(positions: Sequence[Position]) -> Callable[[int], Awaitable[Position]]:
    """Return `StorePage.after` of a page whose items have these positions."""

    async def after(at: int) -> Position:
        return positions[at]

    return after


class SelectionWrite(NamedTuple):
    """Items that one call writes to, and what it does to each of them.

    Attributes:
        read: which items, and where to continue. Its `limit` is how many are written to at most.
        change: sets, adds and removes in each; its `item` has no key. None for another kind of write.
        copy_to: the partition key under which each is stored too.
        move_to: the partition key to which each is moved. Without any of these, each is deleted.
        dry_run: nothing is written, and more than `limit` are counted.
    """

    read: Read
    change: Update | None = None
    copy_to: str | None = None
    move_to: str | None = None
    dry_run: bool = False


@dataclass
class SelectionResult:
    """The outcome of a write to a selection.

    Attributes:
        matched: items that were selected, and whose write was begun unless it was a dry run.
        written: items whose write was done.
        failed: keys of the first items whose write was not done, or may not have been done, and why.
        failures: how many such items there are.
        sample: the first items of a dry run: their keys, and what the filter names of them.
        next: the position before the first selected item whose write was not begun; None at the end.
        complete: whether the write of every selected item was begun.
        stopped: the error that ended the call before its end.
    """

    matched: int = 0
    written: int = 0
    failed: list[tuple[Key, DdbMcpError]] = field(default_factory=list)
    failures: int = 0
    sample: list[Item] = field(default_factory=list)
    next: Position | None = None
    complete: bool = False
    stopped: DdbMcpError | None = None


class Store(ABC):
    """The seven operations over one kind of storage.

    Every method raises the errors of `ddb_mcp.core.errors` and no others: NotProvisioned if the table is missing,
    ConditionFailed if a condition does not hold (with the stored item if known), Throttled, Unavailable and
    Timeout after the store's own bounded retries, Unsupported before anything is sent. Methods are safe to call
    concurrently, and to cancel: a cancelled write may still happen.

    `room` bounds the memory of a batch: an outcome then holds none of the values that were stored, and ConditionFailed
    an item of at most `room` bytes of JSON, from the moment the store knows the outcome. None: all of them. 0: a store
    need not ask what was stored, and its outcome may say no more than that the write was done.
    """

    mode: str
    positions_may_be_foreign: bool
    """Whether the position of a scan can hold keys of other deployments."""

    @abstractmethod
    async def provision(self, progress: Progress) -> Deployment:
        """Make what is missing. Safe to repeat and to run twice at once."""

    @abstractmethod
    async def info(self) -> Deployment:
        """Return the deployment as it is; changes nothing."""

    @abstractmethod
    async def get(self, key: Key) -> Item | None:
        """Return the whole stored item, strongly consistent; None if there is none."""

    @abstractmethod
    async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
        """Replace the whole item."""

    @abstractmethod
    async def merge(self, update: Update, condition: WriteCondition, *, room: int | None = None) -> Written:
        """Carry out the update atomically. Creates the item if it is absent, unless the update only removes.

        Raises InvalidArgument also for what only the stored item makes wrong, see `Update.apply`.
        """

    @abstractmethod
    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        """Delete an item."""

    async def move(self, item: Item, copy: Item) -> bool:
        """Store `copy` and delete `item`, as it was read, in one transaction. False if the store has none for it.

        Raises ConditionFailed if `item` is gone or has changed, or another item has the key of `copy`.
        """
        return False

    async def check_batch(self, writes: Sequence[Item | Update], condition: WriteCondition) -> None:
        """Raise Unsupported if the store cannot do one of these writes. `writes` is empty for deletes."""
        return

    async def put_batch(self, items: Sequence[Item], condition: WriteCondition) -> list[DdbMcpError | None] | None:
        """Store up to 100 items in one request. Return for each its error, None if it was stored.

        Return None, with nothing sent, if the store leaves this to its caller, who calls `put` for each.
        """
        return None

    async def write_selected(self, selection: SelectionWrite, progress: Progress) -> SelectionResult | None:
        """Write to every item of a selection. None if the store leaves this to the service, which writes one by one.

        Raises OutcomeUnknown if a response was lost; its message says how many items were written before.
        """
        return None

    async def get_indexes(self, *, required: bool = False) -> tuple[Index, ...]:
        """Return the table's secondary indexes, as they were at most a minute ago; empty if they cannot be known.

        Args:
            required: raise the error (Forbidden, Unsupported) if they cannot be known.
        """
        return ()

    @abstractmethod
    async def query(self, read: Read) -> StorePage:
        """Return a page of the items of one partition key, of the table or of an index, in sort-key order."""

    @abstractmethod
    async def scan(self, read: Read) -> StorePage:
        """Return a page of the items whose partition keys begin with `pk_prefix`."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections and files. No call may be under way."""

    def for_deployment(self, prefix: Prefix, functions: tuple[str, ...]) -> "Store":
        """Return this store for `provision` and `info` of another deployment with these Lambda functions."""
        return self
