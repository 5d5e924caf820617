"""Items behind a platform's HTTP API, as documented and, if its `info` lists our extensions, with those.

`requests` makes the bodies, `api` sends them, and `answers` reads the answers.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ALL_SORT_KEYS, matches
from ddb_mcp.core.errors import (
    ConditionFailed,
    DdbMcpError,
    InvalidArgument,
    NotProvisioned,
    OutcomeUnknown,
    Unavailable,
)
from ddb_mcp.core.indexes import Index
from ddb_mcp.core.items import Item, measure_item, select_attributes
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.paths import Path, format_path, parse_path
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import (
    INDEXES_KEPT_SECONDS,
    NO_CONDITION,
    Deleted,
    Deployment,
    Position,
    Progress,
    Read,
    SelectionResult,
    SelectionWrite,
    Store,
    StorePage,
    WriteCondition,
    Written,
    cut_values,
    is_visible_in,
)
from ddb_mcp.stores.platform.answers import (
    Answer,
    get_members,
    is_at_end,
    is_item,
    is_valid_text,
    parse_attributes,
    parse_count,
    parse_deployment,
    parse_item_answer,
    parse_items,
    parse_outlined,
)
from ddb_mcp.stores.platform.api import PlatformApi
from ddb_mcp.stores.platform.credentials import CredentialSource
from ddb_mcp.stores.platform.errors import PLATFORM_ANSWER_MAX_BYTES, parse_gateway_error
from ddb_mcp.stores.platform.requests import (
    condition_members,
    filter_json,
    item_text,
    key_members,
    need,
    plain_filter,
    selection_request,
    update_members,
)
from ddb_mcp.stores.retries import Completed, LostAnswerPolicy, ReadBackResult

SETTLE_SECONDS = 8
# A query page with fewer bytes ended at the end of the partition, not at DynamoDB's 1 MB a page.
WELL_UNDER_A_PAGE_BYTES = 512 * 1024
# Platforms cap `limit` at round numbers: a multiple of this many items may be the cap, not the end.
PLATFORM_PAGE_ITEMS = 100


logger = logging.getLogger(__name__)


class PlatformStore(Store):
    """`Store` over a platform's HTTP API.

    Args:
        settings: where the platform's address and token come from.
        attempt_seconds: how long one request may take.
        call_seconds: after this time a failed request is not repeated.

    Raises (each method):
        Misconfigured, Unauthenticated: there are no credentials that the platform takes.
        DdbMcpError: the platform's own refusal, by the code that fits it.
        Unsupported: the platform lacks the requested feature; nothing was sent.
        Unavailable, Timeout, Throttled: after a bounded number of retries; Unavailable also if the
            response is not one of the API's.
    """

    mode = "platform"
    positions_may_be_foreign = False  # what a platform gives is its own cursor

    def __init__(self, settings: PlatformSettings, *, attempt_seconds: float = 25, call_seconds: float = 30) -> None:
        self._api = PlatformApi(CredentialSource(settings), attempt_seconds=attempt_seconds, call_seconds=call_seconds)
        self._deployment: Deployment | None = None
        self._indexes_expire = 0.0

    async def provision(self, progress: Progress) -> Deployment:
        done = await self._call("provision", {})
        reported = self._remember(parse_deployment(_answer(done).document))
        return reported._replace(created=reported.created and not done.repeated)

    async def info(self) -> Deployment:
        document = _answer(await self._call("info", {})).document
        read_only = {"readOnly": True} if get_members(document).get("readOnly") is True else {}
        return self._remember(parse_deployment(document)._replace(details=read_only))

    def _remember(self, deployment: Deployment) -> Deployment:
        self._deployment = deployment
        self._indexes_expire = time.monotonic() + INDEXES_KEPT_SECONDS
        return deployment

    async def get(self, key: Key) -> Item | None:
        features = (await self._known()).features
        body: dict[str, Any] = {"pk": key.pk, "sk": key.sk}
        return parse_item_answer(_answer(await self._call("get", body)), key, typed="types" in features)

    async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
        features = (await self._known()).features
        body = {"item": item_text(item, features, "item"), **condition_members(condition, features)}
        write = self._write(Key.of(item), condition, item)
        with cut_values(room):
            return _written(await self._call("put", body, write, condition), features).limit(room)

    async def merge(self, update: Update, condition: WriteCondition, *, room: int | None = None) -> Written:
        features = (await self._known()).features
        body = {**update_members(update, features, "item"), **condition_members(condition, features)}
        write = self._write(Key.of(update.item), condition, update)
        with cut_values(room):
            written = _written(await self._call("put", body, write, condition), features)
        if written.created is not None:
            written = written._replace(absent=tuple(path for path in update.remove if path not in written.dropped))
        return written.limit(room, update.remove)

    async def check_batch(self, writes: Sequence[Item | Update], condition: WriteCondition) -> None:
        features = (await self._known()).features
        condition_members(condition, features)
        for at, write in enumerate(writes):
            if isinstance(write, Update):
                update_members(write, features, f"items[{at}]")
            elif "types" not in features:
                item_text(write, features, f"items[{at}]")

    async def put_batch(self, items: Sequence[Item], condition: WriteCondition) -> list[DdbMcpError | None] | None:
        features = (await self._known()).features
        if "batches" not in features:
            return None
        texts = [item_text(item, features, f"items[{at}]") for at, item in enumerate(items)]
        # Twice is as good as once, except under a condition.
        write = LostAnswerPolicy(repeat=condition == NO_CONDITION)
        done = await self._call("put", {"items": texts, **condition_members(condition, features)}, write)
        facts = get_members(_answer(done).document)
        failed = [entry for entry in facts.get("failed") or () if isinstance(entry, Mapping)]
        errors = {parse_count(entry.get("index")): parse_gateway_error(entry.get("error")) for entry in failed}
        if parse_count(facts.get("written")) != len(items) - len(errors) or not errors.keys() <= {*range(len(items))}:
            raise Unavailable("The platform's answer is not in a form that ddb-mcp reads.")
        return [errors.get(Decimal(at)) for at in range(len(items))]

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        features = (await self._known()).features
        body = {"pk": key.pk, "sk": key.sk, **condition_members(condition, features)}
        with cut_values(room):
            done = await self._call("delete", body, self._write(key, condition, None), condition)
        if done.answer is None:
            return Deleted(None)
        try:
            item = parse_item_answer(done.answer, key, typed="types" in features)
        except Unavailable:  # the write is done, whatever else the answer says
            item = None
        deleted = get_members(done.answer.document).get("deleted")
        if item is not None or deleted is True:
            return Deleted(True, item).limit(room)
        return Deleted(False if deleted is False and not done.repeated else None)

    async def write_selected(self, selection: SelectionWrite, progress: Progress) -> SelectionResult:
        """See `Store.write_selected`. The platform chooses the steps; its cursor leads from one to the next."""
        features = (await self._known()).features
        operation, body = selection_request(selection, features)
        done = SelectionResult(next=selection.read.position)
        deadline = anyio.current_time() + limits.WHERE_SECONDS
        while True:
            if done.next is not None:
                body["cursor"] = done.next
            try:
                answer = _answer(await self._call(operation, body, None if selection.dry_run else LostAnswerPolicy()))
            except OutcomeUnknown as lost:
                lost.message += f" {done.written} items were written before this step."
                raise
            except DdbMcpError as error:
                if not done.matched:
                    raise
                done.stopped = error
                return done
            _add_step(done, get_members(answer.document), typed="types" in features)
            await progress(f"{done.matched} items selected, {done.written} written")
            is_full = not selection.dry_run and done.matched >= selection.read.limit
            if done.next is None or done.stopped or is_full or anyio.current_time() >= deadline:
                return done

    async def get_indexes(self, *, required: bool = False) -> tuple[Index, ...]:
        known = await self._known()
        if required:
            for feature in ("indexes", "pages"):
                need(feature, known.features, "index in a query", "Query by pk, or scan with a filter.")
        if "indexes" in known.features and time.monotonic() >= self._indexes_expire:
            known = await self.info()
        return known.indexes or ()

    async def query(self, read: Read) -> StorePage:
        return await self._list("query", read)

    async def scan(self, read: Read) -> StorePage:
        return await self._list("scan", read)

    async def _list(self, operation: str, read: Read) -> StorePage:
        known = await self._known()
        if "pages" in known.features:
            return await self._page(operation, read, known)
        return await self._narrowed(operation, read, known)

    async def close(self) -> None:
        await self._api.close()

    async def _call(
        self,
        operation: str,
        body: Mapping[str, Any],
        write: LostAnswerPolicy | None = None,
        condition: WriteCondition = NO_CONDITION,
    ) -> Completed[Answer]:
        ours = self._deployment is not None and bool(self._deployment.features)
        try:
            return await self._api.request(operation, body, ours=ours, write=write)
        except NotProvisioned:
            self._deployment = None
            raise
        except ConditionFailed as failed:
            if condition == NO_CONDITION:
                raise
            raise condition.make_error(failed.item) from None

    async def _known(self) -> Deployment:
        return self._deployment or await self.info()

    def _write(self, key: Key, condition: WriteCondition, write: Item | Update | None) -> LostAnswerPolicy:
        """Return the way to resolve a lost answer of a put, an update, or a delete (None).

        Nothing decides a conditional write: what it would have stored, or deleted, may be the work of another client
        that met the condition at the same time. Nor does the item show whether an addition was made.
        """
        if condition != NO_CONDITION or (isinstance(write, Update) and not write.is_idempotent):
            return LostAnswerPolicy()

        async def read_back() -> ReadBackResult:
            try:
                with anyio.fail_after(SETTLE_SECONDS):
                    return "done" if is_visible_in(write, await self.get(key)) else "not done"
            except TimeoutError:
                return "undecided"

        return LostAnswerPolicy(read_back, repeat=True)

    async def _page(self, operation: str, read: Read, known: Deployment) -> StorePage:
        """Return a page of a platform that narrows and continues itself."""
        body = key_members(read)
        body["limit"] = min(read.limit, limits.LIMIT_MAX)
        body["max_bytes"] = read.max_bytes + limits.ENVELOPE_BYTES
        body["read_limit"] = read.read_limit
        if read.descending:
            body["descending"] = True
        if read.filter:
            body["filter"] = filter_json(read.filter, "filter", known.features)
        names = [format_path((name,)) for name in read.attributes or ()]
        if names and ("paths" in known.features or names == list(read.attributes or ())):
            body["attributes"] = names
        elif read.attributes == ():
            body["view"] = "keys"
        if read.position is not None:
            body["cursor"] = read.position
        document = _answer(await self._call(operation, body)).document
        facts = get_members(document)
        items = parse_items(document, typed="types" in known.features)
        cursor = facts.get("cursor")
        capacity, scanned = (parse_count(facts.get(name)) for name in ("capacity", "scanned"))
        position_of = {Key.of(item): at for at, item in enumerate(items)}
        for at in parse_outlined(facts.get("outlined"), items):
            items[at] = await self._get_listed(Key.of(items[at]), read)
        shown = [item for item in items if item]
        keys = [Key.of(item) for item in shown]

        async def after(at: int) -> Position | None:
            return await self._cursor_after(keys[at], position_of[keys[at]], operation, body)

        return StorePage(
            items=shown,
            next=cursor if is_valid_text(cursor) else None,
            scanned=len(items) if scanned is None else int(scanned),
            after=after,
            capacity=None if capacity is None else float(capacity),
            complete=facts.get("complete") is True,
            full=facts.get("stopped") == "bytes",
        )

    async def _get_listed(self, key: Key, read: Read) -> Item:
        """Return an item as `read` lists it: one that is too long for a page is not too long for a `get`."""
        projected = read.secondary_index.projected if read.secondary_index else None
        return select_attributes(select_attributes(await self.get(key) or {}, projected), read.attributes)

    async def _cursor_after(self, last: Key, at: int, operation: str, body: dict[str, Any]) -> Position | None:
        """Return the cursor after the item `last`, number `at` of a page, from a page that ends there.

        Raises:
            Unavailable: the page ends elsewhere now, because another client has added or deleted items before its end.
        """
        shorter = {**body, "limit": at + 1, "max_bytes": PLATFORM_ANSWER_MAX_BYTES}
        document = _answer(await self._call(operation, shorter)).document
        items = parse_items(document, typed=True)
        if not items or Key.of(items[-1]) != last:
            raise Unavailable("Items were added or deleted while they were read.", next="Call again.")
        cursor = get_members(document).get("cursor")
        return cursor if is_valid_text(cursor) else None

    async def _narrowed(self, operation: str, read: Read, known: Deployment) -> StorePage:
        """Return a page of a platform that only supports a limit, with ranges and filters applied to it here."""
        assert known.prefix is not None
        prefix = Prefix(known.prefix, one_segment=True)
        plain_filter(read.filter, "filter", known.features)
        is_narrower = (
            bool(read.filter)
            or read.range != ALL_SORT_KEYS
            or read.descending
            or read.pk_prefix not in (None, prefix.joined)
        )
        limit = limits.LIMIT_MAX if is_narrower else min(read.limit, limits.LIMIT_MAX)
        body = {"limit": limit} if read.pk is None else {"pk": read.pk, "limit": limit}
        document = _answer(await self._call(operation, body)).document
        items = parse_items(document, typed="types" in known.features)
        if foreign := sum(not prefix.owns(Key.of(item).pk) for item in items):
            logger.error("Platform fault: %s gave %d items outside the prefix; they were ignored.", operation, foreign)
        matching = [
            item for item in items if prefix.owns(Key.of(item).pk) and read.names(item) and matches(read.filter, item)
        ]
        if operation == "query":
            matching.sort(key=lambda item: Key.of(item).sk, reverse=read.descending)
        end = is_at_end(document)
        if end is None:
            end = operation == "query" and _is_short(items, limit)

        return StorePage(
            items=[select_attributes(item, read.attributes) for item in matching[: read.limit]],
            next=None,
            scanned=len(items),
            complete=end and len(matching) <= read.limit,
        )


def _is_short(items: list[Item], limit: int) -> bool:
    """Return whether a query with these items ended because there are no more, not at a limit of the platform's own."""
    return (
        len(items) < limit
        and (len(items) % PLATFORM_PAGE_ITEMS != 0 or not items)
        and sum(map(measure_item, items)) < WELL_UNDER_A_PAGE_BYTES
    )


