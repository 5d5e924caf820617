"""GetItem, Query and Scan."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ddb_mcp.core.conditions import StepCounter
from ddb_mcp.core.items import Item, measure_item
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import Path
from ddb_mcp.core.text import count_marks
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import KeySchemaError, make_validation_error
from ddb_mcp.endpoint.expressions.nodes import ConditionNode
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.key_conditions import read_key_condition
from ddb_mcp.endpoint.requests import EndpointRequest, count_read_units, encode_projected, read_only_projection
from ddb_mcp.endpoint.values import INVALID, KEYS, read_key
from ddb_mcp.stores.local.statements import get_segment
from ddb_mcp.stores.local.table import MEMBERS_MAX, Documents, LocalTable, Rows
from ddb_mcp.stores.workers import convert

DYNAMODB_PAGE_BYTES = 2**20


_INVALID_START = "The provided starting key is invalid"


async def get_item(call: EndpointRequest) -> dict[str, Any]:
    paths = await convert(partial(read_only_projection, call.request), call.request)
    key = read_key(call.request["Key"])
    name, table = await call.find_table(call.request["TableName"], [key])
    size, item = await read_and_encode(table, key, paths)
    answer = {} if item is None else {"Item": item}
    return {**answer, **_consumed(call, name, lambda: size)}


async def read_and_encode(table: LocalTable, key: Key, paths: Iterable[Path] | None) -> tuple[int, Encoded | None]:
    """Read one item: return its size, and what the client gets of it, encoded."""

    def take(documents: Documents) -> tuple[int, Encoded | None]:
        for document in documents:
            item = documents.item(document)
            return measure_item(item), encode_projected(item, paths)
        return 0, None

    return await table.read(Rows(key.pk, bounds=(("=", key.sk.encode()),)), take)


def _consumed(call: EndpointRequest, table: str, size: Callable[[], int]) -> dict[str, Any]:
    return call.consumed(table, lambda: count_read_units(size(), consistent=bool(call.request.get("ConsistentRead"))))


@dataclass
class _PageBuilder:
    """The rows that one request reads: at most `limit` items, 1 MB and `MEMBERS_MAX` members, before the filter."""

    filter: ConditionNode | None
    filter_names: list[str | int]
    paths: tuple[Path, ...] | None
    limit: int | None
    counts: bool
    items: list[Encoded] = field(default_factory=list)
    matched: int = 0
    scanned: int = 0
    size: int = 0
    unmeasured: list[Item] = field(default_factory=list)
    last: Key | None = None

    def fill(self, documents: Documents) -> None:
        """Take items until the page is full; `last` is then where the next page goes on."""
        self.items, self.matched, self.scanned, self.size, self.last = [], 0, 0, 0, None
        self.unmeasured, size_at_most, members = [], 0, 0
        for document in documents:
            item = documents.item(document)
            self.scanned += 1
            members += count_marks(document)
            self.unmeasured.append(item)
            size_at_most += len(document) if document.isascii() else 4 * len(document)
            # An item's size is less than that of its text, and takes longer to find.
            if size_at_most >= DYNAMODB_PAGE_BYTES:
                size_at_most = self.measured()
            if self.filter is None or self.filter.holds(item, StepCounter(documents.check)):
                self.matched += 1
                if not self.counts:
                    self.items.append(encode_projected(item, self.paths))
            if self.scanned == self.limit or size_at_most >= DYNAMODB_PAGE_BYTES or members >= MEMBERS_MAX:
                self.last = Key.of(item)
                return

    def measured(self) -> int:
        """The size of all items that were read."""
        self.size += sum(map(measure_item, self.unmeasured))
        self.unmeasured = []
        return self.size

    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"Count": self.matched, "ScannedCount": self.scanned}
        if not self.counts:
            answer["Items"] = self.items
        if self.last is not None:
            answer["LastEvaluatedKey"] = self.last.attributes
        return answer


async def query(call: EndpointRequest) -> dict[str, Any]:
    request = call.request
    if "KeyConditionExpression" not in request:
        raise make_validation_error(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    reader = await convert(partial(ExpressionReader, request), request)
    keys = read_key_condition(reader)
    page = _page(request, reader)
    name, table = await _find_table(call)
    for named in page.filter_names:
        if named in KEYS:
            raise make_validation_error(
                f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {named}"
            )
    call.check_access(call.operation, name, [Key(keys.pk, "")], writes=False)
    after = _start_key(request)
    if after is not None:
        keys.check_start(after)
    rows = Rows(keys.pk, bounds=keys.bounds, after=after, descending=request.get("ScanIndexForward") is False)
    return await _listing(call, name, table, rows, page)


async def scan(call: EndpointRequest) -> dict[str, Any]:
    page = _page(call.request, await convert(partial(ExpressionReader, call.request), call.request))
    segment = _segment(call.request)
    name, table = await _find_table(call)
    after = _start_key(call.request)
    if after is not None and get_segment(after.pk.encode(), segment[1]) != segment[0]:
        raise make_validation_error(f"{_INVALID_START}: it is not in the provided Segment of TotalSegments")
    return await _listing(call, name, table, Rows(after=after, segment=segment), page)


async def _listing(
    call: EndpointRequest, name: str, table: LocalTable, rows: Rows, page: _PageBuilder
) -> dict[str, Any]:
    await table.read(rows, page.fill)
    return await convert(lambda: {**page.answer(), **_consumed(call, name, page.measured)}, page.unmeasured)


def _page(request: dict[str, Any], reader: ExpressionReader) -> _PageBuilder:
    filter_, names = reader.read_condition("FilterExpression"), reader.named
    paths = reader.read_projection()
    reader.check_all_used()
    select = request.get("Select") or ("SPECIFIC_ATTRIBUTES" if paths is not None else "ALL_ATTRIBUTES")
    if select == "ALL_PROJECTED_ATTRIBUTES":
        raise make_validation_error(f"{INVALID}{select} can be used only when Querying using an IndexName")
    if paths is not None and select != "SPECIFIC_ATTRIBUTES":
        what = "only the Count" if select == "COUNT" else select
        raise make_validation_error(f"Cannot specify the ProjectionExpression when choosing to get {what}")
    if paths is None and select == "SPECIFIC_ATTRIBUTES":
        raise make_validation_error("Must specify the ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
    return _PageBuilder(filter_, names, paths, request.get("Limit"), select == "COUNT")


async def _find_table(call: EndpointRequest) -> tuple[str, LocalTable]:
    name, table = await call.find_table(call.request["TableName"])
    if (index := call.request.get("IndexName")) is not None:
        raise make_validation_error(f"The table does not have the specified index: {index}")
    return name, table


def _start_key(request: dict[str, Any]) -> Key | None:
    key = request.get("ExclusiveStartKey")
    if key is not None and key.keys() != {"pk", "sk"}:
        raise KeySchemaError(f"{_INVALID_START}: The provided key element does not match the schema")
    return None if key is None else read_key(key)


def _segment(request: dict[str, Any]) -> tuple[int, int]:
    segment, total = request.get("Segment"), request.get("TotalSegments")
    if segment is None and total is None:
        return 0, 1
    if segment is None or total is None:
        absent, other = ("Segment", "TotalSegments") if segment is None else ("TotalSegments", "Segment")
        raise make_validation_error(
            f"The {absent} parameter is required but was not present in the request when {other} parameter is present"
        )
    if segment >= total:
        raise make_validation_error(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {total}"
        )
    return segment, total
