"""Items in DynamoDB, or in any engine that speaks its protocol, through boto3's low-level client."""

import logging
import re
from copy import copy
from functools import partial
from typing import Any

from ddb_mcp.config.settings import DirectSettings, DirectStorage
from ddb_mcp.core.conditions import ITEM_EXISTS, Comparison, matches
from ddb_mcp.core.errors import (
    ConditionFailed,
    DdbMcpError,
    InvalidArgument,
    Misconfigured,
    NotProvisioned,
    Unavailable,
)
from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.indexes import Index
from ddb_mcp.core.items import Item, select_attributes
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import (
    FEATURES,
    NO_CONDITION,
    Deleted,
    Deployment,
    Position,
    Progress,
    Read,
    Store,
    StorePage,
    WriteCondition,
    Written,
    cut_values,
    is_visible_in,
    make_after,
)
from ddb_mcp.stores.direct import codes
from ddb_mcp.stores.direct.aws import AwsClients, ExpectedError, Response
from ddb_mcp.stores.direct.indexes import TableIndexes
from ddb_mcp.stores.direct.policy import build_policy
from ddb_mcp.stores.direct.provisioning import LambdaFunctions, TableSetup, make_probe_key
from ddb_mcp.stores.direct.scan import PAGE_ITEMS, ScanPage, ScanPosition, count_items_needed, gather, plan_wave
from ddb_mcp.stores.direct.wire import (
    encode_binary,
    get_capacity,
    get_key,
    get_query_position,
    has_key,
    make_placeholder_parameters,
    make_query_parameters,
    make_read_parameters,
)
from ddb_mcp.stores.retries import LostAnswerPolicy, ReadBackResult