def _answer(done: Completed[Answer]) -> Answer:
    assert done.answer is not None, "only a write of an item can end without an answer"
    return done.answer


def _written(done: Completed[Answer], features: frozenset[str]) -> Written:
    """Return the outcome of a put. A platform without our extensions may echo the item with attributes of any name."""
    facts = get_members(done.answer.document) if done.answer and "conditions" in features else {}
    created, dropped, updated = (facts.get(name) for name in ("created", "dropped", "updated"))
    if not isinstance(created, bool) or (done.repeated and not created):
        created = None
    try:
        dropped_values = parse_attributes(dropped, typed=True) if isinstance(dropped, dict) else {}
        paths = {_path(name, features): value for name, value in dropped_values.items()}
        return Written(created, paths, parse_attributes(updated, typed=True) if isinstance(updated, dict) else {})
    except (Unavailable, InvalidArgument):  # the write is done, whatever else the answer says
        return Written(created)


def _path(name: str, features: frozenset[str]) -> Path:
    """Return the path in an answer; without the feature `paths` every sign is part of an attribute's name."""
    return parse_path(name, "dropped") if "paths" in features else (name,)


def _add_step(done: SelectionResult, facts: Mapping[str, Any], *, typed: bool) -> None:
    """Add the platform's answer to one step. Raises Unavailable if it is not in the known form."""
    matched, cursor = parse_count(facts.get("matched")), facts.get("cursor")
    written = parse_count(facts.get("written", facts.get("deletedCount", Decimal(0))))
    if matched is None or written is None or not isinstance(facts.get("complete"), bool):
        raise Unavailable("The platform's answer is not in a form that ddb-mcp reads.")
    done.matched += int(matched)
    done.written += int(written)
    done.failures += int(parse_count(facts.get("failedCount")) or 0)
    for entry in facts.get("failed") or ():
        if is_item(entry) and len(done.failed) < limits.WHERE_FAILURES:
            done.failed.append((Key(entry["pk"], entry["sk"]), parse_gateway_error(entry.get("error"))))
    done.sample = [*done.sample, *parse_items(facts.get("sample") or [], typed=typed)][: limits.WHERE_SAMPLE]
    done.complete = facts["complete"]
    # If an error ended this step early, the next step meets it again, or continues.
    done.next = cursor if is_valid_text(cursor) and not done.complete else None
