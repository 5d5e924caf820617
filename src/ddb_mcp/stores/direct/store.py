"""Items in DynamoDB, or in any engine that speaks its protocol, through boto3's low-level client."""

import base64
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio

from ddb_mcp.config import DirectSettings, DirectStorage
from ddb_mcp.core import limits
from ddb_mcp.core.conditions import ALL_SORT_KEYS, Comparison, KeyRange, equal
from ddb_mcp.core.errors import (
    ConditionFailed,
    DdbMcpError,
    InvalidArgument,
    Misconfigured,
    NotProvisioned,
    Unavailable,
)
from ddb_mcp.core.expressions import Expression
from ddb_mcp.core.items import AttributeValue, Item, project
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import (
    FEATURES,
    NO_CONDITION,
    Condition,
    Deleted,
    Deployment,
    Position,
    Progress,
    Read,
    Store,
    StorePage,
    Written,
)
from ddb_mcp.stores.direct import codes
from ddb_mcp.stores.direct.aws import Aws, Refused, Response
from ddb_mcp.stores.direct.policy import policy
from ddb_mcp.stores.direct.provisioning import Functions, Table, probe
from ddb_mcp.stores.retries import Seen, Write

logger = logging.getLogger(__name__)


class DirectStore(Store):
    """The store of `direct` mode. See `Store` for its operations and errors.

    Args:
        settings: of one deployment, or of a gateway, which has no prefix.
            AWS's own variables and files are read by boto3 on first use.
    """

    mode = "direct"
    positions_may_be_foreign = True

    def __init__(self, settings: DirectStorage) -> None:
        self._table = settings.table
        self._prefix: Prefix | None = None
        role, role_policy = None, dict[str, Any]()
        if isinstance(settings, DirectSettings):
            self._prefix = settings.prefix
            role, role_policy = settings.role_arn or None, _session_policy(settings)
        self._aws = Aws(self._table, role, role_policy)
        self._functions = Functions(self._aws, (), {})
        if isinstance(settings, DirectSettings):
            self._functions = self._functions_of(settings.prefix, settings.lambda_functions)
        self._schema_is_known = False

    def for_deployment(self, prefix: Prefix, functions: tuple[str, ...]) -> "DirectStore":
        other = copy(self)
        other._prefix = prefix
        other._functions = self._functions_of(prefix, functions)
        return other

    def _functions_of(self, prefix: Prefix, names: tuple[str, ...]) -> Functions:
        return Functions(self._aws, names, {"DYNAMODB_TABLE": self._table, "DYNAMODB_PREFIX": prefix.text})

    async def provision(self, progress: Progress) -> Deployment:
        self._schema_is_known = False
        table = Table(self._aws, self._table, self._prefix)
        created = await table.make(progress)
        ttl = await table.enable_ttl()
        functions = await self._functions.update(progress)
        return await self._deployment(table, provisioned=True, created=created, ttl=ttl, functions=functions)

    async def info(self) -> Deployment:
        self._schema_is_known = False
        table = Table(self._aws, self._table, self._prefix)
        provisioned = await table.exists()
        ttl = await table.ttl() if provisioned else None
        functions = await self._functions.states()
        return await self._deployment(table, provisioned=provisioned, created=False, ttl=ttl, functions=functions)

    async def _deployment(
        self, table: Table, *, provisioned: bool, created: bool, ttl: str | None, functions: list[dict[str, Any]]
    ) -> Deployment:
        details = {"ttl": ttl, "lambdaFunctions": functions, "warnings": table.warnings}
        return Deployment(
            table_name=self._table,
            prefix=self._prefix.text if self._prefix else None,
            region=await self._aws.region(),
            provisioned=provisioned,
            created=created,
            features=FEATURES,
            details={name: value for name, value in details.items() if value},
        )

    async def get(self, key: Key, attributes: tuple[str, ...] | None) -> Item | None:
        expression = Expression()
        parameters = _projection(attributes, expression) | _placeholders(expression)
        answer = await self._call("get_item", Key=_typed(key), ConsistentRead=True, **parameters)
        self._schema_is_known = True
        item = answer.get("Item")
        if item is not None and not _is_at(key, item):
            raise Unavailable("The store answered with another item than the one that was asked for.")
        return None if item is None else project(item, attributes)

    async def put(self, item: Item, condition: Condition) -> Written:
        def done(stored: Item | None) -> bool:
            return stored is not None and equal({"M": stored}, {"M": item})

        await self._check_schema()
        key = Key.of(item)
        written, old = await self._write("put_item", key, condition, Expression(), done, Item=_outgoing(item))
        return Written.over(old, item) if written else Written(None)

    async def merge(self, update: Update, condition: Condition) -> Written:
        asked, guarded = update, condition
        for _ in range(limits.MERGE_ATTEMPTS):
            try:
                return await self._merge(asked, update, guarded)
            except ConditionFailed as failed:
                if guarded == condition:
                    raise
                if not _holds(condition, failed.item):
                    raise condition.failed(failed.item) from None
                asked, guarded = update, condition  # something is there now
            except InvalidArgument:
                if guarded != condition or all(len(path) == 1 for path in update.remove):
                    raise
                # DynamoDB refuses a path whose parent is missing, and changes nothing then.
                stored = await self.get(Key.of(update.item), None)
                gone = [path for path in update.absent(stored) if len(path) > 1]
                if not gone:
                    raise
                asked = replace(update, remove=tuple(path for path in update.remove if path not in gone))
                still = (Comparison(path, "exists", exists=False) for path in gone)
                guarded = Condition(expect=(*condition.expect, *still))
        raise Unavailable("Other writes changed what is to be removed again and again; nothing was written.")

    async def _merge(self, asked: Update, update: Update, condition: Condition) -> Written:
        """Send an update. `update` is what the caller wants: `asked`, and paths at which there is nothing."""
        key, expression = Key.of(asked.item), Expression()
        text = expression.update(asked.item, asked.remove, asked.add)
        parameters = {"UpdateExpression": text} if text else {}
        done = (lambda stored: stored is not None and update.is_seen_in(stored)) if update.repeatable else None
        written, old = await self._write("update_item", key, condition, expression, done, Key=_typed(key), **parameters)
        if not written:
            return Written(None)
        try:
            outcome = Written.by(update, old)
        except InvalidArgument:  # an engine that keeps other digits than DynamoDB
            logger.warning("The engine added what DynamoDB would have refused; the new values are not known.")
            outcome = Written.by(replace(update, add={}), old)
        # An engine that gives the key of an item which was not there cannot tell; DynamoDB gives nothing.
        return replace(outcome, created=None) if old is not None and old.keys() == {"pk", "sk"} else outcome

    async def delete(self, key: Key, condition: Condition) -> Deleted:
        def done(stored: Item | None) -> bool:
            return stored is None

        written, old = await self._write("delete_item", key, condition, Expression(), done, Key=_typed(key))
        return Deleted(old is not None, old) if written else Deleted(None)

    async def _write(
        self,
        operation: str,
        key: Key,
        condition: Condition,
        expression: Expression,
        done: Callable[[Item | None], bool] | None,
        **parameters: Any,
    ) -> tuple[bool, Item | None]:
        """Write one item. Returns True with the item that was there before, or False where that is not known.

        `done` tells whether the stored item is what the write was to make of it. Where the answer was lost, that
        settles a write without a condition. It does not settle a conditional one, a lock for example: the item may be
        another's work, and what this write made may have been written over. That one is repeated only where the
        condition still holds. Where `done` is None, nothing that is stored tells whether the write was done.
        """
        text = expression.condition(condition.expect)
        if condition.create_only:
            text = f"attribute_not_exists({expression.path('pk')})"
        if text:
            parameters |= {"ConditionExpression": text, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}

        async def look() -> Seen:
            assert done is not None
            stored = await self.get(key, None)
            if condition == NO_CONDITION:
                return "done" if done(stored) else "not done"
            return "not done" if _holds(condition, stored) and not done(stored) else "undecided"

        try:
            answer = await self._ask(
                operation,
                write=Write(look if done else None),
                expected=("ConditionalCheckFailedException",),
                ReturnValues="ALL_OLD",
                **parameters,
                **_placeholders(expression),
            )
        except Refused as refused:
            stored = refused.response.get("Item")
            shown = stored if stored is not None and _is_at(key, stored) else None
            raise await self._condition_failed(key, condition, shown) from None
        if answer is None:
            return False, None
        old = answer.get("Attributes") or None
        if old is None or _is_at(key, old):
            return True, old
        self._schema_is_known = False
        return False, None

    async def _condition_failed(self, key: Key, condition: Condition, item: Item | None) -> ConditionFailed:
        if item is None:  # there is none, or the engine does not return it
            try:
                item = await self.get(key, None)
            except DdbMcpError:
                return ConditionFailed(
                    "The condition does not hold; the stored item could not be read.",
                    next="Get the item and decide again; nothing was written.",
                )
        return condition.failed(item)

    async def _check_schema(self) -> None:
        """Raise Misconfigured where the table has another key schema: before the first call that it matters for, and
        before the next one after the table was gone, or was another.

        A get names the whole key, so that it is refused there. A put would replace whatever has the table's own key,
        which nobody has checked, and a query or a scan may show it.
        """
        if self._schema_is_known:
            return
        try:
            await self._ask("get_item", expected=codes.DENIED | codes.THROTTLED, Key=_typed(probe(self._prefix)))
        except Refused as refused:  # what follows may be allowed, and have capacity of its own
            self._schema_is_known = refused.code in codes.DENIED  # it would be each time
        else:
            self._schema_is_known = True

    async def query(self, read: Read) -> StorePage:
        await self._check_schema()
        expression = Expression()
        condition = f"{expression.path('pk')}={expression.value({'S': read.pk})}{_range(read.range, expression)}"
        start = {} if read.position is None else {"ExclusiveStartKey": _typed(Key(str(read.pk), read.position))}
        # One more than wanted, so that a page that holds the rest says that nothing follows.
        limit = limits.PAGE_ITEMS if read.filter else _wanted(read) + 1
        answer = await self._call(
            "query",
            KeyConditionExpression=condition,
            ScanIndexForward=not read.descending,
            Limit=min(limit, max(1, read.read_limit)),
            **start,
            **self._reading(read, expression, expression.condition(read.filter)),
        )
        items = [
            project(item, read.attributes)
            for item in answer["Items"]
            if (key := _key_of(item)).pk == read.pk and read.range.contains(key.sk)
        ]
        last = answer.get("LastEvaluatedKey")
        following = None if last is None else _key_of(last).sk

        async def after(at: int) -> Position:
            return items[at]["sk"]["S"]

        if len(items) > read.limit:
            following = items[read.limit - 1]["sk"]["S"]
        return StorePage(items[: read.limit], following, answer["ScannedCount"], after, _capacity(answer))

    async def scan(self, read: Read) -> StorePage:
        """One request to one segment where the items wanted are likely to be in it, else one to each that is left.

        How likely is told by what the last round found: a table that is all this deployment's is read in order, one
        that is mostly others' in waves of the size that should do, and in whole pages where a round found nothing.
        """
        await self._check_schema()
        at = _ScanPosition.of(read.position)
        most = max(1, read.read_limit)
        if at.matched == at.scanned:  # at the beginning, and where everything is own
            need = min(most, _wanted(read))
        else:
            need = min(
                most, math.ceil(_wanted(read) * limits.OVER_READ * at.scanned / at.matched) if at.matched else most
            )
        segments = list(at.starts)[:1] if need <= limits.PAGE_ITEMS else list(at.starts)
        limit = max(1, need // len(segments))

        expression = Expression()
        own = f"begins_with({expression.path('pk')},{expression.value({'S': read.pk_prefix})})"
        text = " AND ".join(filter(None, [own, expression.condition(read.filter)]))
        reading = self._reading(read, expression, text)

        async def fetch(segment: int) -> Response:
            start = at.starts[segment]
            return await self._call(
                "scan",
                Segment=segment,
                TotalSegments=at.total,
                Limit=limit,
                **({} if start is None else {"ExclusiveStartKey": _typed(start)}),
                **reading,
            )

        answers = await _together([partial(fetch, segment) for segment in segments])
        entries: list[tuple[int, Item]] = []
        ends = dict(at.starts)
        for segment, answer in zip(segments, answers, strict=True):
            found = [item for item in answer["Items"] if _key_of(item).pk.startswith(str(read.pk_prefix))]
            entries += [(segment, project(item, read.attributes)) for item in found]
            if (last := answer.get("LastEvaluatedKey")) is None:
                del ends[segment]
            else:
                ends[segment] = _key_of(last)
        scanned = sum(answer["ScannedCount"] for answer in answers)
        page = _ScanPage(at, ends, entries, scanned)
        following = page.after(read.limit - 1) if len(entries) > read.limit else page.end()
        costs = [cost for answer in answers if (cost := _capacity(answer)) is not None]
        items = [item for _, item in entries[: read.limit]]

        async def after(at: int) -> Position:
            return page.after(at)

        return StorePage(items, following, scanned, after, sum(costs) if costs else None)

    async def close(self) -> None:
        self._aws.close()

    async def _call(self, operation: str, **parameters: Any) -> Response:
        answer = await self._ask(operation, **parameters)
        assert answer is not None, "only writes are settled without an answer"
        return answer

    async def _ask(self, operation: str, **options: Any) -> Response | None:
        try:
            return await self._aws.call("dynamodb", operation, TableName=self._table, **options)
        except (NotProvisioned, Misconfigured):  # there may be another table of that name when it is asked for again
            self._schema_is_known = False
            raise

    def _reading(self, read: Read, expression: Expression, text: str) -> dict[str, Any]:
        """What a query and a scan have in common."""
        return {
            **({"FilterExpression": text} if text else {}),
            **_projection(read.attributes, expression),
            **_placeholders(expression),
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
        }


@dataclass(frozen=True)
class _ScanPosition:
    """Where a scan is: for each segment that is not done, the key it goes on after; and what the last round found."""

    starts: dict[int, Key | None]
    total: int
    scanned: int = 0
    matched: int = 0

    @classmethod
    def of(cls, position: Position | None) -> "_ScanPosition":
        if position is None:
            return cls(dict.fromkeys(range(limits.SCAN_SEGMENTS)), limits.SCAN_SEGMENTS)
        total, scanned, matched, starts = position
        return cls({int(segment): key and Key(*key) for segment, key in starts.items()}, total, scanned, matched)


@dataclass(frozen=True)
class _ScanPage:
    """Items with the segments they are from, in the order of the segments, and where each segment goes on."""

    at: _ScanPosition
    ends: Mapping[int, Key | None]
    entries: list[tuple[int, Item]]
    scanned: int

    def end(self) -> Position | None:
        return self._position(dict(self.ends)) if self.ends else None

    def after(self, n: int) -> Position:
        """The position after item `n`: its segment goes on there, later segments with items are read again."""
        segment, item = self.entries[n]
        ends = dict(self.ends)
        for other, _ in self.entries[n + 1 :]:
            ends[other] = self.at.starts[other]
        if self.entries[n + 1 :] and self.entries[n + 1][0] == segment:
            ends[segment] = Key.of(item)
        return self._position(dict(sorted(ends.items())))

    def _position(self, starts: dict[int, Key | None]) -> Position:
        counts = [self.scanned, len(self.entries)]
        return [self.at.total, *counts, {str(segment): key and list(key) for segment, key in starts.items()}]


def _session_policy(settings: DirectSettings) -> dict[str, Any]:
    """What the role is limited to. Raises Misconfigured where the role is not one."""
    if not settings.role_arn:
        return {}
    role = re.fullmatch(r"arn:(aws[a-z-]*):iam::[0-9]{12}:role/[!-~]+", settings.role_arn)
    if role is None:
        raise Misconfigured(
            f"DDB_MCP_ROLE_ARN is {settings.role_arn!r}, which is not the ARN of a role.",
            next="An example is arn:aws:iam::123456789012:role/app.",
        )
    return policy(settings, partition=role[1])


async def _together(calls: list[Callable[[], Awaitable[Response]]]) -> list[Response]:
    """The answers of concurrent calls, in order; the first failure ends the others and is raised as it is."""
    answers: dict[int, Response] = {}
    failure: DdbMcpError | None = None

    async def one(at: int) -> None:
        nonlocal failure
        try:
            answers[at] = await calls[at]()
        except DdbMcpError as error:
            failure = failure or error
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for at in range(len(calls)):
            group.start_soon(one, at)
    if failure:
        raise failure
    return [answers[at] for at in range(len(calls))]


def _wanted(read: Read) -> int:
    """How many items are worth fetching."""
    return min(read.limit, max(limits.PAGE_ITEMS_MIN, read.max_bytes // limits.SMALL_ITEM_BYTES))


def _range(keys: KeyRange, expression: Expression) -> str:
    """What a key condition says of the sort key, with its AND."""
    if keys == ALL_SORT_KEYS:
        return ""
    sk = expression.path("sk")
    if keys.prefix is not None:
        return f" AND begins_with({sk},{expression.value({'S': keys.prefix})})"
    low = keys.low and expression.value({"S": keys.low})
    high = keys.high and expression.value({"S": keys.high})
    if low and high:
        return f" AND {sk} BETWEEN {low} AND {high}"
    return f" AND {sk}>={low}" if low else f" AND {sk}<={high}"


def _projection(attributes: tuple[str, ...] | None, expression: Expression) -> dict[str, str]:
    if attributes is None:
        return {}
    names = dict(expression.names)
    text = ",".join(map(expression.path, dict.fromkeys(("pk", "sk", *attributes))))
    if len(text) <= limits.EXPRESSION_MAX_BYTES:
        return {"ProjectionExpression": text}
    # Too many for an expression: take the whole item; `project` selects from it. Unused names would be refused.
    expression.names = names
    return {}


def _placeholders(expression: Expression) -> dict[str, Any]:
    names, values = expression.names, expression.values
    return {
        **({"ExpressionAttributeNames": names} if names else {}),
        **({"ExpressionAttributeValues": _outgoing(values)} if values else {}),
    }


def _capacity(answer: Response) -> float | None:
    units = answer.get("ConsumedCapacity", {}).get("CapacityUnits")
    return None if units is None else float(units)


def _holds(condition: Condition, stored: Item | None) -> bool:
    try:
        condition.check(stored)
    except ConditionFailed:
        return False
    return True


def _is_at(key: Key, item: Item) -> bool:
    """Whether the item of an answer is the one with this key: a store that is mistaken may give away another's."""
    if _typed(key).items() <= item.items():
        return True
    logger.error("The store answered with another item than the one that was asked for; it is not shown.")
    return False


def _key_of(item: Item) -> Key:
    """The key of an item in a listing, or where a page ended. Raises Unavailable where it is none."""
    match item:
        case {"pk": {"S": str(pk)}, "sk": {"S": str(sk)}}:
            return Key(pk, sk)
    raise Unavailable("The store answered with an item that has no key.")


def _typed(key: Key) -> Item:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _outgoing(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Attribute values as boto3 sends them: binary as bytes. What it receives is left in base64 (`aws_session`)."""
    return {name: _outgoing_value(value) for name, value in attributes.items()}


def _outgoing_value(value: AttributeValue) -> dict[str, Any]:
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {"B": base64.b64decode(content)}
        case "BS":
            return {"BS": [base64.b64decode(member) for member in content]}
        case "L":
            return {"L": [_outgoing_value(entry) for entry in content]}
        case "M":
            return {"M": _outgoing(content)}
    return value