# Attempts of an update with `remove`: a path with a missing parent is left out of the next attempt, and comes back if
# another client stores the parent meanwhile.
MERGE_ATTEMPTS = 4


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
        self._function_names: tuple[str, ...] = ()
        role, role_policy = None, dict[str, Any]()
        if isinstance(settings, DirectSettings):
            self._prefix, self._function_names = settings.prefix, settings.lambda_functions
            role, role_policy = settings.role_arn or None, _make_session_policy(settings)
        self._aws = AwsClients(self._table, role, role_policy)
        self._declared = settings.indexes
        self._indexes = TableIndexes(self._aws, self._table)  # shared with the stores of `for_deployment`
        self._schema_is_known = False

    def for_deployment(self, prefix: Prefix, functions: tuple[str, ...]) -> "DirectStore":
        other = copy(self)
        other._prefix, other._function_names = prefix, functions
        return other

    @property
    def _functions(self) -> LambdaFunctions:
        own = self._prefix.text if self._prefix else ""
        return LambdaFunctions(self._aws, self._function_names, {"DYNAMODB_TABLE": self._table, "DYNAMODB_PREFIX": own})

    async def provision(self, progress: Progress) -> Deployment:
        self._schema_is_known = False
        table = TableSetup(self._aws, self._table, self._prefix, self._indexes, self._declared)
        created = await table.create_if_missing(progress)
        table.warn_of_indexes(self._declared)
        ttl = await table.enable_ttl()
        functions = await self._functions.update(progress)
        return self._deployment(table, provisioned=True, created=created, ttl=ttl, functions=functions)

    async def info(self) -> Deployment:
        self._schema_is_known = False
        table = TableSetup(self._aws, self._table, self._prefix, self._indexes, self._declared)
        provisioned = await table.exists()
        table.warn_of_indexes()
        ttl = await table.get_ttl() if provisioned else None
        functions = await self._functions.get_states()
        return self._deployment(table, provisioned=provisioned, created=False, ttl=ttl, functions=functions)

    def _deployment(
        self, table: TableSetup, *, provisioned: bool, created: bool, ttl: str | None, functions: list[dict[str, Any]]
    ) -> Deployment:
        details = {"ttl": ttl, "lambdaFunctions": functions, "warnings": table.warnings}
        return Deployment(
            table_name=self._table,
            prefix=self._prefix.text if self._prefix else None,
            region=self._aws.region,
            provisioned=provisioned,
            created=created,
            features=FEATURES,
            indexes=None if table.description is None else self._indexes.known,
            details={name: value for name, value in details.items() if value},
        )

    async def get(self, key: Key) -> Item | None:
        answer = await self._request("get_item", Key=key.attributes, ConsistentRead=True)
        self._schema_is_known = True
        item = answer.get("Item")
        if item is not None and not has_key(key, item):
            raise Unavailable("The store answered with a different item than the one requested.")
        return item

    async def put(self, item: Item, condition: WriteCondition, *, room: int | None = None) -> Written:
        await self._check_schema()
        parameters = {"Item": encode_binary(item)}
        with cut_values(room):
            key, old_wanted = Key.of(item), room != 0
            written, old = await self._write(
                "put_item", key, item, condition, ExpressionBuilder(), parameters, old_wanted
            )
        return Written.from_replacement(old, item).limit(room) if written else Written(None)

    async def merge(self, update: Update, condition: WriteCondition, *, room: int | None = None) -> Written:
        with cut_values(room):
            return (await self._merge_existing(update, condition, room != 0)).limit(room, update.remove)

    async def _merge_existing(self, update: Update, condition: WriteCondition, old_wanted: bool) -> Written:
        """Merge, without the paths of `remove` whose parents are missing."""
        sent, guard = update, condition
        for _ in range(MERGE_ATTEMPTS):
            try:
                return await self._merge(sent, update, guard, old_wanted)
            except ConditionFailed as failed:
                if guard == condition:
                    raise
                if not condition.is_satisfied_by(failed.item):
                    raise condition.make_error(failed.item) from None
                sent, guard = update, condition  # an item exists now
            except InvalidArgument:
                if guard != condition or all(len(path) == 1 for path in update.remove):
                    raise
                # DynamoDB refuses a path whose parent is missing, and then changes nothing.
                stored = await self.get(Key.of(update.item))
                absent = [path for path in update.find_absent(stored) if len(path) > 1]
                if not absent:
                    raise
                sent = update._replace(remove=tuple(path for path in update.remove if path not in absent))
                still_absent = (Comparison(path, "exists", exists=False) for path in absent)
                guard = WriteCondition(expect=(*condition.expect, *still_absent))
        raise Unavailable("Other writes kept changing the values to be removed; nothing was written.")

    async def _merge(self, sent: Update, update: Update, condition: WriteCondition, old_wanted: bool) -> Written:
        """Send the update `sent`. `update` is the caller's: `sent`, and paths at which there is nothing."""
        key, expression = Key.of(sent.item), ExpressionBuilder()
        text = expression.update(sent.item, sent.remove, sent.add)
        parameters = {"Key": key.attributes, **({"UpdateExpression": text} if text else {})}
        written, old = await self._write("update_item", key, update, condition, expression, parameters, old_wanted)
        if not written:
            return Written(None)
        try:
            outcome = Written.from_update(update, old)
        except InvalidArgument:  # an engine that keeps other digits than DynamoDB
            logger.warning("The engine added what DynamoDB would have refused; the new values are not known.")
            outcome = Written.from_update(update._replace(add={}), old)
        # DynamoDB returns nothing for a new item. If an engine returns the key, `created` is unknown.
        return outcome._replace(created=None) if old is not None and old.keys() == {"pk", "sk"} else outcome

    async def delete(self, key: Key, condition: WriteCondition, *, room: int | None = None) -> Deleted:
        parameters = {"Key": key.attributes}
        with cut_values(room):
            written, old = await self._write(
                "delete_item", key, None, condition, ExpressionBuilder(), parameters, room != 0
            )
        return Deleted(old is not None, old).limit(room) if written else Deleted(None)

    async def _write(
        self,
        operation: str,
        key: Key,
        write: Item | Update | None,
        condition: WriteCondition,
        expression: ExpressionBuilder,
        parameters: dict[str, Any],
        old_wanted: bool,
    ) -> tuple[bool, Item | None]:
        """Write one item. Returns True with the item that was there before, or False if that is not known.

        If the response was lost, the stored item decides whether a write without a condition was done, unless it is an
        update that twice is not as good as once. The item does not decide a conditional write, for example of a lock:
        it may be another client's work, and this write's item may have been replaced since. So a conditional write is
        repeated only if its condition still holds.

        Args:
            write: the item of a put, the update, or None for a delete.
            old_wanted: whether the response must include the item before the write.
        """

        only_removes = isinstance(write, Update) and write.only_removes
        # Some engines would create an item.
        guard = condition._replace(expect=(ITEM_EXISTS, *condition.expect)) if only_removes else condition

        async def read_back() -> ReadBackResult:
            stored = await self.get(key)
            if condition == NO_CONDITION:
                return "done" if is_visible_in(write, stored) else "not done"
            return "not done" if condition.is_satisfied_by(stored) and not is_visible_in(write, stored) else "undecided"

        try:
            answer = await self._request(
                operation,
                write=LostAnswerPolicy(None if isinstance(write, Update) and not write.is_idempotent else read_back),
                expected=("ConditionalCheckFailedException",),
                ReturnValues="ALL_OLD" if old_wanted else "NONE",
                **_make_condition_parameters(guard, expression),
                **parameters,
                **make_placeholder_parameters(expression),
            )
        except ExpectedError as refused:
            stored = refused.response.get("Item")
            shown = stored if stored is not None and has_key(key, stored) else None
            if only_removes and shown is None and await self._is_absent(key, condition):
                return True, None
            raise await self._condition_failed(key, condition, shown) from None
        if not answer or not old_wanted:
            return False, None
        old = answer.get("Attributes") or None
        if old is None or has_key(key, old):
            return True, old
        self._schema_is_known = False
        return False, None

    async def _is_absent(self, key: Key, condition: WriteCondition) -> bool:
        """Return whether a write was refused because there is no item, and not because of `condition`."""
        return condition == NO_CONDITION or (condition.is_satisfied_by(None) and await self.get(key) is None)

    async def _condition_failed(self, key: Key, condition: WriteCondition, item: Item | None) -> ConditionFailed:
        if item is None:  # there is none, or the engine does not return it
            try:
                item = await self.get(key)
            except DdbMcpError:
                return ConditionFailed(
                    "The condition does not hold; the stored item could not be read.",
                    next="Get the item and decide again; nothing was written.",
                )
        return condition.make_error(item)

    async def _check_schema(self) -> None:
        """Raise Misconfigured if the table has another key schema. Asks the table until the schema is known.

        A get names the whole key: such a table refuses it. A put would replace the item with the table's own key, which
        nothing has checked; a query or a scan could show such items.
        """
        if self._schema_is_known:
            return
        try:
            await self._request(
                "get_item", expected=codes.ACCESS_DENIED | codes.THROTTLED, Key=make_probe_key(self._prefix).attributes
            )
        except ExpectedError as refused:  # the call itself may still be allowed, and have capacity
            self._schema_is_known = refused.code in codes.ACCESS_DENIED  # every later get would be denied too
        else:
            self._schema_is_known = True

    async def get_indexes(self, *, required: bool = False) -> tuple[Index, ...]:
        return await self._indexes.get(required=required)

    async def query(self, read: Read) -> StorePage:
        await self._check_schema()
        index, sent = read.secondary_index, read
        # One more than needed: a page that holds the rest then shows that nothing follows.
        limit = PAGE_ITEMS if read.filter else count_items_needed(read) + 1
        if index is not None:
            if index.projected:  # DynamoDB refuses names of other attributes, in a filter too
                sent = read._replace(filter=(), attributes=None)
            if read.position is not None:
                limit = max([limit, *read.position[3:]])
        answer = await self._send_query(sent, min(limit, max(1, read.read_limit)))
        items = [
            item
            for item in answer["Items"]
            if get_key(item) and read.names(item) and (sent is read or matches(read.filter, item))
        ]
        positions = [get_query_position(item, index) for item in items]
        last = answer.get("LastEvaluatedKey")
        following = None if last is None else get_query_position(last, index)
        if index is not None and following is not None and len(items) < answer["ScannedCount"] // 2:
            following.append(min(PAGE_ITEMS, 4 * limit))  # mostly other deployments' items: the next page is larger
        if len(items) > read.limit:
            following = positions[read.limit - 1]
        shown = [select_attributes(item, read.attributes) for item in items[: read.limit]]
        return StorePage(shown, following, answer["ScannedCount"], make_after(positions), get_capacity(answer))

    async def _send_query(self, read: Read, limit: int) -> Response:
        try:
            return await self._request("query", **make_query_parameters(read, limit))
        except (InvalidArgument, Misconfigured):
            if read.secondary_index is not None:
                await self._indexes.check_queryable(read.secondary_index)
            raise

    async def scan(self, read: Read) -> StorePage:
        await self._check_schema()
        at = ScanPosition.from_position(read.position)
        segments, limit = plan_wave(at, read)
        expression = ExpressionBuilder()
        own = f"begins_with({expression.path('pk')},{expression.value({'S': read.pk_prefix})})"
        text = " AND ".join(filter(None, [own, expression.condition(read.filter)]))
        parameters = make_read_parameters(read, expression, text)

        async def fetch(segment: int) -> Response:
            start = at.starts[segment]
            begin = {} if start is None else {"ExclusiveStartKey": start.attributes}
            return await self._request(
                "scan", Segment=segment, TotalSegments=at.total, Limit=limit, **begin, **parameters
            )

        answers = await gather([partial(fetch, segment) for segment in segments])
        page = ScanPage.from_responses(at, read, segments, answers)
        following = page.get_position_after(read.limit - 1) if len(page.entries) > read.limit else page.get_end()
        costs = [cost for answer in answers if (cost := get_capacity(answer)) is not None]
        items, without = page.items[: read.limit], page._replace(items=[])

        async def after(at: int) -> Position:
            return without.get_position_after(at)

        return StorePage(items, following, page.scanned, after, sum(costs) if costs else None)

    async def close(self) -> None:
        self._aws.close()

    async def _request(self, operation: str, **options: Any) -> Response:
        try:
            return await self._aws.request("dynamodb", operation, TableName=self._table, **options)
        except (NotProvisioned, Misconfigured):  # a later request may meet another table of that name
            self._schema_is_known = False
            self._indexes.forget()
            raise


def _make_session_policy(settings: DirectSettings) -> dict[str, Any]:
    """Return the policy that limits the role. Raises Misconfigured if `role_arn` is not the ARN of a role."""
    if not settings.role_arn:
        return {}
    role = re.fullmatch(r"arn:(aws[a-z-]*):iam::[0-9]{12}:role/[!-~]+", settings.role_arn)
    if role is None:
        raise Misconfigured(
            f"DDB_MCP_ROLE_ARN is {settings.role_arn!r}, which is not the ARN of a role.",
            next="An example is arn:aws:iam::123456789012:role/app.",
        )
    return build_policy(settings, partition=role[1])


def _make_condition_parameters(condition: WriteCondition, expression: ExpressionBuilder) -> dict[str, str]:
    """Return the parameters that make a write conditional."""
    text = expression.condition(condition.expect)
    if condition.create_only:
        text = f"attribute_not_exists({expression.path('pk')})"
    return {"ConditionExpression": text, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if text else {}
